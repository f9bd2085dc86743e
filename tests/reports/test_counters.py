"""Columns that the worker fills: calls, showings, and R8's accuracy in its simple form."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from router.attribution.models import Lease
from router.reports.accuracy.jobs import refresh_accuracy
from router.reports.counters import ColumnKeeper
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import Call
from tests.factories import NOON, make_call, make_leased_visits, make_project, make_scenario


def lent(server: Server, visits: int, shared: int) -> int:
    """A scenario whose numbers were lent to so many visits, so many of them shared."""
    with server.database.writing() as session:
        project = make_project(session)
        scenario = make_scenario(session, project, 1)
        made = make_leased_visits(session, scenario, [{"started_at": NOON}] * visits, 0)
        of_shared = Lease.visit_id.in_([visit.id for visit in made[:shared]])
        session.execute(update(Lease).where(of_shared).values(shared=True))
        return scenario.id


def scenario_of(server: Server) -> Scenario:
    with server.database.reading() as session:
        return session.scalars(select(Scenario)).one()


@pytest.mark.parametrize(("visits", "shared", "accuracy"), [(7, 0, 100), (7, 1, 85), (3, 3, 0), (200, 1, 99)])
def test_r8_accuracy_is_rounded_down(server: Server, visits: int, shared: int, accuracy: int) -> None:
    lent(server, visits, shared)
    ColumnKeeper().refresh(server, NOON)
    refresh_accuracy(server, NOON + timedelta(minutes=5))
    assert scenario_of(server).accuracy == accuracy


def test_r8_there_is_no_accuracy_before_the_first_lease_nor_while_visits_hold_their_number(server: Server) -> None:
    lent(server, 0, 0)
    ColumnKeeper().refresh(server, NOON)
    refresh_accuracy(server, NOON)
    assert scenario_of(server).accuracy is None
    with server.database.writing() as session:
        session.execute(update(Scenario).values(first_shown_at=NOON))
    refresh_accuracy(server, NOON)
    assert scenario_of(server).accuracy is None


def test_r8_only_today_and_the_six_days_before_count(server: Server) -> None:
    lent(server, 4, 1)
    ColumnKeeper().refresh(server, NOON)
    refresh_accuracy(server, NOON + timedelta(days=6))
    assert scenario_of(server).accuracy == 75
    refresh_accuracy(server, NOON + timedelta(days=8))
    assert scenario_of(server).accuracy is None


def test_calls_and_showings_are_counted_as_they_come(server: Server) -> None:
    scenario_id = lent(server, 2, 0)
    keeper = ColumnKeeper()
    keeper.refresh(server, NOON)
    with server.database.writing() as session:
        project = make_project(session, key="k-two")
        number = session.scalars(select(TrackingNumber)).one()
        for index in range(3):
            call = make_call(session, project, "+12125559000", NOON, sid=f"CA{index}", caller="+14155550101")
            session.execute(update(Call).where(Call.id == call.id).values(number_id=number.id, scenario_id=scenario_id))
    keeper.refresh(server, NOON)
    keeper.refresh(server, NOON)
    scenario = scenario_of(server)
    assert scenario.calls == 3
    assert scenario.first_shown_at == NOON
    with server.database.reading() as session:
        assert session.scalars(select(TrackingNumber.calls).where(TrackingNumber.scenario_id == scenario_id)).one() == 3
