"""Deliveries for people and for programs: is everything delivered, and if not, to whom, since when and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from router.accounts import audit
from router.accounts.sessions import require_person, require_token
from router.integrations.models import OPEN_STATES, Delivery, DeliveryAttempt, DeliveryState, Integration
from router.integrations.outbox import delivery_document, replay, replay_dead
from router.integrations.receivers import open_problems, place_of, troubles
from router.integrations.vendors import slot_title
from router.lib.formats import format_count
from router.server import current_server
from router.voice.models import Call
from router.web.access import Audience, current_actor, current_project, guard
from router.web.api import described, rows_of
from router.web.errors import Problem

DELIVERY_STATES = {
    DeliveryState.PENDING: ("waiting", "quiet"),
    DeliveryState.LEASED: ("being sent", "quiet"),
    DeliveryState.DONE: ("delivered", "good"),
    DeliveryState.DEAD: ("given up", "bad"),
    DeliveryState.SKIPPED: ("skipped", "quiet"),
    DeliveryState.EXPIRED: ("too late", "warn"),
}
"""The label of each state, and the kind of its pill. Skipping follows the settings, so it asks nobody for attention."""

EVENTS = {
    "call.started": "as the call began",
    "call.ended": "as the call ended",
    "call.updated": "as more became known",
}
"""When a delivery was made, by its event."""


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    delivery: Delivery
    integration: Integration
    call: Call | None


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


deliveries = guard(Blueprint("deliveries", __name__, url_prefix="/deliveries"), Audience.PEOPLE, require_person)

UNTOLD = ("missing", "creating", "warning")
"""Steps of a delivery that people do not read, or read elsewhere on its page."""
WORDS = {"slot_title": slot_title, "states": DELIVERY_STATES, "place_of": place_of}


@deliveries.get("")
def table() -> str:
    project = current_project()
    with current_server().database.reading() as session:
        found, following = entries(session, project.id, request.args)
        failing, count = troubles(session, project.id), waiting(session, project.id)
        problems = open_problems(session, project.id)
    return render_template(
        "integrations/deliveries.html",
        found=found,
        following=following,
        troubles=failing,
        problems=problems,
        waiting=count,
        **WORDS,
    )


@deliveries.get("/<int:delivery_id>")
def show(delivery_id: int) -> str:
    with current_server().database.reading() as session:
        one = entry(session, current_project().id, delivery_id)
        attempts = attempts_of(session, delivery_id)
    return render_template("integrations/delivery.html", one=one, attempts=attempts, untold=UNTOLD, **WORDS)


@deliveries.post("/<int:delivery_id>/replay")
def replay_one(delivery_id: int) -> AnyResponse:
    server, project = current_server(), current_project()
    now = server.now()
    with server.database.writing() as session:
        entry(session, project.id, delivery_id)
        replay(session, project.id, delivery_id, now)
        audit.record(session, current_actor(), now, "delivery replayed", f"delivery {delivery_id}", project.id)
    flash("It is being sent again, as the same message.")
    return redirect(url_for("deliveries.show", delivery_id=delivery_id))


@deliveries.post("/replay")
def replay_all() -> AnyResponse:
    """All dead ones of one receiver, which the form calls `destination`."""
    server, project, receiver = current_server(), current_project(), request.form.get("destination", "")
    now = server.now()
    with server.database.writing() as session:
        count = replay_dead(session, project.id, receiver, now)
        audit.record(session, current_actor(), now, "deliveries replayed", receiver, project.id, count=count)
    flash(f"{format_count(count, 'delivery', 'deliveries')} will be sent again.")
    return redirect(url_for("deliveries.table"))


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
