"""The pages of scenarios and numbers, without JavaScript."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, func, select

from router.accounts.audit import Change
from router.db import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.service import create_scenario
from router.server import Server
from tests.people import NOW, Cast, sign_in
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD

pytestmark = pytest.mark.one_database

SPRING: dict[str, Any] = {
    "title": "Spring",
    "numbers": [FIRST, SECOND],
    "static": {SECOND: {"source": "flyer"}},
    "flow": {"destinations": [{"to": LINE, "ring_seconds": 35}]},
    "tagging": {"selectors": [".phone"]},
}


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, database: Database) -> FlaskClient:
    with database.writing() as session:
        add_numbers(Change(session, server, cast.project, ALICE, NOW), [FIRST, SECOND, THIRD])
    return sign_in(client, cast.alice)


@pytest.fixture
def spring(alice: FlaskClient, server: Server, cast: Cast, database: Database) -> Scenario:
    with database.writing() as session:
        return create_scenario(Change(session, server, cast.project, ALICE, NOW), SPRING)[0]


@pytest.fixture
def spring_on(spring: Scenario, database: Database) -> Scenario:
    with database.writing() as session:
        session.get_one(Scenario, spring.id).enabled = True
    return spring


def only_scenario(database: Database) -> Scenario:
    with database.reading() as session:
        return session.scalars(select(Scenario)).one()


def test_r3_the_switch_acts_at_once(alice: FlaskClient, spring: Scenario, database: Database) -> None:
    """R3"""
    path = f"/scenarios/{only_scenario(database).id}/switch"
    assert "Spring is on" in alice.post(path, data={"on": "1"}, follow_redirects=True).text
    assert only_scenario(database).enabled
    assert "calls still go through" in alice.post(path, data={"on": ""}, follow_redirects=True).text
    assert not only_scenario(database).enabled


def test_r3_delete_asks_first_and_says_what_happens(
    alice: FlaskClient, spring_on: Scenario, database: Database
) -> None:
    path = f"/scenarios/{only_scenario(database).id}/delete"
    question = alice.get(path).text
    assert "Its 2 numbers go back to the project" in question
    assert only_scenario(database).deleted_at is None
    answer = alice.post(path, follow_redirects=True)
    assert "Spring is deleted. 2 numbers are free again." in answer.text
    assert alice.get(path).status_code == 404


def test_r3_the_table_shows_type_numbers_accuracy_and_what_needs_attention(
    alice: FlaskClient, spring: Scenario, server: Server, cast: Cast, database: Database
) -> None:
    """R3: accuracy is empty until a number was shown."""
    with database.writing() as session:
        create_scenario(Change(session, server, cast.project, ALICE, NOW), {"title": "Bare <b>"})
        session.scalars(select(Scenario).where(Scenario.title == "Spring")).one().accuracy = 94
    page = alice.get("/scenarios").text
    assert "mixed" in page
    assert "94 %" in page
    assert "Bare &lt;b&gt;" in page
    assert "No numbers: visitors see the page" in page
    assert "No destination" in page
    assert "no number was shown yet" in page
    assert "None" not in page
    assert "Spring" not in alice.get("/scenarios?q=bare").text
    assert "No scenario fits" in alice.get("/scenarios?status=on").text


def test_r3_the_table_takes_the_same_statements_for_two_and_for_twenty_scenarios(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    def statements() -> int:
        alice.get("/scenarios")  # what a process asks once is asked
        seen: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            seen.append(statement)

        event.listen(server.database.engine, "before_cursor_execute", note)
        assert alice.get("/scenarios").status_code == 200
        event.remove(server.database.engine, "before_cursor_execute", note)
        return len(seen)

    def make(count: int) -> None:
        with database.writing() as session:
            for index in range(count):
                create_scenario(Change(session, server, cast.project, ALICE, NOW), {"title": f"Scenario {index}"})

    make(2)
    few = statements()
    make(18)
    assert statements() == few


def test_pasted_numbers_are_added_all_or_none(alice: FlaskClient, cast: Cast, database: Database) -> None:
    def count() -> int:
        with database.reading() as session:
            return session.scalar(select(func.count(TrackingNumber.id))) or 0

    wrong = alice.post("/numbers/add", data={"numbers": f"+14155550151\n\nnonsense\n{FIRST}"})
    assert wrong.status_code == 422
    assert "nonsense" in wrong.text
    assert "of this project already" in wrong.text
    assert "+14155550151" in wrong.text, "what was typed stays"
    assert count() == 3
    assert alice.post("/numbers/add", data={"numbers": " \n"}).status_code == 422
    added = alice.post("/numbers/add", data={"numbers": "+14155550151\r\n(415) 555-0152"}, follow_redirects=True)
    assert "2 numbers added" in added.text
    assert count() == 5


def test_the_numbers_page_says_how_many_are_free_and_filters(
    alice: FlaskClient, spring: Scenario, server: Server, database: Database
) -> None:
    page = alice.get("/numbers").text
    assert "2 in use, 1 free." in page
    assert "flyer" in page
    free = alice.get("/numbers?use=free").text
    assert "+1 415-555-0123" in free
    assert "+1 415-555-0121" not in free
    inside = alice.get(f"/numbers?scenario={only_scenario(database).id}").text
    assert "+1 415-555-0123" not in inside
    assert "+1 415-555-0122" in alice.get("/numbers?q=0122").text
    with database.reading() as session:
        unused = session.scalars(select(TrackingNumber.id).where(TrackingNumber.e164 == THIRD)).one()
    assert "is removed" in alice.post(f"/numbers/{unused}/remove", follow_redirects=True).text


def test_junk_in_an_address_or_a_form_is_no_mistake_of_ours(alice: FlaskClient) -> None:
    for address in ("/numbers?scenario=-1&q=x", "/numbers?scenario=99999999999999999999", "/scenarios?q=%25_\\"):
        assert alice.get(address).status_code == 200
    for address in ("/scenarios/99999999999999999999", "/scenarios/0", "/scenarios/abc"):
        assert alice.get(address).status_code == 404
