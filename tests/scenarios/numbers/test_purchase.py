"""Buying numbers: the intent and the charge first, then exactly this number, and a look before it is asked for again (R4, R5)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from router.accounts.audit import Change
from router.accounts.ledger import BalanceTooLow
from router.accounts.models import AuditEntry, LedgerEntry, Project
from router.carriers.base import Gone, OutcomeUnknown, Owned, TryLater
from router.scenarios.models import NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_number
from router.scenarios.numbers.purchase import advance_due, batch_progress, buy_now
from router.scenarios.service import create_scenario, delete_scenario
from router.server import Server
from router.web.errors import Problem
from tests.factories import NOON, make_ledger_entry, make_scenario
from tests.scenarios.names import ALICE, FIRST, LINE, number
from tests.scenarios.numbers.buying import (
    FOUR,
    LIKE_THESE,
    ONE,
    PRICE,
    THREE,
    TWO,
    go,
    left,
    order,
    state_of,
)
from tests.scenarios.shop import FakeShop


def test_r4_numbers_are_charged_when_they_are_ordered_each_with_its_own_reason(
    server: Server, shop: FakeShop, project: Project
) -> None:
    order(server, project, ONE, TWO)
    assert not shop.asked, "nothing is asked before the intent stands"
    with server.database.reading() as session:
        columns = select(LedgerEntry.reason, LedgerEntry.amount_minor, LedgerEntry.number)
        entries = session.execute(columns.order_by(LedgerEntry.id)).all()
    assert entries[1:] == [(f"rent:{one}:2026-11-23T12:00:00+00:00", -PRICE, one) for one in (ONE, TWO)]
    assert left(server) == 1000 - 2 * PRICE


def test_r4_a_balance_that_does_not_cover_all_of_them_buys_none(
    server: Server, shop: FakeShop, project: Project
) -> None:
    with server.database.writing() as session:
        make_ledger_entry(session, project, -600, "spent")
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
        assert session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()[-1] == "number.bought"


def test_r1_numbers_bought_for_a_scenario_are_placed_there_and_the_floors_above_hear_of_it(
    server: Server, shop: FakeShop, project: Project, changed: list[list[int]]
) -> None:
    scenario_id = spring(server, project, {"match": {"source": "google"}, "kind": "static", "number": TWO})
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


def spring(server: Server, project: Project, *channels: Any) -> int:
    with server.database.writing() as session:
        fields: dict[str, Any] = {"title": "Spring", "enabled": False, "channels": list(channels)}
        return make_scenario(session, project, 0, destinations=[LINE], **fields).id


@pytest.mark.parametrize("why", ["deleted", "suspended"])
def test_r5_a_number_whose_scenario_is_gone_meanwhile_goes_to_the_free_ones(
    server: Server, shop: FakeShop, project: Project, why: str
) -> None:
    scenario_id = spring(server, project)
    order(server, project, ONE, scenario_id=scenario_id, enable=True)
    with server.database.writing() as session:
        if why == "deleted":
            delete_scenario(Change(session, server, project, ALICE, NOON), scenario_id)
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
    shop.fail("buy", KeyboardInterrupt(), done=True)  # type: ignore[arg-type]  # a stand-in
    order(server, project, ONE)
    with pytest.raises(KeyboardInterrupt):
        advance_due(server, NOON)
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
        add_number(Change(session, server, project, ALICE, NOON), ONE)
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
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), wanted)
    batch = order(server, project, scenario_id=scenario.id, enable=True)
    with server.database.reading() as session:
        assert session.get_one(Scenario, scenario.id).enabled
        assert batch_progress(session, batch).finished


def test_r5_a_scenario_that_got_no_number_stays_disabled(server: Server, shop: FakeShop, project: Project) -> None:
    shop.stock.clear()
    scenario_id = spring(server, project)
    order(server, project, ONE, scenario_id=scenario_id, enable=True)
    go(server, 1)
    with server.database.reading() as session:
        assert not session.get_one(Scenario, scenario_id).enabled
        assert not session.scalar(select(func.count(TrackingNumber.id)).where(TrackingNumber.e164 == ONE))
