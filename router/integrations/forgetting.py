"""Forgotten callers (R14) in what receivers are told. Messages are made when they are sent, so one that is still to go goes without the
number; a CRM, which would not know whom it is about, gets none."""

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.integrations.models import Delivery, DeliveryAttempt, Integration, Lead, ReceiverHealth
from router.lib.phones import Redactor
from router.server import Server
from router.voice.models import caller_forgotten

AT_ONCE = 500
"""Calls of one statement."""
ERASED: dict[type[Any], tuple[str, ...]] = {
    Delivery: ("reason", "reference"),
    DeliveryAttempt: ("message", "answer"),
    ReceiverHealth: ("last_error",),
}
"""The columns in which a number is looked for as a part of their text. `delivery.order_key` is written anew, and leads are deleted."""

REASON = "the caller was forgotten"
"""Why a CRM gets no message."""


def erase_deliveries(
    sender: Server, *, session: Session, project_id: int, redactor: Redactor, call_ids: list[int], forgotten_id: int
) -> int:
    """Erases a caller's number in the deliveries of his calls, and the leads that stand for him; returns how many messages had it."""
    messages = 0
    for begin in range(0, len(call_ids), AT_ONCE):
        of_calls = select(Delivery).where(Delivery.call_id.in_(call_ids[begin : begin + AT_ONCE]))
        # a worker that is sending one writes nothing of the caller while these rows are held
        deliveries = session.scalars(of_calls.order_by(Delivery.id).with_for_update()).all()
        attempts = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_([each.id for each in deliveries]))
        had = {each.delivery_id for each in session.scalars(attempts) if _redact(redactor, each)}
        for delivery in deliveries:
            if delivery.order_key:
                delivery.order_key = order_key(delivery.receiver, f"forgotten {forgotten_id}")
                had.add(delivery.id)
            if _redact(redactor, delivery):
                had.add(delivery.id)
        messages += len(had)
    receivers = select(Integration.receiver).where(Integration.project_id == project_id)
    for health in session.scalars(select(ReceiverHealth).where(ReceiverHealth.receiver.in_(receivers))):
        _redact(redactor, health)
    session.execute(delete(Lead).where(Lead.project_id == project_id, Lead.caller.in_(redactor.spellings)))
    session.flush()
    return messages


def order_key(receiver: str, caller: str) -> str:
    """Deliveries to one receiver about one caller go one after the other."""
    return f"{receiver}|{caller}"


def _redact(redactor: Redactor, row: Any) -> bool:
    changed = False
    for name in ERASED[type(row)]:
        value = getattr(row, name)
        if (redacted := redactor.value(value)) != value:
            setattr(row, name, redacted)
            changed = True
    return changed


def connect_forgetting() -> None:
    """Connects it to the forgetting of every server in the process; again changes nothing."""
    caller_forgotten.connect(erase_deliveries, weak=False)
