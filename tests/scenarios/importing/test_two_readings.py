"""R13: numbers without a plus. With the own country code they are international; what has two readings is shown with both and asked."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from router.accounts.audit import Change
from router.accounts.models import Project
from router.app import make_server
from router.cli import router
from router.config import Settings
from router.db import Database
from router.scenarios.importing.files import BadChoice, Choice, read_choices
from router.scenarios.importing.settings import apply_old_settings, read_old_file
from router.scenarios.models import OldSettingsFile, Scenario, TrackingNumber
from router.server import Server
from router.web.errors import Refused
from tests.factories import NOON, make_project
from tests.pages import words_of
from tests.people import Cast, sign_in
from tests.scenarios.names import ALICE

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])
HEAD = "number,destination,prefix\n"
OURS, AUSTRIAN = "493090182011", "436641234567"

PLAIN = [
    ("4917612345678", "+4917612345678"),
    ("4915112345678", "+4915112345678"),
    ("493090182011", "+493090182011"),
    ("03090182011", "+493090182011"),
    ("3090182011", "+493090182011"),
    ("0049 30 90182011", "+493090182011"),
    ("+43 664 1234567", "+436641234567"),
    ('="493090182011"', "+493090182011"),
    ("'493090182011", "+493090182011"),
    ("493090182011.0", "+493090182011"),
]


@pytest.mark.parametrize(("text", "e164"), PLAIN)
@pytest.mark.parametrize("column", ["number", "destination"])
def test_r13_a_number_with_one_reading_is_read_in_each_column(column: str, text: str, e164: str) -> None:
    cells = {"number": "+493090182099", "destination": "+493090182098"} | {column: text}
    file = read_old_file(f"{HEAD}{cells['number']},{cells['destination']},\n".encode(), "DE")
    assert (file.problems, file.questions) == ({}, {})
    [number] = file.numbers
    assert {"number": number.e164, "destination": number.settings.destination}[column] == e164


FOREIGN = ["436641234567", "33612345678", "393331234567"]


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("column", ["number", "destination"])
@pytest.mark.parametrize("choice", ["international", "national"])
@pytest.mark.parametrize("to_all", [True, False])
def test_r13_a_number_with_two_readings_is_asked_about_and_then_read_as_it_was_said(
    text: str, column: str, choice: Choice, to_all: bool
) -> None:
    cells = {"number": OURS, "destination": "+493090182098"} | {column: text}
    data = f"{HEAD}{cells['number']},{cells['destination']},\n".encode()
    asked = read_old_file(data, "DE")
    assert (asked.numbers, asked.problems) == ([], {})
    [one] = asked.questions[column].examples
    assert (one.line, one.text, one.international, one.national) == (2, text, f"+{text}", f"+49{text}")
    said = read_old_file(data, "DE", {"" if to_all else column: choice})
    [number] = said.numbers
    assert said.questions == {}
    read = {"number": number.e164, "destination": number.settings.destination}[column]
    assert read == (f"+{text}" if choice == "international" else f"+49{text}")


def test_r13_what_is_said_of_one_column_says_nothing_of_another() -> None:
    file = read_old_file(f"{HEAD}{AUSTRIAN},33612345678,\n".encode(), "DE", {"number": "international"})
    assert list(file.questions) == ["destination"]


@pytest.mark.parametrize("prefix", ["+4930", "004930", "4930", "030", "30", "(030)", "+49 (0)30"])
def test_r13_a_prefix_is_the_same_however_it_is_written(prefix: str) -> None:
    file = read_old_file(f"{HEAD}{OURS},,{prefix}\n03090182012,,30\n".encode(), "DE")
    assert len(file.groups()) == 1
    assert file.numbers[0].settings.prefix == "4930"


def test_r13_prefixes_of_other_countries_and_of_nothing_stay_apart() -> None:
    file = read_old_file(
        f"{HEAD}+74951234567,,8495\n+74951234568,,+7495\n+74951234569,,\n+74951234560,,999\n".encode(), "DE"
    )
    assert [number.settings.prefix for number in file.numbers] == ["7495", "7495", "", "999"]


def test_r13_a_choice_that_is_none_is_refused() -> None:
    with pytest.raises(BadChoice, match="“both” is neither international nor national"):
        read_choices({"number": "both"})


def german(session: Session) -> Project:
    project = make_project(session)
    session.execute(update(Project).where(Project.id == project.id).values(country="DE"))
    session.refresh(project)
    return project


def test_r13_nothing_is_applied_while_a_question_is_open(server: Server, database: Database) -> None:
    with database.writing() as session:
        project = german(session)
        file = read_old_file(f"{HEAD}{OURS},{AUSTRIAN},\n{OURS[:-1]}2,,\n".encode(), "DE")
        with pytest.raises(Refused) as refusal:
            apply_old_settings(Change(session, server, project, ALICE, NOON), file)
        assert "+43 664 1234567 or +49 4366 41234567" in refusal.value.errors["numbers.destination"]
    with database.reading() as session:
        assert session.scalars(select(Scenario.id)).all() == []


class Command:
    def __init__(self, path: Path, project_id: int) -> None:
        self.path, self.project_id = path, project_id

    def __call__(self, text: str, *options: str) -> Result:
        self.path.write_text(text)
        return CliRunner().invoke(router, ["import-old", str(self.path), "--project", str(self.project_id), *options])


@pytest.fixture
def cast_in_germany(cast: Cast, database: Database) -> Cast:
    with database.writing() as session:
        session.execute(update(Project).values(country="DE"))
    return cast


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cast_in_germany: Cast) -> Command:
    monkeypatch.setattr("router.cli.open_server", lambda: make_server(settings))
    return Command(tmp_path / "old.csv", cast_in_germany.project.id)


ASKING = f"{HEAD}{OURS},{AUSTRIAN},\n493090182012,{AUSTRIAN},\n"


def e164s(database: Database) -> list[str]:
    with database.reading() as session:
        flows = session.scalars(select(TrackingNumber.e164).where(TrackingNumber.scenario_id.is_not(None)))
        return sorted(flows)


def test_r13_the_commands_plan_shows_both_readings_and_names_the_option(command: Command, database: Database) -> None:
    for options in ((), ("--apply",)):
        done = command(ASKING, *options)
        assert done.exit_code == 1
        assert "2 numbers of the column “destination” can be read in two ways" in done.output
        assert "  line 2: 436641234567 is +43 664 1234567 or +49 4366 41234567\n" in done.output
        assert "Say --numbers destination=international (they begin with a country code)" in done.output
        assert "or --numbers destination=national." in done.output
        assert "Nothing is brought over before it is said" in done.output
    assert e164s(database) == []
    done = command(ASKING, "--apply", "--numbers", "international")
    assert done.exit_code == 0, done.output
    assert "Dynamic to +43 664 1234567" in done.output
    assert e164s(database) == ["+493090182011", "+493090182012"]


@only_sqlite
def test_r13_the_option_can_be_said_for_one_column_and_refuses_others(command: Command) -> None:
    assert "Dynamic to +49 4366 41234567" in command(ASKING, "--numbers", "destination=national").output
    assert command(ASKING, "--numbers", "number=national").exit_code == 1
    assert "neither international nor national" in command(ASKING, "--numbers", "both").output
    assert (
        "“prefix” is none of the columns number and destination"
        in command(ASKING, "--numbers", "prefix=national").output
    )


PAGE = "/settings/old-settings"


@pytest.fixture
def alice(client: FlaskClient, cast_in_germany: Cast) -> FlaskClient:
    return sign_in(client, cast_in_germany.alice)


def send(client: FlaskClient, text: str) -> TestResponse:
    return client.post(PAGE, data={"file": (io.BytesIO(text.encode()), "old.csv")}, follow_redirects=True)


def test_r13_the_page_asks_for_each_column_and_remembers_through_apply(alice: FlaskClient, database: Database) -> None:
    both = f"{HEAD}{AUSTRIAN},33612345678,\n"
    page = send(alice, both).text
    assert "Say first how numbers of old.csv are to be read. Nothing is changed yet." in page
    assert "1 number of the column “number” can be read in two ways" in page
    assert "1 number of the column “destination” can be read in two ways" in page
    for shown in (
        "+43 664 1234567",
        "+49 4366 41234567",
        "+33 6 12 34 56 78",
        "+49 3361 2345678",
        "They are numbers of Germany",
    ):
        assert shown in page
    assert ">Apply<" not in page
    assert alice.post(f"{PAGE}/apply").status_code == 422
    page = words_of(alice.post(f"{PAGE}/choose", data={"numbers.number": "international"}, follow_redirects=True))
    assert "“number” that can be read in two ways begin with a country code, as you said" in page
    assert ">Apply<" not in page
    chosen = {"numbers.number": "international", "numbers.destination": "national"}
    page = words_of(alice.post(f"{PAGE}/choose", data=chosen, follow_redirects=True))
    assert ">Apply<" in page
    assert "Dynamic to +49 3361 2345678" in page
    done = alice.post(f"{PAGE}/apply")
    assert "1 scenario made, 1 number put in." in done.text
    assert e164s(database) == ["+436641234567"]
    send(alice, both)
    with database.reading() as session:
        assert session.scalars(select(OldSettingsFile.choices)).one() == {}


@only_sqlite
def test_r13_a_choice_can_be_turned_round_and_junk_is_refused(alice: FlaskClient) -> None:
    send(alice, f"{HEAD}{AUSTRIAN},,\n")
    page = words_of(alice.post(f"{PAGE}/choose", data={"numbers.number": "international"}, follow_redirects=True))
    assert 'name="numbers.number" value="national">Read them the other way' in page
    assert alice.post(f"{PAGE}/choose", data={"numbers.number": "both"}).status_code == 422
    page = words_of(alice.post(f"{PAGE}/choose", data={"numbers.number": "national"}, follow_redirects=True))
    assert "+49 4366 41234567" in page
    assert "are numbers of Germany, as you said" in page


@only_sqlite
def test_r13_a_viewer_chooses_nothing(client: FlaskClient, cast_in_germany: Cast) -> None:
    sign_in(client, cast_in_germany.bob)
    assert client.post(f"{PAGE}/choose", data={"numbers.number": "national"}).status_code == 403
