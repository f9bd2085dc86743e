"""Webhooks of the carrier. Every request is verified by its signature, and the caller always hears something sensible (R12)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any

import structlog
from flask import Blueprint, Response, request
from sqlalchemy.exc import SQLAlchemyError

from router.carriers import carrier_of
from router.carriers.base import SID, BadCarrierRequest, Form, InboundCall
from router.server import Server, current_server
from router.voice import twiml
from router.voice.calls import find_call
from router.voice.events import receive_call, receive_event, receive_late_call
from router.voice.routing import Route, destinations_of
from router.voice.snapshot import routing_of
from router.voice.state import Event, is_bridged
from router.voice.twiml import last_resort
from router.web.access import Audience, guard

log = structlog.get_logger(__name__)

BELIEVED = timedelta(days=1)
"""A carrier's date that is further from our clock is nonsense."""

hooks = Blueprint("voice_hooks", __name__, url_prefix="/voice")


carrier_route = partial(hooks.route, methods=("GET", "POST"), provide_automatic_options=False)
"""A carrier may ask by either method: numbers are configured so, and a redirect from http to https makes a GET of a POST."""


def verify_signature() -> Response | None:
    """Any doubt is a 403, and nothing is written. A HEAD, which comes along with GET and would write too, is from no carrier."""
    if request.method == "HEAD":
        return Response(status=405, headers={"Allow": "GET, POST"})
    if carrier_of(current_server()).verify(request):
        return None
    return Response("The signature does not fit this request.", 403, mimetype="text/plain")


guard(hooks, Audience.CARRIER, verify_signature)


@hooks.after_request
def keep_out_of_caches(answer: Response) -> Response:
    """What answers a GET could be kept on its way, and be played to the next caller."""
    answer.headers["Cache-Control"] = "no-store"
    return answer


def always_answers(view: Callable[..., str]) -> Callable[..., Response]:
    """For documents: whatever fails inside, the carrier gets TwiML with status 200, and the caller is connected (R12)."""

    @wraps(view)
    def answer(**arguments: Any) -> Response:
        server = current_server()
        try:
            document = view(server, **arguments)
        except Exception:
            log.exception("document_failed", path=request.path)
            try:  # what can be read of the call, also where its id is missing
                call = carrier_of(server).read_inbound({**_form(), "CallSid": "unknown"})
            except Exception:
                log.exception("call_not_read", path=request.path)
                call = None
            document = last_resort(server, call)
        return Response(document, mimetype="text/xml")

    return answer


@hooks.errorhandler(BadCarrierRequest)
def ignore_bad_request(error: BadCarrierRequest) -> Response:
    """A signed request that makes no sense: the carrier can do nothing about it, and repeating it would not help."""
    log.warning("bad_carrier_request", reason=str(error))
    return Response(status=204)


@carrier_route("/inbound")
@always_answers
def inbound(server: Server) -> str:
    """A call comes in: the answer forwards the call."""
    call = _call(server)
    route = routing_of(server).find_route(call)
    if route is None:
        log.warning("unknown_number", dialled=call.number_e164 or call.to)
        return last_resort(server, call)
    known = receive_call(server, call, route, server.now())
    return _forward(server, call, route, known.flow if known else route.flow, step=0)


@carrier_route("/dial/<call_sid>/<int:step>")
@always_answers
def dial_ended(server: Server, call_sid: str, step: int) -> str:
    """Forwarding ended before this step: the conversation is over, or the next destination is rung. A destination that the carrier did not
    ring because of the caller's number is rung again with ours."""
    carrier, form = carrier_of(server), _form()
    result = carrier.read_dial_result(form)
    if result.status == "failed" and not result.bridged and twiml.TRIED in request.query_string.decode("latin-1"):
        return _next_step(server, call_sid, max(step - 1, 0), own_id=True)
    try:
        call_status = carrier.read_status(form).status  # of the inbound call; it comes along with an action
    except BadCarrierRequest:
        call_status = None
    facts = {
        "step": step,
        "leg_sid": result.leg_sid,
        "status": result.status,
        "bridged": result.bridged,
        "seconds": result.seconds,
        "call_status": call_status,
    }
    try:
        receive_event(server, _checked_sid(call_sid), f"dial:{step}", Event("dial", server.now(), facts))
    except Exception:
        log.exception("event_not_written", path=request.path)
    if is_bridged(result.bridged, result.status):
        return twiml.hang_up()
    return _next_step(server, call_sid, step)


@carrier_route("/leg/<call_sid>")
def leg_told(call_sid: str) -> Response:
    server = current_server()
    leg = carrier_of(server).read_leg_event(_form())
    facts = {"leg_sid": leg.leg_sid, "to": leg.to, "status": leg.status, "seconds": leg.seconds}
    event = Event("leg", _moment(leg.at, server.now()), facts)
    receive_event(server, _checked_sid(call_sid), f"leg:{leg.leg_sid}:{leg.status}", event)
    return Response(status=204)


@carrier_route("/status")
def call_told() -> Response:
    """The inbound call itself ended, or changed. A call that is unknown here has become known late: it is written now."""
    server = current_server()
    status = carrier_of(server).read_status(_form())
    at = _moment(status.at, server.now())
    event = Event("status", at, {"status": status.status, "seconds": status.seconds})
    if not receive_event(server, status.call_sid, f"status:{status.status}", event):
        receive_late_call(server, _call(server), replace(status, at=at))
    return Response(status=204)


@carrier_route("/recording")
def recording_told() -> Response:
    server = current_server()
    recording = carrier_of(server).read_recording(_form())
    facts = {"sid": recording.recording_sid, "url": recording.url, "seconds": recording.seconds}
    key = f"recording:{recording.recording_sid}:{recording.status}"
    receive_event(server, recording.call_sid, key, Event("recording", server.now(), facts))
    return Response(status=204)


@carrier_route("/fallback")
@always_answers
def fallback(server: Server) -> str:
    """The carrier could not use our answer: the simplest possible one, by the snapshot alone. A talk that is over is not begun again."""
    call, failure = _call(server), carrier_of(server).read_failure(_form())
    log.error("carrier_fell_back", code=failure.code, failed=failure.path)
    if failure.talk_is_over:
        return twiml.hang_up()
    return last_resort(server, call)


def _form() -> Form:
    return carrier_of(current_server()).form_of(request)


def _call(server: Server) -> InboundCall:
    call = carrier_of(server).read_inbound(_form())
    structlog.contextvars.bind_contextvars(call=call.sid)
    return call


def _checked_sid(call_sid: str) -> str:
    """The carrier's id of the call, out of an address that we made.

    Raises:
        BadCarrierRequest: no carrier's id looks like this.
    """
    if not SID.fullmatch(call_sid):
        raise BadCarrierRequest("the address holds no call's id")
    return call_sid


def _moment(at: datetime | None, now: datetime) -> datetime:
    """The carrier's time of an event; our own clock where it is missing or cannot be."""
    return at if at is not None and abs(at - now) < BELIEVED else now


def _next_step(server: Server, call_sid: str, step: int, *, own_id: bool = False) -> str:
    """From the flow that the call began with; for a call that was not written, from its number's flow now."""
    call = _call(server)
    route = routing_of(server).find_route(call)
    if route is None:
        return last_resort(server, call)
    try:
        with server.database.reading() as session:
            known = find_call(session, call_sid)
    except SQLAlchemyError:
        log.exception("call_not_found", path=request.path)
        known = None
    return _forward(server, call, route, known.flow if known else route.flow, step, own_id=own_id)


def _forward(
    server: Server, call: InboundCall, route: Route, flow: Mapping[str, Any], step: int, *, own_id: bool = False
) -> str:
    destinations, announcement = destinations_of(flow, route.number, call.caller.e164), flow.get("announcement", "")
    if not destinations:
        return twiml.say(announcement or twiml.SORRY)
    spoken = announcement if step == 0 and not own_id else ""
    base_url = server.settings.base_url
    return twiml.forward(base_url, call, route.number, destinations, step, own_id=own_id, announcement=spoken)
