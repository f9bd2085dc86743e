"""Every blueprint says who may enter, and another project's objects do not exist."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from router.accounts.sessions import require_person, require_token
from router.app import create_app
from router.config import Settings
from router.db import Database
from router.web.access import Audience, audience_of, guard, needs
from tests.people import Cast, bearer, sign_in

CLOSED = (Audience.PEOPLE, Audience.PROGRAMS)


def addresses(app: Flask, ids: dict[str, object]) -> Iterator[tuple[str, str, Rule]]:
    """Method and address of every rule for people and programs that names an object of Alice's project."""
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        for rule in app.url_map.iter_rules():
            if audience_of(rule.endpoint.rpartition(".")[0]) not in CLOSED or not rule.arguments:
                continue
            known = {name: ids[name] for name in rule.arguments if name in ids}
            assert set(known) == set(rule.arguments), f"{rule}: furnish an id for {rule.arguments - set(known)}"
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, adapter.build(rule.endpoint, known, method=method), rule


@pytest.fixture
def empty_app(tmp_path: Path) -> Iterator[Flask]:
    """The app with all its addresses; nobody asks its database anything."""
    app = create_app(Settings(data_dir=tmp_path))
    yield app
    app.extensions["router"].database.dispose()


def test_every_blueprint_has_declared_its_audience(empty_app: Flask) -> None:
    with empty_app.app_context():
        undeclared = [name for name in empty_app.blueprints if audience_of(name) is None]
    assert undeclared == []


def test_only_static_files_belong_to_no_blueprint(empty_app: Flask) -> None:
    assert [rule.endpoint for rule in empty_app.url_map.iter_rules() if "." not in rule.endpoint] == ["static"]


def test_closed_blueprints_ask_who_it_is(empty_app: Flask) -> None:
    with empty_app.app_context():
        for name, blueprint in empty_app.blueprints.items():
            if audience_of(name) in CLOSED:
                assert blueprint.before_request_funcs.get(None), f"{name} lets everybody in"


def test_charlie_sees_404_on_every_address_of_alices_project(
    app: Flask, client: FlaskClient, furnished_cast: Cast
) -> None:
    sign_in(client, furnished_cast.charlie)
    for method, address, rule in addresses(app, furnished_cast.ids):
        headers = bearer(furnished_cast.charlie_token) if address.startswith("/api/") else {}
        body = {"json": {"version": 1}} if headers else {}
        answer = client.open(address, method=method, headers=headers, **body)  # type: ignore[arg-type]  # json or nothing
        assert answer.status_code == 404, f"{method} {rule} answered {answer.status_code}"


def test_objects_of_alices_project_are_not_in_charlies(app: Flask, client: FlaskClient, furnished_cast: Cast) -> None:
    mixed = furnished_cast.ids | {"project_id": furnished_cast.other_project.id}
    for method, address, rule in addresses(app, mixed):
        if address.startswith("/api/") and rule.arguments != {"project_id"}:
            answer = client.open(
                address, method=method, headers=bearer(furnished_cast.charlie_token), json={"version": 1}
            )
            assert answer.status_code == 404, f"{method} {rule} answered {answer.status_code}"


def test_nobody_enters_without_proof(app: Flask, furnished_cast: Cast) -> None:
    client = app.test_client()
    for method, address, rule in addresses(app, furnished_cast.ids):
        answer = client.open(address, method=method)
        wanted = 401 if address.startswith("/api/") else 302
        assert answer.status_code == wanted, f"{method} {rule} answered {answer.status_code}"


@pytest.fixture
def rooms(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An app with a room for people and one for programs, each with something to read and something to change."""
    pages = guard(Blueprint("room", __name__), Audience.PEOPLE, require_person)
    programs = guard(Blueprint("room_api", __name__), Audience.PROGRAMS, require_token)

    @pages.route("/room", methods=["GET", "POST"])
    @programs.route("/api/v1/projects/<int:project_id>/room", methods=["GET", "POST"])
    def room(**_: int) -> str:
        return "inside"

    @pages.get("/vault")
    @programs.get("/api/v1/projects/<int:project_id>/vault")
    @needs("owner")
    def vault(**_: int) -> str:
        return "gold"

    import router.app

    monkeypatch.setattr(router.app, "BLUEPRINTS", (*router.app.BLUEPRINTS, pages, programs))
    app = create_app(settings)
    app.config.update(TESTING=True, WTF_CSRF_ENABLED=False)
    yield app
    app.extensions["router"].database.dispose()


def test_a_viewer_reads_and_changes_nothing(rooms: Flask, cast: Cast) -> None:
    client = sign_in(rooms.test_client(), cast.bob)
    assert client.get("/room").text == "inside"
    assert client.post("/room").status_code == 403
    assert client.get("/vault").status_code == 403
    mine, bob = f"/api/v1/projects/{cast.project.id}", bearer(cast.bob_token)
    assert client.get(f"{mine}/room", headers=bob).text == "inside"
    refusal = client.post(f"{mine}/room", headers=bob)
    assert (refusal.status_code, refusal.mimetype) == (403, "application/problem+json")
    assert refusal.json == {
        "type": "about:blank", "title": "Not allowed", "status": 403, "detail": "Only an admin may do this."
    }  # fmt: skip
    assert client.get(f"{mine}/vault", headers=bob).status_code == 403


def test_an_owner_and_the_operator_do_everything(rooms: Flask, cast: Cast) -> None:
    for person, token in ((cast.alice, cast.alice_token), (cast.olivia, cast.operator_token)):
        client = sign_in(rooms.test_client(), person, cast.project)
        assert client.post("/room").text == "inside"
        assert client.get("/vault").text == "gold"
        assert client.get(f"/api/v1/projects/{cast.project.id}/vault", headers=bearer(token)).text == "gold"


def test_a_suspended_project_can_be_read_and_not_changed(rooms: Flask, database: Database, cast: Cast) -> None:
    from router.accounts.projects import suspend_project

    with database.writing() as session:
        suspend_project(session, cast.project.id, cast.project.created_at)
    client = sign_in(rooms.test_client(), cast.alice)
    assert client.get("/room").status_code == 200
    assert client.post("/room").status_code == 403
    assert sign_in(client, cast.olivia, cast.project).post("/room").status_code == 200


def test_somebody_in_no_project_is_told_so(rooms: Flask, database: Database, cast: Cast) -> None:
    from tests.factories import make_person

    with database.writing() as session:
        dora = make_person(session)
    client = sign_in(rooms.test_client(), dora)
    answer = client.get("/room")
    assert answer.status_code == 404
    assert "You are in no project yet" in answer.text
    assert client.get("/").location == "/projects"


def test_a_project_that_the_person_left_is_not_opened_by_an_old_session(rooms: Flask, cast: Cast) -> None:
    client = sign_in(rooms.test_client(), cast.charlie, cast.project)
    assert "Charlie&#39;s Garage" in client.get("/projects").text
    assert "Alice&#39;s Shop" not in client.get("/projects").text


def test_a_changed_password_ends_older_sessions(rooms: Flask, database: Database, cast: Cast) -> None:
    from router.accounts.members import change_password

    client = sign_in(rooms.test_client(), cast.alice)
    assert client.get("/room").status_code == 200
    with database.writing() as session:
        change_password(session, cast.alice.id, "x", "another stamp")
    assert client.get("/room").status_code == 302
