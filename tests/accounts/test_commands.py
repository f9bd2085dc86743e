"""`router user` and `router token`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import ApiToken, AuditEntry, Person, ServerFact
from router.app import make_server
from router.cli import Imported, prepare, router
from router.config import Settings, SettingsError
from router.db import Database
from router.operations import key_fits
from router.server import bare_server
from tests.factories import PASSWORD
from tests.people import Cast, bearer
from tests.secret import SECRET


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> "Run":
    return Run(settings, monkeypatch)


class Run:
    """Runs the command on this test's database."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("router.cli.open_accounts", lambda: bare_server(settings))

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


EVERY_COMMAND = [
    "migrate", "worker", "user add x@example.net --operator", "user password alice@example.com", "token add x", "numbers sync",
    "reconcile", "forget-caller 1 +14155550177", "doctor --retry", "plan --scenario 1", "import-old {file} --project 1",
    "import-calls {file} --project 1",
]  # fmt: skip


def all_commands(group: click.Group) -> set[str]:
    """`user add` and the like, by their whole names."""
    found: set[str] = set()
    for name, listed in group.commands.items():
        command = listed.load() if isinstance(listed, Imported) else listed
        inner = all_commands(command) if isinstance(command, click.Group) else {""}
        found |= {f"{name} {one}".strip() for one in inner}
    return found


def test_every_command_is_tried_with_another_key() -> None:
    serving = {"serve", "demo", "applier"}  # which take calls with any key, and make their own
    assert all_commands(router) - serving == {
        next(name for name in all_commands(router) if line.startswith(name)) for line in EVERY_COMMAND
    }


@pytest.mark.parametrize("line", EVERY_COMMAND)
def test_a_command_with_another_key_than_the_database_is_refused_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Database, cast: Cast, line: str
) -> None:
    server = make_server(settings)
    assert key_fits(server)  # as a web process does it
    server.database.dispose()
    other = settings.model_copy(update={"secret_key": f"{SECRET}   # as systemd reads it"})
    monkeypatch.setattr("router.config.read_settings", lambda *_: other)
    before = everything(database)
    (tmp_path / "file").write_text("number,destination\n")
    done = CliRunner().invoke(router, line.format(file=tmp_path / "file").split())
    assert isinstance(done.exception, SettingsError), done.output
    assert str(done.exception).startswith("ROUTER_SECRET_KEY: is not the key")
    assert "systemd" not in str(done.exception)
    assert everything(database) == before


def everything(database: Database) -> dict[str, list[Any]]:
    with database.reading() as session:
        tables = (ServerFact, Person, ApiToken, AuditEntry)
        return {one.__tablename__: list(session.execute(select(one.__table__)).all()) for one in tables}


def test_a_command_records_no_key_and_takes_any_while_none_is_recorded(run: Run, database: Database) -> None:
    assert run("migrate").exit_code == 0
    assert run("token", "add", "x").exit_code == 0
    with database.reading() as session:
        assert session.scalars(select(ServerFact)).all() == []


def test_while_the_key_is_changed_commands_take_the_old_one_and_the_new_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    server = make_server(settings)
    assert key_fits(server)
    server.database.dispose()
    new = "another-secret-key-9876543210"
    for keys, taken in ((f"{SECRET},{new}", True), (f"{new},{SECRET}", True), (SECRET, True), (new, False)):
        run = Run(settings.model_copy(update={"secret_key": keys}), monkeypatch)
        assert (run("token", "add", "x").exit_code == 0) is taken


def test_migrate_refuses_another_key_also_before_it_changes_an_older_schema(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    server = make_server(settings)
    assert key_fits(server)
    server.database.dispose()
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")
    run = Run(settings.model_copy(update={"secret_key": "another-secret-key-9876543210"}), monkeypatch)
    assert isinstance(run("migrate").exception, SettingsError)
    with database.reading() as session:
        assert session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0004"


def test_migrate_makes_the_tables_of_an_empty_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Run(settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'new.db'}"}), monkeypatch)
    assert "schema is current" in run("migrate").output


def test_serve_says_that_its_key_is_another_and_prints_no_link(
    settings: Settings, capsys: pytest.CaptureFixture[str], database: Database
) -> None:
    server = make_server(settings)
    prepare(server)
    assert "Make the operator here" in capsys.readouterr().out
    other = make_server(settings.model_copy(update={"secret_key": "another-secret-key-9876543210"}))
    prepare(other)
    said = capsys.readouterr()
    assert (said.out, "ROUTER_SECRET_KEY: is not the key" in said.err) == ("", True)
    for one in (server, other):
        one.database.dispose()


def test_r12_serve_waits_for_no_table_that_is_locked(settings: Settings, database: Database) -> None:
    """On SQLite, where only writing waits: for nobody who writes. What is locked stays so until the process has ended."""
    code = "from router.cli import open_server, prepare_for_a_while; prepare_for_a_while(open_server(), 0.2)"
    told = {"ROUTER_DATABASE_URL": settings.database, "ROUTER_SECRET_KEY": SECRET, "TWILIO_AUTH_TOKEN": "token"}
    with database.writing() as session:
        if not database.is_sqlite:
            session.connection().exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=60
        )
    said = "Make the operator here" if database.is_sqlite else "the database does not answer"
    assert said in done.stdout + done.stderr
    assert done.returncode == 0


def test_an_unmigrated_database_is_said(run: Run, database: Database) -> None:
    with database.writing() as session:
        session.connection().exec_driver_sql("DELETE FROM alembic_version")
    assert "router migrate" in run("token", "add", "x").output
