"""R12: what the carrier knows and we do not is written late, as what it was, once; what is missing here is completed; prices are noted."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import select

from router.accounts.audit import Actor
from router.accounts.models import Project
from router.carriers import SIMULATED_ACCOUNT
from router.carriers.base import CarrierCall, InboundCall, NotForUs, Recording, ShopError, TryLater
from router.carriers.simulator import CallerScript, Line, Signalling, Simulator, VirtualClock
from router.carriers.simulator.account import Account
from router.carriers.simulator.call_book import CallBook
from router.carriers.simulator.rest import Rest, RestServer
from router.carriers.twilio.history import read_carrier_call
from router.cli import router
from router.config import Settings, SettingsError
from router.integrations.models import Delivery
from router.lib.phones import read_caller
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import store_flow
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice import reconciliation as module
from router.voice.applier import adopt_unknown_calls
from router.voice.calls import record_inbound
from router.voice.forgetting import forget_caller
from router.voice.models import Call, CallEvent, CallRecording, JournalPosition, UnknownCall
from router.voice.reconciliation import Reconciled, reconcile, reconcile_hourly
from tests.application import Applications, AppliedAtOnce
from tests.carriers.rest import TOKEN, make_shop
from tests.factories import COMPANY_LINE, NOON, NUMBER, SECOND_LINE, make_integration, make_number, make_project
from tests.properties import by_turns
from tests.voice.test_applier import Heard, calls, count
from tests.voice.test_whole_calls import ANNA, CALLS

HOUR = timedelta(hours=1)
Record = Mapping[str, Any]


class LossyJournal:
    """A journal that loses the records that a test chooses, and keeps them for later."""

    def __init__(self, server: Server, is_lost: Callable[[Record], bool]) -> None:
        self._journal = AppliedAtOnce(server)
        self._is_lost = is_lost
        self.lost: list[Record] = []

    def append(self, record: Record) -> None:
        if self._is_lost(record):
            self.lost.append(record)
        else:
            self._journal.append(record)

    def find_lost(self) -> None:
        """The machine comes back."""
        for record in self.lost:
            self._journal.append(record)


class World:
    """The product and the simulated carrier with its books, on one clock."""

    def __init__(self, app: Flask, settings: Settings, clock: VirtualClock, path: Path, rest: RestServer) -> None:
        self.server: Server = app.extensions["router"]
        self.server.now = clock.now
        self.server.shop = make_shop(rest.url)
        self.clock, self.heard = clock, Heard()
        self._settings, self._path, self._url = settings, path, rest.url

    def lose(self, is_lost: Callable[[Record], bool]) -> LossyJournal:
        journal = LossyJournal(self.server, is_lost)
        self.server.journal = journal
        return journal

    def call(
        self, lines: Mapping[str, Line], script: CallerScript, to: str = NUMBER, caller: str = ANNA, **more: Any
    ) -> str:
        base_url = self.server.settings.base_url
        carrier = Simulator(
            base_url,
            self._settings.twilio_auth_token,
            clock=self.clock,
            lines=lines,
            book=CallBook(self._path),
            rest_url=self._url,
        )
        try:
            return carrier.call(caller, to, script, **more).sid
        finally:
            carrier.close()

    def wait(self, minutes: float) -> None:
        self.clock._now += timedelta(minutes=minutes)

    def reconcile(self, **options: Any) -> Reconciled:
        return reconcile(self.server, NOON - HOUR, self.clock.now(), **options)

    def told(self, sid: str) -> list[str]:
        return [event for who, event in self.heard.events if who == sid]


@pytest.fixture
def world(shop_with_two_lines: int, settings: Settings, applications: Applications, tmp_path: Path) -> Iterator[World]:
    clock = VirtualClock(NOON)
    path = tmp_path / "simulator.db"
    rest = RestServer(Rest(Account(path), SIMULATED_ACCOUNT, TOKEN, clock.now))
    rest.start()
    with applications.on_a_port(settings) as (_, app):
        yield World(app, settings, clock, path, rest)
    rest.shutdown()
    rest.server_close()


def story(call: Call) -> tuple[str, int | None, str]:
    return call.status, call.talk_seconds, call.destination


def everything(record: Record) -> bool:
    return True


def all_but_the_first(record: Record) -> bool:
    return record["kind"] != "inbound"


@pytest.mark.parametrize("kind", CALLS)
def test_r12_a_call_whose_machine_is_lost_is_written_late_as_what_it_was(world: World, kind: str) -> None:
    lines, script, expected = CALLS[kind]
    journal = world.lose(everything)
    sid = world.call(lines, script)
    lasted = world.clock.now() - NOON
    world.wait(16)
    assert world.reconcile().written == [sid]
    call = calls(world.server)[sid]
    assert story(call) == expected
    assert (call.started_at, call.number, call.caller, call.rule) == (NOON, NUMBER, ANNA, "none")
    assert call.ended_at is not None
    assert timedelta(0) <= NOON + lasted - call.ended_at < timedelta(seconds=2)
    assert world.told(sid) == ["started", "ended"]
    again = world.reconcile()
    assert (again.written, again.completed) == ([], [])
    journal.find_lost()
    assert story(calls(world.server)[sid]) == expected
    assert count(world.server, UnknownCall) == 0
    told = world.told(sid)
    assert (told[:2], set(told[2:])) == (["started", "ended"], {"updated"})
    assert [call.sid for call in calls(world.server).values()] == [sid]


@pytest.mark.parametrize("kind", CALLS)
def test_r12_a_call_that_has_ended_at_the_carrier_ends_here(world: World, kind: str) -> None:
    lines, script, expected = CALLS[kind]
    journal = world.lose(all_but_the_first)
    sid = world.call(lines, script)
    world.wait(16)
    assert calls(world.server)[sid].ended_at is None
    done = world.reconcile()
    assert (done.written, done.completed) == ([], [sid])
    assert story(calls(world.server)[sid]) == expected
    journal.find_lost()
    assert story(calls(world.server)[sid]) == expected
    assert world.told(sid).count("started") == world.told(sid).count("ended") == 1


def test_r12_a_late_call_is_one_lead_whatever_turns_up_afterwards(world: World) -> None:
    """R10, R11: each receiver gets the messages that it would have got, once; what corrects them later is no second start."""
    slots = (("webhook_start", "webhook"), ("webhook_end", "webhook"), ("ga4", "ga4"), ("crm", "odoo"))
    with world.server.database.writing() as session:
        scenario = session.scalars(select(Scenario)).one()
        for slot, kind in slots:
            make_integration(session, scenario, slot, kind)
    journal = world.lose(everything)
    sid = world.call({COMPANY_LINE: Line.is_busy(), SECOND_LINE: Line.answers(6, 30)}, CallerScript())
    world.wait(20)
    for _ in range(2):
        world.reconcile()
    at_first = messages(world.server)
    assert at_first == {"call.started": 1, "call.ended": 3}
    journal.find_lost()
    world.reconcile()
    later = messages(world.server)
    assert {event: amount for event, amount in later.items() if event != "call.updated"} == at_first
    assert list(calls(world.server)) == [sid]


def messages(server: Server) -> dict[str, int]:
    """How many deliveries there are of each event."""
    with server.database.reading() as session:
        return dict(Counter(session.scalars(select(Delivery.event))))


@pytest.mark.parametrize(("database_kind", "kind", "seed"), by_turns(CALLS, range(4)))
def test_r12_whatever_is_lost_the_story_is_what_happened(world: World, kind: str, seed: int) -> None:
    lines, script, expected = CALLS[kind]
    lots = random.Random(f"{kind} {seed}")
    journal = world.lose(lambda record: lots.random() < 0.5)
    sid = world.call(lines, script)
    world.wait(16)
    adopt_unknown_calls(world.server, world.clock.now())
    world.reconcile()
    assert story(calls(world.server)[sid]) == expected
    journal.find_lost()
    assert story(calls(world.server)[sid]) == expected
    assert world.told(sid).count("started") == world.told(sid).count("ended") == 1


def test_r12_calls_of_the_last_quarter_of_an_hour_are_left_alone(world: World) -> None:
    world.lose(everything)
    sid = world.call({COMPANY_LINE: Line.answers(4, 600)}, CallerScript())
    world.wait(14)
    assert world.reconcile().written == [], "it began long ago, and ended a moment ago"
    world.wait(2)
    assert world.reconcile().written == [sid]


def test_r12_while_a_machine_has_records_that_were_not_applied_everything_is_left_alone(world: World) -> None:
    world.lose(everything)
    sid = world.call({}, CallerScript())
    world.wait(60)
    place = {"machine": "m1", "host": "tel-1", "position": "1:0", "seen_at": NOON}
    with world.server.database.writing() as session:
        session.add(JournalPosition(**place, is_waiting=False, is_stopped=False))
    done = world.reconcile()
    assert (done.is_waiting, done.written) == (True, [])
    with world.server.database.writing() as session:
        session.get_one(JournalPosition, "m1").is_stopped = True
    assert world.reconcile().written == [sid]


def test_r12_a_call_to_a_number_that_is_or_was_not_ours_is_left_out(world: World) -> None:
    world.lose(everything)
    world.call({}, CallerScript(), to="+12125559999")
    forwarded = world.call({}, CallerScript(), to="+12125559999", signalling=Signalling(forwarded_from=NUMBER))
    ours = world.call({}, CallerScript())
    with world.server.database.writing() as session:
        number = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == NUMBER)).one()
        number.released_at = world.clock.now()
        make_number(session, make_project(session, key="k-new"), NUMBER).created_at = world.clock.now()
        old_project = number.project_id
    after = world.call({}, CallerScript())
    world.wait(20)
    assert set(world.reconcile().written) == {forwarded, ours, after}
    written = calls(world.server)
    assert written[ours].project_id == written[forwarded].project_id == old_project, "whose number it was then"
    assert written[after].project_id != old_project


def test_r12_a_number_that_came_to_us_later_has_no_calls_of_before(world: World) -> None:
    world.lose(everything)
    world.call({}, CallerScript())
    world.wait(20)
    with world.server.database.writing() as session:
        for number in session.scalars(select(TrackingNumber)):
            number.created_at = world.clock.now()
    assert world.reconcile().written == []


def test_r12_prices_of_both_legs_are_noted_when_the_carrier_tells_them(world: World) -> None:
    sid = world.call({COMPANY_LINE: Line.is_busy(), SECOND_LINE: Line.answers(6, 61)}, CallerScript())
    world.wait(20)
    done = world.reconcile()
    assert (done.written, done.completed, done.priced) == ([], [], [sid])
    call = calls(world.server)[sid]
    prices = (call.inbound_price_micros, call.outbound_price_micros, call.price_currency)
    assert prices == (17_000, 28_000, "USD")
    assert world.reconcile().priced == []
    assert world.told(sid) == ["started", "ended"]


def test_r12_a_call_that_is_written_late_has_its_prices_too(world: World) -> None:
    world.lose(everything)
    sid = world.call({COMPANY_LINE: Line.answers(4, 60)}, CallerScript())
    world.wait(20)
    world.reconcile()
    assert calls(world.server)[sid].inbound_price_micros == 8_500


def test_r12_a_dry_run_changes_nothing(world: World) -> None:
    world.lose(everything)
    lost = world.call({}, CallerScript())
    world.lose(all_but_the_first)
    opened = world.call({}, CallerScript())
    world.wait(20)
    done = world.reconcile(dry_run=True)
    assert (done.written, done.completed, done.priced) == ([lost], [opened], [opened])
    assert set(calls(world.server)) == {opened}
    assert calls(world.server)[opened].ended_at is None


def test_r12_two_at_once_write_a_call_once(world: World) -> None:
    world.lose(everything)
    sids = [world.call({}, CallerScript()) for _ in range(5)]
    world.wait(20)
    errors: list[Exception] = []

    def work() -> None:
        try:
            world.reconcile()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(calls(world.server)) == set(sids)
    for sid in sids:
        assert world.told(sid) == ["started", "ended"]


# ---- the carrier's books as a test writes them ----


@dataclass
class Books:
    """The history of an account."""

    listed: list[CarrierCall] = field(default_factory=list)
    kept: list[Recording] = field(default_factory=list)
    error: ShopError | None = None
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)

    def calls(self, since: datetime, until: datetime) -> Iterator[CarrierCall]:
        self.asked.append((since, until))
        for call in self.listed:
            if call.started_at and since <= call.started_at <= until:
                yield call
        if self.error:
            raise self.error

    def recordings(self, call_sid: str) -> list[Recording]:
        if self.error:
            raise self.error
        return self.kept


def booked(sid: str, status: Any = "completed", **more: Any) -> CarrierCall:
    inbound = InboundCall(sid, "AC1", read_caller(ANNA), NUMBER, NUMBER)
    end = NOON + timedelta(seconds=50)
    return replace(CarrierCall(sid, "", ANNA, NUMBER, "", status, NOON, end, 45, None, "", inbound), **more)


def leg(sid: str, status: Any, to: str = COMPANY_LINE, after: int = 1, **more: Any) -> CarrierCall:
    began, end = NOON + timedelta(seconds=after), NOON + timedelta(seconds=50)
    seconds = 45 if status == "completed" else None
    return replace(CarrierCall(sid, "CA1", ANNA, to, "", status, began, end, seconds, None, "", None), **more)


@pytest.fixture
def books(shop_with_two_lines: int, server: Server) -> Books:
    books = Books()
    server.shop = books  # type: ignore[assignment]  # of the shop only what is asked here
    return books


LATER = NOON + timedelta(hours=2)


def test_r12_a_call_that_goes_on_is_written_without_an_end_and_ends_later(server: Server, books: Books) -> None:
    goes_on = {"ended_at": None, "seconds": None}
    books.listed = [booked("CA1", "in_progress", **goes_on), leg("CL1", "in_progress", **goes_on)]
    reconcile(server, NOON, LATER)
    call = calls(server)["CA1"]
    assert (call.status, call.destination, call.ended_at) == ("in_progress", COMPANY_LINE, None)
    books.listed = [booked("CA1"), leg("CL1", "completed")]
    assert reconcile(server, NOON, LATER).completed == ["CA1"]
    assert story(calls(server)["CA1"]) == ("answered", 45, COMPANY_LINE)


@pytest.mark.parametrize(
    ("status", "legs", "expected"),
    [
        ("completed", [], ("failed", 0, "")),
        ("canceled", [], ("abandoned", 0, COMPANY_LINE)),
        ("no_answer", [leg("CL1", "no_answer")], ("abandoned", 0, COMPANY_LINE)),
        ("completed", [leg("CL1", "no_answer"), leg("CL2", "failed", SECOND_LINE, 20)], ("missed", 0, SECOND_LINE)),
        (
            "completed",
            [leg("CL1", "failed"), leg("CL2", "no_answer", after=3), leg("CL3", "busy", SECOND_LINE, 20)],
            ("missed", 0, SECOND_LINE),
        ),
        (
            "completed",
            [leg("CL1", "failed", ended_at=NOON + timedelta(seconds=2)), leg("CL2", "completed", after=3)],
            ("answered", 45, COMPANY_LINE),
        ),
        ("completed", [leg("CL1", "busy", "sip:desk@shop.example")], ("busy", 0, "sip:desk@shop.example")),
        ("completed", [leg("CL1", "completed", "+14155550999")], ("answered", 45, "+14155550999")),
    ],
)
def test_r12_what_a_late_call_was_follows_from_the_destinations_that_were_rung(
    server: Server, books: Books, status: Any, legs: list[CarrierCall], expected: tuple[str, int, str]
) -> None:
    """A call that only heard a sentence is no talk; destinations of another flow than the present one are the call's own."""
    books.listed = [*reversed(legs), booked("CA1", status)]
    reconcile(server, NOON, LATER)
    call = calls(server)["CA1"]
    assert (story(call), call.ended_at) == (expected, NOON + timedelta(seconds=50))


def test_r12_a_recording_comes_with_a_call_that_is_written_late(server: Server, books: Books) -> None:
    books.listed = [booked("CA1"), leg("CL1", "completed")]
    books.kept = [Recording("CA1", "RE1", "https://api.example/RE1", "completed", 44)]
    reconcile(server, NOON, LATER)
    with server.database.reading() as session:
        recording = session.scalars(select(CallRecording)).one()
    assert (recording.call_sid, recording.sid, recording.seconds, recording.state) == ("CA1", "RE1", 44, "waiting")


def test_r12_an_account_that_may_not_list_recordings_still_gets_its_calls(server: Server, books: Books) -> None:
    books.listed = [booked("CA1"), leg("CL1", "completed")]
    books.recordings = lambda _: refuse()  # type: ignore[method-assign]  # a stand-in
    assert reconcile(server, NOON, LATER).written == ["CA1"]


def refuse() -> list[Recording]:
    raise NotForUs("No.")


def test_r12_a_call_that_cannot_be_written_keeps_no_other_from_it(
    server: Server, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at_one(server: Server, session: Any, route: Any, inbound: InboundCall, *more: Any) -> int | None:
        if inbound.sid == "CA2":
            raise ValueError("it cannot be")
        return record_inbound(server, session, route, inbound, *more)

    monkeypatch.setattr(module, "record_inbound", fail_at_one)
    books.listed = [booked("CA1"), booked("CA2"), booked("CA3")]
    done = reconcile(server, NOON, LATER)
    assert (done.written, done.failed) == (["CA1", "CA3"], ["CA2"])
    assert set(calls(server)) == {"CA1", "CA3"}


def test_r14_of_a_forgotten_caller_the_carrier_brings_calls_without_the_number(server: Server, books: Books) -> None:
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        forget_caller(server, session, project, ANNA, Actor("alice"), NOON + timedelta(minutes=10))
    books.listed = [booked("CA1"), booked("CA2", started_at=NOON + timedelta(minutes=20))]
    reconcile(server, NOON, LATER)
    assert {sid: (call.caller, call.caller_raw) for sid, call in calls(server).items()} == {
        "CA1": (None, ""),
        "CA2": (ANNA, ANNA),
    }
    assert [call.first_call for call in calls(server).values()] == [True, True]
    with server.database.reading() as session:
        told = session.scalars(select(UnknownCall).order_by(UnknownCall.sid)).all()
    assert [each.call["caller"]["e164"] for each in told] == [None, ANNA]


def test_r12_a_long_time_is_asked_for_in_parts(server: Server, books: Books) -> None:
    reconcile(server, LATER - timedelta(hours=13), LATER)
    begins = [since for since, _ in books.asked]
    assert begins == [LATER - timedelta(hours=13), LATER - timedelta(hours=7), LATER - timedelta(hours=1)]
    assert all(until - since <= module.WINDOW + module.LEGS_LATER for since, until in books.asked)


def test_r12_the_worker_looks_once_an_hour_and_from_where_it_looked_last(server: Server, books: Books) -> None:
    assert reconcile_hourly(server, NOON) is not None
    assert books.asked[0][0] == NOON - HOUR - module.REACH
    assert reconcile_hourly(server, NOON + timedelta(minutes=59)) is None
    books.error = TryLater("Not now.")
    with pytest.raises(TryLater):
        reconcile_hourly(server, NOON + timedelta(hours=30))
    books.error, books.asked = None, []
    reconcile_hourly(server, NOON + timedelta(hours=30))
    assert books.asked[0][0] == NOON - module.REACH, "what was left out is made up for"


def test_r12_a_clock_that_was_wrong_for_a_while_stops_no_later_turn(server: Server, books: Books) -> None:
    assert reconcile_hourly(server, NOON + timedelta(days=3000)) is not None
    books.asked = []
    assert reconcile_hourly(server, NOON) is not None
    assert books.asked[0][0] == NOON - module.LONGEST_GAP
    assert reconcile_hourly(server, NOON + timedelta(minutes=59)) is None


def test_r12_without_an_account_nobody_is_asked(server: Server) -> None:
    server.settings = server.settings.model_copy(update={"carrier": "twilio", "twilio_account_sid": ""})
    assert reconcile_hourly(server, NOON) is None
    with pytest.raises(SettingsError):
        reconcile(server, NOON, LATER)


def run(server: Server, *words: str) -> Any:
    return CliRunner().invoke(router, ["reconcile", *words], obj=None)


@pytest.fixture
def commanded(server: Server, books: Books, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("router.cli.open_server", lambda: server)
    server.now = lambda: LATER
    return server


def test_r12_the_command_says_what_it_did(commanded: Server, books: Books) -> None:
    books.listed = [booked("CA1", price_micros=8500, currency="USD"), leg("CL1", "completed")]
    done = run(commanded, "--dry-run")
    assert (
        done.output
        == "CA1: missing here\n1 call would be written late, 0 calls would be completed; prices of 0 calls would be noted.\n"
    )
    assert calls(commanded) == {}
    assert run(commanded, "--since", "100m").output.startswith("0 calls written late")
    done = run(commanded, "--since", "3h")
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "CA1: written late")
    for wrong in ("soon", "2", "2w", ""):
        assert run(commanded, "--since", wrong).exit_code == 2
    books.error = TryLater("The carrier was not reached.")
    done = run(commanded)
    assert (done.exit_code, "not reached" in done.output) == (1, True)


def test_r12_the_command_says_that_a_machine_is_waited_for(commanded: Server, books: Books) -> None:
    place = {"machine": "m1", "host": "tel-1", "position": "1:0", "seen_at": NOON}
    with commanded.database.writing() as session:
        session.add(JournalPosition(**place, is_waiting=False, is_stopped=False))
    done = run(commanded)
    assert (done.exit_code, "router doctor" in done.output) == (1, True)


def test_r12_what_a_call_is_told_late_has_the_keys_of_the_carriers_callbacks(world: World) -> None:
    """So that neither is counted twice."""
    sid = world.call({COMPANY_LINE: Line.answers(4, 60)}, CallerScript())
    with world.server.database.reading() as session:
        before = set(session.scalars(select(CallEvent.key).where(CallEvent.call_sid == sid)))
    world.wait(20)
    shop = world.server.shop
    assert shop is not None
    (only,) = module._read_books(shop, NOON - HOUR, world.clock.now(), world.clock.now())
    assert {key for key, _ in module.events_of(only, [COMPANY_LINE, SECOND_LINE])} <= before


def test_r12_a_call_that_is_no_call_is_passed_over() -> None:
    assert read_carrier_call({"sid": "CA1", "status": None}) is None


FLOW: dict[str, Any] = {
    "steps": [
        {
            "type": "menu",
            "prompt": {"text": "Press 1."},
            "keys": {"1": [{"type": "ring", "destinations": [{"to": COMPANY_LINE}], "accept": True}]},
            "no_input": [{"type": "voicemail"}],
            "tries": 1,
        }
    ]
}


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("script", "late", "known"),
    [
        (CallerScript(digits="1"), "answered", "answered"),
        (CallerScript(message=0), "abandoned", "missed"),
        (CallerScript(), "voicemail", "voicemail"),
    ],
)
def test_r12_of_a_call_through_steps_is_written_late_what_the_books_tell(
    world: World, script: CallerScript, late: str, known: str
) -> None:
    with world.server.database.writing() as session:
        flow = FlowSchema.model_validate(FLOW).document()
        store_flow(session, session.scalars(select(Scenario)).one(), flow, NOON)
    journal = world.lose(everything)
    sid = world.call({"*": Line.answers(4, 60, "1")}, script)
    world.wait(16)
    assert world.reconcile().written == [sid]
    assert calls(world.server)[sid].status == late
    assert world.reconcile().completed == [], "nothing is new"
    journal.find_lost()
    assert calls(world.server)[sid].status == known
    assert world.reconcile().completed == []
    assert world.told(sid).count("ended") == 1
