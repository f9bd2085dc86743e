"""What the pool planner says of its trials: sizes, costs, sentences, the recommended pool."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.planner.plan import (
    AIMS,
    FURTHEST,
    NO_POOL,
    SIZES,
    Costs,
    MadePlan,
    Point,
    ladder,
    most_visits,
    spread,
    trials,
    trust,
)
from router.carriers.base import CarrierPrice

FREE, DOLLAR = Costs(0, "USD"), Costs(100, "USD")


def point(
    numbers: int, aim: Literal["visit", "source"], right_source: float, right_visit: float = 0.5, error: float = 0.005
) -> Point:
    return Point(
        numbers=numbers,
        aim=aim,
        right_source=right_source,
        source_error=error,
        right_visit=right_visit,
        visit_error=error,
        alone=0.5,
    )


def points(visit: dict[int, float], source: dict[int, float] | None = None) -> list[Point]:
    return [point(numbers, "visit", share) for numbers, share in visit.items()] + [
        point(numbers, "source", share) for numbers, share in (source or visit).items()
    ]


@given(st.integers(0, 5000))
def test_sizes_rise_from_one_to_four_times_todays_pool_and_have_todays_among_them(today: int) -> None:
    sizes = ladder(today)
    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, FURTHEST * (today or NO_POOL))
    assert (today or NO_POOL) in sizes
    assert len(sizes) <= SIZES + 1
    assert sorted(trials(today)) == sorted((size, aim) for size in sizes for aim in AIMS)


@given(st.integers(0, 5000))
def test_a_much_larger_pool_is_tried_with_no_more_visits(today: int) -> None:
    assert 3000 <= most_visits(4 * (today or NO_POOL)) <= most_visits(today) <= 16_000


def test_the_smallest_pool_within_a_per_cent_of_the_best_is_recommended() -> None:
    tried = points({1: 0.5, 10: 0.93, 20: 0.981, 40: 0.99})
    assert MadePlan(tried, "visit", 20, FREE).recommended.numbers == 20


@pytest.mark.parametrize(
    ("shares", "today", "costs", "sentence"),
    [
        (
            {10: 0.80, 20: 0.96, 28: 0.995, 80: 0.9999},
            20,
            DOLLAR,
            "20 numbers tell the right advertisement for 96 % of calls; 28 would tell 99 % for 8.00 USD more a week.",
        ),
        (
            {1: 0.5, 2: 0.9, 4: 0.9},
            1,
            FREE,
            "1 number tells the right advertisement for 50 % of calls; 2 would tell 90 %.",
        ),
        (
            {1: 0.5, 5: 0.985, 20: 0.99},
            20,
            DOLLAR,
            "20 numbers tell the right advertisement for 99 % of calls; 5 would tell 98 % and cost 15.00 USD a week less.",
        ),
        (
            {1: 0.5, 20: 1.0, 80: 1.0},
            20,
            DOLLAR,
            "20 numbers tell the right advertisement for 100 % of calls; more would tell hardly more.",
        ),
        (
            {1: 0.5, 20: 0.96, 40: 0.99},
            0,
            DOLLAR,
            "40 numbers would tell the right advertisement for 99 % of calls, for 40.00 USD a week.",
        ),
    ],
)
def test_one_sentence_says_what_was_found(shares: dict[int, float], today: int, costs: Costs, sentence: str) -> None:
    assert MadePlan(points(shares), "visit", today, costs).findings == [sentence]


def test_what_may_be_chance_is_said_to_be() -> None:
    few = [point(20, "visit", 0.90, error=0.08), point(40, "visit", 0.95, error=0.06)]
    (sentence,) = MadePlan(few, "visit", 20, FREE).findings
    assert sentence.endswith("40, the most that were tried, may tell 95 %, but there are too few calls to be sure.")


def test_the_other_aim_is_mentioned_when_it_tells_clearly_more() -> None:
    tried = points({20: 0.75, 40: 0.755}, {20: 0.96, 40: 0.965})
    (sentence,) = MadePlan(tried, "visit", 20, FREE).findings[1:]
    assert sentence == (
        "If they only had to tell the advertisement, the same 20 would tell the right advertisement for 96 % of calls,"
        " and the right visit for 50 %."
    )
    assert MadePlan(tried, "source", 20, FREE).findings[1:] == []
    visits = [point(20, "visit", 0.94, 0.80), point(20, "source", 0.96, 0.60)]
    (sentence,) = MadePlan(visits, "source", 20, FREE).findings[1:]
    assert sentence == (
        "If they had to tell the visit, the same 20 would tell the right visit for 80 % of calls instead of 60 %, and the right"
        " advertisement for 94 %."
    )


def test_costs_are_ours_or_else_the_carriers_or_not_known() -> None:
    twilio = CarrierPrice("1.15", "USD")
    assert (DOLLAR.say(8), DOLLAR.whose) == ("8.00 USD", "")
    assert Costs(100, "EUR", twilio).say(8) == "8.00 EUR"
    carrier = Costs(0, "EUR", twilio)
    assert (carrier.say(100), carrier.whose) == ("26.47 USD", " at the carrier")
    assert (FREE.say(8), FREE.known) == ("", False)
    (sentence,) = MadePlan(points({1: 0.5, 20: 0.9, 28: 0.99, 40: 0.99}), "visit", 20, carrier).findings
    assert sentence.endswith("28 would tell 99 % for 2.12 USD more a week at the carrier.")


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_chance_may_always_have_moved_a_share_and_less_with_more_calls(share: float, calls: int) -> None:
    assert 0 < spread(share, 4 * calls) < spread(share, calls) < 1
    assert spread(0.5, 400) == pytest.approx(0.05, abs=0.001), "two standard errors"


def test_few_calls_are_called_few() -> None:
    assert "That is few" in trust(43)
    assert trust(43) != trust(200) != trust(1000) == ""
