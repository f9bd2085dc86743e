"""Speaks to the voice endpoints as the carrier does: signed forms."""

import re
from typing import Any
from urllib.parse import urlencode

from flask.testing import FlaskClient
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from router.server import Server
from tests.carriers.twiml_checker import check_document

ACTION = re.compile(r'action="[^"]*/voice/dial/([^/"]+)/(\d+)(\?[^"#]*)?')
ANNA = "+14155550177"
BASE = "https://calls.example.net"


def played(answer: TestResponse) -> TestResponse:
    """The answer, once its document is found to be one that the carrier can play."""
    if answer.mimetype == "text/xml":
        check_document(answer.text)
    return answer


class CarrierClient:
    """Posts signed requests; `sign=False` leaves the signature out."""

    def __init__(self, client: FlaskClient, server: Server) -> None:
        self.client = client
        self.validator = RequestValidator(server.settings.twilio_auth_token)
        self.next: dict[tuple[str, int], str] = {}
        """Where the carrier was told to ask next, by call and step."""

    def post(self, path: str, *, sign: bool = True, **form: Any) -> TestResponse:
        values = {name: str(value) for name, value in form.items() if value is not None}
        headers = {"X-Twilio-Signature": self.validator.compute_signature(BASE + path, values)} if sign else {}
        answer = played(self.client.post(path, data=values, headers=headers))
        for sid, step, query in ACTION.findall(answer.text):
            self.next[sid, int(step)] = f"/voice/dial/{sid}/{step}{query.replace('&amp;', '&')}"
        return answer

    def get(self, path: str, *, sign: bool = True, **form: Any) -> TestResponse:
        """Asks as the carrier does by GET: the values stand in the address, which is all that is signed."""
        target = f"{path}{'&' if '?' in path else '?'}{urlencode({name: str(value) for name, value in form.items() if value is not None})}"
        headers = {"X-Twilio-Signature": self.validator.compute_signature(BASE + target, {})} if sign else {}
        return played(self.client.get(target, headers=headers))

    def dial(self, number: str, caller: str | None = ANNA, sid: str = "CA1", **form: Any) -> TestResponse:
        given = {"CallSid": sid, "AccountSid": "AC1", "From": caller, "To": number, "CallStatus": "ringing"}
        return self.post("/voice/inbound", **given | form)

    def leg(
        self, status: str, leg_sid: str = "CL1", sid: str = "CA1", to: str = "+14155550100", **form: Any
    ) -> TestResponse:
        given = {"CallSid": leg_sid, "ParentCallSid": sid, "To": to, "CallStatus": status}
        return self.post(f"/voice/leg/{sid}", **given | form)

    def action(self, number: str, step: int, status: str, sid: str = "CA1", **form: Any) -> TestResponse:
        given = {"CallSid": sid, "From": ANNA, "To": number, "CallStatus": "ringing", "DialCallStatus": status}
        return self.post(self.next.get((sid, step), f"/voice/dial/{sid}/{step}"), **given | form)

    def status(self, status: str, sid: str = "CA1", **form: Any) -> TestResponse:
        return self.post("/voice/status", **{"CallSid": sid, "From": ANNA, "CallStatus": status} | form)
