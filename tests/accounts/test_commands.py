"""`router user` and `router token`."""

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import ApiToken, AuditEntry, Person
from router.app import make_server
from router.cli import router
from router.database import Database
from router.settings import Settings
from tests.people import PASSWORD, Cast, bearer


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> "Run":
    return Run(settings, monkeypatch)


class Run:
    """Runs the command on this test's database."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("router.cli.open_server", lambda: make_server(settings))

    def __call__(self, *words: str, typed: str = "") -> Result:
        return CliRunner().invoke(router, words, input=typed)


def test_the_token_is_the_last_word_and_an_operators(run: Run, client: FlaskClient, cast: Cast) -> None:
    done = run("token", "add", "Nightly report")
    assert done.exit_code == 0, done.output
    listed = client.get("/api/v1/projects", headers=bearer(done.output.split()[-1]))
    assert {one["name"] for one in listed.get_json()["items"]} == {"Alice's Shop", "Charlie's Garage"}


def test_a_narrower_token_reaches_its_project_alone(run: Run, client: FlaskClient, cast: Cast) -> None:
    done = run("token", "add", "reader", "--project", str(cast.project.id), "--role", "viewer")
    headers = bearer(done.output.split()[-1])
    assert client.get(f"/api/v1/projects/{cast.project.id}", headers=headers).status_code == 200
    assert client.patch(f"/api/v1/projects/{cast.project.id}", json={}, headers=headers).status_code == 403
    assert client.get(f"/api/v1/projects/{cast.other_project.id}", headers=headers).status_code == 404


def test_an_operator_is_added_and_signs_in(run: Run, client: FlaskClient, database: Database) -> None:
    done = run("user", "add", "Otto@example.net", "--operator")
    password = done.output.split()[-1]
    assert client.post("/sign-in", data={"email": "otto@example.net", "password": password}).status_code == 302
    assert client.get("/projects/new").status_code == 200
    with database.reading() as session:
        assert session.scalars(select(AuditEntry.actor)).all() == ["the console"]


def test_a_person_who_exists_gets_a_role(run: Run, client: FlaskClient, cast: Cast) -> None:
    done = run("user", "add", "bob@example.com", "--project", str(cast.other_project.id), "--role", "owner")
    assert "bob@example.com has the role owner." in done.output
    client.post("/sign-in", data={"email": "bob@example.com", "password": PASSWORD})
    assert "Charlie&#39;s Garage" in client.get("/projects").text


def test_a_reset_password_works_at_once_even_after_failures(run: Run, client: FlaskClient, cast: Cast) -> None:
    for _ in range(6):
        client.post("/sign-in", data={"email": "alice@example.com", "password": "guess"})
    done = run("user", "password", "alice@example.com", "--password-stdin", typed="another long secret\n")
    assert done.exit_code == 0, done.output
    assert "another long secret" not in done.output
    data = {"email": "alice@example.com", "password": "another long secret"}
    assert client.post("/sign-in", data=data).status_code == 302


REFUSALS = [
    ("user add nobody", "", "not an e-mail address"),
    ("user add alice@example.com", "", "is there already"),
    ("user add dora@example.com --project 99", "", "There is no project 99"),
    ("user password dora@example.com", "", "nobody with the e-mail"),
    ("user password alice@example.com --password-stdin", "short\n", "at least 10"),
    ("token add x --project 99", "", "There is no project 99"),
]


def test_what_cannot_be_done_is_said_and_changes_nothing(run: Run, database: Database, cast: Cast) -> None:
    for words, typed, sentence in REFUSALS:
        done = run(*words.split(), typed=typed)
        assert done.exit_code == 1
        assert sentence in done.output
    with database.reading() as session:
        assert len(session.scalars(select(Person)).all()) == 4
        assert len(session.scalars(select(ApiToken)).all()) == 4
        assert session.scalars(select(AuditEntry)).all() == []


def test_an_unmigrated_database_is_said(run: Run, database: Database) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql("DELETE FROM alembic_version")
    assert "router migrate" in run("token", "add", "x").output
