"""R13: the call history of another service, and what rule 1 of R7 makes of it."""

import io
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.accounts.models import AuditEntry, Project
from router.app import make_server
from router.cli import router
from router.config import Settings
from router.db import Database
from router.integrations.models import Delivery
from router.scenarios.importing.tables import UnreadableFile, cell_error, plain, read_table
from router.server import Server
from router.voice.forgetting import forget_caller
from router.voice.importing import calls as import_calls_module
from router.voice.importing.calls import Choices, OldCall, write_old_calls
from router.voice.importing.reading import project_numbers, read_call_log
from router.voice.models import Call
from tests.factories import NOON, make_integration, make_project, make_scenario
from tests.voice.carrier import ANNA, CarrierClient

NUMBER, SECOND = "+12125550100", "+12125550101"
HEAD = "number,caller,started_at,source,medium,campaign\n"
ANNA_CALLED = f"{NUMBER},{ANNA},2026-03-01T10:00:00Z,google,cpc,Spring\n"


@pytest.fixture
def project(server: Server, database: Database) -> Project:
    with database.writing() as session:
        project = make_project(session)
        make_integration(session, make_scenario(session, project, [NUMBER, SECOND]))
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


def test_r14_of_forgotten_callers_nothing_is_brought_over_and_that_is_said(
    server: Server, project: Project, bring: Importer
) -> None:
    with server.database.writing() as session:
        forget_caller(server, session, session.get_one(Project, project.id), ANNA, Actor("alice"), NOON)
    lines = HEAD + ANNA_CALLED + ANNA_CALLED.replace(ANNA, "+14155550188")
    done = bring(lines).output
    assert done == "Brought over: 1 call. Here already: 0.\nPassed over: 1 call of forgotten callers.\n"
    assert "1 call of forgotten callers" in bring(lines, "--plan").output
    assert [call.caller for call in calls(server.database)] == ["+14155550188"]


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


FORMS = [
    ("Tracking Number,Phone Number,Start Time,Source", "11/13/2025 2:05 PM", "2025-11-13T19:05:00+00:00"),
    ("To,From,Start Time,Source", "Tue, 03 Mar 2026 19:05:00 +0000", "2026-03-03T19:05:00+00:00"),
    ("Номер,Абонент,Дата,Источник", "03.03.26 14:05", "2026-03-03T19:05:00+00:00"),
    ("number,caller,started_at,source", "2026-03-03 19:05:00 UTC", "2026-03-03T19:05:00+00:00"),
    ("number,caller,started_at,source", "1772564700", "2026-03-03T19:05:00+00:00"),
    ("number,caller,started_at,source", '"Mar 3, 2026, 2:05\u202fPM"', "2026-03-03T19:05:00+00:00"),
]


@pytest.mark.parametrize(("head", "time", "utc"), FORMS)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_logs_are_brought_over_as_services_export_them(
    bring: Importer, database: Database, head: str, time: str, utc: str
) -> None:
    lines = f"All calls\n\n{head}\n{NUMBER[1:]},{ANNA},{time},google\n{NUMBER},No Caller ID,{time},google\n"
    done = bring(lines)
    assert done.exit_code == 0, done.output
    assert [(one.caller, one.started_at.isoformat()) for one in calls(database)] == [(ANNA, utc)]
    assert "Passed over: 1 call of withheld numbers" in done.output
    assert "Here already: 1." in bring(lines).output
    assert len(calls(database)) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_the_plan_says_how_a_log_is_read_and_writes_nothing(bring: Importer, database: Database) -> None:
    callers = [(ANNA, 13), ("Blocked", 14), ("x", 14)]
    lines = "To,From,When,Cost\n" + "".join(f"{NUMBER},{who},11/{day}/2025 2:05 PM,1\n" for who, day in callers)
    plan = bring(lines, "--plan")
    assert plan.exit_code == 0, plan.output
    assert "Columns: Tracking number “To”, caller “From”, day and time “When”. Not read: “Cost”.\n" in plan.output
    assert "Dates have the month first, as in 11/23/2026, because of 11/13/2025 in line 2.\n" in plan.output
    assert "Times are in America/New_York, the project's time zone.\n" in plan.output
    assert "Line 4: From: “x” is not a phone number." in plan.output
    assert "1 call of 13 Nov 2025. Nothing is brought over yet.\n" in plan.output
    assert "To be passed over: 1 call of withheld numbers" in plan.output
    assert "1 line cannot be used." in plan.output
    assert calls(database) == []


PLAIN_HEAD = "number,caller,started_at\n"
DAYS = f"{PLAIN_HEAD}{NUMBER},{ANNA},11/03/2025 2:05 PM\n"
TWO_WAYS = f"{PLAIN_HEAD}{NUMBER},6465551234,2026-03-01 10:00\n"
TWO_PHONES = f"number,Phone 1,Phone 2,date\n{NUMBER},{ANNA},+4930123456,2026-03-01\n"
OPEN = [
    (DAYS, "What is day and what is month?", ["--dates", "month-first"]),
    (TWO_WAYS, "can be read in two ways", ["--numbers", "national"]),
    (TWO_WAYS, "--numbers caller=international", ["--numbers", "caller=international"]),
    (TWO_PHONES, "Which column is the caller?", ["--column", "caller=Phone 1"]),
]


@pytest.mark.parametrize(("lines", "said", "answer"), OPEN)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_what_nobody_can_tell_is_asked_before_anything_is_written(
    bring: Importer, database: Database, lines: str, said: str, answer: list[str]
) -> None:
    for options in ([], ["--skip-bad"], ["--plan"]):
        asked = bring(lines, *options)
        assert asked.exit_code == 1
        assert said in asked.output
        assert answer[0] in asked.output
        assert "Nothing was brought over: say first how the file is to be read." in asked.output
    assert calls(database) == []
    done = bring(lines, *answer)
    assert done.exit_code == 0, done.output
    assert len(calls(database)) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--column", "caller=Nobody"], "There is no column “Nobody”"),
        (["--column", "Nobody=caller"], "write it like caller=HEAD"),
        (["--zone", "Mars"], "“Mars” is no time zone"),
        (["--dates", "noon-first"], "noon-first"),
        (["--numbers", "number=national"], "is none of the columns caller"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_an_answer_that_is_none_is_refused(bring: Importer, options: list[str], said: str) -> None:
    done = bring(HEAD + ANNA_CALLED, *options)
    assert done.exit_code != 0
    assert said in done.output


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_the_zone_can_be_said(bring: Importer, database: Database) -> None:
    bring(HEAD + f"{NUMBER},{ANNA},2026-03-01 10:00:00,a,,\n", "--zone", "Europe/Berlin")
    assert [one.started_at.hour for one in calls(database)] == [9]


def test_r13_a_file_with_its_lines_mended_doubles_nothing(bring: Importer, database: Database) -> None:
    lines = [f"{NUMBER},+1415555{2000 + index},2026-03-01 10:{index:02}:00,a,,\n" for index in range(6)]
    broken = list(lines)
    broken[2], broken[4] = broken[2].replace("+1415555", "+1"), broken[4].replace("2026-", "2026/13/")
    assert bring(HEAD + "".join(broken)).exit_code == 1
    done = bring(HEAD + "".join(broken), "--skip-bad")
    assert "Brought over: 4 calls. Here already: 0.\nSkipped: 2 lines.\n" in done.output
    assert "Brought over: 2 calls. Here already: 4." in bring(HEAD + "".join(lines)).output
    assert len(calls(database)) == 6


AUTUMN = f"{HEAD}{NUMBER},{ANNA},2025-11-02 01:30:00,a,,\n"


def test_r13_the_repeated_hour_keeps_two_calls_and_a_second_import_adds_none(
    bring: Importer, database: Database
) -> None:
    twice = AUTUMN + AUTUMN.removeprefix(HEAD)
    assert "Brought over: 2 calls." in bring(twice).output
    assert "Brought over: 0 calls. Here already: 2." in bring(twice).output
    assert [one.started_at.isoformat()[11:16] for one in calls(database)] == ["05:30", "06:30"]


def test_r13_a_call_of_the_repeated_hour_is_the_same_in_files_that_tell_its_hour_and_in_those_that_do_not(
    bring: Importer, database: Database
) -> None:
    """Alone in a file it is put into the first hour; with the lines around it, into the second."""
    bring(AUTUMN)
    other = "+14155550199"
    before = f"{NUMBER},{other},2025-11-02 01:10:00,a,,\n{NUMBER},{other},2025-11-02 01:50:00,a,,\n"
    done = bring(HEAD + before + AUTUMN.removeprefix(HEAD))
    assert "Brought over: 2 calls. Here already: 1." in done.output
    assert [one.caller for one in calls(database)].count(ANNA) == 1
    bring(AUTUMN + AUTUMN.removeprefix(HEAD))
    assert [one.caller for one in calls(database)].count(ANNA) == 2


def test_r13_two_spellings_of_a_line_are_one_customer(bring: Importer, database: Database) -> None:
    early, late = (
        f"{NUMBER},+52{one}5512345678,2026-0{3 + month}-01T10:00:00Z,a,,\n" for month, one in enumerate(["1", ""])
    )
    bring(HEAD + late)
    bring(HEAD + early)
    assert [(one.caller, one.first_call) for one in calls(database)] == [
        ("+5215512345678", True),
        ("+525512345678", False),
    ]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_no_transaction_decides_more_calls_than_it_may(
    server: Server, database: Database, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that are here and come after those of the file are decided again in the same transaction: both together are its weight."""
    callers = [f"+1415555{3000 + index}" for index in range(30)]
    late = "".join(f"{NUMBER},{caller},2026-05-{day + 1:02}T10:00:00Z,a,,\n" for caller in callers for day in range(20))
    early = "".join(f"{NUMBER},{caller},2026-03-01T10:00:00Z,b,,\n" for caller in callers)
    assert write(server, project, HEAD + late) == 600
    portions: list[int] = []
    whole = import_calls_module.write_some

    def counted(server: Server, session: Session, project: Project, some: Sequence[OldCall], now: datetime) -> int:
        portions.append(len(some))
        return whole(server, session, project, some, now)

    monkeypatch.setattr(import_calls_module, "write_some", counted)
    told: list[int] = []
    assert write(server, project, HEAD + early, told.append) == 30
    assert sum(portions) == sum(told) == 30
    assert max(portions) * 21 <= 500
    with database.reading() as session:
        assert session.scalar(select(func.count(Call.id)).where(Call.first_call)) == 30


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_r13_of_a_line_stays_what_a_call_needs(server: Server, project: Project) -> None:
    """A large file is read line by line: it needs less room than the file itself."""
    notes = "words of a long conversation " * 100
    lines = (
        f"{NUMBER},+1415555{1000 + index % 50},{(NOON - timedelta(minutes=index)).isoformat()},a,,,{notes}\n"
        for index in range(2000)
    )
    data = io.BytesIO((HEAD.replace("\n", ",notes\n") + "".join(lines)).encode())
    with server.database.reading() as session:
        numbers = project_numbers(session, project)
    tracemalloc.start()
    try:
        assert len(read_call_log(data, numbers, Choices(), NOON).calls) == 2000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(data.getvalue()) * 0.8


def write(server: Server, project: Project, text: str, done: Callable[[int], object] = lambda count: None) -> int:
    with server.database.reading() as session:
        numbers = project_numbers(session, project)
    log = read_call_log(io.BytesIO(text.encode()), numbers, Choices(), NOON)
    assert log.problems == {}
    return write_old_calls(server, project, log.calls, NOON, done)


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
