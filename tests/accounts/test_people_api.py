"""People through the API: an owner's token adds them, changes their roles and removes them."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts import members
from router.accounts.models import AuditEntry
from router.db import Database
from tests.people import Cast, bearer

pytestmark = pytest.mark.one_database


def test_the_operator_adds_people_through_the_api(client: FlaskClient, cast: Cast, database: Database) -> None:
    address, operator = f"/api/v1/projects/{cast.project.id}/people", bearer(cast.operator_token)
    dora = {"email": "Dora@Example.com", "name": "Dora", "role": "viewer"}
    added = client.post(address, json=dora, headers=operator)
    assert added.status_code == 201
    body = added.get_json()
    assert (body["email"], body["role"]) == ("dora@example.com", "viewer")
    assert len(body["password"]) >= 10
    again = client.post(address, json=dora | {"role": "admin"}, headers=operator).get_json()
    assert again == {"id": body["id"], "email": "dora@example.com", "name": "Dora", "role": "admin"}
    listed = client.get(address, headers=operator).get_json()
    assert {one["email"]: one["role"] for one in listed["items"]}["dora@example.com"] == "admin"
    changed = client.put(f"{address}/{body['id']}", json={"role": "owner"}, headers=operator)
    assert changed.get_json()["role"] == "owner"
    assert client.delete(f"{address}/{body['id']}", headers=operator).status_code == 204
    assert client.delete(f"{address}/{body['id']}", headers=operator).status_code == 404
    with database.reading() as session:
        assert members.person_with(session, "dora@example.com") is not None
        actions = set(session.scalars(select(AuditEntry.action)))
    assert {"person added", "role changed", "person removed"} <= actions


def test_bad_people_are_refused_by_field_and_roles_are_kept_to(client: FlaskClient, cast: Cast) -> None:
    address, operator = f"/api/v1/projects/{cast.project.id}/people", bearer(cast.operator_token)
    for wrong, field in (
        ({"email": "nobody", "role": "viewer"}, "email"),
        ({"email": "d@example.com", "role": "king"}, "role"),
        ({"email": "d@example.com", "role": "viewer", "age": 7}, "age"),
    ):
        refused = client.post(address, json=wrong, headers=operator)
        assert (refused.status_code, refused.get_json()["field"]) == (422, field)
    good = {"email": "d@example.com", "role": "viewer"}
    assert client.post(address, json=good, headers=bearer(cast.charlie_token)).status_code == 404
    assert client.post(address, json=good).status_code == 401
