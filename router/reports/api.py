"""Calls and visits for programs."""

from typing import Any

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import rows_by_time
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.integrations.document import full_call_documents
from router.reports.by_source import PARTS, SourceRow, read_wanted, report_by_source, told_of
from router.reports.call_shapes import CallDocument, VisitDocument
from router.reports.calls import FILTERS, calls_of, find_call, read_filter
from router.reports.leaks import Leak, read_leaks
from router.reports.visits import find_visit, visit_document
from router.server import current_server
from router.voice.models import Call
from router.web import iso

reports_api = guard(
    Blueprint("reports_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)


@reports_api.get("/calls")
@described(answer=CallDocument, is_list=True, query=FILTERS)
def get_calls(project_id: int) -> dict[str, Any]:
    """List calls, newest first."""
    wanted = read_filter(request.args, current_project())
    with current_server().database.reading() as session:
        rows, following = rows_by_time(
            session, calls_of(session, project_id, wanted), Call.started_at, Call.id, request.args
        )
        return {"items": full_call_documents(session, rows), "next": following}


@reports_api.get("/calls/<int:call_id>")
@described(answer=CallDocument)
def get_call(project_id: int, call_id: int) -> dict[str, Any]:
    """Read one call, with its attribution and its deliveries."""
    with current_server().database.reading() as session:
        return full_call_documents(session, [find_call(session, project_id, call_id)])[0]


class SourceFigures(BaseModel):
    """The calls of one source; parts that the rows are not told apart by are null, and all are for calls of nobody we know.

    `calls` are credited to it, and are the calls that `/calls` lists with the same filter and `kind=external`. `expected` is how many came
    from it if every call counts with its probabilities; the true number is within `expected_range` of it in about 19 of 20 cases.
    """

    unattributed: bool
    channel: str | None
    source: str | None
    medium: str | None
    campaign: str | None
    calls: int
    expected: float
    expected_range: int
    answered: int
    missed: int
    first_callers: int
    mean_confidence: float | None
    calls_before: int


class SourcesReport(BaseModel):
    """Calls by source from the first to the last day. The days before it are as many; while the period goes on, they are counted up to
    the same time of day. `items` are all rows, most calls first; `next` is always null."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: str = Field(alias="from")
    to: str
    by: str
    calls: int
    calls_before: int
    items: list[SourceFigures]
    next: None


@reports_api.get("/reports/sources")
@described(answer=SourcesReport, query=("from", "to", "period", "by", "scenario"))
def get_sources(project_id: int) -> dict[str, Any]:
    """Calls by source (`by`: channel, source or campaign), credited and expected, in a period (30 days unless told)."""
    wanted = read_wanted(request.args, current_project().timezone, current_server().now())
    with current_server().database.reading() as session:
        report = report_by_source(session, project_id, wanted.period, wanted.group, wanted.scenario)
    return {
        "from": report.period.first.isoformat(),
        "to": report.period.last.isoformat(),
        "by": report.group,
        "calls": report.calls,
        "calls_before": report.before,
        "items": [_figures(row, report.group) for row in report.rows],
        "next": None,
    }


def _figures(row: SourceRow, group: str) -> dict[str, Any]:
    named = {name: getattr(row.source, name) if row.source and name in told_of(group) else None for name in PARTS}
    sure = row.confidence
    return named | {
        "unattributed": row.source is None,
        "calls": row.figures.calls,
        "expected": round(row.expected.mean, 4),
        "expected_range": row.expected.range,
        "answered": row.figures.answered,
        "missed": row.figures.missed,
        "first_callers": row.figures.first_callers,
        "mean_confidence": None if sure is None else round(sure, 4),
        "calls_before": row.figures.before,
    }


class LeakDocument(BaseModel):
    """A dynamic number that rings although nobody was shown it: `calls` of so many `callers` in the last 30 days that no visit explains,
    and the first such call of all (`since`). `scenario` is null for a free number."""

    number: int
    e164: str
    scenario: int | None
    calls: int
    callers: int
    since: str
    last_call_at: str


@reports_api.get("/leaks")
@described(answer=LeakDocument, is_list=True)
def get_leaks(project_id: int) -> dict[str, Any]:
    """Numbers that ring without any visit, again and again, most calls first; all are in one list."""
    with current_server().database.reading() as session:
        leaks = read_leaks(session, project_id, current_server().now())
    return {"items": [_leak(leak) for leak in leaks], "next": None}


def _leak(leak: Leak) -> dict[str, Any]:
    return {
        "number": leak.number_id,
        "e164": leak.e164,
        "scenario": leak.scenario_id,
        "calls": leak.calls,
        "callers": leak.callers,
        "since": iso(leak.since),
        "last_call_at": iso(leak.last_call_at),
    }


@reports_api.get("/visits/<int:number>")
@described(answer=VisitDocument)
def get_visit(project_id: int, number: int) -> dict[str, Any]:
    """Read one visit by its visit number, with the numbers it was shown and its calls."""
    with current_server().database.reading() as session:
        return visit_document(session, find_visit(session, project_id, number))
