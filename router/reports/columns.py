"""Columns of lower floors that show what upper floors know: calls and showings of numbers and scenarios. The worker fills them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, update

from router.attribution.models import Lease, PoolNumber
from router.database import LONG_AGO
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import Call


def refresh_columns(server: Server, now: datetime) -> None:
    """Writes only the rows that changed."""
    with server.database.writing() as session:
        number_calls = _count(select(func.count(Call.id)).where(Call.number_id == TrackingNumber.id))
        scenario_calls = _count(select(func.count(Call.id)).where(Call.scenario_id == Scenario.id))
        shown = (
            select(PoolNumber.lease_started_at)
            .where(PoolNumber.number_id == TrackingNumber.id, PoolNumber.lease_started_at > LONG_AGO)
            .scalar_subquery()
        )
        first = select(func.min(Lease.started_at)).where(Lease.scenario_id == Scenario.id).scalar_subquery()
        for statement in (
            update(TrackingNumber).where(TrackingNumber.calls != number_calls).values(calls=number_calls),
            update(Scenario).where(Scenario.calls != scenario_calls).values(calls=scenario_calls),
            update(TrackingNumber)
            .where(
                shown.is_not(None), or_(TrackingNumber.last_shown_at.is_(None), TrackingNumber.last_shown_at < shown)
            )
            .values(last_shown_at=shown),
            update(Scenario).where(Scenario.first_shown_at.is_(None), first.is_not(None)).values(first_shown_at=first),
        ):
            session.execute(statement.execution_options(synchronize_session=False))


def _count(query: Select[Any]) -> ColumnElement[Any]:
    return query.scalar_subquery()
