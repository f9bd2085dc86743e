"""Deliveries for programs."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel

from router.accounts import audit
from router.accounts.access import Audience, current_actor, guard
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.integrations.document import delivery_document
from router.integrations.listing import Entry, entries, entry
from router.integrations.outbox import replay
from router.server import current_server

deliveries_api = guard(
    Blueprint("deliveries_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/deliveries"),
    Audience.PROGRAMS,
    require_token,
)


class DeliveryDocument(BaseModel):
    """A delivery as programs see it."""

    id: int
    event: str
    state: str
    reason: str | None
    attempts: int
    done_at: str | None
    slot: str
    kind: str
    scenario: int
    message: str
    call: int
    call_sid: str | None
    destination: str
    created_at: str
    next_at: str | None
    reference: dict[str, Any]


@deliveries_api.get("")
@described(answer=DeliveryDocument, is_list=True)
def list_deliveries(project_id: int) -> Response:
    """A project's deliveries; `state` shows only those."""
    with current_server().database.reading() as session:
        found, following = entries(session, project_id, request.args)
    return jsonify({"items": [_document(one) for one in found], "next": following})


@deliveries_api.get("/<int:delivery_id>")
@described(answer=DeliveryDocument)
def show_delivery(project_id: int, delivery_id: int) -> Response:
    """One delivery."""
    with current_server().database.reading() as session:
        return jsonify(_document(entry(session, project_id, delivery_id)))


@deliveries_api.post("/<int:delivery_id>/replay")
@described(answer=DeliveryDocument)
def replay_delivery(project_id: int, delivery_id: int) -> Response:
    """Send a delivery again, as the same message. One that waits or is under way stays as it is."""
    server = current_server()
    now = server.now()
    with server.database.writing() as session:
        entry(session, project_id, delivery_id)
        replay(session, project_id, delivery_id, now)
        audit.record(session, current_actor(), now, "delivery replayed", f"delivery {delivery_id}", project_id)
        return jsonify(_document(entry(session, project_id, delivery_id)))


def _document(one: Entry) -> dict[str, Any]:
    return delivery_document(one.delivery, one.integration, one.call.sid if one.call else None)
