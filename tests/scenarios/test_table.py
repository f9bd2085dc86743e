"""The table of scenarios (R3): its order, its filter, its switches, and its speed."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, insert, select, update
from sqlalchemy.orm import Session

from router.accounts.models import AuditEntry, Project
from router.database import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.switches import switch_upkeep
from router.server import Server
from router.web import Problem
from tests.people import NOW, Cast, sign_in
from tests.scenarios.making import ALICE

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


@contextmanager
def counted(server: Server) -> Iterator[list[str]]:
    """The statements that run inside."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(server.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(server.database.engine, "before_cursor_execute", note)


def best_of(times: int, do: Callable[[], Any]) -> float:
    """Seconds of the quickest run: the others were disturbed."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        found.append(time.perf_counter() - began)
    return min(found)


def test_r3_two_hundred_scenarios_and_5000_numbers_take_less_than_twice_the_time_of_twenty(
    alice: FlaskClient, server: Server, database: Database, cast: Cast
) -> None:
    fill(database, cast.project, 20, 25)
    alice.get("/scenarios")
    few = best_of(15, lambda: alice.get("/scenarios"))
    with counted(server) as statements_few:
        alice.get("/scenarios")
    fill(database, cast.project, 180, 25, offset=1000)
    many = best_of(15, lambda: alice.get("/scenarios"))
    with counted(server) as statements_many:
        page = alice.get("/scenarios").text
    assert len(statements_many) == len(statements_few)
    assert page.count('class="opens scenario-row"') == 50
    print(few, many, len(statements_many), len(page))
    assert many < 2 * few, f"{few * 1000:.1f} ms for 20, {many * 1000:.1f} ms for 200"
