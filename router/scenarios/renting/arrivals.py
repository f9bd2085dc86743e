"""A bought number arrives: its row, its place in a scenario, the end of its batch (R4, R5)."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.audit import record
from router.accounts.models import Project
from router.carriers.shop import Owned
from router.database import insert_new
from router.scenarios.channel_rows import static_sources
from router.scenarios.models import HERE, OPEN, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.renting.orders import returned
from router.scenarios.renting.paid_time import PAID_TIME
from router.scenarios.signals import numbers_changed
from router.server import Server


class AlreadyHere(Exception):
    """The number that we bought stands in another project: somebody put it there by hand."""


def target_of(session: Session, batch: NumberBatch) -> Scenario | None:
    """The batch's scenario, locked, if numbers can still be placed in it; else they go to the project's free ones."""
    if batch.scenario_id is None:
        return None
    scenario = session.get(Scenario, batch.scenario_id, with_for_update=True, populate_existing=True)
    if scenario is None or scenario.project_id != batch.project_id or scenario.deleted_at is not None:
        return None
    return None if session.get_one(Project, batch.project_id, populate_existing=True).suspended_at else scenario


def arrive(
    session: Session,
    server: Server,
    batch: NumberBatch,
    order: NumberOrder,
    owned: Owned,
    scenario: Scenario | None,
    now: datetime,
) -> TrackingNumber:
    """The row of a number that the carrier sold for this order, paid for 7 days from when it was charged.

    Raises:
        AlreadyHere: nothing may be stored.
    """
    number = _row(session, order, owned, now)
    if scenario is not None:
        number.scenario_id = scenario.id
        number.static_source = static_sources(scenario.channels).get(order.e164)
        scenario.version += 1
    session.flush()
    numbers_changed.send(server, session=session, project_id=order.project_id, number_ids=[number.id])
    order.state, order.error, order.number_id, order.ended_at = "bought", "", number.id, now
    detail: dict[str, Any] = {"price_minor": order.price_minor, "batch": batch.id}
    if scenario is not None:
        detail["scenario"] = scenario.id
    record(session, Actor(batch.actor), now, "number.bought", order.e164, order.project_id, **detail)
    session.flush()
    return number


def _row(session: Session, order: NumberOrder, owned: Owned, now: datetime) -> TrackingNumber:
    values = {
        "owned_elsewhere": False,
        "carrier_sid": owned.sid,
        "bought_at": now,
        "paid_until": order.charged_from + PAID_TIME,
    }
    if back := returned(session, order.project_id, order.e164):
        for name, value in values.items():
            setattr(back, name, value)
        return back
    new = insert_new(session, TrackingNumber, unique=["e164"], where=HERE)
    new = new.values(project_id=order.project_id, e164=order.e164, created_at=now, **values).returning(TrackingNumber)
    number: TrackingNumber | None = session.scalars(new).one_or_none()
    if number is None:
        raise AlreadyHere
    return number


def finish_batch(session: Session, batch: NumberBatch, scenario: Scenario | None, now: datetime) -> None:
    """Ends the batch when no order of it is open, and enables its scenario if that was wanted and it has a number."""
    session.flush()
    session.refresh(batch, with_for_update=True)
    is_open = select(NumberOrder.id).where(NumberOrder.batch_id == batch.id, OPEN).limit(1)
    if batch.finished_at is not None or session.scalar(is_open) is not None:
        return
    batch.finished_at = now
    if batch.enable and scenario is not None and not scenario.enabled and _has_number(session, scenario):
        scenario.enabled = True
        scenario.version += 1
        subject = f"scenario {scenario.id} “{scenario.title}”"
        record(session, Actor(batch.actor), now, "scenario.enabled", subject, scenario.project_id)


def _has_number(session: Session, scenario: Scenario) -> bool:
    counted = select(func.count(TrackingNumber.id)).where(
        TrackingNumber.scenario_id == scenario.id, TrackingNumber.overflow.is_(False)
    )
    return bool(session.scalar(counted))
