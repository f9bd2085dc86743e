"""R2: the linter names a pool that is far too small for last week's load."""

from datetime import timedelta

from router.attribution.pool.numbers import refresh_needed
from router.db import Database
from router.scenarios.lint.rules import lint_stored
from router.scenarios.models import Scenario
from router.server import Server
from tests.factories import NOON, make_leased_visit, make_project, make_scenario


def test_r2_the_linter_names_a_pool_that_is_far_too_small_with_both_figures(server: Server, database: Database) -> None:
    with database.writing() as session:
        project = make_project(session)
        small, large, unseen = (make_scenario(session, project, count) for count in (3, 6, 3))
        for scenario in (small, large):
            scenario.first_shown_at = NOON
            for _ in range(2):
                make_leased_visit(session, scenario, NOON - timedelta(days=2))
    refresh_needed(server, NOON)
    with database.reading() as session:
        found = [session.get_one(Scenario, one.id).needed for one in (small, large, unseen)]
    assert found == [7, 7, None]
    with database.reading() as session:
        linted = lint_stored(session, server, project, [one.id for one in (small, large, unseen)])
    said = [
        [found.sentence for found in linted[one.id] if found.code == "small_pool"] for one in (small, large, unseen)
    ]
    assert said[1:] == [[], []]
    assert "needs 7 numbers, and the pool has 3" in said[0][0]
    (finding,) = [one for one in linted[small.id] if one.code == "small_pool"]
    assert (finding.look, finding.look_for) == (f"/scenarios/{small.id}/plan", "What more would tell")
