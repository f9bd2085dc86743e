"""R10: internal calls stand in the list and on their own page, and in no figure of any page, report, or rule that learns from calls."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from router.accounts.models import Project
from router.attribution.models import AccuracyDay
from router.db import Database
from router.reports.accuracy.figures import sure_calls
from router.reports.accuracy.jobs import refresh_accuracy
from router.reports.counters import ColumnKeeper
from router.reports.leaks import refresh_leaking
from router.reports.views import DayFigures, not_called_back, read_lights
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import EXTERNAL, INTERNAL, Call
from router.voice.routing import called_numbers, calls_by_lease
from tests.busy_project import LINE, NUMBERS
from tests.factories import make_call
from tests.people import NOW, Cast, bearer

QUIET = NUMBERS[5]
"""Nobody called it lately."""
COLLEAGUE = "+14155550144"


@pytest.fixture
def colleague(database: Database, cast: Cast, life: dict[str, int]) -> Callable[[str], None]:
    """Somebody calls whenever anybody called, half a minute later, and a number that nobody called: calls of this kind."""
    with database.writing() as session:
        for number in session.scalars(select(TrackingNumber)):
            session.execute(update(Call).where(Call.number == number.e164).values(number_id=number.id))
        lease = select(Call).where(Call.rule == "lease").order_by(Call.id)
        for call in session.scalars(lease.limit(5)):
            call.confidence = 0.97
            call.visit_id = call.candidates[0]["visit_id"]

    def repeat(kind: str) -> None:
        with database.writing() as session:
            rows = [
                {column.name: getattr(call, column.name) for column in Call.__table__.columns if column.name != "id"}
                for call in session.scalars(select(Call))
            ]
            quiet = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == QUIET)).one()
            rows.append(rows[-1] | {"sid": "CA-quiet", "number": QUIET, "number_id": quiet.id})
            for index, row in enumerate(rows):
                row |= {
                    "sid": f"{row['sid']}-again", "kind": kind, "caller": f"+1415556{index:04}", "counted": False,
                    "started_at": min(row["started_at"] + timedelta(seconds=30), NOW - timedelta(seconds=1)),
                }  # fmt: skip
            session.execute(insert(Call), rows)

    return repeat


@pytest.fixture
def figures(server: Server, database: Database, client: FlaskClient, cast: Cast) -> Callable[[], dict[str, Any]]:
    """Everything that is counted from calls, by the name of what counts it."""

    def count() -> dict[str, Any]:
        now = NOW
        ColumnKeeper().refresh(server, now)
        refresh_accuracy(server, now)
        refresh_leaking(server, now)
        address, headers = f"/api/v1/projects/{cast.project.id}", bearer(cast.alice_token)
        found: dict[str, Any] = {
            f"report by {by}": client.get(f"{address}/reports/sources?by={by}", headers=headers).get_json()
            for by in ("channel", "source", "campaign")
        }
        found["leaks"] = client.get(f"{address}/leaks", headers=headers).get_json()
        with database.reading() as session:
            project = session.get_one(Project, cast.project.id)
            scenarios = session.scalars(select(Scenario).order_by(Scenario.id)).all()
            numbers = session.scalars(select(TrackingNumber).order_by(TrackingNumber.id)).all()
            days = select(AccuracyDay).order_by(AccuracyDay.scenario_id, AccuracyDay.day)
            month = now - timedelta(days=30)
            found |= {
                "overview's days": vars(DayFigures(session, project, now)),
                "missed calls": [call.id for call in not_called_back(session, project, now)],
                "calls of scenarios": [one.calls for one in scenarios],
                "confidence of scenarios": [one.confidence for one in scenarios],
                "calls of numbers": [one.calls for one in numbers],
                "last calls of numbers": [one.last_call_at for one in numbers],
                "days of accuracy": [(one.day, one.calls, one.sure_calls) for one in session.scalars(days)],
                "calls to learn from": [sure_calls(session, one.id) for one in scenarios],
                "calls to plan with": [len(calls_by_lease(session, one, month, now)) for one in scenarios],
                "numbers that upkeep keeps": called_numbers(session, [one.id for one in numbers], month),
            }
        return found

    return count


def test_r10_no_figure_changes_by_internal_calls(
    colleague: Callable[[str], None], figures: Callable[[], dict[str, Any]]
) -> None:
    before = figures()
    colleague(INTERNAL)
    after = figures()
    assert [name for name in before if before[name] != after[name]] == []


def test_all_these_figures_would_change_by_calls_from_outside(
    colleague: Callable[[str], None], figures: Callable[[], dict[str, Any]]
) -> None:
    """The one above would fail if a figure left its calls out by chance."""
    before = figures()
    colleague(EXTERNAL)
    after = figures()
    assert [name for name in before if before[name] == after[name]] in ([], ["confidence of scenarios"])


def test_internal_calls_after_the_last_one_from_outside_leave_its_time(
    database: Database, server: Server, cast: Cast, life: dict[str, int]
) -> None:
    number = life["number_id"]
    with database.writing() as session:
        for minutes, kind in ((50, INTERNAL), (40, EXTERNAL), (30, INTERNAL), (20, INTERNAL)):
            at = NOW - timedelta(minutes=minutes)
            make_call(session, cast.project, NUMBERS[7], at, kind=kind, number_id=number + 7, sid=f"CA{minutes}")
    ColumnKeeper().refresh(server, NOW)
    with database.reading() as session:
        row = session.get_one(TrackingNumber, number + 7)
        assert (row.e164, row.calls, row.last_call_at) == (NUMBERS[7], 1, NOW - timedelta(minutes=40))


def test_a_test_call_lights_the_install_pages_light(database: Database, cast: Cast) -> None:
    with database.writing() as session:
        assert read_lights(session, cast.project.id).call is None
        make_call(session, cast.project, NUMBERS[0], NOW, kind=INTERNAL)
        assert read_lights(session, cast.project.id).call == NOW


@pytest.fixture
def tested(database: Database, cast: Cast, life: dict[str, int]) -> int:
    """The colleague's test call, as attribution sees it; announced, and answered by the company."""
    with database.writing() as session:
        project = session.get_one(Project, cast.project.id)
        project.own_numbers = [{"number": COLLEAGUE, "remark": "Anna's desk"}]
        like = session.get_one(Call, life["call_id"])
        given = {
            name: getattr(like, name)
            for name in (
                "visit_id",
                "rule",
                "confidence",
                "source_confidence",
                "source",
                "source_key",
                "candidates",
                "shares",
            )
        }
        steps = [{"rule": "repeat", "applies": False, "because": "internal"}, *like.decision["steps"][1:]]
        call = make_call(
            session, project, NUMBERS[0], NOW - timedelta(minutes=1), kind=INTERNAL, caller=COLLEAGUE, first_call=False,
            scenario_id=life["scenario_id"], decision={"steps": steps}, sid="CA-test",
            flow={"destinations": [{"to": LINE, "ring_seconds": 20}], "announcement": "This is a test call."}, **given,
        )  # fmt: skip
        return call.id


def test_the_calls_page_says_which_calls_are_internal_and_filters_them(alice: FlaskClient, tested: int) -> None:
    everything, outside, own = (alice.get(f"/calls?kind={kind}").text for kind in ("", "external", "internal"))
    assert f"/calls/{tested}" in everything
    assert f"/calls/{tested}" not in outside
    assert own.count('<tr class="opens call-row">') == 1
    assert ">internal</span>" in own
    assert ">internal</span>" not in outside
    assert '<option value="internal" selected>Internal</option>' in own
    assert "No call fits this filter." in alice.get("/calls?kind=internal&status=busy").text
    assert alice.get("/calls?kind=junk").status_code == 200


def test_the_api_tells_and_filters_the_kind(client: FlaskClient, cast: Cast, tested: int) -> None:
    address, headers = f"/api/v1/projects/{cast.project.id}/calls", bearer(cast.alice_token)
    items = client.get(f"{address}?kind=internal", headers=headers).get_json()["items"]
    assert [(one["id"], one["kind"], one["first_call"]) for one in items] == [(tested, "internal", False)]
    others = client.get(f"{address}?kind=external&limit=200", headers=headers).get_json()["items"]
    assert {one["kind"] for one in others} == {"external"}
    refused = client.get(f"{address}?kind=secret", headers=headers)
    assert (refused.status_code, refused.get_json()["field"]) == (422, "kind")


def test_the_page_of_an_internal_call_says_what_it_is_and_what_a_visitors_would_be(
    alice: FlaskClient, database: Database, cast: Cast, tested: int
) -> None:
    text = " ".join(alice.get(f"/calls/{tested}").text.split())
    assert "it came from one of your own telephones (Anna&#39;s desk)" in text
    assert "A visitor’s call would have come from <strong>google / cpc / spring</strong>" in text
    assert "Came from <strong>" not in text
    assert "Not asked: the call came from one of your own telephones." in text
    assert "Answered with the words “This is a test call.”" in text
    assert "Nobody: by your settings, nobody is told about calls from your own telephones." in text
    with database.writing() as session:
        session.get_one(Project, cast.project.id).tell_internal = "all"
    assert "no integration that is told about calls from your own telephones" in alice.get(f"/calls/{tested}").text


def test_a_call_that_only_heard_the_announcement_is_not_called_failed(
    alice: FlaskClient, database: Database, tested: int
) -> None:
    with database.writing() as session:
        call = session.get_one(Call, tested)
        call.flow = {"destinations": [{"to": COLLEAGUE, "ring_seconds": 20}], "announcement": "This is a test call."}
        call.status, call.destination, call.talk_seconds = "failed", "", 0
    for path in ("/calls?kind=internal", f"/calls/{tested}"):
        page = alice.get(path).text
        assert ">announced</span>" in page
        assert ">failed</span>" not in page
    assert "The call ended: nobody else was rung" in page


def test_a_call_from_outside_says_nothing_of_all_this(alice: FlaskClient, life: dict[str, int]) -> None:
    page = alice.get(f"/calls/{life['call_id']}").text
    assert "internal" not in page
    assert "own telephones" not in page


def test_numbers_lead_to_their_calls_from_outside(
    alice: FlaskClient, database: Database, server: Server, life: dict[str, int]
) -> None:
    page = alice.get("/numbers").text
    assert f"/calls?kind=external&amp;q=%2B{NUMBERS[0][1:]}" in page
    shown = alice.get(f"/calls?kind=external&q=%2B{NUMBERS[0][1:]}").text
    with database.reading() as session:
        calls = session.scalars(select(Call.id).where(Call.number == NUMBERS[0])).all()
    assert shown.count('<tr class="opens call-row">') == len(calls)
