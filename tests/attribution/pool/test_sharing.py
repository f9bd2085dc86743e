"""R8: which leases count as shared, and which of them with another marketing source."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Visit
from router.attribution.tracking.page_views import PageNumbers, keep_page, ping, view_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import Heartbeat, read_page_view
from router.db import Database
from router.lib.crypto import KeyRing
from tests.factories import NOON, make_project, make_scenario

KEYS = KeyRing(("a-key-of-sixteen-letters",))
MINUTE = timedelta(minutes=1)
ALONE, SHARED, MIXED = (False, False), (True, False), (True, True)


@pytest.fixture
def shop(database: Database) -> Database:
    """One number for everybody."""
    with database.writing() as session:
        make_scenario(session, make_project(session), 1)
    return database


def visit(database: Database, source: str, at: datetime, visitor: str | None = None) -> str:
    """A page view of a new visit; who it was."""

    def viewed(session: Session, project: TagProject | None) -> PageNumbers:
        assert project is not None
        view = read_page_view({"page": f"https://shop.example/?utm_source={source}", "visitor": visitor})
        return view_page(session, KEYS, project, view, at)

    return with_project(database, "k-shop", viewed).visit.visitor


def leases(database: Database) -> list[tuple[bool, bool]]:
    with database.reading() as session:
        found = select(Lease.shared, Lease.mixed).join(Visit, Visit.id == Lease.visit_id).order_by(Lease.turn)
        return [tuple(row) for row in session.execute(found)]


def test_r8_visits_of_one_source_share_without_being_mixed(shop: Database) -> None:
    visit(shop, "google", NOON)
    assert leases(shop) == [ALONE]
    visit(shop, "google", NOON + MINUTE)
    assert leases(shop) == [SHARED, SHARED]


def test_r8_another_source_makes_both_sides_mixed(shop: Database) -> None:
    visit(shop, "google", NOON)
    visit(shop, "google", NOON + MINUTE)
    visit(shop, "bing", NOON + 2 * MINUTE)
    assert leases(shop) == [MIXED, MIXED, MIXED]


def test_r8_who_is_of_the_same_source_as_the_newcomer_stays_as_he_is(shop: Database) -> None:
    visit(shop, "google", NOON)
    visit(shop, "bing", NOON + 2 * MINUTE)
    visit(shop, "bing", NOON + 4 * MINUTE)  # the hold of the first is over by now
    assert leases(shop) == [MIXED, MIXED, SHARED]


def test_r8_a_visit_whose_hold_is_over_shares_nothing(shop: Database) -> None:
    visit(shop, "google", NOON)
    visit(shop, "bing", NOON + 3 * MINUTE)
    assert leases(shop) == [ALONE, ALONE]


def test_r8_two_visits_of_one_visitor_never_share(shop: Database) -> None:
    somebody = visit(shop, "google", NOON)
    visit(shop, "bing", NOON + MINUTE, somebody)
    assert leases(shop) == [ALONE, ALONE]


def test_r8_a_visitor_who_comes_again_by_another_source_mixes_those_he_shares_with(shop: Database) -> None:
    somebody = visit(shop, "google", NOON)
    visit(shop, "google", NOON + MINUTE)
    visit(shop, "bing", NOON + 2 * MINUTE, somebody)
    assert leases(shop) == [SHARED, MIXED, MIXED]


def test_r8_who_shared_with_somebody_that_is_gone_has_the_number_to_himself_again(shop: Database) -> None:
    somebody = visit(shop, "google", NOON)
    visit(shop, "bing", NOON)
    visit(shop, "mail", NOON + 2 * MINUTE, somebody)
    visit(shop, "radio", NOON + 4 * MINUTE, somebody)  # bing's hold is over
    assert leases(shop) == [MIXED, MIXED, MIXED, ALONE]


def test_r8_an_early_page_of_a_visitor_that_lives_again_shares_with_who_came_meanwhile(shop: Database) -> None:
    """His first visit had ended when somebody else came to share the number that his second one held."""
    somebody = visit(shop, "google", NOON)
    visit(shop, "bing", NOON + MINUTE, somebody)
    visit(shop, "mail", NOON + 3 * MINUTE)
    assert leases(shop) == [ALONE, MIXED, MIXED]
    visit(shop, "radio", NOON + 3.2 * MINUTE, somebody)
    with shop.reading() as session:
        first = session.scalars(select(Visit.id).order_by(Visit.id)).first()

    def lives(session: Session, project: TagProject | None) -> None:
        assert project is not None
        assert first is not None
        keep_page(session, project, first, Heartbeat(), NOON + 3.4 * MINUTE)

    with_project(shop, "k-shop", lives)
    assert leases(shop) == [MIXED, MIXED, MIXED, MIXED]


def test_r8_who_shared_before_and_lives_again_shares_with_who_came_back_meanwhile(shop: Database) -> None:
    """A tap told that he was there, and kept nothing; to the number it had ended."""
    visit(shop, "google", NOON)
    other = visit(shop, "google", NOON + MINUTE)

    def first(session: Session) -> int:
        return session.execute(select(Visit.id).order_by(Visit.id).limit(1)).scalar_one()

    def taps(session: Session, project: TagProject | None) -> None:
        assert project is not None
        ping(session, project, first(session), Heartbeat(), NOON + 10 * MINUTE)

    def lives(session: Session, project: TagProject | None) -> None:
        assert project is not None
        keep_page(session, project, first(session), Heartbeat(), NOON + 11 * MINUTE)

    with_project(shop, "k-shop", taps)
    visit(shop, "bing", NOON + 10.5 * MINUTE, other)
    assert leases(shop) == [SHARED, SHARED, ALONE]
    with_project(shop, "k-shop", lives)
    assert leases(shop) == [MIXED, SHARED, MIXED]
