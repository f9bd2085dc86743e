"""The pool planner's traffic from a scenario's own visits and calls, exact on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Lease, Unserved
from router.attribution.planner import traffic
from router.attribution.planner.traffic import DAYS, CallMade, History, PastCall, Span, Stay, caller_of, read_history
from router.db import Database
from router.scenarios.models import Scenario
from router.server import Server
from tests.attribution.planner.past import BEGAN
from tests.counting import count_statements
from tests.factories import (
    NOON,
    lease_decision,
    make_call,
    make_lease,
    make_leased_visit,
    make_project,
    make_scenario,
    make_span,
    make_tap,
    make_visit,
    numbers_of,
)

FROM = (BEGAN - (NOON - DAYS)).total_seconds()
"""When the past begins, in the traffic's seconds."""


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.writing() as session:
        yield session


@pytest.fixture
def scenario(session: Session) -> Scenario:
    return make_scenario(session, make_project(session), 2)


def read(session: Session, server: Server, scenario: Scenario, most: int = 100) -> History:
    return read_history(session, server, scenario, NOON, most)


def test_a_visit_is_a_stay_from_when_it_asked_with_its_spans_and_how_each_ended(
    session: Session, server: Server, scenario: Scenario
) -> None:
    later = BEGAN + timedelta(minutes=10)
    visit = make_leased_visit(session, scenario, BEGAN + timedelta(seconds=30), source_key=9, visitor="ann", left=True)
    visit.started_at, visit.span_started_at, visit.last_sign_at = BEGAN, later, later + timedelta(seconds=45)
    make_span(session, visit, BEGAN, BEGAN + timedelta(seconds=90))
    before = BEGAN - timedelta(hours=1)
    make_span(session, visit, before, before + timedelta(seconds=5), left=True)
    spans = (Span(FROM + 30, FROM + 90, False), Span(FROM + 600, FROM + 645, True))
    assert read(session, server, scenario).traffic.stays == [Stay("ann", 9, spans)]


def test_a_visit_that_was_lent_two_numbers_asked_once_and_an_unserved_one_asked_too(
    session: Session, server: Server, scenario: Scenario
) -> None:
    project = session.get_one(Project, scenario.project_id)
    twice = make_leased_visit(session, scenario, BEGAN, visitor="twice")
    make_lease(session, twice, numbers_of(session, scenario)[1], started_at=BEGAN + timedelta(seconds=20))
    kept = make_visit(session, project, started_at=BEGAN + timedelta(seconds=5), visitor="kept")
    at = BEGAN + timedelta(seconds=5)
    session.add(Unserved(visit_id=kept.id, scenario_id=scenario.id, outcome="keep", at=at))
    make_visit(session, project, started_at=BEGAN, visitor="never asked")
    stays = read(session, server, scenario).traffic.stays
    assert [(stay.visitor, stay.start) for stay in stays] == [("twice", FROM), ("kept", FROM + 5)]


def test_a_visit_whose_number_was_never_shown_needed_none(session: Session, server: Server, scenario: Scenario) -> None:
    make_leased_visit(session, scenario, BEGAN)
    session.execute(update(Lease).values(returned_at=BEGAN))
    make_leased_visit(session, scenario, BEGAN, visitor="ann")
    assert [stay.visitor for stay in read(session, server, scenario).traffic.stays] == ["ann"]


def test_visits_of_other_scenarios_and_other_times_are_not_tried(
    session: Session, server: Server, scenario: Scenario
) -> None:
    other = make_scenario(session, make_project(session, key="k-other"), ["+12125558000"])
    make_leased_visit(session, other, BEGAN)
    make_leased_visit(session, scenario, NOON - DAYS - timedelta(seconds=1))
    make_leased_visit(session, scenario, NOON + timedelta(seconds=1))
    found = read(session, server, scenario)
    assert (found.traffic.stays, found.first_at, found.cut) == ([], None, False)


def test_of_too_many_visits_the_newest_are_tried_and_calls_of_older_ones_are_left_out(
    session: Session, server: Server, scenario: Scenario
) -> None:
    visits = [
        make_leased_visit(session, scenario, BEGAN + timedelta(minutes=index), visitor=str(index)) for index in range(4)
    ]
    make_call(session, scenario, started_at=BEGAN + timedelta(minutes=5), **lease_decision(visits[0], shares=[0.9]))
    make_call(session, scenario, started_at=BEGAN + timedelta(minutes=6), **lease_decision(visits[3], shares=[0.9]))
    found = read(session, server, scenario, most=2)
    assert [stay.visitor for stay in found.traffic.stays] == ["2", "3"]
    assert found.traffic.calls == [CallMade(FROM + 360, 1)]
    assert (found.cut, found.left_out, found.first_at) == (True, 1, BEGAN + timedelta(minutes=2))


def test_the_named_visit_of_a_sure_call_called_and_calls_by_other_rules_are_not_tried(
    session: Session, server: Server, scenario: Scenario
) -> None:
    first, second = (make_leased_visit(session, scenario, BEGAN + timedelta(seconds=later)) for later in (0, 9))
    at = BEGAN + timedelta(minutes=2)
    make_call(session, scenario, started_at=at, **lease_decision(second, first, shares=[0.6, 0.39]))
    for minute, rule in enumerate(("repeat", "static", "none", "imported"), 3):
        at = BEGAN + timedelta(minutes=minute)
        make_call(session, scenario, started_at=at, **(lease_decision(first, shares=[0.9]) | {"rule": rule}))
    found = read(session, server, scenario)
    assert found.traffic.calls == [CallMade(FROM + 120, 1)]
    assert (found.drawn, found.left_out) == (0, 0)


def test_the_taps_of_the_visits_come_along(session: Session, server: Server, scenario: Scenario) -> None:
    make_leased_visit(session, scenario, BEGAN)
    visit = make_leased_visit(session, scenario, BEGAN + timedelta(seconds=9))
    for second in (1, 50):
        make_tap(session, visit, numbers_of(session, scenario)[0], BEGAN + timedelta(seconds=second))
    assert read(session, server, scenario).traffic.taps == [traffic.TrafficTap(FROM + 50, 1)]


def test_a_doubtful_caller_is_drawn_as_likely_as_he_was_and_may_be_nobody() -> None:
    call = PastCall(NOON, 1, 0.4, [(1, 0.4), (2, 0.35)])
    random = Random(5)
    drawn = [caller_of(call, random) for _ in range(4000)]
    shares = {who: drawn.count(who) / len(drawn) for who in (1, 2, None)}
    assert shares == {
        1: pytest.approx(0.4, abs=0.03),
        2: pytest.approx(0.35, abs=0.03),
        None: pytest.approx(0.25, abs=0.03),
    }
    assert {caller_of(PastCall(NOON, 7, 0.5, [(7, 0.5), (8, 0.49)]), random) for _ in range(50)} == {7}


def test_the_same_past_is_read_the_same_way_and_in_as_many_statements_for_many_visits(
    session: Session, server: Server, scenario: Scenario, database: Database
) -> None:
    def statements() -> int:
        with count_statements(database) as heard:
            read(session, server, scenario)
        return len(heard)

    visits = [make_leased_visit(session, scenario, BEGAN + timedelta(seconds=index)) for index in range(2)]
    few = statements()
    for index in range(20):
        at = BEGAN + timedelta(seconds=30 + index)
        visits.append(make_leased_visit(session, scenario, at))
        decision = lease_decision(visits[-1], visits[0], shares=[0.3, 0.3])
        make_call(session, scenario, started_at=at + timedelta(minutes=2.5), **decision)
    assert statements() == few == 4
    assert read(session, server, scenario) == read(session, server, scenario)
