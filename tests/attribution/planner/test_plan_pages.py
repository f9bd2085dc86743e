"""The pool planner for people, for programs and on the console."""

import json
import re
from collections.abc import Iterator
from html import unescape
from itertools import product
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from router.accounts.models import Project
from router.attribution.models import PoolPlan
from router.attribution.planner.jobs import PlanMaker
from router.attribution.planner.plan import MOST_TRIED, PlanDocument
from router.attribution.planner.views import plan as plan_command
from router.db import Database
from router.scenarios.models import Scenario
from router.server import Server
from tests.attribution.planner.past import make_busy_past
from tests.factories import NOON, make_scenario
from tests.furnished import make_plan
from tests.pages import words_of
from tests.people import Cast, bearer, sign_in

pytestmark = pytest.mark.one_database

SMALL = {"visits_per_hour": 60, "callers": 0.1, "hours": 4}


@pytest.fixture
def server(server: Server) -> Iterator[Server]:
    server.now = lambda: NOON
    return server


@pytest.fixture
def scenario(server: Server, database: Database, cast: Cast) -> Scenario:
    with database.writing() as session:
        return make_scenario(session, session.get_one(Project, cast.project.id), 2, title="Spring sale")


class Api:
    def __init__(self, client: FlaskClient, cast: Cast, scenario: Scenario) -> None:
        self.client, self.token = client, cast.alice_token
        self.address = f"/api/v1/projects/{cast.project.id}/scenarios/{scenario.id}/plan"

    def read(self, status: int = 200) -> Any:
        return self._checked(self.client.get(self.address, headers=bearer(self.token)), status)

    def ask(self, status: int = 202, **body: Any) -> Any:
        return self._checked(self.client.post(self.address, json=body, headers=bearer(self.token)), status)

    def _checked(self, answer: Any, status: int) -> Any:
        assert answer.status_code == status, answer.text
        return answer.get_json()


@pytest.fixture
def api(client: FlaskClient, cast: Cast, scenario: Scenario) -> Api:
    return Api(client, cast, scenario)


def test_a_program_asks_waits_and_reads(api: Api, server: Server) -> None:
    assert "POST" in api.read(404)["detail"]
    asked = api.ask(**SMALL)
    assert (asked["state"], asked["points"], asked["traffic"]["visits_per_hour"]) == ("waiting", [], 60)
    PlanMaker().make(server, NOON)
    made = api.read()
    PlanDocument(**made)
    assert (made["state"], made["numbers"], made["done"], made["trials"]) == ("made", 2, 16, 16)
    assert made["recommended"] in {point["numbers"] for point in made["points"]}
    assert made["findings"]


def test_a_price_of_this_project_is_what_the_points_cost(
    api: Api, server: Server, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = 150
    api.ask(**SMALL)
    PlanMaker().make(server, NOON)
    made = api.read()
    assert {point["week"] for point in made["points"] if point["numbers"] == 4} == {"6.00"}
    assert made["currency"] == "EUR"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"visits_per_hour": 0}, "visits_per_hour"),
        ({"visits_per_hour": 1e9}, "visits_per_hour"),
        ({"visits_per_hour": "many"}, "visits_per_hour"),
        ({"callers": 0.1}, "visits_per_hour"),
        ({"visits_per_hour": 9, "callers": 2}, "callers"),
        ({"visits_per_hour": 9, "sources": 10**9}, "sources"),
        ({"visits_per_hour": 9, "seed": -1}, "seed"),
        ({"visits_per_hour": 9, "hours": 1e300}, "hours"),
        ({"visits_per_hour": 9, "numbers": 4}, "numbers"),
        ({"visits_per_hour": 9_000, "hours": 1000}, "hours"),
    ],
)
def test_a_traffic_that_is_none_is_refused_with_its_field(
    api: Api, database: Database, body: dict[str, Any], field: str
) -> None:
    assert api.ask(422, **body)["field"] == field
    api.read(404)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_body_that_is_no_object_or_no_finite_number_is_refused(api: Api) -> None:
    for body in ("[1]", "{", '{"visits_per_hour": NaN}', '{"visits_per_hour": 1e999}'):
        answer = api.client.post(api.address, data=body, headers=bearer(api.token))
        assert answer.status_code in (400, 422), body
    api.read(404)


def test_another_projects_plan_is_not_there(
    api: Api, cast: Cast, client: FlaskClient, scenario: Scenario, database: Database
) -> None:
    api.ask()
    api.token = cast.charlie_token
    api.read(404)
    api.ask(404)
    api.address = f"/api/v1/projects/{cast.other_project.id}/scenarios/{scenario.id}/plan"
    api.read(404)
    api.ask(404)
    sign_in(client, cast.charlie)
    assert client.get(f"/scenarios/{scenario.id}/plan").status_code == 404
    assert client.post(f"/scenarios/{scenario.id}/plan", data={"by": "history"}).status_code == 404


def test_a_viewer_reads_and_does_not_ask(api: Api, cast: Cast, client: FlaskClient, scenario: Scenario) -> None:
    api.token = cast.bob_token
    api.ask(403)
    sign_in(client, cast.bob)
    page = client.get(f"/scenarios/{scenario.id}/plan")
    assert page.status_code == 200
    assert '<form method="post"' not in page.text.partition("<main")[2]
    assert client.post(f"/scenarios/{scenario.id}/plan", data={"by": "history"}).status_code == 403


def test_the_page_asks_shows_how_far_it_is_and_what_was_found(
    client: FlaskClient, cast: Cast, scenario: Scenario, server: Server, database: Database
) -> None:
    with database.writing() as session:
        make_busy_past(session, scenario)
    sign_in(client, cast.alice)
    address = f"/scenarios/{scenario.id}/plan"
    assert "Try with the last 30 days" in client.get(address).text
    asked = client.post(address, data={"by": "history"}, follow_redirects=True).text
    assert "It begins in a moment." in asked
    assert "live.js" in asked
    PlanMaker().make(server, NOON)
    made = words_of(client.get(address))
    assert "2 numbers tell the right advertisement for" in made
    assert "today: 2" in made
    assert "120 visits and the 30 calls that this scenario had in the last 30 days" in made
    assert "That is few" in made
    assert "live.js" not in made
    table = made.partition("<table")[2].partition("</table>")[0]
    assert "<tbody>" in table
    assert table in words_of(client.get(address)), "it is kept"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_page_says_how_many_trials_are_done_and_how_long_the_rest_takes(
    client: FlaskClient, cast: Cast, scenario: Scenario, database: Database
) -> None:
    with database.writing() as session:
        session.add(make_plan(scenario, 2, 4))
    sign_in(client, cast.alice)
    page = client.get(f"/scenarios/{scenario.id}/plan").text
    assert "4 of 16 trials done, about" in page
    assert "10 s" in page


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("exhausted", ["share", "overflow"])
def test_a_space_stands_between_any_two_sentences_of_what_a_plan_rests_on(
    client: FlaskClient, cast: Cast, scenario: Scenario, database: Database, exhausted: str
) -> None:
    sign_in(client, cast.alice)
    described = {"visits_per_hour": 60.0, "callers": 0.1, "sources": 12, "hours": 4.0, "seed": 1}
    for inputs, cut, drawn, left_out, calls in product(
        ({}, described), (False, True), (0, 3), (0, 1, 4), (60, 200, 500)
    ):
        plan = make_plan(scenario, 2, inputs=inputs)
        assert plan.facts is not None
        plan.facts |= {"cut": cut, "drawn": drawn, "left_out": left_out, "calls": calls}
        with database.writing() as session:
            session.merge(plan)
            session.get_one(Scenario, scenario.id).exhausted = exhausted
        page = client.get(f"/scenarios/{scenario.id}/plan").text
        paragraph = page.partition('<p class="form-text">It tried')[2].partition("</p>")[0]
        told = " ".join(unescape(re.sub("<[^>]+>", "", paragraph)).split())
        assert not re.search(r"[.!?;:][^ \d]|[a-z][A-Z]| [.,;]", told), told
        assert " Made today" in told
        assert ("does not let them" in told) == (exhausted != "share")
        assert ("left out." in told) == (bool(left_out) and not inputs)
        assert ("That is few" in told) == (calls == 60)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_described_traffic_is_typed_and_what_is_none_stands_beside_its_field(
    client: FlaskClient, cast: Cast, scenario: Scenario, database: Database
) -> None:
    sign_in(client, cast.alice)
    address = f"/scenarios/{scenario.id}/plan"
    good = {"by": "described", "visits_per_hour": "12,5", "callers": "6", "sources": "8"}
    for wrong in (
        {"visits_per_hour": "many"},
        {"visits_per_hour": ""},
        {"callers": "99"},
        {"callers": "1e3"},
        {"sources": "2.5"},
    ):
        refused = client.post(address, data=good | wrong)
        assert refused.status_code == 422
        assert refused.text.count('aria-invalid="true"') == 1, wrong
    with database.reading() as session:
        assert session.get(PoolPlan, scenario.id) is None
    assert client.post(address, data=good).status_code == 302
    with database.reading() as session:
        inputs = session.get_one(PoolPlan, scenario.id).inputs
    assert (inputs["visits_per_hour"], inputs["callers"], inputs["sources"]) == (12.5, 0.06, 8)
    with database.writing() as session:
        session.merge(make_plan(scenario, 2, inputs=inputs))
    again = client.get(address).text
    assert 'value="12.5"' in again
    assert "It tried a described traffic of 12.5 visits an hour" in again
    assert "Try its own visits" in again


def run(server: Server, *arguments: str) -> Result:
    return CliRunner().invoke(plan_command, list(arguments), obj=lambda: server)


def test_the_command_prints_a_table_or_json(server: Server, scenario: Scenario) -> None:
    described = ("--scenario", str(scenario.id), "--visits-per-hour", "60", "--callers", "0.1", "--hours", "4")
    said = run(server, *described)
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0] == "Spring sale"
    assert "2 numbers tell the right advertisement for" in lines[1]
    assert [line.split()[0] for line in lines if line.strip()[:1].isdigit() and "%" in line][1:] == list("12345678")
    found = json.loads(run(server, *described, "--json").output)
    assert found["points"] == json.loads(run(server, *described, "--json").output)["points"], (
        "the same seed, the same figures"
    )
    assert found["points"] != json.loads(run(server, *described, "--json", "--seed", "2").output)["points"]
    assert found["visits"] <= MOST_TRIED


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_command_says_what_is_wrong(server: Server, scenario: Scenario) -> None:
    for arguments, sentence in (
        (("--scenario", "999"), "There is no scenario 999."),
        (("--scenario", str(scenario.id)), "0 visits and 0 calls"),
        (("--scenario", str(scenario.id), "--visits-per-hour", "-1"), "--visits-per-hour"),
        (("--scenario", str(scenario.id), "--visits-per-hour", "nan"), "--visits-per-hour"),
        (("--scenario", str(scenario.id), "--visits-per-hour", "9000", "--hours", "100"), "At most 16,000 visits"),
    ):
        said = run(server, *arguments)
        assert said.exit_code == 1
        assert sentence in said.output
