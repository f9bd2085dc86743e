"""R9 for people and programs: the page of a scenario's upkeep, its API, and the dry run."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from router.accounts.models import AuditEntry, Project
from router.attribution.models import UpkeepRun
from router.attribution.upkeep.service import keep_pools
from router.db import Database
from router.scenarios.models import NumberOrder, Scenario
from router.server import Server
from tests.attribution.upkeep.test_run import FOR_SALE, LATER, make_pool
from tests.factories import make_scenario
from tests.people import Cast, bearer, sign_in
from tests.scenarios.shop import FakeShop

pytestmark = pytest.mark.one_database


@pytest.fixture
def server(server: Server) -> Iterator[Server]:
    """At two in the night of the project, with numbers for sale."""
    server.now = lambda: LATER
    server.shop = FakeShop(list(FOR_SALE))
    return server


@pytest.fixture
def scenario(server: Server, database: Database, cast: Cast) -> Scenario:
    with database.writing() as session:
        return make_pool(session, session.get_one(Project, cast.project.id), 17, 84)


class Api:
    def __init__(self, client: FlaskClient, cast: Cast) -> None:
        self.client, self.token, self.address = client, cast.alice_token, f"/api/v1/projects/{cast.project.id}/upkeep"

    def run(self, status: int = 200, **body: Any) -> Any:
        answer = self.client.post(f"{self.address}/run", json=body, headers=bearer(self.token))
        assert answer.status_code == status, answer.text
        return answer.get_json()

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get(self.address + query, headers=bearer(self.token)).get_json()[
            "items"
        ]
        return found


@pytest.fixture
def api(client: FlaskClient, cast: Cast) -> Api:
    return Api(client, cast)


def count(database: Database, column: Any) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count(column))) or 0


def test_r9_a_dry_run_says_what_it_would_do_and_writes_nothing(
    api: Api, scenario: Scenario, database: Database
) -> None:
    (item,) = api.run(dry_run=True)["items"]
    assert (item["scenario"], item["day"], item["accuracy"], item["numbers"]) == (scenario.id, "2026-11-23", 84, 17)
    assert (item["action"], item["count"]) == ("buy", 1)
    assert "The accuracy is 84 %" in item["why"]
    assert api.run()["items"] == [item]
    assert count(database, UpkeepRun.id) == count(database, NumberOrder.id) == 0


def test_r9_a_run_acts_once_a_day_and_is_listed_newest_first(
    api: Api, scenario: Scenario, database: Database, server: Server
) -> None:
    first = api.run(dry_run=False)["items"]
    assert [(one["action"], one["count"]) for one in first] == [("buy", 1)]
    assert api.run(dry_run=False, scenario=scenario.id)["items"] == first
    assert count(database, NumberOrder.id) == 1
    keep_pools(server, LATER.replace(day=24))
    assert [one["day"] for one in api.listed()] == ["2026-11-24", "2026-11-23"]
    assert [one["day"] for one in api.listed(f"?scenario={scenario.id}&limit=1")] == ["2026-11-24"]
    assert api.listed("?scenario=999") == []


def test_r9_a_run_of_a_scenario_without_upkeep_is_refused_and_a_dry_one_is_not(
    api: Api, scenario: Scenario, database: Database, cast: Cast, client: FlaskClient
) -> None:
    with database.writing() as session:
        session.get_one(Scenario, scenario.id).upkeep_on = False
    assert "Switch it on first" in api.run(409, dry_run=False, scenario=scenario.id)["detail"]
    assert api.run(dry_run=True, scenario=scenario.id)["items"][0]["count"] == 1
    assert api.run(dry_run=False)["items"] == []
    with database.writing() as session:
        session.get_one(Scenario, scenario.id).upkeep_on = True
        session.get_one(Scenario, scenario.id).enabled = False
    assert "Enable it first" in api.run(409, dry_run=False, scenario=scenario.id)["detail"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [({"dry_run": "yes"}, 422, "dry_run"), ({"when": 1}, 422, "when"), ({"scenario": 2**70}, 404, None)],
)
def test_r9_a_bad_request_is_refused_with_its_field(
    api: Api, scenario: Scenario, body: dict[str, Any], status: int, field: str | None
) -> None:
    assert api.run(status, **body).get("field") == field


def test_r9_another_projects_upkeep_is_not_there(api: Api, scenario: Scenario, cast: Cast, client: FlaskClient) -> None:
    api.token = cast.charlie_token
    api.run(404)
    api.address = f"/api/v1/projects/{cast.other_project.id}/upkeep"
    api.run(404, scenario=scenario.id)
    sign_in(client, cast.charlie)
    assert client.get(f"/scenarios/{scenario.id}/upkeep").status_code == 404


def test_r9_a_viewer_reads_and_changes_nothing(client: FlaskClient, scenario: Scenario, cast: Cast) -> None:
    sign_in(client, cast.bob)
    page = client.get(f"/scenarios/{scenario.id}/upkeep?now=1")
    assert page.status_code == 200
    assert "Save limits" not in page.text
    assert client.post(f"/scenarios/{scenario.id}/upkeep", data={}).status_code == 403
    assert client.post(f"/scenarios/{scenario.id}/upkeep/switch", data={}).status_code == 403


def test_r9_the_page_says_each_days_decision_and_why_and_what_it_would_do_now(
    client: FlaskClient, scenario: Scenario, cast: Cast, server: Server, database: Database
) -> None:
    sign_in(client, cast.alice)
    page = client.get(f"/scenarios/{scenario.id}/upkeep?now=1").text
    assert "buys 1" in page
    assert "instead of 17: 1 more for 7 days." in page
    assert "Each day&#39;s decision will stand here" in page
    keep_pools(server, LATER)
    page = client.get(f"/scenarios/{scenario.id}/upkeep").text
    assert "Today" in page
    assert "instead of 17: 1 more for 7 days." in page


def test_r9_the_switch_and_the_limits_act_on_the_page(
    client: FlaskClient, scenario: Scenario, cast: Cast, database: Database
) -> None:
    sign_in(client, cast.alice)
    address = f"/scenarios/{scenario.id}/upkeep"
    off = client.post(f"{address}/switch", data={"on": ""}, follow_redirects=True).text
    assert "Upkeep is off" in off
    client.post(f"{address}/switch", data={"on": "1"})
    client.post(address, data={"max_numbers": "40", "spending_limit_minor": "12,50"})
    with database.reading() as session:
        stored = session.get_one(Scenario, scenario.id)
        assert (stored.upkeep_on, stored.upkeep_began_with) == (True, 17)
        assert (stored.upkeep_max_numbers, stored.upkeep_spending_limit_minor) == (40, 1250)
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["upkeep.off", "upkeep.on", "scenario.changed"]
    client.post(address, data={"max_numbers": "", "spending_limit_minor": ""})
    with database.reading() as session:
        stored = session.get_one(Scenario, scenario.id)
        assert (stored.upkeep_max_numbers, stored.upkeep_spending_limit_minor) == (None, None)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r9_a_limit_that_is_none_stands_beside_its_field(
    client: FlaskClient, scenario: Scenario, cast: Cast, database: Database
) -> None:
    sign_in(client, cast.alice)
    refused = client.post(
        f"/scenarios/{scenario.id}/upkeep", data={"max_numbers": "many", "spending_limit_minor": "much"}
    )
    assert refused.status_code == 422
    assert "Write a whole number, like 40." in refused.text
    assert "Write an amount like" in refused.text
    assert 'value="many"' in refused.text
    assert client.post(f"/scenarios/{scenario.id}/upkeep", data={"max_numbers": "0"}).status_code == 422


def test_r9_a_scenario_without_dynamic_numbers_cannot_have_upkeep(
    client: FlaskClient, cast: Cast, server: Server, database: Database
) -> None:
    with database.writing() as session:
        empty = make_scenario(session, cast.project, 0)
    sign_in(client, cast.alice)
    said = client.post(f"/scenarios/{empty.id}/upkeep/switch", data={"on": "1"}, follow_redirects=True).text
    assert "no dynamic numbers" in said
