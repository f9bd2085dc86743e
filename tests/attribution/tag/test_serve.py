"""GET /tag/<key>.js: what browsers and CDNs get; the line of HTML and the CSP sources that the install page shows."""

import gzip

import pytest
from flask.testing import FlaskClient

from router.attribution.tag import TagOptions, csp_lines, snippet, tag_script
from router.server import Server
from tests.counting import count_statements
from tests.factories import NOON, make_project, make_scenario

pytestmark = pytest.mark.one_database

KEY = "k-shop"
OLD = TagOptions(old_pages=True)
"""These projects have no scenario."""


@pytest.fixture(autouse=True)
def _projects(server: Server) -> None:
    with server.database.writing() as session:
        make_project(session)
        make_project(session, key="suspended", suspended_at=NOON)


def test_the_tag_is_served_to_any_page_and_kept_five_minutes(client: FlaskClient) -> None:
    answer = client.get(f"/tag/{KEY}.js")
    assert answer.status_code == 200
    assert answer.mimetype == "text/javascript"
    assert answer.data == tag_script("https://calls.example.net", KEY, OLD).body
    expected = {
        "Cache-Control": "public, max-age=300",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Access-Control-Allow-Origin": "*",
        "Vary": "Accept-Encoding",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected
    assert "Set-Cookie" not in answer.headers


def test_it_is_compressed_for_browsers_that_can_read_that(client: FlaskClient) -> None:
    answer = client.get(f"/tag/{KEY}.js", headers={"Accept-Encoding": "gzip, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(answer.data) < 5000
    assert gzip.decompress(answer.data) == client.get(f"/tag/{KEY}.js", headers={"Accept-Encoding": "gzip;q=0"}).data


def test_who_has_it_already_gets_no_body(client: FlaskClient) -> None:
    etag = client.get(f"/tag/{KEY}.js").headers["ETag"]
    answer = client.get(f"/tag/{KEY}.js", headers={"If-None-Match": etag, "Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", etag)
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert client.get(f"/tag/{KEY}.js", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_readable_form_is_served_under_debug(client: FlaskClient) -> None:
    assert client.get(f"/tag/{KEY}.js?debug").data == tag_script("https://calls.example.net", KEY, OLD, debug=True).body


def test_what_the_project_says_is_in_it_and_takes_one_statement(server: Server, client: FlaskClient) -> None:
    said = {"consent": "none", "gpc_refuses": True, "tag_address": "https://calls.shop.example"}
    with server.database.writing() as session:
        make_project(session, key="k-own", **said)
    with count_statements(server.database) as heard:
        answer = client.get("/tag/k-own.js")
    assert len([one for one in heard if one != "BEGIN"]) == 1
    options = TagOptions("none", gpc_refuses=True, tag_address="https://calls.shop.example", old_pages=True)
    assert answer.data == tag_script("https://calls.example.net", "k-own", options).body


def test_r13_only_a_project_without_any_scenario_gets_what_old_pages_need(server: Server, client: FlaskClient) -> None:
    with server.database.writing() as session:
        scenario = make_scenario(session, make_project(session, key="k-new"), 0, enabled=False)
    new = tag_script("https://calls.example.net", "k-new", TagOptions()).body
    assert client.get("/tag/k-new.js").data == new
    with server.database.writing() as session:
        session.merge(scenario).deleted_at = NOON
    assert client.get("/tag/k-new.js").data == tag_script("https://calls.example.net", "k-new", OLD).body


def test_a_suspended_projects_tag_does_nothing(client: FlaskClient) -> None:
    answer = client.get("/tag/suspended.js")
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    assert answer.data.startswith(b"/*")
    assert answer.data.endswith(b"*/\n")


@pytest.mark.parametrize("key", ["unknown", "%FF", "x" * 5000, "k-shop ", "<script>", "K-SHOP"])
def test_an_unknown_key_is_a_comment_and_not_found(client: FlaskClient, key: str) -> None:
    answer = client.get(f"/tag/{key}.js")
    assert (answer.status_code, answer.mimetype) == (404, "text/javascript")
    assert answer.data.startswith(b"/*")
    assert "ETag" not in answer.headers


def test_the_snippet_is_one_line_of_html() -> None:
    assert (
        snippet("https://calls.example.net", "k3y")
        == '<script async src="https://calls.example.net/tag/k3y.js"></script>'
    )


def test_an_address_cannot_break_out_of_its_attribute() -> None:
    assert '"><b>' not in snippet('https://calls.example.net/"><b>', "k3y")


def test_a_content_security_policy_needs_our_origin_twice_and_nothing_inline() -> None:
    assert csp_lines("https://calls.example.net:8443/path") == {
        "script-src": "https://calls.example.net:8443",
        "connect-src": "https://calls.example.net:8443",
    }
