"""Static files are asked for once, and their address changes with their content."""

import os
from pathlib import Path

import pytest
from flask import Flask, url_for

from router.web.static import KEEP, init_static


@pytest.fixture
def files(tmp_path: Path) -> Flask:
    app = Flask("files", static_folder=str(tmp_path), static_url_path="/static")
    init_static(app)
    (tmp_path / "folder").mkdir()
    (tmp_path / "page.css").write_text("p { color: red }")
    return app


def address(app: Flask, filename: str = "page.css") -> str:
    with app.test_request_context():
        return url_for("static", filename=filename)


def test_a_file_is_kept_under_the_version_of_its_content_until_that_changes(files: Flask, tmp_path: Path) -> None:
    client, before = files.test_client(), address(files)
    first = client.get(before, buffered=True)
    assert first.headers["Cache-Control"] == KEEP
    again = client.get(before, headers={"If-None-Match": first.headers["ETag"]}, buffered=True)
    assert (again.status_code, again.headers["Cache-Control"]) == (304, KEEP)
    (tmp_path / "page.css").write_text("p { color: tan }")
    os.utime(tmp_path / "page.css", (1, 1))  # a release may be dated before the one that it follows
    assert address(files) != before
    assert client.get(before, buffered=True).headers["Cache-Control"] == "no-cache", (
        "another release's page asked for it"
    )
    assert client.get(address(files), buffered=True).text == "p { color: tan }"


@pytest.mark.parametrize("query", ["", "?v=", "?v=1", "?v=%00"])
def test_a_file_without_its_version_is_asked_for_each_time(files: Flask, query: str) -> None:
    assert files.test_client().get("/static/page.css" + query, buffered=True).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("filename", ["absent.css", "folder"])
def test_what_is_no_file_has_no_version(files: Flask, filename: str) -> None:
    assert "?" not in address(files, filename)
    assert "Cache-Control" not in files.test_client().get(f"/static/{filename}?v=1").headers


def test_every_file_of_a_page_is_kept(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/sign-in").text
    addresses = [part.split('"')[0] for part in page.replace('src="', 'href="').split('href="')[1:]]
    found = [client.get(one, buffered=True) for one in addresses if "/static/" in one]
    assert len(found) == 5
    assert {one.headers["Cache-Control"] for one in found} == {KEEP}
