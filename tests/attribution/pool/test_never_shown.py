"""R2: a scenario whose numbers are given to pages, and stand on none or hardly any of them, says so in words."""

from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete
from sqlalchemy.orm import Session

from router.attribution.models import Lease
from router.attribution.pool.unplaced import refresh_shown
from router.scenarios.lint import Finding, lint_stored
from router.scenarios.models import Scenario
from router.server import Server
from tests.factories import make_leased_visits, make_scenario
from tests.people import NOW, Cast, sign_in

YESTERDAY = NOW - timedelta(days=1)


@pytest.fixture
def scenario(server: Server, cast: Cast) -> Scenario:
    with server.database.writing() as session:
        return make_scenario(session, cast.project, 2)


def give(session: Session, scenario: Scenario, times: int, at: datetime = YESTERDAY, **said: datetime) -> None:
    """So many pages were given a number; all of them said the same about it."""
    visits = make_leased_visits(session, scenario, [{"started_at": at}] * times)
    for lease in session.query(Lease).where(Lease.visit_id.in_([visit.id for visit in visits])):
        for name, moment in said.items():
            setattr(lease, name, moment)


def findings(server: Server, cast: Cast, scenario: Scenario) -> list[Finding]:
    refresh_shown(server, NOW)
    with server.database.reading() as session:
        found = lint_stored(session, server, cast.project, [scenario.id])[scenario.id]
    return [one for one in found if one.code == "never_shown"]


def counted(server: Server, scenario: Scenario) -> tuple[int | None, int | None]:
    with server.database.reading() as session:
        stored = session.get_one(Scenario, scenario.id)
        return stored.given_times, stored.shown_times


def test_r2_the_worker_counts_what_pages_of_the_last_seven_days_have_said(
    server: Server, cast: Cast, scenario: Scenario
) -> None:
    with server.database.writing() as session:
        give(session, scenario, 3, returned_at=YESTERDAY)
        give(session, scenario, 2, shown_at=YESTERDAY)
        give(session, scenario, 4)
        give(session, scenario, 5, at=NOW - timedelta(days=7, seconds=1), shown_at=NOW)
    refresh_shown(server, NOW)
    assert counted(server, scenario) == (5, 2)
    with server.database.writing() as session:
        session.execute(delete(Lease).where(Lease.started_at == YESTERDAY))
    refresh_shown(server, NOW)
    assert counted(server, scenario) == (None, None)


def test_r2_numbers_that_are_never_shown_are_said_in_words_from_twenty_pages_on(
    server: Server, cast: Cast, scenario: Scenario
) -> None:
    with server.database.writing() as session:
        give(session, scenario, 19, returned_at=YESTERDAY)
    assert findings(server, cast, scenario) == []
    with server.database.writing() as session:
        give(session, scenario, 1, returned_at=YESTERDAY)
    [finding] = findings(server, cast, scenario)
    assert finding.sentence == "Given 20 times in 7 days, shown 0 times: no selector matches."
    assert (finding.field, finding.step, finding.blocks) == ("tagging.selectors", "tagging", False)
    assert finding.look == f"/scenarios/{scenario.id}/tagging"


def test_r2_numbers_that_hardly_any_page_shows_are_said_too(server: Server, cast: Cast, scenario: Scenario) -> None:
    with server.database.writing() as session:
        give(session, scenario, 20, returned_at=YESTERDAY)
        give(session, scenario, 1, shown_at=YESTERDAY)
    [finding] = findings(server, cast, scenario)
    assert finding.sentence == ("Given 21 times in 7 days, shown 1 time: its selectors match on hardly any page.")
    with server.database.writing() as session:
        give(session, scenario, 1, shown_at=YESTERDAY)
    assert findings(server, cast, scenario) == []


def test_r3_the_table_says_it_with_a_link_to_the_tagging(
    server: Server, client: FlaskClient, cast: Cast, scenario: Scenario
) -> None:
    with server.database.writing() as session:
        stored = session.get_one(Scenario, scenario.id)
        stored.given_times, stored.shown_times = 4000, 0
    alice = sign_in(client, cast.alice)
    page = alice.get("/scenarios").text
    assert "Given 4,000 times in 7 days, shown 0 times: no selector matches." in page
    link = f"/scenarios/{scenario.id}/tagging"
    assert f'href="{link}"' in page
    assert alice.get(link).status_code == 200
