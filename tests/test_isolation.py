"""The application, the engine and the database files are one for many tests: what a test does in them, the next one does not find."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select, text

from router.accounts.models import Project, fallback_chosen
from router.app import make_server
from router.config import Settings
from router.db import Database
from router.scenarios.models import free_numbers_changed, numbers_changed
from router.server import Server
from router.voice.calls import call_ended, call_started, call_updated
from tests.application import Applications
from tests.people import Cast, sign_in
from tests.scenarios.shop import FakeShop

heard: list[str] = []
NEEDED = ("site", "country", "timezone", "currency", "email", "fallback_destination", "created_at")


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_test_finds_nothing_of_the_one_before(
    app: Flask, server: Server, client: FlaskClient, database: Database, cast: Cast, time: str
) -> None:
    """Each thing that a test may change is as new, then changed for the one that follows."""
    with database.writing() as session:
        projects = session.scalars(select(Project).order_by(Project.id)).all()
        assert [project.name for project in projects] == ["Alice's Shop", "Charlie's Garage"]
        assert projects[0].id == cast.project.id
        projects[0].name = "Changed"
        project = Project(**{name: getattr(projects[1], name) for name in NEEDED}, key="k-new", name="New")
        session.add(project)
        session.flush()
        assert project.id == projects[1].id + 1, "the counters of ids begin anew"
    assert cast.project.name == "Alice's Shop"
    cast.project.name = "Changed"

    limit = server.refused_origin_rate
    assert limit.allows("1 https://elsewhere.example")
    assert not limit.allows("1 https://elsewhere.example")
    assert server.shop is None
    server.shop = FakeShop([])

    assert not app.config["WTF_CSRF_ENABLED"]
    assert "MINE" not in app.config
    app.config.update(WTF_CSRF_ENABLED=True, MINE=time)
    assert client.get("/settings").status_code == 302, "nobody has signed in"
    sign_in(client, cast.alice)
    assert "Changed" in client.get("/settings").text

    heard.clear()
    event.listen(database.engine, "before_cursor_execute", lambda *_: heard.append(time))
    with database.reading() as session:
        session.execute(text("SELECT 1"))
    assert set(heard) == {time}, "no listener of another test hears it"


@pytest.mark.parametrize("name", ["a.example", "b.example"])
def test_two_applications_of_one_test_are_two(
    applications: Applications, app: Flask, settings: Settings, name: str
) -> None:
    other_settings = settings.model_copy(update={"public_url": f"https://{name}"})
    with applications.with_settings(other_settings) as other:
        assert other is not app
        assert other.extensions["router"].settings.base_url == f"https://{name}"
    assert app.extensions["router"].settings.base_url == "https://calls.example.net"


def test_another_server_in_the_process_connects_no_receiver_twice(settings: Settings, server: Server) -> None:
    signals = (call_started, call_ended, call_updated, numbers_changed, free_numbers_changed, fallback_chosen)
    before = [len(signal.receivers) for signal in signals]
    assert all(before)
    make_server(settings).database.dispose()
    assert [len(signal.receivers) for signal in signals] == before
