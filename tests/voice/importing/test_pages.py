"""R13 for people: the page that brings a call history over."""

import io

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from router.accounts.audit import Change
from router.accounts.models import AuditEntry
from router.db import Database
from router.integrations.models import Delivery
from router.scenarios.numbers.inventory import add_numbers
from router.server import Server
from router.voice.importing import views
from router.voice.models import Call, CallLogFile
from tests.pages import words_of
from tests.people import NOW, Cast, sign_in
from tests.scenarios.names import ALICE

pytestmark = pytest.mark.one_database

PAGE = "/settings/call-history"
OURS, ANNA = "+14155550120", "+14155550177"
HEAD = "Tracking Number,Phone Number,Start Time,Source\n"
GOOD = f"{HEAD}{OURS},{ANNA},2026-03-01 10:00,Google Ads\n{OURS},Blocked,2026-03-01 11:00,\n"
BAD = f"{OURS},12,2026-03-01 12:00,x\n{OURS},{ANNA},soon,x\n"
only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, database: Database, server: Server) -> FlaskClient:
    with database.writing() as session:
        add_numbers(Change(session, server, cast.project, ALICE, NOW), [OURS])
    return sign_in(client, cast.alice)


def send(client: FlaskClient, text: str | bytes, name: str = "calls.csv") -> TestResponse:
    data = text if isinstance(text, bytes) else text.encode()
    return client.post(PAGE, data={"file": (io.BytesIO(data), name)}, follow_redirects=True)


def choose(client: FlaskClient, **given: str) -> TestResponse:
    data = {name.replace("__", "."): value for name, value in given.items()}
    return client.post(f"{PAGE}/choose", data=data, follow_redirects=True)


def calls(database: Database) -> list[tuple[str | None, str]]:
    with database.reading() as session:
        found = session.scalars(select(Call).where(Call.rule == "imported").order_by(Call.started_at))
        return [(one.caller, f"{one.started_at:%Y-%m-%d %H:%M}") for one in found]


def test_r13_the_page_shows_the_plan_first_and_applies_it_then(alice: FlaskClient, database: Database) -> None:
    plan = words_of(send(alice, GOOD))
    assert "calls.csv has 1 call of 1 Mar 2026. Nothing is changed yet." in plan
    assert (
        "Tracking number “Tracking Number”, caller “Phone Number”, day and time “Start Time”, source “Source”." in plan
    )
    assert "Passed over: 1 call of withheld numbers" in plan
    assert "Bring 1 call over" in plan
    assert calls(database) == []
    done = words_of(alice.post(f"{PAGE}/apply"))
    assert "1 call brought over." in done
    assert [caller for caller, _ in calls(database)] == [ANNA]
    with database.reading() as session:
        assert session.scalar(select(func.count(CallLogFile.id))) == 0
        assert session.scalar(select(func.count(Delivery.id))) == 0
        assert session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "calls.imported")).all() == [
            "alice@example.com"
        ]
    send(alice, GOOD)
    assert "0 calls brought over, 1 call was here already." in words_of(alice.post(f"{PAGE}/apply"))


def test_r13_bad_lines_are_listed_and_the_others_can_be_brought_over(alice: FlaskClient, database: Database) -> None:
    page = words_of(send(alice, GOOD + BAD))
    assert "2 lines cannot be used" in page
    assert "Phone Number: “12” is not a phone number." in page
    assert "Start Time: “soon” is not a time." in page
    assert "Import the 1 readable line<" in page
    assert alice.post(f"{PAGE}/apply").status_code == 422
    assert calls(database) == []
    done = words_of(alice.post(f"{PAGE}/apply", data={"skip_bad": "1"}))
    assert "1 call brought over." in done
    assert "Phone Number: “12” is not a phone number." in done
    mended = GOOD + BAD.replace(",12,", ",+14155550178,").replace("soon", "2026-03-01 13:00")
    send(alice, mended)
    assert "2 calls brought over, 1 call was here already." in words_of(alice.post(f"{PAGE}/apply"))
    assert len(calls(database)) == 3


QUESTIONS = [
    (f"{HEAD}{OURS},{ANNA},03/04/2026 2:05 PM,x\n", "What is day and what is month?", {"dates": "month-first"}),
    (f"{HEAD}{OURS},6465551234,2026-03-01 10:00,x\n", "can be read in two ways", {"numbers.caller": "national"}),
    (
        f"number,Phone 1,Phone 2,date\n{OURS},{ANNA},+4930123456,2026-03-01\n",
        "Which column is the caller? It is one of Phone 1, Phone 2.",
        {"column.number": "1", "column.caller": "2", "column.started_at": "4"},
    ),
]


@pytest.mark.parametrize(("text", "question", "answer"), QUESTIONS)
def test_r13_a_question_is_asked_and_its_answer_remembered_through_apply(
    alice: FlaskClient, database: Database, text: str, question: str, answer: dict[str, str]
) -> None:
    page = words_of(send(alice, text))
    assert "Say first how calls.csv is to be read. Nothing is changed yet." in page
    assert question in page
    assert "/apply" not in page
    assert alice.post(f"{PAGE}/apply", data={"skip_bad": "1"}).status_code == 422
    page = words_of(alice.post(f"{PAGE}/choose", data=answer, follow_redirects=True))
    assert "Bring 1 call over" in page
    assert "Bring 1 call over" in words_of(alice.get(PAGE))
    assert "1 call brought over." in words_of(alice.post(f"{PAGE}/apply"))
    assert len(calls(database)) == 1


@only_sqlite
def test_r13_both_readings_of_a_number_are_on_the_page(alice: FlaskClient) -> None:
    page = words_of(send(alice, f"{HEAD}{OURS},6465551234,2026-03-01 10:00,x\n"))
    assert "1 number of the column “Phone Number” can be read in two ways" in page
    for shown in ("+1 646-555-1234", "+64 6 555 1234", "They are numbers of United States"):
        assert shown in page


@only_sqlite
def test_r13_a_column_a_zone_and_the_order_can_be_chosen(alice: FlaskClient, database: Database) -> None:
    text = f"number,caller,other,date\n{OURS},{ANNA},+14155550199,03/04/2026 10:00\n"
    send(alice, text)
    columns = {"column__number": "1", "column__caller": "3", "column__started_at": "4", "column__source": ""}
    page = words_of(choose(alice, **columns, dates="day-first", zone="Europe/Berlin"))
    assert "caller “other”" in page
    assert "Dates have the day first, as in 23/11/2026, as you said." in page
    assert "Times are in Europe/Berlin, as you said." in page
    alice.post(f"{PAGE}/apply")
    assert calls(database) == [("+14155550199", "2026-04-03 08:00")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"zone": "Mars"}, "“Mars” is no time zone"),
        ({"column__caller": "99"}, "There is no column “99”"),
        ({"column__caller": "1", "column__number": "1"}, "One column cannot be two things."),
        ({"numbers__caller": "both"}, "“both” is neither international nor national."),
    ],
)
@only_sqlite
def test_r13_a_choice_that_is_none_is_refused_and_changes_nothing(
    alice: FlaskClient, given: dict[str, str], said: str
) -> None:
    send(alice, GOOD)
    answer = choose(alice, **given)
    assert answer.status_code == 422
    assert said in words_of(answer)
    assert "Bring 1 call over" in words_of(alice.get(PAGE))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty."),
        (b"PK\x03\x04", "This is a spreadsheet&#39;s own file."),
        (b"x" * 200_001, "The file is larger than"),
        ((HEAD + "a,b,c,d\n" * 1_001).encode(), "The file has more than 1,000 lines."),
        (b"Start time,Campaign\n2026-03-01 10:00,x\n", "No column of the file is the tracking number or the caller."),
    ],
)
@only_sqlite
def test_r13_a_file_that_cannot_be_used_is_refused_in_words(
    alice: FlaskClient, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr(views, "MOST_BYTES", 200_000)
    monkeypatch.setattr(views, "MOST_ROWS", 1_000)
    answer = send(alice, data)
    assert answer.status_code == 422
    assert said in words_of(answer)
    assert "Send a file" in words_of(alice.get(PAGE))


@only_sqlite
def test_r13_a_log_is_its_senders_sealed_and_can_be_forgotten(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    send(alice, GOOD)
    with database.reading() as session:
        assert ANNA not in session.scalars(select(CallLogFile.sealed)).one()
    other = sign_in(alice.application.test_client(), cast.olivia, cast.project)
    assert "Send a file" in words_of(other.get(PAGE))
    assert "There is no file to apply" in words_of(other.post(f"{PAGE}/apply", follow_redirects=True))
    alice.post(f"{PAGE}/forget")
    assert "Send a file" in words_of(alice.get(PAGE))
    assert calls(database) == []


@only_sqlite
def test_r13_what_a_log_holds_is_only_text_on_the_page(alice: FlaskClient) -> None:
    hostile = "<script>alert(1)</script>"
    bad, good = (f"{OURS},{caller},2026-03-01 10:00,{hostile},\n" for caller in (hostile, ANNA))
    page = words_of(send(alice, f"{HEAD.strip()},{hostile}\n{bad}{good}", "<b>.csv"))
    assert "<script>alert" not in page
    assert "<b>.csv" not in page


@only_sqlite
def test_r13_a_log_that_cannot_be_read_any_more_says_so(alice: FlaskClient, database: Database) -> None:
    send(alice, f"Foo,Bar,Baz\n{OURS},{ANNA},2026-03-01 10:00\n")
    alice.post(f"{PAGE}/choose", data={"column.number": "1", "column.caller": "2", "column.started_at": "3"})
    with database.writing() as session:
        session.execute(update(CallLogFile).values(choices={"columns": {"caller": "9"}}))
    assert "calls.csv cannot be read any more. There is no column “9”" in words_of(alice.get(PAGE))
    for path in ("apply", "choose"):
        answer = alice.post(f"{PAGE}/{path}", data={"column.caller": "8"}, follow_redirects=True)
        assert "calls.csv cannot be read any more." in words_of(answer)


@only_sqlite
def test_r13_a_viewer_brings_no_calls_over(client: FlaskClient, cast: Cast) -> None:
    sign_in(client, cast.bob)
    for path in ("apply", "choose", "forget"):
        assert client.post(f"{PAGE}/{path}").status_code == 403
