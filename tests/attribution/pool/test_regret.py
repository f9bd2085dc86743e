"""R6: which number harms least. Four look-ups find what a look at the whole pool would find."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from router.attribution.pool.choice import PoolEntry, chance_of_call, choose, expected_regret
from router.db import LONG_AGO
from tests.factories import NOON

HOLD = timedelta(seconds=150)
AGES = st.one_of(st.integers(0, 160), st.integers(0, 4000)).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def entries(draw: st.DrawFn) -> PoolEntry:
    number, lease_age = draw(st.integers(1, 999)), draw(AGES)
    if draw(st.booleans()) and draw(st.booleans()):
        return PoolEntry(number, f"+{number}", 0, 0, "", 0, LONG_AGO, LONG_AGO)
    sign_age = min(lease_age, draw(AGES))
    source = draw(st.integers(1, 3))
    return PoolEntry(number, f"+{number}", 1, 1, "v", source, NOON - lease_age, NOON - sign_age)


def four_looks(pool: list[PoolEntry], source_key: int) -> list[PoolEntry]:
    """The earliest last sign of life and the earliest lease start, of the same source and of all."""
    same = [entry for entry in pool if entry.source_key == source_key]
    looks = [
        min(some, key=order, default=None)
        for some in (same, pool)
        for order in (lambda entry: entry.last_sign_at, lambda entry: entry.lease_started_at)
    ]
    return [entry for entry in looks if entry is not None]


@given(st.lists(entries(), min_size=1, max_size=12), st.integers(1, 3), st.sampled_from(["visit", "source"]))
def test_r6_the_best_of_four_is_the_best_of_the_whole_pool(pool: list[PoolEntry], source_key: int, aim: str) -> None:
    chosen = choose(four_looks(pool, source_key), source_key, aim, HOLD, NOON)
    best = choose(pool, source_key, aim, HOLD, NOON)
    assert chosen is not None
    assert best is not None
    assert expected_regret(chosen, source_key, aim, HOLD, NOON) == expected_regret(best, source_key, aim, HOLD, NOON)


@given(st.lists(entries(), min_size=1, max_size=12), st.integers(1, 3))
def test_r6_aim_visit_never_takes_an_active_number_while_one_is_idle(pool: list[PoolEntry], source_key: int) -> None:
    chosen = choose(four_looks(pool, source_key), source_key, "visit", HOLD, NOON)
    assert chosen is not None
    assert chosen.is_idle(HOLD, NOON) or not any(entry.is_idle(HOLD, NOON) for entry in pool)


@given(entries(), AGES, AGES)
def test_r6_p_never_rises_with_time(entry: PoolEntry, one: timedelta, other: timedelta) -> None:
    earlier, later = NOON + min(one, other), NOON + max(one, other)
    assert chance_of_call(entry, HOLD, earlier) >= chance_of_call(entry, HOLD, later)


@given(entries(), AGES)
def test_r6_p_is_zero_for_a_number_never_shown_above_one_while_active_and_at_most_one_while_idle(
    entry: PoolEntry, later: timedelta
) -> None:
    now = NOON + later
    chance = chance_of_call(entry, HOLD, now)
    if entry.last_sign_at == LONG_AGO:
        assert chance == 0
    elif entry.is_idle(HOLD, now):
        assert 0 < chance <= 1
    else:
        assert 1 < chance <= 2


def test_r6_a_clock_that_runs_behind_another_machines_breaks_nothing() -> None:
    ahead = PoolEntry(1, "+1", 1, 1, "v", 1, NOON + timedelta(seconds=3), NOON + timedelta(seconds=3))
    assert chance_of_call(ahead, HOLD, NOON) == 2


def test_r6_another_marketing_source_is_eleven_times_as_harmful_and_more_when_sources_are_told_apart() -> None:
    def idle(number: int, source: int, seconds: int) -> PoolEntry:
        seen: datetime = NOON - timedelta(seconds=seconds)
        return PoolEntry(number, "+1", 1, 1, "v", source, seen, seen)

    same, other, old = idle(1, 1, 200), idle(2, 2, 1000), idle(3, 2, 10_000)
    assert choose([same, other], 1, "visit", HOLD, NOON) == same
    assert choose([same, other, old], 1, "visit", HOLD, NOON) == old
    assert choose([same, old], 1, "source", HOLD, NOON) == same
    assert choose([same, old, idle(4, 2, 30_000)], 1, "source", HOLD, NOON) == idle(4, 2, 30_000)
