"""*Play this flow* goes as a call at the simulated carrier goes, and says what happens in words."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.carriers.simulator import CallerScript, Line
from router.carriers.simulator.call import Exchange, PhoneCall
from router.scenarios.flow_document import FlowSchema
from router.scenarios.models import Holiday
from router.server import Server
from router.voice.call_so_far import Surroundings, Visit
from router.voice.flow_play import HANGS_UP, NOBODY, Known, Scene, play_flow
from router.voice.interpreter import Program, prepare
from tests.people import Cast, sign_in
from tests.scenarios.flows.random_flows import full_flows
from tests.scenarios.wizard.test_wizard import begin
from tests.voice.flow_calls import ANNA, AROUND, MONDAY, OFFICE, PBX, SHOP, beginning, inbound, ring, say, steps
from tests.voice.test_flows_at_the_carrier import (
    ACCEPTING,
    AT_LINES,
    FORBIDDEN,
    FOUND,
    HOURS,
    MENU,
    SCRIPTS,
    FlowServer,
    flow_server,
    played,
)

KNOWN = Known(Visit.of(10001, "google", "cpc", "spring"), "repeat")


@pytest.fixture(scope="module")
def flows() -> Iterator[FlowServer]:
    with flow_server() as server:
        yield server


def bare(to: str) -> str:
    """An address without what the carrier is told beside it."""
    return re.split("[;?]", to)[0]


def play(program: Program, *events: str, around: Surroundings = AROUND, sid: str = "CA1") -> Scene:
    return play_flow(program, around, beginning(inbound(sid=sid)), KNOWN, events)


def as_it_went(program: Program, around: Surroundings, call: PhoneCall) -> Scene:
    """The same call played, each event as the carrier told it."""
    told = [one for one in call.exchanges if one.kind in ("action", "gather", "redirect", "record")]
    events: list[str] = []
    while True:
        scene = play(program, *events, around=around, sid=call.sid)
        if not scene.choices:
            return scene
        offered = [choice.value for choice in scene.choices]
        events.append(_event(offered, told, call, scene.rung))
        assert events[-1] in offered


def _event(offered: list[str], told: list[Exchange], call: PhoneCall, rung: list[str]) -> str:
    if "answerer." in offered:
        return f"answerer.{FOUND['answerer']}" if f"answerer.{FOUND['answerer']}" in offered else "answerer."
    if "answer." in offered:
        return "answer."
    is_key = any(value.startswith("key.") for value in offered)
    while told and told[0].kind == "redirect" and not is_key:
        told.pop(0)  # to the next document, which nobody decides
    if not told:
        return HANGS_UP if call.caller_hung_up or "message" not in offered else NOBODY
    form = told.pop(0).values
    if is_key:
        keys = [value for value in offered if value.startswith("key.")]
        pressed = f"key.{form.get('Digits', '')[:1]}"
        return NOBODY if pressed == "key." else pressed if pressed in keys else keys[-1]
    if "message" in offered:
        return "message"
    if form.get("DialBridged") == "true":
        answers = [value for value in offered if value.startswith("answers.")]
        assert call.answered_leg is not None
        return answers[rung[-len(answers) :].index(bare(call.answered_leg.to))]
    return {"busy": "busy", "failed": "failed"}.get(form.get("DialCallStatus", ""), NOBODY)


@given(
    full_flows((OFFICE, SHOP, PBX, *sorted(FORBIDDEN))),
    st.fixed_dictionaries(dict.fromkeys([OFFICE, SHOP, "*"], AT_LINES)),
    SCRIPTS,
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_played_flow_agrees_with_the_simulated_carrier(
    flows: FlowServer,
    document: dict[str, Any],
    lines: dict[str, Line],
    script: CallerScript,
) -> None:
    flows.program = prepare(FlowSchema.model_validate(document))
    call = played(flows, script, lines)
    sounds = {"welcome": f"{flows.url}/voice/sound/welcome"}
    around = Surroundings(flows.url, AROUND.zone, AROUND.holidays, AROUND.own_lines, sounds)
    scene = as_it_went(flows.program, around, call)
    heard, rung = [one.removeprefix("♪ ") for one in call.heard], [bare(leg.to) for leg in call.legs]
    if call.caller_hung_up:  # in the midst of what the document says
        scene.heard, scene.rung = scene.heard[: len(heard)], scene.rung[: len(rung)]
    assert (scene.heard, scene.rung) == (heard, rung)
    assert scene.talked_to == (bare(call.answered_leg.to) if call.answered_leg else None)


def texts(scene: Scene, kind: str) -> list[str]:
    return [entry.text for entry in scene.entries if entry.kind == kind]


def labels(scene: Scene) -> list[str]:
    return [choice.label for choice in scene.choices]


def test_it_says_what_the_caller_hears_which_line_rings_and_what_the_line_hears() -> None:
    program = steps(say("Welcome."), MENU, ACCEPTING)
    asked = play(program)
    assert texts(asked, "heard") == ["“Welcome.”", "“1 or #.”"]
    assert labels(asked)[:3] == ["The caller presses 1", "The caller presses #", "The caller presses another key, 2"]
    rings = play(program, "key.1")
    assert texts(rings, "rings") == ["+49 30 123456 rings for 20 s"]
    assert labels(rings)[-1] == "The caller hangs up"
    accepted = play(program, "key.1", "nobody", "answers.0")
    assert texts(accepted, "line") == ["+49 30 123456 hears: “A call from google. Press 1.”"]
    assert (accepted.talked_to, accepted.choices) == (OFFICE, [])
    declined = play(program, "key.1", "nobody", "declines.0")
    assert declined.rung == [OFFICE, OFFICE, SHOP]
    assert play(program, "hang_up").entries[-1].text == "The caller hangs up."


def test_hours_follow_from_the_time_that_was_chosen() -> None:
    assert texts(play(steps(HOURS)), "way") == ["Opening hours: Mon 09:00–17:00"]
    greeted = play(steps(say("Welcome."), HOURS))
    assert [entry.kind for entry in greeted.entries] == ["heard", "way", "rings"]
    late = play_flow(steps(HOURS), AROUND, beginning(started_at=MONDAY.replace(hour=18)), KNOWN, ())
    assert texts(late, "way") == ["Opening hours: any other time"]
    assert late.heard == ["After the tone.", "beep"]


def test_what_the_companys_own_systems_would_say_is_chosen() -> None:
    ask = {"type": "ask", "url": "https://crm.example.com/who", "answers": {"vip": [ring(SHOP)]}}
    program = steps(ask, ring(OFFICE, PBX, returning_first=True))
    assert "https://crm.example.com/who answers “vip”" in labels(play(program))
    assert play(program, "answer.vip").rung == [SHOP]
    assert play(program, "answer.", f"answerer.{PBX}").rung == [PBX]
    assert play(program, "nothing of this").choices == play(program).choices


@pytest.mark.one_database
def test_r2_a_draft_is_played_on_a_page_and_stays_a_draft(client: FlaskClient, cast: Cast, server: Server) -> None:
    alice = sign_in(client, cast.alice)
    base = begin(alice)
    alice.post(f"{base}/numbers", data={"title": "Spring", "do": "continue"})
    hours = {
        "steps": "shown",
        "steps.0.type": "hours",
        "steps.0.branches.0.times.0.days": ["mon"],
        "steps.0.branches.0.times.0.opens": "09:00",
        "steps.0.branches.0.times.0.closes": "17:00",
        "steps.0.branches.0.steps.0.type": "ring",
        "steps.0.branches.0.steps.0.destinations.0.to": OFFICE,
        "steps.0.otherwise.0.type": "voicemail",
        "steps.0.otherwise.0.prompt.text": "Leave a <message>.",
    }
    answer = alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "play"} | hours)
    assert answer.location == f"{base}/play"
    open_now = {"at": "2026-06-01T10:00", "caller": ANNA}
    page = alice.get(f"{base}/play", query_string=open_now)
    assert "+49 30 123456 rings for 20 s" in page.text
    assert 'value="answers.0"' in page.text
    with server.database.writing() as session:
        session.add(Holiday(project_id=cast.project.id, day="2026-06-01", name="Whit Monday"))
    alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "keep", "steps.0.has_holidays": "1"} | hours)
    assert "Opening hours: holidays" in alice.get(f"{base}/play", query_string=open_now).text
    alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "keep"} | hours)
    page = alice.get(f"{base}/play", query_string=open_now | {"then": ["answers.0"]})
    assert "They talk." in page.text
    page = alice.get(f"{base}/play", query_string={"at": "2026-06-01T22:00", "caller": "withheld"})
    assert "Leave a &lt;message&gt;." in page.text
    assert "Opening hours: any other time" in page.text
    page = alice.get(f"{base}/play", query_string={"at": "soon", "caller": "nobody", "then": "nothing"})
    assert "Write it like 2026-11-30T14:30." in page.text
    assert "This is no phone number." in page.text
    alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "keep", "steps": "shown", "steps.0.type": "say"})
    assert "The flow cannot be played before this is mended" in alice.get(f"{base}/play").text
    alice.post(f"{base}/forwarding", data={"title": "Spring", "do": "keep", "steps": "shown"})
    assert "This scenario has no destination yet" in alice.get(f"{base}/play").text
    assert client.application.test_client().get(f"{base}/play").status_code in (302, 404)
