"""However a carrier writes who calls whom: the call reaches its flow, and the caller is known."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.carriers.simulator import CallerScript, Faults, Line, Simulator, VirtualClock
from router.config import Settings
from router.db import Database
from router.server import Server
from router.voice.models import Call
from tests.application import Applications
from tests.factories import NOON, make_project, make_scenario
from tests.properties import by_turns
from tests.voice.carrier import CarrierClient

NUMBER = "+493090182011"
LINE = "+493012345678"
SECOND_LINE = "+493012345679"
CALLER = "+4915112345678"


@pytest.fixture
def carrier(client: FlaskClient, server: Server) -> CarrierClient:
    with server.database.writing() as session:
        project = make_project(session)
        project.country = "DE"
        make_scenario(session, project, [NUMBER], destinations=[LINE, SECOND_LINE])
    return CarrierClient(client, server)


def only_call(server: Server) -> Call:
    with server.database.reading() as session:
        return session.scalars(select(Call)).one()


def caller_id(document: str) -> str:
    found = re.search('callerId="([^"]*)"', document)
    assert found, document
    return found.group(1)


@pytest.mark.parametrize(
    "to",
    [
        NUMBER,
        "sip:+493090182011@trunk.example.com",
        "sip:+493090182011@trunk.example.com:5061;transport=tls",
        "sips:493090182011@trunk.example.com",
        '"Shop" <sip:%2B493090182011@trunk.example.com;user=phone>',
        "tel:+49-30-90182011",
        "493090182011",
        "00493090182011",
        "03090182011",
        "+49 (0)30 90182011",
    ],
)
def test_r12_a_number_of_ours_reaches_its_flow_however_the_carrier_writes_it(
    carrier: CarrierClient, server: Server, to: str
) -> None:
    document = carrier.dial(to, CALLER).get_data(as_text=True)
    assert f">{LINE}</Number>" in document
    call = only_call(server)
    assert (call.number, call.caller) == (NUMBER, CALLER)
    second = carrier.action(to, 1, "busy").get_data(as_text=True)
    assert f">{SECOND_LINE}</Number>" in second


@pytest.mark.parametrize(
    "said",
    [
        {"ForwardedFrom": NUMBER},
        {"SipHeader_Diversion": f"<sip:{NUMBER}@pbx.example.com>;reason=unconditional"},
    ],
)
def test_r12_a_call_that_was_only_forwarded_to_us_belongs_to_the_number_that_was_dialled(
    carrier: CarrierClient, server: Server, said: dict[str, str]
) -> None:
    """The carrier shows no number that it does not know: a caller who is withheld is shown as the number that the carrier dialled."""
    received = "+493090182099"
    answer = carrier.dial(received, "anonymous", **said)
    assert f">{LINE}<" in answer.text
    assert caller_id(answer.text) == received
    server.routing = None
    answer = carrier.action(received, 1, "busy", From="anonymous")
    assert f">{SECOND_LINE}<" in answer.text, "also when the carrier does not say it again"
    assert only_call(server).number == NUMBER


def test_r12_the_old_name_of_a_parameter_counts_where_the_new_one_is_missing(
    carrier: CarrierClient, server: Server
) -> None:
    form = {"CallSid": "CA1", "Called": NUMBER, "Caller": CALLER, "CallStatus": "ringing"}
    assert LINE in carrier.post("/voice/inbound", **form).get_data(as_text=True)
    assert only_call(server).caller == CALLER


def test_r12_a_national_form_counts_only_where_one_number_of_ours_fits(carrier: CarrierClient, server: Server) -> None:
    british = "+443090182011"
    with server.database.writing() as session:
        other = make_project(session, key="k-other", name="Other", country="GB")
        make_scenario(session, other, [british], destinations=["+441212345678"])
    assert "+14155550199" in carrier.dial("03090182011", CALLER).get_data(as_text=True), "the fallback destination"
    assert LINE in carrier.dial("03090182011", CALLER, sid="CA2", ToCountry="DE").get_data(as_text=True)
    assert "+441212345678" in carrier.dial("03090182011", CALLER, sid="CA3", ToCountry="GB").get_data(as_text=True)


@pytest.mark.parametrize(
    ("said", "caller", "shown"),
    [
        (CALLER, CALLER, CALLER),
        ("sip:+4915112345678@pbx.example.com", CALLER, NUMBER),
        ("4915112345678", CALLER, CALLER),
        ("015112345678", CALLER, CALLER),
        ("+5215512345678", "+5215512345678", "+5215512345678"),
        ("+551187654321", "+551187654321", "+551187654321"),
        ("+4917912", "+4917912", "+4917912"),
        ("anonymous", None, NUMBER),
        ("+266696687", None, NUMBER),
        ("sip:100@pbx.example.com", None, NUMBER),
    ],
)
def test_a_caller_is_identified_and_shown_to_the_line_where_the_carrier_lets_it(
    carrier: CarrierClient, server: Server, said: str, caller: str | None, shown: str
) -> None:
    document = carrier.dial(NUMBER, said).get_data(as_text=True)
    call = only_call(server)
    assert (call.caller, call.caller_raw) == (caller, said)
    assert caller_id(document) == shown
    assert call.first_call is (caller is not None)


@pytest.mark.parametrize(
    ("first", "second"), [("+5215512345678", "+525512345678"), ("+551187654321", "+5511987654321")]
)
def test_r7_two_spellings_of_a_line_are_one_caller(
    carrier: CarrierClient, server: Server, first: str, second: str
) -> None:
    carrier.dial(NUMBER, first, sid="CA1")
    carrier.dial(NUMBER, second, sid="CA2")
    with server.database.reading() as session:
        calls = session.scalars(select(Call).order_by(Call.id)).all()
    assert [call.first_call for call in calls] == [True, False]


def test_r12_a_line_never_rings_itself_in_another_spelling(client: FlaskClient, server: Server) -> None:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=["+525512345678", LINE])
    document = CarrierClient(client, server).dial(NUMBER, "+5215512345678").get_data(as_text=True)
    assert "+525512345678" not in document
    assert LINE in document


@pytest.fixture
def served(settings: Settings, applications: Applications) -> Iterator[tuple[Flask, VirtualClock]]:
    clock = VirtualClock(NOON)
    with applications.on_a_port(settings) as (_, app):
        app.extensions["router"].now = clock.now
        yield app, clock


TRIES = {CALLER: 1, "+5215512345678": 1, "4915112345678": 2}
WAYS = {"in order": Faults(), "in disorder": Faults(late=3.0, twice=True, disorder=True)}


@pytest.mark.parametrize(("database_kind", "said", "way"), by_turns(TRIES, WAYS))
def test_a_caller_whose_number_the_carrier_refuses_as_caller_id_gets_through_all_the_same(
    served: tuple[Flask, VirtualClock], settings: Settings, database: Database, said: str, way: str
) -> None:
    app, clock = served
    with database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=[LINE, SECOND_LINE])
    lines = {LINE: Line.answers(4, 60)}
    base_url = app.extensions["router"].settings.base_url
    carrier = Simulator(base_url, settings.twilio_auth_token, clock=clock, lines=lines, faults=WAYS[way])
    try:
        played = carrier.call(said, NUMBER, CallerScript())
    finally:
        carrier.close()
    assert [leg.to for leg in played.legs] == [LINE] * TRIES[said]
    with database.reading() as session:
        call = session.scalars(select(Call)).one()
    assert (call.status, call.talk_seconds, call.destination) == ("answered", 60, LINE)
