"""Deliveries for people and for programs: is everything delivered, and if not, to whom, since when and why."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, false, func, or_, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from router.accounts.audit import Change, changing
from router.accounts.models import Project
from router.accounts.sessions import require_person, require_token
from router.integrations.models import OPEN_STATES, Delivery, DeliveryAttempt, DeliveryState, Integration
from router.integrations.outbox import delivery_of_call, doubles, replay, replay_dead, retry
from router.integrations.receivers import open_problems, receivers_of_project, switch_on, troubles
from router.integrations.vendors import receiver_name
from router.lib.formats import format_count, parse_int
from router.lib.phones import phone_or, spellings_of_line
from router.lib.texts import plain_text
from router.server import current_server
from router.voice.models import Call
from router.web.access import Audience, current_project, guard
from router.web.api import described, page_by_keys, page_of, parse_limit
from router.web.errors import Problem, iso

DELIVERY_STATES = {
    DeliveryState.PENDING: ("waiting", "quiet"),
    DeliveryState.LEASED: ("being sent", "quiet"),
    DeliveryState.DONE: ("delivered", "good"),
    DeliveryState.DEAD: ("given up", "bad"),
    DeliveryState.SKIPPED: ("skipped", "quiet"),
    DeliveryState.EXPIRED: ("too late", "warn"),
    DeliveryState.UNCONFIRMED: ("unconfirmed", "warn"),
}
"""The label of each state, and the kind of its pill. Skipped deliveries follow the settings and ask nobody for attention."""

EVENTS = {
    "call.started": "as the call began",
    "call.answered": "as it was answered",
    "call.ended": "as the call ended",
    "call.updated": "as more became known",
    "call.recorded": "as its recording was there",
    "sms.received": "a text message",
}
"""When a delivery was made, by its event."""


AT_ONCE, MOST_ROUNDS = 500, 200
"""Deliveries of one transaction that are sent again, and how many transactions one request makes."""

DELIVERIES = (
    select(Delivery, Integration, Call)
    .join(Integration, Integration.id == Delivery.integration_id)
    .outerjoin(Call, Call.id == Delivery.call_id)
)
"""Each delivery with its integration, and with its call unless that was deleted."""


def page_of_deliveries(session: Session, project: Project, args: Mapping[str, str]) -> tuple[Sequence[Any], str | None]:
    """Rows of DELIVERIES of a project, newest first, and the cursor of the next page. `args`: state, receiver, caller (a number, or digits
    of it), call (the id here or the carrier's), q (either of both), limit, next.

    Raises:
        Problem: 422 when one of them cannot be used.
    """
    statement = DELIVERIES.where(Delivery.project_id == project.id)
    if state := args.get("state", ""):
        if state not in DELIVERY_STATES:
            raise Problem(422, f"“state” is one of {', '.join(DELIVERY_STATES)}.", "state")
        statement = statement.where(Delivery.state == state)
    if receiver := _plain(args, "receiver"):
        statement = statement.where(Delivery.receiver == receiver)
    if caller := _plain(args, "caller"):
        statement = statement.where(_of_caller(caller, project))
    if call := _plain(args, "call"):
        statement = statement.where(_of_call(call))
    if typed := _plain(args, "q"):
        statement = statement.where(or_(_of_caller(typed, project), _of_call(typed)))
    limit = parse_limit(args.get("limit", ""))
    return page_by_keys(session, statement, [(Delivery.id, True)], args.get("next", ""), limit)


def _plain(args: Mapping[str, str], name: str) -> str:
    return plain_text(args.get(name, "")).strip()[:120]


def _of_caller(typed: str, project: Project) -> ColumnElement[bool]:
    """The typed number in any spelling of its line, or the digits of a part of it; four at least, so that a call's id is none."""
    number = phone_or(typed, project.country)
    if number:
        return Call.caller.in_(spellings_of_line(number))
    digits = "".join(sign for sign in typed if sign in "0123456789")
    return Call.caller.contains(digits) if len(digits) >= 4 else false()


def _of_call(typed: str) -> ColumnElement[bool]:
    number = parse_int(typed, least=1)
    is_sid = Call.sid == typed
    return is_sid if number is None else or_(is_sid, Delivery.call_id == number)


def find_delivery(session: Session, project_id: int, delivery_id: int) -> Any:
    """A row of DELIVERIES.

    Raises:
        Problem: 404 when this project has no such delivery.
    """
    row = session.execute(DELIVERIES.where(Delivery.id == delivery_id, Delivery.project_id == project_id)).one_or_none()
    if row is None:
        raise Problem(404, "There is no such delivery.")
    return row


def replay_recorded(change: Change, delivery_id: int, *, confirmed: bool) -> None:
    """Sends a delivery again, and writes into the audit trail who asked for it.

    Raises:
        Problem: 404 when this project has no such delivery; 409 when something could come twice and nobody has confirmed that.
    """
    row = find_delivery(change.session, change.project.id, delivery_id)
    if not confirmed and (warning := doubles(row.Delivery, row.Integration.kind)):
        raise Problem(409, f"{warning} If it shall be sent again all the same, add confirm=yes.", "confirm")
    replay(change.session, change.project.id, delivery_id, change.now)
    change.record("delivery replayed", f"delivery {delivery_id}")


def retry_recorded(change: Change, delivery_id: int) -> None:
    """
    Raises:
        Problem: 404 when this project has no such delivery.
    """
    if retry(change.session, change.project.id, delivery_id, change.now) is None:
        raise Problem(404, "There is no such delivery.")
    change.record("delivery tried at once", f"delivery {delivery_id}")


deliveries = guard(Blueprint("deliveries", __name__, url_prefix="/deliveries"), Audience.PEOPLE, require_person)

UNTOLD = (
    *(
        "missing",
        "creating",
        "warning",
        "lacking",
        "begun",
        "written",
        "told",
        "rewriting",
        "kept",
        "reopen",
        "entered",
    ),
)
"""Steps of a delivery that people do not read, or read elsewhere on its page."""
RECEIVER_STATES = {
    "works": ("works", "good"),
    "failing": ("fails", "warn"),
    "paused": ("left alone", "warn"),
    "off": ("switched off", "bad"),
}
"""The label of each state of a receiver, and the kind of its pill."""
WORDS = {"receiver_name": receiver_name, "states": DELIVERY_STATES, "events": EVENTS}
FILTERS = ("state", "receiver", "caller", "call", "q")


@deliveries.get("")
def table() -> str:
    project, now = current_project(), current_server().now()
    with current_server().database.reading() as session:
        rows, following = page_of_deliveries(session, project, request.args)
        on_the_way = Delivery.project_id == project.id, Delivery.state.in_(OPEN_STATES)
        return render_template(
            "integrations/deliveries.html",
            rows=rows,
            following=following,
            receivers=receivers_of_project(session, project.id, now),
            receiver_states=RECEIVER_STATES,
            troubles=troubles(session, project.id),
            problems=open_problems(session, project.id),
            waiting=session.scalar(select(func.count()).where(*on_the_way)),
            is_filtered=any(request.args.get(name) for name in FILTERS),
            today=now.astimezone(ZoneInfo(project.timezone)).date().isoformat(),
            **WORDS,
        )


@deliveries.get("/<int:delivery_id>")
def show(delivery_id: int) -> str:
    attempts = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id).order_by(DeliveryAttempt.id)
    with current_server().database.reading() as session:
        return render_template(
            "integrations/delivery.html",
            row=find_delivery(session, current_project().id, delivery_id),
            attempts=session.scalars(attempts).all(),
            untold=UNTOLD,
            **WORDS,
        )


@deliveries.post("/<int:delivery_id>/replay")
def replay_one(delivery_id: int) -> AnyResponse | str:
    """What could come twice is asked about first, on a page of its own."""
    confirmed = request.form.get("confirm") == "yes"
    with current_server().database.reading() as session:
        row = find_delivery(session, current_project().id, delivery_id)
        warning = doubles(row.Delivery, row.Integration.kind)
        if warning and not confirmed:
            return render_template("integrations/replay.html", row=row, warning=warning, **WORDS)
    with changing() as change:
        replay_recorded(change, delivery_id, confirmed=confirmed)
    flash("It is being sent again, as the same message.")
    return redirect(url_for("deliveries.show", delivery_id=delivery_id))


@deliveries.post("/<int:delivery_id>/retry")
def retry_one(delivery_id: int) -> AnyResponse:
    with changing() as change:
        retry_recorded(change, delivery_id)
    flash("It is tried at once.")
    return redirect(url_for("deliveries.show", delivery_id=delivery_id))


@deliveries.post("/replay")
def replay_all() -> AnyResponse:
    """The dead deliveries of a receiver, which the form calls `destination`, or of all; since a day (`since`), or all of them."""
    receiver, since = request.form.get("destination", ""), request.form.get("since", "")
    zone = ZoneInfo(current_project().timezone)
    try:
        begin = datetime.combine(date.fromisoformat(since), time(), zone) if since else None
    except ValueError:
        raise Problem(422, "Choose a day.", "since") from None
    count = 0
    for _ in range(MOST_ROUNDS):
        with changing() as change:
            sent = replay_dead(change.session, change.project.id, receiver, change.now, AT_ONCE, begin)
            change.record("deliveries replayed", receiver or "all receivers", count=sent, since=since or None)
        count += sent
        if sent < AT_ONCE:
            break
    flash(f"{format_count(count, 'delivery', 'deliveries')} will be sent again.")
    return redirect(url_for("deliveries.table"))


@deliveries.post("/switch-on")
def switch_receiver_on() -> AnyResponse:
    """A receiver that was switched off, which the form calls `receiver`."""
    receiver = request.form.get("receiver", "")
    with changing() as change:
        used = select(Integration.id).where(
            Integration.project_id == change.project.id, Integration.receiver == receiver
        )
        if change.session.scalar(used.limit(1)) is None:
            raise Problem(404, "There is no such receiver.")
        switch_on(change.session, receiver, change.now)
        change.record("receiver switched on", receiver)
    flash(f"{receiver_name(receiver)} is on: what waits for it is being sent.")
    return redirect(url_for("deliveries.table"))


class CallDelivery(BaseModel):
    id: int
    slot: str
    kind: str
    event: str
    state: str
    reason: str | None
    attempts: int
    done_at: str | None


deliveries_api = guard(
    Blueprint("deliveries_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/deliveries"),
    Audience.PROGRAMS,
    require_token,
)


class DeliveryDocument(CallDelivery):
    """A delivery as programs see it."""

    scenario: int
    message: str
    call: int | None
    text_message: int | None
    call_sid: str | None
    destination: str
    created_at: str
    next_at: str | None
    reference: dict[str, Any]


def delivery_document(row: Any) -> dict[str, Any]:
    delivery, integration, call = row.Delivery, row.Integration, row.Call
    return delivery_of_call(delivery, integration) | {
        "scenario": integration.scenario_id,
        "message": delivery.message_id,
        "call": None if delivery.text_message_id else delivery.call_id,
        "text_message": delivery.text_message_id,
        "call_sid": call.sid if call else None,
        "destination": delivery.receiver,
        "created_at": iso(delivery.created_at),
        "next_at": iso(delivery.next_at) if delivery.state == DeliveryState.PENDING else None,
        "reference": delivery.reference,
    }


class DeliveryQuery(BaseModel):
    state: str | None = Field(None, description="Only those in this state")
    receiver: str | None = Field(None, description="Only those to this receiver, as `destination` names it")
    caller: str | None = Field(None, description="A number in any spelling, or four or more of its digits")
    call: str | None = Field(None, description="A call's id here or at the carrier")


@deliveries_api.get("")
@described(answer=DeliveryDocument, is_list=True, query=DeliveryQuery)
def list_deliveries(project_id: int) -> Response:
    """List a project's deliveries, newest first."""
    with current_server().database.reading() as session:
        rows, following = page_of_deliveries(session, session.get_one(Project, project_id), request.args)
    return jsonify({"items": [delivery_document(row) for row in rows], "next": following})


@deliveries_api.get("/<int:delivery_id>")
@described(answer=DeliveryDocument)
def show_delivery(project_id: int, delivery_id: int) -> Response:
    """One delivery."""
    with current_server().database.reading() as session:
        return jsonify(delivery_document(find_delivery(session, project_id, delivery_id)))


@deliveries_api.post("/<int:delivery_id>/replay")
@described(answer=DeliveryDocument)
def replay_delivery(project_id: int, delivery_id: int) -> Response:
    """Send a delivery again, as the same message. One that waits or is under way stays as it is. What has arrived, or may have, is sent
    again with `confirm=yes` only, in the address or in the body; else 409 says what could come twice."""
    body = request.get_json(silent=True)
    wish = request.args.get("confirm") or (body.get("confirm") if isinstance(body, dict) else None)
    with changing() as change:
        replay_recorded(change, delivery_id, confirmed=wish in ("yes", True))
        return jsonify(delivery_document(find_delivery(change.session, project_id, delivery_id)))


@deliveries_api.post("/<int:delivery_id>/retry")
@described(answer=DeliveryDocument)
def retry_delivery(project_id: int, delivery_id: int) -> Response:
    """Try a delivery that waits for its next attempt at once. Any other one stays as it is."""
    with changing() as change:
        retry_recorded(change, delivery_id)
        return jsonify(delivery_document(find_delivery(change.session, project_id, delivery_id)))


class AttemptDocument(BaseModel):
    """One try to deliver. `answer`: the beginning of the answer's body, without secrets."""

    at: str
    milliseconds: int
    status: int | None
    outcome: str
    message: str
    answer: str


@deliveries_api.get("/<int:delivery_id>/attempts")
@described(answer=AttemptDocument, is_list=True)
def list_attempts(project_id: int, delivery_id: int) -> Response:
    """The attempts of a delivery, newest first."""
    attempts = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    with current_server().database.reading() as session:
        find_delivery(session, project_id, delivery_id)
        return jsonify(page_of(session, attempts, DeliveryAttempt.id, request.args, attempt_document))


def attempt_document(attempt: DeliveryAttempt) -> dict[str, Any]:
    kept = ("milliseconds", "status", "outcome", "message", "answer")
    return {"at": iso(attempt.at)} | {name: getattr(attempt, name) for name in kept}
