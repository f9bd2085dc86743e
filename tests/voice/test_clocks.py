"""R12: a machine's clock is compared with the database's: it is neither silent nor alive because its clock is wrong, and it is named."""

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from router.db import Database
from router.doctor import examine
from router.server import Server, utc_now
from router.voice import clocks
from router.voice.applier import Applier, journal_folder
from router.voice.clocks import MachineClock, clock_fault, measured_offset
from router.voice.events import machine_is_waiting, state_of_journals
from router.voice.following import routing_of
from router.voice.journal import Position, read_entries
from router.voice.models import JournalPosition
from router.voice.repair import RepairRefused, forget_machine
from tests.factories import NOON
from tests.voice.carrier import CarrierClient
from tests.voice.journals import NUMBER

SET_TRUE = Callable[[datetime], None]
REAL_DATABASE_TIME = clocks.database_time


@pytest.fixture
def true_time(monkeypatch: pytest.MonkeyPatch) -> SET_TRUE:
    """What the database's clock says from now on."""

    def set_to(moment: datetime) -> None:
        monkeypatch.setattr(clocks, "database_time", lambda session: moment)

    return set_to


def told(server: Server, *, stopped: bool = False) -> None:
    """The machine's applier has nothing left to do, and says so."""
    Applier(server, journal_folder(server))._tell(is_stopped=stopped)


@pytest.mark.parametrize("ahead", [0, 63, -4000])
def test_r12_the_offset_is_measured_to_within_the_time_that_the_question_takes(
    database: Database, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(clocks, "database_time", REAL_DATABASE_TIME)
    before = utc_now()
    with database.reading() as session:
        offset = measured_offset(session, lambda: utc_now() + timedelta(seconds=ahead))
    if database.is_sqlite:
        assert offset == timedelta(0), "it is on this machine"
    else:
        assert abs(offset - timedelta(seconds=ahead)) <= utc_now() - before


def test_r12_the_quickest_of_some_questions_counts(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    moments = iter(NOON + timedelta(seconds=at) for at in (0, 9, 10, 12, 13, 33))
    monkeypatch.setattr(clocks, "database_time", lambda session: NOON)
    with database.reading() as session:
        assert measured_offset(session, lambda: next(moments)) == timedelta(seconds=11)


def test_r12_it_is_measured_once_a_minute_and_when_the_clock_was_set(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks, now = [0.0], [NOON]
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: ticks[0]))
    clock = MachineClock(lambda: now[0])
    assert (clock.is_due, clock.seconds) == (True, None)
    for passed, shown, is_due in ((59, 59, False), (60, 60, True), (5, 7, True), (5, 4.5, False), (5, -3600, True)):
        with database.reading() as session:
            clock.measure(session)
        assert (clock.is_due, clock.seconds) == (False, 0.0)
        ticks[0] += passed
        now[0] += timedelta(seconds=shown)
        assert clock.is_due is is_due, (passed, shown)


@pytest.mark.parametrize("ahead", [-90, 90])
def test_r12_a_machine_whose_clock_is_wrong_is_neither_silent_nor_alive_because_of_it(
    shop: Server, true_time: SET_TRUE, ahead: int
) -> None:
    true = NOON - timedelta(seconds=ahead)
    true_time(true)
    told(shop)
    for later, is_silent in ((timedelta(seconds=50), False), (timedelta(seconds=70), True)):
        true_time(true + later)
        with shop.database.reading() as session:
            for judge in (NOON, true + later, true - timedelta(hours=3)):  # whatever the worker's own clock says
                assert machine_is_waiting(session, judge) is is_silent
            assert ("is silent since" in state_of_journals(session, NOON)) is is_silent


def test_r12_a_wrong_clock_is_named_with_what_to_do(shop: Server, true_time: SET_TRUE) -> None:
    true_time(NOON - timedelta(seconds=2))
    told(shop)
    with shop.database.reading() as session:
        assert state_of_journals(session, NOON) == "applied"
    true_time(NOON + timedelta(seconds=63))
    told(shop)
    with shop.database.reading() as session:
        host = session.scalars(select(JournalPosition)).one().host
        said = state_of_journals(session, NOON)
    assert said.startswith(f"the clock of {host} is 63.0 s behind the database's: let NTP set")
    clock = [finding for finding in examine(shop, NOON) if finding.subject == "clock"]
    assert [(finding.words, finding.is_wrong) for finding in clock] == [(said, True)]
    told(shop, stopped=True)
    with shop.database.reading() as session:
        assert state_of_journals(session, NOON) == "applied", "nobody works with it any more"
    assert "2.1 s ahead of" in clock_fault("tel-1", 2.1)
    assert clock_fault("tel-1", None) == "", "as a release before leaves it"


def test_r12_a_machine_at_work_is_not_forgotten_by_somebody_whose_clock_is_fast(
    shop: Server, true_time: SET_TRUE
) -> None:
    true_time(NOON)
    told(shop)
    with shop.database.reading() as session:
        machine = session.scalars(select(JournalPosition)).one().machine
    actor: Any = SimpleNamespace(name="console")
    with pytest.raises(RepairRefused, match="at work"):
        forget_machine(shop, machine, actor, NOON + timedelta(hours=1))
    true_time(NOON + timedelta(hours=1))
    assert forget_machine(shop, machine, actor, NOON).machine == machine


def test_r12_records_carry_the_offset_and_times_are_what_the_machine_saw(
    shop: Server, carrier: CarrierClient, true_time: SET_TRUE
) -> None:
    true_time(NOON + timedelta(seconds=90))
    routing_of(shop).refresh()
    carrier.dial(NUMBER, sid="CA1")
    carrier.leg("ringing", "CL1", sid="CA1")
    records = [entry.record for entry in read_entries(journal_folder(shop), Position(), 10)]
    assert [record and (record["clock_offset"], record["at"]) for record in records] == [(-90.0, NOON.isoformat())] * 2
