"""Giving rented numbers back (R4, R5)."""

from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from router.accounts.audit import Change
from router.accounts.models import AuditEntry, Project
from router.carriers.base import OutcomeUnknown, TryLater
from router.db import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_number, place_numbers
from router.scenarios.numbers.purchase import buy_now
from router.scenarios.numbers.release import advance_releases, begin_release
from router.scenarios.service import create_scenario
from router.server import Server
from router.voice.routing import find_route
from router.web.errors import Problem
from tests.factories import NOON, make_project, make_rented_number
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, WEEK, number
from tests.scenarios.shop import FakeShop


@pytest.fixture
def shop(server: Server) -> FakeShop:
    shop = FakeShop([FIRST, SECOND])
    server.shop = shop
    return shop


@pytest.fixture
def project(database: Database, shop: FakeShop) -> Project:
    with database.writing() as session:
        project = make_project(session)
        make_rented_number(session, project, FIRST, NOON + WEEK, carrier_sid=shop.buy(FIRST, "ct:0").sid)
        return project


def begin(server: Server, project: Project, e164: str = FIRST) -> None:
    with server.database.writing() as session:
        begin_release(Change(session, server, project, ALICE, NOON), number(session, e164))


def test_r5_a_number_leaves_its_scenario_at_once_and_the_carrier_has_it_back_soon(
    server: Server, project: Project, shop: FakeShop, changed: list[list[int]]
) -> None:
    with server.database.writing() as session:
        wanted = {"title": "Spring", "numbers": [FIRST], "flow": {"destinations": [{"to": LINE}]}}
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), wanted)
        scenario.channels = [{"kind": "static", "number": FIRST, "match": {}}, {"kind": "dynamic", "match": {}}]
        version = scenario.version
    begin(server, project)
    with server.database.reading() as session:
        leaving = number(session, FIRST)
        assert (leaving.scenario_id, leaving.static_source, leaving.releasing_at) == (None, None, NOON)
        assert changed[-1] == [leaving.id]
        left = session.get_one(Scenario, scenario.id)
        assert (left.channels, left.version) == ([{"kind": "dynamic", "match": {}}], version + 1)
        route = find_route(session, FIRST)
        assert route is not None
        assert route.flow["destinations"][0]["to"] == LINE, "R12: calls follow its last flow"
        assert session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()[-1] == "number.release_begun"
    advance_releases(server, NOON)
    assert FIRST not in shop.account
    with server.database.reading() as session:
        assert number(session, FIRST).released_at == NOON
    assert advance_releases(server, NOON + WEEK) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])  # 1,440 looks, and pauses are no matter of the database
def test_r5_a_carrier_without_a_clear_answer_is_asked_again_for_ever_with_growing_pauses(
    server: Server, project: Project, shop: FakeShop
) -> None:
    shop.fail(
        "release",
        *[OutcomeUnknown("No answer.")] * 5,
        TryLater("Too many requests.", 600),
        *[OutcomeUnknown("Hm.")] * 20,
    )
    begin(server, project)
    asked = []
    for minute in range(60 * 24):
        if advance_releases(server, NOON + timedelta(minutes=minute)):
            asked.append(minute)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses.pop(5) == 10, "its wish counts"
    assert pauses == sorted(pauses)
    assert max(pauses) <= 60
    with server.database.reading() as session:
        assert number(session, FIRST).released_at is not None, "the last answer was clear"


def test_r5_the_carriers_error_is_kept_for_the_pages(server: Server, project: Project, shop: FakeShop) -> None:
    shop.fail("release", OutcomeUnknown("The carrier did not answer."))
    begin(server, project)
    advance_releases(server, NOON)
    with server.database.reading() as session:
        assert number(session, FIRST).carrier_error == "The carrier did not answer."


def test_r5_one_that_the_carrier_took_back_without_an_answer_is_released_by_the_next_question(
    server: Server, project: Project, shop: FakeShop
) -> None:
    shop.fail("release", OutcomeUnknown("No answer."), done=True)
    begin(server, project)
    for minute in range(3):
        advance_releases(server, NOON + timedelta(minutes=minute))
    with server.database.reading() as session:
        assert number(session, FIRST).released_at is not None


def test_r6_a_number_that_a_visitor_sees_waits_for_him_but_not_for_ever(
    server: Server, project: Project, shop: FakeShop
) -> None:
    server.numbers_shown = lambda session, ids, now: set(ids)
    begin(server, project)
    for hour in range(24):
        assert advance_releases(server, NOON + timedelta(hours=hour)) == 0
    assert FIRST in shop.account
    advance_releases(server, NOON + timedelta(hours=25))
    assert FIRST not in shop.account


def test_r5_a_pinned_number_one_owned_elsewhere_and_another_projects_are_refused(
    server: Server, project: Project, shop: FakeShop
) -> None:
    with server.database.writing() as session:
        number(session, FIRST).pinned = True
        add_number(Change(session, server, project, ALICE, NOON), SECOND)
        other = make_project(session, name="Other")
    for e164, whose, status in ((FIRST, project, 409), (SECOND, project, 409), (SECOND, other, 404)):
        with pytest.raises(Problem) as problem:
            begin(server, whose, e164)
        assert problem.value.status == status


def test_r7_a_number_that_is_bought_anew_by_its_project_is_the_same_one_and_keeps_its_history(
    server: Server, project: Project, shop: FakeShop
) -> None:
    begin(server, project)
    with pytest.raises(Problem, match="given back"):
        buy_now(server, project, ALICE.name, FIRST, NOON)
    advance_releases(server, NOON)
    with server.database.reading() as session:
        before = number(session, FIRST).id
    made = buy_now(server, project, ALICE.name, FIRST, NOON + WEEK)
    with server.database.reading() as session:
        here = number(session, FIRST)
        assert here.id == before == made.number_id
        assert (here.releasing_at, here.released_at, here.carrier_next_at, here.scenario_id) == (None, None, None, None)
        assert (here.carrier_sid, here.bought_at, here.paid_until) == (
            shop.account[FIRST].sid,
            NOON + WEEK,
            NOON + 2 * WEEK,
        )


def test_r7_a_number_that_comes_back_as_an_own_one_keeps_its_history_as_well(
    server: Server, project: Project, shop: FakeShop
) -> None:
    begin(server, project)
    advance_releases(server, NOON)
    with server.database.writing() as session:
        before = number(session, FIRST).id
        add_number(Change(session, server, project, ALICE, NOON), FIRST)
        back = number(session, FIRST)
        assert (back.id, back.owned_elsewhere, back.paid_until, back.released_at) == (before, True, None, None)


def test_r5_another_project_that_buys_a_number_gets_nothing_of_its_history(
    server: Server, project: Project, shop: FakeShop
) -> None:
    begin(server, project)
    advance_releases(server, NOON)
    with server.database.writing() as session:
        before = number(session, FIRST).id
        other = make_project(session, name="Other")
    made = buy_now(server, other, ALICE.name, FIRST, NOON)
    with server.database.reading() as session:
        rows = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == FIRST)).all()
        assert {(row.id, row.project_id, row.released_at is None) for row in rows} == {
            (before, project.id, False),
            (made.number_id, other.id, True),
        }


def test_r5_one_in_release_cannot_be_placed_again(server: Server, project: Project, shop: FakeShop) -> None:
    begin(server, project)
    with server.database.writing() as session:
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), {"title": "Spring"})
    with pytest.raises(Problem, match="given back"), server.database.writing() as session:
        place_numbers(session, server, session.get_one(Scenario, scenario.id), {FIRST: None})
