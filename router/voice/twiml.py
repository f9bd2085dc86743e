"""The documents that answer the carrier: deterministic, so that the same request gives the same document. The last resort (R12) is one
Dial to a fallback destination, or a polite sentence, and never raises. Callers of internal calls hear an announcement (R10)."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from twilio.twiml.voice_response import Dial, VoiceResponse  # type: ignore[import-untyped]  # twilio ships no types

from router.attribution.decision import OVERFLOW, reach_then
from router.carriers.base import InboundCall
from router.carriers.twilio.webhooks import CALLBACK, STEERING
from router.lib.formats import format_count, format_percent
from router.lib.metrics import record
from router.lib.phones import same_line
from router.server import Server
from router.voice.routing import Destination
from router.voice.snapshot import routing_of

log = structlog.get_logger(__name__)

SORRY = "We are sorry, this number cannot be reached at the moment. Please call again later."
TRIED = "caller_id=caller"
"""In the address of an action: the destination was rung with a caller's number that the carrier may have failed it for."""

LAST_RESORTS = Counter("router_last_resort_total", "Documents of the last resort that were given to the carrier")

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def forward(
    base_url: str,
    call: InboundCall,
    dialled: str,
    destinations: Sequence[Destination],
    step: int,
    *,
    own_id: bool = False,
    announcement: str = "",
) -> str:
    """Rings the destination of this step (from 0), after an announcement if there is one, and asks for the next step; hangs up
    when no destination is left.

    The destination sees the caller's number where the carrier lets it, else the dialled number. A number over which the carrier may fail
    the leg is tried once: the action's address says so, and the step is repeated with `own_id`.
    """
    if step >= len(destinations):
        return hang_up()
    destination = destinations[step]
    caller_id = dialled if own_id or call.caller_id == "refused" else call.caller.e164 or dialled
    tried = f"?{TRIED}" if call.caller_id == "doubtful" and not own_id else ""
    dial = Dial(
        answer_on_bridge=True,
        timeout=destination.ring_seconds,
        caller_id=caller_id,
        action=f"{base_url}/voice/dial/{call.sid}/{step + 1}{tried}{STEERING}",
        method="POST",
    )
    callback = {
        "status_callback": f"{base_url}/voice/leg/{call.sid}{CALLBACK}",
        "status_callback_event": "initiated ringing answered completed",
        "status_callback_method": "POST",
    }
    _ring(dial, destination.to, callback)
    return _document(dial, announcement)


def forward_blindly(destination: str, call: InboundCall | None) -> str:
    """The last resort: no action, no callbacks, nothing that could fail; without a destination a polite sentence.

    `call` is None when the carrier's request could not be read.
    """
    record(LAST_RESORTS.inc)
    caller, dialled = (call.caller.e164, call.number_e164) if call else (None, None)
    if not destination or same_line(destination, dialled) or same_line(destination, caller):
        return say(SORRY)
    shown = caller if call and call.caller_id == "accepted" else dialled
    dial = Dial(answer_on_bridge=True, timeout=30, caller_id=shown)
    _ring(dial, destination, {})
    return _document(dial)


def hang_up() -> str:
    response = VoiceResponse()
    response.hangup()
    return str(response)


def say(sentence: str) -> str:
    response = VoiceResponse()
    response.say(NOT_XML.sub("", sentence))
    response.hangup()
    return str(response)


def _ring(dial: Dial, to: str, callback: dict[str, str]) -> None:
    if to.lower().startswith(("sip:", "sips:")):
        dial.sip(to, **callback)
    else:
        dial.number(to, **callback)


def _document(dial: Dial, announcement: str = "") -> str:
    response = VoiceResponse()
    if announcement:
        response.say(NOT_XML.sub("", announcement))
    response.append(dial)
    return str(response)


# what every schema has had, and no model, so that a database of another version answers too
_FALLBACK = text(
    "SELECT project.fallback_destination FROM tracking_number"
    " JOIN project ON project.id = tracking_number.project_id WHERE tracking_number.e164 = :dialled"
)


def last_resort(server: Server, call: InboundCall | None) -> str:
    """The fallback destination of the project whose number was dialled, else the operator's. `call` is None when the carrier's request
    could not be read."""
    try:
        destination = _fallback_of_project(server, call) if call else ""
    except Exception:
        log.exception("no_fallback_found")
        destination = ""
    return forward_blindly(destination or server.settings.fallback_destination, call)


def _fallback_of_project(server: Server, call: InboundCall) -> str:
    """By the snapshot; only a server that has neither snapshot nor another fallback asks the database."""
    routing = routing_of(server)
    if route := routing.known_route(call):
        return route.fallback
    if routing.snapshot is None and not server.settings.fallback_destination:
        with server.database.reading() as session:
            for number in (call.number_e164, *call.other_readings):
                if destination := session.execute(_FALLBACK, {"dialled": number}).scalar():
                    return str(destination)
    return ""


UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
LONGEST_PART = 40
"""Letters of a source's name that are said: whoever makes a link to the site chooses them."""


def announcement(
    scenario: str | None, enabled: bool, values: Mapping[str, Any], started_at: datetime, rings: bool, is_line: bool
) -> str:
    """What the caller of an internal call hears.

    Args:
        scenario: its title; None: the number is in none.
        values: the columns of the call that hold its attribution.
        rings: a telephone rings after the announcement.
        is_line: the caller's telephone is one that this number is forwarded to.
    """
    place = "to a number that is in no scenario" if scenario is None else f"in the scenario {scenario}"
    off = "" if scenario is None or enabled else ", which is switched off"
    opening = f"This is a test call from one of your own telephones, recorded as internal, {place}{off}."
    if is_line and rings:
        ending = "Visitors are connected to this telephone too; the others ring now."
    elif is_line:
        ending = "Visitors are connected to this telephone, so nobody else is rung. Goodbye."
    else:
        ending = "You are put through now." if rings else "There is no telephone that could ring. Goodbye."
    # which source a visitor's call would have been credited to
    if values["rule"] == "none":
        if any(step.get("because") == OVERFLOW for step in values["decision"]["steps"]):
            credit = "Visitors are shown this number when all others are taken, so a call has no source."
        else:
            days = reach_then(values["decision"]).age
            credit = f"No visitor was shown this number in the last {_spoken(days)}, so a call has no source."
        return f"{opening} {credit} {ending}"
    source = ", ".join(
        str(values["source"][name])[:LONGEST_PART]
        for name in ("source", "medium", "campaign")
        if values["source"].get(name) not in (None, "", "none")
    )
    if values["rule"] == "static":
        credit = f"Calls to this number count for {source}."
    else:
        winner = values["candidates"][0]
        ago = _spoken(started_at - datetime.fromisoformat(winner["leased_at"]))
        confidence = format_percent(values["source_confidence"]).replace("%", "percent")
        credit = (
            f"A visitor who calls now would count for {source}, {confidence} sure:"
            f" visit {winner['visit']} was shown this number {ago} ago."
        )
    return f"{opening} {credit} {ending}"


def _spoken(time: timedelta) -> str:
    """`40 seconds`, `90 minutes`, `3 days`: in the largest unit of which there are at least two."""
    seconds = max(1, int(time.total_seconds()))
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= 2 * size or size == 1)
    return format_count(seconds // size, unit)
