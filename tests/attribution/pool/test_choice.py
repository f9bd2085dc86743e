"""R6: which number harms least. Four look-ups find what a look at the whole pool would find, also by the curve that a scenario learns from
its calls."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.pool.choice import (
    GRID,
    PRIOR_CALLS,
    Curve,
    Pool,
    PoolEntry,
    chance_after,
    default_chance,
    learn,
)
from router.db import LONG_AGO
from tests.factories import NOON

HOLD = timedelta(seconds=150)


def pool_of(aim: str = "visit", curve: Curve | None = None) -> Pool:
    return Pool(id=1, aim=aim, hold_seconds=150, survival=curve)


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
    chosen = pool_of(aim).choose(four_looks(pool, source_key), source_key, NOON)
    best = pool_of(aim).choose(pool, source_key, NOON)
    assert chosen is not None
    assert best is not None
    assert pool_of(aim).expected_regret(chosen, source_key, NOON) == pool_of(aim).expected_regret(
        best, source_key, NOON
    )


@given(st.lists(entries(), min_size=1, max_size=12), st.integers(1, 3))
def test_r6_aim_visit_never_takes_an_active_number_while_one_is_idle(pool: list[PoolEntry], source_key: int) -> None:
    chosen = pool_of("visit").choose(four_looks(pool, source_key), source_key, NOON)
    assert chosen is not None
    assert chosen.is_idle(HOLD, NOON) or not any(entry.is_idle(HOLD, NOON) for entry in pool)


@given(entries(), AGES, AGES)
def test_r6_p_never_rises_with_time(entry: PoolEntry, one: timedelta, other: timedelta) -> None:
    earlier, later = NOON + min(one, other), NOON + max(one, other)
    assert pool_of().chance_of_call(entry, earlier) >= pool_of().chance_of_call(entry, later)


@given(entries(), AGES)
def test_r6_p_is_zero_for_a_number_never_shown_above_one_while_active_and_at_most_one_while_idle(
    entry: PoolEntry, later: timedelta
) -> None:
    now = NOON + later
    chance = pool_of().chance_of_call(entry, now)
    if entry.last_sign_at == LONG_AGO:
        assert chance == 0
    elif entry.is_idle(HOLD, now):
        assert 0 < chance <= 1
    else:
        assert 1 < chance <= 2


def test_r6_a_clock_that_runs_behind_another_machines_breaks_nothing() -> None:
    ahead = PoolEntry(1, "+1", 1, 1, "v", 1, NOON + timedelta(seconds=3), NOON + timedelta(seconds=3))
    assert pool_of().chance_of_call(ahead, NOON) == 2


def test_r6_another_marketing_source_is_eleven_times_as_harmful_and_more_when_sources_are_told_apart() -> None:
    def idle(number: int, source: int, seconds: int) -> PoolEntry:
        seen: datetime = NOON - timedelta(seconds=seconds)
        return PoolEntry(number, "+1", 1, 1, "v", source, seen, seen)

    same, other, old = idle(1, 1, 200), idle(2, 2, 1000), idle(3, 2, 10_000)
    assert pool_of("visit").choose([same, other], 1, NOON) == same
    assert pool_of("visit").choose([same, other, old], 1, NOON) == old
    assert pool_of("source").choose([same, old], 1, NOON) == same
    assert pool_of("source").choose([same, old, idle(4, 2, 30_000)], 1, NOON) == idle(4, 2, 30_000)


SILENCES = st.lists(st.integers(0, 3_000_000) | st.integers(0, 900), max_size=60)
CURVES = SILENCES.map(learn)
MOMENTS = st.floats(0, 1e8)


@given(SILENCES, MOMENTS, MOMENTS)
def test_r6_a_learned_curve_never_rises_and_is_a_probability(silences: list[float], one: float, other: float) -> None:
    curve = learn(silences)
    assert [point[0] for point in curve] == list(GRID)
    assert 1 >= chance_after(min(one, other), curve) >= chance_after(max(one, other), curve) > 0
    assert chance_after(0, curve) == 1


@given(st.lists(entries(), min_size=1, max_size=12), st.integers(1, 3), st.sampled_from(["visit", "source"]), CURVES)
def test_r6_the_best_of_four_is_the_best_of_the_whole_pool_with_every_learned_curve(
    pool: list[PoolEntry], source_key: int, aim: str, curve: list[list[float]]
) -> None:
    chosen = pool_of(aim, curve).choose(four_looks(pool, source_key), source_key, NOON)
    best = pool_of(aim, curve).choose(pool, source_key, NOON)
    assert chosen is not None
    assert best is not None
    assert pool_of(aim, curve).expected_regret(chosen, source_key, NOON) == pool_of(aim, curve).expected_regret(
        best, source_key, NOON
    )


@given(entries(), AGES, AGES, CURVES)
def test_r6_p_never_rises_with_time_with_every_learned_curve(
    entry: PoolEntry, one: timedelta, other: timedelta, curve: list[list[float]]
) -> None:
    earlier, later = NOON + min(one, other), NOON + max(one, other)
    assert pool_of(curve=curve).chance_of_call(entry, earlier) >= pool_of(curve=curve).chance_of_call(entry, later)


def test_r6_without_calls_the_curve_is_the_default_and_many_calls_overrule_it() -> None:
    assert all(chance == pytest.approx(default_chance(at), abs=1e-6) for at, chance in learn([]))
    assert learn([0.0] * 5000) == learn([]), "calls from an open page say nothing about silent visitors"
    quick = learn([20.0] * 50_000)
    assert chance_after(30, quick) < 0.01
    slow = learn([50_000.0] * 50_000)
    assert chance_after(30_000, slow) > 0.99 * 50_000 / (50_000 + PRIOR_CALLS)


def test_r6_half_of_as_many_calls_as_the_default_has_count_for_a_third() -> None:
    curve = learn([20.0] * (PRIOR_CALLS // 2))
    assert chance_after(300, curve) == pytest.approx(0.5 * 2 / 3, abs=0.03)


def test_r6_beyond_the_grid_p_falls_on() -> None:
    curve, end = learn([100.0] * 2000), GRID[-1]
    assert chance_after(2 * end, curve) == pytest.approx(chance_after(end, curve) / 2)


def test_r6_a_scenario_whose_visitors_call_quickly_or_much_later_chooses_otherwise() -> None:
    """Five minutes of the own source against forty of another one: by default worth waiting for, not when all have called by then."""

    def idle(number: int, source: int, minutes: int) -> PoolEntry:
        seen = NOON - timedelta(minutes=minutes)
        return PoolEntry(number, "+1", 1, 1, "v", source, seen, seen)

    own, other = idle(1, 1, 5), idle(2, 2, 40)
    assert pool_of("visit").choose([own, other], 1, NOON) == own
    assert pool_of("visit", learn([600.0] * 20_000)).choose([own, other], 1, NOON) == other
