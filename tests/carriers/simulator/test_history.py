"""R12: the history of the account's calls, as the product reads it over the simulated carrier's REST side."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from router.carriers import SIMULATED_ACCOUNT
from router.carriers.base import CarrierCall, NotForUs, TryLater
from router.carriers.simulator import CallerScript, Line, Signalling, Simulator, VirtualClock
from router.carriers.simulator.call_book import CallBook
from router.carriers.twilio import rest as module
from router.carriers.twilio.history import read_carrier_call, read_kept_recording
from router.carriers.twilio.rest import TwilioShop
from tests.carriers.rest import make_shop
from tests.carriers.rest_faults import Fault, FaultyRest, faulty_server
from tests.carriers.simulator.conftest import CALLER, NUMBER, SALES, START, TOKEN, Exchanges, dial, response

HOUR = timedelta(hours=1)


class Carrier:
    """An exchange and the REST side of its account, on one virtual clock."""

    def __init__(self, url: str, rest: FaultyRest, exchange: Exchanges, path: Path) -> None:
        self.clock = VirtualClock(START)
        rest._now = self.clock.now
        self.faults, self.url = rest.faults, url
        self.shop: TwilioShop = make_shop(url, token=TOKEN)
        self._exchange, self._path = exchange, path

    def exchange(self, **options: Any) -> Simulator:
        return self._exchange(clock=self.clock, book=CallBook(self._path), rest_url=self.url, **options)

    def wait(self, seconds: float) -> None:
        self.clock._now += timedelta(seconds=seconds)

    def calls(self) -> list[CarrierCall]:
        return list(self.shop.calls(START - HOUR, START + HOUR))


@pytest.fixture
def carrier(tmp_path: Path, exchange: Exchanges, twiml: Any) -> Iterator[Carrier]:
    recorded = {"record": "record-from-answer", "recordingStatusCallback": "/recording"}
    twiml.pages["/voice/inbound"] = response(dial(SALES, action="/next", **recorded))
    twiml.pages["/next"] = response("<Hangup/>")
    with faulty_server(tmp_path / "simulator.db", SIMULATED_ACCOUNT, TOKEN) as (server, rest):
        yield Carrier(server.url, rest, exchange, tmp_path / "simulator.db")


def test_r12_a_call_and_its_leg_with_all_that_the_carrier_knows(carrier: Carrier) -> None:
    call = carrier.exchange().call(CALLER, NUMBER, signalling=Signalling("+4930901820"))
    carrier.wait(90)
    leg, parent = carrier.calls()
    assert (parent.sid, parent.parent_sid, parent.caller, parent.to) == (call.sid, "", CALLER, NUMBER)
    assert (parent.status, parent.seconds, parent.forwarded_from) == ("completed", 60, "+4930901820")
    assert (parent.started_at, parent.ended_at) == (START, START + timedelta(seconds=65))
    assert (parent.price_micros, parent.currency) == (8500, "USD")
    assert parent.inbound is not None
    told = parent.inbound
    assert (told.sid, told.caller.e164, told.number_e164, told.forwarded_from) == (
        call.sid,
        CALLER,
        NUMBER,
        "+4930901820",
    )
    assert (leg.sid, leg.parent_sid, leg.to, leg.status) == (call.legs[0].sid, call.sid, SALES, "completed")
    assert (leg.seconds, leg.price_micros, leg.inbound) == (60, 14_000, None)


def test_r12_a_price_is_unknown_at_first(carrier: Carrier) -> None:
    carrier.exchange().call(CALLER, NUMBER)
    assert [(call.price_micros, call.currency) for call in carrier.calls()] == [(None, ""), (None, "")]


@pytest.mark.parametrize(
    ("line", "script", "states"),
    [
        (Line.is_busy(), None, ["busy", "busy"]),
        (Line.fails(), None, ["failed", "failed"]),
        (Line.rings_out(), None, ["no_answer", "no_answer"]),
        (Line.rings_out(), CallerScript(gives_up_after=9), ["canceled", "no_answer"]),
    ],
)
def test_r12_what_nobody_answered_has_an_end_too(
    carrier: Carrier, line: Line, script: CallerScript | None, states: list[str]
) -> None:
    carrier.exchange(lines={SALES: line}).call(CALLER, NUMBER, script)
    ended = carrier.clock.now().replace(microsecond=0)
    calls = carrier.calls()
    assert [call.status for call in calls] == states
    assert [call.ended_at for call in calls] == [ended, ended]
    assert [call.seconds for call in calls] == [None, None]


def test_r12_only_the_calls_of_the_time_that_is_asked_for_page_by_page(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    exchange = carrier.exchange()
    moments = []
    for _ in range(4):
        moments.append(carrier.clock.now().replace(microsecond=0))
        exchange.call(CALLER, NUMBER)
        carrier.wait(600)
    listed = carrier.shop.calls(moments[1], moments[2])
    assert {call.started_at for call in listed if not call.parent_sid} == {moments[1], moments[2]}
    carrier.faults.asked.clear()
    listed = carrier.shop.calls(START - HOUR, START + HOUR)
    first = next(listed)
    assert [kind for kind, _ in carrier.faults.asked] == ["calls"], "the next page is asked for when it is needed"
    assert len([first, *listed]) == 8
    monkeypatch.setattr(module, "MOST_CALL_PAGES", 2)
    with pytest.raises(TryLater, match="does not end"):
        list(carrier.shop.calls(START - HOUR, START + HOUR))


def test_r12_a_recording_has_the_address_that_the_callback_told(carrier: Carrier, twiml: Any) -> None:
    call = carrier.exchange().call(CALLER, NUMBER)
    other = carrier.exchange().call(CALLER, NUMBER)
    carrier.wait(90)
    (recording,) = carrier.shop.recordings(call.sid)
    told = next(values for values in twiml.values("/recording") if values["CallSid"] == call.sid)
    assert (recording.call_sid, recording.recording_sid) == (call.sid, told["RecordingSid"])
    assert (recording.url, recording.status) == (told["RecordingUrl"], "completed")
    assert recording.seconds == int(told["RecordingDuration"])
    assert [each.call_sid for each in carrier.shop.recordings(other.sid)] == [other.sid]
    assert carrier.shop.recordings("CA0") == []


@pytest.mark.parametrize("fault", [Fault.broken(done=False), Fault.html(done=True), Fault.cut(), Fault.too_many()])
def test_r12_a_history_that_does_not_come_is_asked_for_again_later(carrier: Carrier, fault: Fault) -> None:
    carrier.faults.queue("calls", fault)
    with pytest.raises(TryLater):
        carrier.calls()
    carrier.faults.queue("recordings", fault)
    with pytest.raises(TryLater):
        carrier.shop.recordings("CA1")


def test_r12_a_history_that_is_refused_is_for_the_operator(carrier: Carrier) -> None:
    with pytest.raises(NotForUs, match="TWILIO_AUTH_TOKEN"):
        list(make_shop(carrier.url, token="another").calls(START, START))


RECORD = {
    "sid": "CA1", "status": "completed", "direction": "inbound", "from": CALLER, "to": NUMBER, "duration": "7",
    "start_time": "Mon, 23 Nov 2026 12:00:00 +0000", "end_time": "Mon, 23 Nov 2026 12:00:12 +0000", "price": "-0.0085", "price_unit": "USD",
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"sid": None}, None),
        ({"sid": "no id"}, None),
        ({"status": "dreaming"}, None),
        ({"price": "free"}, {"price_micros": None, "currency": ""}),
        ({"price": "0"}, {"price_micros": 0}),
        ({"price": "-0.0000004"}, {"price_micros": 0}),
        ({"price_unit": None}, {"price_micros": None}),
        ({"duration": "-1"}, {"seconds": None}),
        ({"end_time": "soon", "date_updated": None}, {"ended_at": START}),
        ({"start_time": None, "status": "queued"}, {"started_at": None, "ended_at": None}),
        ({"status": "in-progress"}, {"status": "in_progress", "ended_at": None}),
        ({"direction": "outbound-api"}, {"inbound": None}),
        ({"direction": "inbound", "parent_call_sid": "CA0"}, {"inbound": None, "parent_sid": "CA0"}),
        ({"from": {"a": 1}}, {"caller": ""}),
    ],
)
def test_r12_any_field_may_be_missing_or_nonsense(more: dict[str, Any], names: dict[str, Any] | None) -> None:
    call = read_carrier_call(json.loads(json.dumps(RECORD | more)))
    if names is None:
        assert call is None
    else:
        assert call is not None
        assert {name: getattr(call, name) for name in names} == names


def test_r12_a_recording_without_an_address_has_the_one_of_its_resource() -> None:
    record = {
        "sid": "RE1",
        "call_sid": "CA1",
        "status": "completed",
        "uri": "/2010-04-01/Accounts/AC1/Recordings/RE1.json",
    }
    recording = read_kept_recording(record, "https://api.twilio.com")
    assert recording is not None
    assert recording.url == "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1"
    assert read_kept_recording({"sid": "RE1"}, "https://api.twilio.com") is None


@pytest.mark.parametrize(
    ("media", "told", "address"),
    [
        ("https://api.twilio.com", "https://api.twilio.com/Recordings/RE1", "https://api.twilio.com/Recordings/RE1"),
        ("http://10.0.0.9:8123", "https://api.twilio.com/Recordings/RE1", "http://10.0.0.9:8123/Recordings/RE1"),
        ("https://a.example/api/laml", "https://b.example/api/laml/R/RE1", "https://a.example/api/laml/R/RE1"),
        ("https://a.example/api/laml", "https://b.example/R/RE1", "https://a.example/api/laml/R/RE1"),
        ("https://a.example", "https://b.example", "https://a.example/uri/RE1"),
        ("https://a.example", "http://[", "https://a.example/uri/RE1"),
    ],
)
def test_r12_a_recording_lies_at_the_host_of_recordings_whichever_the_carrier_names(
    media: str, told: str, address: str
) -> None:
    record = {"sid": "RE1", "call_sid": "CA1", "status": "completed", "uri": "/uri/RE1.json", "media_url": told}
    recording = read_kept_recording(record, media)
    assert recording is not None
    assert recording.url == address
