"""A scenario with a past, for the pool planner."""

from datetime import timedelta

from sqlalchemy.orm import Session

from router.scenarios.models import Scenario
from tests.factories import NOON, lease_decision, make_call, make_leased_visits

BEGAN = NOON - timedelta(days=2)


def make_busy_past(session: Session, scenario: Scenario, visits: int = 120, calls: int = 30) -> None:
    """A visit every ten seconds from three sources in turn, up to two days ago; every fourth or so called within its stay."""
    starts = [BEGAN + timedelta(seconds=10 * index) for index in range(visits)]
    given = [{"started_at": at, "source_key": index % 3} for index, at in enumerate(starts)]
    for visit in make_leased_visits(session, scenario, given, 1.5)[:: max(1, visits // calls)]:
        at = visit.started_at + timedelta(seconds=70)
        make_call(session, scenario, started_at=at, **lease_decision(visit, shares=[0.8]))
