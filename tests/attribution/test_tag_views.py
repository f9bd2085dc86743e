"""GET /tag/<key>.js: what browsers and CDNs get."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from router.accounts.models import Project
from router.app import create_app
from router.attribution.script import tag_script
from router.database import Database
from router.server import Server
from router.settings import Settings

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = "k3y0123456789"


def a_project(key: str = KEY, suspended_at: datetime | None = None) -> Project:
    return Project(
        key=key,
        name="Company",
        site=["example.com"],
        timezone="UTC",
        currency="EUR",
        email="a@example.com",
        fallback_destination="+14155550199",
        created_at=NOW,
        suspended_at=suspended_at,
    )


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[FlaskClient]:
    with database.writing() as session:
        session.add_all([a_project(), a_project("suspended", NOW)])
    app = create_app(settings)
    yield app.test_client()
    server: Server = app.extensions["router"]
    server.database.dispose()


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


@pytest.mark.parametrize("key", ["unknown", "%00", "%FF", "x" * 5000, "k3y0123456789 ", "<script>"])
def test_an_unknown_key_is_a_comment_and_not_found(client: FlaskClient, key: str) -> None:
    answer = client.get(f"/tag/{key}.js")
    assert (answer.status_code, answer.mimetype) == (404, "text/javascript")
    assert answer.data.startswith(b"/*")
    assert "ETag" not in answer.headers
