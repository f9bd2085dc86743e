"""When missed calls are told: every one of them once, at once where that is possible, and never too many messages."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.integrations.missed.rules import MOST_APART, MOST_NOTICES, WINDOW, Missed, Told, due_notices, is_quiet
from tests.properties import examples

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ANNA, BOB = "+14155552671", "+14155552672"
CALLERS = (None, *(f"+1415555{place:04}" for place in range(30)))


def test_a_call_is_told_at_once() -> None:
    missed = Missed(1, ANNA, NOON)
    assert due_notices([missed], [], NOON) == [[missed]]


def test_who_calls_again_within_ten_minutes_is_told_of_together() -> None:
    again = [Missed(2, ANNA, NOON + MINUTE), Missed(3, ANNA, NOON + 2 * MINUTE)]
    told = [Told(1, ANNA, NOON)]
    assert due_notices(again, told, NOON + 3 * MINUTE) == []
    other = Missed(4, BOB, NOON + 3 * MINUTE)
    assert due_notices([*again, other], told, NOON + 3 * MINUTE) == [[other]]
    assert due_notices(again, told, NOON + WINDOW) == [again]


def test_many_callers_at_a_time_are_told_of_in_one_message() -> None:
    crowd = [Missed(place, f"+1415555{place:04}", NOON) for place in range(MOST_APART + 1)]
    assert due_notices(crowd, [], NOON) == [crowd]
    assert len(due_notices(crowd[:MOST_APART], [], NOON)) == MOST_APART


@given(st.lists(st.tuples(st.integers(0, 1800), st.sampled_from(CALLERS)), max_size=120))
@settings(max_examples=examples(100))
def test_none_is_told_twice_none_is_forgotten_and_there_are_never_many(calls: list[tuple[int, str | None]]) -> None:
    waiting = [Missed(place, caller, NOON + second * SECOND) for place, (second, caller) in enumerate(calls)]
    told: list[Told] = []
    covered: list[int] = []
    for tick in range(0, 1800 + 4 * int(WINDOW.total_seconds()), 30):
        now = NOON + tick * SECOND
        for group in due_notices([one for one in waiting if one.at <= now], told, now):
            for caller in {one.caller for one in group}:
                assert not any(one.caller == caller and one.at > now - WINDOW for one in told)
            told += [Told(group[-1].call_id, one.caller, now) for one in group]
            covered += [one.call_id for one in group]
            waiting = [one for one in waiting if one not in group]
        assert len({one.notice for one in told if one.at > now - WINDOW}) <= MOST_NOTICES
    assert waiting == []
    assert sorted(covered) == list(range(len(calls)))


@pytest.mark.parametrize(
    ("begin", "end", "hour", "expected"),
    [
        ("22:00", "07:00", 23, True),
        ("22:00", "07:00", 3, True),
        ("22:00", "07:00", 7, False),
        ("22:00", "07:00", 12, False),
        ("12:00", "13:00", 12, True),
        ("12:00", "13:00", 13, False),
        ("", "", 3, False),
    ],
)
def test_quiet_hours_are_those_of_the_project(begin: str, end: str, hour: int, expected: bool) -> None:
    now = datetime(2026, 11, 23, hour, tzinfo=UTC) + timedelta(hours=5)  # New York is five hours behind
    assert is_quiet({"quiet_from": begin, "quiet_until": end}, "America/New_York", now) is expected
