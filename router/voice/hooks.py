"""Webhooks of the carrier. Every request is verified by its signature, and the caller always hears something sensible (R12)."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, cast
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Request, Response, g, request
from werkzeug.exceptions import HTTPException

from router.carriers import carrier_of
from router.carriers.base import SID, BadCarrierRequest, CallState, Form, InboundCall, Plan
from router.lib.phones import Caller
from router.server import Server, current_server
from router.voice.answers import (
    HANG_UP,
    Begun,
    account_sign,
    announcement_of,
    is_tied,
    last_resort,
    leg_address,
    read_id,
    read_start,
)
from router.voice.applier import journal_of
from router.voice.asking import answer_of, lookups_of, was_accepted, whisper_of
from router.voice.blocking.open_calls import why_blocked
from router.voice.blocking.rules import blocked_plan
from router.voice.call_so_far import NOWHERE, CallSoFar, Place, read_known, read_place
from router.voice.claims import SIGNED_FOR
from router.voice.direct import direct_writer_of
from router.voice.first_answers import first_given, project_given
from router.voice.following import routing_of
from router.voice.given import given_by
from router.voice.interpreter import GOES_ON
from router.voice.models import BLOCKED, EXTERNAL
from router.voice.recordings import recording_event
from router.voice.records import Record, event_record, inbound_record, text_record
from router.voice.routing import Route, fallback_flow, kind_of
from router.voice.state import CALL_TERMINAL, Event, is_bridged
from router.web.access import Audience, guard

log = structlog.get_logger(__name__)

Facts = dict[str, Any]
LONGEST_TOLD, LONGEST_SID = 30, 64
BELIEVED = timedelta(days=1)
"""A carrier's date that is further from our clock is nonsense."""

hooks = Blueprint("voice_hooks", __name__, url_prefix="/voice")


carrier_route = partial(hooks.route, methods=("GET", "POST"), provide_automatic_options=False)
"""A carrier may ask by either method: numbers are configured so, and a redirect from http to https makes a GET of a POST."""


def verify_signature() -> Response | None:
    """Any doubt is a 403, and nothing is written. A HEAD, which comes along with GET and would write too, is from no carrier."""
    if request.method == "HEAD":
        return Response(status=405, headers={"Allow": "GET, POST"})
    server = current_server()
    carrier = carrier_of(server)
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # Flask's proxy is typed as what it leads to
    try:
        own = routing_of(server).accounts.get(carrier.account_of(_form()), ())
    except HTTPException:  # a body beyond the limit
        own = ()
    projects = {each.project_id for each in own if carrier.verify(asked, each.account)}
    if projects and (spoken_for := _spoken_for(server, projects)):
        g.signed_for = spoken_for
        return None
    # whatever account is named: a project that types the SID of another cannot keep the operator's calls out
    if carrier.verify(asked):
        return None
    return Response("The signature does not fit this request.", 403, mimetype="text/plain")


def _spoken_for(server: Server, projects: Collection[int]) -> list[int]:
    """Those of the projects whose own accounts have signed a request that its number, or its call, may belong to; none: it is refused. A
    number that nobody knows here is led as such. What does not name the number (a leg's callback, a recording's) brings back a sign of
    ours instead. What only tells of a call is refused as well if this machine knows that it is another project's; what asks how a call goes
    on is answered in any case, by the number that it names."""
    carrier, form = carrier_of(server), _form()
    view, path_sid = request.endpoint, (request.view_args or {}).get("call_sid", "")
    call_sid = path_sid or form.get("CallSid", "")
    if view in WITHOUT_NUMBER:
        sign = request.args.get("account", "")
        spoken_for = [project for project in sorted(projects) if is_tied(server.keys, sign, call_sid, [project])]
    else:
        try:
            call = carrier.read_text(form).call if view == "voice_hooks.text_came_in" else carrier.read_inbound(form)
        except BadCarrierRequest:  # it names no call: nothing is written of it
            return sorted(projects)
        if path_sid not in ("", call.sid):
            return []
        route = routing_of(server).find_route(call)
        spoken_for = [project for project in sorted(projects) if route is None or route.project_id == project]
    if spoken_for and view in ONLY_TELLING and (owner := project_given(server, call_sid)) not in (None, *spoken_for):
        log.warning("foreign_request", call=call_sid, path=request.path, project=owner, signed_for=spoken_for)
        return []
    return spoken_for


WITHOUT_NUMBER = {f"voice_hooks.{view}" for view in ("leg_told", "machine_told", "recording_told", "whisper")}
"""Views of requests in which the carrier does not say which number was dialled."""
ONLY_TELLING = {f"voice_hooks.{view}" for view in ("leg_told", "machine_told", "recording_told", "call_told")}

guard(hooks, Audience.CARRIER, verify_signature)


@hooks.after_request
def keep_out_of_caches(answer: Response) -> Response:
    """What answers a GET could be kept on its way, and be played to the next caller."""
    answer.headers["Cache-Control"] = "no-store"
    return answer


def always_answers(view: Callable[..., Plan], otherwise: Plan | None = None) -> Callable[..., Response]:
    """For documents: whatever fails inside, the carrier gets a document with status 200, and the caller is connected (R12): by the last
    resort, or by the plan `otherwise`."""

    @wraps(view)
    def answer(**arguments: Any) -> Response:
        server = current_server()
        carrier = carrier_of(server)
        try:
            document = carrier.render(view(server, **arguments))
        except Exception:
            log.exception("document_failed", path=request.path)
            if otherwise is not None:
                return Response(carrier.render(otherwise), mimetype="text/xml")
            try:  # what can be read of the call, also where its id is missing
                call = carrier.read_inbound({**_form(), "CallSid": "unknown"})
            except Exception:
                log.exception("call_not_read", path=request.path)
                call = None
            document = carrier.render(last_resort(server, call))
        return Response(document, mimetype="text/xml")

    return answer


@hooks.errorhandler(BadCarrierRequest)
def ignore_bad_request(error: BadCarrierRequest) -> Response:
    """A signed request that makes no sense: the carrier can do nothing about it, and repeating it would not help."""
    log.warning("bad_carrier_request", reason=str(error))
    return Response(status=204)


@carrier_route("/inbound")
@always_answers
def inbound(server: Server) -> Plan:
    """A call comes in: the answer is the beginning of its flow."""
    call, now = _call(server), server.now()
    route = routing_of(server).find_route(call)
    if route is None:
        log.warning("unknown_number", dialled=call.number_e164 or call.to)
        resort = last_resort(server, call)
        line = next(iter(given_by(resort).get("lines", ())), "")
        keep(server, inbound_record(call, None, Begun(now, fallback_flow(line), None), EXTERNAL, now))
        return resort
    kind = kind_of(call.caller, route.own_lines)
    if kind == EXTERNAL and (blocked := why_blocked(routing_of(server).open_calls, route, call)):
        first = Begun(now, route.guard.blocked_flow(blocked), None)
    else:
        sentence = "" if kind == EXTERNAL else announcement_of(server, call, route, now)
        first = Begun(now, route.flow, route.flow_id, sentence)
    begun = first_given(server, call.sid, route.project_id, first)
    if "blocked" in begun.flow:
        keep(server, inbound_record(call, route, begun, BLOCKED, now))
        return blocked_plan(begun.flow)
    if route.guard.limits_calls:
        routing_of(server).open_calls.begin(call.sid, route.project_id, call.caller.e164, route.number_id)
    so_far = CallSoFar(call, route.number, begun.started_at, begun.flow_id, announcement=begun.announcement)
    plan, given = answer_of(server, route, begun, so_far)
    if not keep(server, inbound_record(call, route, begun, kind, now, given=given)) and begun.announcement:
        silent = replace(so_far, announcement="")  # it would claim that the call is recorded
        plan, _ = answer_of(server, route, begun, silent)
    return plan


@carrier_route("/dial/<call_sid>/<place>")
@always_answers
def dial_ended(server: Server, call_sid: str, place: str) -> Plan:
    """Forwarding ended before this place of the flow: the conversation is over, or what follows is done. A destination that the carrier did
    not ring because of the caller's number is rung again with ours. `machine` in the address: the caller is led on from this leg."""
    result = carrier_of(server).read_dial_result(_form())
    if machine := request.args.get("machine", ""):
        result = replace(result, leg_sid=machine[:LONGEST_SID], status="no_answer", bridged=False, seconds=None)
    showed_caller = request.args.get("caller_id") == "caller"
    if result.status == "failed" and not result.bridged and showed_caller:
        return _go_on(server, call_sid, read_place(place) or NOWHERE, None, result=result, showed_caller=True)
    facts = {name: getattr(result, name) for name in ("leg_sid", "status", "bridged", "seconds")}
    facts |= {"screen": request.args["screen"][:LONGEST_TOLD]} if "screen" in request.args else {}
    accepted = result.bridged is None and facts.get("screen") == "accept" and was_accepted(server, call_sid, result)
    return _go_on(server, call_sid, read_place(place) or NOWHERE, "dial", facts, result=result, accepted=accepted)


@carrier_route("/gather/<call_sid>/<place>")
@always_answers
def keys_pressed(server: Server, call_sid: str, place: str) -> Plan:
    """The caller has pressed a key or none, or left a message, or the carrier wants the rest of what he hears."""
    carrier, form = carrier_of(server), _form()
    digits, facts = carrier.read_keys(form), {}
    with suppress(BadCarrierRequest):  # he was not recorded
        message = carrier.read_recording(form)
        facts["message"] = {"sid": message.recording_sid, "url": message.url, "seconds": message.seconds}
    return _go_on(server, call_sid, read_place(place) or NOWHERE, "gather", {"digits": digits} | facts, digits=digits)


def _go_on(
    server: Server, call_sid: str, place: Place, kind: str | None, facts: Facts | None = None, **came: Any
) -> Plan:
    """What follows at a place of the call's flow.

    Args:
        kind: of the event that is kept with these `facts`; None: none.
        came: what the carrier has brought, as members of `CallSoFar`.
    """
    call, now = _call(server), server.now()
    route = routing_of(server).find_route(call)
    begun = _begun(server, route, now)
    plan, given = None, None
    if begun is not None:
        number = route.number if route else call.number_e164 or call.to
        known = read_known(request.args, place)
        # a step of another version than the call has come from is begun anew: it may have fewer turns
        is_other = bool(place.step) and begun.flow_id != read_id(request.args.get("flow", ""))
        at = Place(place.step) if is_other else place
        so_far = CallSoFar(call, number, begun.started_at, begun.flow_id, at, known, **came)
        plan, given = answer_of(server, route, begun, so_far)
        if plan == HANG_UP:
            _free_line(server, call, route)
    if kind is not None:
        step = str(place) if place.step else place.turn
        kept = {"step": step, **(facts or {}), "call_status": _call_status(server)}
        kept["start"] = begun.started_at.isoformat() if begun and request.args.get("start") else None
        kept |= {"given": given} if given else {}
        event = Event(kind, now, kept)
        keep(server, event_record(_checked_sid(call_sid), f"{kind}:{step}", event, now, call, begun))
    if plan is not None:
        return plan
    result = came.get("result")
    return HANG_UP if result and is_bridged(result.bridged, result.status) else last_resort(server, call)


def _call_status(server: Server) -> CallState | None:
    """The state of the inbound call, which comes along with requests about what happens next."""
    try:
        return carrier_of(server).read_status(_form()).status
    except BadCarrierRequest:
        return None


@carrier_route("/whisper/<call_sid>/<place>")
@partial(always_answers, otherwise=())
def whisper(server: Server, call_sid: str, place: str) -> Plan:
    """What the one who answered hears before he is connected, and the key that he pressed. Whatever fails, he is connected."""
    carrier, form, now, args = carrier_of(server), _form(), server.now(), request.args
    leg, number, at = carrier.read_inbound(form), args.get("number", ""), read_place(place)
    digits, is_machine = carrier.read_keys(form), bool(carrier.read_machine(form))
    caller = leg.caller if leg.caller.e164 != number else Caller(None, "")  # the leg shows ours instead
    call = replace(leg, sid=_checked_sid(call_sid), caller=caller, number_e164=number, to=number)
    route = routing_of(server).find_route(call)
    begun, plan = _begun(server, route, now), None
    if begun is not None and route is not None:
        known = read_known(args, at)
        so_far = CallSoFar(
            call, number, begun.started_at, begun.flow_id, at, known, digits=digits, is_machine=is_machine
        )
        plan = whisper_of(server, route, begun, so_far)
    facts = {"leg_sid": leg.sid, "step": str(at), "digits": digits, "accepted": digits is not None and not plan}
    if facts["accepted"]:
        lookups_of(server).accept(leg.sid)
    event = Event("whisper", now, facts)
    keep(server, event_record(call.sid, f"whisper:{leg.sid}:{'asked' if digits is None else digits}", event, now))
    return plan or ()


@carrier_route("/machine/<call_sid>")
def machine_told(call_sid: str) -> Response:
    """Whether a person or a machine has answered a destination."""
    server = current_server()
    carrier, form, now = carrier_of(server), _form(), server.now()
    leg_sid = carrier.read_inbound(form).sid
    facts = {"leg_sid": leg_sid, "machine": carrier.read_machine(form), **_step_told()}
    if facts["machine"] and GOES_ON in request.args:
        facts["goes_on"] = urlencode({name: value for name, value in request.args.items() if name in LED_ON_BY})
    keep(server, event_record(_checked_sid(call_sid), f"machine:{leg_sid}", Event("machine", now, facts), now))
    return Response(status=204)


LED_ON_BY = ("flow", "start", "visit", "source", "medium", "campaign", "caller", "answerer")
"""What an address of a machine holds for the one at which the call goes on."""


def _step_told() -> Facts:
    """What an address of ours says of the step of a flow that a callback is about; nothing for destinations in turn."""
    return {name: request.args[name][:LONGEST_TOLD] for name in ("step", "screen") if name in request.args}


@carrier_route("/leg/<call_sid>")
def leg_told(call_sid: str) -> Response:
    server = current_server()
    leg, now = carrier_of(server).read_leg_event(_form()), server.now()
    facts = {"leg_sid": leg.leg_sid, "to": leg.to, "status": leg.status, "seconds": leg.seconds, **_step_told()}
    event = Event("leg", _moment(leg.at, now), facts)
    keep(server, event_record(_checked_sid(call_sid), f"leg:{leg.leg_sid}:{leg.status}", event, now))
    return Response(status=204)


@carrier_route("/status")
def call_told() -> Response:
    """The inbound call itself ended, or changed."""
    server = current_server()
    status, now = carrier_of(server).read_status(_form()), server.now()
    event = Event("status", _moment(status.at, now), {"status": status.status, "seconds": status.seconds})
    call = _call(server)
    if status.status in CALL_TERMINAL:
        _free_line(server, call, routing_of(server).known_route(call))
    keep(server, event_record(status.call_sid, f"status:{status.status}", event, now, call))
    return Response(status=204)


def _free_line(server: Server, call: InboundCall, route: Route | None) -> None:
    """The call is over: whoever calls again at once is not refused because of it."""
    if route is not None:
        routing_of(server).open_calls.end(call.sid, route.project_id, call.caller.e164, route.number_id)


@carrier_route("/recording")
def recording_told() -> Response:
    server = current_server()
    recording, now = carrier_of(server).read_recording(_form()), server.now()
    place, flow_id = read_place(request.args.get("step", "")), read_id(request.args.get("flow", ""))
    key, event = recording_event(recording, now, place.step if place else "", flow_id)
    keep(server, event_record(recording.call_sid, key, event, now))
    return Response(status=204)


@carrier_route("/sms")
def text_came_in() -> Response:
    """A text message to a number. Nobody is answered: the carrier hears that nothing is to be done."""
    server = current_server()
    text, now = carrier_of(server).read_text(_form()), server.now()
    route = routing_of(server).find_route(text.call)
    kind = kind_of(text.call.caller, route.own_lines) if route else EXTERNAL
    if route and kind == EXTERNAL and route.guard.why_blocked(text.call):
        kind = BLOCKED
    if not keep(server, text_record(text, route, kind, now)):
        return Response("The message could not be kept. Bring it again.", 503, mimetype="text/plain")
    return Response(carrier_of(server).render(()), mimetype="text/xml")


@carrier_route("/fallback")
@always_answers
def fallback(server: Server) -> Plan:
    """The carrier could not use our answer: the simplest possible one, by the snapshot alone. A talk that is over is not begun again."""
    call, failure, now = _call(server), carrier_of(server).read_failure(_form()), server.now()
    log.error("carrier_fell_back", code=failure.code, failed=failure.path)
    route = routing_of(server).known_route(call)
    line = route.fallback if route else server.settings.fallback_destination
    kind = kind_of(call.caller, route.own_lines) if route else EXTERNAL
    if route and kind == EXTERNAL and (blocked := route.guard.why_blocked(call)):
        flow = route.guard.blocked_flow(blocked)
        keep(server, inbound_record(call, route, Begun(now, flow, None), BLOCKED, now, is_fallback=True))
        return blocked_plan(flow)
    keep(server, inbound_record(call, route, Begun(now, fallback_flow(line), None), kind, now, is_fallback=True))
    if failure.talk_is_over:
        return HANG_UP
    return last_resort(server, call, leg_address(server.settings.base_url, call, account_sign(server, route, call)))


def keep(server: Server, record: Record) -> bool:
    """The record is safe when this returns True: in the journal, else in the database. Else it stands in the log alone. Never raises."""
    record = {**record, "clock_offset": routing_of(server).clock.seconds}
    if "signed_for" in g:
        record[SIGNED_FOR] = g.signed_for
    try:
        journal = journal_of(server)
        journal.append(record)
    except Exception:
        log.exception("journal_failed")
        return direct_writer_of(server).write(record)
    if server.direct is not None:
        server.direct.journal(journal.append)
    return True


def _begun(server: Server, route: Route | None, now: datetime) -> Begun | None:
    """What the call began with, as the first answer wrote it into this address. Where that is unknown here: the number's present flow."""
    started_at = read_start(request.args.get("start", "")) or now
    flow_id = read_id(request.args.get("flow", ""))
    if flow_id and (flow := routing_of(server).find_flow(flow_id)):
        return Begun(started_at, flow, flow_id)
    if route is None:
        return None
    if flow_id == 0:
        return Begun(started_at, fallback_flow(route.fallback), None)
    return Begun(started_at, route.flow, route.flow_id)


def _form() -> Form:
    """
    Raises:
        HTTPException: the body is too long.
    """
    if "carrier_form" not in g:
        g.carrier_form = carrier_of(current_server()).form_of(request)
    return cast("Form", g.carrier_form)


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
