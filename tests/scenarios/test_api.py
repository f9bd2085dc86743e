"""The API of numbers and scenarios, as programs use it."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from router.accounts.models import Project
from router.db import Database
from router.scenarios.models import Scenario, TrackingNumber
from tests.people import Cast, bearer
from tests.scenarios.names import FIRST, LINE, SECOND, THIRD

pytestmark = pytest.mark.one_database


class Program:
    """A client with a token, in one project."""

    def __init__(self, client: FlaskClient, token: str, project: Project) -> None:
        self.client, self.token = client, token
        self.base = f"/api/v1/projects/{project.id}"

    def send(self, method: str, path: str, body: Any = None) -> TestResponse:
        return self.client.open(self.base + path, method=method, json=body, headers=bearer(self.token))

    def made(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.send("POST", path, body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json or {})


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> Program:
    return Program(client, cast.alice_token, cast.project)


@pytest.fixture
def charlie(client: FlaskClient, cast: Cast) -> Program:
    return Program(client, cast.charlie_token, cast.other_project)


def refusal(answer: TestResponse) -> tuple[int, str | None]:
    assert answer.mimetype == "application/problem+json", answer.text
    body = answer.json or {}
    assert body["detail"], body
    return answer.status_code, body.get("field")


def test_r5_numbers_are_added_listed_and_refused(alice: Program, charlie: Program) -> None:
    number = alice.made("/numbers", {"e164": "(415) 555-0121"})
    assert (number["e164"], number["scenario"], number["owned_elsewhere"]) == (FIRST, None, True)
    alice.made("/numbers", {"e164": SECOND})
    listed = alice.send("GET", "/numbers?limit=1").json or {}
    assert [one["e164"] for one in listed["items"]] == [SECOND], "newest first"
    rest = alice.send("GET", f"/numbers?limit=1&next={listed['next']}").json or {}
    assert ([one["e164"] for one in rest["items"]], rest["next"]) == ([FIRST], None)

    assert refusal(alice.send("POST", "/numbers", {"e164": FIRST})) == (409, "e164")
    assert refusal(charlie.send("POST", "/numbers", {"e164": FIRST})) == (409, "e164")
    assert refusal(alice.send("POST", "/numbers", {"e164": "12"})) == (422, "e164")
    assert refusal(alice.send("POST", "/numbers", {"e164": 4155550121})) == (422, "e164")
    assert refusal(alice.send("POST", "/numbers", {})) == (422, "e164")
    assert refusal(alice.send("POST", "/numbers", {"e164": THIRD, "pinned": True})) == (422, "pinned")


def test_a_scenario_from_its_first_post_to_its_deletion(alice: Program, database: Database) -> None:
    for e164 in (FIRST, SECOND):
        alice.made("/numbers", {"e164": e164})
    made = alice.made(
        "/scenarios",
        {
            "title": "Spring",
            "enabled": True,
            "numbers": [FIRST, SECOND],
            "static": {SECOND: {"source": "flyer", "medium": "print", "campaign": "may"}},
            "flow": {"destinations": [{"to": LINE, "ring_seconds": 25}]},
            "tagging": {"selectors": [".phone"], "replace": [], "format": ""},
            "aim": "visit",
            "exhausted": "share",
        },
    )
    assert {"id", "version", "created_at", "calls", "accuracy"} <= made.keys()
    assert (made["version"], made["calls"], made["accuracy"]) == (1, 0, None)
    path = f"/scenarios/{made['id']}"
    assert alice.send("GET", path).json == made
    assert alice.send("GET", "/scenarios").json == {"items": [made], "next": None}

    changed = alice.send("PATCH", path, {"version": 1, "title": "Summer", "static": {"415-555-0122": None}}).json or {}
    assert changed == made | {"version": 2, "title": "Summer", "static": {}, "channels": []}

    assert refusal(alice.send("PATCH", path, {"version": 1, "title": "Late"})) == (409, "version")
    assert refusal(alice.send("PATCH", path, {"title": "Which one?"})) == (422, "version")
    assert refusal(alice.send("PATCH", path, {"version": 2, "id": 7})) == (422, "id")
    assert refusal(alice.send("PATCH", path, {"version": 2, "title": None})) == (422, "title")
    assert refusal(alice.send("PATCH", path, {"version": 2, "numbers": [THIRD]})) == (422, "numbers.0")
    assert (alice.send("GET", path).json or {})["title"] == "Summer"

    assert alice.send("DELETE", path).status_code == 204
    assert refusal(alice.send("GET", path)) == (404, None)
    assert refusal(alice.send("DELETE", path)) == (404, None)
    assert alice.send("GET", "/scenarios").json == {"items": [], "next": None}
    with database.reading() as session:
        assert session.scalar(select(func.count(Scenario.id))) == 1, "its row stays for the history"
        assert session.scalars(select(TrackingNumber.scenario_id)).all() == [None, None]


def test_a_refused_scenario_names_the_first_field_and_lists_all(alice: Program) -> None:
    alice.made("/numbers", {"e164": FIRST})
    answer = alice.send("POST", "/scenarios", {"title": "x", "colour": 1, "flow": {"destinations": [{"to": FIRST}]}})
    assert answer.status_code == 422
    assert set((answer.json or {})["errors"]) >= {"colour", "flow.destinations.0.to"}
    for body in (None, [], "text", 7):
        assert refusal(alice.send("POST", "/scenarios", body))[0] == 400


def test_a_viewer_reads_and_changes_nothing(client: FlaskClient, cast: Cast, alice: Program) -> None:
    bob = Program(client, cast.bob_token, cast.project)
    made = alice.made("/scenarios", {"title": "Spring"})
    assert bob.send("GET", f"/scenarios/{made['id']}").json == made
    for method, path in (("POST", "/scenarios"), ("POST", "/numbers"), ("DELETE", f"/scenarios/{made['id']}")):
        assert refusal(bob.send(method, path, {"title": "Mine"}))[0] == 403


def test_charlie_reaches_nothing_of_alices_project(client: FlaskClient, cast: Cast, alice: Program) -> None:
    made = alice.made("/scenarios", {"title": "Spring"})
    inside = Program(client, cast.charlie_token, cast.project)
    own = Program(client, cast.charlie_token, cast.other_project)
    for method in ("GET", "PATCH", "DELETE"):
        assert refusal(inside.send(method, f"/scenarios/{made['id']}", {"version": 1}))[0] == 404
        assert refusal(own.send(method, f"/scenarios/{made['id']}", {"version": 1}))[0] == 404


def test_integrations_are_a_member_of_the_document_and_their_secrets_appear_once(alice: Program) -> None:
    hook = {"url": "https://hooks.example.com/calls"}
    made = alice.made("/scenarios", {"title": "Spring", "integrations": {"webhook_end": hook}})
    assert made["secrets"]["integrations.webhook_end.secret"].startswith("whsec_")
    path = f"/scenarios/{made['id']}"
    assert alice.send("GET", path).json == {name: value for name, value in made.items() if name != "secrets"}
    changed = alice.send("PATCH", path, {"version": 1, "title": "Summer"}).json or {}
    assert changed["integrations"]["webhook_end"] | hook == changed["integrations"]["webhook_end"]
    assert "secrets" not in changed
    for wrong, field in (([], "integrations"), ({"fax": {}}, "integrations.fax"), ({"crm": {}}, None)):
        status, named = refusal(alice.send("PATCH", path, {"version": 2, "integrations": wrong}))
        assert status == 422
        assert named == field or (field is None and str(named).startswith("integrations.crm"))
    without = alice.send("PATCH", path, {"version": 2, "integrations": {"webhook_end": None}}).json or {}
    assert without["integrations"] == {}


def test_a_destination_that_costs_more_is_confirmed_by_its_field(alice: Program) -> None:
    flow: dict[str, Any] = {"destinations": [{"to": "+19002345678"}]}
    answer = alice.send("POST", "/scenarios", {"title": "Spring", "flow": flow})
    assert refusal(answer) == (422, "flow.destinations.0.costs_confirmed")
    assert "send “costs_confirmed”: true" in (answer.json or {})["detail"]
    flow["destinations"][0]["costs_confirmed"] = True
    made = alice.made("/scenarios", {"title": "Spring", "flow": flow})
    assert made["flow"]["destinations"][0]["costs_confirmed"] is True
    described = (alice.client.get("/api/v1/openapi.json").json or {})["components"]["schemas"]
    [destination] = [one for name, one in described.items() if name.split(".")[0] == "Destination"]
    assert destination["properties"]["costs_confirmed"]["type"] == "boolean"
    assert "`costs_confirmed` has to be true" in destination["description"]
