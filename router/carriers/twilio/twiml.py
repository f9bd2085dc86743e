"""TwiML: how Twilio is told what happens next in a call. The same plan gives the same document.

What Twilio would refuse to play never stands in a document: a value outside its documented range is brought into it, a text or an attribute
that cannot be used is left out, so that the call goes on."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from twilio.twiml import TwiML  # type: ignore[import-untyped]  # twilio ships no types
from twilio.twiml.voice_response import Dial, VoiceResponse  # type: ignore[import-untyped]  # as above

from router.carriers.base import Forward, Gather, GoOn, HangUp, Pause, Plan, Play, Record, Reject, Say, Spoken, Target

STEERING = "#ct=1000&rt=3500&rc=2&rp=all"
CALLBACK = "#ct=1000&rt=2500&rc=3&rp=all"
"""Connection overrides at the end of an address: by default a request is repeated only when no connection could be made. A read time-out
has to be named too: by default one try may take the 15 s that all tries have together, and a server that hangs is never asked again
(https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides)."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

LONGEST_SENTENCE = 4096
VOICE = re.compile(r"man|woman|alice|(?:Polly|Google)\.[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")
"""https://www.twilio.com/docs/voice/twiml/say"""

MOST_TARGETS = 10
LEAST_RING_SECONDS, MOST_RING_SECONDS = 5, 600
"""https://www.twilio.com/docs/voice/twiml/dial"""
RECORDED = {"off": None, "mixed": "record-from-answer", "dual": "record-from-answer-dual"}
EXTENSION = re.compile(r"[0-9A-DwW#*]{1,32}")
"""https://www.twilio.com/docs/voice/twiml/number"""

SIP_HEADER = re.compile(
    r"X-[A-Za-z0-9-]+|User-to-User|Remote-Party-ID|P-Preferred-Identity|P-Called-Party-ID", re.IGNORECASE
)
LONGEST_HEADERS = 1023
"""Names and values together, as they stand in the address (error 21227)."""
SIP_TRANSPORTS = ("udp", "tcp", "tls")
SIP_REGION = re.compile(r"[a-z]{2}[0-9]")
"""https://www.twilio.com/docs/voice/twiml/sip"""

MOST_SILENCE = 600


def render(plan: Plan) -> str:
    response = VoiceResponse()
    for step in plan:
        match step:
            case Say() | Play() | Pause():
                _speak(response, (step,))
            case Forward() if step.targets:
                response.append(_dial(step))
            case Gather():
                # an empty finishing key, so that # and * are keys like others
                gather = response.gather(
                    input="dtmf",
                    action=step.next_address + STEERING,
                    method="POST",
                    num_digits=1,
                    timeout=_within(step.seconds, 1, MOST_SILENCE),
                    finish_on_key="",
                )
                _speak(gather, step.prompt)
            case Record():
                response.record(
                    action=step.next_address + STEERING,
                    method="POST",
                    max_length=_within(step.longest_seconds, 1, 14_400),
                    timeout=_within(step.silence_seconds, 1, MOST_SILENCE),
                    play_beep=True,
                    **_recording_callback(step.recording_address),
                )
            case GoOn():
                response.redirect(step.next_address + STEERING, method="POST")
            case Reject():
                response.reject(reason="busy" if step.busy else "rejected")
            case HangUp():
                response.hangup()
    return XML + _text_of(response)


XML = '<?xml version="1.0" encoding="UTF-8"?>'
IN_ATTRIBUTE = {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}
SPECIAL = re.compile('[&<>"\r\n\t]')
"""`escape` looks for each sign by itself."""


def _text_of(element: TwiML) -> str:
    """As `str(element)`, which builds a tree of ElementTree before: a tenth of the time of an answer."""
    attributes = [
        f' {name}="{escape(text, IN_ATTRIBUTE) if SPECIAL.search(text) else text}"'
        for name, value in sorted(element.attrs.items())
        for text in [str(value).lower() if isinstance(value, bool) else str(value)]
    ]
    opening = f"<{element.name}{''.join(attributes)}"
    inside = escape(element.value or "") + "".join(map(_text_of, element.verbs))
    return f"{opening}>{inside}</{element.name}>" if inside else f"{opening} />"


def _speak(parent: TwiML, spoken: Iterable[Spoken]) -> None:
    for each in spoken:
        match each:
            case Say() if sentence := NOT_XML.sub("", each.sentence)[:LONGEST_SENTENCE]:
                voice = each.voice if VOICE.fullmatch(each.voice) else None
                language = each.language if LANGUAGE.fullmatch(each.language) else None
                parent.say(sentence, voice=voice, language=language)
            case Play() if each.address:
                parent.play(each.address)
            case Pause():
                parent.pause(length=_within(each.seconds, 1, MOST_SILENCE))


def _dial(forward: Forward) -> Dial:
    recorded = RECORDED[forward.recorded]
    dial = Dial(
        answer_on_bridge=True,
        timeout=_within(forward.ring_seconds, LEAST_RING_SECONDS, MOST_RING_SECONDS),
        caller_id=forward.caller_id,
        record=recorded,
        **({"action": forward.next_address + STEERING, "method": "POST"} if forward.next_address else {}),
        **(_recording_callback(forward.recording_address) if recorded else {}),
    )
    for target in forward.targets[:MOST_TARGETS]:
        attributes = _target_attributes(target)
        if target.to.lower().startswith(("sip:", "sips:")):
            dial.sip(_sip_address(target), **attributes)
        else:
            extension = target.extension if EXTENSION.fullmatch(target.extension) else None
            dial.number(target.to, send_digits=extension, **attributes)
    return dial


def _target_attributes(target: Target) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if target.leg_address:
        attributes |= {
            "status_callback": target.leg_address + CALLBACK,
            "status_callback_event": "initiated ringing answered completed",
            "status_callback_method": "POST",
        }
    if target.whisper_address:
        attributes |= {"url": target.whisper_address + STEERING, "method": "POST"}
    if target.machine_address and not target.extension:
        attributes |= {
            "machine_detection": "Enable",
            "amd_status_callback": target.machine_address + CALLBACK,
            "amd_status_callback_method": "POST",
        }
    return attributes


def _sip_address(target: Target) -> str:
    """With its parameters, and with as many of its headers as Twilio takes."""
    address = target.to
    if target.transport in SIP_TRANSPORTS and ";transport=" not in address:
        address += f";transport={target.transport}"
    if SIP_REGION.fullmatch(target.region) and ";region=" not in address:
        address += f";region={target.region}"
    headers = ""
    for name, value in target.headers:
        printable = "".join(sign for sign in value if sign.isprintable())
        longer = f"{headers}{'&' if headers else ''}{name}={quote(printable, safe='')}"
        if SIP_HEADER.fullmatch(name) and printable and len(longer) <= LONGEST_HEADERS:
            headers = longer
    return f"{address}?{headers}" if headers else address


def _recording_callback(address: str) -> dict[str, str]:
    if not address:
        return {}
    return {
        "recording_status_callback": address + CALLBACK,
        "recording_status_callback_event": "completed",
        "recording_status_callback_method": "POST",
    }


def _within(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)
