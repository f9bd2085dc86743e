"""R12: the journal is carried into the database once, in order, with the times and flows of when it was written; what is wrong by itself is
set aside, and whatever is wrong with the database is waited for."""

import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import OperationalError

from router.carriers.base import InboundCall
from router.db import Database
from router.lib.phones import read_caller
from router.server import Server
from router.voice import applier as module
from router.voice import events, journal, repair
from router.voice.answers import Begun
from router.voice.applier import Applier, adopt_unknown_calls, apply_records, journal_folder, machine_of
from router.voice.calls import call_ended, call_started, call_updated
from router.voice.events import close_silent_calls, machine_is_waiting, repeat_fan_out, state_of_journals
from router.voice.journal import Journal, JournalError, Position, segment_path
from router.voice.models import EXTERNAL, Call, CallEvent, JournalPosition, SetAsideRecord, UnknownCall
from router.voice.records import FALLBACK, Record, event_record, inbound_record
from router.voice.repair import retry_set_aside
from router.voice.routing import find_route
from router.voice.state import Event
from tests.factories import COMPANY_LINE, NOON, make_project, make_scenario
from tests.properties import examples
from tests.voice.carrier import ANNA, CarrierClient
from tests.waiting import eventually

NUMBER, SECOND_LINE = "+12125552001", "+14155550122"
SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def shop(server: Server, clock: Any) -> Server:
    """Its journal is applied when a test says so."""
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=[COMPANY_LINE, SECOND_LINE])
    server.journal = Journal(journal_folder(server))
    return server


@pytest.fixture
def carrier(client: FlaskClient, shop: Server) -> CarrierClient:
    return CarrierClient(client, shop)


class Heard:
    """What receivers of call events are told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        for signal in (call_started, call_ended, call_updated):
            signal.connect(self.hear)

    def hear(self, sender: Server, event: str, call: Call, **_: Any) -> None:
        self.events.append((call.sid, event.removeprefix("call.")))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def applier(server: Server, folder: Path | None = None) -> Applier:
    return Applier(server, folder or journal_folder(server), resident=False)


def calls(server: Server) -> dict[str, Call]:
    with server.database.reading() as session:
        return {call.sid: call for call in session.scalars(select(Call).order_by(Call.started_at))}


def count(server: Server, model: Any) -> int:
    with server.database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def whole_call(carrier: CarrierClient, clock: Any, sid: str = "CA1", caller: str = ANNA) -> None:
    """Forty-five seconds with the company after five of ringing."""
    carrier.dial(NUMBER, caller, sid=sid)
    carrier.leg("ringing", f"CL{sid}", sid=sid)
    clock.shift(timedelta(seconds=5))
    carrier.leg("in-progress", f"CL{sid}", sid=sid)
    clock.shift(timedelta(seconds=45))
    carrier.leg("completed", f"CL{sid}", sid=sid, CallDuration=45)
    carrier.action(NUMBER, 1, "completed", sid=sid, DialBridged="true", DialCallDuration=45, From=caller)
    carrier.status("completed", sid=sid, From=caller, To=NUMBER, CallDuration=45)


def visit(client: FlaskClient, query: str) -> Any:
    return client.post("/tag/k-shop/visits", json={"page": f"https://shop.example/?{query}"}, headers=SITE).get_json()


STORED = (
    "started_at", "answered_at", "ended_at", "status", "talk_seconds", "ring_seconds", "destination", "first_call", "rule", "confidence",
    "source_confidence", "source", "candidates", "decision", "flow", "kind", "number", "caller",
)  # fmt: skip


def stored(call: Call) -> dict[str, Any]:
    return {name: getattr(call, name) for name in STORED}


def test_r12_nothing_stands_in_the_database_until_it_is_applied_and_then_once(
    shop: Server, carrier: CarrierClient, clock: Any, heard: Heard
) -> None:
    whole_call(carrier, clock)
    assert calls(shop) == {}
    applier(shop).apply_all()
    call = calls(shop)["CA1"]
    assert (call.started_at, call.ended_at) == (NOON, NOON + timedelta(seconds=50))
    assert (call.status, call.talk_seconds, call.ring_seconds) == ("answered", 45, 5)
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]
    assert applier(shop).apply_next() == 0
    with shop.database.writing() as session:
        session.execute(delete(JournalPosition))  # the database was put back to a state before
    applier(shop).apply_all()
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]
    assert count(shop, CallEvent) == 5


def test_r12_applied_at_once_or_twenty_minutes_later_the_decision_is_the_same(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    """The visitors' pages go on meanwhile: they are looked at, left, and others are shown the number."""
    given = visit(client, "utm_source=google&utm_medium=cpc")
    clock.shift(timedelta(seconds=50))
    whole_call(carrier, clock)
    database, later = shop.database, journal_folder(shop).with_name("later")
    shutil.copytree(journal_folder(shop), later)
    applier(shop).apply_all()
    at_once = stored(calls(shop)["CA1"])
    with database.writing() as session:
        for model in (Call, CallEvent, JournalPosition):
            session.execute(delete(model))
    client.post(f"/tag/k-shop/visits/{given['token']}/alive", json={}, headers=SITE)
    client.post(f"/tag/k-shop/visits/{given['token']}/left", json={}, headers=SITE)
    for _ in range(3):
        clock.shift(timedelta(minutes=6))
        visit(client, "utm_source=mail&utm_medium=email")
    applier(shop, later).apply_all()
    assert stored(calls(shop)["CA1"]) == at_once
    assert at_once["rule"] == "lease"


def test_r12_a_record_that_is_wrong_by_itself_is_set_aside_and_nothing_behind_it_waits(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    journal = shop.journal
    assert journal is not None
    carrier.dial(NUMBER, sid="CA1")
    journal.append({"kind": "leg", "sid": "CA1"})
    journal.append({"kind": "inbound", "sid": "x" * 900, "call": {"what": "\0"}})
    carrier.dial(NUMBER, sid="CA2")
    path = segment_path(journal_folder(shop), 1)
    with path.open("ab") as file:
        file.write(b"0123456789abcdef {\n")
    carrier.dial(NUMBER, sid="CA3")
    applier(shop).apply_all()
    assert set(calls(shop)) == {"CA1", "CA2", "CA3"}
    with shop.database.reading() as session:
        aside = session.scalars(select(SetAsideRecord).order_by(SetAsideRecord.id)).all()
        assert state_of_journals(session, shop.now()) == "3 records could not be applied: run router doctor"
    assert [record.call_sid for record in aside] == ["CA1", "x" * 64, None]
    assert aside[2].reason == "ValueError: its checksum does not fit"


def test_r12_a_receiver_that_fails_costs_no_other_call_its_facts(shop: Server, carrier: CarrierClient) -> None:
    def fail(sender: Server, session: Any, call: Call, **_: Any) -> None:
        if call.sid == "CA2":
            session.execute(text("SELECT * FROM no_such_table"))

    with call_started.connected_to(fail):
        for sid in ("CA1", "CA2", "CA3"):
            carrier.dial(NUMBER, sid=sid)
        applier(shop).apply_all()
    assert {sid: call.fan_out_due for sid, call in calls(shop).items()} == {"CA1": "", "CA2": "started", "CA3": ""}
    assert count(shop, SetAsideRecord) == 0


def test_r12_while_the_schema_is_old_everything_waits_in_order(shop: Server, carrier: CarrierClient) -> None:
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call RENAME TO call_of_old"))
    work = applier(shop)
    for sid in ("CA1", "CA2"):
        carrier.dial(NUMBER, sid=sid)
        with pytest.raises(Exception, match="call"):
            work.apply_all()
    assert count(shop, SetAsideRecord) == 0
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call_of_old RENAME TO call"))
    work.apply_all()
    assert list(calls(shop)) == ["CA1", "CA2"]


def test_r12_while_the_database_is_away_a_caller_hears_the_same_and_is_recorded_later(
    shop: Server, carrier: CarrierClient, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = carrier.dial(NUMBER, sid="CA0").data
    work = applier(shop)

    def away(*_: Any) -> Any:
        raise OperationalError("", {}, Exception("gone"))

    with monkeypatch.context() as patched:
        patched.setattr(Database, "writing", away)
        assert carrier.dial(NUMBER, sid="CA1").data == document.replace(b"CA0", b"CA1")
        with pytest.raises(OperationalError):
            work.apply_all()
    clock.shift(timedelta(minutes=20))
    work.apply_all()
    assert calls(shop)["CA1"].started_at == NOON


class NoDisk:
    def append(self, record: Record) -> None:
        raise JournalError("No space left on device")


def test_r12_without_a_disk_a_call_is_written_to_the_database_directly_else_to_the_log(
    shop: Server, carrier: CarrierClient, caplog: pytest.LogCaptureFixture
) -> None:
    shop.journal = NoDisk()
    assert COMPANY_LINE in carrier.dial(NUMBER, sid="CA1").text
    assert set(calls(shop)) == {"CA1"}
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call RENAME TO call_of_old"))
    assert COMPANY_LINE in carrier.dial(NUMBER, sid="CA2").text
    assert any("record_lost" in record.getMessage() for record in caplog.records)


def test_r12_what_neither_journal_nor_database_took_is_journaled_when_the_disk_is_back(
    shop: Server, carrier: CarrierClient
) -> None:
    journal, shop.journal = shop.journal, NoDisk()
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call RENAME TO call_of_old"))
    carrier.dial(NUMBER, sid="CA1")
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call_of_old RENAME TO call"))
    shop.journal = journal
    carrier.dial(NUMBER, sid="CA2")
    work = applier(shop)

    def all_stand_there() -> bool:
        work.apply_all()
        return set(calls(shop)) == {"CA1", "CA2"}

    eventually(all_stand_there)


def test_r12_a_journal_that_somebody_empties_beside_the_applier_begins_anew(
    shop: Server, carrier: CarrierClient
) -> None:
    journal, work = shop.journal, applier(shop)
    assert isinstance(journal, Journal)
    for _ in range(3):
        journal.begin_segment()
    carrier.dial(NUMBER, sid="CA1")
    work.apply_all()
    for path in journal_folder(shop).glob("*.journal"):
        path.unlink()
    carrier.dial(NUMBER, sid="CA2")
    work.apply_all()
    assert set(calls(shop)) == {"CA1", "CA2"}


def test_r12_a_call_goes_on_by_the_flow_that_its_address_names(shop: Server, carrier: CarrierClient) -> None:
    """Also in a process that has not seen its beginning."""
    carrier.dial(NUMBER)
    with shop.database.writing() as session:
        session.execute(text("UPDATE scenario SET call_flow_id = NULL"))
    shop.begun_calls.clear()
    shop.routing = None
    assert SECOND_LINE in carrier.action(NUMBER, 1, "busy").text
    carrier.dial(NUMBER, sid="CA2")
    assert "<Hangup" in carrier.action(NUMBER, 1, "busy", sid="CA2").text, "the fallback line was the only one"
    for address in ("/voice/dial/CA3/1?flow=999&start=1", "/voice/dial/CA3/1?flow=x&start=9e9", "/voice/dial/CA3/1"):
        answer = carrier.post(address, CallSid="CA3", To=NUMBER, From=ANNA, DialCallStatus="busy")
        assert "<Hangup" in answer.text, "by the number's present flow"


def test_r12_two_answers_to_one_call_the_flow_counts_to_which_the_carrier_comes_back(
    shop: Server, carrier: CarrierClient
) -> None:
    carrier.dial(NUMBER)
    old = carrier.next["CA1", 1]
    with shop.database.writing() as session:
        session.execute(text("UPDATE scenario SET call_flow_id = NULL"))
    shop.begun_calls.clear()  # the carrier asked again, and another process answered
    carrier.dial(NUMBER)
    assert carrier.next["CA1", 1] != old
    carrier.action(NUMBER, 1, "busy")
    applier(shop).apply_all()
    assert [step["to"] for step in calls(shop)["CA1"].flow["destinations"]] == ["+14155550111"]


# ---- two machines ----


def inbound_at(server: Server, sid: str, at: datetime, caller: str = ANNA) -> Record:
    with server.database.reading() as session:
        route = find_route(session, NUMBER)
    assert route is not None
    call = InboundCall(sid, "AC1", read_caller(caller), NUMBER, NUMBER)
    return inbound_record(call, route, Begun(at, route.flow, route.flow_id), EXTERNAL, at)


def status_at(sid: str, at: datetime, status: str = "completed", seconds: int | None = 30) -> Record:
    call = InboundCall(sid, "AC1", read_caller(ANNA), NUMBER, NUMBER)
    return event_record(sid, f"status:{status}", Event("status", at, {"status": status, "seconds": seconds}), at, call)


class Machines:
    """Two machines' journals beside one database."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folders = [folder / "one", folder / "two"]
        self.journals = [Journal(each) for each in self.folders]
        self.appliers = [applier(server, each) for each in self.folders]

    def append(self, machine: int, record: Record) -> None:
        self.journals[machine].append(record)

    def apply(self, machine: int) -> None:
        self.appliers[machine].apply_all()


@pytest.fixture
def machines(shop: Server, tmp_path: Path) -> Machines:
    return Machines(shop, tmp_path)


def test_r12_the_end_may_be_applied_before_the_beginning(shop: Server, machines: Machines, heard: Heard) -> None:
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=40)))
    machines.append(1, inbound_at(shop, "CA1", NOON))
    machines.apply(0)
    assert calls(shop) == {}
    machines.apply(1)
    call = calls(shop)["CA1"]
    assert (call.started_at, call.status, call.talk_seconds) == (NOON, "answered", 30)
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]
    shop_now = NOON + timedelta(minutes=5)
    assert adopt_unknown_calls(shop, shop_now) == 1, "it is looked at, and known already"
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]
    assert count(shop, UnknownCall) == 0


def test_r12_a_receiver_that_fails_at_a_later_call_costs_an_earlier_one_nothing(
    shop: Server, machines: Machines
) -> None:
    machines.append(0, inbound_at(shop, "CA2", NOON + timedelta(seconds=30)))
    machines.append(0, status_at("CA2", NOON + timedelta(seconds=60)))
    machines.append(1, inbound_at(shop, "CA1", NOON))
    machines.apply(0)

    def fail(sender: Server, **_: Any) -> None:
        raise RuntimeError("down")

    with call_updated.connected_to(fail):
        machines.apply(1)
    known = calls(shop)
    assert {sid: (call.first_call, call.fan_out_due) for sid, call in known.items()} == {
        "CA1": (True, "started"),
        "CA2": (False, "updated"),
    }
    assert count(shop, SetAsideRecord) == 0


def test_r12_a_receiver_that_fails_at_every_change_of_a_call_costs_it_nothing(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    def fail(sender: Server, **_: Any) -> None:
        raise RuntimeError("down")

    with call_ended.connected_to(fail), call_updated.connected_to(fail):
        whole_call(carrier, clock)
        for number in range(10):
            recording = {"RecordingSid": f"RE{number}", "RecordingUrl": f"https://carrier.example/RE{number}"}
            clock.shift(1)
            carrier.post("/voice/recording", CallSid="CA1", RecordingStatus="completed", **recording)
            applier(shop).apply_all()
    call = calls(shop)["CA1"]
    assert (call.recording_sid, call.fan_out_due) == ("RE9", "ended,updated")
    assert count(shop, SetAsideRecord) == 0


def test_r12_the_first_request_corrects_a_call_also_when_its_fallback_stands_beside_it(
    shop: Server, machines: Machines
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON + timedelta(seconds=30)))
    machines.apply(0)
    machines.append(1, inbound_at(shop, "CA1", NOON))
    machines.append(1, {**inbound_at(shop, "CA1", NOON + timedelta(seconds=5)), "kind": FALLBACK})
    machines.apply(1)
    assert calls(shop)["CA1"].started_at == NOON


def test_r12_beginning_and_end_that_two_machines_apply_at_the_same_time_meet(shop: Server, machines: Machines) -> None:
    machines.append(1, status_at("CA1", NOON + timedelta(seconds=40)))
    other = threading.Thread(target=machines.apply, args=(1,))
    with shop.database.writing() as session:
        apply_records(shop, session, [inbound_at(shop, "CA1", NOON)], shop.now(), announcing=True)
        other.start()
        other.join(1.0)
    other.join()
    assert calls(shop)["CA1"].status == "answered"
    assert count(shop, UnknownCall) == 0


def test_r12_two_calls_of_one_caller_that_two_machines_apply_at_the_same_time_see_each_other(
    shop: Server, machines: Machines
) -> None:
    machines.append(1, inbound_at(shop, "CA2", NOON + timedelta(seconds=1)))
    other = threading.Thread(target=machines.apply, args=(1,))
    with shop.database.writing() as session:
        apply_records(shop, session, [inbound_at(shop, "CA1", NOON)], shop.now(), announcing=True)
        other.start()
        other.join(1.0)
    other.join()
    assert {sid: call.first_call for sid, call in calls(shop).items()} == {"CA1": True, "CA2": False}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_r12_of_one_call_in_two_journals_the_earliest_record_gives_the_start(
    shop: Server, machines: Machines, heard: Heard, order: tuple[int, int]
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.append(1, inbound_at(shop, "CA1", NOON + timedelta(seconds=4)))
    for machine in order:
        machines.apply(machine)
    assert calls(shop)["CA1"].started_at == NOON
    assert heard.events == [("CA1", "started")]


def test_r12_the_first_request_of_an_adopted_call_corrects_it_and_nobody_is_told_of_a_second(
    shop: Server, machines: Machines, heard: Heard, clock: Any
) -> None:
    machines.append(0, inbound_at(shop, "CA2", NOON + timedelta(minutes=2)))
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=70)))
    machines.apply(0)
    clock.shift(timedelta(minutes=10))
    assert adopt_unknown_calls(shop, shop.now()) == 1
    adopted = calls(shop)["CA1"]
    assert adopted.started_at == NOON + timedelta(seconds=40), "as long before its end as it lasted"
    assert calls(shop)["CA2"].first_call is False
    machines.append(1, inbound_at(shop, "CA1", NOON, caller="+14155550178"))
    machines.apply(1)
    call = calls(shop)["CA1"]
    assert (call.started_at, call.caller, call.first_call) == (NOON, "+14155550178", True)
    assert calls(shop)["CA2"].first_call is True, "it was another caller"
    told = [event for sid, event in heard.events if sid == "CA1"]
    assert told == ["started", "ended", "updated"]
    machines.append(1, inbound_at(shop, "CA1", NOON, caller="+14155550178"))
    machines.apply(1)
    assert [event for sid, event in heard.events if sid == "CA1"] == told


def test_r12_an_adopted_call_is_corrected_by_its_first_request_also_where_the_carrier_fell_back_after_it(
    shop: Server, machines: Machines, clock: Any
) -> None:
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=70)))
    machines.apply(0)
    clock.shift(timedelta(minutes=10))
    assert adopt_unknown_calls(shop, shop.now()) == 1
    first = inbound_at(shop, "CA1", NOON, caller="+14155550178")
    machines.append(1, first)
    machines.append(1, dict(first) | {"kind": "fallback", "start": (NOON + timedelta(seconds=3)).isoformat()})
    machines.apply(1)
    call = calls(shop)["CA1"]
    assert (call.started_at, call.caller) == (NOON, "+14155550178")


def test_r12_while_a_machine_is_silent_nothing_is_concluded_from_what_is_missing(
    shop: Server, machines: Machines, clock: Any
) -> None:
    resident = Applier(shop, machines.folders[1])
    machines.append(1, inbound_at(shop, "CA9", NOON))
    resident.apply_all()
    machines.append(0, status_at("CA1", NOON))
    machines.apply(0)
    clock.shift(timedelta(minutes=5))
    assert adopt_unknown_calls(shop, shop.now()) == 0
    with shop.database.reading() as session:
        assert machine_is_waiting(session, shop.now())
        assert "is silent since" in state_of_journals(session, shop.now())
    stop = threading.Event()
    stop.set()
    machines.appliers[1] = Applier(shop, machines.folders[1])
    machines.appliers[1].run(stop)  # it comes back, has nothing left to do, and ends
    assert adopt_unknown_calls(shop, shop.now()) == 1


def test_r12_a_copied_folder_is_another_machine_and_a_moved_one_is_the_same(tmp_path: Path) -> None:
    machine = machine_of(tmp_path / "journal")
    assert machine_of(tmp_path / "journal") == machine
    shutil.copytree(tmp_path / "journal", tmp_path / "copy")
    assert machine_of(tmp_path / "copy") != machine
    (tmp_path / "journal").rename(tmp_path / "moved")
    assert machine_of(tmp_path / "moved") == machine
    (tmp_path / "moved" / "machine").write_text("nonsense")
    assert machine_of(tmp_path / "moved") != machine


def test_r12_a_journal_that_was_emptied_begins_anew(shop: Server, machines: Machines) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    with shop.database.writing() as session:
        place = {"machine": machine_of(machines.folders[0]), "host": "x", "position": str(Position(7, 12))}
        session.add(JournalPosition(**place, seen_at=NOON, is_waiting=False, is_stopped=True))
    machines.apply(0)
    assert set(calls(shop)) == {"CA1"}


def test_r12_what_a_power_cut_took_of_a_journal_hides_nothing_that_comes_later(
    shop: Server, machines: Machines
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.apply(0)
    segment = segment_path(machines.folders[0], 1)
    segment.write_bytes(segment.read_bytes()[:40])
    machines.appliers[0] = applier(shop, machines.folders[0])
    assert machines.appliers[0].apply_next() == 0
    machines.append(0, inbound_at(shop, "CA2", NOON))
    machines.apply(0)
    assert set(calls(shop)) == {"CA1", "CA2"}


def test_r12_a_machine_says_that_records_wait_until_it_has_applied_them(
    shop: Server, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    for index in range(5):
        machines.append(0, inbound_at(shop, f"CA{index}", NOON))
    resident = Applier(shop, machines.folders[0])
    waiting = []
    for _ in range(3):
        resident.apply_next()
        with shop.database.reading() as session:
            waiting.append(machine_is_waiting(session, shop.now()))
    assert waiting == [True, True, False]


def test_r12_a_line_of_a_later_program_is_kept_whole_and_applied_when_that_program_is_there(
    shop: Server, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(journal, "VERSION", 2)
        machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.append(0, inbound_at(shop, "CA2", NOON))
    machines.apply(0)
    assert set(calls(shop)) == {"CA2"}
    assert retry_set_aside(shop, shop.now()) == (0, 1)
    monkeypatch.setattr(repair, "VERSION", 2)
    assert retry_set_aside(shop, shop.now()) == (1, 0)
    assert set(calls(shop)) == {"CA1", "CA2"}


def test_r12_only_one_applies_a_journal_at_a_time(shop: Server) -> None:
    first, second, stop = Applier(shop, journal_folder(shop)), Applier(shop, journal_folder(shop)), threading.Event()
    assert first.hold(stop)
    stop.set()
    assert not second.hold(stop)


# ---- in any order ----

TALKS = st.tuples(st.sampled_from(["answered", "missed", "busy", "abandoned"]), st.integers(1, 30), st.integers(1, 300))


def story(server: Server, sid: str, at: datetime, end: str, rings: int, talks: int) -> tuple[list[Record], Record]:
    """All that a carrier tells of a call to one destination; the last request, which nobody loses, apart."""
    begin = inbound_at(server, sid, at)
    began = {"start": begin["start"], "flow": begin["flow"]}
    leg = f"CL{sid}"

    def event(kind: str, key: str, after: float, **facts: Any) -> dict[str, Any]:
        moment = at + timedelta(seconds=after)
        record = event_record(sid, key, Event(kind, moment, facts), moment)
        return dict(record) | ({"began": began, "call": begin["call"]} if kind == "dial" else {})

    def of_leg(status: str, after: float, talk: int | None = None) -> dict[str, Any]:
        return event("leg", f"leg:{leg}:{status}", after, leg_sid=leg, to=COMPANY_LINE, status=status, seconds=talk)

    def of_dial(step: int, status: str, after: float, **more: Any) -> dict[str, Any]:
        facts = {"step": step, "leg_sid": leg, "status": status, "bridged": False, "seconds": None, "call_status": None}
        return event("dial", f"dial:{step}", after, **facts | more)

    rung = [of_leg("initiated", 0.1), of_leg("ringing", 0.5)]
    if end == "answered":
        done = rings + talks
        last = of_dial(1, "completed", done, bridged=True, seconds=talks, call_status="completed")
        return [begin, *rung, of_leg("answered", rings), of_leg("completed", done, talks)], last
    if end == "abandoned":
        return [begin, *rung, of_leg("canceled", rings)], of_dial(1, "canceled", rings, call_status="completed")
    status = "no_answer" if end == "missed" else "busy"
    first = of_dial(1, status, rings, call_status="ringing")
    return [begin, *rung, of_leg(status, rings), first], of_dial(2, status, rings + 5, call_status="ringing")


@given(data=st.data())
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_r12_in_whatever_order_and_in_whichever_journals_the_story_is_what_happened(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, in_order: Server
) -> None:
    server, heard = in_order, Heard()
    with server.database.writing() as session:
        for model in (Call, CallEvent, UnknownCall, JournalPosition):
            session.execute(delete(model))
        session.execute(text("DELETE FROM call_leg"))
    machines = Machines(server, tmp_path_factory.mktemp("journals"))
    truth, records = {}, []
    for index, (end, rings, talks) in enumerate(data.draw(st.lists(TALKS, min_size=1, max_size=3))):
        sid = f"CA{index}"
        truth[sid] = (end, talks if end == "answered" else 0, NOON + timedelta(hours=index))
        early, last = story(server, sid, truth[sid][2], end, rings, talks)
        kept = [early[0], *(record for record in early[1:] if data.draw(st.integers(0, 4), "lost"))]
        records += [*kept, *data.draw(st.lists(st.sampled_from(early)), "doubled"), last]
    for record in data.draw(st.permutations(records), "order"):
        machine = data.draw(st.integers(0, 1), "machine")
        machines.append(machine, record)
        if data.draw(st.booleans(), "applied"):
            machines.apply(machine)
    for machine in data.draw(st.permutations([0, 1])):
        machines.apply(machine)
    stories = {sid: (call.status, call.talk_seconds, call.started_at) for sid, call in calls(server).items()}
    assert stories == truth
    for sid in truth:
        told = [event for who, event in heard.events if who == sid]
        assert told.count("started") == told.count("ended") == 1
        assert told[0] == "started"
    firsts = [call.first_call for call in calls(server).values()]
    assert firsts == [True] + [False] * (len(truth) - 1)


@pytest.fixture
def in_order(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=[COMPANY_LINE, SECOND_LINE])
    return server


def test_r12_an_unknown_call_that_cannot_be_written_keeps_no_other_waiting(shop: Server, machines: Machines) -> None:
    for sid in ("CA1", "CA2"):
        machines.append(0, status_at(sid, NOON))
    machines.apply(0)
    with shop.database.writing() as session:
        session.get_one(UnknownCall, "CA1").call = {"sid": "CA1"}
        session.get_one(UnknownCall, "CA1").known_at = NOON - timedelta(seconds=1)
    adopt_unknown_calls(shop, NOON + timedelta(minutes=5))
    assert set(calls(shop)) == {"CA2"}


def test_r12_a_call_that_cannot_be_closed_keeps_no_other_open(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sid in ("CA1", "CA2"):
        carrier.dial(NUMBER, sid=sid)
    applier(shop).apply_all()
    derive = events.derive_state

    def fail_at_the_first(started_at: datetime, destinations: Any, *others: Any, **more: Any) -> Any:
        if not failed:
            failed.append(1)
            raise KeyError("facts")
        return derive(started_at, destinations, *others, **more)

    failed: list[int] = []
    monkeypatch.setattr(events, "derive_state", fail_at_the_first)
    close_silent_calls(shop, NOON + timedelta(hours=5))
    assert sorted(call.status for call in calls(shop).values()) == ["in_progress", "unknown"]


def test_r12_calls_of_which_a_receiver_never_hears_keep_no_other_waiting(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BATCH", 1)

    def fail(sender: Server, call: Call, **_: Any) -> None:
        if call.sid == "CA1" or is_down:
            raise RuntimeError("down")

    is_down = True
    with call_started.connected_to(fail):
        for sid in ("CA1", "CA2"):
            carrier.dial(NUMBER, sid=sid)
            applier(shop).apply_all()
        is_down = False
        eventually(lambda: repeat_fan_out(shop, NOON))
    assert {sid: call.fan_out_due for sid, call in calls(shop).items()} == {"CA1": "started", "CA2": ""}


def test_r12_an_applier_is_heard_of_also_after_the_clock_was_set_back(shop: Server, clock: Any) -> None:
    work = applier(shop)
    work._begin()
    work._tell(is_stopped=False)
    clock.move_to(NOON - timedelta(hours=2))
    work._tell(is_stopped=False)
    with shop.database.reading() as session:
        assert session.scalars(select(JournalPosition)).one().seen_at == NOON - timedelta(hours=2)
