"""The outbox (R11): deliveries are written in the transaction of the call event that causes them, and replayed; `queue.py` hands them to
workers. And a call's document with its deliveries: the whole shape of the API and of webhooks."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import Any, cast

from sqlalchemy import ColumnElement, Executable, String, and_, case, false, func, literal, null, or_, select, update
from sqlalchemy import cast as as_type
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.db import BigId, Json, UtcDateTime, dialect_insert, table_of
from router.integrations.base import Slot, Vendor
from router.integrations.models import OPEN_STATES, Delivery, DeliveryState, Integration
from router.integrations.receivers import try_at_once
from router.integrations.vendors import VENDORS, receivers_of
from router.integrations.wakeups import wake_after_commit
from router.server import Server
from router.statements import Statement, given
from router.voice.calls import CALL_EVENTS, call_documents, caller_of, calls_announced, name_of
from router.voice.models import BLOCKED, EXTERNAL, Call
from router.web.errors import iso


def fan_out(session: Session, call: Call, event: str, now: datetime) -> None:
    """One delivery for each integration of the call's scenario that wants the event; a repeat adds nothing.

    The calls of a disabled scenario leave *skipped* ones (R12), which can be replayed. An event of REPEATED sends again what was sent.
    Of internal and of blocked calls those are told whom the project's switches name (R10).
    """
    fan_out_all(session, [(call, event, now)])


def fan_out_all(session: Session, due: Iterable[tuple[Call, str, datetime]]) -> None:
    """The same for events of many calls, none twice; one statement for each kind of event and each choice of receivers."""
    alike: dict[tuple[str, tuple[tuple[Slot, Vendor], ...]], list[dict[str, Any]]] = {}
    for call, event, now in due:
        if call.scenario_id is None:
            continue
        receivers = receivers_of(event)
        if call.kind != EXTERNAL:
            switch = Project.tell_blocked if call.kind == BLOCKED else Project.tell_internal
            told = session.scalar(select(switch).where(Project.id == call.project_id))
            if told == "webhooks":
                receivers = tuple((slot, vendor) for slot, vendor in receivers if vendor.takes_internal_calls)
            elif told != "all":
                receivers = ()
        if not receivers:
            continue
        values = {
            "batch": message_prefix(call.sid, event),
            "call": call.id,
            "event": event,
            "caller": name_of(caller_of(call)) or None,
            "state": DeliveryState.PENDING if call.scenario_enabled else DeliveryState.SKIPPED,
            "reason": "" if call.scenario_enabled else "scenario disabled",
            "now": now,
            "moment": _moment(call, event, now),
            "scenario": call.scenario_id,
        }
        for _, vendor in receivers:
            if vendor.lifetime is not None:
                values[f"not_after_{vendor.kind}"] = call.started_at + vendor.lifetime
        alike.setdefault((event, receivers), []).append(values)
    for (event, receivers), rows in alike.items():
        _fan_out(event, receivers).together(session, rows)


REPEATED = ("call.updated", "call.recorded")
"""Events that one call may have several times: the last one is told, as what was told before."""


def _moment(call: Call, event: str, now: datetime) -> datetime:
    if event in REPEATED:
        return now
    moment = {"call.started": call.started_at, "call.answered": call.answered_at}.get(event, call.ended_at)
    return moment or now


def message_prefix(call_sid: str, event: str) -> str:
    """The beginning of the message ids of a call's event. They are the same when the event is applied again to a database that fell back
    to an earlier state, so that receivers know a message that the database has forgotten."""
    digest = blake2b(f"{call_sid}|{event}".encode(), digest_size=10)
    return f"msg_{digest.hexdigest()}_"


@cache
def _fan_out(event: str, receivers: tuple[tuple[Slot, Vendor], ...]) -> Statement:
    def build(dialect: str) -> Executable:
        integration = table_of(Integration).c
        lasting = [vendor.kind for _, vendor in receivers if vendor.lifetime is not None]
        types: dict[str, Any] = dict.fromkeys(("batch", "event", "caller", "state", "reason"), String)
        types |= dict.fromkeys(("call", "scenario"), BigId)
        types |= dict.fromkeys(("now", "moment", *(f"not_after_{kind}" for kind in lasting)), UtcDateTime)
        value = given(dialect, types)
        caller, now = value["caller"], value["now"]
        ordered = [vendor.kind for _, vendor in receivers if vendor.ordered_by_caller]
        in_order = and_(or_(false(), *(integration.kind == kind for kind in ordered)), caller.is_not(None))
        deadlines = {kind: value[f"not_after_{kind}"] for kind in lasting}
        no_deadline = as_type(null(), UtcDateTime)
        row = {
            "message_id": value["batch"] + as_type(integration.id, String),
            "project_id": integration.project_id,
            "integration_id": integration.id,
            "call_id": value["call"],
            "event": value["event"],
            "destination": integration.destination,
            "order_key": case(
                (in_order, func.coalesce(integration.account, integration.destination) + "|" + caller), else_=""
            ),
            "state": value["state"],
            "reason": value["reason"],
            "attempts": literal(0),
            "created_at": now,
            "event_at": value["moment"],
            "next_at": now,
            "not_after": case(deadlines, value=integration.kind, else_=no_deadline) if deadlines else no_deadline,
            "lease_owner": literal(""),
            "changed": false(),
            "reference": literal({}, Json),
        }

        def wants(slot: Slot, vendor: Vendor) -> ColumnElement[bool]:
            chosen = integration.events.contains(f",{event},")
            return or_(integration.events == "", chosen) if event in vendor.events[slot] else chosen

        rows = select(*row.values()).where(
            integration.scenario_id == value["scenario"],
            or_(
                *(
                    and_(integration.slot == slot.name, integration.kind == vendor.kind, wants(slot, vendor))
                    for slot, vendor in receivers
                )
            ),
            integration.removed_at.is_(None),
        )
        insert = dialect_insert(dialect, Delivery).from_select(list(row), rows)
        unique = ["integration_id", "event", "call_id"]
        if event not in REPEATED:
            return cast("Executable", insert.on_conflict_do_nothing(index_elements=unique))
        over = or_(Delivery.state == DeliveryState.DONE, Delivery.state == DeliveryState.SKIPPED)
        again: dict[str, Any] = {
            "changed": Delivery.state == DeliveryState.LEASED,
            "event_at": insert.excluded.event_at,
        }
        for name in ("state", "reason", "next_at", "attempts"):
            again[name] = case((over, insert.excluded[name]), else_=getattr(Delivery, name))
        return cast("Executable", insert.on_conflict_do_update(index_elements=unique, set_=again))

    return Statement(build)


def doubles(delivery: Delivery, kind: str) -> str:
    """What could come twice when a delivery to a receiver of this kind is sent again, for people to confirm; empty: nothing."""
    if delivery.state not in (DeliveryState.DONE, DeliveryState.UNCONFIRMED):
        return ""
    before = "It was delivered." if delivery.state == DeliveryState.DONE else "It may have arrived."
    return f"{before} {VENDORS[kind].repeated if kind in VENDORS else ''}".strip()


def replay(session: Session, project_id: int, delivery_id: int, now: datetime) -> Delivery | None:
    """Sends a delivery again, as the same message, with all its attempts before it; steps are looked at anew.

    Returns None when this project has no such delivery. A delivery that is waiting or under way stays as it is.
    """
    delivery = session.scalar(
        select(Delivery).where(Delivery.id == delivery_id, Delivery.project_id == project_id).with_for_update()
    )
    if delivery is not None and delivery.state not in OPEN_STATES:
        _again(session, [delivery.id], now)
        session.refresh(delivery)
        try_at_once(session, delivery.receiver, now)
    return delivery


def retry(session: Session, project_id: int, delivery_id: int, now: datetime) -> Delivery | None:
    """Tries a delivery that waits for its next attempt at once, without changing how many it has left.

    Returns None when this project has no such delivery. One that does not wait stays as it is.
    """
    delivery = session.scalar(
        select(Delivery).where(Delivery.id == delivery_id, Delivery.project_id == project_id).with_for_update()
    )
    if delivery is not None and delivery.state == DeliveryState.PENDING:
        delivery.next_at = min(delivery.next_at, now)
        session.flush()
        try_at_once(session, delivery.receiver, now)
    return delivery


def replay_dead(
    session: Session, project_id: int, receiver: str, now: datetime, limit: int = 500, since: datetime | None = None
) -> int:
    """Sends the dead deliveries of a receiver, or of all (empty), again, oldest first, at most `limit`; returns how many.

    since: only of events that happened then or later.
    """
    dead = select(Delivery.id, Delivery.receiver).where(
        Delivery.project_id == project_id, Delivery.state == DeliveryState.DEAD
    )
    if receiver:
        dead = dead.where(Delivery.receiver == receiver)
    if since is not None:
        dead = dead.where(Delivery.event_at >= since)
    rows = session.execute(dead.order_by(Delivery.id).limit(limit)).all()
    _again(session, [row.id for row in rows], now)
    for each in sorted({row.receiver for row in rows} | ({receiver} if receiver else set())):
        try_at_once(session, each, now)
    return len(rows)


def _again(session: Session, ids: list[int], now: datetime) -> None:
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.state.not_in(OPEN_STATES))
        .values(state=DeliveryState.PENDING, reason="", attempts=0, next_at=now, done_at=None, reference={})
        .execution_options(synchronize_session=False)
    )


def on_call_event(sender: Any, *, session: Session, event: str, call: Call, now: datetime) -> None:
    """Kept until all events are announced, and written together."""
    session.info.setdefault(DUE, {})[call.id, event] = (call, event, now)


def on_calls_announced(sender: Any, *, session: Session) -> None:
    if due := session.info.pop(DUE, {}):
        fan_out_all(session, due.values())
        wake_after_commit(session, sender.settings)


DUE = "due_deliveries"


def connect_receivers() -> None:
    """Connects the outbox to the events of calls of every server in the process; again changes nothing."""
    for signal in CALL_EVENTS.values():
        signal.connect(on_call_event, weak=False)
    calls_announced.connect(on_calls_announced, weak=False)


def full_call_documents(server: Server, session: Session, calls: Iterable[Call]) -> list[dict[str, Any]]:
    """`call_documents` with `deliveries: [{id, slot, kind, event, state, reason, attempts, done_at}]`; one statement more."""
    calls = list(calls)
    documents = call_documents(server, session, calls)
    told: dict[int, list[Any]] = {call.id: [] for call in calls}
    rows = select(*TOLD).join(Integration, Integration.id == Delivery.integration_id)
    rows = rows.where(Delivery.call_id.in_(told)).order_by(Delivery.id)
    for row in session.execute(rows) if told else ():
        told[row.call_id].append(delivery_of_call(row, row))
    return [document | {"deliveries": told[document["id"]]} for document in documents]


TOLD = (
    *(Delivery.call_id, Delivery.id, Delivery.event, Delivery.state, Delivery.reason, Delivery.attempts),
    *(Delivery.done_at, Integration.slot, Integration.kind),
)
"""Columns for `delivery_of_call`, without the rest, which is long."""


def delivery_of_call(delivery: Any, integration: Any) -> dict[str, Any]:
    """Of a Delivery and its Integration, or of a row with columns of both."""
    return {
        "slot": integration.slot,
        "kind": integration.kind,
        "id": delivery.id,
        "event": delivery.event,
        "state": delivery.state,
        "reason": delivery.reason or None,
        "attempts": delivery.attempts,
        "done_at": iso(delivery.done_at) if delivery.done_at else None,
    }
