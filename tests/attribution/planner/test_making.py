"""The worker makes plans in steps, and goes on where one that died stopped."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from router.attribution.models import PoolPlan
from router.attribution.planner import jobs
from router.attribution.planner.jobs import DEAD_AFTER, PlanMaker, ask_plan, prepare
from router.attribution.planner.plan import TrafficShape, ladder
from router.attribution.planner.replay import replay
from router.db import Database
from router.scenarios.models import Scenario
from router.server import Server
from tests.attribution.planner.past import make_busy_past
from tests.factories import NOON, make_project, make_scenario

SMALL = TrafficShape(visits_per_hour=60, callers=0.1, hours=4)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(server: Server) -> Clock:
    server.now = clock = Clock()
    return clock


@pytest.fixture
def scenario(database: Database) -> Scenario:
    with database.writing() as session:
        return make_scenario(session, make_project(session), 2)


def ask(server: Server, scenario: Scenario, described: TrafficShape | None = SMALL) -> None:
    with server.database.writing() as session:
        ask_plan(session, scenario, described, server.now())


def stored(server: Server, scenario: Scenario) -> PoolPlan:
    with server.database.reading() as session:
        return session.get_one(PoolPlan, scenario.id)


def test_a_plan_holds_every_size_and_both_aims(server: Server, scenario: Scenario, clock: Clock) -> None:
    ask(server, scenario)
    PlanMaker().make(server, clock())
    plan = stored(server, scenario)
    assert plan.made_at == NOON
    assert [(one["numbers"], one["aim"]) for one in plan.points] == [
        (size, aim) for size in ladder(2) for aim in ("visit", "source")
    ]
    assert plan.facts is not None
    assert (plan.facts["numbers"], plan.facts["calls"]) == (2, len(SMALL.traffic().calls))


def test_a_plan_by_the_scenarios_own_visits_is_made_of_them(
    server: Server, database: Database, scenario: Scenario, clock: Clock
) -> None:
    with database.writing() as session:
        make_busy_past(session, scenario)
    ask(server, scenario, None)
    PlanMaker().make(server, clock())
    plan = stored(server, scenario)
    assert plan.facts is not None
    assert (plan.error, plan.facts["visits"], plan.facts["calls"]) == ("", 120, 30)
    one = next(point for point in plan.points if point["numbers"] == 1)
    many = next(point for point in plan.points if point["numbers"] == 8)
    assert one["right_visit"] < many["right_visit"]
    assert one["alone"] == 0.0


def test_too_few_visits_and_calls_are_said_instead_of_a_plan(
    server: Server, database: Database, scenario: Scenario, clock: Clock
) -> None:
    with database.writing() as session:
        make_busy_past(session, scenario, visits=60, calls=3)
    ask(server, scenario, None)
    PlanMaker().make(server, clock())
    plan = stored(server, scenario)
    assert plan.error.startswith("The last 30 days had 60 visits and 3 calls to go by, which is too few")
    assert (plan.made_at, plan.points) == (NOON, [])


@pytest.mark.parametrize("died_after", [0, 1, 5])
def test_what_a_killed_worker_left_is_made_by_another_one(
    server: Server, scenario: Scenario, clock: Clock, monkeypatch: pytest.MonkeyPatch, died_after: int
) -> None:
    """A step's commit is all that a worker leaves behind, wherever SIGKILL finds it."""
    ask(server, scenario)
    dead = PlanMaker()
    job = jobs.begin(server, jobs.claim_plan(server) or pytest.fail("nothing was claimed"))
    assert job is not None
    for _ in range(died_after):
        assert job.step(server)
    del dead
    PlanMaker().make(server, clock())
    assert stored(server, scenario).made_at is None, "it may be alive: nobody takes it from it"
    clock.now += DEAD_AFTER + timedelta(seconds=1)
    tried: list[int] = []
    monkeypatch.setattr(jobs, "replay", lambda *args: tried.append(args[1]) or replay(*args))
    PlanMaker().make(server, clock())
    plan = stored(server, scenario)
    assert plan.made_at == clock()
    assert len(tried) == 2 * len(ladder(2)) - died_after, "what was stored is not tried again"
    assert not job.step(server), "a worker that was only slow leaves it alone"
    assert stored(server, scenario).made_at == clock()
    with server.database.reading() as session:
        whole = [point.model_dump() for point in prepare(session, server, scenario, SMALL, NOON).run()]
    assert plan.points == whole


def test_asking_again_waits_for_the_same_and_replaces_another(server: Server, scenario: Scenario, clock: Clock) -> None:
    ask(server, scenario)
    clock.now += timedelta(seconds=3)
    ask(server, scenario)
    assert stored(server, scenario).asked_at == NOON
    job = jobs.begin(server, jobs.claim_plan(server) or pytest.fail("nothing was claimed"))
    assert job is not None
    assert job.step(server)
    ask(server, scenario, TrafficShape(visits_per_hour=50, hours=4))
    assert not job.step(server)
    again = stored(server, scenario)
    assert (again.asked_at, again.points, again.facts) == (clock(), [], None)
    PlanMaker().make(server, clock())
    assert stored(server, scenario).inputs["visits_per_hour"] == 50


def test_a_turn_ends_after_some_seconds_and_the_next_goes_on(
    server: Server, scenario: Scenario, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(server, scenario)

    def slow(*given: Any) -> Any:
        clock.now += timedelta(seconds=2)
        return replay(*given)

    monkeypatch.setattr(jobs, "replay", slow)
    maker = PlanMaker()
    maker.make(server, clock())
    assert len(stored(server, scenario).points) == 3
    maker.make(server, clock())
    assert len(stored(server, scenario).points) == 6


def test_a_plan_that_cannot_be_made_does_not_keep_others_waiting(
    server: Server, scenario: Scenario, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(server, scenario)

    def broken(*given: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(jobs, "replay", broken)
    with pytest.raises(RuntimeError):
        PlanMaker().make(server, clock())
    assert stored(server, scenario).error == jobs.BROKEN
    assert jobs.claim_plan(server) is None


def test_a_deleted_scenario_has_no_plan(server: Server, database: Database, scenario: Scenario, clock: Clock) -> None:
    ask(server, scenario)
    with database.writing() as session:
        session.get_one(Scenario, scenario.id).deleted_at = NOON
    PlanMaker().make(server, clock())
    assert stored(server, scenario).error == jobs.GONE


def test_more_numbers_never_change_the_calls(server: Server, scenario: Scenario, database: Database) -> None:
    with database.reading() as session:
        found = prepare(session, server, scenario, SMALL, NOON)
    told = [replay(found.traffic, size, aim) for size, aim in found.all()]
    assert {one.calls for one in told} == {len(found.traffic.calls)}
    assert {one.visits for one in told} == {len(found.traffic.stays)}
