"""The figures of the overview."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.db import Database
from router.lib.formats import last_starts
from router.reports.views import DayFigures, not_called_back
from router.server import Server
from tests.busy_project import NUMBERS
from tests.factories import make_call, make_rented_number
from tests.pages import words_of
from tests.people import NOW, Cast, sign_in

LOST: dict[str, Any] = {"status": "missed", "talk_seconds": None}


def waiting(session: Session, project: Project) -> list[str | None]:
    return [call.caller for call in not_called_back(session, project, NOW)]


def test_days_are_those_of_the_projects_time_zone(database: Database, cast: Cast) -> None:
    """Alice is in Berlin: her Monday began on Sunday at 23:00 UTC."""
    with database.writing() as session:
        for at in (datetime(2026, 11, 22, 22, 59, tzinfo=UTC), datetime(2026, 11, 22, 23, 1, tzinfo=UTC)):
            make_call(session, cast.project, NUMBERS[0], at)
        figures = DayFigures(session, cast.project, NOW)
    assert list(figures.calls[-2:]) == [1, 1]
    assert figures.today == 1


def test_a_day_of_25_hours_is_one_day() -> None:
    starts = last_starts(datetime(2026, 10, 26, 12, tzinfo=UTC), "Europe/Berlin", 3)
    assert [start.astimezone(UTC).hour for start in starts] == [22, 22, 23]


def test_today_is_compared_with_the_same_weekday_up_to_this_time(database: Database, cast: Cast) -> None:
    with database.writing() as session:
        for minutes in (-60, 60):
            make_call(session, cast.project, NUMBERS[0], NOW - timedelta(days=7) + timedelta(minutes=minutes))
        figures = DayFigures(session, cast.project, NOW)
    assert (figures.by_now_a_week_ago, figures.calls[-8]) == (1, 2)


def test_other_projects_calls_count_nowhere(database: Database, cast: Cast) -> None:
    with database.writing() as session:
        make_call(session, cast.other_project, NUMBERS[0], NOW - timedelta(hours=1), **LOST)
        assert sum(DayFigures(session, cast.project, NOW).calls) == 0
        assert waiting(session, cast.project) == []


def test_a_lost_caller_waits_until_a_later_call_of_his_is_answered(database: Database, cast: Cast) -> None:
    anna, ben, carla = "+442079460001", "+442079460002", "+442079460003"

    def call(session: Session, caller: str | None, hours_ago: float, **values: Any) -> None:
        at = NOW - timedelta(hours=hours_ago)
        make_call(session, cast.project, NUMBERS[int(hours_ago) % 5], at, caller=caller, **values)

    with database.writing() as session:
        call(session, anna, 9, **LOST)
        call(session, ben, 8)
        call(session, ben, 7, **LOST)
        call(session, carla, 6, **(LOST | {"status": "busy"}))
        call(session, carla, 5.5, **(LOST | {"status": "abandoned"}))
        call(session, None, 5, **LOST)
        call(session, "+442079460009", 24 * 8, **LOST)
        assert waiting(session, cast.project) == [carla, ben, anna], "each caller once, newest first"
        call(session, anna, 2)
        assert waiting(session, cast.project) == [carla, ben]


def test_r4_numbers_that_could_not_be_renewed_are_said_first(client: FlaskClient, cast: Cast, server: Server) -> None:
    """Until the price is zero: then money is out of the way."""
    late = NOW - timedelta(days=1)
    server.now = lambda: NOW
    with server.database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = 150
        make_rented_number(session, cast.project, NUMBERS[0], late)
    page = words_of(sign_in(client, cast.alice, cast.project).get("/overview"))
    assert "1 rented number</a> could not be renewed." in page
    assert "The balance is used up." in page
    with server.database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = 0
    assert "renewed" not in client.get("/overview").get_data(as_text=True)
