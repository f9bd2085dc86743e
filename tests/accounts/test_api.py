"""Projects through the API."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from router.accounts.models import AuditEntry, Project
from router.db import Database
from tests.people import PROJECT_VALUES, Cast, bearer
from tests.properties import examples

pytestmark = pytest.mark.one_database

NEW = {name: value for name, value in PROJECT_VALUES.items() if name != "country"} | {
    "name": "New Shop",
    "site": ["https://New.example.com/", "*.example.org"],
}


def test_the_operator_makes_a_project(client: FlaskClient, cast: Cast, database: Database) -> None:
    answer = client.post("/api/v1/projects", json=NEW, headers=bearer(cast.operator_token))
    assert answer.status_code == 201
    made = answer.get_json()
    assert len(made.pop("key")) >= 16
    made.pop("created_at")
    assert made == NEW | {
        "id": made["id"], "site": ["new.example.com", "*.example.org"], "country": None, "version": 1,
        "suspended": False, "visit_gap_seconds": 1800, "source_days": 30, "recording_days": 90, "message_days": 365,
            "repeat_credit": "first_call",
        "number_price_minor": None, "balance_minor": 0, "consent": "full", "gpc_refuses": False, "tag_address": None,
        "staff_addresses": [], "own_numbers": [], "destination_numbers": [], "tell_internal": "nobody",
        "ignore_automation": False, "unwanted_referrals": [], "block_withheld": False, "block_failed_verification": False,
        "block_robocalls": True, "blocked_answer": "busy", "blocked_sentence": None, "calls_per_caller": 5,
        "calls_per_number": 200, "tell_blocked": "nobody",
    }  # fmt: skip
    with database.reading() as session:
        entry = session.scalars(select(AuditEntry)).one()
        assert (entry.actor, entry.action, entry.project_id) == ("token test", "project created", made["id"])


def test_nobody_else_makes_one(client: FlaskClient, cast: Cast, database: Database) -> None:
    assert client.post("/api/v1/projects", json=NEW, headers=bearer(cast.alice_token)).status_code == 403
    assert client.post("/api/v1/projects", json=NEW).status_code == 401
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Project)) == 2


def test_a_missing_field_is_named(client: FlaskClient, cast: Cast) -> None:
    for field in NEW:
        body = {name: value for name, value in NEW.items() if name != field}
        answer = client.post("/api/v1/projects", json=body, headers=bearer(cast.operator_token))
        assert (answer.status_code, answer.get_json()["field"]) == (422, field)


def test_everybody_lists_what_he_reaches(client: FlaskClient, cast: Cast) -> None:
    def names(token: str, **query: str) -> tuple[list[str], str | None]:
        page = client.get("/api/v1/projects", headers=bearer(token), query_string=query).get_json()
        return [one["name"] for one in page["items"]], page["next"]

    assert names(cast.alice_token) == (["Alice's Shop"], None)
    first, following = names(cast.operator_token, limit="1")
    assert first == ["Charlie's Garage"]
    assert names(cast.operator_token, limit="1", next=following or "") == (["Alice's Shop"], None)


def test_a_patch_changes_what_it_names_and_says_who_was_faster(client: FlaskClient, cast: Cast) -> None:
    address, alice = f"/api/v1/projects/{cast.project.id}", bearer(cast.alice_token)
    changed = client.patch(address, json={"version": 1, "name": "Shop", "country": None}, headers=alice)
    assert changed.status_code == 200
    assert (changed.get_json()["name"], changed.get_json()["country"], changed.get_json()["version"]) == (
        "Shop",
        None,
        2,
    )
    assert changed.get_json()["site"] == ["shop.example.com"]
    assert client.get(address, headers=alice).get_json() == changed.get_json()
    late = client.patch(address, json={"version": 1, "name": "Late"}, headers=alice)
    assert (late.status_code, late.mimetype) == (409, "application/problem+json")
    assert client.patch(address, json={"name": "x"}, headers=alice).get_json()["field"] == "version"
    assert client.patch(address, json={"version": 2, "timezone": None}, headers=alice).get_json()["field"] == "timezone"
    assert client.patch(address, json={"version": 2, "key": "x"}, headers=alice).get_json()["field"] == "key"
    assert client.get(address, headers=alice).get_json()["name"] == "Shop"


def test_what_is_no_json_object_is_refused(client: FlaskClient, cast: Cast) -> None:
    for body in (b"", b"[]", b"nonsense", b"\xff", b'{"a": NaN}', b"[" * 5000):
        answer = client.post("/api/v1/projects", data=body, headers=bearer(cast.operator_token))
        assert (answer.status_code, answer.mimetype) == (400, "application/problem+json"), body


def test_a_body_above_64_kb_is_refused(client: FlaskClient, cast: Cast) -> None:
    answer = client.post("/api/v1/projects", json=NEW | {"name": "x" * 70000}, headers=bearer(cast.operator_token))
    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*NEW, "country", "visit_gap_seconds", "x"]), anything, min_size=1, max_size=3))
def test_no_body_breaks_the_server(app: Flask, cast: Cast, changes: dict[str, Any]) -> None:
    answer = app.test_client().post("/api/v1/projects", json=NEW | changes, headers=bearer(cast.operator_token))
    assert answer.status_code in (201, 422)


def test_an_unknown_address_and_a_wrong_method_are_problems_too(client: FlaskClient, cast: Cast) -> None:
    assert client.get("/api/v1/nothing").mimetype == "application/problem+json"
    assert client.delete("/api/v1/projects").status_code == 405
    assert client.get(f"/api/v1/projects/{2**70}", headers=bearer(cast.operator_token)).status_code == 404


def test_the_description_names_every_address_for_programs(client: FlaskClient) -> None:
    described = client.get("/api/v1/openapi.json").get_json()
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]["/api/v1/projects/{project_id}"]) == {"get", "patch"}
    post = described["paths"]["/api/v1/projects"]["post"]
    assert post["summary"] == "Make a project; only the operator's tokens may."
    assert post["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ProjectValues"
    }
    assert described["components"]["schemas"]["ProjectPatch"]["required"] == ["version"]
    assert {"ProjectValues", "ProjectDocument", "Problem"} <= set(described["components"]["schemas"])


def test_the_description_types_the_parameters_of_an_address(client: FlaskClient) -> None:
    paths = client.get("/api/v1/openapi.json").get_json()["paths"]

    def typed(path: str) -> dict[str, Any]:
        parameters = paths[f"/api/v1/projects/{{project_id}}/{path}"]["get"]["parameters"]
        return {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}

    calls = typed("calls")
    assert calls["limit"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert calls["next"] == calls["from"] == {"type": "string"}
    assert calls["scenario"] == {"type": "integer"}
    assert "missed" in calls["status"]["enum"]
    assert typed("reports/sources")["by"]["enum"] == ["channel", "source", "campaign"]


def test_the_description_can_be_read_as_a_page(client: FlaskClient) -> None:
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    described = client.get("/api/v1/openapi.json").get_json()
    for path in described["paths"]:
        assert f"<code>{path}</code>" in page.text
    links = set(re.findall(r'href="#([^"]+)"', page.text)) - {"content"}
    assert links <= set(re.findall(r'id="([^"]+)"', page.text))
    assert {f"schema-{name}" for name in described["components"]["schemas"]} <= set(
        re.findall(r'id="([^"]+)"', page.text)
    )
