"""What is to be expected of each source, from the probabilities of its calls (R7)."""

from math import ceil, isclose, sqrt

from hypothesis import given
from hypothesis import strategies as st

from router.attribution.decision import shares_by_source
from router.reports.expected import expected_rows, shares_of

NOBODY = None
keys = st.integers(1, 6)


@st.composite
def some_shares(draw: st.DrawFn) -> dict[int, float]:
    """Of one call: they come to at most a little more than 1, as rounded ones do."""
    weights = draw(st.dictionaries(keys, st.floats(0.001, 1), max_size=5))
    whole = sum(weights.values()) + draw(st.floats(0, 2)) or 1
    return {key: round(weight / whole, 4) for key, weight in weights.items()}


calls = st.lists(st.tuples(some_shares(), st.integers(1, 9)), max_size=40)


@given(calls)
def test_r7_expected_values_of_all_rows_come_to_the_number_of_calls(calls: list[tuple[dict[int, float], int]]) -> None:
    for row_of in (lambda key: key, lambda key: key % 2, lambda key: "all", lambda key: None):
        rows = expected_rows(calls, row_of)
        assert isclose(sum(row.mean for row in rows.values()), sum(times for _, times in calls), abs_tol=1e-9)
        assert all(row.mean > -1e-9 and row.variance > -1e-9 for row in rows.values())


def test_r7_independent_calls_have_a_range_of_two_deviations_rounded_up() -> None:
    rows = expected_rows([({1: 0.8, 2: 0.15}, 1)] * 50, lambda key: key)
    assert isclose(rows[1].mean, 40)
    assert rows[1].range == ceil(2 * sqrt(50 * 0.8 * 0.2)) == 6
    assert isclose(rows[NOBODY].mean, 2.5)


def test_r7_repeat_calls_are_right_or_wrong_together_with_their_first_call() -> None:
    """Ten calls of one caller are ten times one throw of the coin, not ten throws."""
    alone, together = [({1: 0.5}, 1)] * 10, [({1: 0.5}, 10)]
    assert expected_rows(alone, lambda key: key)[1].range == 4
    assert expected_rows(together, lambda key: key)[1].range == 10
    assert expected_rows(together, lambda key: key)[1].mean == 5


def test_r7_candidates_of_one_row_are_as_good_as_one() -> None:
    """Two campaigns of one channel: which of them it was does not matter to the channel."""
    assert expected_rows([({1: 0.5, 2: 0.5}, 1)] * 30, lambda key: "paid search")["paid search"].range == 0


def test_r7_static_and_imported_calls_are_certain() -> None:
    doubtful = [[9, 0.4, 1]]
    assert shares_of("static", 1, 1.0, doubtful) == {1: 1.0}
    assert shares_of("imported", 1, None, None) == {1: 1.0}
    assert shares_of("imported", None, None, None) == {}
    assert expected_rows([(shares_of("static", 1, 1.0, []), 7)], lambda key: key)[1].range == 0


def test_r7_a_lease_decides_by_all_its_candidates_and_none_by_nobody() -> None:
    candidates = [(1, 0.5, 11), (2, 0.1, 12), (1, 0.2, 13)]
    assert shares_by_source(candidates) == [[1, 0.7, 11], [2, 0.1, 12]]
    assert shares_of("lease", 1, 0.7, shares_by_source(candidates)) == {1: 0.7, 2: 0.1}
    assert shares_of("none", None, None, []) == {}


def test_calls_of_an_earlier_release_have_their_own_source() -> None:
    assert shares_of("lease", 5, 0.6, None) == {5: 0.6}
