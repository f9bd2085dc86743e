"""Hostile bodies of the addresses where money, numbers and scenarios change: no 500, what is refused leaves nothing, viewers do nothing."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from router.db import Database
from router.scenarios.models import TrackingNumber
from router.server import Server
from tests.factories import make_ledger_entry, make_number, make_scenario
from tests.faults.test_fuzz import rows
from tests.people import Cast, bearer, sign_in
from tests.properties import examples
from tests.scenarios.shop import FakeShop
from tests.web.test_access import addresses

TEXTS = st.sampled_from([
    "", " ", "\0", "\ud83d", "\u202egnp.exe", "\u0661\u0662", "=HYPERLINK(\"//x\")", "<img src=x onerror=alert(1)>", "*" * 200, "a*" * 100,
    "/" * 300, "+12125550190", "+12125551000", "12125550190", "US", "us", "1e5", "x" * 5000, "DE-BY", "None", "\n", "\x85", "{{7*7}}",
])  # fmt: skip
AMOUNTS = st.sampled_from(
    [0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**15, -(10**15), 10**40, 1.0, 0.5, True, False, "1"]
)
LEAVES = TEXTS | AMOUNTS | st.none() | st.just([]) | st.just({}) | st.just([[[[[[]]]]]]) | st.just([None] * 5000)
LISTS = st.lists(LEAVES, max_size=4) | LEAVES


def some(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: LEAVES | value for name, value in fields.items()})


MATCHES = some(source=TEXTS, medium=TEXTS, campaign=TEXTS)
SCENARIOS = some(
    title=TEXTS, enabled=st.booleans(), numbers=LISTS, aim=st.just("source"), manager=TEXTS, version=st.just(1),
    channels=st.lists(some(match=MATCHES, kind=st.sampled_from(["static", "dynamic"]), number=TEXTS), max_size=3),
    static=st.dictionaries(TEXTS, MATCHES, max_size=2), flow=some(destinations=st.lists(some(to=TEXTS, ring_seconds=AMOUNTS), max_size=2)),
    terms=some(only_sources=LISTS, excluded_sources=LISTS, only_landing_pages=LISTS, excluded_landing_pages=LISTS, only_regions=LISTS),
    upkeep=some(on=st.booleans(), spending_limit_minor=AMOUNTS, max_numbers=AMOUNTS),
    to_buy=some(numbers=LISTS, count=AMOUNTS, country=TEXTS, area_code=TEXTS, contains=TEXTS),
    tagging=some(selectors=LISTS, replace=LISTS, format=TEXTS), integrations=LISTS,
)  # fmt: skip
ROUTES = {
    ("POST", "scenarios"): SCENARIOS,
    ("PATCH", "scenarios/{scenario_id}"): SCENARIOS,
    ("POST", "scenarios/{scenario_id}/enable"): some(version=AMOUNTS),
    ("POST", "scenarios/{scenario_id}/lint"): SCENARIOS,
    ("POST", "numbers"): some(e164=TEXTS),
    ("POST", "numbers/search"): some(country=TEXTS, area_code=TEXTS, contains=TEXTS, limit=AMOUNTS),
    ("POST", "numbers/buy"): some(e164=TEXTS, scenario=AMOUNTS),
    ("PATCH", "numbers/%2B12125551000"): some(scenario=AMOUNTS, pinned=st.booleans()),
    ("DELETE", "numbers/%2B12125551000"): some(e164=TEXTS),
    ("POST", "ledger"): some(amount_minor=AMOUNTS, note=TEXTS, reason=TEXTS),
    ("POST", "upkeep/run"): some(dry_run=st.booleans(), scenario=AMOUNTS),
}


@pytest.fixture
def furnished(server: Server, furnished_cast: Cast, database: Database) -> Cast:
    server.shop = FakeShop(["+12125550190", "+12125550191"])
    with database.writing() as session:
        make_ledger_entry(session, furnished_cast.project, 1000, "top-up:fuzz")
        make_number(session, furnished_cast.project, "+12125551000")
    return furnished_cast


def test_no_hostile_body_of_a_program_brings_a_500_and_a_refused_one_leaves_no_row(
    client: FlaskClient, furnished: Cast, database: Database
) -> None:
    @settings(
        max_examples=examples(200 if database.is_sqlite else 60), database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(st.sampled_from(sorted(ROUTES)).flatmap(lambda route: st.tuples(st.just(route), ROUTES[route])))
    def send(asked: tuple[tuple[str, str], Any]) -> None:
        (method, path), body = asked
        before = rows(database)
        address = f"/api/v1/projects/{furnished.project.id}/{path.format(**furnished.ids)}"
        headers = bearer(furnished.operator_token)
        answer = client.open(
            address, method=method, headers=headers, data=json.dumps(body), content_type="application/json"
        )
        assert answer.status_code < 500, (address, body, answer.text)
        if answer.status_code >= 400:
            assert answer.mimetype == "application/problem+json"
            tried = (
                "order" in answer.json
            )  # the carrier did not sell it: the order stays, with its charge and its refund
            assert tried or rows(database) == before, (address, body, answer.text)

    send()


def test_a_viewer_changes_nothing_at_any_address(
    app: Flask, client: FlaskClient, furnished: Cast, database: Database
) -> None:
    sign_in(client, furnished.bob, furnished.project)
    before = rows(database)
    for method, address, rule in addresses(app, furnished.ids):
        if method == "GET":
            continue
        headers = bearer(furnished.bob_token) if address.startswith("/api/") else {}
        body: dict[str, Any] = {"json": {"version": 1}} if headers else {"data": {"confirm": "yes"}}
        answer = client.open(address, method=method, headers=headers, **body)
        may = rule.rule == "/projects/<int:project_id>/open"
        assert answer.status_code in (403, 404) or may, f"{method} {rule} answered {answer.status_code}"
        assert rows(database) == before, f"{method} {rule} wrote for a viewer"


@pytest.mark.parametrize("what", ["numbers", "to_buy", "channel", "move", "buy_into"])
def test_another_projects_things_in_bodies_are_refused_and_leave_nothing(
    client: FlaskClient, furnished: Cast, database: Database, what: str
) -> None:
    theirs = "+12125552000"
    with database.writing() as session:
        scenario = make_scenario(session, furnished.other_project, [theirs])
    flow = {"destinations": [{"to": "+14155550111"}]}
    base = f"/api/v1/projects/{furnished.project.id}"
    document = {"title": "x", "flow": flow}
    asked: dict[str, tuple[str, str, dict[str, Any]]] = {
        "numbers": ("POST", "/scenarios", document | {"numbers": [theirs]}),
        "to_buy": ("POST", "/scenarios", document | {"enabled": True, "to_buy": {"numbers": [theirs]}}),
        "channel": ("POST", "/scenarios", document | {"channels": [{"match": {}, "kind": "static", "number": theirs}]}),
        "move": ("PATCH", "/numbers/%2B12125551000", {"scenario": scenario.id}),
        "buy_into": ("POST", "/numbers/buy", {"e164": "+12125550190", "scenario": scenario.id}),
    }
    method, path, body = asked[what]
    before = rows(database)
    answer = client.open(base + path, method=method, json=body, headers=bearer(furnished.operator_token))
    assert answer.status_code in (404, 409, 422), answer.text
    assert rows(database) == before
    with database.reading() as session:
        assert (
            session.scalars(select(TrackingNumber.scenario_id).where(TrackingNumber.e164 == theirs)).one()
            == scenario.id
        )
