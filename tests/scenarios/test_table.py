"""The table of scenarios (R3): its order, its filter, its switches, and its speed."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from router.accounts.audit import Change
from router.accounts.models import AuditEntry, Project
from router.db import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.service import switch_upkeep
from router.server import Server
from router.web.errors import Problem
from tests.counting import count_statements
from tests.people import NOW, Cast, sign_in
from tests.scenarios.names import ALICE

pytestmark = pytest.mark.one_database

FLYER = {"source": "flyer", "medium": "print", "campaign": "may"}


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.alice)


def fill(database: Database, project: Project, scenarios: int, numbers: int, offset: int = 0) -> None:
    """So many scenarios with so many numbers each, written as rows."""
    with database.writing() as session:
        rows = [
            {
                "project_id": project.id,
                "title": f"Scenario {offset + index:04}",
                "enabled": index % 3 > 0,
                "tagging": {},
                "created_at": NOW - timedelta(hours=index),
                "calls": index * 7 % 50,
                "accuracy": None if index % 5 == 0 else 60 + index % 41,
            }
            for index in range(scenarios)
        ]
        ids = session.scalars(insert(Scenario).returning(Scenario.id), rows).all()
        places = [scenario_id for scenario_id in ids for _ in range(numbers)]
        session.execute(
            insert(TrackingNumber),
            [
                {
                    "project_id": project.id,
                    "e164": f"+1415{offset * 100 + index:07}",
                    "scenario_id": place,
                    "static_source": FLYER if index % 4 == 0 else None,
                    "created_at": NOW,
                    "owned_elsewhere": False,
                    "paid_until": NOW + timedelta(days=3),
                }
                for index, place in enumerate(places)
            ],
        )


def seconds(do: Callable[[], Any]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began


def test_r3_two_hundred_scenarios_and_5000_numbers_take_less_than_twice_the_time_of_twenty(
    app: Flask, alice: FlaskClient, database: Database, cast: Cast
) -> None:
    """Alice has 20, Charlie 200; they take turns, so that a busy machine is busy for both, and the quickest answers count."""
    charlie = sign_in(app.test_client(), cast.charlie)
    fill(database, cast.project, 20, 25)
    fill(database, cast.other_project, 200, 25, offset=1000)
    clients = (alice, charlie)
    pages, statements = [], []
    for client in clients:
        client.get("/scenarios")
        with count_statements(database) as heard:
            pages.append(client.get("/scenarios").text)
        statements.append(len(heard))
    assert statements[0] == statements[1]
    assert "of 200 scenarios on" in pages[1]
    turns = [[seconds(lambda one=client: one.get("/scenarios")) for client in clients] for _ in range(12)]  # type: ignore[misc]  # a lambda's default has no type
    few, many = (min(column) for column in zip(*turns, strict=True))
    assert many < 2 * few, f"{few * 1000:.1f} ms for 20, {many * 1000:.1f} ms for 200"


def titles(page: str) -> list[str]:
    return re.findall(r'class="stretched-link" href="/scenarios/\d+">([^<]+)<', page)


@pytest.mark.parametrize("order", ["status", "name", "type", "numbers", "accuracy", "calls", "created", "upkeep"])
def test_r3_the_table_is_sorted_by_each_column_both_ways(
    alice: FlaskClient, database: Database, cast: Cast, order: str
) -> None:
    fill(database, cast.project, 4, 1)
    fill(database, cast.project, 1, 2, offset=10)
    up, down = (alice.get(f"/scenarios?sort={sign}{order}").text for sign in ("", "-"))
    assert sorted(titles(up)) == sorted(titles(down))
    assert len(titles(up)) == 5
    assert up.count('aria-sort="ascending"') == down.count('aria-sort="descending"') == 1
    if order == "name":
        assert titles(up)[::-1] == titles(down)
    if order == "numbers":
        assert titles(down)[0] == titles(up)[-1] == "Scenario 0010"
    if order == "accuracy":
        assert titles(down)[-1] in ("Scenario 0000", "Scenario 0010"), "without a figure is always last"
        assert titles(up)[-1] in ("Scenario 0000", "Scenario 0010")


def test_r3_the_table_is_filtered_by_name_status_and_type_and_comes_in_pages(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    fill(database, cast.project, 55, 1)
    first = alice.get("/scenarios?sort=name").text
    following = re.search(r'href="(/scenarios\?[^"]*next=[^"]*)" rel="next"', first)
    assert following
    rest = alice.get(following.group(1).replace("&amp;", "&")).text
    assert titles(first) + titles(rest) == [f"Scenario {index:04}" for index in range(55)]
    assert titles(alice.get("/scenarios?q=0042").text) == ["Scenario 0042"]
    assert "Scenario 0003" not in titles(alice.get("/scenarios?status=on&limit=200").text)
    assert len(titles(alice.get("/scenarios?type=static&limit=200").text)) == 14, "each fourth number is static"
    assert alice.get("/scenarios?sort=nonsense&limit=x&type=y").status_code == 200
    assert alice.get("/scenarios?next=nonsense").status_code == 422


def only(database: Database) -> Scenario:
    with database.reading() as session:
        return session.scalars(select(Scenario)).one()


AS_SCRIPT = {"Accept": "application/json"}


@pytest.fixture
def on_that_day() -> Iterator[None]:
    """On which rent was paid for a week."""
    with time_machine.travel(NOW, tick=True):
        yield


@pytest.mark.usefixtures("on_that_day")
def test_r3_the_status_switch_is_refused_with_what_is_missing_and_stays_as_it_was(
    alice: FlaskClient, server: Server, database: Database, cast: Cast
) -> None:
    """R4: enabling needs a balance that covers what would be bought."""
    fill(database, cast.project, 1, 1)
    with database.writing() as session:
        session.execute(update(Project).where(Project.id == cast.project.id).values(number_price_minor=400))
        session.execute(update(Scenario).values(enabled=False, to_buy={"numbers": ["+12015550123"] * 3}))
    path = f"/scenarios/{only(database).id}/switch"
    refused = alice.post(path, data={"on": "1"}, headers=AS_SCRIPT)
    assert refused.status_code == 409
    assert refused.json
    assert refused.json["detail"] == "12.00 EUR are missing: top up, then switch on."
    assert refused.json["missing_minor"] == 1200
    page = alice.post(path, data={"on": "1", "back": "/scenarios?sort=name"}, follow_redirects=True)
    assert "12.00 EUR are missing" in page.text
    assert page.request.path == "/scenarios"
    assert page.request.query_string == b"sort=name"
    assert not only(database).enabled


def test_r9_the_upkeep_switch_remembers_the_size_of_the_pool(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    fill(database, cast.project, 1, 8)
    path = f"/scenarios/{only(database).id}/upkeep-switch"
    told = alice.post(path, data={"on": "1"}, headers=AS_SCRIPT).json
    assert told
    assert told["said"].startswith("Upkeep of Scenario 0000 is on")
    scenario = only(database)
    assert (scenario.upkeep_on, scenario.upkeep_began_with, scenario.version) == (True, 6, 2)
    assert "is off" in alice.post(path, data={"on": ""}, follow_redirects=True).text
    assert only(database).upkeep_on is False
    with database.reading() as session:
        assert set(session.scalars(select(AuditEntry.action))) >= {"upkeep.on", "upkeep.off"}


def test_r9_upkeep_needs_dynamic_numbers(server: Server, database: Database, cast: Cast) -> None:
    fill(database, cast.project, 1, 1)
    with database.writing() as session, pytest.raises(Problem, match="no dynamic numbers") as refusal:
        switch_upkeep(Change(session, server, cast.project, ALICE, NOW), only(database).id, True)
    assert refusal.value.status == 409


def test_nobody_is_led_elsewhere_by_a_switch(alice: FlaskClient, database: Database, cast: Cast) -> None:
    fill(database, cast.project, 1, 1)
    path = f"/scenarios/{only(database).id}/switch"
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        assert alice.post(path, data={"on": "1", "back": back}).headers["Location"] == "/scenarios"


def test_r2_a_switch_buys_nothing_and_leads_to_the_page_that_shows_the_cost(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    fill(database, cast.project, 1, 1)
    with database.writing() as session:
        session.execute(update(Scenario).values(enabled=False, to_buy={"count": 2, "country": "US"}))
    path = f"/scenarios/{only(database).id}"
    refused = alice.post(f"{path}/switch", data={"on": "1"}, headers=AS_SCRIPT)
    assert refused.status_code == 409
    assert refused.json
    assert (refused.json["detail"], refused.json["review"]) == ("2 numbers have to be bought first.", f"{path}/review")
    assert alice.post(f"{path}/switch", data={"on": "1"}).headers["Location"] == f"{path}/review"
    assert not only(database).enabled


def test_r3_a_duplicate_is_off_and_has_no_numbers(alice: FlaskClient, database: Database, cast: Cast) -> None:
    fill(database, cast.project, 1, 3)
    page = alice.post(f"/scenarios/{only(database).id}/duplicate", follow_redirects=True).text
    assert "Scenario 0000 (copy) is made and off." in page
    table = alice.get("/scenarios?sort=name").text
    assert titles(table) == ["Scenario 0000", "Scenario 0000 (copy)"]
    with database.reading() as session:
        copy = session.scalars(select(Scenario).order_by(Scenario.id.desc()).limit(1)).one()
        assert not copy.enabled
        held = select(TrackingNumber.id).where(TrackingNumber.scenario_id == copy.id)
        assert session.scalars(held).all() == []
