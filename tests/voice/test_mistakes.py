"""The frequent mistakes of telephone servers, each shown not to be made here (those about signatures are in tests/carriers)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from router.integrations.models import Delivery
from router.server import Server
from router.voice.calls import call_ended, call_started
from router.voice.models import Call, CallEvent
from tests.factories import NOON, NUMBER, SECOND_LINE, make_project, make_scenario
from tests.voice.carrier import ANNA, BASE, CarrierClient


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def carrier(shop_with_two_lines: int, client: FlaskClient, server: Server, clock: Any) -> CarrierClient:
    return CarrierClient(client, server)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Which events of calls were announced, in order."""
    told: list[str] = []

    def started(sender: Server, **_: Any) -> None:
        told.append("started")

    def ended(sender: Server, **_: Any) -> None:
        told.append("ended")

    with call_started.connected_to(started), call_ended.connected_to(ended):
        yield told


def only_call(server: Server) -> Call:
    with server.database.reading() as session:
        return session.scalars(select(Call)).one()


def count(server: Server, model: Any) -> int:
    with server.database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def document(answer: TestResponse) -> ElementTree.Element:
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/xml")
    return ElementTree.fromstring(answer.text)


def test_parameters_that_nobody_knows_yet_are_no_reason_to_refuse(carrier: CarrierClient) -> None:
    more = {"StirVerstat": "TN-Validation-Passed-A", "BrandNewParameter": "x" * 5000, "CallerName": "Ann <&> \u202e"}
    assert document(carrier.dial(NUMBER, **more)).find("Dial/Number") is not None


def test_parameters_that_are_missing_or_empty_are_no_reason_to_refuse(carrier: CarrierClient) -> None:
    answer = carrier.post("/voice/inbound", CallSid="CA1", To=NUMBER)
    dial = document(answer).find("Dial")
    assert dial is not None
    assert dial.get("callerId") == NUMBER
    assert (
        document(carrier.post("/voice/inbound", CallSid="CA2", AccountSid="", From="", To=NUMBER)).find("Dial")
        is not None
    )


def test_a_later_status_of_the_same_leg_is_not_taken_for_a_repetition(server: Server, carrier: CarrierClient) -> None:
    carrier.dial(NUMBER)
    for status in ("initiated", "ringing", "in-progress", "completed"):
        carrier.leg(status, CallDuration=12 if status == "completed" else None)
        carrier.leg(status, CallDuration=12 if status == "completed" else None)
    assert count(server, CallEvent) == 4
    assert only_call(server).talk_seconds == 12


def test_callbacks_out_of_order_do_not_overwrite_the_end(server: Server, carrier: CarrierClient) -> None:
    carrier.dial(NUMBER)
    carrier.leg("completed", CallDuration=30)
    carrier.status("completed", CallDuration=40)
    before = only_call(server)
    carrier.leg("ringing")
    carrier.leg("initiated")
    carrier.status("in-progress")
    after = only_call(server)
    assert (after.status, after.ended_at, after.talk_seconds) == (before.status, before.ended_at, 30)


def test_the_same_webhook_twice_makes_one_call_one_document_and_one_event(
    server: Server, carrier: CarrierClient, heard: list[str]
) -> None:
    answers = {carrier.dial(NUMBER).data for _ in range(3)}
    steps = {carrier.action(NUMBER, 1, "busy").data for _ in range(3)}
    for _ in range(3):
        carrier.action(NUMBER, 2, "busy")
    assert len(answers) == len(steps) == 1
    assert heard == ["started", "ended"]
    assert count(server, Call) == 1


def test_no_answer_to_the_carrier_waits_for_a_receiver(server: Server, carrier: CarrierClient) -> None:
    """Integrations get rows in the outbox; nothing is sent while the carrier waits."""
    assert document(carrier.dial(NUMBER)).find("Dial") is not None
    assert count(server, Delivery) == 0


def test_a_call_is_answered_only_when_the_company_does_and_dial_is_the_first_verb(carrier: CarrierClient) -> None:
    for answer in (carrier.dial(NUMBER), carrier.action(NUMBER, 1, "no-answer")):
        response = document(answer)
        assert [verb.tag for verb in response] == ["Dial"], "verbs after Dial with an action never run"
        assert response[0].get("answerOnBridge") == "true"
        assert response[0].get("action", "").startswith(f"{BASE}/voice/dial/CA1/")


@pytest.mark.parametrize("status", ["no-answer", "busy", "failed", "canceled", "something-new", ""])
def test_every_way_not_to_be_answered_rings_the_next_destination(carrier: CarrierClient, status: str) -> None:
    carrier.dial(NUMBER)
    number = document(carrier.action(NUMBER, 1, status)).find("Dial/Number")
    assert number is not None
    assert number.text == SECOND_LINE


def test_completed_without_a_bridge_is_no_conversation(
    server: Server, carrier: CarrierClient, clock: Any, heard: list[str]
) -> None:
    """A leg that answered and was refused (a whisper that hung up): the next destination rings, and the call ends once."""
    carrier.dial(NUMBER)
    carrier.leg("in-progress")
    clock.shift(timedelta(seconds=4))
    carrier.leg("completed", CallDuration=4)
    answer = carrier.action(NUMBER, 1, "completed", DialBridged="false", DialCallSid="CL1", DialCallDuration=4)
    assert document(answer).find("Dial/Number") is not None
    assert only_call(server).ended_at is not None, "a call that was told to have ended stays ended"
    clock.shift(timedelta(seconds=20))
    carrier.action(NUMBER, 2, "no-answer")
    call = only_call(server)
    assert (call.status, call.talk_seconds) == ("missed", 0)
    assert heard == ["started", "ended"]


def test_status_callbacks_are_a_string_of_words_and_no_whisper(carrier: CarrierClient) -> None:
    number = document(carrier.dial(NUMBER)).find("Dial/Number")
    assert number is not None
    assert number.get("statusCallbackEvent") == "initiated ringing answered completed"
    assert number.get("url") is None


@pytest.mark.parametrize(
    "caller", ["anonymous", "+266696687", "+8656696", "+464", "Restricted", "", None, "client:bob"]
)
def test_a_withheld_caller_is_neither_shown_to_the_company_line_nor_made_a_customer(
    server: Server, carrier: CarrierClient, caller: str | None
) -> None:
    dial = document(carrier.dial(NUMBER, caller)).find("Dial")
    assert dial is not None
    assert dial.get("callerId") == NUMBER
    document(carrier.dial(NUMBER, caller, sid="CA2"))
    with server.database.reading() as session:
        calls = session.scalars(select(Call)).all()
    assert {(call.caller, call.first_call, call.rule == "repeat") for call in calls} == {(None, False, False)}


def test_child_legs_are_found_by_their_parent_and_never_by_the_company_line(
    server: Server, carrier: CarrierClient
) -> None:
    with server.database.writing() as session:
        project = make_project(session, key="k-two", name="Two")
        make_scenario(session, project, ["+12125552777"], title="Other")
    carrier.dial(NUMBER)
    carrier.leg("completed", to="+12125552777", CallDuration=5)
    assert only_call(server).sid == "CA1"
    assert only_call(server).talk_seconds == 5


def test_a_destination_rings_for_less_time_than_a_voicemail_needs_to_pick_up(carrier: CarrierClient) -> None:
    dial = document(carrier.dial(NUMBER)).find("Dial")
    assert dial is not None
    assert 5 <= int(dial.get("timeout", "0")) <= 20


def test_a_call_is_never_forwarded_to_the_dialled_number_or_back_to_its_caller(
    server: Server, carrier: CarrierClient
) -> None:
    circle = "+12125552888"
    with server.database.writing() as session:
        project = make_project(session, key="k-circle", name="Circle")
        make_scenario(session, project, [circle], destinations=[circle, ANNA], title="Circle")
    assert document(carrier.dial(circle)).find("Dial") is None
    assert document(carrier.dial(circle, sid="CA2")).find("Say") is not None


@pytest.mark.parametrize("path", ["/voice/inbound", "/voice/dial/CA1/1", "/voice/dial/CA1/999999", "/voice/fallback"])
def test_a_document_is_always_xml_with_status_200(carrier: CarrierClient, path: str) -> None:
    for form in (
        {},
        {"CallSid": "CA1"},
        {"CallSid": "?", "To": "\0"},
        {"CallSid": "CA1", "To": NUMBER, "From": "\ud83d"},
    ):
        clean = {name: value.encode("utf-8", "replace").decode() for name, value in form.items()}
        assert document(carrier.post(path, **clean)).tag == "Response"


def test_an_action_for_a_step_beyond_the_last_hangs_up_and_rings_nobody(carrier: CarrierClient) -> None:
    carrier.dial(NUMBER)
    assert [verb.tag for verb in document(carrier.action(NUMBER, 10**9, "busy"))] == ["Hangup"]


def test_callbacks_about_a_call_are_answered_without_a_document(carrier: CarrierClient) -> None:
    carrier.dial(NUMBER)
    for answer in (carrier.leg("ringing"), carrier.status("completed"), carrier.leg("dancing")):
        assert (answer.status_code, answer.data) == (204, b"")


def test_a_carriers_impossible_dates_and_numbers_break_nothing(server: Server, carrier: CarrierClient) -> None:
    carrier.dial(NUMBER)
    for moment in (
        "Fri, 31 Dec 9999 23:59:59 +0000",
        "Mon, 01 Jan 0001 00:00:00 +0000",
        "Mon, 32 Nov 2026",
        "\0",
        "9" * 99,
    ):
        assert carrier.leg("in-progress", leg_sid=f"CL{len(moment)}", Timestamp=moment).status_code == 204
        assert (
            carrier.leg("completed", leg_sid=f"CL{len(moment)}", Timestamp=moment, CallDuration=999_999_999).status_code
            == 204
        )
        assert (
            carrier.status(
                "completed", sid=f"CA{len(moment)}", To=NUMBER, Timestamp=moment, CallDuration="999999999"
            ).status_code
            == 204
        )
    with server.database.reading() as session:
        call = session.scalars(select(Call).where(Call.sid == "CA1")).one()
    assert call.ended_at is not None
    assert abs(call.ended_at - NOON) < timedelta(days=1)


def test_a_nul_in_any_field_of_a_signed_form_breaks_nothing(server: Server, carrier: CarrierClient) -> None:
    nul = "x\0y"
    carrier.dial(NUMBER, CallerName=nul, AccountSid=nul)
    assert carrier.leg("ringing", to=nul).status_code == 204
    recording = {
        "CallSid": "CA1",
        "RecordingSid": "RE1",
        "RecordingStatus": nul,
        "RecordingUrl": f"https://a.example/{nul}",
    }
    assert carrier.post("/voice/recording", **recording).status_code == 204
    assert carrier.action(NUMBER, 1, nul, DialCallSid=nul, RecordingUrl=nul).status_code == 200
    assert carrier.status(nul).status_code == 204


def test_an_address_with_a_call_id_that_no_carrier_makes_is_nothing(server: Server, carrier: CarrierClient) -> None:
    for sid in ("x" * 65, "%F0%9F%98%80", "a%20b"):
        assert carrier.post(f"/voice/leg/{sid}", CallSid="CL1", CallStatus="ringing").status_code == 204
        document(carrier.post(f"/voice/dial/{sid}/1", CallSid="CA1", To=NUMBER, DialCallStatus="busy"))
    assert count(server, CallEvent) == 0


@pytest.mark.parametrize("dialled", ["sip:sales@pbx.example.com", "\x01\x02", "<&>", "anonymous"])
def test_what_is_no_number_never_becomes_the_caller_id(carrier: CarrierClient, dialled: str) -> None:
    dial = document(carrier.dial(dialled, "anonymous")).find("Dial")
    assert dial is not None
    assert dial.get("callerId") is None


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", ""])
def test_a_recordings_address_that_is_no_web_address_is_not_kept(
    server: Server, carrier: CarrierClient, address: str
) -> None:
    carrier.dial(NUMBER)
    carrier.post("/voice/recording", CallSid="CA1", RecordingSid="RE1", RecordingUrl=address)
    with server.database.reading() as session:
        (facts,) = session.scalars(select(CallEvent.facts).where(CallEvent.kind == "recording"))
    assert facts["url"] is None
