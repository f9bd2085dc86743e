"""What a carrier refuses, or says to refuse: never believed without a look, always refunded (R4, R5)."""

from itertools import pairwise

from router.accounts.models import Project
from router.carriers.base import Gone, NotForUs, TryLater
from router.scenarios.numbers.purchase import batch_progress
from router.server import Server
from tests.factories import make_ledger_entry
from tests.scenarios.numbers.buying import (
    ONE,
    PRICE,
    TWO,
    go,
    left,
    order,
    state_of,
)
from tests.scenarios.shop import FakeShop


def test_r5_what_the_carrier_refuses_for_good_is_refunded_and_ends_those_that_would_fail_alike(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", *[NotForUs("An address in this country has to be registered at the carrier.")] * 8)
    more = [f"+1212555{1000 + index}" for index in range(20)]
    with server.database.writing() as session:
        make_ledger_entry(session, project, 100_000, "top-up:2")
    batch = order(server, project, *more)
    go(server, 1)
    with server.database.reading() as session:
        progress = batch_progress(session, batch)
        assert (progress.failed, progress.finished) == (20, True)
        assert {sentence for _, sentence in progress.problems} == {
            "An address in this country has to be registered at the carrier."
        }
    assert left(server) == 101_000
    assert sum(what == "buy" for what, _ in shop.asked) <= 8


def test_r5_a_carrier_that_refuses_and_sells_all_the_same_is_found_out(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", NotForUs("The account may not."), done=True)
    shop.fail("buy", Gone("Not for sale."), done=True)
    order(server, project, ONE, TWO)
    go(server, 1)
    assert (state_of(server, ONE), state_of(server, TWO)) == ("bought", "bought")
    assert left(server) == 1000 - 2 * PRICE


def test_r5_a_refusal_is_not_believed_before_the_account_was_looked_through(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", NotForUs("The account may not."), done=True)
    shop.fail("find", TryLater("Too many requests."))
    order(server, project, ONE)
    go(server, 0)
    assert state_of(server, ONE) == "unknown"
    go(server, 10)
    assert (state_of(server, ONE), list(shop.account)) == ("bought", [ONE])


def test_r5_with_a_wrong_key_nothing_is_charged(server: Server, shop: FakeShop, project: Project) -> None:
    shop.fail("buy", NotForUs("The key is wrong."))
    shop.fail("find", NotForUs("The key is wrong."))
    order(server, project, ONE)
    go(server, 1)
    assert state_of(server, ONE) == "refused"
    assert left(server) == 1000


def test_r5_a_carrier_that_wants_patience_is_asked_again_with_growing_pauses(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", TryLater("Too many requests.", 30), *[TryLater("Too many requests.")] * 6)
    order(server, project, ONE)
    asked = []
    for second in range(600):
        before = len(shop.asked)
        go(server, second)
        asked += [second] * (len(shop.asked) - before)
    assert asked[:2] == [0, 30], "its wish counts"
    pauses = [later - earlier for earlier, later in pairwise(asked[1:])]
    assert pauses == sorted(pauses)
    assert state_of(server, ONE) == "bought"


def test_r5_after_a_day_the_order_is_given_up_only_when_the_number_is_surely_not_ours(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", *[TryLater("The carrier cannot be reached.")] * 1000)
    order(server, project, ONE)
    shop.fail("find", *[TryLater("The carrier cannot be reached.")] * 3)
    for hour in range(25):
        go(server, hour * 3600)
    assert state_of(server, ONE) in ("intent", "unknown"), "it could not look"
    for minute in range(100):
        go(server, 25 * 3600 + minute * 900)
    assert state_of(server, ONE) == "refused"
    assert left(server) == 1000
