"""Plans for the pages: one that is made, one under way, and one that could not be made."""

from datetime import timedelta
from math import exp
from typing import Any

from sqlalchemy.orm import Session

import tests.furnishing  # noqa: F401 - it makes the scenarios
from router.attribution.models import PoolPlan
from router.attribution.planner.plan import Point, ladder, spread, trials
from router.scenarios.models import Scenario
from tests.people import NOW, Cast, furnishes

CALLS = 412


def made_points(numbers: int) -> list[Point]:
    """Shares that rise with the pool as they do: sooner for sources where visitors of one source share."""
    found = []
    for size, aim in trials(numbers):
        scale, slower = (3.4, 4.5) if aim == "visit" else (2.1, 5.5)
        sources, visits = 0.99 - 0.7 * exp(-size / scale), 0.94 - 0.8 * exp(-size / slower)
        errors = [spread(share, CALLS) for share in (sources, visits)]
        found.append(
            Point(
                numbers=size,
                aim=aim,
                right_source=sources,
                source_error=errors[0],
                right_visit=visits,
                visit_error=errors[1],
                alone=visits,
            )
        )
    return found


def make_plan(scenario: Scenario, numbers: int, done: int | None = None, **values: Any) -> PoolPlan:
    facts = {"numbers": numbers, "aim": scenario.aim, "sizes": ladder(numbers), "visits": 9120, "calls": CALLS}
    facts |= {"first_at": (NOW - timedelta(days=29)).isoformat(), "cut": False, "drawn": 31, "left_out": 4}
    facts["seconds"] = 3.0
    given: dict[str, Any] = {"asked_at": NOW - timedelta(minutes=3), "inputs": {}, "facts": facts}
    given["points"] = [point.model_dump() for point in made_points(numbers)[:done]]
    given["made_at"] = NOW - timedelta(minutes=2) if done is None else None
    return PoolPlan(scenario_id=scenario.id, **(given | values))


@furnishes
def plans(session: Session, actors: Cast) -> dict[str, Any]:
    spring = session.get_one(Scenario, actors.ids["scenario_id"])
    others = session.query(Scenario).filter(Scenario.project_id == spring.project_id, Scenario.id != spring.id)
    going, failed = others.order_by(Scenario.id).limit(2)
    session.add(make_plan(spring, 8))
    session.add(make_plan(going, 4, 8))
    few = "The last 30 days had 12 visits and 3 calls to go by, which is too few: describe the traffic that you expect."
    session.add(make_plan(failed, 1, 0, made_at=NOW, error=few))
    session.flush()
    return {"planning_id": going.id, "unplanned_id": failed.id}
