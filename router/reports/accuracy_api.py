"""A scenario's accuracy for programs (R8)."""

from typing import Any

from flask import Blueprint
from pydantic import BaseModel

from router.accounts.access import Audience, current_project, guard
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.attribution.survival import CALLS_NEEDED
from router.reports.accuracy_history import Day, read_history
from router.scenarios.scenarios import find_scenario
from router.server import current_server

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
        history = read_history(session, project, scenario, server.now())
    return {
        "scenario": scenario.id,
        "aim": history.aim,
        "accuracy": history.accuracy,
        "confidence": _rounded(history.week.confidence),
        "days": [_day(one, history.aim) for one in reversed(history.days)],
        "survival": {"calls": history.sure_calls, "calls_needed": CALLS_NEEDED, "points": history.survival},
    }


def _day(one: Day, aim: str) -> dict[str, Any]:
    figures = one.figures
    return {
        "day": one.day,
        "visits": figures.visits,
        "alone": figures.alone,
        "shared_within_source": figures.shared_within,
        "shared_with_other_source": figures.mixed,
        "overflowed": figures.overflowed,
        "kept": figures.kept,
        "accuracy": figures.accuracy(aim),
        "calls": figures.calls,
        "calls_with_confidence": figures.sure_calls,
        "confidence": _rounded(figures.confidence),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
