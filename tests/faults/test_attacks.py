"""The product as somebody sees it who means harm."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.routing import Rule

from router.attribution.models import PoolNumber, Visit
from router.db import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import Call
from router.web.forms import local_path
from tests.factories import COMPANY_LINE, make_number, make_scenario
from tests.people import Cast, bearer, sign_in
from tests.voice.carrier import CarrierClient

NUMBER, THEIRS = "+12125551000", "+12125559000"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'
SITE = {"Origin": "https://shop.example.com", "User-Agent": "Mozilla/5.0"}


@pytest.fixture
def shop(server: Server, cast: Cast) -> Cast:
    """Alice's shop has a scenario; Charlie's garage has a number."""
    with server.database.writing() as session:
        make_scenario(session, cast.project, [NUMBER], title=EVIL[:80])
        make_number(session, cast.other_project, THEIRS)
    return cast


@pytest.mark.parametrize(
    "address",
    [
        *(
            "https://evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
        ),
        *(
            "/\n/evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "https:evil.example",
            "evil.example",
            "",
            "/\x00/x",
        ),
    ],
)
def test_nobody_is_led_elsewhere_after_signing_in(address: str) -> None:
    assert local_path(address) is None


def test_a_script_in_an_advertisements_name_stays_text_on_every_page(
    app: Flask, shop: Cast, server: Server, client: FlaskClient
) -> None:
    page = f"https://shop.example.com/?utm_source={EVIL}&utm_medium={EVIL}&utm_campaign={EVIL}&utm_term={EVIL}"
    body = {
        "page": page,
        "referrer": f"https://evil.example/{EVIL}",
        "ga": {"client_id": EVIL},
        "click_ids": {"gclid": EVIL},
        "params": {"plan": EVIL},
    }
    given = client.post(f"/tag/{shop.project.key}/visits", json=body, headers=SITE)
    assert given.status_code == 201
    carrier = CarrierClient(client, server)
    carrier.dial(NUMBER)
    carrier.dial(NUMBER, EVIL, sid="CA2")
    carrier.leg("ringing", to=EVIL)
    carrier.post("/voice/recording", CallSid="CA1", RecordingSid="RE1", RecordingUrl=f"https://a.example/{EVIL}")
    client.post(
        f"/tag/{shop.project.key}/visits", json={"page": page}, headers={"Origin": f"https://evil.example/{EVIL}"}
    )
    alice = sign_in(app.test_client(), shop.alice, shop.project)
    with server.database.reading() as session:
        calls = list(session.scalars(select(Call.id)))
    seen = ["/calls", "/scenarios", "/numbers", "/overview", "/reports", "/deliveries", "/settings", "/settings/audit"]
    shown = 0
    for path in [
        *seen,
        "/settings/install",
        *(f"/calls/{call_id}" for call_id in calls),
        f"/calls?q={EVIL}",
        f"/scenarios?q={EVIL}",
    ]:
        answer = alice.get(path)
        assert answer.status_code in (200, 404), path
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path
        shown += answer.text.count("&lt;script&gt;")
    assert shown, "it is shown, as text"


def test_a_scenario_takes_no_number_of_another_project(shop: Cast, client: FlaskClient, database: Database) -> None:
    body = {
        "title": "x",
        "enabled": True,
        "numbers": [THEIRS],
        "flow": {"destinations": [{"to": COMPANY_LINE, "ring_seconds": 20}]},
    }
    address = f"/api/v1/projects/{shop.project.id}/scenarios"
    refused = client.post(address, json=body, headers=bearer(shop.alice_token))
    assert refused.status_code == 422
    assert refused.get_json()["field"].startswith("numbers")
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Scenario)) == 1
        owner = session.scalar(select(TrackingNumber.project_id).where(TrackingNumber.e164 == THEIRS))
    assert owner == shop.other_project.id


def test_a_token_of_another_project_or_none_finds_nothing_anywhere(shop: Cast, client: FlaskClient) -> None:
    for path in ("", "/scenarios", "/calls", "/calls/1", "/deliveries", "/numbers", "/visits/10001", "/scenarios/1"):
        address = f"/api/v1/projects/{shop.project.id}{path}"
        assert client.get(address, headers=bearer(shop.charlie_token)).status_code == 404, path
        assert client.get(address).status_code == 401, path
        assert client.get(address, headers=bearer(shop.alice_token[:-1])).status_code == 401, path


def test_a_visit_token_is_worth_nothing_in_another_project_or_under_another_key(
    shop: Cast, client: FlaskClient, server: Server
) -> None:
    given = client.post(
        f"/tag/{shop.project.key}/visits", json={"page": "https://shop.example.com/"}, headers=SITE
    ).get_json()
    for key in (shop.other_project.key, "k-nobody"):
        for sign in ("alive", "left", "tap"):
            assert client.post(f"/tag/{key}/visits/{given['token']}/{sign}", json={}).status_code in (404, 405)


def test_a_page_of_a_foreign_site_learns_nothing(shop: Cast, client: FlaskClient, database: Database) -> None:
    foreign = {"Origin": "https://evil.example", "User-Agent": "Mozilla/5.0"}
    answer = client.post(f"/tag/{shop.project.key}/visits", json={"page": "https://shop.example.com/"}, headers=foreign)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert NUMBER not in answer.text
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Visit)) == 0


def test_a_suspended_project_gives_no_number_to_a_page_that_is_open(
    shop: Cast, client: FlaskClient, database: Database
) -> None:
    given = client.post(
        f"/tag/{shop.project.key}/visits", json={"page": "https://shop.example.com/"}, headers=SITE
    ).get_json()
    with database.writing() as session:
        session.get_one(type(shop.project), shop.project.id).suspended_at = shop.project.created_at
        session.execute(PoolNumber.__table__.update().values(visitor="somebody else", turn=9, group_turn=9))  # type: ignore[attr-defined]  # mypy sees a FromClause
    assert (
        client.post(f"/tag/{shop.project.key}/visits/{given['token']}/alive", json={}, headers=SITE).status_code == 204
    )


def values_for(rule: Rule) -> dict[str, Any]:
    """Something that each part of this address takes."""
    return {name: next(iter(getattr(kind, "items", [1]))) for name, kind in rule._converters.items()}


def test_a_form_from_elsewhere_changes_nothing(app: Flask, shop: Cast) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    alice = sign_in(app.test_client(), shop.alice, shop.project)
    for rule in app.url_map.iter_rules():
        if "POST" not in (rule.methods or ()) or rule.rule.startswith(("/tag", "/voice", "/api")):
            continue
        path = app.url_map.bind("localhost").build(rule.endpoint, values_for(rule), method="POST")
        assert alice.post(path, headers={"Origin": "https://evil.example"}).status_code == 400, path


def test_pages_may_not_be_framed_cached_or_run_foreign_scripts(app: Flask, shop: Cast) -> None:
    answer = sign_in(app.test_client(), shop.alice, shop.project).get("/calls")
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_metrics_are_not_for_a_client_behind_the_proxy(client: FlaskClient, shop: Cast) -> None:
    named = ("203.0.113.9", "127.0.0.1, 203.0.113.9", "203.0.113.9:51234", "[2001:db8::1]:443", '"[2001:db8::1]:443"')
    unknown = ("unknown", "_hidden", "", "127.0.0.1,", "127.0.0.1, junk", "localhost", "::1%lo", "unix:")
    for forwarded in named + unknown:
        assert client.get("/metrics", headers={"X-Forwarded-For": forwarded}).status_code == 403
        allowed = {"X-Forwarded-For": forwarded} | bearer(shop.operator_token)
        assert client.get("/metrics", headers=allowed).status_code == 200
        refused: Any = client.get("/metrics", headers={"X-Forwarded-For": forwarded} | bearer(shop.alice_token))
        assert refused.status_code == 403
