"""TwiML: how Twilio is told what happens next in a call. The same plan gives the same document."""

import re

from twilio.twiml.voice_response import Dial, VoiceResponse  # type: ignore[import-untyped]  # twilio ships no types

from router.carriers.base import Forward, HangUp, Plan, Say

STEERING = "#ct=1000&rt=3500&rc=2&rp=all"
CALLBACK = "#ct=1000&rt=2500&rc=3&rp=all"
"""Connection overrides at the end of an address: by default a request is repeated only when no connection could be made. A read time-out
has to be named too: by default one try may take the 15 s that all tries have together, and a server that hangs is never asked again
(https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides)."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(plan: Plan) -> str:
    response = VoiceResponse()
    for step in plan:
        match step:
            case Say():
                response.say(NOT_XML.sub("", step.sentence))
            case Forward():
                response.append(_dial(step))
            case HangUp():
                response.hangup()
    return str(response)


def _dial(forward: Forward) -> Dial:
    dial = Dial(
        answer_on_bridge=True,
        timeout=forward.ring_seconds,
        caller_id=forward.caller_id,
        **({"action": forward.next_address + STEERING, "method": "POST"} if forward.next_address else {}),
    )
    callback = {}
    if forward.leg_address:
        callback = {
            "status_callback": forward.leg_address + CALLBACK,
            "status_callback_event": "initiated ringing answered completed",
            "status_callback_method": "POST",
        }
    if forward.to.lower().startswith(("sip:", "sips:")):
        dial.sip(forward.to, **callback)
    else:
        dial.number(forward.to, **callback)
    return dial
