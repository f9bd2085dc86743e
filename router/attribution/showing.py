"""Which numbers visitors see on their pages now (R6): those are not pulled away under them."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Visit
from router.attribution.tag_projects import FREE_HOLD
from router.scenarios.models import Scenario

LONGEST = timedelta(days=1)
"""Leases that began earlier are not looked at."""


def shown_numbers(session: Session, number_ids: Iterable[int], now: datetime) -> set[int]:
    """Those that a visit holds whose last sign of life is younger than its scenario's hold, or that of free numbers; one statement."""
    held = (
        select(Lease.number_id, Visit.last_sign_at, Scenario.hold_seconds)
        .join(Visit, Visit.id == Lease.visit_id)
        .join(Scenario, Scenario.id == Lease.scenario_id, isouter=True)
        .where(Lease.number_id.in_(list(number_ids)), Lease.started_at > now - LONGEST, Lease.returned_at.is_(None))
    )
    return {
        number_id
        for number_id, last_sign_at, hold in session.execute(held)
        if now - last_sign_at <= (FREE_HOLD if hold is None else timedelta(seconds=hold))
    }
