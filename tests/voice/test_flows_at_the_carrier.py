"""Whole calls through flows at the simulated carrier: what the interpreter says in Twilio's words is what the caller and the lines get."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.carriers.base import Plan
from router.carriers.simulator import CallerScript, Faults, Line, Simulator, VirtualClock
from router.carriers.simulator.call import PhoneCall
from router.carriers.twilio.twiml import render
from router.carriers.twilio.webhooks import read_dial_result, read_inbound, read_keys
from router.lib.audio import SILENCE
from router.scenarios.flow_document import FlowSchema
from router.voice.call_so_far import CallSoFar, Surroundings, Visit, Wanted, read_known, read_place
from router.voice.interpreter import Program, next_plan, prepare, whisper_plan
from tests.carriers.twiml_checker import check_document
from tests.properties import examples
from tests.scenarios.flows.random_flows import full_flows
from tests.voice.flow_calls import AROUND, MONDAY, NUMBER, OFFICE, OTHER_NUMBER, PBX, SHOP, ring, say, steps

ANNA = "+4915123460002"
FOUND: dict[str, Visit | str] = {
    "visit": Visit.of(10001, "google", "cpc", "spring"),
    "caller": "repeat",
    "answerer": SHOP,
}
VOICEMAIL = {"type": "voicemail", "prompt": {"text": "After the tone."}}
MENU = {
    "type": "menu",
    "prompt": {"text": "1 or #."},
    "keys": {"1": [ring(OFFICE)], "#": [ring(SHOP)]},
    "no_input": [say("Nothing pressed.")],
    "wrong_key": [say("Wrong key.")],
}
PRESS = {"type": "press_key", "prompt": {"text": "Press 5."}, "key": "5", "tries": 1}
ACCEPTING = ring(OFFICE, SHOP, accept=True, whisper={"text": "A call from {source}. Press 1."})
RECORDED = ring(OFFICE, recording={"announcement": {"text": "This call is recorded."}})
HOURS = {
    "type": "hours",
    "branches": [{"times": [{"days": ["mon"], "opens": "09:00", "closes": "17:00"}], "steps": [ring(OFFICE)]}],
    "otherwise": [VOICEMAIL],
}


class FlowServer(ThreadingHTTPServer):
    """Answers the simulated carrier by the interpreter alone: everything it knows stands in the request and its address."""

    program: Program

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.started_at = MONDAY

    def document(self, address: str, form: dict[str, str]) -> str | None:
        """What the carrier does next; None for what it only tells."""
        parts = urlsplit(address)
        args, path = dict(parse_qsl(parts.query, keep_blank_values=True)), parts.path.split("/")
        what, place = path[2], read_place(path[-1])
        if what not in ("inbound", "dial", "gather", "whisper"):
            return None
        so_far = CallSoFar(
            read_inbound(form),
            NUMBER,
            datetime.fromtimestamp(int(args["start"]) / 1000, UTC) if place else self.started_at,
            7,
            place,
            read_known(args, place),
            result=read_dial_result(form) if what == "dial" else None,
            digits=read_keys(form),
            showed_caller=args.get("caller_id") == "caller",
        )
        find: Callable[[Program, Surroundings, CallSoFar], Plan | Wanted]
        find = whisper_plan if what == "whisper" else next_plan
        sounds = {"welcome": f"{self.url}/voice/sound/welcome"}
        around = Surroundings(self.url, AROUND.zone, AROUND.holidays, AROUND.own_lines, sounds)
        plan = find(self.program, around, so_far)
        while isinstance(plan, Wanted):
            known = so_far.known.with_outcome(plan, FOUND.get(plan.what))
            so_far = CallSoFar(**{name: getattr(so_far, name) for name in CallSoFar.__slots__} | {"known": known})
            plan = find(self.program, around, so_far)
        document = render(plan)
        check_document(document, whisper=what == "whisper")
        return document


class Handler(BaseHTTPRequestHandler):
    server: FlowServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        document = self.server.document(self.path, dict(parse_qsl(body, keep_blank_values=True)))
        self.send_response(204 if document is None else 200)
        if document is not None:
            self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len((document or "").encode())))
        self.end_headers()
        self.wfile.write((document or "").encode())

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "audio/wav")
        self.send_header("Content-Length", str(len(SILENCE)))
        self.end_headers()
        self.wfile.write(SILENCE)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def flow_server() -> Iterator[FlowServer]:
    server = FlowServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[FlowServer]:
    with flow_server() as server:
        yield server


def called(
    server: FlowServer,
    *listed: dict[str, Any],
    script: CallerScript | None = None,
    lines: dict[str, Line] | None = None,
    caller: str = ANNA,
    faults: Faults | None = None,
) -> PhoneCall:
    """A call through these steps, played to its end without a mistake that the carrier would report."""
    server.program = steps(*listed)
    return played(server, script, lines, caller, faults)


def played(
    server: FlowServer,
    script: CallerScript | None,
    lines: dict[str, Line] | None,
    caller: str = ANNA,
    faults: Faults | None = None,
) -> PhoneCall:
    simulator = Simulator(server.url, "token", clock=VirtualClock(MONDAY), lines=lines, faults=faults)
    try:
        call = simulator.call(caller, NUMBER, script)
    finally:
        simulator.close()
    assert call.errors == []
    return call


def talked(call: PhoneCall) -> str | None:
    leg = call.answered_leg
    return leg.to if leg else None


def keys(digits: str) -> CallerScript:
    return CallerScript(digits=digits)


BUSY, ANSWERS, MACHINE = Line.is_busy(), Line.answers(), Line.voicemail(after=5)
NOBODY: dict[str, Line] = {"*": Line.rings_out()}


@pytest.mark.parametrize(
    ("listed", "script", "lines", "line", "heard"),
    [
        ([ring(OFFICE, SHOP)], None, {OFFICE: BUSY, SHOP: ANSWERS}, SHOP, []),
        ([ring(OFFICE, SHOP, order="at_once")], None, {OFFICE: Line.answers(9), SHOP: Line.answers(3)}, SHOP, []),
        ([ring(OFFICE, SHOP, returning_first=True)], None, {"*": ANSWERS}, SHOP, []),
        ([ring(OFFICE), VOICEMAIL], None, NOBODY, None, ["After the tone.", "beep"]),
        ([ring(OFFICE), say("Nobody is here.")], None, NOBODY, None, ["Nobody is here."]),
        ([say("Hello."), ring(PBX)], None, {PBX: ANSWERS}, PBX, ["Hello."]),
        ([MENU], keys("1"), {"*": ANSWERS}, OFFICE, ["1 or #."]),
        ([MENU], keys("#"), {"*": ANSWERS}, SHOP, ["1 or #."]),
        ([MENU, say("Goodbye.")], keys(""), {}, None, ["1 or #."] * 2 + ["Nothing pressed.", "Goodbye."]),
        ([MENU], keys("99"), {}, None, ["1 or #.", "1 or #.", "Wrong key."]),
        ([MENU], keys("91"), {"*": ANSWERS}, OFFICE, ["1 or #.", "1 or #."]),
        ([PRESS, ring(OFFICE)], keys("5"), {"*": ANSWERS}, OFFICE, ["Press 5."]),
        ([PRESS, ring(OFFICE)], keys(""), {"*": ANSWERS}, None, ["Press 5."]),
        ([ACCEPTING], None, {OFFICE: Line.answers(digits="1")}, OFFICE, []),
        ([ACCEPTING], None, {OFFICE: Line.answers(digits="2"), SHOP: Line.answers(digits="1")}, SHOP, []),
        ([ACCEPTING, VOICEMAIL], None, {OFFICE: MACHINE, SHOP: MACHINE}, None, ["After the tone.", "beep"]),
        ([RECORDED], None, {OFFICE: ANSWERS}, OFFICE, ["This call is recorded."]),
        ([HOURS], None, {OFFICE: ANSWERS}, OFFICE, []),
        ([{"type": "by_caller", "repeat": [ring(SHOP)]}], None, {"*": ANSWERS}, SHOP, []),
        (
            [{"type": "by_source", "branches": [{"match": {"source": "google"}, "steps": [ring(SHOP)]}]}],
            None,
            {"*": ANSWERS},
            SHOP,
            [],
        ),
        (
            [say(f"{number} " + "&" * 990) for number in range(7)],
            None,
            {},
            None,
            [f"{n} " + "&" * 990 for n in range(7)],
        ),
    ],
)
def test_a_call_goes_its_way_through_a_flow(
    server: FlowServer,
    listed: list[dict[str, Any]],
    script: CallerScript | None,
    lines: dict[str, Line],
    line: str | None,
    heard: list[str],
) -> None:
    call = called(server, *listed, script=script, lines=lines)
    assert (talked(call), call.heard) == (line, heard)
    again = called(server, *listed, script=script, lines=lines, faults=Faults(twice=True))
    assert (talked(again), again.heard) == (line, heard)


def test_after_closing_time_a_message_is_taken(server: FlowServer) -> None:
    server.started_at = datetime(2026, 6, 1, 15, 0, tzinfo=UTC)
    call = called(server, HOURS, lines={OFFICE: ANSWERS})
    assert (talked(call), call.heard) == (None, ["After the tone.", "beep"])
    assert [recording.source for recording in call.recordings] == ["RecordVerb"]


def test_who_says_nothing_to_the_voicemail_leaves_no_message(server: FlowServer) -> None:
    call = called(server, VOICEMAIL, script=CallerScript(message=0))
    assert (call.recordings, call.heard) == ([], ["After the tone.", "beep"])


def test_a_rejected_call_was_never_answered(server: FlowServer) -> None:
    call = called(server, {"type": "hang_up", "busy": True})
    assert (call.status, call.answered_at, call.heard) == ("busy", None, [])


def test_a_call_that_only_rings_is_answered_by_nobody_but_the_line(server: FlowServer) -> None:
    assert called(server, ring(OFFICE, SHOP), lines=NOBODY).answered_at is None
    assert called(server, say("Hello."), ring(OFFICE), lines=NOBODY).answered_at is not None


def test_a_recording_has_each_side_in_a_channel_of_its_own(server: FlowServer) -> None:
    call = called(server, RECORDED, lines={OFFICE: ANSWERS})
    assert [(recording.source, recording.channels) for recording in call.recordings] == [("DialVerb", 2)]


def test_the_carrier_hears_of_each_leg_with_its_step(server: FlowServer) -> None:
    call = called(server, ring(OFFICE), ring(SHOP), lines=NOBODY)
    told = {exchange.url.partition("?")[2].partition("#")[0] for exchange in call.sent("leg")}
    assert told == {"flow=7&step=s1.0", "flow=7&step=s2.0"}


AT_LINES = st.sampled_from(
    [BUSY, ANSWERS, MACHINE, Line.rings_out(), Line.fails(), Line.answers(digits="1"), Line.answers(digits="2")]
)
SCRIPTS = st.builds(
    CallerScript,
    gives_up_after=st.none() | st.integers(1, 60),
    digits=st.text("0123456789*#", max_size=4),
    message=st.sampled_from([0, 10]),
    after_message=st.sampled_from(["hangup", "#", ""]),
)
FORBIDDEN = {ANNA, NUMBER, OTHER_NUMBER}


@given(
    full_flows((OFFICE, SHOP, PBX, *sorted(FORBIDDEN))),
    st.fixed_dictionaries(dict.fromkeys([OFFICE, SHOP, "*"], AT_LINES)),
    SCRIPTS,
    st.sampled_from([Faults(), Faults(twice=True), Faults(parallel=True)]),
)
@settings(
    max_examples=examples(160),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_random_flow_is_played_to_its_end_without_a_mistake(
    server: FlowServer, document: dict[str, Any], lines: dict[str, Line], script: CallerScript, faults: Faults
) -> None:
    server.program = prepare(FlowSchema.model_validate(document))
    call = played(server, script, lines, faults=faults)
    assert call.ended_at is not None
    assert call.sent("fallback") == []
    assert FORBIDDEN.isdisjoint(leg.to for leg in call.legs)
