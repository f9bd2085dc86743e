"""R6: the survival curve that a scenario learns from its calls."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.pool.choice import (
    GRID,
    PRIOR_CALLS,
    PoolEntry,
    chance_after,
    chance_of_call,
    choose,
    default_chance,
    expected_regret,
    learn,
)
from tests.attribution.pool.test_regret import AGES, HOLD, entries, four_looks
from tests.factories import NOON

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
    chosen = choose(four_looks(pool, source_key), source_key, aim, HOLD, NOON, curve)
    best = choose(pool, source_key, aim, HOLD, NOON, curve)
    assert chosen is not None
    assert best is not None
    assert expected_regret(chosen, source_key, aim, HOLD, NOON, curve) == expected_regret(
        best, source_key, aim, HOLD, NOON, curve
    )


@given(entries(), AGES, AGES, CURVES)
def test_r6_p_never_rises_with_time_with_every_learned_curve(
    entry: PoolEntry, one: timedelta, other: timedelta, curve: list[list[float]]
) -> None:
    earlier, later = NOON + min(one, other), NOON + max(one, other)
    assert chance_of_call(entry, HOLD, earlier, curve) >= chance_of_call(entry, HOLD, later, curve)


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
    assert choose([own, other], 1, "visit", HOLD, NOON) == own
    assert choose([own, other], 1, "visit", HOLD, NOON, learn([600.0] * 20_000)) == other
