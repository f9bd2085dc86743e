"""R13 for people: the page that brings old settings over, and the command."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from router.app import make_server
from router.cli import router
from router.config import Settings
from router.db import Database
from router.scenarios.models import OldSettingsFile, Scenario, TrackingNumber
from tests.people import Cast, sign_in

pytestmark = pytest.mark.one_database

HEAD = "number,destination,selectors,type,channel\n"
GOOD = HEAD + "+14155552000,+14155550111,.phone,dynamic,\n+14155552001,+14155550111,.phone,static,flyer/print\n"
PAGE = "/settings/old-settings"


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.alice)


def send(client: FlaskClient, text: str | bytes, name: str = "old.csv") -> TestResponse:
    data = text if isinstance(text, bytes) else text.encode()
    return client.post(PAGE, data={"file": (io.BytesIO(data), name)}, follow_redirects=True)


def count(database: Database, model: type[Scenario | TrackingNumber | OldSettingsFile]) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count(model.id))) or 0


def test_r13_the_page_shows_the_plan_first_and_applies_it_then(alice: FlaskClient, database: Database) -> None:
    plan = send(alice, GOOD).text
    assert "old.csv makes 2 new scenarios of 2 numbers. Nothing is changed yet." in plan
    assert "A new scenario with 1 static number, switched off." in plan
    assert count(database, Scenario) == count(database, TrackingNumber) == 0
    done = alice.post(f"{PAGE}/apply").text
    assert "2 scenarios made, 2 numbers put in." in done
    with database.reading() as session:
        ids = list(session.scalars(select(Scenario.id).order_by(Scenario.id)))
    assert f"window.roistatCalltrackingScripts = {ids};" in done
    assert count(database, OldSettingsFile) == 0
    assert "All of old.csv is here already." in send(alice, GOOD).text


def test_r13_lines_that_cannot_be_used_are_named_and_refuse_all(alice: FlaskClient, database: Database) -> None:
    page = send(alice, GOOD + "12,+14155550111,.phone,,\n").text
    assert "Nothing can be brought over yet: 1 line of old.csv cannot be used." in page
    assert "“12” is not a phone number" in page
    assert alice.post(f"{PAGE}/apply").status_code == 422
    assert count(database, Scenario) == count(database, TrackingNumber) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("data", "said"), [(b"", "The file is empty."), (b"PK\x03\x04", "This is a spreadsheet&#39;s own file.")]
)
def test_r13_a_file_that_is_no_table_is_refused_on_the_page(alice: FlaskClient, data: bytes, said: str) -> None:
    answer = send(alice, data)
    assert answer.status_code == 422
    assert said in answer.text


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_the_page_takes_a_thousand_lines_and_refuses_a_much_larger_file(alice: FlaskClient) -> None:
    lines = [
        f"+1415555{1000 + index},+14155550111,.phone,dynamic,{'a-rather-long-source-name' * 2}" for index in range(1000)
    ]
    assert "1,000 numbers" in send(alice, HEAD + "\n".join(lines)).text
    assert send(alice, b"x" * 400_000).status_code == 413
    assert alice.post("/numbers/add", data={"numbers": "x" * 70_000}).status_code == 413


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_a_file_is_its_senders_and_can_be_forgotten(alice: FlaskClient, database: Database, cast: Cast) -> None:
    send(alice, GOOD)
    with database.reading() as session:
        assert "+14155552000" not in session.scalars(select(OldSettingsFile.sealed)).one()
    other = sign_in(alice.application.test_client(), cast.olivia, cast.project)
    assert "Send a file" in other.get(PAGE).text
    assert "There is no file to apply" in other.post(f"{PAGE}/apply", follow_redirects=True).text
    alice.post(f"{PAGE}/forget")
    assert "Send a file" in alice.get(PAGE).text
    assert count(database, Scenario) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_what_a_file_holds_is_only_text_on_the_page(alice: FlaskClient) -> None:
    page = send(alice, HEAD + "<script>alert(1)</script>,+14155550111,,,\n", "<b>.csv").text
    assert "<script>alert" not in page
    assert "<b>.csv" not in page


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_a_viewer_brings_nothing_over(client: FlaskClient, cast: Cast) -> None:
    sign_in(client, cast.bob)
    assert client.post(f"{PAGE}/apply").status_code == 403


class Command:
    def __init__(self, path: Path, project_id: int) -> None:
        self.path, self.project_id = path, project_id

    def __call__(self, text: str, *options: str) -> Result:
        self.path.write_text(text)
        words = ["import-old", str(self.path), "--project", str(self.project_id), *options]
        return CliRunner().invoke(router, words)


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cast: Cast) -> Command:
    monkeypatch.setattr("router.cli.open_server", lambda: make_server(settings))
    return Command(tmp_path / "old.csv", cast.project.id)


def test_r13_the_command_shows_the_plan_and_applies_it_when_told_to(command: Command, database: Database) -> None:
    plan = command(GOOD)
    assert plan.exit_code == 0, plan.output
    assert "Dynamic to +1 415-555-0111 · .phone\n  A new scenario with 1 dynamic number, switched off.\n" in plan.output
    assert "line 2: +1 415-555-2000, added as an own number" in plan.output
    assert "repeat with --apply" in plan.output
    assert count(database, Scenario) == 0
    done = command(GOOD, "--apply")
    assert done.exit_code == 0, done.output
    with database.reading() as session:
        ids = list(session.scalars(select(Scenario.id).order_by(Scenario.id)))
    assert done.output.endswith(f"window.roistatCalltrackingScripts = {ids};\n")
    again = command(GOOD, "--apply")
    assert (again.exit_code, count(database, Scenario)) == (0, 2)
    assert "All of it is here already: nothing was changed." in again.output


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_the_command_names_bad_lines_and_changes_nothing(command: Command, database: Database) -> None:
    done = command(GOOD + "12,,,,\n", "--apply")
    assert done.exit_code == 1
    assert "Line 4 cannot be used: number: “12” is not a phone number." in done.output
    assert "Nothing is brought over: 1 line cannot be used." in done.output
    assert count(database, Scenario) == 0
    assert command("", "--apply").output == "Error: The file is empty.\n"
    assert (
        "There is no project 99"
        in CliRunner().invoke(router, ["import-old", str(command.path), "--project", "99"]).output
    )
