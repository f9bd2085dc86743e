"""Calls and recordings in the simulated carrier's REST side, read by Twilio's own library, and the recordings' files."""

import io
import wave
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]  # twilio ships no types

from router.carriers import SIMULATED_ACCOUNT
from router.carriers.base import Gone, NotForUs
from router.carriers.simulator import CallerScript, Faults, Line, Signalling, Simulator, VirtualClock
from router.carriers.simulator.account import Account
from router.carriers.simulator.call_book import BadFilter, CallBook, moments
from router.carriers.simulator.rest import Rest, RestServer
from router.lib.http_client import trusted_authorities
from tests.carriers.rest import make_shop, twilio_client
from tests.carriers.simulator.conftest import (
    CALLER,
    NUMBER,
    OFFICE,
    SALES,
    START,
    TOKEN,
    Exchanges,
    TwimlServer,
    dial,
    number,
    response,
)

INBOUND = "/voice/inbound"
HANGUP = response("<Hangup/>")


class Carrier:
    """An exchange whose calls are in a book that its REST side shows, both on one virtual clock."""

    def __init__(self, path: Path, exchange: Exchanges) -> None:
        self.clock = VirtualClock(START)
        self.account = Account(path)
        self.simulator: Simulator | None = None
        rest = Rest(self.account, SIMULATED_ACCOUNT, TOKEN, self.clock.now, redirect=self._redirect)
        self.server = RestServer(rest)
        self.server.start()
        self._exchange = exchange
        self.twilio = twilio_client(self.server.url, SIMULATED_ACCOUNT, TOKEN)

    def exchange(self, **options: Any) -> Simulator:
        book = CallBook(self.account.path)
        self.simulator = self._exchange(clock=self.clock, book=book, rest_url=self.server.url, **options)
        return self.simulator

    def _redirect(self, sid: str, url: str) -> bool:
        return self.simulator is not None and self.simulator.redirect(sid, url)

    def wait(self, seconds: float) -> None:
        self.clock._now += timedelta(seconds=seconds)

    def get(self, path: str, **options: Any) -> httpx.Response:
        options = {"auth": (SIMULATED_ACCOUNT, TOKEN)} | options
        url = path if path.startswith("http") else f"{self.server.url}/2010-04-01/Accounts/{SIMULATED_ACCOUNT}/{path}"
        return httpx.get(url, trust_env=False, verify=trusted_authorities(), **options)


@pytest.fixture
def carrier(tmp_path: Path, exchange: Exchanges) -> Iterator[Carrier]:
    running = Carrier(tmp_path / "simulator.db", exchange)
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture(autouse=True)
def forwarding(twiml: TwimlServer) -> None:
    recorded = {"record": "record-from-answer-dual", "recordingStatusCallback": "/recording"}
    twiml.pages[INBOUND] = response(dial(SALES, action="/next", **recorded))
    twiml.pages["/next"] = HANGUP


def sound(content: bytes) -> tuple[float, int]:
    """Seconds and channels."""
    with wave.open(io.BytesIO(content)) as file:
        return file.getnframes() / file.getframerate(), file.getnchannels()


def test_a_call_and_its_leg_are_listed_with_twilios_fields(carrier: Carrier) -> None:
    bought = carrier.account.buy(NUMBER, {})
    said = Signalling("+4930901820", "TN-Validation-Passed-A")
    call = carrier.exchange().call(CALLER, NUMBER, signalling=said)
    leg, parent = carrier.twilio.calls.list(limit=9)
    assert (parent.sid, parent.parent_call_sid, parent.direction) == (call.sid, None, "inbound")
    assert (parent._from, parent.to, parent.from_formatted) == (CALLER, NUMBER, "(415) 555-2671")
    assert (parent.forwarded_from, parent.stir_verstat) == ("+4930901820", "TN-Validation-Passed-A")
    assert (parent.status, parent.duration, parent.phone_number_sid) == ("completed", "60", bought["sid"])
    assert (parent.start_time, parent.end_time) == (START, START + timedelta(seconds=65))
    assert (leg.sid, leg.parent_call_sid, leg.direction) == (call.legs[0].sid, call.sid, "outbound-dial")
    assert (leg._from, leg.to, leg.status, leg.duration) == (CALLER, SALES, "completed", "60")
    assert carrier.get("Calls.json").json()["calls"][1]["start_time"] == "Mon, 23 Nov 2026 12:00:00 +0000"


def test_a_price_is_null_at_first_and_a_negative_amount_later(carrier: Carrier) -> None:
    call = carrier.exchange(lines={SALES: Line.answers(talks=61)}).call(CALLER, NUMBER)
    assert [one.price for one in carrier.twilio.calls.list(limit=9)] == [None, None]
    carrier.wait(90)
    assert [(one.price, one.price_unit) for one in carrier.twilio.calls.list(limit=9)] == [
        ("-0.02800", "USD"),
        ("-0.01700", "USD"),
    ]
    assert carrier.twilio.recordings.list(call_sid=call.sid, limit=9)[0].price == "-0.00500"


def test_what_did_not_succeed_has_no_duration_no_end_and_no_price(carrier: Carrier) -> None:
    carrier.exchange(lines={SALES: Line.is_busy()}).call(CALLER, NUMBER)
    carrier.wait(900)
    for one in carrier.twilio.calls.list(limit=9):
        assert (one.status, one.duration, one.end_time, one.price) == ("busy", None, None, None)


def test_a_running_call_is_listed_too(carrier: Carrier, twiml: TwimlServer) -> None:
    seen: list[list[tuple[str, Any, Any]]] = []

    def look(values: dict[str, str]) -> str:
        seen.append([(one.status, one.duration, one.end_time) for one in carrier.twilio.calls.list(limit=9)])
        return HANGUP

    say = response("<Say>Hello</Say><Redirect>/look</Redirect>")
    twiml.pages |= {INBOUND: say, "/look": look}
    carrier.exchange().call(CALLER, NUMBER)
    assert seen == [[("in-progress", None, None)]]


def test_calls_are_found_by_number_state_and_parent(carrier: Carrier) -> None:
    exchange = carrier.exchange(lines={SALES: Line.is_busy()})
    first = exchange.call(CALLER, NUMBER)
    exchange.lines[SALES] = Line.answers()
    second = exchange.call("+4930901820", OFFICE)

    def found(**filters: str) -> set[str]:
        return {one.sid for one in carrier.twilio.calls.list(limit=99, **filters)}

    assert found(to=NUMBER) == {first.sid}
    assert found(from_="+4930901820") == {second.sid, second.legs[0].sid}
    assert found(from_="+4930901820", to=OFFICE) == {second.sid}
    assert found(to=SALES) == {first.legs[0].sid, second.legs[0].sid}
    assert found(to=SALES, status="busy") == {first.legs[0].sid}
    assert found(parent_call_sid=second.sid) == {second.legs[0].sid}
    assert found(status="failed") == set()


def test_a_destination_that_cannot_be_rung_is_a_failed_call(carrier: Carrier, twiml: TwimlServer) -> None:
    twiml.pages[INBOUND] = response(dial("+1415555"))
    call = carrier.exchange().call(CALLER, NUMBER)
    leg, _ = carrier.twilio.calls.list(limit=9)
    assert (leg.sid, leg.status, leg.start_time) == (call.legs[0].sid, "failed", START)


def test_calls_are_found_by_their_times(carrier: Carrier) -> None:
    exchange = carrier.exchange()
    calls = []
    for _ in range(3):
        calls.append(exchange.call(CALLER, NUMBER).sid)
        carrier.wait(3600)

    def found(**filters: datetime) -> list[str]:
        return [one.sid for one in carrier.twilio.calls.list(to=NUMBER, limit=99, **filters)]

    later = START + timedelta(minutes=30)
    assert found(start_time_after=later) == calls[:0:-1]
    assert found(start_time_before=later) == calls[:1]
    assert found(start_time_after=later, end_time_before=later + timedelta(hours=1)) == calls[1:2]
    assert found(start_time=START) == calls[:1]
    for day, count in (("2026-11-23", 3), ("2026-11-22", 0)):
        assert len(carrier.get("Calls.json", params={"StartTime": day, "To": NUMBER}).json()["calls"]) == count


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (0, 2**62)),
        ({"T": "2026-11-23"}, ("2026-11-23T00:00:00", "2026-11-23T23:59:59")),
        ({"T>": "2026-11-23"}, ("2026-11-23T00:00:00", None)),
        ({"T<": "2026-11-23"}, (None, "2026-11-23T00:00:00")),
        ({"T>": "2026-11-23T08:30:00Z", "T<": "2026-11-24"}, ("2026-11-23T08:30:00", "2026-11-24T00:00:00")),
    ],
)
def test_a_day_or_a_second_bounds_a_list(asked: dict[str, str], expected: tuple[Any, Any]) -> None:
    def second(text: Any, otherwise: int) -> int:
        if isinstance(text, int):
            return text
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) if text else otherwise

    assert moments(asked, "T") == (second(expected[0], 0), second(expected[1], 2**62))


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-23T08:30:00", "23.11.2026", "2026-11-23 08:30"])
def test_another_spelling_of_a_time_is_refused(carrier: Carrier, text: str) -> None:
    with pytest.raises(BadFilter):
        moments({"T<": text}, "T")
    answer = carrier.get("Calls.json", params={"StartTime>": text})
    assert (answer.status_code, answer.json()["code"]) == (400, 20001)


def test_pages_follow_one_another_also_while_calls_come_in(carrier: Carrier) -> None:
    exchange = carrier.exchange(lines={SALES: Line.is_busy()})
    calls = [exchange.call(CALLER, NUMBER).sid for _ in range(5)]
    address, seen, pages = f"Calls.json?PageSize=2&To={NUMBER.replace('+', '%2B')}", [], 0
    while address:
        page = carrier.get(address).json()
        seen += [one["sid"] for one in page["calls"]]
        pages += 1
        exchange.call(CALLER, NUMBER)
        address = (page["next_page_uri"] or "").removeprefix(f"/2010-04-01/Accounts/{SIMULATED_ACCOUNT}/")
        assert not address or f"PageToken=PA{seen[-1]}" in address
    assert (seen, pages) == (calls[::-1], 3)
    assert len(carrier.twilio.calls.list(page_size=2, limit=99)) == 16


def test_a_page_is_asked_for_by_its_token(carrier: Carrier) -> None:
    assert carrier.get("Calls.json?Page=1").status_code == 400


def test_a_call_that_is_none_is_not_found(carrier: Carrier) -> None:
    for fetch in (carrier.twilio.calls("CA1").fetch, carrier.twilio.recordings("RE1").fetch):
        with pytest.raises(TwilioRestException) as raised:
            fetch()
        assert (raised.value.status, raised.value.code) == (404, 20404)


def test_a_recording_is_listed_and_its_file_has_its_length(carrier: Carrier, twiml: TwimlServer) -> None:
    call = carrier.exchange().call(CALLER, NUMBER)
    (told,) = twiml.values("/recording")
    for listed in (
        carrier.twilio.recordings.list(limit=9),
        carrier.twilio.recordings.list(call_sid=call.sid, date_created_after=START, limit=9),
        carrier.twilio.calls(call.sid).recordings.list(limit=9),
    ):
        (recording,) = listed
        assert (recording.sid, recording.call_sid) == (told["RecordingSid"], call.sid)
        assert (recording.status, recording.duration, recording.channels) == ("completed", "60", 2)
        assert (recording.source, recording.start_time) == ("DialVerb", START + timedelta(seconds=5))
    assert carrier.twilio.recordings.list(call_sid="CA1", limit=9) == []
    assert carrier.twilio.recordings(told["RecordingSid"]).fetch().media_url == told["RecordingUrl"]
    for address, expected in (
        (told["RecordingUrl"], (60, 1)),
        (told["RecordingUrl"] + ".wav", (60, 1)),
        (told["RecordingUrl"] + "?RequestedChannels=2", (60, 2)),
    ):
        answer = carrier.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/x-wav")
        assert sound(answer.content) == expected


@pytest.mark.parametrize("auth", [None, (SIMULATED_ACCOUNT, "another-token"), ("AC1", TOKEN)])
def test_a_recording_is_for_the_account_alone(carrier: Carrier, twiml: TwimlServer, auth: Any) -> None:
    carrier.exchange().call(CALLER, NUMBER)
    answer = carrier.get(twiml.values("/recording")[0]["RecordingUrl"], auth=auth)
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)


def test_a_recording_may_not_be_there_yet_when_the_action_names_it(carrier: Carrier, twiml: TwimlServer) -> None:
    seen: list[tuple[str, int, str, str]] = []

    def look(way: str, values: dict[str, str]) -> str:
        (recording,) = carrier.twilio.recordings.list(limit=9)
        status = carrier.get(values["RecordingUrl"]).status_code
        seen.append((way, status, recording.status, recording.duration))
        return HANGUP

    twiml.pages |= {
        "/next": lambda values: look("action", values),
        "/recording": lambda values: look("callback", values),
    }
    carrier.exchange(faults=Faults(recording_takes=20)).call(CALLER, NUMBER)
    assert seen == [("action", 404, "processing", "-1"), ("callback", 200, "completed", "60")]


def test_a_voicemail_is_recorded_as_long_as_it_was_spoken(carrier: Carrier, twiml: TwimlServer) -> None:
    twiml.pages[INBOUND] = response('<Record recordingStatusCallback="/recording" action="/next"/>')
    carrier.exchange().call(CALLER, NUMBER, CallerScript(message=12, gives_up_after=7))
    (told,) = twiml.values("/recording")
    assert (told["RecordingDuration"], told["RecordingSource"], told["RecordingChannels"]) == ("7", "RecordVerb", "1")
    assert sound(carrier.get(told["RecordingUrl"]).content) == (7, 1)
    assert carrier.get(told["RecordingUrl"] + "?RequestedChannels=2").status_code == 400


def test_a_call_in_progress_goes_on_where_its_owner_says(carrier: Carrier, twiml: TwimlServer) -> None:
    shop = make_shop(carrier.server.url)
    refused: list[str] = []

    def redirect(values: dict[str, str]) -> str:
        try:
            shop.redirect_call(values["ParentCallSid"], f"{twiml.url}/elsewhere?on=1")
        except NotForUs as error:
            refused.append(str(error))
        return ""

    told = {"statusCallback": "/leg", "statusCallbackEvent": "ringing answered"}
    leg = number(SALES, machineDetection="Enable", amdStatusCallback="/machine", **told)
    twiml.pages |= {INBOUND: response(dial(leg, action="/action")), "/elsewhere": response("<Say>On</Say>")}
    twiml.pages |= {"/leg": redirect, "/machine": lambda values: redirect({"ParentCallSid": call_sid(carrier)})}
    call = carrier.exchange(lines={SALES: Line.voicemail(3)}).call(CALLER, NUMBER)
    assert call.errors == []
    assert len(refused) == 2, "nobody is connected while it rings, and when the line has just answered"
    assert all("21220" in sentence for sentence in refused)
    assert (call.heard, [leg.status for leg in call.legs]) == (["On"], ["completed"])
    assert "/action" not in twiml.paths()
    assert twiml.paths()[-1] == "/voice/status"
    with pytest.raises(NotForUs, match="21220"):
        shop.redirect_call(call.sid, f"{twiml.url}/elsewhere")
    with pytest.raises(Gone):
        shop.redirect_call("CA0", f"{twiml.url}/elsewhere")


def call_sid(carrier: Carrier) -> str:
    assert carrier.simulator
    return carrier.simulator.latest()[0].sid


def test_a_recording_can_be_deleted(carrier: Carrier, twiml: TwimlServer) -> None:
    carrier.exchange().call(CALLER, NUMBER)
    (recording,) = carrier.twilio.recordings.list(limit=9)
    assert recording.delete() is True
    assert carrier.get(twiml.values("/recording")[0]["RecordingUrl"]).status_code == 404
    with pytest.raises(TwilioRestException):
        recording.delete()


def test_the_events_of_a_recording_are_told_that_were_asked_for(carrier: Carrier, twiml: TwimlServer) -> None:
    recorded = {
        "record": "record-from-ringing",
        "recordingStatusCallback": "/recording",
        "recordingStatusCallbackEvent": "in-progress completed",
    }
    twiml.pages[INBOUND] = response(dial(SALES, **recorded))
    carrier.exchange().call(CALLER, NUMBER)
    began, ended = twiml.values("/recording")
    assert (began["RecordingStatus"], ended["RecordingStatus"]) == ("in-progress", "completed")
    assert "RecordingDuration" not in began
    assert (ended["RecordingDuration"], ended["RecordingStartTime"]) == ("65", "Mon, 23 Nov 2026 12:00:00 +0000")
