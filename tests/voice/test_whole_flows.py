"""Calls through flows of every step, from the simulated carrier over HTTP into the real application and its applier: what is stored is what
happened, and it is told once."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from router.accounts.models import Project, raise_list_version
from router.carriers.base import Gone, NotForUs, OutcomeUnknown, TryLater
from router.carriers.simulator import AFTER_HANG_UP, CallerScript, Chance, Faults, Line, Simulator, VirtualClock
from router.carriers.simulator.call import PhoneCall
from router.carriers.simulator.stage import Courier
from router.carriers.twilio.twiml import STEERING
from router.config import Settings
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import store_flow
from router.scenarios.models import Scenario
from router.server import Server
from router.voice import machine_jobs
from router.voice.calls import call_ended
from router.voice.events import close_silent_calls, repeat_fan_out
from router.voice.models import Call, Redirect
from tests.application import Applications
from tests.carriers.twiml_checker import check_document
from tests.factories import NOON, make_project, make_scenario, make_sound
from tests.voice.flow_calls import OFFICE, PBX, SHOP, ring, say

NUMBER, OTHER_NUMBER = "+12125552001", "+12125552002"
ANNA = "+14155550177"
CONTROLLING = ("inbound", "action", "gather", "record", "redirect", "whisper", "fallback")


class Exchange:
    """A company whose flow a test chooses, and the carrier that calls it."""

    def __init__(self, server: Server, token: str, clock: VirtualClock) -> None:
        self.server, self.clock, self._token = server, clock, token
        self.ended: list[tuple[str, str]] = []
        self.carrier: Simulator | None = None
        with server.database.writing() as session:
            project = make_project(session, timezone="Europe/Berlin")
            self._scenario_id = make_scenario(session, project, [NUMBER, OTHER_NUMBER]).id
        call_ended.connect(self._hear)

    def _hear(self, sender: Server, call: Call, **_: Any) -> None:
        self.ended.append((call.sid, call.status))

    def use(self, document: dict[str, Any]) -> None:
        flow = FlowSchema.model_validate(document).document()
        with self.server.database.writing() as session:
            store_flow(session, session.get_one(Scenario, self._scenario_id), flow, self.clock.now())

    def call(
        self,
        script: CallerScript | None = None,
        lines: dict[str, Line] | None = None,
        faults: Faults | None = None,
        caller: str = ANNA,
    ) -> tuple[PhoneCall, Call]:
        """A call as it was played, and as it is stored some hours later."""
        base_url = self.server.settings.base_url
        carrier = self.carrier = Simulator(base_url, self._token, clock=self.clock, lines=lines, faults=faults)
        try:
            played = carrier.call(caller, NUMBER, script)
        finally:
            carrier.close()
        for exchange in played.exchanges:
            if exchange.kind in CONTROLLING:
                check_document(exchange.body, whisper=exchange.kind == "whisper")
        over = max(self.clock.now(), played.ended_at or NOON)
        repeat_fan_out(self.server, over + timedelta(minutes=1))
        for later in (timedelta(minutes=3), timedelta(hours=5)):
            close_silent_calls(self.server, over + later)
        with self.server.database.reading() as session:
            return played, session.scalars(select(Call).where(Call.sid == played.sid)).one()


@pytest.fixture
def exchange(settings: Settings, applications: Applications) -> Iterator[Exchange]:
    clock = VirtualClock(NOON)
    with applications.on_a_port(settings) as (_, app):
        server: Server = app.extensions["router"]
        server.now = clock.now
        yield Exchange(server, settings.twilio_auth_token, clock)


VOICEMAIL = {"type": "voicemail", "prompt": {"text": "After the tone."}}
MENU = {
    "type": "menu",
    "prompt": {"text": "Press 1."},
    "keys": {"1": [ring(OFFICE)]},
    "no_input": [VOICEMAIL],
    "wrong_key": [say("Goodbye.")],
}
REFUSED, ACCEPTED = Line.answers(digits="2"), Line.answers(digits="1")
ACCEPTING = ring(OFFICE, SHOP, PBX, accept=True, whisper={"text": "From {source}. Press 1."})
CALLS: dict[str, tuple[list[Any], CallerScript, dict[str, Line], tuple[str, str]]] = {
    "somebody answers": ([say("Hello."), ring(OFFICE)], CallerScript(), {}, ("answered", OFFICE)),
    "nobody answers after a greeting": (
        [say("Hello."), ring(OFFICE, SHOP)],
        CallerScript(),
        {"*": Line.rings_out()},
        ("missed", SHOP),
    ),
    "a whisper is accepted": ([ACCEPTING], CallerScript(), {OFFICE: REFUSED, "*": ACCEPTED}, ("answered", SHOP)),
    "a whisper is refused three times": ([ACCEPTING], CallerScript(), {"*": REFUSED}, ("missed", PBX)),
    "voicemails answer a whisper": (
        [ACCEPTING, VOICEMAIL],
        CallerScript(),
        {"*": Line.voicemail(3)},
        ("voicemail", PBX),
    ),
    "a whisper is heard": (
        [ring(OFFICE, whisper={"text": "A call."})],
        CallerScript(talks=40),
        {},
        ("answered", OFFICE),
    ),
    "somebody hangs up while it is whispered": (
        [ring(OFFICE, whisper={"text": "A call."}), ring(SHOP)],
        CallerScript(),
        {OFFICE: Line("answers", hears_out=False)},
        ("answered", SHOP),
    ),
    "a machine answers": (
        [ring(OFFICE, detect_machines=True)],
        CallerScript(),
        {"*": Line.voicemail(3)},
        ("missed", OFFICE),
    ),
    "a key is pressed": ([MENU], CallerScript(digits="1"), {}, ("answered", OFFICE)),
    "a message is left": ([MENU], CallerScript(), {}, ("voicemail", "")),
    "no message is left": ([MENU], CallerScript(message=0), {}, ("missed", "")),
    "a menu lets him go": ([MENU], CallerScript(digits="55"), {}, ("missed", "")),
    "he hangs up in the menu": ([MENU], CallerScript(gives_up_after=3), {}, ("abandoned", "")),
    "he hangs up while it rings": (
        [ring(OFFICE), VOICEMAIL],
        CallerScript(gives_up_after=9),
        {"*": Line.rings_out()},
        ("abandoned", OFFICE),
    ),
    "they are closed": ([{"type": "hang_up", "busy": True}], CallerScript(), {}, ("missed", "")),
}
WAYS = {
    "in order": Faults(),
    "late, twice and in disorder": Faults(late=3.0, twice=True, disorder=True),
    "without asking what comes after a caller hung up": Faults(after_hang_up=AFTER_HANG_UP["unasked"]),
    "in parallel, late and doubled": Faults(
        parallel=True, plan=Chance(1, doubled=0.5, late=0.5), after_hang_up=AFTER_HANG_UP["completed"]
    ),
}


@pytest.mark.one_database
@pytest.mark.parametrize("way", WAYS)
def test_what_is_stored_of_a_call_is_what_happened(exchange: Exchange, way: str) -> None:
    for kind, (steps, script, lines, (status, destination)) in CALLS.items():
        exchange.ended.clear()
        exchange.use({"steps": steps})
        played, call = exchange.call(script, lines, WAYS[way])
        assert played.errors == [], kind
        assert (call.status, call.destination) == (status, destination), kind
        assert exchange.ended == [(call.sid, status)], kind


@pytest.mark.one_database
def test_the_carrier_fetches_what_callers_and_lines_hear(exchange: Exchange) -> None:
    server = exchange.server
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        make_sound(session, project, "welcome", server.settings.data_dir)
        raise_list_version(session, project.id)
    prompt = {"sound": "welcome"}
    exchange.use(
        {
            "steps": [
                {"type": "play", "sound": "welcome"},
                {"type": "press_key", "key": "1", "prompt": prompt},
                ring(OFFICE, whisper=prompt, accept=True),
                {"type": "voicemail", "prompt": prompt},
            ]
        }
    )
    played, call = exchange.call(CallerScript(digits="1"), {"*": Line.rings_out()})
    assert (played.errors, call.status) == ([], "voicemail")
    assert [fetched.status for fetched in played.sent("sound")] == [200] * 3
    assert len({line for line in played.heard if line.startswith("♪")}) == 1
    played, call = exchange.call(CallerScript(digits="1"), {"*": Line.answers(digits="1")})
    assert (played.errors, call.status, len(played.sent("sound"))) == ([], "answered", 3)
    for path in (server.settings.data_dir / "recordings").rglob("*"):
        if path.is_file():
            path.unlink()
    played, call = exchange.call(CallerScript(digits="1"), {"*": Line.answers(digits="1")})
    assert (played.errors, call.status) == ([], "answered"), "after a moment of silence"


class Refusing:
    """A carrier that leads nobody on."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def redirect_call(self, call_sid: str, address: str) -> None:
        self.asked += 1
        raise self.error


class Leading:
    """The carrier's REST side, beside the call that it plays."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def redirect_call(self, call_sid: str, address: str) -> None:
        carrier = self._exchange.carrier
        assert carrier
        if not carrier.redirect(call_sid, address + STEERING):
            raise NotForUs("It said: 21220 Call is not in-progress.")


def with_worker(exchange: Exchange, shop: Any, patch: pytest.MonkeyPatch, seconds: float = 1.0) -> None:
    """The worker leads callers on so many seconds after the carrier has told of a machine."""
    send, server = Courier.send, exchange.server
    server.shop = shop

    def and_work(courier: Courier, kind: str, *values: Any) -> Any:
        answer = send(courier, kind, *values)
        if kind == "detection":
            server.now = lambda: exchange.clock.now() + timedelta(seconds=seconds)
            machine_jobs.lead_callers_on(server, server.now())
            server.now = exchange.clock.now
        return answer

    patch.setattr(Courier, "send", and_work)


MACHINE, PERSON = Line.voicemail(3), Line.answers(talks=40)
LISTENING = ring(OFFICE, SHOP, detect_machines=True)
LED_ON: dict[str, tuple[list[Any], dict[str, Line], tuple[str, str], list[str]]] = {
    "to the next line": ([LISTENING], {OFFICE: MACHINE, "*": PERSON}, ("answered", SHOP), [OFFICE, SHOP]),
    "to the next step": (
        [ring(OFFICE, detect_machines=True), VOICEMAIL],
        {"*": MACHINE},
        ("voicemail", OFFICE),
        [OFFICE],
    ),
    "twice": ([LISTENING, VOICEMAIL], {"*": MACHINE}, ("voicemail", SHOP), [OFFICE, SHOP]),
    "not from a person": ([LISTENING], {"*": PERSON}, ("answered", OFFICE), [OFFICE]),
    "not where nothing follows": ([ring(OFFICE, detect_machines=True)], {"*": MACHINE}, ("missed", OFFICE), [OFFICE]),
}


@pytest.mark.one_database
def test_a_caller_whom_a_machine_answers_is_led_on(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    with_worker(exchange, Leading(exchange), monkeypatch)
    for kind, (steps, lines, ended, rung) in LED_ON.items():
        exchange.ended.clear()
        exchange.use({"steps": steps})
        played, call = exchange.call(CallerScript(talks=50), lines)
        assert played.errors == [], kind
        assert (call.status, call.destination) == ended, kind
        assert [leg.to for leg in played.legs] == rung, kind
        assert exchange.ended == [(call.sid, call.status)], kind
        assert bool(played.sent("redirected")) == (len(rung) > 1 or call.status == "voicemail"), kind


@pytest.mark.one_database
def test_a_caller_who_cannot_be_led_on_stays_connected(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange.use({"steps": [LISTENING]})
    refusals = (NotForUs("no"), Gone("no"), TryLater("no"), OutcomeUnknown("no"))
    for error, seconds, asked in (*((error, 1.0, 1) for error in refusals), (NotForUs("late"), 16.0, 0)):
        shop = Refusing(error)
        with pytest.MonkeyPatch.context() as patch:
            with_worker(exchange, shop, patch, seconds)
            played, call = exchange.call(CallerScript(talks=50), {"*": MACHINE})
        assert (played.errors, shop.asked) == ([], asked)
        assert (call.status, call.destination, len(played.legs)) == ("missed", OFFICE, 1)
        with exchange.server.database.reading() as session:
            (due,) = session.scalars(select(Redirect.next_at).where(Redirect.call_sid == call.sid))
        assert (due is not None) == isinstance(error, TryLater), "what may have been done is not done again"
