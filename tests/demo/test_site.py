"""The example web site: a shop with the tag on every page, which says what was decided about its visitor."""

import re

from flask import Flask
from flask.testing import FlaskClient

from router.accounts.models import Project
from router.demo import shop

PAGES = ["/demo/", "/demo/bikes/harbor", "/demo/bikes/ridge", "/demo/bikes/meadow", "/demo/contact"]


def test_every_page_of_the_shop_has_the_tag_and_the_companys_own_number(client: FlaskClient, company: Project) -> None:
    for path in PAGES:
        page = client.get(path).text
        assert f'<script async src="/tag/{company.key}.js"></script>' in page
        assert page.count("(415) 555-0142") + page.count("+1 415-555-0142") >= 3
        assert f'href="tel:{shop.COUNTER}"' in page


def test_nothing_inline_and_nothing_from_elsewhere(client: FlaskClient) -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|(?:src|href)=\"(?:https?:)?//")
    for path in (*PAGES, "/demo/phone", "/demo/inbox"):
        answer = client.get(path)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert not inline.search(answer.text)


def test_an_unknown_bicycle_is_not_there(client: FlaskClient) -> None:
    assert client.get("/demo/bikes/unicycle").status_code == 404


def test_the_tag_is_served_for_the_companys_key(client: FlaskClient, company: Project) -> None:
    assert client.get(f"/tag/{company.key}.js").status_code == 200


def test_a_visitor_without_a_visit_is_told_so(client: FlaskClient, company: Project) -> None:
    assert client.get("/demo/decided").get_json() == {"visit": None}
    client.set_cookie(f"router_visitor_{company.key}", "nobody-we-know")
    assert client.get("/demo/decided").get_json() == {"visit": None}


def test_the_bar_tells_the_visit_its_source_and_its_number(client: FlaskClient, company: Project) -> None:
    page = "https://calls.example.net/demo/?utm_source=google&utm_medium=cpc&utm_campaign=spring"
    visit = client.post(
        f"/tag/{company.key}/visits",
        json={"page": page, "referrer": ""},
        headers={"Origin": "https://calls.example.net", "User-Agent": "Mozilla/5.0 Firefox/140"},
    ).get_json()
    client.set_cookie(f"router_visitor_{company.key}", visit["visitor"])
    decision = client.get("/demo/decided").get_json()
    assert decision["visit"] == visit["visit"]
    assert (decision["source"]["source"], decision["source"]["campaign"]) == ("google", "spring")
    assert decision["numbers"][0]["e164"] == visit["numbers"][0]["e164"]
    assert decision["numbers"][0]["e164"] in shop.POOL


def test_the_pages_pretend_to_be_known_to_analytics(client: FlaskClient) -> None:
    """There is no network here: the tag finds the client id where Google's script would have put it."""
    cookies = " ".join(client.get("/demo/").headers.getlist("Set-Cookie"))
    assert re.search(r"_ga=GA1\.1\.\d{9}\.\d{10};", cookies)
    assert re.search(r"_ga_DEMO000001=GS2\.1\.s\d{10}\$o1", cookies)


def test_no_other_command_serves_the_demo(app: Flask) -> None:
    for path in ("/demo/", "/demo/phone", "/demo/inbox", "/demo/phone/calls", "/demo/static/shop.css"):
        assert app.test_client().get(path).status_code == 404
