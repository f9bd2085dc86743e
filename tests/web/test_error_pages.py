"""Errors as people and programs see them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

import router.app
from router.app import create_app
from router.config import Settings
from router.db import migrate
from router.web.access import Audience, guard


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """An app in which a page, an API and a tag address break in the ways that are named in the address."""
    blueprints = [
        guard(Blueprint("pages", __name__), Audience.GUESTS),
        guard(Blueprint("api", __name__, url_prefix="/api"), Audience.PROGRAMS),
        guard(Blueprint("tags", __name__, url_prefix="/tag"), Audience.PUBLIC),
    ]
    for blueprint in blueprints:
        blueprint.add_url_rule("/broken/<how>", view_func=break_down, endpoint="broken")
    monkeypatch.setattr(router.app, "BLUEPRINTS", (*router.app.BLUEPRINTS, *blueprints))
    app: Flask = create_app(Settings(data_dir=tmp_path))
    migrate(app.extensions["router"].database)
    yield app.test_client()
    app.extensions["router"].database.dispose()


def break_down(how: str) -> str:
    if how == "busy":
        raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))
    raise RuntimeError("secret detail")


def test_our_mistake_is_a_page_for_people_and_a_problem_for_programs(client: FlaskClient) -> None:
    page = client.get("/broken/mistake")
    assert (page.status_code, page.mimetype) == (500, "text/html")
    assert "<h1>Our mistake</h1>" in page.text
    for address in ("/api/broken/mistake", "/tag/broken/mistake"):
        answer = client.get(address)
        assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
        assert "secret detail" not in answer.text


def test_a_busy_database_is_said_as_such(client: FlaskClient) -> None:
    assert client.get("/broken/busy").status_code == 503
    assert client.get("/api/broken/busy").get_json()["detail"] == "The database is too busy. Try again in a minute."


def test_an_unknown_address_answers_in_the_form_of_its_neighbours(client: FlaskClient) -> None:
    assert client.get("/nothing").mimetype == "text/html"
    for address in ("/api/nothing", "/tag/nothing", "/voice/nothing"):
        assert client.get(address).mimetype == "application/problem+json"
