"""Numbers for AMP pages: one for a page view, under AMP's rules for who may ask."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from router.attribution.models import Lease, RefusedOrigin, Visit
from router.attribution.tracking.hooks import copies_of
from router.scenarios.models import Scenario
from router.server import Server
from tests.factories import NOON, make_project, make_scenario

PAGE = "https://www.shop.example/amp/?utm_source=google&utm_medium=cpc"
CACHE = "https://www-shop-example.cdn.ampproject.org"
CLIENT = "amp-Vr3EAFNWzP2gBcG0AJHWTS"
BROWSER = {"User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
FIRST = "+12125550101"


@pytest.fixture
def shop(server: Server) -> Server:
    """The first scenario is for visitors of Bing alone, the third is off."""
    with server.database.writing() as session:
        project = make_project(session)
        make_scenario(session, project, [FIRST], terms={"only_sources": ["bing"]})
        make_scenario(session, project, ["+12125550201", "+12125550202"], tagging={"format": "(XXX) XXX-XXXX"})
        make_scenario(session, project, 1, enabled=False)
        make_project(session, key="k-suspended", suspended_at=NOON)
    return server


def ask(browser: FlaskClient, origin: str | None = CACHE, key: str = "k-shop", **query: Any) -> TestResponse:
    headers = BROWSER | ({"Origin": origin} if origin else {"AMP-Same-Origin": "true"})
    given = {"page": PAGE, "referrer": "", "client": CLIENT} | query
    return browser.get(f"/tag/{key}/amp", query_string=given, headers=headers)


def count(server: Server, model: Any) -> int:
    with server.database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_a_page_gets_the_number_of_the_first_scenario_that_is_for_its_visit(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    answer = ask(client)
    assert answer.get_json() == {"phoneNumber": "+12125550201", "formattedPhoneNumber": "(212) 555-0201"}
    expected = {
        "Access-Control-Allow-Origin": CACHE,
        "Access-Control-Allow-Credentials": "true",
        "Cache-Control": "no-store",
        "Vary": "Origin",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected
    with shop.database.reading() as session:
        visit, lease = session.scalars(select(Visit)).one(), session.scalars(select(Lease)).one()
        assert (visit.number, visit.source, visit.page, lease.visit_id) == (10001, "google", PAGE, visit.id)
    bing = ask(client, client="", page="https://www.shop.example/?utm_source=bing")
    assert bing.get_json()["phoneNumber"] == FIRST


def test_r6_the_same_client_goes_on_with_his_visit_and_number(shop: Server, client: FlaskClient, clock: Any) -> None:
    first = ask(client).get_json()
    clock.shift(timedelta(minutes=20))
    assert ask(client, page="https://www.shop.example/amp/b").get_json() == first
    assert ask(client, client="amp-somebody-else-0123").get_json() != first
    assert count(shop, Visit) == 2
    clock.shift(timedelta(minutes=31))
    ask(client)
    assert count(shop, Visit) == 3


def test_who_is_not_known_begins_a_visit_each_time(shop: Server, client: FlaskClient) -> None:
    for unknown in ("", "CLIENT_ID(router)", "null", "x" * 201):
        assert [ask(client, client=unknown).status_code for _ in range(2)] == [200, 200]
    assert count(shop, Visit) == 8


def test_a_page_names_its_scenario(shop: Server, client: FlaskClient) -> None:
    with shop.database.reading() as session:
        bing, main, off = session.scalars(select(Scenario.id).order_by(Scenario.id))
    assert ask(client, scenario=str(main)).status_code == 200
    assert [ask(client, scenario=str(one)).status_code for one in (bing, off)] == [404, 404]
    assert [ask(client, scenario=one).get_json()["field"] for one in ("-1", "9" * 20, "x")] == ["scenario"] * 3


def test_pages_of_the_site_and_their_copies_in_amp_caches_may_ask(shop: Server, client: FlaskClient) -> None:
    copies = [CACHE, "https://www-shop-example.www.bing-amp.com"]
    for origin in (None, "https://www.shop.example", "https://shop.example", *copies):
        assert ask(client, origin).status_code == 200, origin


NOT_ALLOWED = [
    ("https://evil-example.cdn.ampproject.org", PAGE), ("https://cdn.ampproject.org", PAGE), ("null", PAGE), (CACHE, "https://evil.test/"),
    ("https://www-shop-example.cdn.ampproject.org.evil.test", PAGE), ("https://evil-test.cdn.ampproject.org", "https://evil.test/"),
    ("https://evil.test", PAGE), (None, "https://evil.test/"),
]  # fmt: skip


def test_nobody_else_may_and_only_sites_are_shown_to_the_admin(shop: Server, client: FlaskClient) -> None:
    for origin, page in NOT_ALLOWED:
        answer = ask(client, origin, page=page)
        assert answer.status_code == 403, origin
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert count(shop, Visit) == 0
    with shop.database.reading() as session:
        shown = set(session.scalars(select(RefusedOrigin.origin)))
    assert shown == {"https://evil.test", "https://www-shop-example.cdn.ampproject.org.evil.test"}


def test_a_request_that_names_no_origin_has_to_be_amps_own(shop: Server, client: FlaskClient) -> None:
    picture = client.get("/tag/k-shop/amp", query_string={"page": PAGE}, headers=BROWSER)
    assert (picture.status_code, count(shop, Visit)) == (403, 0)


def test_a_page_keeps_its_own_number_where_no_other_visitor_would_get_one(shop: Server, client: FlaskClient) -> None:
    robot = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Origin": CACHE}
    assert client.get("/tag/k-shop/amp", query_string={"page": PAGE}, headers=robot).status_code == 404
    assert ask(client, key="k-suspended").status_code == 404
    assert ask(client, key="k-unknown").status_code == 404
    with shop.database.writing() as session:
        make_project(session, key="k-staff", staff_addresses=["127.0.0.1"])
        make_project(session, key="k-people", ignore_automation=True)
    assert ask(client, key="k-staff").status_code == 404
    driven = {"User-Agent": "Mozilla/5.0 HeadlessChrome/142.0.0.0 Safari/537.36", "Origin": CACHE}
    assert client.get("/tag/k-people/amp", query_string={"page": PAGE}, headers=driven).status_code == 404
    assert (
        client.get("/tag/k-shop/amp", query_string={"page": PAGE}, headers=driven | {"X-Prerender": "1"}).status_code
        == 404
    )
    answer = ask(client, page="no address")
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert count(shop, Visit) == 0


CONSENT = [
    ("none", None, "0", 0), ("none", "full", "0", 1), ("limited", None, "0", 2), ("full", "limited", "0", 2), ("full", "none", "0", 0),
    ("full", None, "1", 2), ("none", None, "1", 0), ("full", "full", "1", 1), ("full", "junk", "0", 1),
]  # fmt: skip


def test_consent_decides_whether_there_is_a_number_and_whether_the_client_is_known_again(
    server: Server, client: FlaskClient
) -> None:
    """Two page views of one client are one visit where he may be known again, else two."""
    for index, (mode, said, gpc, visits) in enumerate(CONSENT):
        with server.database.writing() as session:
            make_scenario(
                session,
                make_project(session, key=f"k-{index}", consent=mode, gpc_refuses=True),
                [f"+1415555{index:04d}"],
            )
        query = {"page": PAGE, "client": CLIENT} | ({"consent": said} if said else {})
        headers, before = BROWSER | {"Origin": CACHE, "Sec-GPC": gpc}, count(server, Visit)
        answers = [client.get(f"/tag/k-{index}/amp", query_string=query, headers=headers).status_code for _ in range(2)]
        assert answers == ([200, 200] if visits else [404, 404]), CONSENT[index]
        assert count(server, Visit) - before == visits, CONSENT[index]


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("www.shop.example", "www-shop-example"), ("a-b.example", "a--b-example"), ("en-us.example.com", "0-en--us-example-com-0"),
        ("xn--bcher-kva.example", "xn--bcher-example-wob"), ("localhost", "jgla3zmib2ggq5buc4hwi5taloh6jlvzukddfr4zltz3vay5s5rq"),
    ],
)  # fmt: skip
def test_the_copies_of_a_page_have_hosts_as_amp_makes_them(host: str, label: str) -> None:
    assert f"{label}.cdn.ampproject.org" in copies_of(host)


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?){0,2}", fullmatch=True)


@settings(deadline=None)
@given(HOSTS, HOSTS)
def test_no_two_hosts_ever_have_the_same_copies(host: str, other: str) -> None:
    assert host == other or not copies_of(host) & copies_of(other)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_host_breaks_it(host: str) -> None:
    assert all(copy.endswith((".cdn.ampproject.org", ".www.bing-amp.com")) for copy in copies_of(host))
