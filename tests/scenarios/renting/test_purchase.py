"""Buying numbers: the intent and the charge first, then exactly this number, and a look before it is asked for again (R4, R5)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.ledger import BalanceTooLow, Post, post
from router.accounts.models import AuditEntry, LedgerEntry, Project
from router.carriers.shop import Gone, NotForUs, OutcomeUnknown, Owned, TryLater
from router.database import Database
from router.scenarios.models import NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers import add_number
from router.scenarios.renting.purchase import advance_due, advance_order, batch_progress, buy_now, order_numbers
from router.scenarios.scenarios import create_scenario, delete_scenario
from router.server import Server
from router.web import Problem
from tests.scenarios.making import ALICE, FIRST, LINE, NOON, make_project, number
from tests.scenarios.shop import FakeShop

ONE, TWO, THREE, FOUR = (f"+1212555019{digit}" for digit in range(4))
PRICE = 150
LIKE_THESE = {"country": "US", "area_code": "212", "contains": ""}


@pytest.fixture
def shop(server: Server) -> FakeShop:
    shop = FakeShop([ONE, TWO, THREE, FOUR])
    server.registries["shop"] = shop
    return shop


@pytest.fixture
def project(database: Database) -> Iterator[Project]:
    with database.writing() as session:
        project = make_project(session, numbers=(FIRST,))
        project.number_price_minor = PRICE
        session.flush()
        post(session, project.id, Post(1000, "top-up:1", "olivia"), NOON)
    yield project
    with database.reading() as session:
        assert session.scalar(select(func.coalesce(func.sum(LedgerEntry.amount_minor), 0))) == balance(session)


def order(server: Server, project: Project, *e164s: str, **more: Any) -> int:
    with server.database.writing() as session:
        return order_numbers(session, server, project, ALICE.name, e164s, more.pop("now", NOON), **more).id


def balance(session: Session) -> int:
    return session.scalars(select(Project.balance_minor).order_by(Project.id)).first() or 0


def left(server: Server) -> int:
    with server.database.reading() as session:
        return balance(session)


def state_of(server: Server, e164: str) -> str:
    with server.database.reading() as session:
        return (
            session.scalars(
                select(NumberOrder.state).where(NumberOrder.e164 == e164).order_by(NumberOrder.id.desc())
            ).first()
            or ""
        )


def go(server: Server, seconds: float) -> None:
    """The worker at that moment."""
    while advance_due(server, NOON + timedelta(seconds=seconds)):
        pass


def test_r4_numbers_are_charged_when_they_are_ordered_each_with_its_own_reason(
    server: Server, shop: FakeShop, project: Project
) -> None:
    order(server, project, ONE, TWO)
    assert not shop.asked, "nothing is asked before the intent stands"
    with server.database.reading() as session:
        entries = session.execute(select(LedgerEntry.reason, LedgerEntry.amount_minor, LedgerEntry.number)).all()
    assert entries[1:] == [(f"rent:{one}:2026-11-23T12:00:00+00:00", -PRICE, one) for one in (ONE, TWO)]
    assert left(server) == 1000 - 2 * PRICE


def test_r4_a_balance_that_does_not_cover_all_of_them_buys_none(
    server: Server, shop: FakeShop, project: Project
) -> None:
    with server.database.writing() as session:
        post(session, project.id, Post(-600, "spent", "olivia"), NOON)
    with pytest.raises(BalanceTooLow) as refusal:
        order(server, project, ONE, TWO, THREE)
    assert refusal.value.missing_minor == 3 * PRICE - 400
    with server.database.reading() as session:
        assert not session.scalar(select(func.count(NumberOrder.id)))
        assert not session.scalar(select(func.count(NumberBatch.id)))


def test_r5_a_bought_number_is_labelled_paid_for_seven_days_and_free(
    server: Server, shop: FakeShop, project: Project
) -> None:
    batch = order(server, project, ONE)
    go(server, 1)
    with server.database.reading() as session:
        bought, made = number(session, ONE), session.scalars(select(NumberOrder)).one()
        assert (bought.owned_elsewhere, bought.scenario_id, bought.carrier_sid) == (False, None, shop.account[ONE].sid)
        assert bought.paid_until == NOON + timedelta(days=7)
        assert shop.account[ONE].label == f"ct:{made.id}"
        progress = batch_progress(session, batch)
        assert (progress.total, progress.bought, progress.waiting, progress.finished) == (1, 1, 0, True)
        assert session.scalars(select(AuditEntry.action)).all()[-1] == "number.bought"


def test_r1_numbers_bought_for_a_scenario_are_placed_there_and_the_floors_above_hear_of_it(
    server: Server, shop: FakeShop, project: Project, changed: list[list[int]]
) -> None:
    scenario_id = make_scenario(server, project, [{"match": {"source": "google"}, "kind": "static", "number": TWO}])
    order(server, project, ONE, TWO, scenario_id=scenario_id, enable=True)
    go(server, 1)
    with server.database.reading() as session:
        assert number(session, ONE).scenario_id == number(session, TWO).scenario_id == scenario_id
        assert number(session, ONE).static_source is None
        assert number(session, TWO).static_source == {"source": "google", "medium": "", "campaign": ""}
        assert sorted(changed) == sorted([[number(session, ONE).id], [number(session, TWO).id]])
        scenario = session.get_one(Scenario, scenario_id)
        assert scenario.enabled
        assert scenario.version > 1
        assert "scenario.enabled" in session.scalars(select(AuditEntry.action)).all()


def make_scenario(server: Server, project: Project, channels: list[Any] | None = None) -> int:
    with server.database.writing() as session:
        wanted = {"title": "Spring", "flow": {"destinations": [{"to": LINE}]}}
        scenario, _ = create_scenario(session, server, project, ALICE, wanted, NOON)
        scenario.channels = channels or []
        return scenario.id


@pytest.mark.parametrize("why", ["deleted", "suspended"])
def test_r5_a_number_whose_scenario_is_gone_meanwhile_goes_to_the_free_ones(
    server: Server, shop: FakeShop, project: Project, why: str
) -> None:
    scenario_id = make_scenario(server, project)
    order(server, project, ONE, scenario_id=scenario_id, enable=True)
    with server.database.writing() as session:
        if why == "deleted":
            delete_scenario(session, server, project, ALICE, scenario_id, NOON)
        else:
            session.get_one(Project, project.id).suspended_at = NOON
    go(server, 1)
    with server.database.reading() as session:
        assert number(session, ONE).scenario_id is None
        assert not session.get_one(Scenario, scenario_id).enabled


def test_r5_a_sale_without_an_answer_is_found_by_the_look_and_not_asked_for_again(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", OutcomeUnknown("No answer."), done=True)
    order(server, project, ONE)
    go(server, 0)
    assert shop.asked == [("buy", ONE), ("find", ONE)]
    assert state_of(server, ONE) == "bought"


def test_r5_a_number_that_stays_absent_is_looked_for_and_after_two_minutes_asked_for_again(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", OutcomeUnknown("No answer."))
    order(server, project, ONE)
    seen = []
    for second in range(125):
        before = len(shop.asked)
        go(server, second)
        seen += [(second, what) for what, _ in shop.asked[before:]]
    looks = [(second, "find") for second in (0, 2, 5, 15, 30, 60, 120)]
    assert seen == [(0, "buy"), *looks, (120, "buy")]
    assert shop.sales == [ONE]
    assert state_of(server, ONE) == "bought"


def test_r5_a_process_that_dies_while_asking_leaves_an_order_that_another_one_settles_by_looking(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", KeyboardInterrupt(), done=True)  # type: ignore[arg-type]
    order(server, project, ONE)
    with server.database.reading() as session:
        order_id = session.scalars(select(NumberOrder.id)).one()
    with pytest.raises(KeyboardInterrupt):
        advance_order(server, order_id, NOON)
    go(server, 60)
    assert state_of(server, ONE) == "unknown", "the dead one may still be asking"
    go(server, 121)
    assert (state_of(server, ONE), shop.sales) == ("bought", [ONE])
    assert [what for what, _ in shop.asked] == ["buy", "find"]


def test_r5_a_number_that_is_gone_is_refunded_and_another_one_is_ordered_in_its_place(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.stock.remove(ONE)
    batch = order(server, project, ONE, search=LIKE_THESE)
    go(server, 1)
    assert state_of(server, ONE) == "replaced"
    assert shop.sales == [TWO]
    assert left(server) == 1000 - PRICE
    with server.database.reading() as session:
        progress = batch_progress(session, batch)
        assert (progress.total, progress.bought, progress.failed, progress.finished) == (1, 1, 0, True)
        reasons = session.scalars(select(LedgerEntry.reason).order_by(LedgerEntry.id)).all()
    assert reasons[2] == f"refund:{reasons[1]}"


def test_r5_without_a_search_a_number_that_is_gone_is_lost_and_refunded(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.stock.remove(ONE)
    batch = order(server, project, ONE, TWO)
    go(server, 1)
    assert left(server) == 1000 - PRICE
    with server.database.reading() as session:
        progress = batch_progress(session, batch)
    assert (progress.bought, progress.failed, progress.finished) == (1, 1, True)
    assert progress.problems == [(ONE, "Somebody else has this number by now.")]


def test_r5_the_order_stays_open_until_the_search_for_another_number_has_an_answer(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.stock.remove(ONE)
    shop.fail("search", TryLater("Too many requests."))
    order(server, project, ONE, search=LIKE_THESE)
    go(server, 1)
    assert state_of(server, ONE) == "unknown"
    for later in range(10, 400, 10):
        go(server, later)
    assert state_of(server, ONE) == "replaced"
    assert shop.sales == [TWO]


def test_r5_a_number_that_the_account_has_for_something_else_is_not_taken_over(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.stock.remove(ONE)
    shop.account[ONE] = Owned(ONE, "PN9", "front desk")
    order(server, project, ONE)
    go(server, 1)
    assert state_of(server, ONE) == "lost"
    assert left(server) == 1000
    shop.stock.remove(TWO)
    shop.account[TWO] = Owned(TWO, "PN8", "ct:1")  # another server's first order: ours was for another number
    order(server, project, TWO)
    go(server, 2)
    assert state_of(server, TWO) == "lost"


def test_r5_a_sale_of_an_earlier_order_that_came_too_late_is_adopted_by_the_next_one(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.stock.remove(ONE)
    order(server, project, ONE)
    go(server, 1)
    with server.database.reading() as session:
        earlier = session.scalars(select(NumberOrder.id)).one()
    shop.account[ONE] = Owned(ONE, "PN7", f"ct:{earlier}")
    order(server, project, ONE)
    go(server, 1)
    assert state_of(server, ONE) == "bought"
    assert left(server) == 1000 - PRICE, "charged, refunded, charged"


def test_r5_what_the_carrier_refuses_for_good_is_refunded_and_ends_those_that_would_fail_alike(
    server: Server, shop: FakeShop, project: Project
) -> None:
    shop.fail("buy", *[NotForUs("An address in this country has to be registered at the carrier.")] * 8)
    more = [f"+1212555{1000 + index}" for index in range(20)]
    with server.database.writing() as session:
        post(session, project.id, Post(100_000, "top-up:2", "olivia"), NOON)
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


def test_r5_two_workers_never_ask_for_the_same_number_at_once(server: Server, shop: FakeShop, project: Project) -> None:
    order(server, project, ONE, TWO, THREE, FOUR)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: go(server, 1), range(6)))
    assert sorted(shop.asked) == [("buy", one) for one in (ONE, TWO, THREE, FOUR)]


def test_r5_a_number_cannot_be_ordered_twice_nor_added_while_it_is_being_bought(
    server: Server, shop: FakeShop, project: Project
) -> None:
    order(server, project, ONE)
    for attempt in ([ONE], [FIRST]):
        with pytest.raises(Problem) as problem:
            order(server, project, *attempt)
        assert problem.value.status == 409
    with pytest.raises(Problem, match="being bought") as problem, server.database.writing() as session:
        add_number(session, project, ALICE, ONE, NOON)
    assert problem.value.status == 409


def test_r4_with_a_price_of_zero_there_are_no_entries_and_no_refusal(
    server: Server, shop: FakeShop, project: Project
) -> None:
    with server.database.writing() as session:
        session.get_one(Project, project.id).number_price_minor = 0
    order(server, project, ONE, TWO)
    shop.stock.remove(TWO)
    go(server, 1)
    with server.database.reading() as session:
        assert session.scalar(select(func.count(LedgerEntry.id))) == 1
        assert number(session, ONE).paid_until == NOON + timedelta(days=7)


def test_r5_one_number_is_bought_while_its_buyer_waits_and_nobody_else_asks_meanwhile(
    server: Server, shop: FakeShop, project: Project
) -> None:
    made = buy_now(server, project, ALICE.name, ONE, NOON)
    assert made.state == "bought"
    assert made.number_id
    shop.fail("buy", OutcomeUnknown("No answer."))
    assert buy_now(server, project, ALICE.name, TWO, NOON).state == "unknown"
    shop.fail("buy", Gone("Not for sale."))
    assert buy_now(server, project, ALICE.name, THREE, NOON).state == "lost"


def test_r5_a_batch_of_nothing_enables_its_scenario_at_once(server: Server, shop: FakeShop, project: Project) -> None:
    with server.database.writing() as session:
        wanted = {"title": "Spring", "numbers": [FIRST], "flow": {"destinations": [{"to": LINE}]}}
        scenario, _ = create_scenario(session, server, project, ALICE, wanted, NOON)
    batch = order(server, project, scenario_id=scenario.id, enable=True)
    with server.database.reading() as session:
        assert session.get_one(Scenario, scenario.id).enabled
        assert batch_progress(session, batch).finished


def test_r5_a_scenario_that_got_no_number_stays_disabled(server: Server, shop: FakeShop, project: Project) -> None:
    shop.stock.clear()
    scenario_id = make_scenario(server, project)
    order(server, project, ONE, scenario_id=scenario_id, enable=True)
    go(server, 1)
    with server.database.reading() as session:
        assert not session.get_one(Scenario, scenario_id).enabled
        assert not session.scalar(select(func.count(TrackingNumber.id)).where(TrackingNumber.e164 == ONE))
