"""The documents that answer the carrier: deterministic, so that the same request twice gives the same document."""

import re
from collections.abc import Sequence

from twilio.twiml.voice_response import Dial, VoiceResponse  # type: ignore[import-untyped]  # twilio ships no types

from router.phones import Caller, read_caller
from router.voice.routing import Destination

SORRY = "We are sorry, this number cannot be reached at the moment. Please call again later."
RETRY_ACTION = "#rc=2&rp=all"
RETRY_CALLBACK = "#rc=3&rp=all"
"""Connection overrides of the carrier: by default it repeats a request only when it could not connect (facts on webhooks)."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def forward(
    base_url: str,
    sid: str,
    caller: Caller,
    dialled: str,
    destinations: Sequence[Destination],
    step: int,
    announcement: str = "",
) -> str:
    """Rings the destination of this step (from 0) and asks for the next one; polite words when there is none left. An announcement is
    said before the first one is rung.

    The caller's number is passed on when it is valid; carriers refuse anything else, so then the dialled number stands in.
    """
    if step >= len(destinations):
        return hang_up()
    destination = destinations[step]
    dial = Dial(
        answer_on_bridge=True,
        timeout=destination.ring_seconds,
        caller_id=caller.e164 or dialled,
        action=f"{base_url}/voice/dial/{sid}/{step + 1}{RETRY_ACTION}",
        method="POST",
    )
    callback = {
        "status_callback": f"{base_url}/voice/leg/{sid}{RETRY_CALLBACK}",
        "status_callback_event": "initiated ringing answered completed",
        "status_callback_method": "POST",
    }
    _ring(dial, destination.to, callback)
    return _document(dial, announcement if step == 0 else "")


def forward_blindly(destination: str, caller: Caller, dialled: str) -> str:
    """The last resort: no action, no callbacks, nothing that could fail; without a destination a polite sentence."""
    if not destination or destination in (dialled, caller.e164):
        return say(SORRY)
    dial = Dial(answer_on_bridge=True, timeout=30, caller_id=caller.e164 or read_caller(dialled).e164)
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


def empty() -> str:
    return str(VoiceResponse())


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
