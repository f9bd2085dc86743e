"""Searching, buying, moving, pinning and giving back numbers, as programs do it (R4, R5)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from router.accounts.models import LedgerEntry, Project
from router.carriers.base import NotForUs, OutcomeUnknown, TryLater
from router.scenarios.models import NumberOrder, TrackingNumber
from router.scenarios.numbers.release import advance_releases
from router.server import Server
from tests.factories import make_ledger_entry, make_rented_number
from tests.people import Cast
from tests.scenarios.names import FIRST, LINE, SECOND, balance_of, number
from tests.scenarios.shop import FakeShop
from tests.scenarios.test_api import Program, refusal

pytestmark = pytest.mark.one_database

STOCK = [f"+1212555019{digit}" for digit in range(6)]
ONE, TWO, THREE = STOCK[:3]
PRICE = 150


@pytest.fixture
def server(app: Any) -> Server:
    found: Server = app.extensions["router"]
    return found


@pytest.fixture
def shop(server: Server) -> FakeShop:
    shop = FakeShop(list(STOCK))
    server.shop = shop
    return shop


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, server: Server, shop: FakeShop) -> Program:
    with server.database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = PRICE
        make_ledger_entry(session, cast.project, 1000)
    return Program(client, cast.alice_token, cast.project)


def balance(server: Server, cast: Cast) -> int:
    with server.database.reading() as session:
        return balance_of(session, cast.project)


def test_r5_a_search_tells_our_price_and_the_carriers_beside_it(alice: Program, shop: FakeShop) -> None:
    answer = alice.send("POST", "/numbers/search", {"country": "us", "area_code": "212", "limit": 2})
    assert answer.status_code == 200, answer.text
    items = (answer.json or {})["items"]
    assert [one["e164"] for one in items] == [ONE, TWO]
    assert items[0] | {"place": ""} == {
        "e164": ONE, "price_minor": PRICE, "currency": "EUR", "country": "US", "kind": "local", "place": "",
        "carrier_price": {"amount": "1.15", "currency": "USD", "period": "month"},
    }  # fmt: skip


def test_r5_numbers_that_are_here_or_being_bought_are_not_offered(alice: Program, shop: FakeShop) -> None:
    alice.made("/numbers", {"e164": "+12125550190"})
    shop.fail("buy", OutcomeUnknown("No answer."))
    assert alice.send("POST", "/numbers/buy", {"e164": TWO}).status_code == 202
    items = (alice.send("POST", "/numbers/search", {"country": "US", "limit": 2}).json or {})["items"]
    assert [one["e164"] for one in items] == STOCK[2:4]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "country"),
        ({"country": "USA"}, "country"),
        ({"country": "FR"}, "country"),
        ({"country": 1}, "country"),
        ({"country": "US", "area_code": "2x2"}, "area_code"),
        ({"country": "US", "contains": "*"}, "contains"),
        ({"country": "US", "limit": 0}, "limit"),
        ({"country": "US", "limit": 201}, "limit"),
        ({"country": "US", "limit": "ten"}, "limit"),
        ({"country": "US", "wish": 1}, "wish"),
    ],
)
def test_r5_a_search_that_cannot_be_used_names_the_field(alice: Program, body: dict[str, Any], field: str) -> None:
    assert refusal(alice.send("POST", "/numbers/search", body)) == (422, field)


def test_r5_a_carrier_that_is_away_or_refuses_is_told(alice: Program, shop: FakeShop) -> None:
    for error, status in ((TryLater("It is away."), 503), (NotForUs("The key is wrong."), 502)):
        shop.fail("search", error)
        answer = alice.send("POST", "/numbers/search", {"country": "US"})
        assert refusal(answer) == (status, None)
        assert str(error) in answer.text


def test_r4_a_number_is_bought_while_the_program_waits(alice: Program, server: Server, cast: Cast) -> None:
    before = datetime.now(UTC)
    bought = alice.made("/numbers/buy", {"e164": "(212) 555-0190"})
    assert (bought["e164"], bought["state"], bought["owned_elsewhere"]) == (ONE, "free", False)
    assert 6 < (datetime.fromisoformat(bought["paid_until"]) - before).days + 1 <= 8
    assert balance(server, cast) == 1000 - PRICE
    assert (alice.send("GET", f"/numbers/{ONE}").json or {})["bought_at"] == bought["bought_at"]


def test_r4_a_balance_that_does_not_cover_it_says_how_much_is_missing(
    alice: Program, server: Server, cast: Cast, shop: FakeShop
) -> None:
    with server.database.writing() as session:
        make_ledger_entry(session, cast.project, -900, "spent")
    answer = alice.send("POST", "/numbers/buy", {"e164": ONE})
    assert refusal(answer) == (409, None)
    assert (answer.json or {})["missing_minor"] == 50
    assert not shop.asked
    assert balance(server, cast) == 100


def test_r5_an_order_without_a_clear_answer_is_accepted_and_goes_on(alice: Program, shop: FakeShop) -> None:
    shop.fail("buy", OutcomeUnknown("No answer."))
    answer = alice.send("POST", "/numbers/buy", {"e164": ONE})
    assert answer.status_code == 202
    assert (answer.json or {})["state"] == "unknown"
    assert refusal(alice.send("POST", "/numbers/buy", {"e164": ONE})) == (409, "e164")


def test_r5_a_number_that_is_gone_here_already_or_refused_costs_nothing(
    alice: Program, server: Server, cast: Cast, shop: FakeShop
) -> None:
    assert refusal(alice.send("POST", "/numbers/buy", {"e164": "+12125550177"})) == (409, "e164")
    alice.made("/numbers", {"e164": FIRST})
    assert refusal(alice.send("POST", "/numbers/buy", {"e164": FIRST})) == (409, "e164")
    shop.fail("buy", NotForUs("An address in this country has to be registered at the carrier."))
    answer = alice.send("POST", "/numbers/buy", {"e164": ONE})
    assert refusal(answer) == (502, None)
    assert "address" in answer.text
    assert refusal(alice.send("POST", "/numbers/buy", {"e164": "nonsense"})) == (422, "e164")
    assert balance(server, cast) == 1000


def test_r5_a_number_is_bought_into_a_scenario_of_the_project_alone(alice: Program, cast: Cast, server: Server) -> None:
    spring = alice.made("/scenarios", {"title": "Spring", "flow": {"destinations": [{"to": LINE}]}})
    bought = alice.made("/numbers/buy", {"e164": ONE, "scenario": spring["id"]})
    assert (bought["scenario"], bought["state"]) == (spring["id"], "in_use")
    assert refusal(alice.send("POST", "/numbers/buy", {"e164": TWO, "scenario": 999})) == (404, None)
    assert balance(server, cast) == 1000 - PRICE


def test_r3_a_number_moves_between_scenarios_and_keeps_its_history(alice: Program, server: Server) -> None:
    spring, autumn = (alice.made("/scenarios", {"title": title})["id"] for title in ("Spring", "Autumn"))
    alice.made("/numbers", {"e164": FIRST})
    with server.database.writing() as session:
        number(session, FIRST).calls = 7
    for scenario in (spring, autumn, None):
        moved = alice.send("PATCH", f"/numbers/{FIRST}", {"scenario": scenario}).json or {}
        assert (moved["scenario"], moved["calls"]) == (scenario, 7)
    assert refusal(alice.send("PATCH", f"/numbers/{FIRST}", {"scenario": 999})) == (404, "scenario")
    assert refusal(alice.send("PATCH", f"/numbers/{FIRST}", {"pinned": "yes"})) == (422, "pinned")


def test_r5_a_pinned_number_is_given_back_only_after_it_was_unpinned(
    alice: Program, server: Server, shop: FakeShop
) -> None:
    alice.made("/numbers/buy", {"e164": ONE})
    assert (alice.send("PATCH", f"/numbers/{ONE}", {"pinned": True}).json or {})["pinned"] is True
    assert refusal(alice.send("DELETE", f"/numbers/{ONE}")) == (409, None)
    alice.send("PATCH", f"/numbers/{ONE}", {"pinned": False})
    answer = alice.send("DELETE", f"/numbers/{ONE}")
    assert answer.status_code == 202
    assert (answer.json or {})["state"] == "releasing"
    assert alice.send("DELETE", f"/numbers/{ONE}").status_code == 202, "asking twice changes nothing"
    advance_releases(server, server.now())
    assert ONE not in shop.account
    assert refusal(alice.send("GET", f"/numbers/{ONE}")) == (404, None)


def test_r5_an_own_number_goes_only_while_it_has_no_history(alice: Program, server: Server) -> None:
    for e164 in (FIRST, SECOND):
        alice.made("/numbers", {"e164": e164})
    with server.database.writing() as session:
        number(session, SECOND).calls = 1
    assert alice.send("DELETE", f"/numbers/{FIRST[1:]}").status_code == 204
    assert refusal(alice.send("DELETE", f"/numbers/{SECOND}")) == (409, None)


def test_r4_a_number_in_grace_says_until_when(alice: Program, server: Server, cast: Cast) -> None:
    with server.database.writing() as session:
        make_rented_number(session, cast.project, ONE, datetime(2026, 1, 1, tzinfo=UTC))
    document = alice.send("GET", f"/numbers/{ONE}").json or {}
    assert (document["state"], document["grace_until"]) == ("grace", "2026-01-08T00:00:00.000Z")


def test_nobody_buys_without_an_admins_role_and_nothing_is_left_behind(
    alice: Program, cast: Cast, client: FlaskClient, server: Server
) -> None:
    bob = Program(client, cast.bob_token, cast.project)
    assert refusal(bob.send("POST", "/numbers/buy", {"e164": ONE})) == (403, None)
    with server.database.reading() as session:
        assert not session.scalar(select(func.count(NumberOrder.id)))
        assert session.scalar(select(func.count(LedgerEntry.id))) == 1
        assert not session.scalar(select(func.count(TrackingNumber.id)))
