"""Orders for numbers as rows: written with their charge, and ended with a number in its place or without one (R4, R5)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.ledger import BOUGHT, Post, find_entry, post
from router.accounts.models import Project
from router.carriers.base import Owned, ShopError, TryLater
from router.db import insert_new, wait_for_turn
from router.jobs import Jobs, backoff_by_age, requested_pause
from router.lib.formats import parse_int
from router.scenarios.channels import static_sources
from router.scenarios.models import (
    HERE,
    OPEN,
    PAID_TIME,
    NumberBatch,
    NumberOrder,
    OrderState,
    Scenario,
    TrackingNumber,
    numbers_changed,
    rent_reason,
)
from router.server import Server

LEASE = timedelta(seconds=120)
"""Longer than one turn of an order with all its requests may last, so that no other process asks in parallel."""
SENTENCE_LENGTH = 300
ARRIVALS = 7303
"""Names the turn in which numbers come to this server, so that one is never ordered here and added there at once."""


ORDERS = Jobs(NumberOrder, OPEN, LEASE, due_at=NumberOrder.next_at)
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_REQUESTED = timedelta(hours=1)


def pause_after(error: ShopError, age: timedelta, longest: timedelta) -> timedelta:
    """How long the carrier is left alone after an error about a job of this age: a growing pause, or a longer one if the carrier asks for
    it."""
    requested = requested_pause(error.seconds if isinstance(error, TryLater) else None, LONGEST_REQUESTED)
    return max(backoff_by_age(age, FIRST_PAUSE, longest), requested)


def label_of(order_id: int) -> str:
    """The label that the carrier keeps beside the number that was bought for an order."""
    return f"ct:{order_id}"


def wait_for_arrivals(session: Session) -> None:
    wait_for_turn(session, ARRIVALS, 0)


def taken_numbers(session: Session, e164s: Iterable[str]) -> set[str]:
    """Those of the numbers that are on this server, in whichever project, or are being bought."""
    numbers = list(e164s)
    here = select(TrackingNumber.e164).where(TrackingNumber.e164.in_(numbers), TrackingNumber.released_at.is_(None))
    ordered = select(NumberOrder.e164).where(NumberOrder.e164.in_(numbers), OPEN)
    return {*session.scalars(here), *session.scalars(ordered)}


def returned(session: Session, project_id: int, e164: str) -> TrackingNumber | None:
    """The row of a number that this project gave back and has again, locked and made present; None when it never had it, or it is on
    this server. Its calls and leases stay with it: repeat callers are known by the number (R7)."""
    here = select(TrackingNumber.id).where(TrackingNumber.e164 == e164, TrackingNumber.released_at.is_(None))
    if session.scalar(here) is not None:
        return None
    before = select(TrackingNumber).where(TrackingNumber.e164 == e164, TrackingNumber.project_id == project_id)
    newest = before.order_by(TrackingNumber.released_at.desc(), TrackingNumber.id.desc()).limit(1)
    number = session.scalar(newest.with_for_update().execution_options(populate_existing=True))
    if number is not None:
        number.released_at = number.releasing_at = number.carrier_next_at = None
        number.scenario_id = number.static_source = None
        number.overflow = number.pinned = False
        number.carrier_error = ""
    return number


def write_order(
    session: Session, batch: NumberBatch, e164: str, price: int, now: datetime, due_at: datetime | None = None
) -> NumberOrder | None:
    """The order and its charge; None when the number is being bought already. The worker goes on with it from `due_at`, or at once.

    Raises:
        BalanceTooLow: the balance does not cover it; the transaction has to be rolled back.
    """
    start = now
    while price and find_entry(session, batch.project_id, rent_reason(e164, start)):
        start += timedelta(microseconds=1)  # a start that was charged for and refunded would count as paid
    row = insert_new(session, NumberOrder, unique=["e164"], where=OPEN).values(
        batch_id=batch.id,
        project_id=batch.project_id,
        e164=e164,
        state=OrderState.INTENT,
        price_minor=price,
        charged_from=start,
        next_at=due_at or now,
        created_at=now,
    )
    order = session.scalars(row.returning(NumberOrder)).one_or_none()
    if order is not None and price:
        reason = rent_reason(e164, start)
        post(session, batch.project_id, Post(-price, reason, batch.actor, BOUGHT, e164, batch.scenario_id), now)
    return order


def end_unbought(session: Session, order: NumberOrder, state: OrderState, sentence: str, now: datetime) -> None:
    """Ends an order without a number and gives the money back (R4)."""
    order.state, order.error, order.ended_at = state, sentence[:SENTENCE_LENGTH], now
    if order.price_minor:
        batch = session.get_one(NumberBatch, order.batch_id)
        reason = f"refund:{rent_reason(order.e164, order.charged_from)}"
        note = "Not bought"
        post(
            session,
            order.project_id,
            Post(order.price_minor, reason, batch.actor, note, order.e164, batch.scenario_id),
            now,
        )
    session.flush()


def is_ours(session: Session, order: NumberOrder, label: str) -> bool:
    """Whether the label of a number in our account says that it was bought for this order, or for an earlier one of the same number
    (the carrier did that later than we looked). Two servers may share an account: a label alone proves nothing."""
    if label == label_of(order.id):
        return True
    kind, _, text = label.partition(":")
    if kind != "ct" or (earlier_id := parse_int(text)) is None:
        return False
    earlier = select(NumberOrder.id).where(NumberOrder.id == earlier_id, NumberOrder.e164 == order.e164)
    return session.scalar(earlier) is not None


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
    values = {
        "owned_elsewhere": False,
        "carrier_sid": owned.sid,
        "bought_at": now,
        "paid_until": order.charged_from + PAID_TIME,
    }
    number = returned(session, order.project_id, order.e164)
    if number is not None:
        for name, value in values.items():
            setattr(number, name, value)
    else:
        fresh = insert_new(session, TrackingNumber, unique=["e164"], where=HERE)
        fresh = fresh.values(project_id=order.project_id, e164=order.e164, created_at=now, **values)
        number = session.scalars(fresh.returning(TrackingNumber)).one_or_none()
        if number is None:
            raise AlreadyHere
    if scenario is not None:
        number.scenario_id = scenario.id
        number.static_source = static_sources(scenario.channels).get(order.e164)
        scenario.mark_changed(batch.actor, now)
    session.flush()
    numbers_changed.send(server, session=session, project_id=order.project_id, number_ids=[number.id])
    order.state, order.error, order.number_id, order.ended_at = OrderState.BOUGHT, "", number.id, now
    detail: dict[str, Any] = {"price_minor": order.price_minor, "batch": batch.id}
    if scenario is not None:
        detail["scenario"] = scenario.id
    record(session, Actor(batch.actor), now, "number.bought", order.e164, order.project_id, **detail)
    session.flush()
    return number


def finish_batch(session: Session, batch: NumberBatch, scenario: Scenario | None, now: datetime) -> None:
    """Ends the batch when no order of it is open, and enables its scenario if `enable` says so and it has a number."""
    session.flush()
    session.refresh(batch, with_for_update=True)
    is_open = select(NumberOrder.id).where(NumberOrder.batch_id == batch.id, OPEN).limit(1)
    if batch.finished_at is not None or session.scalar(is_open) is not None:
        return
    batch.finished_at = now
    if not batch.enable or scenario is None or scenario.enabled:
        return
    ready = select(TrackingNumber.id).where(
        TrackingNumber.scenario_id == scenario.id, TrackingNumber.overflow.is_(False)
    )
    if session.scalar(ready.limit(1)) is not None:
        scenario.enabled = True
        scenario.mark_changed(batch.actor, now)
        subject = f"scenario {scenario.id} “{scenario.title}”"
        record(session, Actor(batch.actor), now, "scenario.enabled", subject, scenario.project_id)
