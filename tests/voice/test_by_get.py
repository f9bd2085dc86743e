"""Carriers that ask by GET are answered like those that post: a number configured so, or a redirect that made a GET of a POST."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.serving import BaseWSGIServer
from werkzeug.wrappers import Request, Response

from router.carriers.simulator import CallerScript, Faults, Line, Simulator, VirtualClock
from router.carriers.simulator.player import Addresses
from router.config import Settings
from router.db import Database
from router.server import Server
from router.voice.models import Call, CallEvent, CallRecording, TextMessage
from tests.application import Applications
from tests.factories import COMPANY_LINE, NOON, NUMBER, SECOND_LINE
from tests.voice.carrier import ANNA, BASE, CarrierClient


@pytest.fixture
def carrier(shop_with_two_lines: int, client: FlaskClient, server: Server, clock: Any) -> CarrierClient:
    return CarrierClient(client, server)


INBOUND = {"CallSid": "CA1", "AccountSid": "AC1", "From": ANNA, "To": NUMBER, "CallStatus": "ringing"}
LEG = {"CallSid": "CL1", "ParentCallSid": "CA1", "To": COMPANY_LINE, "CallStatus": "ringing"}
REQUESTS: list[tuple[str, dict[str, str]]] = [
    ("/voice/inbound", INBOUND),
    ("/voice/leg/CA1", LEG),
    ("/voice/leg/CA1", LEG | {"CallStatus": "no-answer"}),
    ("/voice/dial/CA1/1", INBOUND | {"DialCallStatus": "no-answer", "DialCallSid": "CL1"}),
    ("/voice/dial/CA1/2", INBOUND | {"DialCallStatus": "busy"}),
    ("/voice/recording", {"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://api.example/RE1"}),
    ("/voice/status", {"CallSid": "CA1", "CallStatus": "completed", "CallDuration": "31"}),
    ("/voice/fallback", INBOUND | {"ErrorCode": "11200", "ErrorUrl": f"{BASE}/voice/inbound"}),
]
"""A whole call, in order, at every address of the carrier."""


def written(server: Server) -> tuple[list[Any], list[Any]]:
    with server.database.reading() as session:
        calls = session.execute(
            select(Call.sid, Call.caller, Call.status, CallRecording.sid).outerjoin(
                CallRecording, CallRecording.call_sid == Call.sid
            )
        ).all()
        return list(calls), sorted(session.scalars(select(CallEvent.key)))


def count(server: Server, model: Any) -> int:
    with server.database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_every_address_of_the_carrier_answers_a_get_as_it_answers_a_post(
    server: Server, carrier: CarrierClient
) -> None:
    by_get = [carrier.get(path, **form) for path, form in REQUESTS]
    after_get = written(server)
    by_post = [carrier.post(path, **form) for path, form in REQUESTS]
    assert [(one.status_code, one.mimetype, one.data) for one in by_get] == [
        (one.status_code, one.mimetype, one.data) for one in by_post
    ]
    assert [one.status_code for one in by_get] == [200, 204, 204, 200, 200, 204, 204, 200]
    assert after_get[0] == [("CA1", ANNA, "missed", "RE1")]
    assert written(server) == after_get, "the same call by the other method is the same call"


def test_no_cache_keeps_what_answers_a_get(carrier: CarrierClient) -> None:
    for path, form in REQUESTS:
        assert carrier.get(path, **form).headers["Cache-Control"] == "no-store"


def test_an_unsigned_or_changed_get_is_403_and_writes_nothing(
    server: Server, carrier: CarrierClient, client: FlaskClient
) -> None:
    for path, form in REQUESTS:
        assert carrier.get(path, sign=False, **form).status_code == 403
        signed = carrier.validator.compute_signature(f"{BASE}{path}?CallSid=CA1", {})
        answer = client.get(f"{path}?CallSid=CA1&To=%2B12125552001", headers={"X-Twilio-Signature": signed})
        assert answer.status_code == 403
    assert count(server, Call) == count(server, CallEvent) == 0


def test_a_signature_over_the_address_does_not_cover_what_is_put_into_a_body(
    server: Server, carrier: CarrierClient, client: FlaskClient
) -> None:
    target = "/voice/inbound?CallSid=CA1"
    headers = {"X-Twilio-Signature": carrier.validator.compute_signature(BASE + target, {})}
    assert client.post(target, data={"To": NUMBER}, headers=headers).status_code == 403
    answer = client.get(target, data={"To": NUMBER, "From": ANNA}, headers=headers)
    assert answer.status_code == 200
    assert NUMBER not in answer.text
    assert COMPANY_LINE not in answer.text, "nobody dialled anything: the server's own fallback answers"
    assert count(server, Call) == 0


def test_what_stands_in_the_address_of_a_post_is_no_value_of_its_form(server: Server, carrier: CarrierClient) -> None:
    path = "/voice/inbound?From=%2B14155550199&To=%2B12125559999&CallSid=CA9"
    assert COMPANY_LINE in carrier.post(path, **INBOUND).text
    assert written(server)[0] == [("CA1", ANNA, "in_progress", None)]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused_signed_or_not_and_write_nothing(
    server: Server, carrier: CarrierClient, client: FlaskClient, method: str
) -> None:
    for path, form in REQUESTS:
        target = f"{path}?{'&'.join(f'{name}={value}' for name, value in form.items())}".replace("+", "%2B")
        signed = {"X-Twilio-Signature": carrier.validator.compute_signature(BASE + target, {})}
        for headers in ({}, signed):
            assert client.open(target, method=method, headers=headers).status_code == 405
    assert count(server, Call) == count(server, CallEvent) == 0


Start = Callable[..., Any]


class Redirecting:
    """What stands in front of many servers: a POST is sent elsewhere, and comes again as a GET."""

    def __init__(self, app: Flask, status: int) -> None:
        self.app, self.status, self.methods = app, status, list[str]()

    def __call__(self, environ: Any, start: Start) -> Iterable[bytes]:
        request = Request(environ)
        self.methods.append(request.method)
        if request.method == "POST":
            answer = Response(status=self.status, headers={"Location": request.full_path.rstrip("?")})
            return answer(environ, start)
        return self.app(environ, start)


@pytest.fixture
def exchange() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture
def served(
    shop_with_two_lines: int, settings: Settings, applications: Applications, exchange: VirtualClock
) -> Iterator[tuple[BaseWSGIServer, Flask]]:
    """The application on a free port, with the carrier's clock as its own."""
    with applications.on_a_port(settings) as (http, app):
        app.extensions["router"].now = exchange.now
        yield http, app


def played(
    app: Flask, settings: Settings, database: Database, clock: VirtualClock, **options: Any
) -> tuple[Any, list[Any]]:
    """A call whose first destination is busy and whose second talks for half a minute, and what was written of it."""
    lines = {COMPANY_LINE: Line.is_busy(), SECOND_LINE: Line.answers(6, 30)}
    base_url = app.extensions["router"].settings.base_url
    simulator = Simulator(base_url, settings.twilio_auth_token, clock=clock, lines=lines, **options)
    try:
        call = simulator.call(ANNA, NUMBER, CallerScript())
    finally:
        simulator.close()
    with database.reading() as session:
        return call, list(session.execute(select(Call.sid, Call.caller, Call.status, Call.talk_seconds)).all())


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_whole_call_whose_every_request_a_redirect_made_a_get(
    served: tuple[BaseWSGIServer, Flask], settings: Settings, database: Database, exchange: VirtualClock, status: int
) -> None:
    server, app = served
    server.app = front = Redirecting(app, status)
    call, calls = played(app, settings, database, exchange, faults=Faults(twice=True))
    assert calls == [(call.sid, ANNA, "answered", 30)]
    assert call.errors == []
    assert front.methods.count("GET") == front.methods.count("POST") > 10


def test_a_number_that_is_configured_for_get_is_answered(
    served: tuple[BaseWSGIServer, Flask], settings: Settings, database: Database, exchange: VirtualClock
) -> None:
    _, app = served
    base_url = app.extensions["router"].settings.base_url
    where = [f"{base_url}/voice/{name}" for name in ("inbound", "fallback", "status")]
    rented = Addresses(where[0] + "?house=1", where[1], where[2], "", "GET", "GET", "GET")
    call, calls = played(app, settings, database, exchange, rented=lambda _: rented)
    assert calls == [(call.sid, ANNA, "answered", 30)]
    assert call.errors == []
    assert {one.method for one in (*call.sent("inbound"), *call.sent("status"))} == {"GET"}


def test_a_fallback_that_is_asked_by_get_dials(
    served: tuple[BaseWSGIServer, Flask], settings: Settings, database: Database, exchange: VirtualClock
) -> None:
    _, app = served
    base_url = app.extensions["router"].settings.base_url
    rented = Addresses(f"{base_url}/no/such/page", f"{base_url}/voice/fallback", "", "", "GET", "GET", "GET")
    call, calls = played(app, settings, database, exchange, rented=lambda _: rented)
    assert [(one.method, one.status) for one in call.sent("fallback")] == [("GET", 200)]
    assert call.legs[0].to == "+14155550111", "the project's fallback destination"
    assert calls == [(call.sid, ANNA, "answered", 60)]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_text_message_that_the_carrier_brings_twice_is_written_once(
    served: tuple[BaseWSGIServer, Flask], settings: Settings, database: Database, exchange: VirtualClock, method: str
) -> None:
    _, app = served
    base_url = app.extensions["router"].settings.base_url
    where = Addresses(
        *[f"{base_url}/voice/{name}" for name in ("inbound", "fallback", "status", "sms")], sms_method=method
    )
    simulator = Simulator(base_url, settings.twilio_auth_token, clock=exchange, rented=lambda _: where)
    for _ in range(2):
        sent = simulator.text(ANNA, NUMBER, "Do you open on Sunday? Ω & <b>", sid="SM1")
        assert (sent.method, sent.status, sent.content_type) == (method, 200, "text/xml")
    with database.reading() as session:
        (message,) = session.scalars(select(TextMessage))
    assert (message.sender, message.body) == (ANNA, "Do you open on Sunday? Ω & <b>")
    assert message.received_at == NOON
