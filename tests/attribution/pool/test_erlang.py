"""R9: the smallest pool by Erlang-B, against the published table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.pool.numbers import smallest_pool

TABLE = [  # visits an hour, session and hold in minutes, the pool for 99 %
    (20, 3, 2.5, 6),
    (60, 3, 2.5, 12),
    (200, 3, 0, 18),
    (200, 3, 2.5, 28),
    (200, 3, 20, 93),
    (200, 3, 30, 128),
    (600, 3, 2.5, 69),
]


def blocking(load: float, numbers: int) -> float:
    """The probability that a visit finds all numbers taken.

    Args:
        load: in erlangs, the numbers that are held on average.
    """
    found = 1.0
    for taken in range(1, numbers + 1):
        found = load * found / (taken + load * found)
    return found


@pytest.mark.parametrize(("visits", "session", "hold", "pool"), TABLE)
def test_r9_the_smallest_pool_is_that_of_the_published_table(
    visits: int, session: float, hold: float, pool: int
) -> None:
    assert smallest_pool(visits / 60 * (session + hold)) == pool


@pytest.mark.parametrize(("load", "numbers", "accuracy"), [(10.0, 10, 78.5), (5.5, 6, 77.1), (55 / 3, 19, 85.5)])
def test_r9_blocking_is_that_of_the_published_table(load: float, numbers: int, accuracy: float) -> None:
    assert round(100 * (1 - blocking(load, numbers)), 1) == accuracy


def test_r9_nobody_needs_no_number() -> None:
    assert smallest_pool(0) == 0


@given(st.floats(0.001, 500))
def test_r9_the_smallest_pool_is_below_one_per_cent_and_one_number_less_is_not(load: float) -> None:
    pool = smallest_pool(load)
    assert blocking(load, pool) < 0.01 <= blocking(load, pool - 1)
