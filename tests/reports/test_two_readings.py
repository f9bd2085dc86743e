"""Numbers without a plus that have two readings: every place of the API and of the pages refuses them and names both; with the own country
code they are read everywhere."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from router.accounts.audit import Change
from router.accounts.models import Project
from router.db import Database
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.server import Server
from tests.factories import GOOGLE, make_call
from tests.people import NOW, Cast, bearer, sign_in
from tests.scenarios.names import ALICE

TWO, INTERNATIONAL, NATIONAL = "436641234567", "+43 664 1234567", "+49 4366 41234567"
OURS, LINE = "+493090182011", "+493012345678"
only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

SCENARIO = {"title": "Shop", "numbers": [OURS], "flow": {"destinations": [{"to": LINE}]}}
BODIES: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/scenarios", {"numbers": [OURS, TWO]}, "numbers.1"),
    ("POST", "/scenarios", {"flow": {"destinations": [{"to": LINE}, {"to": TWO}]}}, "flow.destinations.1.to"),
    ("POST", "/scenarios", {"channels": [{"match": {}, "kind": "static", "number": TWO}]}, "channels.0.number"),
    ("POST", "/scenarios", {"static": {TWO: {"source": "flyer"}}}, f"static.{TWO}"),
    ("POST", "/scenarios", {"overflow": TWO}, "overflow"),
    ("POST", "/scenarios", {"to_buy": {"numbers": [TWO]}}, "to_buy.numbers.0"),
    ("POST", "/numbers", {"e164": TWO}, "e164"),
    ("POST", "/numbers/buy", {"e164": TWO}, "e164"),
    ("PATCH", "", {"fallback_destination": TWO}, "fallback_destination"),
    ("PATCH", "", {"own_numbers": [{"number": TWO, "remark": ""}]}, "own_numbers"),
    ("GET", f"/calls?caller={TWO}", {}, "caller"),
    ("GET", f"/calls?number={TWO}", {}, "number"),
]


@pytest.fixture
def german(cast: Cast, database: Database, server: Server) -> Cast:
    with database.writing() as session:
        session.execute(update(Project).where(Project.id == cast.project.id).values(country="DE"))
        project = session.get_one(Project, cast.project.id, populate_existing=True)
        add_numbers(Change(session, server, project, ALICE, NOW), [OURS])
    return cast


def ask(client: FlaskClient, cast: Cast, method: str, path: str, body: dict[str, Any]) -> TestResponse:
    address, headers = f"/api/v1/projects/{cast.project.id}{path}", bearer(cast.alice_token)
    if method == "GET":
        return client.get(address, headers=headers)
    if method == "PATCH":
        body = body | {"version": (client.get(address, headers=headers).json or {})["version"]}
    return client.open(address, method=method, json=SCENARIO | body if path == "/scenarios" else body, headers=headers)


@pytest.mark.parametrize(("method", "path", "body", "field"), BODIES, ids=lambda one: str(one)[:40])
@only_sqlite
def test_the_api_refuses_a_number_of_two_readings_and_names_both(
    client: FlaskClient, german: Cast, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    answer = ask(client, german, method, path, body)
    said = answer.get_json()
    assert answer.status_code == 422, answer.text
    assert said["field"].startswith(field)
    assert INTERNATIONAL in said["detail"]
    assert NATIONAL in said["detail"]
    assert "Write it with + and its country code" in said["detail"]


READ = [("493090182012", "+493090182012"), ("4917612345678", "+4917612345678"), ("4915112345678", "+4915112345678")]


@pytest.mark.parametrize(("text", "e164"), READ)
@only_sqlite
def test_the_api_reads_a_number_that_begins_with_the_own_country_code(
    client: FlaskClient, german: Cast, database: Database, text: str, e164: str
) -> None:
    assert (ask(client, german, "POST", "/numbers", {"e164": text}).json or {})["e164"] == e164
    made = ask(client, german, "POST", "/scenarios", {"numbers": [OURS, text]})
    assert made.status_code == 201, made.text
    assert (made.json or {})["numbers"] == [OURS, e164]
    with database.reading() as session:
        assert e164 in session.scalars(select(TrackingNumber.e164)).all()
    changed = ask(client, german, "PATCH", "", {"fallback_destination": "4930987654321"})
    assert (changed.json or {})["fallback_destination"] == "+4930987654321"


@only_sqlite
def test_the_pages_refuse_a_number_of_two_readings_and_name_both(client: FlaskClient, german: Cast) -> None:
    alice = sign_in(client, german.alice)
    version = {"version": "1"}
    settings = {
        "name": "Shop", "site": "shop.example.com", "country": "DE", "timezone": "Europe/Berlin", "currency": "EUR",
        "email": "office@shop.example.com", "fallback_destination": TWO,
    }  # fmt: skip
    step = str(alice.get("/scenarios/new").location).rpartition("/")[0]
    pages = [
        alice.post("/numbers/add", data={"numbers": f"+493090182013\n{TWO}"}),
        alice.post("/settings", data=settings | version),
        alice.post(f"{step}/numbers", data={"title": "Shop", "own": TWO, "do": "save"}),
        alice.post(
            f"{step}/forwarding", data={"title": "Shop", "destinations.0.to": TWO, "do": "save"}, follow_redirects=True
        ),
    ]
    for page in pages:
        assert INTERNATIONAL in page.text, page.request.path
        assert NATIONAL in page.text, page.request.path


@only_sqlite
def test_the_list_of_calls_finds_both_readings(client: FlaskClient, german: Cast, database: Database) -> None:
    with database.writing() as session:
        for minute, caller in enumerate(("+436641234567", "+49436641234567", "+4915112345678")):
            make_call(session, german.project, OURS, NOW - timedelta(minutes=minute), caller=caller, source=GOOGLE)
    alice = sign_in(client, german.alice)
    found = alice.get(f"/calls?q={TWO}").text
    assert INTERNATIONAL in found
    assert NATIONAL in found
    assert "+49 1511 2345678" not in found
    assert "+49 1511 2345678" in alice.get("/calls?q=4915112345678").text
