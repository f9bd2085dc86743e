"""Two machines behind one address, with a journal each, beside one database and one carrier: which of them a request meets, and when a
journal is applied, is drawn by lot."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from werkzeug.test import run_wsgi_app

from router.carriers import SIMULATED_ACCOUNT
from router.carriers.simulator import CallerScript, Faults, Line, Simulator, VirtualClock
from router.carriers.simulator.account import Account
from router.carriers.simulator.call import PhoneCall
from router.carriers.simulator.call_book import CallBook
from router.carriers.simulator.rest import Rest, RestServer
from router.config import Settings
from router.integrations.models import Delivery
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import store_flow
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.applier import Applier, adopt_unknown_calls, apply_records, journal_folder
from router.voice.calls import call_ended, call_started, call_updated
from router.voice.events import close_silent_calls, repeat_fan_out, write_and_announce
from router.voice.journal import Journal, Position, read_entries
from router.voice.lookups import Lookups
from router.voice.models import Call, CallEvent, CallLeg, CallRecording, UnknownCall
from router.voice.reconciliation import reconcile
from router.voice.records import Record
from tests.application import Applications
from tests.carriers.rest import TOKEN, make_shop
from tests.factories import NOON, make_integration, make_project, make_scenario

NUMBER, OTHER_NUMBER = "+12125552001", "+12125552002"
ANNA = "+14155550177"
T = TypeVar("T")


@dataclass(frozen=True)
class Chances:
    """Of each request: that it meets the second machine, that the machine it meets first answers too late, so that the other one is asked
    some seconds later, and that a journal is applied after it; of each look-up, that it is not answered in time."""

    seed: int = 0
    second: float = 0.5
    too_late: float = 0.0
    applied: float = 0.5
    unanswered: float = 0.0


TOO_LATE = timedelta(seconds=4)


class Balancer:
    """Passes requests on to two applications. What one of them answers to a request that is repeated has to be the same each time."""

    def __init__(self, apps: Sequence[Flask], clock: VirtualClock) -> None:
        self._apps, self._clock, self._turn = apps, clock, threading.Lock()
        self.begin(Chances())

    def begin(self, chances: Chances) -> None:
        self.chances, self._lots = chances, Random(chances.seed)
        self._answers: dict[tuple[int, str, bytes], bytes] = {}
        self.differing: list[str] = []

    def draws(self, chance: float) -> bool:
        with self._turn:
            return self._lots.random() < chance

    def shuffled(self, these: Iterable[T]) -> list[T]:
        with self._turn:
            found = list(these)
            self._lots.shuffle(found)
            return found

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        first = int(self.draws(self.chances.second))
        machines = [first, 1 - first] if self.draws(self.chances.too_late) else [first]
        for machine in machines:
            if machine != first:
                self._clock._now += TOO_LATE
            app_iter, status, headers = run_wsgi_app(
                self._apps[machine], environ | {"wsgi.input": BytesIO(body)}, buffered=True
            )
            answer = b"".join(app_iter)
            asked = machine, str(environ["RAW_URI"]), body
            if self._answers.setdefault(asked, answer) != answer:
                self.differing.append(asked[1])
        start_response(status, list(headers))
        return [answer]


class TwoMachines:
    """A company whose flow a test chooses, the machines, and the carrier that calls."""

    def __init__(
        self, apps: Sequence[Flask], balancer: Balancer, token: str, clock: VirtualClock, rest: RestServer, book: Path
    ) -> None:
        self.balancer, self.clock, self._token, self._rest_url, self._book = balancer, clock, token, rest.url, book
        self.servers: list[Server] = [app.extensions["router"] for app in apps]
        self.server = self.servers[0]
        self._applying = threading.RLock()
        self._appliers = [Applier(server, journal_folder(server), resident=False) for server in self.servers]
        self._read = [Position(), Position()]
        self.told: list[tuple[str, str, str]] = []
        """Events of calls: the call's id, the event, and its status then."""
        for server in self.servers:
            server.now, server.journal = clock.now, self._journal(server)
            server.shop = make_shop(rest.url)
        with self.server.database.writing() as session:
            project = make_project(
                session, timezone="Europe/Berlin", calls_per_caller=0, calls_per_number=0, tell_internal="all"
            )
            scenario = make_scenario(session, project, [NUMBER, OTHER_NUMBER])
            self._scenario_id = scenario.id
            for slot in ("webhook_start", "webhook_end"):
                make_integration(session, scenario, slot)
        for signal in (call_started, call_ended, call_updated):
            signal.connect(self._hear)

    def _hear(self, sender: Server, event: str, call: Call, **_: Any) -> None:
        self.told.append((call.sid, event, str(call.status)))

    def _journal(self, server: Server) -> Any:
        journal, machines = Journal(journal_folder(server), 2**20, durable=False), self

        class AppliedByChance:
            def append(self, record: Record) -> None:
                journal.append(record)
                if machines.balancer.draws(machines.balancer.chances.applied):
                    machines.apply(machines.balancer.shuffled((0, 1))[:1])

        return AppliedByChance()

    def apply(self, machines: Iterable[int]) -> None:
        with self._applying:
            for machine in machines:
                self._appliers[machine].apply_all()

    def use(self, document: Mapping[str, Any]) -> None:
        flow = FlowSchema.model_validate(document).document()
        with self.server.database.writing() as session:
            store_flow(session, session.get_one(Scenario, self._scenario_id), flow, self.clock.now())

    def call(
        self,
        script: CallerScript,
        lines: Mapping[str, Line],
        faults: Faults,
        chances: Chances,
        at: datetime | None = None,
    ) -> PhoneCall:
        """A call as it was played, at a moment, else some hours after the one before. What the machines know of it stands in their
        journals, and a part of it in the database."""
        self.clock._now = at or self.clock.now() + timedelta(hours=6)
        self.balancer.begin(chances)
        self.told.clear()
        book, base_url = CallBook(self._book), self.server.settings.base_url
        carrier = Simulator(
            base_url, self._token, clock=self.clock, lines=lines, faults=faults, book=book, rest_url=self._rest_url
        )
        try:
            played = carrier.call(ANNA, NUMBER, script)
        finally:
            carrier.close()
        assert self.balancer.differing == []
        return played

    def records(self) -> list[list[Record]]:
        """What each machine has written since this was asked last."""
        found = []
        for machine, server in enumerate(self.servers):
            entries = read_entries(journal_folder(server), self._read[machine], 10_000)
            self._read[machine] = entries[-1].end if entries else self._read[machine]
            found.append([entry.record for entry in entries if entry.record])
        return found

    def settle(self, played: PhoneCall) -> Call:
        """What the worker makes of the call within the hours that follow. The call as it is stored then."""
        over = max(self.clock.now(), played.ended_at or NOON)
        adopt_unknown_calls(self.server, over + timedelta(minutes=2))
        repeat_fan_out(self.server, over + timedelta(minutes=2))
        close_silent_calls(self.server, over + timedelta(minutes=3))
        reconcile(self.server, played.began_at - timedelta(seconds=1), over + timedelta(minutes=40))
        for later in (timedelta(minutes=43), timedelta(hours=5)):
            close_silent_calls(self.server, over + later)
        with self.server.database.reading() as session:
            return session.scalars(select(Call).where(Call.sid == played.sid)).one()

    def apply_again(self, journals: Sequence[Sequence[Record]]) -> None:
        """The same journals into an emptied database, in another order: each machine's records in theirs, in batches by lot."""
        self.forget()
        rest = [list(records) for records in journals]
        while any(rest):
            machine = self.balancer.shuffled(place for place, records in enumerate(rest) if records)[0]
            amount = self.balancer.shuffled(range(1, 7))[0]
            batch, rest[machine] = rest[machine][:amount], rest[machine][amount:]
            write_and_announce(self.servers[machine], partial(self._write, machine, batch))

    def _write(self, machine: int, batch: Sequence[Record], session: Session, announcing: bool) -> None:
        apply_records(self.servers[machine], session, batch, self.clock.now(), announcing)

    def forget(self) -> None:
        """Nothing of any call is left in the database."""
        self.told.clear()
        with self.server.database.writing() as session:
            for model in (Delivery, CallRecording, CallLeg, CallEvent, UnknownCall, Call):
                session.execute(delete(model))

    def deliveries(self) -> list[str]:
        """The events of calls about which messages are waiting."""
        with self.server.database.reading() as session:
            return sorted(session.scalars(select(Delivery.event)))


@contextmanager
def two_machines(settings: Settings, applications: Applications, folder: Path) -> Iterator[TwoMachines]:
    clock, book = VirtualClock(NOON), folder / "simulator.db"
    rest = RestServer(Rest(Account(book), SIMULATED_ACCOUNT, TOKEN, clock.now))
    rest.start()
    with applications.on_a_port(settings) as (http, one):
        address = one.extensions["router"].settings.base_url
        beside = settings.model_copy(update={"data_dir": folder / "second", "public_url": address})
        with applications.with_settings(beside) as two:
            balancer = Balancer([one, two], clock)
            http.app = balancer
            yield TwoMachines([one, two], balancer, settings.twilio_auth_token, clock, rest, book)
    rest.shutdown()
    rest.server_close()


class SlowLookups(Lookups):
    """Look-ups of which some are not answered in time; the others are made at once."""

    draws: Callable[[], bool] = staticmethod(lambda: False)

    def run(self, work: Callable[[], T], default: T, seconds: float | None = None, *, looks_again: bool = False) -> T:
        return default if self.draws() else work()
