"""R2, R4: enabling says what it costs, refuses what is not covered, and *Connect* orders what the scenario is to buy."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from router.accounts.audit import Change
from router.accounts.models import Project
from router.carriers.base import TryLater
from router.scenarios.documents import scenario_document
from router.scenarios.enable import Enabling, buying_of, enabling_of, searching
from router.scenarios.lint import lint
from router.scenarios.models import NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.purchase import advance_due
from router.scenarios.service import change_scenario, connect_scenario, create_scenario, switch_scenario
from router.server import Server
from router.web.errors import Problem
from tests.factories import NOON, make_ledger_entry
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, number
from tests.scenarios.shop import FakeShop

FOR_SALE = [f"+1212555019{digit}" for digit in range(6)]
PRICE = 150
FLOW = {"destinations": [{"to": LINE}]}


@pytest.fixture(autouse=True)
def shop(server: Server) -> FakeShop:
    server.shop = shop = FakeShop(list(FOR_SALE))
    return shop


def pay(server: Server, project: Project, amount: int = 0, price: int | None = PRICE) -> None:
    with server.database.writing() as session:
        session.get_one(Project, project.id).number_price_minor = price
        if amount:
            make_ledger_entry(session, project, amount, f"top-up:{amount}")


def create(server: Server, project: Project, **document: Any) -> int:
    def attempt(found: Any) -> int:
        with server.database.writing() as session:
            given = {"title": "Spring", "flow": FLOW} | document
            return create_scenario(Change(session, server, project, ALICE, NOON), given, found)[0].id

    return searching(server, attempt)


def connected(server: Server, project: Project, scenario_id: int, version: int | None = None) -> int:
    """Presses Connect; how many numbers were ordered."""

    def attempt(found: Any) -> int:
        with server.database.writing() as session:
            _, buying = connect_scenario(Change(session, server, project, ALICE, NOON), scenario_id, found, version)
            return buying.total if buying else 0

    return searching(server, attempt)


def enabling(server: Server, project: Project, scenario_id: int) -> Enabling:
    with server.database.reading() as session:
        return enabling_of(session, server, project, session.get_one(Scenario, scenario_id), NOON)


def stored(server: Server, scenario_id: int) -> dict[str, Any]:
    with server.database.reading() as session:
        return scenario_document(session, server, session.get_one(Scenario, scenario_id))


def orders(server: Server) -> list[str]:
    with server.database.reading() as session:
        return list(session.scalars(select(NumberOrder.e164).order_by(NumberOrder.id)))


def work(server: Server) -> None:
    while advance_due(server, NOON):
        pass


def test_r4_own_and_paid_numbers_cost_nothing_those_to_buy_and_those_in_grace_do(
    server: Server, project: Project
) -> None:
    pay(server, project, 100)
    scenario_id = create(server, project, numbers=[FIRST, SECOND], to_buy={"numbers": FOR_SALE[:1], "count": 2})
    with server.database.writing() as session:
        paid, late = number(session, FIRST), number(session, SECOND)
        paid.owned_elsewhere = late.owned_elsewhere = False
        paid.paid_until, late.paid_until = NOON + timedelta(days=1), NOON - timedelta(days=8)
    found = enabling(server, project, scenario_id)
    assert (found.to_buy, found.count, found.total) == (FOR_SALE[:1], 2, 3)
    assert (found.owed_minor, found.cost_minor) == (2 * PRICE, 5 * PRICE), "8 days late: two times 7 days are owed"
    assert (found.balance_minor, found.missing_minor) == (100, 650)
    with server.database.reading() as session:
        assert lint(session, server, project, scenario_id, stored(server, scenario_id)) == []


def test_r4_enabling_with_too_little_money_says_how_much_is_missing_and_changes_nothing(
    server: Server, project: Project
) -> None:
    pay(server, project, 200)
    scenario_id = create(server, project, numbers=[FIRST], to_buy={"numbers": FOR_SALE[:2]})
    before = stored(server, scenario_id)

    def switched() -> None:
        with server.database.writing() as session:
            switch_scenario(Change(session, server, project, ALICE, NOON), scenario_id, True)

    def changed() -> None:
        with server.database.writing() as session:
            edit: Callable[[Any], Any] = lambda present: present | {"enabled": True, "title": "Summer"}  # noqa: E731 - it reads as a table does
            change_scenario(Change(session, server, project, ALICE, NOON), scenario_id, edit, None)

    for attempt in (switched, changed, lambda: connected(server, project, scenario_id)):
        with pytest.raises(Problem) as refusal:
            attempt()
        assert refusal.value.status == 409
        money = {"missing_minor": 100, "cost_minor": 300, "balance_minor": 200, "currency": "EUR"}
        assert refusal.value.more == money
        assert "1.00 EUR are missing" in refusal.value.detail
    assert stored(server, scenario_id) == before
    assert orders(server) == []
    with pytest.raises(Problem, match="missing"):
        create(server, project, enabled=True, to_buy={"count": 3})
    with server.database.reading() as session:
        assert len(session.scalars(select(Scenario)).all()) == 1


def test_r4_a_price_of_zero_never_refuses(server: Server, project: Project) -> None:
    scenario_id = create(server, project, to_buy={"numbers": FOR_SALE[:2]})
    assert enabling(server, project, scenario_id).missing_minor == 0
    assert connected(server, project, scenario_id) == 2


def test_r2_connect_orders_the_named_numbers_and_as_many_others_and_forgets_them(
    server: Server, project: Project, shop: FakeShop
) -> None:
    pay(server, project, 1000)
    scenario_id = create(server, project, to_buy={"numbers": FOR_SALE[1:2], "count": 2, "area_code": "212"})
    assert connected(server, project, scenario_id) == 3
    assert orders(server) == [FOR_SALE[1], FOR_SALE[0], FOR_SALE[2]], "a named number is not bought twice"
    document = stored(server, scenario_id)
    assert (document["enabled"], document["to_buy"]["numbers"], document["to_buy"]["count"]) == (False, [], 0)
    with server.database.reading() as session:
        buying = buying_of(session, session.get_one(Scenario, scenario_id))
        assert buying is not None
        assert buying.total == 3
        assert session.get_one(NumberBatch, buying.batch).search == {
            "country": "US",
            "area_code": "212",
            "contains": "",
        }
    work(server)
    done = stored(server, scenario_id)
    assert (done["enabled"], sorted(done["numbers"])) == (True, FOR_SALE[:3]), "the first numbers enable it"
    with server.database.reading() as session:
        assert buying_of(session, session.get_one(Scenario, scenario_id)) is None
        assert session.get_one(Project, project.id).balance_minor == 1000 - 3 * PRICE


def test_r2_a_scenario_with_numbers_is_enabled_at_once_and_new_ones_join(server: Server, project: Project) -> None:
    scenario_id = create(server, project, numbers=[FIRST], to_buy={"numbers": FOR_SALE[:1]})
    assert connected(server, project, scenario_id) == 1
    assert stored(server, scenario_id)["enabled"]
    work(server)
    assert stored(server, scenario_id)["numbers"] == [FIRST, FOR_SALE[0]]


def test_r2_saving_buys_nothing_also_in_a_scenario_that_is_on(server: Server, project: Project) -> None:
    scenario_id = create(server, project, enabled=True, numbers=[FIRST])
    with server.database.writing() as session:
        edit: Callable[[Any], Any] = lambda present: present | {"to_buy": {"count": 2}}  # noqa: E731 - it reads as a table does
        change_scenario(Change(session, server, project, ALICE, NOON), scenario_id, edit, None)
    assert orders(server) == []
    assert connected(server, project, scenario_id) == 2


def test_r2_a_scenario_that_was_disabled_meanwhile_stays_so_when_its_numbers_arrive(
    server: Server, project: Project
) -> None:
    scenario_id = create(server, project, to_buy={"numbers": FOR_SALE[:1]})
    connected(server, project, scenario_id)
    with server.database.writing() as session:
        switch_scenario(Change(session, server, project, ALICE, NOON), scenario_id, False)
    work(server)
    document = stored(server, scenario_id)
    assert (document["enabled"], document["numbers"]) == (False, FOR_SALE[:1])


def test_r2_a_channel_of_a_number_that_is_being_bought_is_kept_and_counts_when_it_is_there(
    server: Server, project: Project
) -> None:
    channel = {"match": {"source": "radio"}, "kind": "static", "number": FOR_SALE[0]}
    scenario_id = create(server, project, to_buy={"numbers": FOR_SALE[:1]}, channels=[channel])
    connected(server, project, scenario_id)
    with server.database.writing() as session:
        edit: Callable[[Any], Any] = lambda present: present | {"title": "Summer"}  # noqa: E731 - it reads as a table does
        change_scenario(Change(session, server, project, ALICE, NOON), scenario_id, edit, None)
    work(server)
    assert stored(server, scenario_id)["enabled"], "an edit while it waits for its first numbers takes nothing back"
    with server.database.reading() as session:
        assert number(session, FOR_SALE[0]).static_source == {"source": "radio", "medium": "", "campaign": ""}


def test_r2_too_few_numbers_for_sale_or_no_answer_order_nothing(
    server: Server, project: Project, shop: FakeShop
) -> None:
    scenario_id = create(server, project, to_buy={"count": 40})
    with pytest.raises(Problem, match="only 6 such numbers") as refusal:
        connected(server, project, scenario_id)
    assert (refusal.value.status, refusal.value.field) == (409, "to_buy.count")
    shop.fail("search", TryLater("Too many requests."))
    with pytest.raises(Problem, match="Too many requests") as refusal:
        connected(server, project, scenario_id)
    assert refusal.value.status == 503
    assert orders(server) == []
    assert stored(server, scenario_id)["to_buy"]["count"] == 40


def test_r2_connect_with_an_old_version_is_told_and_buys_nothing(server: Server, project: Project) -> None:
    scenario_id = create(server, project, to_buy={"numbers": FOR_SALE[:1]})
    with pytest.raises(Problem) as refusal:
        connected(server, project, scenario_id, version=7)
    assert (refusal.value.status, refusal.value.field) == (409, "version")
    assert orders(server) == []


def test_r2_connecting_twice_orders_once(server: Server, project: Project) -> None:
    scenario_id = create(server, project, to_buy={"numbers": FOR_SALE[:2]})
    assert [connected(server, project, scenario_id) for _ in range(2)] == [2, 0]
    assert orders(server) == FOR_SALE[:2]


def test_r2_two_who_connect_at_once_order_once(server: Server, project: Project) -> None:
    scenario_id = create(server, project, to_buy={"count": 2})
    with ThreadPoolExecutor(2) as people:
        ordered = list(people.map(lambda _: connected(server, project, scenario_id), range(2)))
    assert sorted(ordered) == [0, 2]
    assert len(orders(server)) == 2


def test_r2_a_country_without_numbers_is_named_at_its_field(server: Server, project: Project) -> None:
    scenario_id = create(server, project, to_buy={"count": 1, "country": "AQ"})
    with pytest.raises(Problem) as refusal:
        connected(server, project, scenario_id)
    assert (refusal.value.status, refusal.value.field) == (422, "to_buy.country")


def test_r9_the_pool_that_upkeep_begins_with_counts_dynamic_numbers_and_those_to_buy(
    server: Server, project: Project
) -> None:
    scenario_id = create(
        server,
        project,
        numbers=[FIRST, SECOND],
        static={SECOND: {"source": "flyer"}},
        to_buy={"count": 4},
        upkeep={"on": True, "spending_limit_minor": 500, "max_numbers": 9},
    )
    with server.database.reading() as session:
        scenario = session.get_one(Scenario, scenario_id)
        assert (scenario.upkeep_on, scenario.upkeep_began_with) == (True, 5)
        assert (scenario.upkeep_spending_limit_minor, scenario.upkeep_max_numbers) == (500, 9)
        assert session.scalars(select(TrackingNumber.id).where(TrackingNumber.scenario_id.is_not(None))).all()
