"""Flows of steps at the telephone's addresses: the same request gives the same bytes, what a step wants to know is looked up once and
within its limit, and a version that is missing or cannot be read never ends a call."""

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from ipaddress import IPv4Network
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from router.accounts.models import Project
from router.lib.signatures import sign
from router.reports.call_detail import Receipt
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import flow_secret, store_flow
from router.scenarios.models import Holiday, Scenario
from router.server import Server
from router.voice import asking
from router.voice.applier import journal_folder
from router.voice.following import routing_of
from router.voice.journal import Position, read_entries
from router.voice.models import Call
from tests.factories import COMPANY_LINE, SECOND_LINE
from tests.integrations.receiver import receiver
from tests.voice.carrier import ANNA, BASE, CarrierClient
from tests.voice.flow_calls import ring, say
from tests.voice.journals import NUMBER, applier, calls, visit, whole_call
from tests.waiting import PATIENCE_SECONDS, eventually

ADDRESS = re.compile(rf'"{BASE}(/voice/(?:dial|gather)/[^"#]*)#')
THIRD_LINE = "+14155550133"


def follow(server: Server, *steps: dict[str, Any], stored: bool = True) -> int:
    """The shop's scenario has these steps now; returns the id of their version. `stored`: as a person would have saved them."""
    document = FlowSchema.model_validate({"steps": list(steps)}).document() if stored else {"steps": list(steps)}
    with server.database.writing() as session:
        scenario = session.scalars(select(Scenario)).one()
        store_flow(session, scenario, document, server.now())
        return scenario.call_flow_id or 0


def rung(text: str) -> list[str]:
    return re.findall(r"<(?:Number|Sip)[^>]*>([^<]*)<", text)


def addresses(text: str) -> list[str]:
    return [unescape(address) for address in ADDRESS.findall(text)]


def given(server: Server) -> list[Any]:
    """What the journal keeps of the answers."""
    records = [entry.record for entry in read_entries(journal_folder(server), Position(), 100) if entry.record]
    return [record["flow"]["given"] if "flow" in record else record["facts"].get("given") for record in records]


def test_the_same_request_gives_the_same_bytes_across_closing_time(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    open_hours = {"days": ["mon", "tue", "wed", "thu", "fri"], "opens": "09:00", "closes": "17:00"}
    lines = ring(COMPANY_LINE, SECOND_LINE, THIRD_LINE, order="round_robin", whisper={"text": "A call."})
    hours = {"type": "hours", "branches": [{"times": [open_hours], "steps": [lines]}], "otherwise": [say("Closed.")]}
    follow(shop, hours)
    clock.move_to(datetime(2026, 11, 23, 21, 59, 58, tzinfo=UTC))  # a Monday, two seconds before five in New York
    documents, later = [], []
    for _ in range(3):
        documents.append(carrier.dial(NUMBER).data)
        clock.shift(timedelta(seconds=1))
    (address,) = addresses(documents[0].decode())
    for _ in range(3):
        later.append(carrier.post(address, CallSid="CA1", From=ANNA, To=NUMBER, DialCallStatus="busy").data)
        clock.shift(timedelta(seconds=1))
    assert len(set(documents)) == len(set(later)) == 1
    assert "Closed." not in later[0].decode(), "the call began while they were open"
    assert rung(later[0].decode()) != rung(documents[0].decode())
    assert "Closed." in carrier.dial(NUMBER, sid="CA2").text


def test_a_call_on_a_holiday_goes_the_way_for_holidays(shop: Server, carrier: CarrierClient, clock: Any) -> None:
    always = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "opens": "00:00", "closes": "24:00"}
    hours = {"type": "hours", "branches": [{"times": [always], "steps": [ring(COMPANY_LINE)]}]}
    follow(shop, hours | {"holidays": [say("A holiday.")]})
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        session.add(Holiday(project_id=project.id, day="2026-12-25", name="Christmas"))
        project.list_version += 1
    clock.move_to(datetime(2026, 12, 25, 4, 59, 59, tzinfo=UTC))  # a second before midnight in New York
    before = carrier.dial(NUMBER, sid="CA1").text
    clock.shift(timedelta(seconds=1))
    assert "A holiday." in carrier.dial(NUMBER, sid="CA2").text
    assert carrier.dial(NUMBER, sid="CA1").text == before, "it began the day before"
    assert rung(before) == [COMPANY_LINE]
    follow(shop, hours)
    assert rung(carrier.dial(NUMBER, sid="CA3").text) == [COMPANY_LINE], "without such a way it is a day like others"


def test_a_round_robin_takes_turns_by_the_calls_ids(shop: Server, carrier: CarrierClient) -> None:
    follow(shop, ring(COMPANY_LINE, SECOND_LINE, THIRD_LINE, order="round_robin"))
    first = [rung(carrier.dial(NUMBER, f"+1415555{place:04}", sid=f"CA{place}").text)[0] for place in range(30)]
    assert set(first) == {COMPANY_LINE, SECOND_LINE, THIRD_LINE}


def test_a_flow_goes_by_the_source_of_the_visit_that_the_call_is_attributed_to(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    branch = {"match": {"source": "google"}, "steps": [ring(SECOND_LINE, whisper={"text": "From {source}, {visit}."})]}
    follow(shop, {"type": "by_source", "branches": [branch], "otherwise": [ring(COMPANY_LINE)]})
    assert rung(carrier.dial(NUMBER, sid="CA0").text) == [COMPANY_LINE], "nobody was shown the number"
    shown = visit(client, "utm_source=google&utm_medium=cpc")
    clock.shift(timedelta(seconds=10))
    text = carrier.dial(NUMBER, "+14155550178").text
    assert rung(text) == [SECOND_LINE]
    (whisper,) = re.findall(rf'url="{BASE}([^"#]*)#', text)
    heard = carrier.post(unescape(whisper), CallSid="CL1", ParentCallSid="CA1", From="+14155550178", To=SECOND_LINE)
    assert f"From google, {shown['visit']}." in heard.text
    assert given(shop)[1]["found"] == [["visit", "s1", "google/cpc"]]
    (address,) = addresses(text)
    assert parse_qs(urlsplit(address).query)["source"] == ["google"]


def test_who_has_called_before_goes_to_whoever_talked_to_him(shop: Server, carrier: CarrierClient, clock: Any) -> None:
    whole_call(carrier, clock)
    applier(shop).apply_all()
    clock.shift(timedelta(hours=1))
    returning = ring(SECOND_LINE, COMPANY_LINE, returning_first=True)
    follow(shop, {"type": "by_caller", "first": [ring(THIRD_LINE)], "repeat": [returning], "otherwise": [say("Who?")]})
    assert rung(carrier.dial(NUMBER, sid="CA2").text) == [COMPANY_LINE]
    assert rung(carrier.dial(NUMBER, "+14155550178", sid="CA3").text) == [THIRD_LINE]
    assert "Who?" in carrier.dial(NUMBER, "anonymous", sid="CA4").text


@pytest.mark.one_database
def test_a_fact_that_cannot_be_looked_up_is_passed_over(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(shop, {"type": "by_caller", "first": [ring(THIRD_LINE)], "otherwise": [ring(COMPANY_LINE)]})
    routing_of(shop).refresh()

    def refuse(*_: Any) -> Any:
        raise OperationalError("", {}, Exception("gone"))

    monkeypatch.setitem(asking.FACTS, "caller", refuse)
    first = carrier.dial(NUMBER)
    assert rung(first.text) == [COMPANY_LINE]
    monkeypatch.undo()
    assert carrier.dial(NUMBER).data == first.data, "which the call goes on by"
    assert rung(carrier.dial(NUMBER, sid="CA2").text) == [COMPANY_LINE], "nobody asks for a while"


ASK = {
    "type": "ask",
    "answers": {"vip": [ring(SECOND_LINE)]},
    "otherwise": [ring(COMPANY_LINE)],
}


@pytest.fixture
def private(shop: Server) -> Server:
    """It may ask addresses of this machine."""
    shop.settings = shop.settings.model_copy(update={"allow_private": (IPv4Network("127.0.0.0/8"),)})
    return shop


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("status", "said", "line"),
    [
        (200, '{"answer": "vip"}', SECOND_LINE),
        (200, " vip\n", SECOND_LINE),
        (200, f'{{"to": "{THIRD_LINE}"}}', THIRD_LINE),
        (200, '{"to": "+19002345678"}', COMPANY_LINE),
        (200, f'{{"to": "{ANNA}"}}', COMPANY_LINE),
        (200, "[1]", COMPANY_LINE),
        (200, "", COMPANY_LINE),
        (500, "vip", COMPANY_LINE),
        (302, "vip", COMPANY_LINE),
    ],
)
def test_an_address_is_asked_once_with_a_signature(
    private: Server, carrier: CarrierClient, status: int, said: str, line: str
) -> None:
    with receiver(lambda _: (status, {}, said.encode())) as company:
        follow(private, ASK | {"url": f"{company.url}/who"})
        first = carrier.dial(NUMBER)
        assert rung(first.text) == [line]
        assert carrier.dial(NUMBER).data == first.data
        (request,) = company.requests
    secret = flow_secret(private.keys, 1)
    signed = sign(secret, request.headers["webhook-id"], int(request.headers["webhook-timestamp"]), request.body)
    assert request.headers["webhook-signature"] == signed["webhook-signature"]
    assert request.json["type"] == "call.asking"
    assert {name: request.json["data"][name] for name in ("sid", "step", "number", "caller")} == {
        "sid": "CA1",
        "step": "s1",
        "number": NUMBER,
        "caller": ANNA,
    }
    assert given(private)[0]["found"][0][:2] == ["answer", "s1"]


@pytest.mark.one_database
def test_a_slow_address_costs_one_caller_its_limit_and_the_next_ones_nothing(
    private: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.15)

    are_answered = threading.Event()

    def slowly(_: Any) -> tuple[int, dict[str, str], bytes]:
        are_answered.wait(PATIENCE_SECONDS)
        return 200, {}, b"vip"

    with receiver(slowly) as company:
        follow(private, ASK | {"url": f"{company.url}/who"})
        assert rung(carrier.dial(NUMBER).text) == [COMPANY_LINE]
        assert rung(carrier.dial(NUMBER, sid="CA2").text) == [COMPANY_LINE]
        eventually(lambda: company.requests)
        assert len(company.requests) == 1
        are_answered.set()


@pytest.mark.one_database
@pytest.mark.parametrize("is_behind_menu", [False, True])
def test_an_address_is_waited_for_once_however_often_the_carrier_asks(
    private: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch, is_behind_menu: bool
) -> None:
    menu = {"type": "menu", "prompt": {"text": "Press 1."}, "keys": {"1": []}, "no_input": [], "wrong_key": []}

    def come_to_address(sid: str) -> list[str]:
        document = carrier.dial(NUMBER, sid=sid).text
        if is_behind_menu:
            (address,) = set(addresses(document))
            document = carrier.post(address, CallSid=sid, From=ANNA, To=NUMBER, Digits="1").text
        return rung(document)

    with receiver(lambda _: (200, {}, b"vip")) as company:
        follow(private, *[menu] * is_behind_menu, ASK | {"url": f"{company.url}/who"})
        with monkeypatch.context() as patch:
            patch.setattr("router.voice.lookups.Lookups.run", Mock(side_effect=Killed))
            with pytest.raises(Killed):
                come_to_address("CA1")
        private.flow_lookups = private.first_answers = None  # another process is asked
        with monkeypatch.context() as patch:
            patch.setattr(asking, "ASK_SECONDS", 0.05)
            time.sleep(0.06)
            assert come_to_address("CA1") == [COMPANY_LINE]
        assert company.requests == []
        assert come_to_address("CA2") == [SECOND_LINE]


class Killed(BaseException):
    """The process that answers has come to its end."""


@pytest.mark.one_database
def test_a_call_that_was_answered_before_its_number_was_known_is_told_as_it_went(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    follow(shop, say("Hello."), ring(COMPANY_LINE))
    with monkeypatch.context() as patch:
        patch.setattr(routing_of(shop), "find_route", lambda call: None)
        (line,) = rung(carrier.dial(NUMBER).text)
    assert line not in (COMPANY_LINE, SECOND_LINE)
    clock.shift(timedelta(seconds=50))
    carrier.status("completed", To=NUMBER, From=ANNA, CallDuration=45)
    applier(shop).apply_all()
    (call,) = calls(shop).values()
    assert (call.project_id, call.status, call.destination, call.talk_seconds) == (1, "answered", line, 45)


@pytest.mark.one_database
def test_a_private_address_is_not_asked(shop: Server, carrier: CarrierClient) -> None:
    with receiver(lambda _: (200, {}, b"vip")) as company:
        follow(shop, ASK | {"url": f"{company.url}/who"})
        assert rung(carrier.dial(NUMBER).text) == [COMPANY_LINE]
        assert company.requests == []


@pytest.mark.one_database
def test_a_call_goes_on_by_the_version_that_it_began_with_or_by_the_newest(
    shop: Server, carrier: CarrierClient
) -> None:
    begun_with = follow(shop, ring(COMPANY_LINE, SECOND_LINE))
    (address,) = addresses(carrier.dial(NUMBER).text)
    assert f"flow={begun_with}&" in address
    follow(shop, ring(THIRD_LINE))
    routing_of(shop).snapshot = None  # as a machine that has not seen the call, nor the version
    form: dict[str, Any] = {"CallSid": "CA1", "From": ANNA, "To": NUMBER, "DialCallStatus": "busy"}
    assert rung(carrier.post(address, **form).text) == [SECOND_LINE]
    for unknown in (address.replace(f"flow={begun_with}&", "flow=999999&"), address.replace("/s1.1", "/gone.1")):
        text = carrier.post(unknown, **form).text
        assert len(rung(text)) == 1, "somebody rings"


@pytest.mark.one_database
def test_a_version_of_another_release_rings_the_projects_fallback(shop: Server, carrier: CarrierClient) -> None:
    follow(shop, {"type": "dance", "id": "s1"}, stored=False)
    assert rung(carrier.dial(NUMBER).text) == ["+14155550111"]


@pytest.mark.one_database
def test_a_call_that_would_come_back_to_the_pool_says_why_nobody_rings(shop: Server, carrier: CarrierClient) -> None:
    follow(shop, ring(NUMBER))
    text = carrier.dial(NUMBER, sid="CA2").text
    assert rung(text) == []
    assert "forwarded in a circle" in text


@pytest.mark.one_database
def test_a_call_keeps_the_version_of_its_flow_and_not_the_whole_of_it(shop: Server, carrier: CarrierClient) -> None:
    version = follow(shop, say("Hello."), ring(COMPANY_LINE))
    carrier.dial(NUMBER)
    applier(shop).apply_all()
    assert calls(shop)["CA1"].flow == {
        "version": version,
        "given": {"leads": "ring", "lines": [COMPANY_LINE], "spoken": True, "way": [["s1", ""], ["s2", ""]]},
    }


@pytest.mark.one_database
def test_the_page_of_a_call_tells_which_way_it_went(shop: Server, carrier: CarrierClient, clock: Any) -> None:
    accepting = ring(COMPANY_LINE, accept=True)
    follow(shop, {"type": "menu", "prompt": {"text": "Press 1."}, "keys": {"1": [accepting]}})
    (again,) = set(addresses(carrier.dial(NUMBER).text))
    clock.shift(timedelta(seconds=4))
    text = carrier.post(again, CallSid="CA1", From=ANNA, To=NUMBER, Digits="1", CallStatus="in-progress").text
    carrier.leg("ringing")
    clock.shift(timedelta(seconds=4))
    carrier.leg("in-progress")
    (whisper,) = re.findall(rf'url="{BASE}([^"#]*)#', text)
    form: dict[str, Any] = {"CallSid": "CL1", "ParentCallSid": "CA1", "From": ANNA, "To": COMPANY_LINE}
    assert "Press 1 to take it." in carrier.post(unescape(whisper), **form).text
    clock.shift(timedelta(seconds=4))
    assert carrier.post(unescape(whisper), **form, Digits="1").text.endswith("<Response />")
    applier(shop).apply_all()
    with shop.database.reading() as session:
        call = session.scalars(select(Call)).one()
        moments = [text for _, text, _ in Receipt(session, session.get_one(Project, call.project_id), call.id).moments]
    assert [re.sub(r"[+(][\d() -]+", "… ", re.sub("<[^>]*>", "", text)).strip() for text in moments] == [
        "The call came in to …",
        "The caller was asked to press a key",
        "The caller pressed 1",
        "… began to ring",
        "… answered",
        "… pressed 1 and was connected",
    ]


@pytest.mark.one_database
@pytest.mark.parametrize(("status", "is_told"), [("canceled", False), ("no-answer", True)])
def test_what_is_answered_after_the_caller_hung_up_is_told_of_nobody(
    shop: Server, carrier: CarrierClient, status: str, is_told: bool
) -> None:
    follow(shop, ring(COMPANY_LINE), say("We are sorry."))
    (action,) = addresses(carrier.dial(NUMBER).text)
    assert "We are sorry." in carrier.post(action, CallSid="CA1", From=ANNA, To=NUMBER, DialCallStatus=status).text
    applier(shop).apply_all()
    with shop.database.reading() as session:
        call = session.scalars(select(Call)).one()
        receipt = Receipt(session, session.get_one(Project, call.project_id), call.id)
    assert any("heard “We are sorry.”" in text for _, text, _ in receipt.moments) == is_told


@pytest.mark.one_database
@pytest.mark.parametrize("digits", ["1", "2"])
def test_a_carrier_that_does_not_say_whether_a_line_was_connected_is_believed_the_key(
    shop: Server, carrier: CarrierClient, digits: str
) -> None:
    follow(shop, ring(COMPANY_LINE, SECOND_LINE, accept=True))
    text = carrier.dial(NUMBER).text
    (action,), (whisper,) = addresses(text), re.findall(rf'url="{BASE}([^"#]*)#', text)
    leg: dict[str, Any] = {"CallSid": "CL1", "ParentCallSid": "CA1", "From": ANNA, "To": COMPANY_LINE}
    carrier.post(unescape(whisper), **leg, Digits=digits)
    ended: dict[str, Any] = {"CallSid": "CA1", "From": ANNA, "To": NUMBER, "DialCallStatus": "completed"}
    lines = [] if digits == "1" else [SECOND_LINE]
    assert rung(carrier.post(action, **ended, DialCallSid="CL1").text) == lines
    applier(shop).apply_all()
    asking.lookups_of(shop).accepted.clear()  # another process is asked
    assert rung(carrier.post(action, **ended, DialCallSid="CL1").text) == lines
    carrier.status("completed", CallDuration=9)
    applier(shop).apply_all()
    assert calls(shop)["CA1"].status == ("answered" if digits == "1" else "abandoned")
