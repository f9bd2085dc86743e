"""Calls through random flows of every step: each ends, rings nobody whom it must not, and is told the same however often it asks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.carriers.base import CallerId, Element, Forward, Gather, GoOn, InboundCall, Record
from router.lib.phones import same_line
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flow_steps import AskStep, MenuStep, PressKeyStep, RingStep
from router.voice.call_so_far import CallSoFar, Known, Place, Surroundings, Visit, Wanted
from router.voice.interpreter import Program, next_plan, prepare, whisper_plan
from tests.properties import examples
from tests.scenarios.flows.random_flows import KEYS, flows, full_flows
from tests.voice.flow_calls import (
    ANNA,
    AROUND,
    FORWARDING,
    MONDAY,
    NUMBER,
    OFFICE,
    OTHER_NUMBER,
    PBX,
    SHOP,
    CallMade,
    beginning,
    checked,
    ended,
    inbound,
    play,
)

BEN = "+5215512345678"
BEN_OTHERWISE = "+525512345678"
"""Another spelling of the same line."""
RUNG = (OFFICE, SHOP, PBX, "sip:+4989123456@pbx.example.com", ANNA, BEN, NUMBER, OTHER_NUMBER, FORWARDING)
HOLIDAYS = replace(AROUND, holidays={MONDAY.date() + timedelta(days=days) for days in range(-200, 300, 3)})

callers = st.sampled_from([ANNA, BEN, BEN_OTHERWISE, "+14155550177", None])
caller_ids: st.SearchStrategy[CallerId] = st.sampled_from(["accepted", "doubtful", "refused"])
calls = st.builds(
    inbound,
    callers,
    sid=st.from_regex(r"CA[0-9a-f]{32}", fullmatch=True),
    caller_id=caller_ids,
    forwarded_from=st.sampled_from([None, FORWARDING]),
)
moments = st.integers(0, 365 * 86400).map(lambda second: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second))
results = st.builds(
    ended,
    st.sampled_from(["completed", "answered", "busy", "no_answer", "failed", "canceled"]),
    st.sampled_from([None, False, False, False, True]),
)
names = st.sampled_from(["", "google", "bing", "x" * 300, "Käse & Brot", "😀" * 200]) | st.text(max_size=20)
visits = st.builds(Visit.of, st.none() | st.integers(1, 2**40), names, names, names)
OUTCOMES: dict[str, st.SearchStrategy[Any]] = {
    "visit": st.none() | visits,
    "caller": st.sampled_from(["first", "repeat", None]),
    "answerer": st.sampled_from([None, *RUNG]),
    "answer": st.sampled_from([None, "vip", "late", "nobody", "+4930", "x" * 300, *RUNG]),
}


def rarely_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda chance: strategy if chance else st.none())


def played(data: st.DataObject, program: Program, so_far: CallSoFar, around: Surroundings) -> CallMade:
    """A call in which everybody does what hypothesis draws."""

    def outcome(wanted: Wanted) -> Any:
        return data.draw(OUTCOMES[wanted.what])

    def react(element: Element) -> dict[str, Any] | None:
        match element:
            case Forward():
                return data.draw(rarely_none(st.builds(dict, result=results, accepted=st.booleans())))
            case Gather() | Record():
                return data.draw(rarely_none(st.builds(dict, digits=KEYS | st.sampled_from(["", "hangup", "12"]))))
            case GoOn():
                return {}
        raise AssertionError(element)

    return play(program, so_far, outcome, react, around, most_requests(program))


def most_requests(program: Program) -> int:
    """More than this no call can need: each destination is rung, and rung again with our number; each prompt is repeated; and once each
    step begins another document."""
    count = 2
    for step in program.steps.values():
        match step:
            case RingStep():
                count += 1 + 2 * len(step.destinations)
            case MenuStep() | PressKeyStep():
                count += 1 + step.tries
            case AskStep():
                count += 4
            case _:
                count += 2
    return count


def must_not_ring(call: InboundCall) -> list[str | None]:
    return [call.caller.e164, call.number_e164, NUMBER, OTHER_NUMBER, call.forwarded_from]


@given(st.data(), full_flows(RUNG), calls, moments)
@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_call_ends_and_rings_nobody_whom_it_must_not(
    data: st.DataObject, document: dict[str, Any], call: InboundCall, at: datetime
) -> None:
    program = prepare(FlowSchema.model_validate(document))
    announcement = data.draw(st.sampled_from(["", "A test call."]))
    for _ in range(3):
        made = played(data, program, beginning(call, at, announcement=announcement), HOLIDAYS)
        for target in made.targets:
            assert not any(same_line(target.to, line) for line in must_not_ring(call)), target
        once = [(wanted.what, wanted.step if wanted.what == "answer" else "") for wanted in made.wanted]
        assert len(once) == len(set(once))


@given(flows(RUNG), calls, st.data())
@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
def test_whatever_an_address_says_is_answered(document: dict[str, Any], call: InboundCall, data: st.DataObject) -> None:
    program = prepare(FlowSchema.model_validate(document))
    places = st.builds(Place, st.sampled_from([*program.steps, "", "gone"]), st.integers(0, 12) | st.just(9999))
    so_far = beginning(
        call,
        place=data.draw(places),
        known=Known(data.draw(visits), "first", data.draw(st.sampled_from(RUNG)), (("s1", SHOP),)),
        result=data.draw(st.none() | results),
        digits=data.draw(st.none() | KEYS | st.text(max_size=3)),
        showed_caller=data.draw(st.booleans()),
        flow_id=data.draw(st.none() | st.integers(1, 2**60)),
    )
    plan = next_plan(program, AROUND, so_far)
    while isinstance(plan, Wanted):
        so_far = replace(so_far, known=so_far.known.with_outcome(plan, data.draw(OUTCOMES[plan.what])))
        plan = next_plan(program, AROUND, so_far)
    assert checked(plan, next_plan(program, AROUND, so_far))
    checked(whisper_plan(program, AROUND, so_far), whisper_plan(program, AROUND, so_far), whisper=True)
