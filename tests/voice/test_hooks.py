"""Calls from their first ring to their end, over the real application on both databases."""

import errno
import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import time_machine
from flask.testing import FlaskClient
from prometheus_client import Counter, Histogram
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from router.db import Database
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.applier import adopt_unknown_calls, journal_folder
from router.voice.calls import call_ended, call_started, call_updated
from router.voice.events import close_silent_calls, repeat_fan_out
from router.voice.following import routing_of
from router.voice.journal import Journal
from router.voice.models import Call, CallEvent, CallLeg, CallRecording
from tests.contents import content
from tests.factories import COMPANY_LINE, NOON, NUMBER, SECOND_LINE, make_number, make_project, make_scenario
from tests.voice.carrier import ANNA, BASE, CarrierClient

PRINTED = "+12125552002"
FALLBACK_LINE = "+14155550111"
BEGAN = f"flow=1&start={round(NOON.timestamp() * 1000)}"
SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@content
def shop_with_a_billboard(database: Database, _: Any) -> None:
    with database.writing() as session:
        project = make_project(session)
        make_scenario(session, project, [NUMBER], destinations=[COMPANY_LINE, SECOND_LINE])
        billboard = {"source": "billboard", "medium": "print", "campaign": "A7"}
        make_scenario(session, project, [PRINTED], static=billboard, title="Billboard")


@pytest.fixture
def shop(shop_with_a_billboard: None, server: Server, clock: Any) -> Server:
    return server


RECEIVERS: list[Any] = []


def heard(signal: Any) -> list[str]:
    """Collects the calls that a signal is sent for, until the test is over."""
    calls: list[str] = []

    def receive(sender: Server, call: Any, **_: Any) -> None:
        calls.append(call.sid)

    signal.connect(receive)  # weakly: it lives as long as the list below holds it
    RECEIVERS.append(receive)
    return calls


@pytest.fixture(autouse=True)
def _forget_receivers() -> Iterator[None]:
    yield
    RECEIVERS.clear()


def only_call(server: Server) -> Call:
    with server.database.reading() as session:
        return session.scalars(select(Call)).one()


def rows(server: Server, model: Any) -> int:
    with server.database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def dial_of(answer: TestResponse) -> ElementTree.Element:
    assert answer.status_code == 200
    assert answer.mimetype == "text/xml"
    dial = ElementTree.fromstring(answer.text).find("Dial")
    assert dial is not None, answer.text
    return dial


def visit(client: FlaskClient, query: str = "utm_source=google&utm_medium=cpc&utm_campaign=spring", **body: Any) -> Any:
    page = f"https://shop.example/?{query}"
    return client.post("/tag/k-shop/visits", json={"page": page} | body, headers=SITE).get_json()


def test_a_call_is_forwarded_to_the_first_destination(shop: Server, carrier: CarrierClient) -> None:
    dial = dial_of(carrier.dial(NUMBER))
    assert dial.attrib == {
        "answerOnBridge": "true",
        "timeout": "20",
        "callerId": ANNA,
        "action": f"{BASE}/voice/dial/CA1/1?{BEGAN}#ct=1000&rt=3500&rc=2&rp=all",
        "method": "POST",
    }
    number = dial.find("Number")
    assert number is not None
    assert number.text == COMPANY_LINE
    assert number.get("statusCallback") == f"{BASE}/voice/leg/CA1#ct=1000&rt=2500&rc=3&rp=all"
    assert number.get("statusCallbackEvent") == "initiated ringing answered completed"


def test_the_same_request_twice_gives_the_same_document_and_one_call(shop: Server, carrier: CarrierClient) -> None:
    started = heard(call_started)
    assert carrier.dial(NUMBER).data == carrier.dial(NUMBER).data
    assert rows(shop, Call) == 1
    assert started == ["CA1"]


def test_r1_a_call_keeps_the_flow_it_began_with(shop: Server, carrier: CarrierClient) -> None:
    first = carrier.dial(NUMBER).data
    with shop.database.writing() as session:
        session.execute(text("UPDATE scenario SET call_flow_id = NULL"))
    assert carrier.dial(NUMBER).data == first
    number = dial_of(carrier.action(NUMBER, 1, "no-answer")).find("Number")
    assert number is not None
    assert number.text == SECOND_LINE


@pytest.mark.parametrize("form", [{"sign": False}, {"To": "+12125550000"}])
def test_an_unsigned_or_changed_request_is_403_and_writes_nothing(
    shop: Server, carrier: CarrierClient, client: FlaskClient, form: dict[str, Any]
) -> None:
    values = {"CallSid": "CA1", "From": ANNA, "To": NUMBER}
    headers = {"X-Twilio-Signature": carrier.validator.compute_signature(BASE + "/voice/inbound", values)}
    if form.get("sign") is False:
        headers = {}
    answer = client.post("/voice/inbound", data=values | {"To": form.get("To", NUMBER)}, headers=headers)
    assert answer.status_code == 403
    assert rows(shop, Call) == 0
    for path in ("/voice/leg/CA1", "/voice/status", "/voice/recording", "/voice/dial/CA1/1", "/voice/fallback"):
        assert client.post(path, data={"CallSid": "CA1"}).status_code == 403
    assert rows(shop, CallEvent) == 0


@pytest.mark.parametrize("caller", ["anonymous", "Restricted", "", "+266696687", "+86282452253", None, "client:anna"])
def test_a_withheld_caller_is_put_through_and_never_becomes_a_customer(
    shop: Server, carrier: CarrierClient, caller: str | None
) -> None:
    for sid in ("CA1", "CA2"):
        assert dial_of(carrier.dial(NUMBER, caller, sid=sid)).get("callerId") == NUMBER
    with shop.database.reading() as session:
        for call in session.scalars(select(Call)):
            assert call.caller is None
            assert call.first_call is False
            assert call.rule == "none"


def test_r7_a_visitor_who_calls_is_found_with_a_high_confidence(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    given = visit(client)
    assert given["numbers"][0]["e164"] == NUMBER
    clock.shift(timedelta(seconds=40))
    carrier.dial(NUMBER)
    call = only_call(shop)
    assert call.rule == "lease"
    assert call.confidence is not None
    assert call.confidence > 0.99
    assert call.source is not None
    assert call.source["campaign"] == "spring"
    assert call.candidates[0]["visit"] == 10001
    assert call.candidates[0]["state"] == "open"
    assert call.first_call is True


def test_r7_a_static_number_is_certain_about_its_channel(shop: Server, carrier: CarrierClient) -> None:
    carrier.dial(PRINTED)
    call = only_call(shop)
    assert (call.rule, call.confidence, call.visit_id) == ("static", 1.0, None)
    assert call.source == {
        "channel": "offline", "source": "billboard", "medium": "print", "campaign": "A7", "term": "", "content": "",
    }  # fmt: skip


def test_r7_a_repeat_caller_is_credited_to_the_source_of_the_first_call(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    anna = visit(client)["visitor"]
    carrier.dial(NUMBER)
    clock.shift(timedelta(days=3))
    second = visit(client, "utm_source=mail&utm_medium=email", visitor=anna)
    carrier.dial(NUMBER, sid="CA2")
    with shop.database.writing() as session:
        session.execute(text("UPDATE tracking_number SET scenario_id = 2"))
    carrier.dial(NUMBER, sid="CA3")
    with shop.database.reading() as session:
        first, repeat, moved = session.scalars(select(Call).order_by(Call.id))
    assert (repeat.rule, moved.rule) == ("repeat", "repeat")
    assert repeat.source == moved.source == first.source
    assert repeat.source_confidence == first.source_confidence
    assert repeat.first_call is False
    assert repeat.candidates[0]["visit"] == second["visit"] == 10002
    assert repeat.visit_id != first.visit_id


def test_a_number_in_no_scenario_rings_its_last_destination_then_the_projects_fallback(
    shop: Server, carrier: CarrierClient
) -> None:
    with shop.database.writing() as session:
        number = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == NUMBER)).one()
        number.scenario_id, number.last_flow_id = None, 1
    assert dial_of(carrier.dial(NUMBER))[0].text == COMPANY_LINE
    with shop.database.writing() as session:
        session.execute(text("UPDATE tracking_number SET last_flow_id = NULL"))
    assert dial_of(carrier.dial(NUMBER, sid="CA2"))[0].text == "+14155550111"


def test_an_unknown_number_rings_the_servers_fallback(shop: Server, carrier: CarrierClient) -> None:
    assert dial_of(carrier.dial("+12125559876"))[0].text == "+14155550199"
    assert rows(shop, Call) == 0


def test_r12_an_error_inside_still_leads_the_call_where_it_belongs(shop: Server, carrier: CarrierClient) -> None:
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call RENAME TO call_of_old"))
    assert dial_of(carrier.dial(NUMBER))[0].text == COMPANY_LINE
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE scenario RENAME TO scenario_of_old"))
    assert dial_of(carrier.dial(NUMBER))[0].text == COMPANY_LINE
    assert dial_of(carrier.action(NUMBER, 1, "busy"))[0].text == SECOND_LINE
    assert dial_of(carrier.post("/voice/fallback", CallSid="CA1", To=NUMBER, From=ANNA))[0].text == FALLBACK_LINE


def test_r12_without_any_knowledge_of_its_routes_the_server_rings_the_operators_line(
    shop: Server, carrier: CarrierClient
) -> None:
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE scenario RENAME TO scenario_of_old"))
    assert dial_of(carrier.dial(NUMBER))[0].text == "+14155550199"
    assert dial_of(carrier.action(NUMBER, 1, "busy"))[0].text == "+14155550199"


def test_r12_without_any_knowledge_a_frozen_database_is_waited_for_only_for_a_while(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.settings = shop.settings.model_copy(update={"fallback_destination": ""})
    thawed = threading.Event()

    def freeze(*_: Any) -> Any:
        thawed.wait(20.0)
        raise OperationalError("", {}, Exception("gone"))

    routing = routing_of(shop)
    monkeypatch.setattr(routing, "_thread", threading.current_thread())  # which has begun, and found nothing yet
    monkeypatch.setattr(Database, "reading", freeze)
    shop.journal = Journal(journal_folder(shop))
    began = time.perf_counter()
    assert "<Say>" in carrier.dial(NUMBER).text
    assert time.perf_counter() - began < 10.0
    thawed.set()


@pytest.mark.parametrize(
    ("said", "rung"),
    [
        ({}, True),
        ({"ErrorUrl": f"{BASE}/voice/inbound", "CallStatus": "ringing", "ErrorCode": "11200"}, True),
        ({"ErrorUrl": f"{BASE}/voice/inbound", "CallStatus": "in-progress"}, True),
        ({"ErrorUrl": f"{BASE}/voice/dial/CA1/1", "CallStatus": "ringing", "DialCallStatus": "no-answer"}, True),
        ({"ErrorUrl": f"{BASE}/voice/dial/CA1/1", "CallStatus": "in-progress", "DialCallStatus": "busy"}, True),
        ({"ErrorUrl": f"{BASE}/voice/dial/CA1/1", "CallStatus": "in-progress"}, False),
        ({"ErrorUrl": f"{BASE}/voice/dial/CA1/1", "CallStatus": "in-progress", "DialCallStatus": "completed"}, False),
        ({"ErrorUrl": f"{BASE}/voice/dial/CA1/1", "CallStatus": "ringing", "DialCallStatus": "canceled"}, False),
        ({"CallStatus": "completed"}, False),
        ({"CallStatus": "canceled"}, False),
        ({"ErrorUrl": "nonsense", "CallStatus": "odd", "ErrorCode": "x" * 300}, True),
        ({"ErrorUrl": "https://[", "CallStatus": "completed"}, False),
    ],
)
def test_r12_the_fallback_rings_the_projects_line_unless_the_talk_is_over(
    shop: Server, carrier: CarrierClient, said: dict[str, str], rung: bool
) -> None:
    answer = carrier.post("/voice/fallback", CallSid="CA1", To=NUMBER, From=ANNA, **said)
    assert answer.status_code == 200
    if rung:
        assert dial_of(answer)[0].text == FALLBACK_LINE
    else:
        assert "<Hangup" in answer.text
        assert "<Dial" not in answer.text


def test_r12_the_metrics_count_the_documents_of_the_last_resort(shop: Server, carrier: CarrierClient) -> None:
    before = last_resorts(carrier.client)
    carrier.dial(NUMBER)
    assert last_resorts(carrier.client) == before
    carrier.dial("+12125559876", sid="CA2")
    carrier.post("/voice/fallback", CallSid="CA1", To=NUMBER, From=ANNA)
    assert last_resorts(carrier.client) == before + 2


def test_r12_the_metrics_count_them_also_while_the_database_is_away(shop: Server, carrier: CarrierClient) -> None:
    assert "router_database_up 1" in carrier.client.get("/metrics").text
    before = last_resorts(carrier.client)
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE scenario RENAME TO scenario_of_old"))
        session.execute(text("ALTER TABLE delivery RENAME TO delivery_of_old"))
    carrier.dial(NUMBER)
    assert last_resorts(carrier.client) == before + 1
    assert "router_database_up 0" in carrier.client.get("/metrics").text
    stranger = carrier.client.get("/metrics", environ_base={"REMOTE_ADDR": "203.0.113.9"})
    assert stranger.status_code >= 400
    assert "router_last_resort_total" not in stranger.text


def test_r12_counters_that_cannot_be_written_cost_no_caller_his_answer(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Counter, "inc", no_space)
    monkeypatch.setattr(Histogram, "observe", no_space)
    assert "/voice/dial/" in carrier.dial(NUMBER).text
    unknown = carrier.dial("+12125559876", sid="CA2")
    assert (unknown.status_code, dial_of(unknown)[0].text) == (200, "+14155550199")


def last_resorts(client: FlaskClient) -> float:
    """What /metrics says."""
    found = re.search(r"^router_last_resort_total (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found.group(1))


def test_destinations_ring_in_turn_until_one_answers(shop: Server, carrier: CarrierClient, clock: Any) -> None:
    ended = heard(call_ended)
    carrier.dial(NUMBER)
    clock.shift(timedelta(seconds=20))
    carrier.leg("no-answer", "CL1")
    second = dial_of(carrier.action(NUMBER, 1, "no-answer"))
    assert second[0].text == SECOND_LINE
    assert second.get("action") == f"{BASE}/voice/dial/CA1/2?{BEGAN}#ct=1000&rt=3500&rc=2&rp=all"
    carrier.leg("ringing", "CL2", to=SECOND_LINE)
    clock.shift(timedelta(seconds=5))
    carrier.leg("in-progress", "CL2", to=SECOND_LINE)
    clock.shift(timedelta(seconds=63))
    assert ended == []
    carrier.leg("completed", "CL2", to=SECOND_LINE, CallDuration=63)
    assert ended == ["CA1"]
    hang_up = carrier.action(NUMBER, 2, "completed", DialBridged="true", DialCallDuration=63, DialCallSid="CL2")
    assert "<Hangup" in hang_up.text
    carrier.status("completed", CallDuration=88)
    assert ended == ["CA1"]
    call = only_call(shop)
    assert (call.status, call.talk_seconds, call.ring_seconds) == ("answered", 63, 25)
    assert call.destination == SECOND_LINE
    with shop.database.reading() as session:
        assert session.execute(select(CallLeg.destination, CallLeg.status).order_by(CallLeg.sid)).all() == [
            (COMPANY_LINE, "no_answer"),
            (SECOND_LINE, "completed"),
        ]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(("no-answer", "no-answer"), "missed"), (("busy", "busy"), "busy"), (("failed", "failed"), "failed"),
     (("busy", "no-answer"), "missed")],
)  # fmt: skip
def test_a_call_that_nobody_answers_is_missed_busy_or_failed(
    shop: Server, carrier: CarrierClient, statuses: tuple[str, str], expected: str
) -> None:
    ended = heard(call_ended)
    carrier.dial(NUMBER)
    carrier.action(NUMBER, 1, statuses[0])
    last = carrier.action(NUMBER, 2, statuses[1])
    assert "<Hangup" in last.text
    assert ended == ["CA1"]
    assert only_call(shop).status == expected
    carrier.status("no-answer")
    assert only_call(shop).status == expected


def test_a_caller_who_hangs_up_while_it_rings_has_abandoned(shop: Server, carrier: CarrierClient, clock: Any) -> None:
    carrier.dial(NUMBER)
    carrier.leg("ringing")
    clock.shift(timedelta(seconds=7))
    carrier.leg("canceled")
    carrier.action(NUMBER, 1, "canceled", CallStatus="completed")
    call = only_call(shop)
    assert (call.status, call.ring_seconds, call.talk_seconds) == ("abandoned", 7, 0)
    carrier.status("no-answer")
    assert only_call(shop).status == "abandoned"


def test_late_facts_correct_an_ended_call_and_never_end_it_twice(shop: Server, carrier: CarrierClient) -> None:
    ended, updated = heard(call_ended), heard(call_updated)
    carrier.dial(NUMBER)
    carrier.status("completed")
    assert only_call(shop).status == "abandoned"
    carrier.leg("completed", CallDuration=30)
    carrier.leg("in-progress")
    carrier.leg("ringing")
    call = only_call(shop)
    assert (call.status, call.talk_seconds) == ("answered", 30)
    assert ended == ["CA1"]
    assert updated
    with shop.database.reading() as session:
        assert session.scalars(select(CallLeg.status)).one() == "completed"


def test_a_recording_is_noted_once_whenever_the_carrier_tells_of_it(shop: Server, carrier: CarrierClient) -> None:
    """Before its call is known, during the call, or after it; nobody is told until it can be heard."""
    updated = heard(call_updated)
    given = {
        "CallSid": "CA1",
        "RecordingSid": "RE1",
        "RecordingUrl": "https://api.example/RE1",
        "RecordingDuration": "9",
    }
    told = "/voice/recording?flow=7&step=s1.0"
    carrier.post(told, **given, RecordingSource="RecordVerb")
    carrier.dial(NUMBER)
    carrier.post(told, **given)
    carrier.post(
        "/voice/recording", **given | {"RecordingSid": "RE2"}, RecordingSource="DialVerb", RecordingChannels="2"
    )
    carrier.post("/voice/recording", **given | {"RecordingSid": "RE3"}, RecordingStatus="absent")
    carrier.status("completed")
    with shop.database.reading() as session:
        rows = session.scalars(select(CallRecording).order_by(CallRecording.sid)).all()
    assert [(row.sid, row.is_message, row.channels, row.seconds, row.state) for row in rows] == [
        ("RE1", True, 1, 9, "waiting"),
        ("RE2", False, 2, 9, "waiting"),
    ]
    assert [(row.step, row.flow_id) for row in rows] == [("s1", 7), ("", None)]
    assert len({row.file for row in rows}) == 2
    assert updated == []


def test_a_silent_call_is_closed_as_unknown_after_four_and_a_quarter_hours(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    ended = heard(call_ended)
    carrier.dial(NUMBER)
    clock.shift(timedelta(hours=4, minutes=14))
    assert close_silent_calls(shop, shop.now()) == 0
    clock.shift(timedelta(minutes=1))
    assert close_silent_calls(shop, shop.now()) == 1
    assert only_call(shop).status == "unknown"
    assert close_silent_calls(shop, shop.now()) == 0
    carrier.action(NUMBER, 1, "completed", DialBridged="true", DialCallDuration=9000)
    assert only_call(shop).status == "answered"
    assert ended == ["CA1"]


def test_a_failing_receiver_costs_neither_the_call_nor_the_caller(shop: Server, carrier: CarrierClient) -> None:
    broken = True

    def receive(sender: Server, session: Any, **_: Any) -> None:
        if broken:
            session.execute(text("SELECT * FROM no_such_table"))

    for signal in (call_started, call_ended):
        signal.connect(receive)
    assert dial_of(carrier.dial(NUMBER))[0].text == COMPANY_LINE
    carrier.action(NUMBER, 1, "canceled")
    carrier.status("completed")
    call = only_call(shop)
    assert (call.status, call.fan_out_due) == ("abandoned", "started,ended")
    assert repeat_fan_out(shop, shop.now()) == 0
    broken = False
    assert repeat_fan_out(shop, shop.now()) == 1
    assert only_call(shop).fan_out_due == ""


@pytest.mark.parametrize("passed", [timedelta(seconds=16), timedelta(minutes=-10)])
def test_an_end_that_is_held_is_told_soon_also_when_the_clock_is_set_back(
    shop: Server, carrier: CarrierClient, clock: Any, passed: timedelta
) -> None:
    ended = []

    def note(sender: Server, call: Call, **_: Any) -> None:
        ended.append(call.status)

    call_ended.connect(note)
    carrier.dial(NUMBER)
    carrier.status("completed")
    assert only_call(shop).fan_out_due == "held"
    for seconds in (0, 14):
        assert repeat_fan_out(shop, shop.now() + timedelta(seconds=seconds)) == 0
    clock.shift(passed)
    assert repeat_fan_out(shop, shop.now()) == 1
    assert ended == [only_call(shop).status] == ["abandoned"]


def test_a_call_that_becomes_known_late_changes_who_was_first(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    visit(client)
    clock.shift(timedelta(minutes=1))
    clock.shift(timedelta(minutes=30))
    visit(client, "utm_source=mail")
    carrier.dial(NUMBER, sid="CA2")
    carrier.action(NUMBER, 1, "canceled", sid="CA2")
    carrier.status("completed", sid="CA2")
    updated = heard(call_updated)
    carrier.status("completed", sid="CA1", To=NUMBER, CallDuration=29 * 60)
    assert adopt_unknown_calls(shop, shop.now()) == 0
    assert rows(shop, Call) == 1, "its first request may be on its way from another machine"
    clock.shift(timedelta(minutes=1))
    assert adopt_unknown_calls(shop, shop.now()) == 1
    with shop.database.reading() as session:
        early, later = session.scalars(select(Call).order_by(Call.started_at))
    assert (early.sid, early.status, early.talk_seconds) == ("CA1", "answered", 29 * 60)
    assert (early.first_call, later.first_call) == (True, False)
    assert later.rule == "repeat"
    assert later.source == early.source
    assert updated == ["CA2"]


def test_a_carrier_request_without_sense_is_answered_and_leaves_nothing(shop: Server, carrier: CarrierClient) -> None:
    assert carrier.post("/voice/leg/CA1", CallSid="").status_code == 204
    assert carrier.post("/voice/status", CallSid="CA1", CallStatus="dancing").status_code == 204
    assert carrier.post("/voice/inbound", To=NUMBER).status_code == 200
    assert rows(shop, Call) == rows(shop, CallEvent) == 0


def test_calls_from_the_company_line_itself_do_not_go_in_circles(shop: Server, carrier: CarrierClient) -> None:
    assert dial_of(carrier.dial(NUMBER, COMPANY_LINE))[0].text == SECOND_LINE


def test_a_number_of_another_project_rings_that_projects_fallback(shop: Server, carrier: CarrierClient) -> None:
    with shop.database.writing() as session:
        project = make_project(session, key="k-two", name="Two")
        make_number(session, project, "+12125553000")
    assert dial_of(carrier.dial("+12125553000"))[0].text == "+14155550111"
