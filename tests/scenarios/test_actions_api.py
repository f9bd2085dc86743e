"""The API of channels, terms, enabling, linting and copies, as programs use it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import Project
from router.db import Database
from router.integrations.models import Integration
from router.lib.crypto import KeyRing
from router.scenarios.models import NumberBatch, Scenario, ScenarioDraft
from router.server import Server
from tests.factories import make_draft, make_ledger_entry
from tests.people import NOW, Cast
from tests.scenarios.names import FIRST, LINE, SECOND, number
from tests.scenarios.shop import FakeShop
from tests.scenarios.test_api import Program, refusal

pytestmark = pytest.mark.one_database

FOR_SALE = [f"+1212555019{digit}" for digit in range(4)]
SPRING: dict[str, Any] = {"title": "Spring", "numbers": [FIRST], "flow": {"destinations": [{"to": LINE}]}}


@pytest.fixture
def server(app: Flask) -> Server:
    server: Server = app.extensions["router"]
    server.shop = FakeShop(list(FOR_SALE))
    return server


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, server: Server) -> Program:
    program = Program(client, cast.alice_token, cast.project)
    for e164 in (FIRST, SECOND):
        program.made("/numbers", {"e164": e164})
    return program


def patched(alice: Program, before: dict[str, Any], **patch: Any) -> dict[str, Any]:
    answer = alice.send("PATCH", f"/scenarios/{before['id']}", {"version": before["version"]} | patch)
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def charge(database: Database, cast: Cast, price: int, balance: int) -> None:
    with database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = price
        if balance:
            make_ledger_entry(session, cast.project, balance)


def test_r1_every_member_of_a_scenario_is_kept_and_patched_alone(alice: Program) -> None:
    members: dict[str, Any] = {
        "channels": [{"match": {"source": "google", "medium": "cpc"}, "kind": "dynamic"}],
        "terms": {
            "only_sources": ["google/cpc*"],
            "excluded_sources": ["bing"],
            "only_landing_pages": [],
            "excluded_landing_pages": ["/jobs/*", "/thanks?paid=*"],
            "only_regions": [],
            "excluded_regions": [],
        },
        "upkeep": {"on": True, "spending_limit_minor": 5000, "max_numbers": 40},
        "manager": "bob@example.com",
        "to_buy": {"numbers": [FOR_SALE[0]], "count": 2, "country": "US", "area_code": "212", "contains": "77"},
    }
    made = alice.made("/scenarios", SPRING | members)
    assert made.items() >= members.items()
    assert alice.send("GET", f"/scenarios/{made['id']}").json == made

    changed = patched(alice, made, terms={"excluded_sources": None}, upkeep={"max_numbers": None}, manager=None)
    assert changed["terms"] == members["terms"] | {"excluded_sources": []}
    assert changed["upkeep"] == {"on": True, "spending_limit_minor": 5000, "max_numbers": None}
    assert (changed["manager"], changed["channels"], changed["to_buy"]) == ("", made["channels"], made["to_buy"])
    bare = patched(alice, changed, channels=None, terms=None, to_buy=None, upkeep=None)
    fresh = alice.made("/scenarios", {"title": "Bare"})
    assert {name: bare[name] for name in members} == {name: fresh[name] for name in members}


def test_r1_static_and_channels_say_the_same_in_both_directions(alice: Program) -> None:
    flyer = {"source": "flyer", "medium": "print"}
    split = {"channels": [{"match": {}, "kind": "dynamic"}], "static": {FIRST: flyer}}
    assert refusal(alice.send("POST", "/scenarios", SPRING | split)) == (422, "static")
    made = alice.made("/scenarios", SPRING | {"numbers": [FIRST, SECOND]})
    short = patched(alice, made, static={"(415) 555-0122": flyer})
    assert short["channels"] == [{"match": flyer, "kind": "static", "number": SECOND}]
    more = patched(alice, short, static={SECOND: {"campaign": "may"}})
    assert more["channels"][0]["match"] == flyer | {"campaign": "may"}
    row = {"match": {"source": "radio"}, "kind": "static", "number": "415 555 0121"}
    listed = patched(alice, more, channels=[row])
    assert listed["static"] == {FIRST: {"source": "radio", "medium": "", "campaign": ""}}
    both = {"version": listed["version"], "channels": [row | {"match": {"source": "tv"}}], "static": {FIRST: flyer}}
    assert refusal(alice.send("PATCH", f"/scenarios/{made['id']}", both)) == (422, "static")
    assert patched(alice, listed, static=None)["channels"] == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"terms": {"only_sources": [""]}}, "terms.only_sources.0"),
    ({"terms": {"only_sources": ["ok", "x" * 301]}}, "terms.only_sources.1"),
    ({"terms": {"excluded_landing_pages": ["/a\tb"]}}, "terms.excluded_landing_pages.0"),
    ({"terms": {"excluded_landing_pages": "/a"}}, "terms.excluded_landing_pages"),
    ({"terms": {"only_weather": ["rain"]}}, "terms.only_weather"),
    ({"terms": {"only_regions": ["Bavaria"]}}, "terms.only_regions.0"),
    ({"upkeep": {"on": 1}}, "upkeep.on"),
    ({"upkeep": {"max_numbers": 0}}, "upkeep.max_numbers"),
    ({"upkeep": {"spending_limit_minor": -1}}, "upkeep.spending_limit_minor"),
    ({"upkeep": {"spending_limit_minor": 1.5}}, "upkeep.spending_limit_minor"),
    ({"manager": "x" * 121}, "manager"),
    ({"to_buy": {"count": 101}}, "to_buy.count"),
    ({"to_buy": {"count": -1}}, "to_buy.count"),
    ({"to_buy": {"count": 100, "numbers": [FOR_SALE[0]]}}, "to_buy.count"),
    ({"to_buy": {"numbers": ["junk"]}}, "to_buy.numbers.0"),
    ({"to_buy": {"numbers": [FOR_SALE[0]] * 2}}, "to_buy.numbers.1"),
    ({"to_buy": {"country": "USA"}}, "to_buy.country"),
    ({"to_buy": {"area_code": "2a"}}, "to_buy.area_code"),
    ({"to_buy": {"contains": "+1"}}, "to_buy.contains"),
]


def test_r1_what_cannot_be_used_of_the_members_is_named_and_nothing_is_stored(alice: Program) -> None:
    made = alice.made("/scenarios", SPRING)
    for patch, field in REFUSED:
        answer = alice.send("PATCH", f"/scenarios/{made['id']}", {"version": 1} | patch)
        assert refusal(answer) == (422, field), patch
    assert alice.send("GET", f"/scenarios/{made['id']}").json == made


def test_r2_regions_need_the_operators_file(alice: Program, server: Server) -> None:
    terms = {"only_regions": ["de", "US-CA", "US*"], "excluded_regions": ["US-NY"]}
    answer = alice.send("POST", "/scenarios", SPRING | {"terms": terms})
    assert refusal(answer) == (422, "terms.only_regions")
    assert "ROUTER_GEOIP" in (answer.json or {})["detail"]
    server.settings = server.settings.model_copy(update={"geoip": Path("regions.mmdb")})
    made = alice.made("/scenarios", SPRING | {"terms": terms})
    assert made["terms"]["only_regions"] == ["DE", "US-CA", "US*"]


def test_r2_enabling_orders_what_is_to_be_bought_and_says_so(alice: Program, cast: Cast, database: Database) -> None:
    made = alice.made("/scenarios", SPRING | {"to_buy": {"numbers": FOR_SALE[:1], "count": 1}})
    answer = alice.send("POST", f"/scenarios/{made['id']}/enable")
    assert answer.status_code == 200
    enabled = answer.json or {}
    buying = enabled.pop("buying")
    assert buying["total"] == 2
    bought = made["to_buy"] | {"numbers": [], "count": 0}
    assert enabled == made | {"enabled": True, "version": 2, "to_buy": bought}
    again = alice.send("POST", f"/scenarios/{made['id']}/enable")
    assert (again.json or {}) == enabled, "nothing is left to be bought, and nothing changes"
    off = alice.send("POST", f"/scenarios/{made['id']}/disable").json or {}
    assert off == enabled | {"enabled": False, "version": 3}


def test_r2_a_patch_that_disables_a_scenario_that_waits_for_numbers_is_heard(
    alice: Program, server: Server, database: Database
) -> None:
    made = alice.made("/scenarios", {"title": "Spring", "to_buy": {"numbers": FOR_SALE[:1]}, "enabled": True})
    assert (made["enabled"], made["buying"]["total"]) == (False, 1)
    patched(alice, made, enabled=False)
    with database.reading() as session:
        assert session.scalars(select(NumberBatch.enable)).all() == [False]


def test_r4_enabling_in_whatever_way_is_refused_with_the_missing_amount(
    alice: Program, cast: Cast, database: Database
) -> None:
    charge(database, cast, price=150, balance=100)
    to_buy = {"to_buy": {"count": 2}}
    made = alice.made("/scenarios", SPRING | to_buy)
    path = f"/scenarios/{made['id']}"
    for method, where, body in (
        ("POST", f"{path}/enable", None),
        ("PATCH", path, {"version": 1, "enabled": True}),
        ("POST", "/scenarios", SPRING | to_buy | {"title": "Other", "numbers": [], "enabled": True}),
    ):
        answer = alice.send(method, where, body)
        assert answer.status_code == 409, answer.text
        found = answer.json or {}
        assert {name: found[name] for name in ("missing_minor", "cost_minor", "balance_minor", "currency")} == {
            "missing_minor": 200,
            "cost_minor": 300,
            "balance_minor": 100,
            "currency": "EUR",
        }
    assert alice.send("GET", "/scenarios").json == {"items": [made], "next": None}
    with database.writing() as session:
        make_ledger_entry(session, cast.project, 200, "top-up:2")
    enabled = patched(alice, made, enabled=True)
    assert (enabled["enabled"], enabled["buying"]["total"]) == (True, 2)


def test_r2_the_linter_answers_for_stored_changed_and_new_documents(alice: Program) -> None:
    made = alice.made("/scenarios", SPRING | {"integrations": {"webhook_end": {"url": "https://hooks.example.com/"}}})
    path = f"/scenarios/{made['id']}/lint"
    assert alice.send("GET", path).json == {"items": []}
    changed = alice.send("POST", path, {"terms": {"excluded_sources": ["*"]}}).json or {}
    assert [one["code"] for one in changed["items"]] == ["nobody"]
    assert changed["items"][0].keys() == {"code", "sentence", "field", "step", "blocks"}
    fresh = alice.send("POST", "/scenarios/lint", {"title": "New"}).json or {}
    assert [(one["code"], one["blocks"]) for one in fresh["items"]] == [
        ("no_numbers", False),
        ("no_destination", True),
        ("no_integration", False),
    ]
    assert alice.send("GET", f"/scenarios/{made['id']}").json == {
        name: value for name, value in made.items() if name != "secrets"
    }


def test_r3_a_copy_has_the_rules_and_integrations_but_no_numbers_and_is_off(
    alice: Program, server: Server, database: Database
) -> None:
    hook = {"url": "https://hooks.example.com/calls"}
    made = alice.made(
        "/scenarios",
        SPRING
        | {
            "title": "S" * 118,
            "enabled": True,
            "static": {FIRST: {"source": "flyer"}},
            "integrations": {"webhook_end": hook},
            "terms": {"excluded_sources": ["bing"]},
            "upkeep": {"on": True, "max_numbers": 9},
            "manager": "bob",
            "to_buy": {"count": 1},
        },
    )
    answer = alice.send("POST", f"/scenarios/{made['id']}/duplicate")
    assert answer.status_code == 201
    copy = answer.json or {}
    assert copy["id"] != made["id"]
    assert copy["title"] == "S" * 113 + " (copy)"
    nothing = {"enabled": False, "numbers": [], "static": {}, "channels": []}
    assert copy.items() >= nothing.items()
    assert (copy["to_buy"]["count"], copy["upkeep"]["on"], copy["upkeep"]["max_numbers"]) == (0, False, 9)
    for name in ("flow", "tagging", "aim", "terms", "manager", "integrations"):
        assert copy[name] == made[name]
    with database.reading() as session:
        rows = session.scalars(select(Integration).order_by(Integration.id)).all()
    assert [server.keys.unseal(row.sealed) for row in rows] == [made["secrets"]["integrations.webhook_end.secret"]] * 2
    assert alice.send("PATCH", f"/scenarios/{copy['id']}", {"version": 1, "enabled": True}).status_code == 200


def test_a_deleted_scenario_takes_its_drafts_along(
    alice: Program, cast: Cast, database: Database, keys: KeyRing
) -> None:
    made = alice.made("/scenarios", SPRING)
    with database.writing() as session:
        for person, scenario_id in ((cast.alice, made["id"]), (cast.bob, made["id"]), (cast.alice, None)):
            make_draft(session, keys, cast.project, person, scenario_id=scenario_id)
    assert alice.send("DELETE", f"/scenarios/{made['id']}").status_code == 204
    with database.reading() as session:
        assert session.scalars(select(ScenarioDraft.scenario_id)).all() == [None]


def test_r3_a_deletion_says_what_becomes_of_the_numbers(alice: Program, server: Server, database: Database) -> None:
    made = alice.made("/scenarios", SPRING | {"numbers": [FIRST, SECOND]})
    with database.writing() as session:
        rented = number(session, SECOND)
        rented.owned_elsewhere, rented.carrier_sid, rented.paid_until = False, "PN1", NOW + timedelta(days=3)
    path = f"/scenarios/{made['id']}"
    assert refusal(alice.send("DELETE", f"{path}?numbers=burn")) == (422, "numbers")
    assert alice.send("DELETE", f"{path}?numbers=release").status_code == 204
    with database.reading() as session:
        own, gone = number(session, FIRST), number(session, SECOND)
        assert (own.scenario_id, own.releasing_at) == (None, None), "an own number cannot be given back: it is free"
        assert gone.scenario_id is None
        assert gone.releasing_at is not None


def test_two_programs_that_change_a_scenario_at_once_do_not_overwrite_each_other(
    alice: Program, database: Database
) -> None:
    made = alice.made("/scenarios", SPRING)
    path = f"/scenarios/{made['id']}"
    first = patched(alice, made, terms={"excluded_sources": ["bing"]})
    late = alice.send("PATCH", path, {"version": 1, "terms": {"excluded_sources": ["google"]}, "enabled": True})
    assert refusal(late) == (409, "version")
    assert (late.json or {})["version"] == first["version"] == 2
    assert alice.send("GET", path).json == first
    alice.send("POST", f"{path}/enable")
    assert refusal(alice.send("PATCH", path, {"version": 2, "enabled": False})) == (409, "version")
    with database.reading() as session:
        assert session.get_one(Scenario, made["id"]).enabled


def test_another_projects_scenario_is_not_there_and_a_viewer_changes_nothing(
    client: FlaskClient, cast: Cast, alice: Program
) -> None:
    made = alice.made("/scenarios", SPRING)
    charlie = Program(client, cast.charlie_token, cast.other_project)
    bob = Program(client, cast.bob_token, cast.project)
    for action in ("enable", "disable", "duplicate", "lint"):
        assert refusal(charlie.send("POST", f"/scenarios/{made['id']}/{action}", {}))[0] == 404
        assert refusal(bob.send("POST", f"/scenarios/{made['id']}/{action}", {}))[0] == 403
    assert bob.send("GET", f"/scenarios/{made['id']}/lint").status_code == 200


def test_r12_no_tracking_number_becomes_the_fallback_of_a_project(
    alice: Program, client: FlaskClient, cast: Cast
) -> None:
    assert refusal(alice.send("PATCH", "", {"version": 1, "fallback_destination": FIRST})) == (
        422,
        "fallback_destination",
    )
    assert refusal(alice.send("POST", "/numbers", {"e164": cast.project.fallback_destination})) == (422, "e164")
    charlie = Program(client, cast.charlie_token, cast.other_project)
    wrong = charlie.send("PATCH", "", {"version": 1, "fallback_destination": FIRST})
    assert refusal(wrong) == (422, "fallback_destination"), "whose number it is makes no difference: calls would loop"
    assert alice.send("PATCH", "", {"version": 1, "fallback_destination": LINE}).status_code == 200
