"""*Play this flow* goes as a call at the simulated carrier goes, and says what happens in words."""

import re
import threading
from collections.abc import Iterator
from html import unescape
from ipaddress import IPv4Network
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from router.accounts.models import Project
from router.carriers.simulator import CallerScript, Line
from router.carriers.simulator.call import Exchange, PhoneCall
from router.lib.phones import international
from router.lib.signatures import sign
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import flow_secret, store_flow
from router.scenarios.models import Holiday, Scenario
from router.server import Server
from router.voice import asking
from router.voice.call_so_far import Surroundings, Visit
from router.voice.flow_play import HANGS_UP, NOBODY, Known, Scene, play_flow
from router.voice.interpreter import Program, prepare
from router.voice.models import Call
from tests.factories import make_blocked_caller, make_scenario
from tests.integrations.receiver import receiver
from tests.people import Cast, sign_in
from tests.scenarios.flows.random_flows import full_flows
from tests.scenarios.wizard.test_wizard import begin
from tests.voice.flow_calls import ANNA, AROUND, MONDAY, NUMBER, OFFICE, PBX, SHOP, beginning, inbound, ring, say, steps
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
    first = re.search(r"<button[^>]*>", page.text[page.text.index('<form class="play"') :])
    assert first is not None
    assert "name=" not in first[0], "Enter in a field plays, and chooses nothing"
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


@pytest.fixture
def stored(cast: Cast, server: Server) -> str:
    """The page that plays a stored scenario, which asks an address of this machine: its path."""
    server.settings = server.settings.model_copy(update={"allow_private": (IPv4Network("127.0.0.0/8"),)})
    with server.database.writing() as session:
        scenario = make_scenario(session, cast.project, [NUMBER])
    return f"/scenarios/{scenario.id}/play"


def follow(server: Server, *listed: dict[str, Any]) -> None:
    """The scenario has these steps now."""
    with server.database.writing() as session:
        scenario = session.scalars(select(Scenario)).one()
        store_flow(session, scenario, FlowSchema.model_validate({"steps": list(listed)}).document(), server.now())


BUSY = {"blocked_answer": "busy"}
BLOCKED_CALLS: list[tuple[dict[str, Any], dict[str, str], list[str]]] = [
    (BUSY, {"caller": "+49 30 5550001"}, ["+49 30 5550001 was on the list of blocked callers", "ends as busy"]),
    (BUSY, {"caller": "+49 89 123456"}, ["+4989* was on the list", "ends as busy"]),
    (BUSY, {"caller": "sip:bob@spam.example"}, ["sip:*@spam.example was on the list"]),
    (BUSY, {"special": "caller_limit"}, ["the caller held too many other calls", "ends as busy"]),
    (BUSY, {"special": "number_limit", "caller": "withheld"}, ["the number had too many other calls"]),
    (
        {"block_withheld": True, "blocked_answer": "not_in_service"},
        {"caller": "withheld"},
        ["the number was withheld", "tones of a number that is not in service"],
    ),
    (
        {"block_failed_verification": True, "blocked_answer": "sentence", "blocked_sentence": "Please <write>."},
        {"special": "failed_verification"},
        ["the number was forged", "“Please &lt;write&gt;.”", "The call ends."],
    ),
]
"""What the project has said, who calls, and what the page says of it."""


@pytest.mark.one_database
def test_r10_a_blocked_caller_is_shown_with_the_rule_that_blocks_him(
    client: FlaskClient, cast: Cast, server: Server, stored: str
) -> None:
    follow(server, say("Welcome."), ring(OFFICE))
    with server.database.writing() as session:
        for pattern in ("+49305550001", "+4989*", "sip:*@spam.example"):
            make_blocked_caller(session, cast.project, pattern)
    bob = sign_in(client, cast.bob)
    for columns, asked, shown in BLOCKED_CALLS:
        with server.database.writing() as session:
            session.execute(update(Project).where(Project.id == cast.project.id).values(columns))
        page = bob.get(stored, query_string={"at": "2026-06-01T10:00"} | asked).text
        assert [text for text in [*shown, "It is listed as blocked, and makes no lead."] if text not in page] == []
        assert not any(text in page for text in ("Welcome.", "What happens now?"))
    through = bob.get(stored, query_string={"at": "2026-06-01T10:00", "caller": "+49 30 5550002"}).text
    assert "Welcome." in through
    assert "It is listed as blocked" not in through


@pytest.mark.one_database
def test_r10_the_companys_own_telephones_are_never_blocked_and_hear_what_they_are(
    client: FlaskClient, cast: Cast, server: Server, stored: str
) -> None:
    follow(server, ring(OFFICE))
    with server.database.writing() as session:
        session.execute(update(Project).values(block_failed_verification=True))
        make_blocked_caller(session, cast.project, "+4930*")
    query = {"at": "2026-06-01T10:00", "caller": OFFICE, "special": "failed_verification"}
    page = sign_in(client, cast.bob).get(stored, query_string=query).text
    assert "one of the company’s own telephones" in page
    assert "This is a test call from one of your own telephones" in page
    assert "It is listed as blocked" not in page


ANSWERS = [
    (200, '{"answer": "vip"}', "and answered “vip” after ", "answer.vip", PBX),
    (200, f'{{"to": "{SHOP}"}}', f"and answered “{SHOP}” after ", f"answer.{SHOP}", SHOP),
    (200, "<b>", "neither an answer of this step nor a line that may be rung", "answer.<b>", OFFICE),
    (200, "+19002345678", "neither an answer of this step nor a line", "answer.+19002345678", OFFICE),
    (200, "[1]", "The answer is empty, or JSON without", "answer.", OFFICE),
    (500, "vip", "The answer has status 500; only 200 counts.", "answer.", OFFICE),
]
"""What the address says, what is shown of it, what is offered first, and which line the call then goes on to."""


@pytest.mark.one_database
def test_an_address_is_asked_now_in_a_message_that_says_it_is_a_test(
    client: FlaskClient, cast: Cast, server: Server, stored: str
) -> None:
    query = {"at": "2026-06-01T10:00", "caller": ANNA}
    answers = [(status, {}, said.encode()) for status, said, *_ in ANSWERS]
    alice = sign_in(client, cast.alice)
    with receiver(lambda _: answers.pop(0)) as company:
        url = f"{company.url}/who"
        ask = {"type": "ask", "url": url, "answers": {"vip": [ring(PBX)]}, "otherwise": [ring(OFFICE)]}
        follow(server, say("Welcome."), ask)
        assert "Ask it now" in alice.get(stored, query_string=query).text
        assert company.requests == []
        for _, _, shown, offered, line in ANSWERS:
            page = alice.post(stored, query_string=query).text
            assert f"{url} was asked now" in page
            assert shown in page
            (first,) = re.findall(r'value="([^"]*)" autofocus', page)
            assert unescape(first) == offered
            after = alice.post(stored, query_string=query | {"then": offered}).text
            assert f"{line if line == PBX else international(line)} rings" in after
            assert ("no such answer in time" in after) == (line == OFFICE)
    assert answers == [], "a call that waits for nothing asks nothing"
    assert len({request.headers["webhook-id"] for request in company.requests}) == len(ANSWERS), "none is a repetition"
    headers, data = company.requests[0].headers, company.requests[0].json["data"]
    assert (data["test"], data["caller"], data["started_at"]) == (True, ANNA, "2026-06-01T08:00:00.000Z")
    sent_at = int(headers["webhook-timestamp"])
    assert abs(sent_at - server.now().timestamp()) < 60, "receivers refuse old messages"
    secret = flow_secret(server.keys, cast.project.id)
    signed = sign(secret, headers["webhook-id"], sent_at, company.requests[0].body)
    assert headers["webhook-signature"] == signed["webhook-signature"]
    with server.database.reading() as session:
        assert session.scalars(select(Call)).all() == []


@pytest.mark.one_database
def test_an_address_that_does_not_answer_whoever_plays_is_asked_by_calls_all_the_same(
    client: FlaskClient, cast: Cast, server: Server, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.1)
    gate = threading.Event()

    def waits(_: Any) -> tuple[int, dict[str, str], bytes]:
        gate.wait(20)
        return 200, {}, b"vip"

    with receiver(waits) as company:
        follow(server, {"type": "ask", "url": company.url, "answers": {"vip": [ring(PBX)]}})
        for person, status in ((cast.bob, 403), (cast.alice, 200), (cast.alice, 200)):
            page = sign_in(client, person).post(stored, query_string={"at": "2026-06-01T10:00"})
            assert page.status_code == status
        gate.set()
        assert "was asked now, in vain after" in page.text
        assert "No answer came in time." in page.text
        assert len(company.requests) == 2
        assert asking.lookups_of(server).of_host(urlsplit(company.url).netloc).is_open
