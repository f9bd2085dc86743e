"""Which deliveries are sent now, and how attempts ended (R11). Both go by batches: a claim, a turn's ends and their receivers' health are a
few statements each, however many deliveries they are about."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    String,
    bindparam,
    exists,
    false,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy import cast as as_type
from sqlalchemy.orm import Session

from router.db import BigId, Json, UtcDateTime, dialect_insert, insert_new, table_of, wait_for_turn
from router.integrations.models import (
    OPEN_STATES,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Integration,
    Lead,
    ReceiverHealth,
)
from router.integrations.notices import Cause, tell
from router.integrations.receivers import (
    end_probe,
    leave_alone,
    note_failure,
    note_missing,
    note_refusal,
    note_success,
    switch_off,
)
from router.jobs import Claim, Jobs, requested_pause
from router.lib.phones import masked, spellings_of_line
from router.statements import Statement, given
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
MOST_OF_ONE = 16
"""Requests under way to one receiver."""
MOST_CLAIMED = 48
"""Deliveries of one integration in one claim."""
ACCOUNT_PAUSE = timedelta(minutes=30)
DATABASE_PAUSE = timedelta(seconds=10)
"""After our own database failed: that says nothing of the receiver."""
REASON_LENGTH = 200
MESSAGE_LENGTH = 2000
PENDING: ColumnElement[str] = literal_column("'pending'")
LEASED: ColumnElement[str] = literal_column("'leased'")
NOTHING: ColumnElement[str] = literal_column("''")
"""Written out, not bound: databases take a partial index only for what they can read."""
CLAIMS = 7302
"""The advisory lock of the worker that claims."""
LOST = "It may have arrived: its worker stopped, or lost the database, while it was being sent."


DELIVERIES = Jobs(
    Delivery,
    Delivery.state.in_(OPEN_STATES),
    LEASE,
    due_at=Delivery.next_at,
    fence=(Delivery.lease_owner,),
)


class LeasedRow(NamedTuple):
    """A delivery as it was claimed; `reference` and so on as in Delivery."""

    id: int
    message_id: str
    project_id: int
    integration_id: int
    call_id: int
    text_message_id: int | None
    event: str
    receiver: str
    attempts: int
    event_at: datetime
    not_after: datetime | None
    reference: dict[str, Any]
    sending_at: datetime | None
    uncertain_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryClaim(Claim[Any]):
    """A delivery lent to one worker for one attempt. `job` is a LeasedRow."""

    failing: bool
    """The receiver failed the last time."""
    is_probe: bool = False
    """The only attempt at a receiver that was left alone: whether it works again."""

    def __hash__(self) -> int:
        return hash((self.id, self.fence))


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: done, retry, dead, skipped, expired or unconfirmed."""

    kind: str
    message: str = ""
    status: int | None = None
    milliseconds: int = 0
    retry_after: float | None = None
    refused_account: bool = False
    gone: bool = False
    ambiguous: bool = False
    """The receiver may have acted on it."""
    settles_after: timedelta = timedelta(0)
    """After an ambiguous attempt none begins sooner."""
    not_tried: bool = False
    """The receiver was not asked, for a reason of our own."""
    reference: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    """Results of steps that could not be kept when they were made."""
    answer: str = ""
    """The beginning of the answer's body."""


class Due(NamedTuple):
    """An integration that has something to be sent."""

    integration_id: int
    receiver: str


def look(session: Session, now: datetime) -> list[Due]:
    """The integrations with something due; asked without any lock."""
    return cast("list[Due]", _LOOK.all(session, {"now": now}))


def _look(dialect: str) -> Executable:
    delivery, integration = table_of(Delivery).c, table_of(Integration).c
    due = exists().where(
        delivery.integration_id == integration.id,
        delivery.state == PENDING,
        delivery.next_at <= bindparam("now", type_=UtcDateTime),
    )
    health = table_of(ReceiverHealth).c
    is_left_alone = exists().where(
        health.destination == integration.destination,
        or_(health.switched_off_at.is_not(None), health.open_until > bindparam("now", type_=UtcDateTime)),
    )
    columns = integration.id.label("integration_id"), integration.destination.label("receiver")
    return select(*columns).where(due, ~is_left_alone)


_LOOK = Statement(_look, Due)


def has_lost(session: Session, now: datetime) -> bool:
    """Whether leases have ended: their worker is gone."""
    return bool(session.scalar(select(exists().where(Delivery.state == LEASED, Delivery.next_at <= now))))


def anything_due(session: Session, now: datetime) -> bool:
    """Whether a claim could find something: asked without any lock."""
    return bool(look(session, now)) or has_lost(session, now)


def take_back_lost(session: Session, now: datetime) -> None:
    """Ends the leases of workers who are gone. Their attempts were counted, so that what kills workers ends as dead. What may have arrived
    at a receiver that cannot tell a repeat is not sent again."""
    wait_for_turn(session, CLAIMS, 0)
    lost = (Delivery.state == LEASED) & (Delivery.next_at <= now)
    was_sending = Delivery.sending_at.is_not(None)
    is_last = Delivery.attempts >= len(PAUSES)
    for condition, values in (
        (lost & was_sending, {"state": DeliveryState.UNCONFIRMED, "reason": LOST, "sending_at": None}),
        (
            lost & is_last,
            {"state": DeliveryState.DEAD, "reason": "The worker stopped in the middle of the last attempt."},
        ),
        (lost, {"state": DeliveryState.PENDING, "next_at": now}),
    ):
        ended = update(Delivery).where(condition).values(lease_owner="", **values)
        session.execute(ended.execution_options(synchronize_session=False))


def claim(
    session: Session,
    now: datetime,
    room: int,
    room_failing: int,
    slots: Callable[[str], int] = lambda receiver: 1,
    due: Sequence[Due] | None = None,
) -> list[DeliveryClaim]:
    """Claims what is due at the integrations `due` (None: at all), in turns of one for each receiver, the longest waiting first.

    To a receiver that fails goes one at a time, that which was tried before and waits the longest; to one that was left alone until now
    one of all workers together. Workers claim one after the other, so that no two take deliveries of one order.

    Args:
        room: how many at most; `room_failing` of them at receivers that failed the last time.
        slots: how many more a receiver may get.
    """
    wait_for_turn(session, CLAIMS, 0)
    if due is None:
        due = look(session, now)
    health = {row.receiver: row for row in session.execute(select(*_HEALTH))}
    wanted: dict[str, list[int]] = {}
    for integration_id, receiver in due:
        known = health.get(receiver)
        is_left_alone = known and (known.switched_off_at or (known.open_until and known.open_until > now))
        if not is_left_alone and slots(receiver) > 0:
            wanted.setdefault(receiver, []).append(integration_id)
    places: list[tuple[int, datetime, int, str]] = []
    found = _due_of(session, [one for receiver, ids in wanted.items() if receiver not in health for one in ids], now)
    failing = [one for receiver, ids in wanted.items() if receiver in health for one in ids]
    tried, untried = _due_of(session, failing, now, tried=True), _due_of(session, failing, now)
    for receiver, ids in wanted.items():
        if receiver in health:
            first = min((row for one in ids for row in tried[one]), default=None)
            first = first or min((row for one in ids for row in untried[one]), default=None)
            places += [(0, *first, receiver)] if first else []
        else:
            oldest = sorted(row for one in ids for row in found[one])[: slots(receiver)]
            places += [(turn, *row, receiver) for turn, row in enumerate(oldest)]
    chosen: list[dict[str, Any]] = []
    owner = secrets.token_hex(16)
    for _, _, delivery_id, receiver in sorted(places):
        if len(chosen) >= room:
            break
        if receiver in health:
            if room_failing <= 0:
                continue
            room_failing -= 1
        values = {"id": delivery_id, "receiver": receiver, "owner": owner, "now": now, "until": now + LEASE}
        chosen.append(values)
    claims = []
    for row in cast("list[LeasedRow]", _TAKE.together(session, chosen)):
        known = health.get(row.receiver)
        is_probe = known is not None and known.open_until is not None
        claims.append(DeliveryClaim(row.id, row, (owner,), known is not None, is_probe))
    probed = [one.job.receiver for one in claims if one.is_probe]
    if probed:
        until = update(ReceiverHealth).where(ReceiverHealth.receiver.in_(probed)).values(open_until=now + LEASE)
        session.execute(until.execution_options(synchronize_session=False))
    return claims


_HEALTH = ReceiverHealth.receiver, ReceiverHealth.open_until, ReceiverHealth.switched_off_at


def _due_of(
    session: Session, integration_ids: Sequence[int], now: datetime, *, tried: bool = False
) -> dict[int, list[tuple[datetime, int]]]:
    """Moment and id of what is due at each integration, the longest waiting first; `tried`: the first one that was tried before."""
    if not integration_ids:
        return {}
    statement = _TRIED if tried else _DUE
    rows = statement.many(session, [{"integration": one, "now": now} for one in integration_ids])
    return dict(zip(integration_ids, rows, strict=True))


def _due(dialect: str, *, tried: bool = False) -> Executable:
    delivery, health = table_of(Delivery), table_of(ReceiverHealth)
    earlier = delivery.alias("earlier")
    now = bindparam("now", type_=UtcDateTime)
    is_left_alone = exists().where(
        health.c.destination == earlier.c.destination,
        or_(health.c.switched_off_at.is_not(None), health.c.open_until > now),
    )
    # one account may be reached as several receivers: one that is paused, or whose key another project let expire, holds up no other
    comes_first = or_(
        earlier.c.destination == delivery.c.destination, (earlier.c.next_at <= now) & ~is_left_alone.correlate(earlier)
    )
    of_its_order = exists().where(
        earlier.c.order_key == delivery.c.order_key,
        earlier.c.order_key != NOTHING,
        or_(earlier.c.state == PENDING, earlier.c.state == LEASED),
        ((earlier.c.id < delivery.c.id) & comes_first) | (earlier.c.state == LEASED),
        earlier.c.id != delivery.c.id,
    )
    waits = of_its_order.correlate(delivery)  # said, because `Statement.many` puts all of this below another table
    conditions = (delivery.c.attempts > literal_column("0"),) if tried else ()
    statement = select(delivery.c.next_at, delivery.c.id).where(
        delivery.c.integration_id == bindparam("integration", type_=BigId),
        delivery.c.state == PENDING,
        delivery.c.next_at <= now,
        ~waits,
        *conditions,
    )
    return statement.order_by(delivery.c.next_at, delivery.c.id).limit(1 if tried else MOST_CLAIMED)


_DUE = Statement(_due, tuple)
_TRIED = Statement(lambda dialect: _due(dialect, tried=True), tuple)


def _take(dialect: str) -> Executable:
    delivery = table_of(Delivery)
    rows = given(dialect, {"id": BigId, "receiver": String, "owner": String, "now": UtcDateTime, "until": UtcDateTime})
    taken = update(delivery).where(
        delivery.c.id == rows["id"], delivery.c.state == PENDING, delivery.c.next_at <= rows["now"]
    )
    values = {
        "state": LEASED,
        "lease_owner": rows["owner"],
        "attempts": delivery.c.attempts + 1,
        "destination": rows["receiver"],
        "changed": false(),
        "next_at": rows["until"],
    }
    columns = [delivery.c[{"receiver": "destination"}.get(name, name)].label(name) for name in LeasedRow._fields]
    return taken.values(values).returning(*columns)


_TAKE = Statement(_take, LeasedRow)


def mark_sending(session: Session, claims: Sequence[DeliveryClaim], now: datetime) -> set[int]:
    """Marks that these are going to be sent now; returns the ids of those whose lease holds. The others are not to be sent."""
    rows = [{"id": one.id, "owner": one.fence[0], "now": now} for one in claims]
    return {row[0] for row in _MARK.together(session, rows)}


def _mark(dialect: str) -> Executable:
    delivery = table_of(Delivery)
    rows = given(dialect, {"id": BigId, "owner": String, "now": UtcDateTime})
    held = (delivery.c.id == rows["id"], delivery.c.lease_owner == rows["owner"], delivery.c.state == LEASED)
    return update(delivery).where(*held).values(sending_at=rows["now"]).returning(delivery.c.id)


_MARK = Statement(_mark, tuple)


def remember(session: Session, claim: Claim[Any], steps: Mapping[str, Any], now: datetime) -> bool:
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
        integration = session.get_one(Integration, delivery.integration_id)
        account = integration.account or integration.receiver
        of_line = (Lead.account == account, Lead.caller.in_(spellings_of_line(caller)))
        if session.scalar(select(Lead.id).where(*of_line).limit(1)) is None:
            fresh = insert_new(session, Lead, unique=["destination", "caller"])
            session.execute(
                fresh.values(
                    project_id=delivery.project_id,
                    account=account,
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
    return finish_all(session, [(claim, outcome)], now, lambda: chance) == {claim.id}


def finish_all(
    session: Session, ended: Sequence[tuple[DeliveryClaim, Outcome]], now: datetime, chance: Callable[[], float]
) -> set[int]:
    """The same for many, in the order in which they ended; returns the ids of those whose lease was held."""
    for one, outcome in ended:
        if outcome.steps:
            remember(session, one, outcome.steps, now)
    session.flush()
    rows = _HELD.together(session, [{"id": one.id, "owner": one.fence[0]} for one, _ in ended])
    held = {row.id: row for row in rows}
    told = [row.call_id for row in rows]
    forgotten: set[int] = set()
    if any(outcome.message or outcome.answer for _, outcome in ended):
        forgotten = set(session.scalars(select(Call.id).where(Call.id.in_(told), Call.forgotten_id.is_not(None))))
    written: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    kept: list[tuple[DeliveryClaim, Outcome, str]] = []
    for one, outcome in ended:
        row = held.get(one.id)
        if row is None:
            continue
        if row.call_id in forgotten:
            # the answer may have his number
            outcome = replace(outcome, message=masked(outcome.message), answer=masked(outcome.answer))
        values, recorded = _ended(row, outcome, now, chance)
        written.append(values)
        kept.append((one, outcome, recorded))
        if not outcome.not_tried:
            attempts.append(
                {
                    "delivery_id": one.id,
                    "at": now,
                    "milliseconds": outcome.milliseconds,
                    "status": outcome.status,
                    "outcome": recorded,
                    "message": outcome.message[:MESSAGE_LENGTH],
                    "answer": outcome.answer[:MESSAGE_LENGTH],
                }
            )
    _WRITE.together(session, written)
    _ADD_ATTEMPTS.together(session, attempts)
    _note_health(session, kept, now)
    return set(held)


def _ended(row: Any, outcome: Outcome, now: datetime, chance: Callable[[], float]) -> tuple[dict[str, Any], str]:
    """The columns of a delivery after an attempt, and the outcome that its attempt is recorded with."""
    values: dict[str, Any] = {
        "id": row.id,
        "reason": outcome.message[:REASON_LENGTH],
        "attempts": row.attempts,
        "next_at": now,
        "done_at": None,
        "reference": row.reference,
        "uncertain_at": now if outcome.ambiguous else row.uncertain_at,
    }
    pending = {"state": DeliveryState.PENDING}
    if outcome.not_tried:  # neither an attempt nor the receiver's failure
        return values | pending | {"attempts": row.attempts - 1, "next_at": now + DATABASE_PAUSE}, "retry"
    if outcome.kind == "retry" and (outcome.refused_account or outcome.gone):
        # no message is lost because a key ran out, or an address is gone: this attempt does not count
        until = now + ACCOUNT_PAUSE if outcome.refused_account else now
        return values | pending | {"attempts": row.attempts - 1, "next_at": until}, "retry"
    if outcome.kind == "retry":
        following = next_attempt(row.attempts, now, chance(), outcome.retry_after)
        if following is None:
            return values | {"state": DeliveryState.DEAD}, DeliveryState.DEAD
        if outcome.ambiguous:
            following = max(following, now + outcome.settles_after)
        if row.not_after is not None and following > row.not_after:
            return values | {"state": DeliveryState.EXPIRED}, DeliveryState.EXPIRED
        return values | pending | {"next_at": following}, "retry"
    values["state"] = outcome.kind
    if outcome.kind == DeliveryState.DONE:
        values |= {"reference": {**row.reference, **outcome.reference}, "done_at": now, "uncertain_at": None}
    if row.changed and outcome.kind in (DeliveryState.DONE, DeliveryState.SKIPPED):
        values |= pending | {"attempts": 0}
    return values, outcome.kind


def _held(dialect: str) -> Executable:
    delivery = table_of(Delivery)
    rows = given(dialect, {"id": BigId, "owner": String})
    columns = (
        delivery.c[name] for name in ("id", "call_id", "attempts", "changed", "not_after", "reference", "uncertain_at")
    )
    held = (delivery.c.id == rows["id"], delivery.c.lease_owner == rows["owner"], delivery.c.state == LEASED)
    # in the order in which forgetting locks them too
    return select(*columns).where(*held).order_by(delivery.c.id).with_for_update(of=delivery)


_HELD = Statement(_held)


def _write(dialect: str) -> Executable:
    delivery = table_of(Delivery)
    types: dict[str, Any] = {"id": BigId, "state": String, "reason": String, "attempts": Integer, "reference": Json}
    types |= dict.fromkeys(("next_at", "done_at", "uncertain_at"), UtcDateTime)
    rows = given(dialect, types)
    values = {name: rows[name] for name in types if name != "id"}
    cleared = {"lease_owner": NOTHING, "sending_at": as_type(null(), UtcDateTime)}
    return update(delivery).where(delivery.c.id == rows["id"]).values(values | cleared)


_WRITE = Statement(_write)


def _add_attempts(dialect: str) -> Executable:
    types: dict[str, Any] = {"delivery_id": BigId, "at": UtcDateTime, "milliseconds": Integer, "status": Integer}
    types |= dict.fromkeys(("outcome", "message", "answer"), String)
    rows = given(dialect, types)
    added = dialect_insert(dialect, table_of(DeliveryAttempt)).from_select(
        list(types), select(*(rows[name] for name in types))
    )
    return cast("Executable", added)


_ADD_ATTEMPTS = Statement(_add_attempts)


def _note_health(session: Session, ended: Iterable[tuple[DeliveryClaim, Outcome, str]], now: datetime) -> None:
    """What attempts say of their receivers, and of what was given up. Failures before a success at the same receiver say nothing."""
    by_receiver: dict[str, list[tuple[DeliveryClaim, Outcome, str]]] = {}
    for end in ended:
        by_receiver.setdefault(end[0].job.receiver, []).append(end)
    is_known = select(ReceiverHealth.receiver).where(ReceiverHealth.receiver.in_(by_receiver))
    known = set(session.scalars(is_known)) if by_receiver else set()
    for receiver in sorted(by_receiver):  # in one order for all workers
        rows = by_receiver[receiver]
        successes = [index for index, (_, outcome, _) in enumerate(rows) if outcome.kind == DeliveryState.DONE]
        if successes and receiver in known:
            note_success(session, receiver, was_failing=any(rows[index][0].failing for index in successes))
        for index, (one, outcome, recorded) in enumerate(rows):
            if one.is_probe and outcome.kind != DeliveryState.DONE:
                end_probe(session, receiver, now)
            if recorded == DeliveryState.DEAD:
                tell(session, receiver, Cause.DEAD, now, now, outcome.message)
            if outcome.not_tried:
                continue
            if outcome.gone:
                switch_off(session, receiver, outcome.message, now)
            elif outcome.refused_account:
                note_refusal(session, receiver, outcome.message, now, now + ACCOUNT_PAUSE)
            elif outcome.kind == "retry" and outcome.retry_after and outcome.status == 429:
                pause = requested_pause(outcome.retry_after, LONGEST_REQUESTED)
                leave_alone(session, receiver, outcome.message, now, now + pause)
            elif outcome.kind in ("retry", DeliveryState.UNCONFIRMED) and not (successes and index < successes[-1]):
                note_failure(session, receiver, outcome.message, now, was_failing=one.failing)
