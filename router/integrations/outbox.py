"""The outbox (R11): deliveries are written with the call event that causes them, and replayed; `claims.py` hands them to workers."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, String, case, cast, false, literal, null, select, update
from sqlalchemy.orm import Session

from router.database import Json, UtcDateTime, dialect_insert
from router.integrations.health import try_at_once
from router.integrations.models import Delivery, Integration
from router.voice.signals import CallFacts

SLOTS_OF = {
    "call.started": ("webhook_start",),
    "call.ended": ("webhook_end", "ga4", "crm"),
    "call.updated": ("crm",),
}
AGAIN = ("state", "reason", "next_at", "attempts")
"""What an update resets of a delivery that is over."""
GOAL_LIFETIME = timedelta(hours=72)
"""Google Analytics takes no event that is older."""
SCENARIO_DISABLED = "scenario disabled"
REPLAYABLE = ("dead", "done", "skipped", "expired")
COLUMNS = (
    "message_id",
    "project_id",
    "integration_id",
    "call_id",
    "event",
    "destination",
    "order_key",
    "state",
    "reason",
    "attempts",
    "created_at",
    "event_at",
    "next_at",
    "not_after",
    "lease_owner",
    "changed",
    "reference",
)


def fan_out(session: Session, call: CallFacts, event: str, now: datetime) -> None:
    """One delivery for each integration of the call's scenario that wants the event, in one statement; a repeat adds nothing.

    The calls of a disabled scenario leave *skipped* ones (R12), which can be replayed. `call.updated` sends again what was sent.
    """
    if call.scenario_id is None:
        return
    insert = dialect_insert(session, Delivery).from_select(COLUMNS, _rows(call, event, now))
    unique = ["integration_id", "event", "call_id"]
    if event != "call.updated":
        session.execute(insert.on_conflict_do_nothing(index_elements=unique))
        return
    over = Delivery.state.in_(("done", "skipped"))
    again: dict[str, Any] = {name: case((over, insert.excluded[name]), else_=getattr(Delivery, name)) for name in AGAIN}
    again["changed"] = Delivery.state == "leased"
    session.execute(insert.on_conflict_do_update(index_elements=unique, set_=again))


def _rows(call: CallFacts, event: str, now: datetime) -> Select[*tuple[Any, ...]]:
    batch = f"msg_{secrets.token_hex(10)}_"
    moment = call.started_at if event == "call.started" else call.ended_at or now
    latest = literal(call.started_at + GOAL_LIFETIME, UtcDateTime)
    return select(
        literal(batch) + cast(Integration.id, String),
        Integration.project_id,
        Integration.id,
        literal(call.id),
        literal(event),
        Integration.destination,
        _order_key(call),
        literal("pending" if call.scenario_enabled else "skipped"),
        literal("" if call.scenario_enabled else SCENARIO_DISABLED),
        literal(0),
        literal(now, UtcDateTime),
        literal(moment, UtcDateTime),
        literal(now, UtcDateTime),
        case((Integration.slot == "ga4", latest), else_=cast(null(), UtcDateTime)),
        literal(""),
        false(),
        literal({}, Json),
    ).where(
        Integration.scenario_id == call.scenario_id,
        Integration.slot.in_(SLOTS_OF[event]),
        Integration.removed_at.is_(None),
    )


def _order_key(call: CallFacts) -> ColumnElement[str]:
    """A CRM hears of one caller's calls one after the other."""
    if call.caller is None:
        return literal("")
    return case((Integration.slot == "crm", Integration.destination + f"|{call.caller}"), else_="")


def replay(session: Session, project_id: int, delivery_id: int, now: datetime) -> Delivery | None:
    """Sends a delivery again, as the same message, with all its attempts before it; steps are looked at anew.

    Returns None when this project has no such delivery. One that is waiting or under way stays as it is.
    """
    delivery = session.scalar(
        select(Delivery).where(Delivery.id == delivery_id, Delivery.project_id == project_id).with_for_update()
    )
    if delivery is not None and delivery.state in REPLAYABLE:
        _again(session, [delivery.id], now)
        session.refresh(delivery)
        try_at_once(session, delivery.destination)
    return delivery


def replay_dead(session: Session, project_id: int, destination: str, now: datetime, limit: int = 500) -> int:
    """Sends the dead deliveries of a destination again, oldest first, at most `limit`; returns how many."""
    dead = select(Delivery.id).where(
        Delivery.project_id == project_id, Delivery.destination == destination, Delivery.state == "dead"
    )
    ids = list(session.scalars(dead.order_by(Delivery.id).limit(limit)))
    _again(session, ids, now)
    try_at_once(session, destination)
    return len(ids)


def _again(session: Session, ids: list[int], now: datetime) -> None:
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.state.in_(REPLAYABLE))
        .values(state="pending", reason="", attempts=0, next_at=now, done_at=None, reference={})
        .execution_options(synchronize_session=False)
    )
