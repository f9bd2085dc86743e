"""R12: calls through random flows of every step, whose requests meet two machines by chance: late, doubled, parallel, disordered and lost.
In whichever order the two journals are applied, what is stored is what the carrier did, and the end is told once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from router.carriers.simulator import AFTER_HANG_UP, CallerScript, Chance, Faults, Line
from router.carriers.simulator.call import Exchange, PhoneCall
from router.carriers.simulator.twiml import Element, read_document
from router.config import Settings
from router.voice import asking
from router.voice.models import Call, CallLeg, Status
from tests.application import Applications
from tests.carriers.twiml_checker import check_document
from tests.properties import examples
from tests.scenarios.flows.random_flows import full_flows
from tests.voice.flow_calls import OFFICE, PBX, SHOP, ring
from tests.voice.test_whole_flows import ACCEPTED, ACCEPTING, CONTROLLING, REFUSED, VOICEMAIL, WAYS
from tests.voice.two_machines import ANNA, NUMBER, OTHER_NUMBER, Chances, SlowLookups, TwoMachines, two_machines

GONE = ("completed", "no-answer", "busy", "failed", "canceled")
"""The carrier's words for an inbound call that is over."""
RESULTS = {"busy": Status.BUSY, "failed": Status.FAILED}


@pytest.fixture
def machines(
    settings: Settings, applications: Applications, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TwoMachines]:
    monkeypatch.setattr(asking, "Lookups", SlowLookups)
    with two_machines(settings, applications, tmp_path) as machines:
        monkeypatch.setattr(
            SlowLookups, "draws", lambda _: machines.balancer.draws(machines.balancer.chances.unanswered)
        )
        yield machines


def steered(played: PhoneCall) -> list[Exchange]:
    """The requests whose documents the carrier played: without repetitions, and without those after the caller has gone."""
    found: list[Exchange] = []
    for exchange in played.exchanges:
        if exchange.kind not in CONTROLLING or exchange.kind == "whisper" or exchange.error:
            continue
        in_vain = exchange.kind in ("action", "record") and exchange.values["CallStatus"] in GONE
        if not in_vain and not (found and (found[-1].url, found[-1].values) == (exchange.url, exchange.values)):
            found.append(exchange)
    return found


def nouns_of(documents: list[tuple[Element, ...]], leg_to: str) -> list[Element]:
    dials = [verb for verbs in documents for verb in verbs if verb.name == "Dial"]
    return [noun for dial in dials for noun in dial.children if noun.text == leg_to]


Story = tuple[str, str | None, int | None]
"""A call's status, who talked to the caller, and for how many seconds."""


def stories(played: PhoneCall, faults: Faults) -> set[Story]:
    """What may be said of a call that the carrier played so: one story, unless the carrier itself has told nobody what happened."""
    documents = [read_document(exchange.body.encode()) for exchange in steered(played)]
    leg = played.answered_leg
    untold = played.caller_hung_up and not faults.after_hang_up.asks_action
    if leg is not None:
        talked: Story = (str(Status.ANSWERED), bare(leg.to), leg.seconds)
        nouns = nouns_of(documents, leg.to)
        heard = [exchange.values["AnsweredBy"] for exchange in played.sent("detection")]
        nobody: set[Story] = {(str(status), None, 0) for status in (Status.MISSED, Status.ABANDONED)}
        if any(word.startswith("machine") for word in heard):
            return nobody
        if untold and any("url" in noun.attributes or "machineDetection" in noun.attributes for noun in nouns):
            return {talked} | nobody
        return {talked}
    if any(recording.source == "RecordVerb" and recording.seconds for recording in played.recordings):
        return {(str(Status.VOICEMAIL), None, 0)}
    last = {verb.name for verb in documents[-1]}
    leads_on = "Record" not in last and bool(last & {"Dial", "Gather", "Redirect"})
    if played.caller_hung_up and leads_on:
        return {(str(Status.ABANDONED), None, 0)}
    results = {
        RESULTS.get(exchange.values["DialCallStatus"], Status.MISSED)
        for exchange in played.sent("action")
        if exchange in steered(played)
    } or {Status.MISSED}
    worst = next(status for status in (Status.MISSED, Status.BUSY, Status.FAILED) if status in results)
    return {(str(worst), None, 0)}


def story(call: Call) -> Story:
    return call.status, bare(call.destination) if call.status == Status.ANSWERED else None, call.talk_seconds


def bare(destination: str) -> str:
    """A destination without what a SIP address says beside where it is."""
    return re.split("[;?]", destination)[0]


AT_LINES = st.sampled_from(
    [
        *(Line.is_busy(), Line.answers(), Line.voicemail(5), Line.rings_out(), Line.fails(), ACCEPTED, REFUSED),
        *(Line("answers", hears_out=False), Line.answers(2, 3)),
    ]
)
SCRIPTS = st.builds(
    CallerScript,
    gives_up_after=st.none() | st.integers(1, 60),
    talks=st.none() | st.integers(1, 40),
    digits=st.text("0123456789*#", max_size=4),
    message=st.sampled_from([0, 10]),
    after_message=st.sampled_from(["hangup", "#", ""]),
)
CARRIERS = st.builds(
    Faults,
    twice=st.booleans(),
    disorder=st.booleans(),
    parallel=st.booleans(),
    plan=st.builds(
        Chance, st.integers(0, 99), lost=st.sampled_from([0, 0, 0.3]), doubled=st.just(0.3), late=st.just(0.3)
    ),
    after_hang_up=st.sampled_from([*AFTER_HANG_UP.values()]),
)
ANSWERS = st.sampled_from([None, "vip", "late", "nobody", SHOP, ANNA, NUMBER, "+19002345678"])
CHANCES = st.builds(
    Chances,
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.5, 0.5]),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from([0.0, 0.5, 1.0]),
)


@given(
    full_flows((OFFICE, SHOP, PBX, ANNA, NUMBER, OTHER_NUMBER)),
    st.fixed_dictionaries(dict.fromkeys([OFFICE, SHOP, "*"], AT_LINES)),
    SCRIPTS,
    CARRIERS,
    ANSWERS,
    CHANCES,
)
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_r12_the_story_is_what_happened_in_each_order_of_two_journals(
    machines: TwoMachines,
    document: dict[str, Any],
    lines: dict[str, Line],
    script: CallerScript,
    faults: Faults,
    answer: str | None,
    chances: Chances,
) -> None:
    machines.forget()
    machines.use(document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_asked", lambda *_: answer)
        played = machines.call(script, lines, faults, chances)
    assert played.sent("fallback") == []
    assert {ANNA, NUMBER, OTHER_NUMBER}.isdisjoint(leg.to for leg in played.legs)
    for exchange in played.exchanges:
        if exchange.kind in CONTROLLING and not exchange.error:  # on a busy machine a try may end without an answer
            check_document(exchange.body, whisper=exchange.kind == "whisper")
    check_stories(machines, played, stories(played, faults))


def check_stories(machines: TwoMachines, played: PhoneCall, happened: set[Story]) -> None:
    """What is stored once the journals are applied, then in other orders from the beginning."""
    journals = machines.records()
    for turn in range(3):
        if turn:
            machines.apply_again(journals)
        else:
            machines.apply(machines.balancer.shuffled((0, 1)))
        call = machines.settle(played)
        assert story(call) in happened, (turn, call.flow)
        assert call.started_at == played.began_at
        assert call.ended_at is not None
        assert played.ended_at is not None
        assert played.began_at <= call.ended_at <= played.ended_at
        with machines.server.database.reading() as session:
            stored = {leg.sid: leg.destination for leg in session.scalars(select(CallLeg))}
        assert {sid: bare(to) for sid, to in stored.items()} == {leg.sid: bare(leg.to) for leg in played.legs}
        # receivers hear of the beginning first, of the end once, and of the final status last
        told = [(event, status) for _, event, status in machines.told]
        assert told[0][0] == "call.started"
        assert {event for event, _ in told} <= {"call.started", "call.ended", "call.updated"}
        events = [event for event, _ in told]
        assert (events.count("call.started"), events.count("call.ended")) == (1, 1)
        assert told[-1][1] == call.status
        assert sorted(set(machines.deliveries()) - {"call.updated"}) == ["call.ended", "call.started"]
        assert machines.deliveries().count("call.ended") == 1


@pytest.mark.parametrize("asked", [True, False])
def test_r12_of_two_answers_across_closing_time_the_story_is_that_of_the_one_that_the_carrier_took(
    machines: TwoMachines, asked: bool
) -> None:
    """The first machine answers too late that a message is taken, the other one that a line rings; then the caller gives up."""
    faults = Faults(after_hang_up=AFTER_HANG_UP["no-answer" if asked else "unasked"])
    open_until = {"days": ["mon"], "opens": "00:00", "closes": "14:00"}
    hours = {"type": "hours", "branches": [{"times": [open_until], "steps": [VOICEMAIL]}], "otherwise": [ring(OFFICE)]}
    machines.use({"steps": [hours]})
    closing = datetime(2026, 11, 30, 13, 0, tzinfo=UTC)  # in Berlin
    asks_both = Chances(seed=1, second=0.0, too_late=1.0, applied=0.0)
    script = CallerScript(gives_up_after=20)
    lines = {"*": Line.rings_out()}
    played = machines.call(script, lines, faults, asks_both, closing - timedelta(seconds=2))
    assert [leg.to for leg in played.legs] == [OFFICE]
    check_stories(machines, played, {("abandoned", None, 0)})
    with machines.server.database.reading() as session:
        assert session.scalars(select(Call.flow)).one()["given"]["lines"] == [OFFICE]


@pytest.mark.parametrize("way", ["in order", "late, twice and in disorder", "in parallel, late and doubled"])
def test_r12_a_whisper_that_is_refused_three_times_ends_once_as_missed(machines: TwoMachines, way: str) -> None:
    machines.use({"steps": [ACCEPTING]})
    played = machines.call(CallerScript(), {"*": REFUSED}, WAYS[way], Chances(seed=2))
    check_stories(machines, played, {("missed", None, 0)})
    assert [status for _, event, status in machines.told if event == "call.ended"] == ["missed"]
