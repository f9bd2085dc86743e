"""The pages of deliveries: is everything delivered, and if not, to whom, since when and why."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from router.accounts import audit
from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.sessions import require_person
from router.formats import say_count
from router.integrations.listing import STATES, attempts_of, entries, entry, place_of, troubles, waiting
from router.integrations.outbox import replay, replay_dead
from router.integrations.problems import open_problems
from router.server import current_server

deliveries = guard(Blueprint("deliveries", __name__, url_prefix="/deliveries"), Audience.PEOPLE, require_person)

SLOT_TITLES = {
    "webhook_start": "Webhook at the start",
    "webhook_end": "Webhook at the end",
    "ga4": "Google Analytics",
    "crm": "CRM",
}
STATE_TITLES = {
    "pending": "waiting",
    "leased": "being sent",
    "done": "delivered",
    "dead": "given up",
    "skipped": "skipped",
    "expired": "too late",
}
STATE_KINDS = {
    "pending": "warn",
    "leased": "quiet",
    "done": "good",
    "dead": "bad",
    "skipped": "quiet",
    "expired": "warn",
}
UNTOLD = ("missing", "creating", "warning")
"""Steps of a delivery that people do not read, or read elsewhere on its page."""
WORDS = {"slots": SLOT_TITLES, "titles": STATE_TITLES, "kinds": STATE_KINDS, "states": STATES, "place_of": place_of}


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
    """All dead ones of `destination`."""
    server, project, destination = current_server(), current_project(), request.form.get("destination", "")
    now = server.now()
    with server.database.writing() as session:
        count = replay_dead(session, project.id, destination, now)
        audit.record(session, current_actor(), now, "deliveries replayed", destination, project.id, count=count)
    flash(f"{say_count(count, 'delivery', 'deliveries')} will be sent again.")
    return redirect(url_for("deliveries.table"))
