"""The pages of tracking numbers (R5): figures, filters, moving, pinning, giving back, buying without a scenario."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Project
from router.carriers.base import TryLater
from router.db import Database
from router.scenarios.models import NumberBatch, Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.numbers.purchase import advance_due
from router.scenarios.service import create_scenario
from router.server import Server
from tests.counting import count_statements
from tests.factories import make_number
from tests.pages import words_of
from tests.people import NOW, Cast, sign_in
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD
from tests.scenarios.shop import FakeShop
from tests.scenarios.test_table import fill

pytestmark = pytest.mark.one_database

FLYER = {"source": "flyer", "medium": "print", "campaign": "may"}
SOLD = "+12015550123"


@pytest.fixture
def server(app: Flask) -> Server:
    found: Server = app.extensions["router"]
    found.now = lambda: NOW
    return found


@pytest.fixture
def shop(server: Server) -> FakeShop:
    shop = FakeShop([SOLD, "+12015550124"])
    server.shop = shop
    return shop


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, server: Server, database: Database) -> FlaskClient:
    """Spring has a dynamic and a static number, Summer has none, and one number is free; two are rented."""
    with database.writing() as session:
        add_numbers(Change(session, server, cast.project, ALICE, NOW), [FIRST, SECOND, THIRD])
        flow = {"destinations": [{"to": LINE, "ring_seconds": 20}]}
        spring = {"title": "Spring", "numbers": [FIRST, SECOND], "static": {SECOND: FLYER}, "flow": flow}
        create_scenario(Change(session, server, cast.project, ALICE, NOW), spring)
        create_scenario(Change(session, server, cast.project, ALICE, NOW), {"title": "Summer", "flow": flow})
        rented = {"owned_elsewhere": False, "carrier_sid": "PN1", "paid_until": NOW + timedelta(days=3)}
        wanted = TrackingNumber.e164.in_([SECOND, THIRD])
        session.execute(update(TrackingNumber).where(wanted).values(**rented))
    return sign_in(client, cast.alice)


def scenario(session: Session, title: str) -> Scenario:
    return session.scalars(select(Scenario).where(Scenario.title == title)).one()


def number(database: Database, e164: str) -> TrackingNumber:
    with database.reading() as session:
        return session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == e164)).one()


def test_r7_a_number_moves_with_its_history_and_leaves_its_channel(alice: FlaskClient, database: Database) -> None:
    before = number(database, SECOND)
    with database.writing() as session:
        spring, summer = scenario(session, "Spring"), scenario(session, "Summer")
        session.execute(update(TrackingNumber).values(calls=7))
    ids = [str(before.id), str(number(database, THIRD).id)]
    asked = alice.get("/numbers/move?" + "&".join(f"number={one}" for one in ids)).text
    assert "Move 2 numbers" in asked
    assert "static: it becomes dynamic" in asked
    answer = alice.post("/numbers/move", data={"number": ids, "scenario": summer.id}, follow_redirects=True)
    assert "2 numbers moved to Summer." in answer.text
    moved = number(database, SECOND)
    assert (moved.id, moved.calls, moved.scenario_id, moved.static_source) == (before.id, 7, summer.id, None)
    assert moved.last_flow_id == spring.call_flow_id
    with database.reading() as session:
        after = scenario(session, "Spring")
        assert after.channels == []
        assert (after.version, scenario(session, "Summer").version) == (2, 2), "whoever edits them is told"
    out = alice.post("/numbers/move", data={"number": ids, "scenario": ""}, follow_redirects=True)
    assert "2 numbers taken out" in out.text
    assert number(database, SECOND).scenario_id is None


def test_another_projects_number_or_scenario_is_not_there(
    alice: FlaskClient, app: Flask, cast: Cast, database: Database
) -> None:
    charlie = sign_in(app.test_client(), cast.charlie)
    mine = number(database, FIRST).id
    with database.reading() as session:
        spring = scenario(session, "Spring").id
    for path in (f"/numbers/move?number={mine}", f"/numbers/release?number={mine}"):
        assert charlie.get(path).status_code == 404
    assert charlie.post("/numbers/move", data={"number": mine, "scenario": ""}).status_code == 404
    assert charlie.post("/numbers/release", data={"number": mine}).status_code == 404
    assert charlie.post(f"/numbers/{mine}/pin", data={"on": "1"}).status_code == 404
    assert charlie.post(f"/scenarios/{spring}/upkeep-switch", data={"on": "1"}).status_code == 404
    assert alice.post("/numbers/move", data={"number": mine, "scenario": "99999"}).status_code == 404
    assert alice.post("/numbers/move", data={"scenario": ""}).status_code == 422
    assert (number(database, FIRST).scenario_id, number(database, FIRST).pinned) == (spring, False)


def test_r5_pinning_acts_at_once_and_keeps_a_number_from_being_given_back(
    alice: FlaskClient, database: Database
) -> None:
    ids = {e164: number(database, e164).id for e164 in (FIRST, SECOND, THIRD)}
    told = alice.post(f"/numbers/{ids[THIRD]}/pin", data={"on": "1"}, headers={"Accept": "application/json"}).json
    assert told == {"said": "+1 415-555-0123 is pinned: the server never gives it back."}
    asked = alice.get("/numbers/release?" + "&".join(f"number={one}" for one in ids.values())).text
    for said in ("stays: it is pinned", "stays: it is rented elsewhere", ">26 Nov 2026<", "printed somewhere"):
        assert said in asked
    answer = alice.post("/numbers/release", data={"number": list(ids.values())}, follow_redirects=True)
    assert "1 number is being given back to the carrier." in answer.text
    assert [number(database, e164).releasing_at for e164 in (FIRST, SECOND, THIRD)] == [None, NOW, None]
    assert number(database, SECOND).scenario_id is None
    assert alice.get("/numbers?use=leaving").text.count("being given back</span>") == 1


def test_r3_a_deleted_scenarios_numbers_are_free_or_given_back_as_chosen(
    alice: FlaskClient, database: Database
) -> None:
    with database.reading() as session:
        path = f"/scenarios/{scenario(session, 'Spring').id}/delete"
    asked = words_of(alice.get(path))
    for said in ("Back to the project", "Give 1 of them back", ">26 Nov 2026<", "1 own number stays"):
        assert said in asked
    answer = alice.post(path, data={"numbers": "release"}, follow_redirects=True).text
    assert "Spring is deleted. 1 number is free again. 1 number is being given back." in answer
    assert (number(database, FIRST).scenario_id, number(database, FIRST).releasing_at) == (None, None)
    assert number(database, SECOND).releasing_at == NOW


def test_the_page_says_how_many_are_in_use_free_and_in_grace_and_what_they_cost(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        session.execute(update(Project).values(number_price_minor=150))
        over = {"paid_until": NOW - timedelta(days=1)}
        session.execute(update(TrackingNumber).where(TrackingNumber.e164 == THIRD).values(**over))
        make_number(session, cast.project, SOLD, released_at=NOW, releasing_at=NOW, owned_elsewhere=False)
        shown = {"last_shown_at": NOW, "last_visit": 10044, "calls": 3}
        session.execute(update(TrackingNumber).where(TrackingNumber.e164 == FIRST).values(**shown))
    page = alice.get("/numbers").text
    for said in ("2 in use, 1 free.", "3.00 EUR", "in grace", "visit 10044", "static: flyer / print / may"):
        assert said in page
    assert "+1 201-555-0123" not in page, "released numbers are listed only when asked for"
    assert "+1 201-555-0123" in alice.get("/numbers?use=gone").text
    assert "+1 415-555-0121" not in alice.get("/numbers?use=grace").text


def test_the_numbers_take_the_same_statements_for_few_and_for_many(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    alice.get("/numbers")
    with count_statements(database) as few:
        alice.get("/numbers")
    fill(database, cast.project, 10, 10, offset=5)
    with count_statements(database) as many:
        alice.get("/numbers")
    assert len(few) == len(many)


def test_r5_a_number_is_bought_without_a_scenario(
    alice: FlaskClient, database: Database, server: Server, shop: FakeShop
) -> None:
    found = alice.get("/numbers/buy?country=US&area_code=(201)").text
    assert "+1 201-555-0123" in found
    assert "a month" in found
    bought = alice.post("/numbers/buy", data={"country": "US", "e164": [SOLD]}, follow_redirects=True)
    assert "Buying 1 number" in bought.text
    assert bought.request.path == f"/numbers/batches/{batch(database).id}"
    while advance_due(server, NOW):
        pass
    over = alice.get(bought.request.path).text
    assert "1 number bought" in over
    assert 'data-live="over"' in over
    assert (number(database, SOLD).scenario_id, number(database, SOLD).owned_elsewhere) == (None, False)


def batch(database: Database) -> NumberBatch:
    with database.reading() as session:
        return session.scalars(select(NumberBatch)).one()


def test_r4_buying_with_too_little_money_says_what_is_missing_and_keeps_what_was_ticked(
    alice: FlaskClient, database: Database, shop: FakeShop
) -> None:
    with database.writing() as session:
        session.execute(update(Project).values(number_price_minor=250))
    answer = alice.post("/numbers/buy", data={"country": "US", "e164": [SOLD]})
    assert answer.status_code == 409
    assert "2.50 EUR are missing: top up, then buy. Nothing is bought yet." in answer.text
    assert f'value="{SOLD}" data-tick checked' in words_of(answer)
    with database.reading() as session:
        assert session.scalars(select(NumberBatch)).all() == []
    assert alice.post("/numbers/buy", data={"country": "US"}).status_code == 422
    assert alice.post("/numbers/buy", data={"country": "US", "e164": ["nonsense"]}).status_code == 422


def test_r5_a_carrier_that_is_away_is_said_calmly(alice: FlaskClient, shop: FakeShop) -> None:
    shop.fail("search", TryLater("Too many requests."))
    page = alice.get("/numbers/buy")
    assert page.status_code == 200
    assert "The carrier cannot be asked now: Too many requests." in page.text


def test_an_order_of_another_project_is_not_there(
    alice: FlaskClient, app: Flask, cast: Cast, database: Database, shop: FakeShop
) -> None:
    alice.post("/numbers/buy", data={"country": "US", "e164": [SOLD]})
    path = f"/numbers/batches/{batch(database).id}"
    assert alice.get(path).status_code == 200
    assert sign_in(app.test_client(), cast.charlie).get(path).status_code == 404


def unpaid_since(database: Database, cast: Cast, days: int) -> None:
    with database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = 150
        values = {"paid_until": NOW - timedelta(days=days)}
        session.execute(update(TrackingNumber).where(TrackingNumber.e164 == SECOND).values(**values))


def test_r4_numbers_kept_unpaid_after_their_grace_are_listed_and_somebody_decides(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    unpaid_since(database, cast, 6)
    assert "after 7 days of grace" not in alice.get("/numbers").text
    assert "No number fits this filter." in alice.get("/numbers?use=kept").text
    unpaid_since(database, cast, 8)
    assert "1 number is unpaid after 7 days of grace and keeps ringing" in words_of(alice.get("/numbers"))
    listed = alice.get("/numbers?use=kept").text
    assert "+1 415-555-0122" in listed
    assert "+1 415-555-0123" not in listed
