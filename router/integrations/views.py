"""The pages of deliveries: is everything delivered, and if not, to whom, since when and why.

Deliveries for programs."""

from typing import Any

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from pydantic import BaseModel
from werkzeug.wrappers import Response as AnyResponse

from router.accounts import audit
from router.accounts.sessions import require_person, require_token
from router.integrations.labels import DELIVERY_STATES
from router.integrations.listing import Entry, attempts_of, entries, entry, place_of, troubles, waiting
from router.integrations.outbox import delivery_document, replay, replay_dead
from router.integrations.problems import open_problems
from router.integrations.vendors import slot_title
from router.lib.formats import format_count
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard
from router.web.api import described

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
