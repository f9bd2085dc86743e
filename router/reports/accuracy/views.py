"""The page and the API of a scenario's accuracy (R8): how much of it can be trusted, day by day, and what to do about it."""

from datetime import date
from typing import Any

from flask import Blueprint, render_template
from pydantic import BaseModel

from router.accounts.sessions import require_person, require_token
from router.attribution.pool.choice import CALLS_NEEDED, GRID, chance_after, default_chance
from router.attribution.upkeep.service import TOO_LOW
from router.lib.formats import format_duration
from router.reports.accuracy.figures import History
from router.scenarios.service import find_scenario
from router.server import current_server
from router.web.access import Audience, current_project, guard
from router.web.api import described
from router.web.charts import Across, Axis, LineChart, Series

accuracy_page = guard(
    Blueprint("accuracy", __name__, url_prefix="/scenarios/<int:scenario_id>/accuracy"), Audience.PEOPLE, require_person
)

IDLE_TICKS = (30.0, 300.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0)
SHORT_TICKS = ("30 s", "5 min", "1 h", "6 h", "1 day", "7 days")


@accuracy_page.get("")
def show(scenario_id: int) -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        scenario = find_scenario(session, project, scenario_id)
        history = History(session, project, scenario, server.now())
    return render_template(
        "reports/accuracy.html",
        scenario=scenario,
        history=history,
        low=history.accuracy is not None and history.accuracy < TOO_LOW,
        days=[
            (format_day(day), figures)
            for day, figures in reversed(history.days.items())
            if figures.visits + figures.calls
        ],
        by_day=chart_by_day(history),
        survival=chart_of_survival(history),
        needed=CALLS_NEEDED,
    )


def format_day(day: str) -> str:
    """`Mon 23 Nov`"""
    at = date.fromisoformat(day)
    return f"{at:%a} {at.day} {at:%b}"


def chart_by_day(history: History) -> LineChart:
    days, labels = history.days.values(), [format_day(day) for day in history.days]
    return LineChart(
        "Accuracy and mean confidence by day",
        f"Of the last {len(days)} days; a day without visits, or without calls, is a gap. The table below has the same figures.",
        Across(
            [float(place) for place in range(len(days))],
            lambda place: labels[int(place)],
            say_tick=lambda place: labels[int(place)].partition(" ")[2],
        ),
        [
            Series("accuracy", [day.trusted(history.aim) / day.visits if day.visits else None for day in days]),
            Series("mean confidence", [day.confidence for day in days]),
        ],
    )


def chart_of_survival(history: History) -> LineChart:
    """The learned curve beside the default; only the default while nothing was learned."""
    learned = [Series("learned from calls", [chance_after(at, history.survival) for at in GRID[1:]])]
    return LineChart(
        "How many of those who still call are yet to call",
        "After a visitor has been silent for so long: the share of later callers who have not called yet.",
        Across(
            GRID[1:],
            format_duration,
            IDLE_TICKS,
            lambda at: SHORT_TICKS[IDLE_TICKS.index(at)],
            title="Time since the last sign of the visitor",
            logarithmic=True,
        ),
        [*(learned if history.survival else []), Series("default", [default_chance(at) for at in GRID[1:]])],
        Axis(high=1.0),
    )


accuracy_api = guard(
    Blueprint(
        "accuracy_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/scenarios/<int:scenario_id>/accuracy"
    ),
    Audience.PROGRAMS,
    require_token,
)
DIGITS = 4


class DayDocument(BaseModel):
    """The visits that began on a day of the project's time zone and asked for a dynamic number, by what became of it, and the calls of the
    day. `accuracy` in per cent and `confidence` are null where there was no visit, or no call that has a confidence."""

    day: str
    visits: int
    alone: int
    shared_within_source: int
    shared_with_other_source: int
    overflowed: int
    kept: int
    accuracy: int | None
    calls: int
    calls_with_confidence: int
    confidence: float | None


class SurvivalDocument(BaseModel):
    """How likely a silent visitor still calls. `points` are null until `calls` reach `calls_needed`: the default
    1 / (1 + seconds / 300) is used."""

    calls: int
    calls_needed: int
    points: list[list[float]] | None


class AccuracyDocument(BaseModel):
    """Over today and the six days before; `days` are the last 30, newest first."""

    scenario: int
    aim: str
    accuracy: int | None
    confidence: float | None
    days: list[DayDocument]
    survival: SurvivalDocument


@accuracy_api.get("")
@described(answer=AccuracyDocument)
def get_accuracy(project_id: int, scenario_id: int) -> dict[str, Any]:
    """How much of a scenario's attribution can be trusted, and its days."""
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        scenario = find_scenario(session, project, scenario_id)
        history = History(session, project, scenario, server.now())
    days = [
        {
            "day": day,
            "visits": figures.visits,
            "alone": figures.alone,
            "shared_within_source": figures.shared_within,
            "shared_with_other_source": figures.mixed,
            "overflowed": figures.overflowed,
            "kept": figures.kept,
            "accuracy": figures.accuracy(history.aim),
            "calls": figures.calls,
            "calls_with_confidence": figures.sure_calls,
            "confidence": _rounded(figures.confidence),
        }
        for day, figures in reversed(history.days.items())
    ]
    return {
        "scenario": scenario.id,
        "aim": history.aim,
        "accuracy": history.accuracy,
        "confidence": _rounded(history.week.confidence),
        "days": days,
        "survival": {"calls": history.sure_calls, "calls_needed": CALLS_NEEDED, "points": history.survival},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
