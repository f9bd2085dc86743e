"""A server as an operator runs it, with projects, their systems and their carrier, and the numbers that callers dial."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from faults.calls import ACCOUNT, CALLERS, KNOWN_CALLERS, Case, Number, Way
from faults.cluster import Cluster
from faults.flows import GOOGLE, ZONE, Flow, companies_in_turn, companies_of_every_step
from faults.receiver import AnswersFlows, Listening, NeverAnswers, Receiver
from router.accounts.models import Project
from router.carriers.simulator import PhoneCall
from router.carriers.simulator.account import Account
from router.carriers.simulator.call_book import CallBook
from router.carriers.simulator.rest import Rest, RestServer
from router.db import Database, migrate
from router.lib.crypto import KeyRing
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import store_flow
from router.scenarios.models import Holiday, Scenario
from tests.factories import (
    make_call,
    make_integration,
    make_leased_visit,
    make_number,
    make_project,
    make_scenario,
)
from tests.faults.running import CARRIER_TOKEN, FALLBACK, Running
from tests.integrations.receiver import WEBHOOK_SECRET
from tests.secret import SECRET
from tests.waiting import eventually

if TYPE_CHECKING:
    from faults.poolers import PgBouncer

FIRST_NUMBER, FIRST_NEW_NUMBER, FIRST_PAST_NUMBER = 12125551000, 12125553000, 12125555000
STRANGER = Number("+12125559999", Case((Way((FALLBACK,), FALLBACK),)), None, is_known=False)

ADDED_EVERY = 2.0
DIALLED_AFTER = (0.2, 1.0, 3.0)
"""A number that was just added is dialled so many seconds later."""
KNOWN_AFTER = 2.5
"""A change counts within 2 s."""
PATIENCE_OF_SYSTEMD = 1.0


Entry = TypeVar("Entry")


def in_turn(by_company: Sequence[list[Entry]], seed: str) -> list[Entry]:
    """Those of each company in an order that is drawn by the seed; companies take turns."""
    drawn = [Random(seed).sample(entries, len(entries)) for entries in by_company]
    return [entry for turn in zip(*drawn, strict=True) for entry in turn]


class Site:
    """`cluster` is None with the embedded database. With `every_step` the flows of the projects have every step, else lines in turn; `seed`
    draws the order of their numbers. What a fault needs to be otherwise is changed before `start`."""

    def __init__(
        self, folder: Path, cluster: Cluster | None, stack: ExitStack, *, every_step: bool = False, seed: str = ""
    ) -> None:
        self.folder, self.cluster, self.stack = folder, cluster, stack
        self.data = folder / "data"
        self.data.mkdir()
        self.server_url = cluster.url if cluster else f"sqlite:///{self.data / 'router.db'}"
        self.environ: dict[str, str] = {}
        self.activated: socket.socket | None = None
        self.proxy_url = ""
        """Where callers come in, if not at the server itself."""
        self.remark = ""
        """What a fault says of itself afterwards, behind its title."""
        self.replica: Cluster
        self.pooler: PgBouncer
        self.server: Running
        self.database: Database
        self.receiver = Receiver()
        stack.callback(self.receiver.close)
        self.keep: Callable[[PhoneCall], None] = lambda _: None
        """Writes a call into the carrier's book."""
        self.companies = companies_in_turn()
        if every_step:
            answering, silent = Listening(AnswersFlows), Listening(NeverAnswers)
            stack.callback(answering.close)
            stack.callback(silent.close)
            self.companies = companies_of_every_step(answering.address, silent.address)
            self._open_carrier()
        self._seed = seed
        self.numbers: list[Number] = []
        self._scenarios: list[tuple[int, Flow]] = []
        self._fresh: list[tuple[float, Number]] = []
        self._may_add = threading.Event()
        self._ended = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The database with its projects first, then the server and its worker."""
        self.open_database(self.cluster.url if self.cluster else self.server_url)
        self.stack.callback(lambda: self.database.dispose())
        migrate(self.database)
        self._make_projects()
        self.server = Running(self.data, activated=self.activated, ROUTER_DATABASE_URL=self.server_url, **self.environ)
        self.server.url = self.proxy_url or self.server.url
        self.stack.callback(self._stop)
        self.server.wait_until_healthy()
        if self.cluster:
            threading.Thread(target=self._keep_worker, daemon=True).start()
        first = next(number for number in self.numbers if number.case.rings_at_once)
        lines = [way.rung[0] for way in first.case.ways]
        eventually(lambda: any(line in self.server.dial(first.e164, "CAfirst").text for line in lines))
        eventually(lambda: self.receiver.ids.get(("call.started", "CAfirst")))
        threading.Thread(target=self._add_numbers, daemon=True).start()
        self._may_add.set()

    def open_database(self, url: str) -> None:
        """For us, not for the server."""
        self.database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=2)

    @property
    def primary(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    def worker_process(self) -> int | None:
        """Of deliveries: a unit of its own beside PostgreSQL, else a child of the server."""
        if self.cluster is None:
            return self.server.children().get("worker")
        return self._worker.pid if self._worker and self._worker.poll() is None else None

    def rest(self) -> None:
        """No number is added from now on; those that were have become known."""
        self._may_add.clear()
        time.sleep(KNOWN_AFTER)

    def go_on(self) -> None:
        self._may_add.set()

    def next_number(self, index: int) -> Number:
        """Which number a call dials: one that was just added where it is time for that, sometimes one that is not ours."""
        now = time.monotonic()
        for entry in self._fresh:
            if entry[0] <= now:
                self._fresh.remove(entry)
                return entry[1]
        return STRANGER if index % 25 == 24 else self.numbers[index % len(self.numbers)]

    def _open_carrier(self) -> None:
        """Where the server gets recordings. Calls without any are not in the book."""
        account = Account(self.folder / "carrier.db")
        book, rest = CallBook(account.path), RestServer(Rest(account, ACCOUNT, CARRIER_TOKEN))
        self.keep = lambda call: book.keep(call) if call.recordings else None
        rest.start()
        self.stack.callback(rest.server_close)
        self.stack.callback(rest.shutdown)
        self.environ["ROUTER_CARRIER_URL"] = rest.url

    def _make_projects(self) -> None:
        numbers, past = count(FIRST_NUMBER), count(FIRST_PAST_NUMBER)
        now = datetime.now(UTC)
        dialled: list[list[Number]] = []
        growing: list[list[tuple[int, Flow]]] = []
        with self.database.writing() as session:
            for company in self.companies:
                project = make_project(session, name=company.name, fallback_destination=company.fallback, timezone=ZONE)
                if company.is_on_holiday:
                    today = now.astimezone(ZoneInfo(ZONE)).date()
                    days = (today + timedelta(days=apart) for apart in (-1, 0, 1))
                    session.add_all(Holiday(project_id=project.id, day=day.isoformat(), name="Closed") for day in days)
                if company.answerer:
                    self._make_past_calls(session, project, f"+{next(past)}", company.answerer, now)
                dialled.append([])
                growing.append([])
                for flow in company.flows:
                    e164s = [f"+{next(numbers)}" for _ in range(company.numbers)]
                    scenario = self._make_scenario(session, project, flow, e164s, now)
                    dialled[-1] += [Number(e164, case, project.id) for e164 in e164s for case in flow.cases]
                    if not flow.is_leased:
                        growing[-1].append((scenario.id, flow))
        self.numbers, self._scenarios = in_turn(dialled, self._seed), in_turn(growing, self._seed)

    def _make_scenario(
        self, session: Session, project: Project, flow: Flow, e164s: list[str], now: datetime
    ) -> Scenario:
        static = dict(flow.static_source) if flow.static_source else None
        scenario = make_scenario(session, project, e164s, static=static)
        store_flow(session, scenario, FlowSchema.model_validate(flow.document).document(), now)
        secret = KeyRing((SECRET,)).seal(WEBHOOK_SECRET)
        for slot in ("webhook_start", "webhook_end"):
            make_integration(session, scenario, slot, sealed=secret, config={"url": self.receiver.url})
        if flow.is_leased:
            make_leased_visit(session, scenario, now - timedelta(minutes=10), **GOOGLE)
        return scenario

    def _make_past_calls(self, session: Session, project: Project, e164: str, answerer: str, now: datetime) -> None:
        """Each of the known callers has talked to a line of the project, yesterday."""
        number = make_number(session, project, e164)
        for index in range(KNOWN_CALLERS):
            make_call(
                session,
                project,
                e164,
                now - timedelta(days=1),
                sid=f"CApast{project.id:03}{index:03}",
                number_id=number.id,
                caller=CALLERS["known"](index),
                destination=answerer,
            )

    def _add_numbers(self) -> None:
        new, whose = count(FIRST_NEW_NUMBER), cycle(self._scenarios)
        while not self._ended.wait(ADDED_EVERY):
            self._may_add.wait()
            e164, (scenario_id, flow) = f"+{next(new)}", next(whose)
            try:
                with self.database.writing() as session:
                    scenario = session.get_one(Scenario, scenario_id)
                    static = dict(flow.static_source) if flow.static_source else None
                    project_id = scenario.project_id
                    make_number(session, session.get_one(Project, project_id), e164, scenario, static)
            except SQLAlchemyError:
                continue
            now = time.monotonic()
            for after, case in zip(DIALLED_AFTER, cycle(flow.cases), strict=False):
                self._fresh.append((now + after, Number(e164, case, project_id, is_known=False)))

    def _keep_worker(self) -> None:
        """As systemd does with a unit of its own."""
        while not self._ended.is_set():
            with self.server.log.open("a") as output:
                self._worker = subprocess.Popen(
                    [sys.executable, "-m", "router", "worker"], env=self.server.environ, stdout=output, stderr=output
                )
            while self._worker.poll() is None and not self._ended.is_set():
                time.sleep(0.05)
            self._ended.wait(PATIENCE_OF_SYSTEMD)
        self._worker.kill()
        self._worker.wait()

    def _stop(self) -> None:
        self._ended.set()
        self._may_add.set()
        for pid in self.server.members():
            os.kill(pid, signal.SIGKILL)
        self.server.process.wait(10)
        if self._worker:
            self._worker.kill()
            self._worker.wait()
