"""GET /tag/<key>.js: what browsers and CDNs get."""

import gzip

import pytest
from flask.testing import FlaskClient

from router.attribution.script import tag_script
from router.server import Server
from tests.world import NOON, make_project

KEY = "k-shop"


@pytest.fixture(autouse=True)
def _projects(server: Server) -> None:
    with server.database.writing() as session:
        make_project(session)
        make_project(session, key="suspended", suspended_at=NOON)


def test_the_tag_is_served_to_any_page_and_kept_five_minutes(client: FlaskClient) -> None:
    answer = client.get(f"/tag/{KEY}.js")
    assert answer.status_code == 200
    assert answer.mimetype == "text/javascript"
    assert answer.data == tag_script("https://calls.example.net", KEY).body
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
    assert client.get(f"/tag/{KEY}.js?debug").data == tag_script("https://calls.example.net", KEY, debug=True).body


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
