"""R12: the journal is carried into the database once, in order, with the times and flows of when it was written; what is wrong by itself is
set aside, and whatever is wrong with the database is waited for."""

import shutil
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from router.db import Database
from router.server import Server
from router.voice import applier as module
from router.voice import events, journal, repair
from router.voice.applier import DOUBTED_TRIES, Applier, adopt_unknown_calls, journal_folder, machine_of
from router.voice.calls import call_started
from router.voice.events import close_silent_calls, machine_is_waiting, repeat_fan_out, state_of_journals
from router.voice.first_answers import FirstAnswers
from router.voice.journal import Journal, Position, segment_path
from router.voice.models import Call, CallEvent, JournalPosition, SetAsideRecord, UnknownCall
from router.voice.repair import retry_set_aside
from tests.factories import COMPANY_LINE, NOON, NUMBER, SECOND_LINE
from tests.voice.carrier import ANNA, CarrierClient
from tests.voice.journals import (
    SITE,
    Heard,
    Machines,
    NoDisk,
    applier,
    calls,
    count,
    inbound_at,
    status_at,
    stored,
    visit,
    whole_call,
)
from tests.waiting import eventually


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


NO_COLUMN_TAKES = {
    "kind": {"is": "leg"},
    "sid": "CA1",
    "key": "leg",
    "event_at": NOON.isoformat(),
    "facts": {},
    "call": None,
}
"""A document where a text belongs: both drivers call that a mistake of the program."""


def test_r12_a_record_that_the_database_refuses_for_a_minute_is_set_aside_once_others_are_taken(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    journal, work = shop.journal, applier(shop)
    assert journal is not None

    def tried(times: int) -> None:
        for _ in range(times):
            with pytest.raises(ProgrammingError):
                work.apply_all()
            clock.shift(5)

    journal.append({**NO_COLUMN_TAKES, "at": NOON.isoformat(), "began": None})
    tried(20)
    assert count(shop, SetAsideRecord) == 0, "nothing shows that it is not the database"
    carrier.dial(NUMBER, sid="CA2")
    carrier.dial(NUMBER, sid="CA3")
    work.apply_all()
    assert set(calls(shop)) == {"CA2", "CA3"}
    with shop.database.reading() as session:
        aside = session.scalars(select(SetAsideRecord)).one()
    assert aside.reason.startswith("ProgrammingError")
    assert {call.fan_out_due for call in calls(shop).values()} == {""}
    assert retry_set_aside(shop, shop.now()) == (0, 1)


@pytest.mark.parametrize(("tries", "pause"), [(DOUBTED_TRIES - 1, 600), (DOUBTED_TRIES + 5, 2)])
def test_r12_a_record_is_not_doubted_sooner(
    shop: Server, carrier: CarrierClient, clock: Any, tries: int, pause: int
) -> None:
    journal, work = shop.journal, applier(shop)
    assert journal is not None
    journal.append({**NO_COLUMN_TAKES, "at": NOON.isoformat(), "began": None})
    carrier.dial(NUMBER, sid="CA2")
    for _ in range(tries):
        with pytest.raises(ProgrammingError):
            work.apply_all()
        clock.shift(pause)
    assert count(shop, SetAsideRecord) == 0
    assert calls(shop) == {}


@pytest.mark.parametrize(
    "what", ["a table that these records alone need is missing", "the schema is not this program's"]
)
def test_r12_however_long_the_schema_is_wrong_no_record_is_set_aside(
    shop: Server, carrier: CarrierClient, clock: Any, what: str
) -> None:
    work, is_old = applier(shop), what.startswith("the schema")
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call_leg RENAME TO call_leg_of_old"))
        if is_old:
            session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    carrier.dial(NUMBER, sid="CA1")
    work.apply_all()
    carrier.leg("ringing", "CL1", sid="CA1")
    if not is_old:  # else nothing but the schema's number tells
        carrier.leg("in-progress", "CL1", sid="CA1")
    carrier.dial(NUMBER, sid="CA2")
    for _ in range(40):
        with pytest.raises(DBAPIError):
            work.apply_all()
        clock.shift(5)
    assert count(shop, SetAsideRecord) == 0
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call_leg_of_old RENAME TO call_leg"))
    work.apply_all()
    assert set(calls(shop)) == {"CA1", "CA2"}


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
    shop.first_answers = shop.routing = None
    assert SECOND_LINE in carrier.action(NUMBER, 1, "busy").text
    carrier.dial(NUMBER, sid="CA2")
    assert "<Hangup" in carrier.action(NUMBER, 1, "busy", sid="CA2").text, "the fallback line was the only one"
    for address in ("/voice/dial/CA3/1?flow=999&start=1", "/voice/dial/CA3/1?flow=x&start=9e9", "/voice/dial/CA3/1"):
        answer = carrier.post(address, CallSid="CA3", To=NUMBER, From=ANNA, DialCallStatus="busy")
        assert "<Hangup" in answer.text, "by the number's present flow"


def test_r12_two_answers_to_one_call_the_flow_counts_to_which_the_carrier_comes_back(
    shop: Server, carrier: CarrierClient, tmp_path: Path
) -> None:
    carrier.dial(NUMBER)
    old = carrier.next["CA1", 1]
    with shop.database.writing() as session:
        session.execute(text("UPDATE scenario SET call_flow_id = NULL"))
    shop.first_answers = FirstAnswers(tmp_path / "another")  # the carrier asked again, and another machine answered
    carrier.dial(NUMBER)
    assert carrier.next["CA1", 1] != old
    carrier.action(NUMBER, 1, "busy")
    applier(shop).apply_all()
    assert [step["to"] for step in calls(shop)["CA1"].flow["destinations"]] == ["+14155550111"]


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


@pytest.mark.parametrize("later", [["CA2"], ["CA2", "CA3"]])
def test_r12_a_journal_that_was_emptied_and_has_grown_as_long_hides_nothing(
    shop: Server, machines: Machines, later: list[str]
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.apply(0)
    emptied(machines)
    for sid in later:
        machines.append(0, inbound_at(shop, sid, NOON))
    machines.appliers[0] = applier(shop, machines.folders[0])
    machines.apply(0)
    assert set(calls(shop)) == {"CA1", *later}


def emptied(machines: Machines) -> None:
    for path in machines.folders[0].glob("*.journal"):
        path.unlink()


def test_r12_what_is_wrong_at_the_same_place_of_another_journal_is_set_aside_too(
    shop: Server, machines: Machines
) -> None:
    for sid in ("CA1", "CA2"):
        emptied(machines)
        machines.append(0, {**inbound_at(shop, sid, NOON), "start": "never"})
        machines.apply(0)
    with shop.database.reading() as session:
        aside = session.scalars(select(SetAsideRecord).order_by(SetAsideRecord.id)).all()
    assert [row.call_sid for row in aside] == ["CA1", "CA2"]
    assert {row.position.partition("@")[0] for row in aside} == {"1:1"}


def test_r12_what_is_read_again_after_a_release_before_has_noted_its_place_changes_nothing(
    shop: Server, machines: Machines
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.append(0, {**inbound_at(shop, "CA2", NOON), "start": "never"})
    machines.apply(0)
    with shop.database.writing() as session:
        session.execute(update(JournalPosition).values(segment_id="0123456789abcdef"))
    heard = Heard()
    machines.appliers[0] = applier(shop, machines.folders[0])
    assert machines.appliers[0].apply_next() == 2
    assert machines.appliers[0].apply_next() == 0
    assert set(calls(shop)) == {"CA1"}
    assert count(shop, SetAsideRecord) == 1
    assert heard.events == []


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
