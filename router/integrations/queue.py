"""Which deliveries are sent now, and how an attempt ended (R11)."""

import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, exists, literal_column, select, update
from sqlalchemy.orm import Session, aliased

from router.db import insert_new, wait_for_turn
from router.integrations.models import (
    OPEN_STATES,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Integration,
    Lead,
    ReceiverHealth,
)
from router.integrations.receivers import leave_alone, note_failure, note_missing, note_success
from router.jobs import Claim, Jobs, requested_pause
from router.lib.phones import masked, spellings_of_line
from router.voice.models import Call

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400))
"""Before the first, second … tenth attempt, as Standard Webhooks recommends; after the tenth the delivery is dead."""
SPREAD = 0.1
LONGEST_REQUESTED = timedelta(hours=24)
"""What a receiver's Retry-After may ask for at most."""


def next_attempt(attempts: int, now: datetime, chance: float, retry_after: float | None = None) -> datetime | None:
    """The moment of the attempt that follows `attempts` failed ones, or None after the last.

    `chance`, 0 to 1, spreads the pause by ±10 %; a receiver's Retry-After (seconds) makes it longer, never shorter.
    """
    if attempts >= len(PAUSES):
        return None
    pause = PAUSES[attempts] * (1 - SPREAD + 2 * SPREAD * chance)
    return now + max(pause, requested_pause(retry_after, LONGEST_REQUESTED))


LEASE = timedelta(seconds=60)
"""Longer than any attempt may last (20 s), so that nobody takes over what is still being sent."""
AT_ONCE = 2
"""Deliveries under way to one receiver; 1 while it fails."""
ACCOUNT_PAUSE = timedelta(minutes=30)
DATABASE_PAUSE = timedelta(seconds=10)
"""After our own database failed: that says nothing of the receiver."""
REASON_LENGTH = 200
MESSAGE_LENGTH = 2000
LEASED: ColumnElement[str] = literal_column("'leased'")
NOTHING: ColumnElement[str] = literal_column("''")
"""Written out, not bound: SQLite takes a partial index only for what it can read."""
CLAIMS = 7302
"""The advisory lock of the worker that claims."""


DELIVERIES = Jobs(
    Delivery,
    Delivery.state.in_(OPEN_STATES),
    LEASE,
    due_at=Delivery.next_at,
    fence=(Delivery.lease_owner,),
)


@dataclass(frozen=True, slots=True)
class DeliveryClaim(Claim[Delivery]):
    """A delivery lent to one worker for one attempt."""

    failing: bool
    """The receiver failed the last time."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: done, retry, dead, skipped or expired."""

    kind: str
    message: str = ""
    status: int | None = None
    milliseconds: int = 0
    retry_after: float | None = None
    refused_account: bool = False
    database_failed: bool = False
    """Our own; the receiver may not have been asked."""
    reference: dict[str, Any] = field(default_factory=dict)


def claim(session: Session, now: datetime, room: int, room_failing: int) -> list[DeliveryClaim]:
    """Claims at most one due delivery of each integration; receivers that are busy or left alone are passed over.

    `room` limits how many, `room_failing` how many of them may go to receivers that failed the last time.
    Workers claim one after the other: each has to count what the others have under way.
    """
    wait_for_turn(session, CLAIMS, 0)
    # leases that ended: their worker is gone. The attempt was counted, so what kills workers ends as dead
    lost = (Delivery.state == LEASED) & (Delivery.next_at <= now)
    last = Delivery.attempts >= len(PAUSES)
    for condition, values in (
        (lost & last, {"state": DeliveryState.DEAD, "reason": "The worker stopped in the middle of the last attempt."}),
        (lost, {"state": DeliveryState.PENDING, "next_at": now}),
    ):
        session.execute(
            update(Delivery)
            .where(condition)
            .values(lease_owner="", **values)
            .execution_options(synchronize_session=False)
        )
    under_way = select(Integration.receiver).join(Delivery, Delivery.integration_id == Integration.id)
    busy = Counter(session.scalars(under_way.where(Delivery.state == LEASED)))
    claims: list[DeliveryClaim] = []
    for due in _due(session, now):
        failing = bool(due.failing)
        if len(claims) >= room or busy[due.receiver] >= (1 if failing else AT_ONCE):
            continue
        if failing and room_failing <= sum(claim.failing for claim in claims):
            continue
        lent = DELIVERIES.claim(
            session,
            due.id,
            now,
            state=DeliveryState.LEASED,
            lease_owner=secrets.token_hex(16),
            attempts=Delivery.attempts + 1,
            receiver=due.receiver,
            changed=False,
        )
        if lent is not None:
            claims.append(DeliveryClaim(lent.id, lent.job, lent.fence, failing))
            busy[due.receiver] += 1
    return claims


def anything_due(session: Session, now: datetime) -> bool:
    """Whether a claim could find something: asked without any lock."""
    ended = exists().where(Delivery.state == LEASED, Delivery.next_at <= now)
    return bool(session.scalar(select(ended))) or bool(_due(session, now))


def _due(session: Session, now: datetime) -> list[Row[Any]]:
    """The next due delivery of each integration whose receiver is not left alone, the longest waiting first."""
    earlier = aliased(Delivery)
    waits = exists().where(
        earlier.order_key == Delivery.order_key,
        earlier.order_key != NOTHING,
        earlier.state.in_(OPEN_STATES),
        (earlier.id < Delivery.id) | (earlier.state == DeliveryState.LEASED),
        earlier.id != Delivery.id,
    )
    first = (
        select(Delivery.id)
        .where(
            Delivery.integration_id == Integration.id,
            Delivery.state == DeliveryState.PENDING,
            Delivery.next_at <= now,
            ~waits,
        )
        .order_by(Delivery.next_at, Delivery.id)
        .limit(1)
        .correlate(Integration)
        .scalar_subquery()
    )
    candidates = (
        select(
            first.label("id"),
            Integration.receiver,
            ReceiverHealth.receiver.is_not(None).label("failing"),
        )
        .outerjoin(ReceiverHealth, ReceiverHealth.receiver == Integration.receiver)
        .where(ReceiverHealth.open_until.is_(None) | (ReceiverHealth.open_until <= now))
        .subquery()
    )
    statement = select(candidates).join(Delivery, Delivery.id == candidates.c.id)
    return list(session.execute(statement.order_by(Delivery.next_at, Delivery.id)))


def remember(session: Session, claim: DeliveryClaim, steps: dict[str, Any], now: datetime) -> bool:
    """Keeps the result of a step of this attempt; False when the lease is lost, and the attempt has to stop.

    A step `lead_id` also becomes the lead that stands for the caller from now on. A step `missing` says what the receiver did not have
    of all that the integration names: people are told of it.
    """
    delivery = DELIVERIES.held(session, claim)
    if delivery is None:
        return False
    delivery.reference = {**delivery.reference, **steps}
    lead = steps.get("lead_id")
    caller = session.scalar(select(Call.caller).where(Call.id == delivery.call_id)) if lead else None
    if caller is not None:
        external_id = str(lead)
        of_line = (Lead.receiver == delivery.receiver, Lead.caller.in_(spellings_of_line(caller)))
        if session.scalar(select(Lead.id).where(*of_line).limit(1)) is None:
            fresh = insert_new(session, Lead, unique=["destination", "caller"])
            session.execute(
                fresh.values(
                    project_id=delivery.project_id,
                    receiver=delivery.receiver,
                    caller=caller,
                    external_key=delivery.message_id,
                    external_id=external_id,
                    created_at=now,
                )
            )
        session.execute(
            update(Lead)
            .where(*of_line, Lead.external_id != external_id)
            .values(external_id=external_id, external_key=delivery.message_id)
        )
    if "missing" in steps:
        note_missing(session, delivery, steps["missing"], now)
    return True


def bring_forward(session: Session, before: datetime, now: datetime) -> None:
    """The clock was set back from `before` to `now`: what was due then is due now. What somebody is sending stays lent to him."""
    was_due = (Delivery.state == DeliveryState.PENDING, Delivery.next_at > now, Delivery.next_at <= before)
    session.execute(update(Delivery).where(*was_due).values(next_at=now))


def finish(session: Session, claim: DeliveryClaim, outcome: Outcome, now: datetime, chance: float) -> bool:
    """Writes how an attempt ended, unless the lease was lost meanwhile (False): then its new owner's word counts."""
    delivery = DELIVERIES.held(session, claim)
    if delivery is None:
        return False
    if outcome.message and session.scalar(select(Call.forgotten_id).where(Call.id == delivery.call_id)) is not None:
        outcome = replace(outcome, message=masked(outcome.message))  # the answer may have his number
    delivery.lease_owner = ""
    delivery.reason = outcome.message[:REASON_LENGTH]
    if outcome.database_failed:  # neither an attempt nor the receiver's failure
        delivery.attempts -= 1
        delivery.state, delivery.next_at = DeliveryState.PENDING, now + DATABASE_PAUSE
        return True
    recorded = outcome.kind
    if outcome.kind == "retry" and outcome.refused_account:
        # no message is lost because a key ran out: this attempt does not count
        delivery.attempts -= 1
        delivery.state, delivery.next_at = DeliveryState.PENDING, now + ACCOUNT_PAUSE
    elif outcome.kind == "retry":
        following = next_attempt(delivery.attempts, now, chance, outcome.retry_after)
        if following is None:
            delivery.state = recorded = DeliveryState.DEAD
        elif delivery.not_after is not None and following > delivery.not_after:
            delivery.state = recorded = DeliveryState.EXPIRED
        else:
            delivery.state, delivery.next_at = DeliveryState.PENDING, following
    else:
        delivery.state = outcome.kind
        if outcome.kind == DeliveryState.DONE:
            delivery.reference = {**delivery.reference, **outcome.reference}
            delivery.done_at = now
        if delivery.changed and outcome.kind in (DeliveryState.DONE, DeliveryState.SKIPPED):
            delivery.state, delivery.next_at, delivery.attempts = DeliveryState.PENDING, now, 0
    session.add(
        DeliveryAttempt(
            delivery_id=claim.id,
            at=now,
            milliseconds=outcome.milliseconds,
            status=outcome.status,
            outcome=recorded,
            message=outcome.message[:MESSAGE_LENGTH],
        )
    )
    receiver = claim.job.receiver
    if outcome.kind == DeliveryState.DONE:
        if claim.failing:
            note_success(session, receiver)
    elif outcome.refused_account:
        leave_alone(session, receiver, outcome.message, now, now + ACCOUNT_PAUSE)
    elif outcome.kind == "retry" and outcome.retry_after and outcome.status == 429:
        until = now + requested_pause(outcome.retry_after, LONGEST_REQUESTED)
        leave_alone(session, receiver, outcome.message, now, until)
    elif outcome.kind == "retry":
        note_failure(session, receiver, outcome.message, now)
    return True
