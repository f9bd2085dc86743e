"""The table of scenarios (R3): its order, its filter, its switches, and its speed."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert

from router.accounts.models import Project
from router.database import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from tests.counting import count_statements
from tests.people import NOW, Cast, sign_in

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
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


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
    turns = [[seconds(lambda one=client: one.get("/scenarios")) for client in clients] for _ in range(25)]  # type: ignore[misc]
    few, many = (min(column) for column in zip(*turns, strict=True))
    assert many < 2 * few, f"{few * 1000:.1f} ms for 20, {many * 1000:.1f} ms for 200"
