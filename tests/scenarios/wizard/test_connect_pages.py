"""The page before a scenario is enabled: what is found, what it costs, and Connect (R2, R4)."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.audit import Change
from router.accounts.models import LedgerEntry, Project
from router.carriers.base import OutcomeUnknown
from router.db import Database
from router.scenarios.models import NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.numbers.purchase import advance_due
from router.scenarios.service import create_scenario
from router.server import Server
from tests.factories import make_ledger_entry
from tests.people import NOW, Cast, sign_in
from tests.scenarios.names import ALICE, FIRST, LINE
from tests.scenarios.shop import FakeShop

pytestmark = pytest.mark.one_database

FLOW = {"destinations": [{"to": LINE, "ring_seconds": 20}]}
CHOSEN = "+14155557731"


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, database: Database) -> FlaskClient:
    with database.writing() as session:
        add_numbers(Change(session, server, cast.project, ALICE, NOW), [FIRST])
        session.get_one(Project, cast.project.id).number_price_minor = 150
    return sign_in(client, cast.alice)


def make(server: Server, cast: Cast, **document: Any) -> str:
    """The address of a scenario that is off."""
    given = {"title": "Spring", "numbers": [FIRST], "flow": FLOW} | document
    with server.database.writing() as session:
        return f"/scenarios/{create_scenario(Change(session, server, cast.project, ALICE, NOW), given)[0].id}"


def is_on(database: Database) -> bool:
    with database.reading() as session:
        return session.scalars(select(Scenario)).one().enabled


def test_r4_too_little_money_is_said_and_connect_is_not_offered(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    path = make(server, cast, to_buy={"numbers": [CHOSEN], "count": 0, "country": "US"})
    page = alice.get(f"{path}/review").text
    assert "1.50 EUR</span> are missing" in page
    assert ">Connect<" not in page
    refused = alice.post(f"{path}/connect", data={"version": "1"})
    assert refused.status_code == 409
    assert "Nothing was bought." in refused.text
    assert not is_on(database)
    with database.writing() as session:
        make_ledger_entry(session, cast.project, 200)
    page = alice.get(f"{path}/review").text
    assert ">Connect<" in page
    assert "0.50 EUR" in page, "what is left"
    answer = alice.post(f"{path}/connect", data={"version": "1"})
    assert answer.location.startswith("/numbers/batches/")
    with database.reading() as session:
        assert session.scalars(select(NumberOrder.e164)).all() == [CHOSEN]


@pytest.mark.parametrize(("price", "ours"), [(150, "1.50 EUR"), (0, "Numbers cost nothing here.")])
def test_r4_connect_shows_the_carriers_own_price_beside_ours(
    alice: FlaskClient, server: Server, cast: Cast, database: Database, price: int, ours: str
) -> None:
    server.shop = FakeShop([CHOSEN])
    with database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = price
    page = alice.get(f"{make(server, cast, to_buy={'numbers': [CHOSEN], 'count': 0, 'country': 'US'})}/review").text
    assert ours in page
    assert "The carrier itself asks 1.15 USD a month." in page


def test_r5_without_an_account_at_the_carrier_own_numbers_are_used_all_the_same(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    server.settings = server.settings.model_copy(update={"carrier": "twilio", "twilio_account_sid": ""})
    page = alice.get("/scenarios/new", follow_redirects=True)
    assert page.status_code == 200
    searched = alice.get(f"{page.request.path}?search=1")
    assert searched.status_code == 200
    assert "account is not set on this server" in searched.text
    refused = alice.post("/numbers/buy", data={"country": "US", "e164": CHOSEN})
    assert refused.status_code == 503
    assert "account is not set on this server" in refused.text
    path = make(server, cast)
    assert alice.get(f"{path}/review").status_code == 200
    alice.post(f"{path}/connect", data={"version": "1"})
    assert is_on(database)


def test_r2_numbers_that_are_there_already_are_enabled_for_nothing(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    path = make(server, cast)
    page = alice.get(f"{path}/review").text
    assert "Nobody is told about its calls." in page
    assert f"{path}/integrations?check=1#" in page, "each finding leads to its field"
    assert "Nobody is told about its calls." in alice.get(f"{path}/integrations?check=1").text
    answer = alice.post(f"{path}/connect", data={"version": "1"}, follow_redirects=True)
    assert "Spring is on" in answer.text
    assert "/settings/install" in answer.text
    assert is_on(database)


def test_r2_what_stops_it_is_mended_first(alice: FlaskClient, server: Server, cast: Cast) -> None:
    page = alice.get(f"{make(server, cast, flow=None)}/review").text
    assert "No destination" in page
    assert ">Connect<" not in page


def test_connect_buys_what_was_shown_and_nothing_else(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    """Somebody changed it between the look and the press."""
    path = make(server, cast)
    alice.post(f"{path}/terms", data={"title": "Other", "do": "apply"})
    late = alice.post(f"{path}/connect", data={"version": "1"})
    assert late.status_code == 409
    assert "Somebody else changed this scenario meanwhile" in late.text
    assert not is_on(database)


def test_a_number_that_went_away_is_said(alice: FlaskClient, server: Server, cast: Cast, database: Database) -> None:
    path = make(server, cast, to_buy={"numbers": [CHOSEN], "count": 0, "country": "US"})
    with database.writing() as session:
        make_ledger_entry(session, cast.project, 900)
    with database.writing() as session:
        add_numbers(Change(session, server, cast.other_project, ALICE, NOW), [CHOSEN])
    page = alice.get(f"{path}/review").text
    assert "is no longer to be had" in page
    assert ">Connect<" not in page
    assert alice.post(f"{path}/connect", data={"version": "1"}).status_code == 409


@pytest.mark.parametrize("database_kind", ["postgresql"])  # where eight numbers really arrive at once
def test_r2_buying_forty_numbers_shows_how_far_it_is_and_what_failed(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    """One is sold without an answer; three are sold to somebody else after they were found, and there are no others."""
    stock = [f"+1212555{index:04}" for index in range(100, 140)]
    shop = server.shop = FakeShop(stock.copy())
    path = make(server, cast, numbers=[], to_buy={"numbers": [], "count": 40, "country": "US"})
    with database.writing() as session:
        make_ledger_entry(session, cast.project, 40 * 150)
    shop.fail("buy", OutcomeUnknown("No answer."), done=True)
    answer = alice.post(f"{path}/connect", data={"version": "1"})
    gone = shop.stock[-3:]
    del shop.stock[-3:]
    advance_due(server, server.now())
    page = alice.get(answer.location).text
    assert "Buying 40 numbers" in page
    assert "8 of 40 bought, 32 to go" in page
    assert not is_on(database)
    while advance_due(server, server.now() + timedelta(minutes=5)):
        pass
    page = alice.get(answer.location).text
    assert "37 of 40 numbers bought" in page
    assert page.count("Somebody else has this number by now.") == 3
    assert all(f"+1 212-555-{e164[-4:]}" in page for e164 in gone)
    assert sorted(shop.sales) == stock[:37], "no number is bought twice"
    with database.reading() as session:
        here = session.scalars(select(TrackingNumber.e164).where(TrackingNumber.scenario_id.is_not(None))).all()
        charged = session.scalars(select(LedgerEntry.number).where(LedgerEntry.reason.startswith("rent:"))).all()
        assert (sorted(here), sorted(charged)) == (stock[:37], stock)
        assert session.get_one(Project, cast.project.id).balance_minor == 3 * 150
    assert is_on(database)
