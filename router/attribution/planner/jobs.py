"""Plans are made in steps, each stored: a worker goes on where another one died, and a page can say how far a plan is.

Trials take seconds of one core, so no transaction is open meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.decision import Reach, reach_of
from router.attribution.models import PoolPlan
from router.attribution.planner.plan import Aim, Point, TrafficShape, ladder, most_visits, spread, trials
from router.attribution.planner.replay import replay
from router.attribution.planner.traffic import Traffic, read_history
from router.attribution.pool.choice import Curve
from router.attribution.upkeep.service import pool_size
from router.jobs import Claim, Jobs
from router.lib.formats import format_count
from router.scenarios.models import Scenario
from router.server import Server

TIME_SLICE = timedelta(seconds=5)
"""After which other jobs of the worker, and its end, have a chance."""
DEAD_AFTER = timedelta(seconds=45)
"""A worker that stored nothing for so long is not at it any more; a step takes a few seconds."""
PLANS = Jobs(
    PoolPlan,
    PoolPlan.made_at.is_(None),
    DEAD_AFTER,
    claimed_at=PoolPlan.worked_at,
    fence=(PoolPlan.asked_at, PoolPlan.worked_at),
    first=PoolPlan.asked_at,
)
LEAST_VISITS, LEAST_CALLS = 50, 10
GONE = "The scenario is not there any more."
BROKEN = "The plan could not be made. Ask for it again."


class NothingToGoBy(Exception):
    """There are too few visits or calls; the message says so."""


@dataclass
class Trials:
    """What is tried: the traffic, the pool and the rules; and in `facts` what a page says about it."""

    traffic: Traffic
    hold: float
    survival: Curve | None
    reach: Reach
    facts: dict[str, Any]

    def all(self) -> list[tuple[int, Aim]]:
        return trials(self.facts["numbers"])

    def point(self, numbers: int, aim: Aim) -> Point:
        result = replay(self.traffic, numbers, aim, self.hold, self.survival, self.reach)
        together = result.shared if aim == "visit" else result.mixed
        return Point(
            numbers=numbers,
            aim=aim,
            right_source=result.source_share,
            source_error=spread(result.source_share, result.calls),
            right_visit=result.visit_share,
            visit_error=spread(result.visit_share, result.calls),
            alone=1 - together / result.visits if result.visits else 1.0,
        )

    def run(self) -> list[Point]:
        return [self.point(*trial) for trial in self.all()]


def prepare(
    session: Session, server: Server, scenario: Scenario, described: TrafficShape | None, now: datetime
) -> Trials:
    """Reads or makes the traffic.

    Raises:
        NothingToGoBy: the scenario's own visits and calls are too few.
    """
    numbers = pool_size(session, scenario)
    facts: dict[str, Any] = {"numbers": numbers, "aim": scenario.aim, "sizes": ladder(numbers), "seconds": 0.0}
    if described is not None:
        traffic = described.traffic(most_visits(numbers))
    else:
        history = read_history(session, server, scenario, now, most_visits(numbers))
        traffic = history.traffic
        facts |= {"first_at": history.first_at.isoformat() if history.first_at else None, "cut": history.cut}
        facts |= {"drawn": history.drawn, "left_out": history.left_out}
    facts |= {"visits": len(traffic.stays), "calls": len(traffic.calls)}
    if described is None and (len(traffic.stays) < LEAST_VISITS or len(traffic.calls) < LEAST_CALLS):
        had = f"{format_count(len(traffic.stays), 'visit')} and {format_count(len(traffic.calls), 'call')}"
        raise NothingToGoBy(
            f"The last 30 days had {had} to go by, which is too few: describe the traffic that you expect."
        )
    return Trials(traffic, float(scenario.hold_seconds), scenario.survival, reach_of(server.settings), facts)


def ask_plan(session: Session, scenario: Scenario, described: TrafficShape | None, now: datetime) -> PoolPlan:
    """Asks the worker for a plan, instead of the present one unless that is being made with the same traffic."""
    inputs = described.model_dump() if described else {}
    session.execute(select(Scenario.id).where(Scenario.id == scenario.id).with_for_update())
    plan = session.get(PoolPlan, scenario.id, with_for_update=True, populate_existing=True)
    if plan is None:
        plan = PoolPlan(scenario_id=scenario.id)
        session.add(plan)
    elif plan.made_at is None and plan.inputs == inputs:
        return plan
    plan.asked_at, plan.inputs, plan.facts, plan.points = now, inputs, None, []
    plan.worked_at = plan.made_at = None
    plan.error = ""
    session.flush()
    return plan


@dataclass
class Job:
    """A plan that this worker makes."""

    claim: Claim[PoolPlan]
    trials: Trials
    points: list[Point]

    def step(self, server: Server) -> bool:
        """Runs the next trial and stores it; False when that was the last one, or somebody else makes the plan by now."""
        began, trials = server.now(), self.trials.all()
        self.points.append(self.trials.point(*trials[len(self.points)]))
        over = len(self.points) == len(trials)
        now = server.now()
        self.trials.facts["seconds"] += (now - began).total_seconds()
        with server.database.writing() as session:
            plan = PLANS.held(session, self.claim)
            if plan is None:
                return False
            plan.points, plan.facts = [point.model_dump() for point in self.points], dict(self.trials.facts)
            plan.made_at = now if over else None
            self.claim = PLANS.renew(plan, now)
        return not over


class PlanMaker:
    """The worker's part; it keeps the plan under way between its turns."""

    def __init__(self) -> None:
        self._job: Job | None = None

    def make(self, server: Server, now: datetime) -> None:
        """Works for a few seconds, at the plan under way or at waiting plans, the oldest first."""
        while server.now() - now < TIME_SLICE:
            job, self._job = self._job, None
            claim = job.claim if job else claim_plan(server)
            if claim is None:
                return
            try:
                job = job or begin(server, claim)
                if job.step(server):
                    self._job = job
            except NothingToGoBy as sentence:
                _give_up(server, claim, str(sentence))
            except Exception:
                _give_up(server, claim, BROKEN)
                raise


def claim_plan(server: Server) -> Claim[PoolPlan] | None:
    """Claims the plan that waits longest; a plan over which a worker died waits again."""
    with server.database.reading() as session:
        if not PLANS.due_ids(session, server.now(), 1):
            return None
    with server.database.writing() as session:
        return next(iter(PLANS.claim_due(session, server.now(), 1)), None)


def begin(server: Server, claim: Claim[PoolPlan]) -> Job:
    """Reads what a claimed plan is about.

    Raises:
        NothingToGoBy: it cannot be made.
    """
    plan = claim.job
    with server.database.reading() as session:
        scenario = session.get(Scenario, plan.scenario_id)
        if scenario is None or scenario.deleted_at is not None:
            raise NothingToGoBy(GONE)
        described = TrafficShape(**plan.inputs) if plan.inputs else None
        trials = prepare(session, server, scenario, described, plan.asked_at)
    same = plan.facts is not None and plan.facts["sizes"] == trials.facts["sizes"]
    return Job(claim, trials, [Point(**stored) for stored in plan.points] if same else [])


def _give_up(server: Server, claim: Claim[PoolPlan], why: str) -> None:
    with server.database.writing() as session:
        plan = PLANS.held(session, claim)
        if plan is not None:
            plan.error, plan.made_at = why[:300], server.now()
