"""The report by source: as a page and as a file."""

import csv
import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, flash, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from router.accounts.access import Audience, current_project, guard
from router.accounts.sessions import require_person
from router.charts import BarRow, bar_chart
from router.reports.by_source import (
    GROUPS,
    PARTS,
    SourceRow,
    Wanted,
    filter_of,
    hours,
    read_wanted,
    report_by_source,
    shortened,
    told_of,
)
from router.reports.calls import scenario_titles
from router.reports.leaks import read_leaks
from router.reports.periods import PERIODS, Period
from router.reports.words import say_channel, say_source
from router.scenarios.money.export import harmless
from router.server import current_server
from router.web import Problem

reports = guard(Blueprint("sources", __name__, url_prefix="/reports"), Audience.PEOPLE, require_person)

MOST_ROWS = 200
PERIOD_WORDS = {"today": "Today", "7": "7 days", "30": "30 days", "90": "90 days"}
GROUP_WORDS = {"channel": "Channel", "source": "Source and medium", "campaign": "Campaign"}
COLUMNS = (
    *PARTS,
    *("calls", "expected", "expected_range"),
    *("answered", "missed", "first_callers", "mean_confidence", "calls_before"),
)


@reports.get("")
def by_source() -> str:
    server, project = current_server(), current_project()
    wanted = _wanted_or_default()
    with server.database.reading() as session:
        report = report_by_source(session, project.id, wanted.period, wanted.group, wanted.scenario)
        titles = scenario_titles(session, project.id)
        leaks = len(read_leaks(session, project.id, server.now()))
    rows = shortened(report.rows, MOST_ROWS)
    return render_template(
        "reports/sources.html",
        report=report,
        wanted=wanted,
        scenarios=titles,
        rows=list(zip(rows, _bars(rows, wanted), strict=True)),
        periods={name: _address(wanted, period=name) for name in PERIODS},
        period_words=PERIOD_WORDS,
        groups={name: _address(wanted, by=name) for name in GROUPS},
        group_words=GROUP_WORDS,
        file=_address(wanted, "sources.as_file"),
        leaks=leaks,
        hours=hours(report.moments, wanted.period),
    )


@reports.get("/sources.csv")
def as_file() -> AnyResponse:
    """All rows of the report as a file; no cell of it is a formula."""
    server, project = current_server(), current_project()
    wanted = read_wanted(request.args, project.timezone, server.now())
    with server.database.reading() as session:
        report = report_by_source(session, project.id, wanted.period, wanted.group, wanted.scenario)
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *(_cells(row, wanted.group) for row in report.rows)])
    name = f"calls-by-{wanted.group}-{wanted.period.first}-{wanted.period.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _cells(row: SourceRow, group: str) -> list[object]:
    figures, told = row.figures, told_of(group)
    confidence = "" if row.confidence is None else round(row.confidence, 4)
    parts = [harmless(getattr(row.source, name)) if row.source and name in told else "" for name in PARTS]
    return [
        *(parts if row.source else ["unattributed", *parts[1:]]),
        figures.calls,
        round(row.expected.mean, 2),
        row.expected.range,
        figures.answered,
        figures.missed,
        figures.first_callers,
        confidence,
        figures.before,
    ]


def _wanted_or_default() -> Wanted:
    """A page says what was wrong and shows what it shows by itself."""
    zone, now = current_project().timezone, current_server().now()
    try:
        return read_wanted(request.args, zone, now)
    except Problem as problem:
        flash(problem.detail, "bad")
        return read_wanted({}, zone, now)


def _address(wanted: Wanted, endpoint: str = "sources.by_source", **changes: str) -> str:
    """An address of the report with some of what it asks for changed; a period takes the place of own days."""
    period = {"period": wanted.period.name} if wanted.period.name else _days(wanted.period)
    given = {} if "period" in changes else period
    given |= {"by": wanted.group} | ({"scenario": str(wanted.scenario)} if wanted.scenario else {}) | changes
    return address(endpoint, given)


def address(endpoint: str, given: Mapping[str, str]) -> str:
    """The address of a page with such arguments, `from` among them."""
    return f"{url_for(endpoint)}?{urlencode(given)}"


def _days(period: Period) -> dict[str, str]:
    return {"from": period.first.isoformat(), "to": period.last.isoformat()}


def _bars(rows: list[SourceRow], wanted: Wanted) -> list[Any]:
    """A bar for each row: what is credited, with the range in which the truth is expected."""
    drawn = [
        BarRow(
            say_row(row, wanted.group),
            row.figures.calls,
            max(0.0, row.expected.mean - row.expected.range),
            row.expected.mean + row.expected.range,
            "" if row.others else _list_of(row, wanted),
            f"{row.figures.calls:,}",
            f"{row.expected.mean:,.0f} ± {row.expected.range:,}",
        )
        for row in rows
    ]
    return bar_chart("Calls by source", drawn).bars


def _list_of(row: SourceRow, wanted: Wanted) -> str:
    """The call list that shows exactly the calls credited to a row."""
    return address("reports.calls", filter_of(row, wanted.group, wanted.period, wanted.scenario))


def say_row(row: SourceRow, group: str) -> str:
    """What a row is called."""
    if row.others:
        return f"{row.others} other {'channels' if group == 'channel' else 'sources'}"
    if row.source is None:
        return "Not known"
    if group == "channel":
        return say_channel(row.source.channel)
    return say_source({name: getattr(row.source, name) for name in GROUPS[group]}) or "unnamed"
