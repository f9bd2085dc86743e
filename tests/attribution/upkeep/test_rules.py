"""R9: what upkeep decides about a pool, from the facts alone."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.upkeep.service import Decision, Limits, Pool, decide, fewer, step_of
from router.scenarios.models import TrackingNumber
from tests.people import NOW


def facts(number_id: int = 1, **values: Any) -> TrackingNumber:
    """A rented number whose paid time ends in an hour and that nothing keeps."""
    given = {"pinned": False, "owned_elsewhere": False, "paid_until": NOW + timedelta(hours=1), "last_call_at": None}
    return TrackingNumber(**({"id": number_id} | given | values))


def spare(count: int) -> list[TrackingNumber]:
    return [facts(index) for index in range(count)]


def judge(numbers: int, accuracy: int | None, needed: int | None, **limits: Any) -> Decision:
    return decide(Pool(numbers, accuracy, needed, Limits(**limits), spare(numbers)), NOW)


def test_r9_seventeen_numbers_at_84_per_cent_become_eighteen() -> None:
    decision = judge(17, 84, 27)
    assert (decision.action, decision.count, 17 + decision.count) == ("buy", 1, 18)


def test_r9_twenty_two_numbers_at_100_per_cent_become_twenty() -> None:
    decision = judge(22, 100, 15)
    assert (decision.action, decision.count, 22 - decision.count) == ("release", 2, 20)


@pytest.mark.parametrize(("numbers", "step"), [(0, 1), (1, 1), (17, 1), (20, 1), (21, 2), (22, 2), (40, 2), (41, 3)])
def test_r9_a_step_is_five_per_cent_rounded_up_and_at_least_one(numbers: int, step: int) -> None:
    assert step_of(numbers) == step


@pytest.mark.parametrize("accuracy", [90, 95, 99])
def test_r9_from_90_to_below_100_nothing_is_done(accuracy: int) -> None:
    assert judge(10, accuracy, 30).action == judge(30, accuracy, 10).action == "nothing"


def test_r9_without_accuracy_nothing_is_done() -> None:
    assert judge(10, None, None).action == "nothing"


def test_r9_89_per_cent_buys_only_while_the_pool_is_smaller_than_needed() -> None:
    assert judge(19, 89, 20).count == 1
    assert judge(20, 89, 20).action == "nothing"


def test_r9_a_release_never_goes_below_what_is_needed() -> None:
    assert judge(22, 100, 21).count == 1
    assert judge(22, 100, 22).action == "nothing"
    assert judge(1, 100, 0).action == "nothing"


@pytest.mark.parametrize(
    "kept",
    [
        {"pinned": True},
        {"owned_elsewhere": True},
        {"id": 9},
        {"releasing_at": NOW},
        {"static_source": {"source": "flyer"}},
        {"paid_until": None},
        {"paid_until": NOW + timedelta(hours=24)},
        {"last_call_at": NOW - timedelta(days=30)},
    ],
)
def test_r9_a_number_stays_that_is_pinned_in_use_paid_or_called_lately(kept: dict[str, Any]) -> None:
    decision = decide(Pool(2, 100, 1, candidates=[facts(1, **kept)], in_use={9}), NOW)
    assert (decision.action, decision.wanted, decision.release) == ("nothing", 1, ())
    assert decide(Pool(2, 100, 1, candidates=[facts(1, **kept), facts(2)], in_use={9}), NOW).release == (2,)


def test_r9_what_was_shown_longest_ago_goes_first() -> None:
    pool = [facts(1, last_shown_at=NOW), facts(2, last_shown_at=NOW - timedelta(days=9)), facts(3)]
    assert decide(Pool(40, 100, 1, candidates=pool), NOW).release == (3, 2)


def test_r9_the_limit_of_numbers_holds_buying_back_and_is_said() -> None:
    last = judge(33, 50, 60, max_numbers=34)
    assert (last.count, last.wanted, last.reached) == (1, 2, ("numbers",))
    full = judge(34, 50, 60, max_numbers=34)
    assert (full.action, full.reached) == ("nothing", ("numbers",))
    assert "The limit of 34 numbers is reached." in full.why


def test_r9_the_spending_limit_holds_buying_back_and_is_said() -> None:
    money = {"price_minor": 300, "balance_minor": 10_000, "spending_limit_minor": 1000, "currency": "EUR"}
    assert judge(60, 50, 90, **money, spent_minor=0).count == 3
    held = judge(60, 50, 90, **money, spent_minor=600)
    assert (held.count, held.reached) == (1, ("spending",))
    assert "The spending limit of 10.00 EUR in 7 days is reached." in held.why
    assert judge(60, 50, 90, **money, spent_minor=800).action == "nothing"


def test_r9_with_a_balance_too_low_nothing_is_bought_and_that_is_said() -> None:
    decision = judge(40, 50, 90, price_minor=300, balance_minor=500, currency="EUR")
    assert (decision.action, decision.wanted) == ("nothing", 2)
    assert "the balance is too low by 1.00 EUR" in decision.why


def test_r9_with_prices_of_zero_money_is_out_of_the_way() -> None:
    assert judge(40, 50, 90, spending_limit_minor=0).count == 2


def test_r9_the_carrier_may_have_fewer_for_sale() -> None:
    assert fewer(judge(40, 50, 90), 1).count == 1
    assert fewer(judge(40, 50, 90), 0).action == "nothing"


moments = st.none() | st.integers(-40 * 24, 40 * 24).map(lambda hours: NOW + timedelta(hours=hours))
pool_numbers = st.builds(
    TrackingNumber,
    id=st.integers(1, 10**6),
    pinned=st.booleans(),
    owned_elsewhere=st.booleans(),
    releasing_at=st.none() | st.just(NOW),
    static_source=st.none() | st.just({"source": "flyer"}),
    paid_until=moments,
    last_call_at=moments,
    last_shown_at=moments,
)


@given(
    st.lists(pool_numbers, max_size=30, unique_by=lambda one: one.id), st.data(), st.integers(0, 100), st.integers(0, 40)
)  # fmt: skip
def test_r9_upkeep_never_releases_a_pinned_active_or_recently_bought_number(
    pool: list[TrackingNumber], data: st.DataObject, accuracy: int, needed: int
) -> None:
    active = {one.id for one in pool if data.draw(st.booleans())}
    decision = decide(Pool(len(pool), accuracy, needed, candidates=pool, in_use=active), NOW)
    by_id = {one.id: one for one in pool}
    for number_id in decision.release:
        gone = by_id[number_id]
        assert not any((gone.pinned, gone.id in active, gone.owned_elsewhere, gone.static_source, gone.releasing_at))
        assert gone.paid_until is not None
        assert gone.paid_until < NOW + timedelta(hours=24)
        assert gone.last_call_at is None or gone.last_call_at < NOW - timedelta(days=30)
    assert len(pool) - len(decision.release) >= min(needed, len(pool))
    assert len(decision.release) <= step_of(len(pool))


@given(
    st.integers(0, 300), st.integers(0, 100), st.integers(0, 400),
    st.none() | st.integers(0, 400), st.none() | st.integers(0, 10_000), st.integers(0, 10_000),
    st.integers(0, 500), st.integers(0, 20_000),
)  # fmt: skip
def test_r9_buying_never_passes_a_limit_or_the_balance(
    numbers: int, accuracy: int, needed: int, most: int | None, limit: int | None, spent: int, price: int, balance: int
) -> None:
    bought = decide(Pool(numbers, accuracy, needed, Limits(most, limit, spent, price, balance)), NOW).count
    assert bought <= step_of(numbers)
    assert most is None or not bought or numbers + bought <= most
    assert limit is None or not price or not bought or spent + bought * price <= limit
    assert bought * price <= balance
