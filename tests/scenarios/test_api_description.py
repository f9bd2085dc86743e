"""The API's description tells what scenarios, numbers, the ledger and upkeep take and answer, and the answers are so."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from router.server import Server
from tests.people import Cast
from tests.scenarios.names import FIRST, LINE
from tests.scenarios.shop import FakeShop
from tests.scenarios.test_api import Program

pytestmark = pytest.mark.one_database

FOR_SALE = [f"+1212555019{digit}" for digit in range(4)]
SPRING: dict[str, Any] = {"title": "Spring", "numbers": [FIRST], "flow": {"destinations": [{"to": LINE}]}}
PROJECT = "/api/v1/projects/{project_id}"


@pytest.fixture
def server(app: Flask) -> Server:
    server: Server = app.extensions["router"]
    server.shop = FakeShop(list(FOR_SALE))
    return server


class Described:
    """Sends, and checks that the answer is one that the description names, with the members that it names."""

    def __init__(self, client: FlaskClient, token: str, cast: Cast) -> None:
        self.program = Program(client, token, cast.project)
        document = client.get("/api/v1/openapi.json").get_json()
        self.paths, self.schemas = document["paths"], document["components"]["schemas"]

    def send(self, method: str, path: str, body: Any = None, **ids: Any) -> Any:
        operation = self.paths[PROJECT + path.partition("?")[0]][method.lower()]
        answer = self.program.send(method, path.format(**ids), body)
        described = operation["responses"][str(answer.status_code)]
        if answer.status_code != 204:
            self.check(answer.json, described["content"]["application/json"]["schema"], path)
        return answer.json

    def check(self, value: Any, schema: dict[str, Any], where: str) -> None:
        if "anyOf" in schema:
            kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
            if value is None:
                assert len(kinds) < len(schema["anyOf"]), where
                return
            schema = kinds[0]
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and "properties" in schema:
            assert set(schema.get("required", [])) <= set(value) <= set(schema["properties"]), where
            for name, member in value.items():
                self.check(member, schema["properties"][name], f"{where} {name}")
        elif isinstance(value, list):
            assert schema["type"] == "array", where
            for one in value:
                self.check(one, schema["items"], where)
        else:
            kinds = {
                str: "string",
                bool: "boolean",
                int: "integer",
                float: "number",
                dict: "object",
                type(None): "null",
            }
            assert kinds[type(value)] in schema["type"], where


@pytest.fixture
def api(client: FlaskClient, cast: Cast, server: Server) -> Described:
    return Described(client, cast.operator_token, cast)


def test_every_operation_on_scenarios_numbers_money_and_upkeep_describes_its_answers(api: Described) -> None:
    rooms = ("ledger", "numbers", "scenarios", "upkeep")
    seen = 0
    for path, operations in api.paths.items():
        if not path.removeprefix(PROJECT + "/").startswith(rooms):
            continue
        for method, operation in operations.items():
            answers = {status: one for status, one in operation["responses"].items() if status != "default"}
            silent = [status for status, one in answers.items() if "content" not in one and status != "204"]
            assert answers, (method, path)
            assert not silent, (method, path)
            seen += 1
    assert seen >= 20


def test_numbers_and_money_answer_as_described(api: Described, server: Server, cast: Cast) -> None:
    entry = {"amount_minor": 1000, "note": "Paid", "reason": "invoice 7"}
    for _ in range(2):
        api.send("POST", "/ledger", entry)
    assert api.send("POST", "/numbers/search", {"country": "US", "area_code": None, "limit": 200})["items"]
    for e164 in FOR_SALE[:2]:
        api.send("POST", "/numbers/buy", {"e164": e164})
    api.send("POST", "/numbers", {"e164": FIRST})
    api.send("PATCH", "/numbers/{e164}", {"pinned": True}, e164=FIRST)
    api.send("GET", "/numbers/{e164}", e164=FIRST)
    assert len(api.send("GET", "/numbers")["items"]) == 3
    api.send("DELETE", "/numbers/{e164}", e164=FOR_SALE[0])
    assert api.send("GET", "/ledger")["items"]


def test_scenarios_and_upkeep_answer_as_described(api: Described) -> None:
    api.send("POST", "/numbers", {"e164": FIRST})
    hook = {"webhook_end": {"url": "https://hooks.example.com"}}
    static = [{"match": None, "kind": "static", "number": FIRST}]
    made = api.send("POST", "/scenarios", SPRING | {"integrations": hook, "channels": static})
    assert "secrets" in made
    assert made["channels"] == [{"match": {}, "kind": "static", "number": FIRST}]
    one = made["id"]
    changes = {"version": made["version"], "channels": [], "upkeep": {"on": True}, "to_buy": {"count": 2}}
    api.send("PATCH", "/scenarios/{scenario_id}", changes, scenario_id=one)
    assert api.send("GET", "/scenarios/{scenario_id}/lint", scenario_id=one) == api.send(
        "POST", "/scenarios/{scenario_id}/lint", scenario_id=one
    ), "without a change it is the scenario as it is"
    assert api.send("POST", "/scenarios/lint", {"title": "Bare"})["items"]
    assert "buying" in api.send("POST", "/scenarios/{scenario_id}/enable", scenario_id=one)
    api.send("POST", "/scenarios/{scenario_id}/duplicate", scenario_id=one)
    assert len(api.send("GET", "/scenarios")["items"]) == 2
    assert api.send("POST", "/upkeep/run")["dry_run"], "nothing is done unless it is asked for"
    api.send("POST", "/upkeep/run", {"dry_run": False})
    assert api.send("GET", "/upkeep?limit=10")["items"]
    api.send("POST", "/scenarios/{scenario_id}/disable", scenario_id=one)
    api.send("DELETE", "/scenarios/{scenario_id}", scenario_id=one)
