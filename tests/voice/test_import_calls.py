"""R13: the call history of another service, and what rule 1 of R7 makes of it."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from router.accounts.models import AuditEntry, Project
from router.app import make_server
from router.cli import router
from router.database import Database
from router.integrations.models import Delivery, Integration
from router.scenarios.old_settings.table import UnreadableFile, cell_error, plain, read_table
from router.server import Server
from router.settings import Settings
from router.voice.call_log.cells import project_numbers
from router.voice.call_log.plan import Choices
from router.voice.call_log.reading import read_call_log
from router.voice.import_calls import write_old_calls
from router.voice.models import Call
from tests.voice.carrier import ANNA, CarrierClient
from tests.world import NOON, make_project, make_scenario

NUMBER, SECOND = "+12125550100", "+12125550101"
HEAD = "number,caller,started_at,source,medium,campaign\n"
ANNA_CALLED = f"{NUMBER},{ANNA},2026-03-01T10:00:00Z,google,cpc,Spring\n"


@pytest.fixture
def project(server: Server, database: Database) -> Project:
    with database.writing() as session:
        project = make_project(session)
        scenario = make_scenario(session, project, [NUMBER, SECOND])
        told = {"slot": "webhook_end", "kind": "webhook", "destination": "webhook:1", "config": {}}
        session.add(Integration(project_id=project.id, scenario_id=scenario.id, created_at=NOON, **told))
        return project


class Importer:
    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, path: Path, project: Project) -> None:
        monkeypatch.setattr("router.cli.open_server", lambda: make_server(settings))
        self.path, self.project = path, project

    def __call__(self, text: str | bytes, *options: str) -> Result:
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return CliRunner().invoke(router, ["import-calls", str(self.path), "--project", str(self.project.id), *options])


@pytest.fixture
def bring(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: Project) -> Importer:
    return Importer(settings, monkeypatch, tmp_path / "calls.csv", project)


def calls(database: Database) -> list[Call]:
    with database.reading() as session:
        return list(session.scalars(select(Call).order_by(Call.started_at)))


def test_r13_rule_1_credits_the_source_that_the_other_service_named(
    bring: Importer, client: FlaskClient, server: Server, database: Database
) -> None:
    done = bring(HEAD + ANNA_CALLED)
    assert (done.exit_code, done.output) == (0, "Brought over: 1 call. Here already: 0.\n")
    CarrierClient(client, server).dial(NUMBER)
    old, new = calls(database)
    assert (old.rule, old.status, old.first_call) == ("imported", "unknown", True)
    assert (new.rule, new.first_call, new.source_key) == ("repeat", False, old.source_key)
    assert new.source is not None
    assert (new.source["source"], new.source["campaign"], new.source["channel"]) == ("google", "Spring", "paid_search")


def test_r13_the_import_sends_no_delivery(bring: Importer, database: Database) -> None:
    bring(HEAD + ANNA_CALLED)
    with database.reading() as session:
        assert session.scalar(select(func.count(Delivery.id))) == 0
        assert session.scalars(select(AuditEntry.action)).all() == ["calls.imported"]


def test_r13_a_second_import_changes_nothing(bring: Importer, database: Database) -> None:
    bring(HEAD + ANNA_CALLED)
    before = [(one.id, one.sid, one.first_call) for one in calls(database)]
    assert "Brought over: 0 calls. Here already: 1." in bring(HEAD + ANNA_CALLED).output
    assert [(one.id, one.sid, one.first_call) for one in calls(database)] == before


def test_r13_calls_that_are_known_already_are_decided_again_and_nobody_is_told(
    bring: Importer, client: FlaskClient, server: Server, database: Database
) -> None:
    carrier = CarrierClient(client, server)
    carrier.dial(NUMBER)
    carrier.status("completed")
    with database.reading() as session:
        told = session.scalar(select(func.count(Delivery.id)))
    assert calls(database)[0].rule == "none"
    bring(HEAD + ANNA_CALLED)
    assert [(one.rule, one.first_call) for one in calls(database)] == [("imported", True), ("repeat", False)]
    with database.reading() as session:
        assert session.scalar(select(func.count(Delivery.id))) == told


def test_r13_the_earliest_call_is_the_first_one_in_whatever_order_files_come(
    bring: Importer, database: Database
) -> None:
    again = f"{NUMBER},{ANNA},2026-04-01T10:00:00Z,bing,cpc,\n"
    bring(HEAD + again)
    bring(HEAD + again + ANNA_CALLED + f"{SECOND},{ANNA},2026-05-01T10:00:00Z,,,\n")
    assert [(one.first_call, (one.source or {}).get("source")) for one in calls(database)] == [
        (True, "google"),
        (False, "bing"),
        (True, None),
    ]


def test_r13_without_a_source_the_caller_is_known_and_the_other_rules_go_on(
    bring: Importer, client: FlaskClient, server: Server, database: Database
) -> None:
    bring(HEAD + f"{NUMBER},{ANNA},2026-03-01T10:00:00Z,,,\n")
    CarrierClient(client, server).dial(NUMBER)
    assert [(one.rule, one.first_call) for one in calls(database)][1] == ("none", False)


def test_r13_times_without_a_zone_are_the_projects(bring: Importer, database: Database) -> None:
    bring(HEAD + f"{NUMBER},{ANNA},2026-03-01 10:00:00,a,,\n{NUMBER},{ANNA},01.03.2026 11:00,a,,\n")
    assert [one.started_at.isoformat() for one in calls(database)] == [
        "2026-03-01T15:00:00+00:00",
        "2026-03-01T16:00:00+00:00",
    ]


BAD = [
    (f"{NUMBER},{ANNA},yesterday,a,,", "started_at: “yesterday” is not a time."),
    (f"{NUMBER},{ANNA},2999-01-01T00:00:00Z,a,,", "is in the future."),
    (f"{NUMBER},{ANNA},1969-01-01T00:00:00Z,a,,", "is too long ago."),
    (f"+12125550999,{ANNA},2026-03-01T10:00:00Z,a,,", "+12125550999 is not a number of this project."),
    (f"{NUMBER},12,2026-03-01T10:00:00Z,a,,", "caller: “12” is not a phone number."),
    (f"{NUMBER},{ANNA},2026-03-01T10:00:00Z,,cpc,", "source: it is empty"),
    (f"{NUMBER},{ANNA},2026-03-01T10:00:00Z,=cmd|' /C calc'!A0,,", "is a formula"),
    (f"{NUMBER},1.4155E+10,2026-03-01T10:00:00Z,a,,", "The spreadsheet has shortened"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_a_bad_line_is_named_and_nothing_is_written(
    bring: Importer, database: Database, line: str, said: str
) -> None:
    done = bring(HEAD + ANNA_CALLED + line + "\n")
    assert done.exit_code == 1
    assert "Line 3: " in done.output
    assert said in done.output
    assert calls(database) == []


def test_r13_bad_lines_can_be_skipped(bring: Importer, database: Database) -> None:
    done = bring(HEAD + ANNA_CALLED + BAD[0][0], "--skip-bad")
    assert done.exit_code == 0, done.output
    assert len(calls(database)) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_withheld_callers_are_passed_over_and_said(bring: Importer, database: Database) -> None:
    done = bring(HEAD + f"{NUMBER},anonymous,2026-03-01T10:00:00Z,a,,\n")
    assert "Passed over: 1 call of withheld numbers" in done.output
    assert calls(database) == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0",
        b"",
        b"caller,started_at\n",
        b"number,caller,started_at,number\n",
    ],
)
def test_r13_a_file_that_is_no_table_is_refused(bring: Importer, data: bytes) -> None:
    done = bring(data)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")


def test_r13_more_than_one_portion_is_written(server: Server, database: Database, project: Project) -> None:
    lines = [
        f"{NUMBER},+1415555{1000 + index % 700},{(NOON - timedelta(minutes=index)).isoformat()},a,,"
        for index in range(1200)
    ]
    with database.reading() as session:
        file = io.BytesIO((HEAD + "\n".join(lines)).encode())
        found = read_call_log(file, project_numbers(session, project), Choices(), NOON)
    assert (found.problems, write_old_calls(server, project, found.calls, NOON)) == ({}, 1200)
    with database.reading() as session:
        assert session.scalar(select(func.count(Call.id)).where(Call.first_call)) == 700


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: (HEAD + text).encode("utf-8", "ignore")))
def test_r13_any_file_is_read_or_refused_in_words(data: bytes) -> None:
    try:
        rows = read_table(data, ("number", "caller", "started_at"), ("source", "medium", "campaign"), 10)
    except UnreadableFile:
        return
    for row in rows:
        for text in row.cells.values():
            cell_error(plain(text))
