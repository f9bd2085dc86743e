"""The state of a call: the same from repeated and disordered callbacks, never back, never ended twice."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.voice.state import CALL_TERMINAL, LEG_RANK, TERMINAL_RANK, Event, derive_state
from tests.factories import NOON

LINES = ["+14155550100", "+14155550101"]
LEG_STATES = ("initiated", "ringing", "answered", *CALL_TERMINAL)
CALL_STATES = ("queued", "ringing", "in_progress", "completed", "busy", "no_answer", "failed", "canceled")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def leg(status: str, seconds: float, sid: str = "CL1", to: str = LINES[0], talk: int | None = None) -> Event:
    return Event("leg", at(seconds), {"leg_sid": sid, "to": to, "status": status, "seconds": talk})


def dial(step: int, status: str, when: float, **facts: Any) -> Event:
    given = {"step": step, "status": status, "leg_sid": None, "bridged": None, "seconds": None, "call_status": None}
    return Event("dial", at(when), given | facts)


def parent(status: str, seconds: float, lasted: int | None = None) -> Event:
    return Event("status", at(seconds), {"status": status, "seconds": lasted})


MOMENTS = st.integers(-5, 600)
SECONDS = st.none() | st.integers(0, 600)
EVENTS = st.one_of(
    st.builds(
        leg, st.sampled_from(LEG_STATES), MOMENTS, st.sampled_from(["CL1", "CL2"]), st.sampled_from(LINES), SECONDS
    ),
    st.builds(
        dial,
        st.integers(1, 2),
        st.sampled_from(["completed", "answered", "busy", "no_answer", "failed", "canceled"]),
        MOMENTS,
        leg_sid=st.sampled_from([None, "CL1", "CL2"]),
        bridged=st.sampled_from([None, True, False]),
        seconds=SECONDS,
        call_status=st.sampled_from([None, *CALL_STATES]),
    ),
    st.builds(parent, st.sampled_from(CALL_STATES), MOMENTS, SECONDS),
    st.builds(lambda seconds: Event("closed", at(seconds), {}), MOMENTS),
    st.builds(
        lambda seconds, url: Event("recording", at(seconds), {"sid": f"RE{seconds}", "url": url, "seconds": 9}),
        MOMENTS,
        st.sampled_from([None, "https://api.example/RE"]),
    ),
)


def kept_once(events: Iterable[Event]) -> list[Event]:
    """As the table keeps them: one of each leg's and call's status, one of each step."""
    found: dict[Any, Event] = {}
    for event in events:
        facts = event.facts
        key = (event.kind, facts.get("leg_sid") if event.kind == "leg" else facts.get("step"), facts.get("sid"))
        found.setdefault((*key, "" if event.kind == "dial" else facts.get("status")), event)
    return list(found.values())


HISTORIES = st.lists(EVENTS, max_size=12).map(kept_once)


@given(HISTORIES, st.randoms())
def test_order_and_repetition_change_nothing(events: list[Event], chance: Any) -> None:
    again = events * 2
    chance.shuffle(again)
    assert derive_state(NOON, LINES, again) == derive_state(NOON, LINES, events)


@given(HISTORIES)
@example([Event("closed", at(-1), {})])
def test_a_story_is_whole_whatever_is_missing(events: list[Event]) -> None:
    state = derive_state(NOON, LINES, events)
    assert (state.ended_at is None) == (state.status == "in_progress")
    assert state.ended_at is None or state.ended_at >= NOON
    assert state.ring_seconds is None or state.ring_seconds >= 0
    assert state.talk_seconds is None or state.talk_seconds >= 0
    assert state.status in ("in_progress", "answered", "missed", "busy", "failed", "abandoned", "unknown")
    if state.status not in ("answered", "in_progress", "unknown"):
        assert state.talk_seconds == 0


@given(HISTORIES, EVENTS)
def test_a_legs_status_never_goes_back(events: list[Event], more: Event) -> None:
    def ranks(events: list[Event]) -> dict[str, int]:
        return {leg.sid: LEG_RANK.get(leg.status, TERMINAL_RANK) for leg in derive_state(NOON, LINES, events).legs}

    after = ranks(kept_once([*events, more]))
    assert all(after[sid] >= rank for sid, rank in ranks(events).items())


@given(HISTORIES)
@example([leg("completed", 0, "CL2"), leg("answered", 0, "CL1")])
@example([leg("completed", 0), leg("busy", 0)])
def test_only_a_carriers_word_that_a_leg_was_not_bridged_can_reopen_a_call(events: list[Event]) -> None:
    for end in range(len(events)):
        before, after = derive_state(NOON, LINES, events[:end]), derive_state(NOON, LINES, events[: end + 1])
        if before.ended_at and not after.ended_at:
            assert events[end].kind == "dial"
            assert events[end].facts["bridged"] is False or events[end].facts["status"] not in ("completed", "answered")


def test_talk_time_is_the_bridged_legs_and_not_the_parents_or_a_refused_ones() -> None:
    events = [
        leg("answered", 5, "CL1"),
        leg("completed", 9, "CL1", talk=4),
        dial(1, "completed", 10, leg_sid="CL1", bridged=False),
        leg("answered", 20, "CL2", LINES[1]),
        leg("completed", 80, "CL2", LINES[1], talk=60),
        parent("completed", 81),
    ]
    state = derive_state(NOON, LINES, events)
    assert (state.status, state.talk_seconds, state.destination) == ("answered", 60, LINES[1])
    assert (state.ring_seconds, state.ended_at) == (20, at(80))


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([leg("ringing", 1), parent("no_answer", 7)], "abandoned"),
        ([leg("ringing", 1), leg("canceled", 7), dial(1, "canceled", 7, call_status="completed")], "abandoned"),
        ([dial(1, "no_answer", 20), leg("ringing", 21, "CL2"), parent("canceled", 30)], "abandoned"),
        ([dial(1, "no_answer", 20), dial(2, "canceled", 30, call_status="ringing")], "abandoned"),
        ([dial(1, "no_answer", 20), dial(2, "canceled", 30, call_status="in_progress")], "abandoned"),
        ([dial(1, "no_answer", 20), dial(2, "canceled", 30)], "abandoned"),
        ([dial(1, "canceled", 8)], "abandoned"),
        ([dial(1, "canceled", 8), parent("completed", 9, 8)], "abandoned"),
        ([dial(1, "no_answer", 20), dial(2, "no_answer", 40)], "missed"),
        ([dial(1, "no_answer", 20), dial(2, "no_answer", 40), parent("no_answer", 41)], "missed"),
        ([dial(1, "busy", 2), dial(2, "busy", 4)], "busy"),
        ([dial(1, "failed", 2), dial(2, "failed", 4)], "failed"),
        ([dial(1, "busy", 2), dial(2, "no_answer", 24)], "missed"),
        ([dial(1, "completed", 30, bridged=True, seconds=20)], "answered"),
        ([dial(1, "completed", 30)], "answered"),
        ([leg("answered", 5)], "in_progress"),
        ([Event("closed", at(20_000), {})], "unknown"),
        ([Event("closed", at(20_000), {}), parent("completed", 90)], "abandoned"),
    ],
)
def test_abandoned_missed_busy_failed_and_answered_are_told_apart(events: list[Event], status: str) -> None:
    assert derive_state(NOON, LINES, events).status == status


@pytest.mark.parametrize("more", [[], [leg("initiated", 0)], [leg("initiated", 0), leg("ringing", 1)]])
def test_a_call_that_is_known_by_its_end_alone_was_a_talk_of_that_length(more: list[Event]) -> None:
    state = derive_state(NOON, LINES, [*more, parent("completed", 90, 60)])
    assert (state.status, state.talk_seconds, state.answered_at, state.ended_at) == ("answered", 60, at(30), at(90))
    assert state.ring_seconds == 30


@pytest.mark.parametrize(
    ("lines", "spoken", "events"),
    [
        (LINES, True, [parent("completed", 90, 60)]),  # the carrier counts the sentence
        ([], False, [parent("completed", 90, 60)]),  # nobody was rung
        (LINES, False, [parent("completed", 90, 0)]),
        (LINES, False, [parent("completed", 90)]),
        (LINES, False, [parent("no_answer", 90, 60)]),
        (LINES, False, [leg("no_answer", 20), parent("completed", 90, 60)]),
        (LINES, False, [dial(1, "no_answer", 20), dial(2, "busy", 40), parent("completed", 90, 60)]),
    ],
)
def test_a_call_that_ends_with_a_length_is_no_talk_when_more_is_known(
    lines: list[str], spoken: bool, events: list[Event]
) -> None:
    state = derive_state(NOON, lines, events, spoken=spoken)
    assert state.status != "answered"
    assert state.talk_seconds == 0


def test_a_carriers_clock_that_runs_behind_gives_no_negative_times() -> None:
    state = derive_state(NOON, LINES, [leg("ringing", -3), leg("answered", -2), leg("completed", -1, talk=1)])
    assert (state.ring_seconds, state.talk_seconds, state.ended_at) == (0, 1, NOON)


@pytest.mark.parametrize("first", ["CLa", "CLz"])
def test_the_last_destination_is_the_one_that_ended_last_also_within_a_second(first: str) -> None:
    """Carriers tell whole seconds: a destination ends in the second in which the next one is rung."""
    events = [leg("busy", 2, first, LINES[0]), leg("initiated", 2, "CLm", LINES[1])]
    assert derive_state(NOON, LINES, events).destination == LINES[1]
    ended = [*events, leg("busy", 4, "CLm", LINES[1])]
    assert derive_state(NOON, LINES, ended).destination == LINES[1]
    at_once = [leg("failed", 2, first, LINES[0]), leg("failed", 2, "CLm", LINES[1])]
    steps = [dial(1, "failed", 2, leg_sid=first), dial(2, "failed", 2, leg_sid="CLm")]
    assert derive_state(NOON, LINES, [*at_once, *steps]).destination == LINES[1]
