"""R9: the load of a scenario's pool in erlangs, from stored leases and heartbeats; the smallest pool by Erlang-B, against the published
table; and the linter, which names a pool that is far too small for last week's load (R2)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Visit
from router.attribution.pool.numbers import Hours, hourly_loads, numbers_needed, pool_for, refresh_needed, smallest_pool
from router.db import Database
from router.scenarios.lint import lint_stored
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from tests.factories import (
    NOON,
    make_lease,
    make_leased_visit,
    make_project,
    make_scenario,
    make_span,
    numbers_of,
    visit_row,
)

TABLE = [  # visits an hour, session and hold in minutes, the pool for 99 %
    (20, 3, 2.5, 6),
    (60, 3, 2.5, 12),
    (200, 3, 0, 18),
    (200, 3, 2.5, 28),
    (200, 3, 20, 93),
    (200, 3, 30, 128),
    (600, 3, 2.5, 69),
]


def blocking(load: float, numbers: int) -> float:
    """The probability that a visit finds all numbers taken.

    Args:
        load: in erlangs, the numbers that are held on average.
    """
    found = 1.0
    for taken in range(1, numbers + 1):
        found = load * found / (taken + load * found)
    return found


@pytest.mark.parametrize(("visits", "session", "hold", "pool"), TABLE)
def test_r9_the_smallest_pool_is_that_of_the_published_table(
    visits: int, session: float, hold: float, pool: int
) -> None:
    assert smallest_pool(visits / 60 * (session + hold)) == pool


@pytest.mark.parametrize(("load", "numbers", "accuracy"), [(10.0, 10, 78.5), (5.5, 6, 77.1), (55 / 3, 19, 85.5)])
def test_r9_blocking_is_that_of_the_published_table(load: float, numbers: int, accuracy: float) -> None:
    assert round(100 * (1 - blocking(load, numbers)), 1) == accuracy


def test_r9_nobody_needs_no_number() -> None:
    assert smallest_pool(0) == 0


@given(st.floats(0.001, 500))
def test_r9_the_smallest_pool_is_below_one_per_cent_and_one_number_less_is_not(load: float) -> None:
    pool = smallest_pool(load)
    assert blocking(load, pool) < 0.01 <= blocking(load, pool - 1)


HOUR = NOON - timedelta(days=2)


def busiest(hours: Hours) -> float:
    """The greatest load of an hour, all sources together."""
    return max((sum(sources.values()) for sources in hours.values()), default=0.0)


def make_pool(session: Session, aim: str = "visit") -> Scenario:
    return make_scenario(session, make_project(session), 3, aim=aim)


def test_r9_a_number_held_for_an_hour_is_one_erlang(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        make_leased_visit(session, scenario, HOUR)
        assert busiest(hourly_loads(session, scenario, NOON)) == 1.0
        make_leased_visit(session, scenario, HOUR + timedelta(minutes=30), 27.5)
        assert busiest(hourly_loads(session, scenario, NOON)) == 1.5


def test_r9_the_busiest_hour_may_begin_at_half_past(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        make_leased_visit(session, scenario, HOUR + timedelta(minutes=30))
        hours = hourly_loads(session, scenario, NOON)
        assert hours[int((HOUR + timedelta(minutes=30)).timestamp()) // 900] == {0: 1.0}
        assert busiest(hours) == 1.0


def test_r9_only_the_last_seven_days_count(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        make_leased_visit(session, scenario, NOON - timedelta(days=7, hours=2))
        assert numbers_needed(session, scenario, NOON) is None
        make_leased_visit(session, scenario, NOON - timedelta(days=7, minutes=30))
        assert busiest(hourly_loads(session, scenario, NOON)) == 0.5
        make_leased_visit(session, scenario, NOON - timedelta(minutes=15))
        assert busiest(hourly_loads(session, scenario, NOON)) == 0.5, "what is not over ends now"


def test_r9_a_visit_that_came_back_after_a_long_silence_did_not_hold_its_number_meanwhile(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        visit = make_leased_visit(session, scenario, HOUR, 10 * 60, span_started_at=HOUR + timedelta(minutes=570))
        make_span(session, visit, HOUR, HOUR + timedelta(minutes=12.5))
        hours = hourly_loads(session, scenario, NOON)
        assert sum(load for one in hours.values() for load in one.values()) == pytest.approx((15 + 32.5) / 15)
        assert busiest(hours) == pytest.approx(32.5 / 60)


def test_r9_spans_that_follow_closely_are_not_counted_twice(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        visit = make_leased_visit(session, scenario, HOUR, 57.5, span_started_at=HOUR + timedelta(minutes=32))
        make_span(session, visit, HOUR, HOUR + timedelta(minutes=30))
        assert busiest(hourly_loads(session, scenario, NOON)) == 1.0


def test_r9_a_visit_that_was_lent_two_numbers_counts_once(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        visit = make_leased_visit(session, scenario, HOUR)
        make_lease(session, visit, numbers_of(session, scenario)[-1], started_at=HOUR + timedelta(minutes=40))
        assert busiest(hourly_loads(session, scenario, NOON)) == 1.0


@pytest.mark.parametrize("aim", ["visit", "source"])
def test_r9_a_number_that_was_never_shown_was_held_until_it_was_given_back(database: Database, aim: str) -> None:
    """However long the visit lasted."""
    with database.writing() as session:
        scenario = make_pool(session, aim)
        visit = make_leased_visit(session, scenario, HOUR, 57.5)
        returned = session.scalars(select(Lease).where(Lease.visit_id == visit.id)).one()
        returned.returned_at = HOUR + timedelta(minutes=3)
        session.flush()
        assert busiest(hourly_loads(session, scenario, NOON)) == pytest.approx(3 / 60)
        returned.started_at, returned.returned_at = NOON - timedelta(days=7, minutes=5), NOON - timedelta(days=7)
        session.flush()
        assert hourly_loads(session, scenario, NOON) == {}


def test_r9_aim_source_needs_numbers_for_each_source(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session, "source")
        make_leased_visit(session, scenario, HOUR, source_key=1)
        make_leased_visit(session, scenario, HOUR, source_key=2)
        hours = hourly_loads(session, scenario, NOON)
        assert (busiest(hours), pool_for(hours)) == (2.0, 5 + 5)
        scenario.aim = "visit"
        assert numbers_needed(session, scenario, NOON) == 7


def test_r9_another_scenarios_visits_do_not_count(database: Database) -> None:
    with database.writing() as session:
        scenario = make_pool(session)
        other = make_scenario(session, make_project(session, key="k-other"), 3)
        make_leased_visit(session, other, HOUR)
        assert hourly_loads(session, scenario, NOON) == {}


def test_r9_a_hundred_thousand_visits_a_week_are_added_up_by_the_database(database: Database) -> None:
    """A tenth of them here; the rows that come back do not grow with them."""
    with database.writing() as session:
        scenario = make_pool(session)
        number_id = session.scalars(select(TrackingNumber.id)).first()
        visits, leases = [], []
        for index in range(10_000):
            at = NOON - timedelta(seconds=60 * index + 1)
            last_sign_at = at + timedelta(seconds=150)
            visits.append(visit_row(scenario.project_id, index, at, id=1000 + index, last_sign_at=last_sign_at))
            lent = {"number_id": number_id, "visit_id": 1000 + index, "turn": index, "shared": False}
            leases.append({"scenario_id": scenario.id, "started_at": at} | lent)
        session.execute(insert(Visit), visits)
        session.execute(insert(Lease), leases)
        assert busiest(hourly_loads(session, scenario, NOON)) == pytest.approx(5.0, abs=0.01)


def test_r2_the_linter_names_a_pool_that_is_far_too_small_with_both_figures(server: Server, database: Database) -> None:
    with database.writing() as session:
        project = make_project(session)
        small, large, unseen = (make_scenario(session, project, count) for count in (3, 6, 3))
        for scenario in (small, large):
            scenario.first_shown_at = NOON
            for _ in range(2):
                make_leased_visit(session, scenario, NOON - timedelta(days=2))
    refresh_needed(server, NOON)
    with database.reading() as session:
        found = [session.get_one(Scenario, one.id).needed for one in (small, large, unseen)]
    assert found == [7, 7, None]
    with database.reading() as session:
        linted = lint_stored(session, server, project, [one.id for one in (small, large, unseen)])
    said = [
        [found.sentence for found in linted[one.id] if found.code == "small_pool"] for one in (small, large, unseen)
    ]
    assert said[1:] == [[], []]
    assert "needs 7 numbers, and the pool has 3" in said[0][0]
    (finding,) = [one for one in linted[small.id] if one.code == "small_pool"]
    assert (finding.look, finding.look_for) == (f"/scenarios/{small.id}/plan", "What more would tell")
