"""A call's document with its deliveries: the whole shape of the API and of webhooks."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.integrations.models import Delivery, Integration
from router.voice.document import call_documents
from router.voice.models import Call
from router.web import iso


def full_call_documents(session: Session, calls: Iterable[Call]) -> list[dict[str, Any]]:
    """`call_documents` with `deliveries: [{id, slot, kind, event, state, reason, attempts, done_at}]`; one statement more."""
    calls = list(calls)
    documents = call_documents(session, calls)
    told: dict[int, list[dict[str, Any]]] = {call.id: [] for call in calls}
    rows = (
        select(Delivery, Integration.slot, Integration.kind)
        .join(Integration, Integration.id == Delivery.integration_id)
        .where(Delivery.call_id.in_(told))
        .order_by(Delivery.id)
    )
    for delivery, slot, kind in session.execute(rows) if told else ():
        told[delivery.call_id].append({"slot": slot, "kind": kind, **_brief(delivery)})
    return [document | {"deliveries": told[document["id"]]} for document in documents]


def delivery_document(delivery: Delivery, integration: Integration, call_sid: str | None) -> dict[str, Any]:
    """A delivery as the API lists it."""
    waiting = delivery.state == "pending"
    return _brief(delivery) | {
        "slot": integration.slot,
        "kind": integration.kind,
        "scenario": integration.scenario_id,
        "message": delivery.message_id,
        "call": delivery.call_id,
        "call_sid": call_sid,
        "destination": delivery.destination,
        "created_at": iso(delivery.created_at),
        "next_at": iso(delivery.next_at) if waiting else None,
        "reference": delivery.reference,
    }


def _brief(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event,
        "state": delivery.state,
        "reason": delivery.reason or None,
        "attempts": delivery.attempts,
        "done_at": iso(delivery.done_at) if delivery.done_at else None,
    }
