"""R6: a visitor who stays for hours keeps his number, although it is wanted."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from router.attribution.tracking.page_views import PageNumbers, keep_page, view_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import Heartbeat, read_page_view
from router.db import Database
from router.lib.crypto import KeyRing
from tests.factories import NOON, make_project, make_scenario

KEYS = KeyRing(("a-key-of-sixteen-letters",))
ALIVE = timedelta(seconds=45)


@pytest.fixture
def shop(database: Database) -> Database:
    with database.writing() as session:
        make_scenario(session, make_project(session), 2)
    return database


def somebody_views(database: Database, at: datetime) -> PageNumbers:
    def work(session: Session, project: TagProject | None) -> PageNumbers:
        assert project is not None
        view = read_page_view({"page": "https://shop.example/"})
        return view_page(session, KEYS, project, view, at)

    return with_project(database, "k-shop", work)


def lives(database: Database, visit_id: int, at: datetime) -> PageNumbers:
    def work(session: Session, project: TagProject | None) -> PageNumbers:
        assert project is not None
        found = keep_page(session, project, visit_id, Heartbeat(), at)
        assert found is not None
        return found

    return with_project(database, "k-shop", work)


def test_r6_a_visit_of_three_hours_keeps_its_number_while_others_come_and_go(shop: Database) -> None:
    """Two numbers, and a new visitor every five minutes; signs of life as the tag sends them."""
    visit = somebody_views(shop, NOON)
    number = visit.numbers[0].e164
    others: set[str] = set()
    for sign in range(1, 241):
        at = NOON + sign * ALIVE
        if sign % 7 == 0:
            others |= {one.e164 for one in somebody_views(shop, at).numbers}
        assert lives(shop, visit.visit.id, at).numbers == []
    assert len(others) == 1
    assert number not in others
