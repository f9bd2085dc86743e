"""A scenario with a past, for the pool planner."""

from datetime import timedelta

from sqlalchemy.orm import Session

from router.scenarios.models import Scenario
from tests.factories import NOON, lease_decision, make_call, make_leased_visit

BEGAN = NOON - timedelta(days=2)


def make_busy_past(session: Session, scenario: Scenario, visits: int = 120, calls: int = 30) -> None:
    """A visit every ten seconds from three sources in turn, up to two days ago; every fourth or so called within its stay."""
    for index in range(visits):
        at = BEGAN + timedelta(seconds=10 * index)
        visit = make_leased_visit(session, scenario, at, 1.5, source_key=index % 3)
        if index % max(1, visits // calls) == 0:
            make_call(session, scenario, started_at=at + timedelta(seconds=70), **lease_decision(visit, shares=[0.8]))
