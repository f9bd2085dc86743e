"""What the page and the API of deliveries show: one project's deliveries, their attempts, and which receivers are in trouble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.integrations.labels import DELIVERY_STATES
from router.integrations.models import (
    OPEN_STATES,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Integration,
    ReceiverHealth,
)
from router.voice.models import Call
from router.web.api import rows_of
from router.web.errors import Problem


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    delivery: Delivery
    integration: Integration
    call: Call | None


def place_of(receiver: str) -> str:
    """What people know a receiver by: `crm.example.com/main` of `odoo:3:crm.example.com/main`."""
    return receiver.split(":", 2)[-1]


@dataclass(frozen=True)
class Trouble:
    """A receiver that does not get everything: since when, why, and what lies there."""

    receiver: str
    since: datetime
    why: str
    dead: int
    fails_now: bool
    """False when it takes messages again and only what was given up meanwhile is missing there."""
    waiting_until: datetime | None
    """Nothing is tried before."""


def entries(session: Session, project_id: int, args: Mapping[str, str]) -> tuple[list[Entry], str | None]:
    """One page of a project's deliveries, newest first, and the cursor of the next. `args`: state, limit, next.

    Raises:
        Problem: 422 when one of them cannot be used.
    """
    statement = select(Delivery).where(Delivery.project_id == project_id)
    if state := args.get("state", ""):
        if state not in DELIVERY_STATES:
            raise Problem(422, f"“state” is one of {', '.join(DELIVERY_STATES)}.", "state")
        statement = statement.where(Delivery.state == state)
    rows, following = rows_of(session, statement, Delivery.id, args)
    return _with_context(session, rows), following


def entry(session: Session, project_id: int, delivery_id: int) -> Entry:
    """
    Raises:
        Problem: 404 when this project has no such delivery.
    """
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.project_id != project_id:
        raise Problem(404, "There is no such delivery.")
    return _with_context(session, [delivery])[0]


def attempts_of(session: Session, delivery_id: int) -> Sequence[DeliveryAttempt]:
    """Oldest first."""
    statement = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return session.scalars(statement.order_by(DeliveryAttempt.id)).all()


def troubles(session: Session, project_id: int) -> list[Trouble]:
    """Receivers that fail now or have dead deliveries, the longest first."""
    given_up = (
        select(
            Delivery.receiver,
            func.count().label("count"),
            func.min(Delivery.event_at).label("since"),
            func.max(Delivery.reason).label("why"),
        )
        .where(Delivery.project_id == project_id, Delivery.state == DeliveryState.DEAD)
        .group_by(Delivery.receiver)
    )
    dead: dict[str, Any] = {row.receiver: row for row in session.execute(given_up)}
    used = select(Integration.receiver).where(Integration.project_id == project_id, Integration.removed_at.is_(None))
    failing = select(ReceiverHealth).where(ReceiverHealth.receiver.in_(used))
    health = {row.receiver: row for row in session.scalars(failing)}
    troubles = []
    for receiver in dead | health:
        gone, fails = dead.get(receiver), health.get(receiver)
        since = [moment for moment in (gone and gone.since, fails and fails.failing_since) if moment]
        troubles.append(
            Trouble(
                receiver,
                since=min(since),
                why=fails.last_error if fails else dead[receiver].why,
                dead=gone.count if gone else 0,
                fails_now=fails is not None,
                waiting_until=fails.open_until if fails else None,
            )
        )
    return sorted(troubles, key=lambda trouble: trouble.since)


def waiting(session: Session, project_id: int) -> int:
    """How many are not delivered yet."""
    counted = select(func.count()).where(Delivery.project_id == project_id, Delivery.state.in_(OPEN_STATES))
    return session.scalar(counted) or 0


def _with_context(session: Session, rows: Sequence[Delivery]) -> list[Entry]:
    wanted, called = {row.integration_id for row in rows}, {row.call_id for row in rows}
    if not rows:
        return []
    integrations = {one.id: one for one in session.scalars(select(Integration).where(Integration.id.in_(wanted)))}
    calls = {one.id: one for one in session.scalars(select(Call).where(Call.id.in_(called)))}
    return [Entry(row, integrations[row.integration_id], calls.get(row.call_id)) for row in rows]
