"""The visitor's cookie of a site that serves the tag from an address of its own, and who may send cookies."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from router.attribution.tracking.crawlers import is_crawler
from router.server import Server
from tests.attribution.asking import SITE, sign, view
from tests.factories import make_project, make_scenario

KEY = "k-shop"
PAGE = "https://www.shop.example/"
WWW = SITE | {"Origin": "https://www.shop.example"}
CREDENTIALS = "Access-Control-Allow-Credentials"


@pytest.fixture
def own(server: Server) -> Server:
    """The shop's tag comes from calls.shop.example."""
    with server.database.writing() as session:
        make_scenario(session, make_project(session, site=["shop.example"], tag_address="https://calls.shop.example"))
        make_project(session, key="k-plain", site=["shop.example"])
        make_project(session, key="k-local", site=["localhost:3000"], tag_address="http://localhost:8000")
        make_project(
            session, key="k-other", site=["shop.example", "garage.test"], tag_address="https://calls.garage.test"
        )
    return server


def view_of(client: FlaskClient, key: str, headers: dict[str, str] = WWW, **body: Any) -> TestResponse:
    return client.post(f"/tag/{key}/visits", json={"page": headers["Origin"] + "/"} | body, headers=headers)


def test_the_server_sets_the_cookie_that_the_tag_reads(own: Server, client: FlaskClient, clock: Any) -> None:
    answer = view(client, PAGE, WWW)
    visitor = answer.get_json()["visitor"]
    name, *rest = answer.headers["Set-Cookie"].split("; ")
    assert name == f"router_visitor_{KEY}={visitor}"
    rules = {rule for rule in rest if not rule.startswith("Expires=")}
    assert rules == {"Domain=shop.example", "Max-Age=34560000", "Path=/", "SameSite=Lax", "Secure"}
    assert answer.headers[CREDENTIALS] == "true"
    again = view(client, PAGE, WWW, visitor=visitor)
    assert f"={visitor};" in again.headers["Set-Cookie"]


def test_on_localhost_it_is_the_hosts_alone_and_needs_no_https(own: Server, client: FlaskClient) -> None:
    cookie = view_of(client, "k-local", SITE | {"Origin": "http://localhost:3000"}).headers["Set-Cookie"]
    assert "Domain" not in cookie
    assert "Secure" not in cookie


@pytest.mark.parametrize("body", [{"consent": "limited"}, {"consent": "none"}, {"consent": ["full"]}, {"test": True}])
def test_who_has_not_agreed_and_a_test_get_none(own: Server, client: FlaskClient, body: dict[str, Any]) -> None:
    assert "Set-Cookie" not in view(client, PAGE, WWW, **body).headers


def test_crawlers_get_none(own: Server, client: FlaskClient) -> None:
    robot = WWW | {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
    assert is_crawler(robot["User-Agent"])
    answer = view(client, PAGE, robot)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (204, False)


@pytest.mark.parametrize(("key", "allowed"), [("k-plain", None), ("k-other", "true")])
def test_without_an_address_of_its_own_site_a_page_gets_no_cookie(
    own: Server, client: FlaskClient, key: str, allowed: str | None
) -> None:
    """The tag asks with credentials on every site of a project that has such an address."""
    answer = view_of(client, key)
    assert answer.status_code == 201
    assert "Set-Cookie" not in answer.headers
    assert answer.headers.get(CREDENTIALS) == allowed


def test_every_answer_to_its_own_pages_allows_cookies_and_no_other(own: Server, client: FlaskClient) -> None:
    token = view(client, PAGE, WWW).get_json()["token"]
    for origin, allowed in ((WWW["Origin"], "true"), ("https://shop.example.evil.test", None), ("null", None)):
        from_there = SITE | {"Origin": origin}
        answers = [
            client.post(f"/tag/{KEY}/visits/{token}/alive", json={}, headers=from_there),
            client.post(f"/tag/{KEY}/visits/{token}/tap", json={"e164": "+12125550100"}, headers=from_there),
            client.post(f"/tag/{KEY}/visits/{token}/left", json={}, headers=from_there),
            client.post(f"/tag/{KEY}/visits/unknown/alive", json={}, headers=from_there),
            client.options(f"/tag/{KEY}/visits", headers=from_there),
            client.options(f"/tag/{KEY}/visits/{token}/alive", headers=from_there),
        ]
        assert [answer.headers.get(CREDENTIALS) for answer in answers] == [allowed] * len(answers)
        assert [one.headers.get("Access-Control-Allow-Methods") for one in answers[-2:]] == ["POST", "POST"]
        assert client.options("/tag/unknown/visits", headers=from_there).headers.get(CREDENTIALS) is None


def test_who_agrees_later_gets_it_at_once(own: Server, client: FlaskClient) -> None:
    first = view(client, PAGE, WWW, consent="limited").get_json()
    body = {"consent": "full", "page": PAGE}
    agreed = client.post(f"/tag/{KEY}/visits/{first['token']}/alive", json=body, headers=WWW)
    assert f"router_visitor_{KEY}={first['visitor']};" in agreed.headers["Set-Cookie"]
    assert "Set-Cookie" not in sign(client, first["token"]).headers
