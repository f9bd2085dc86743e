"""Pages about calls: the overview, the list, the receipt of a call, the report by source, leaks, and Settings, Install: what the web master
puts into the site, whether it works, and which other sites asked for numbers."""

import csv
import io
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from router.accounts.audit import changing
from router.accounts.models import Project
from router.accounts.sessions import require_person
from router.attribution.decision import reach_then
from router.attribution.models import RefusedOrigin, Visit
from router.attribution.tag import csp_lines, script_address, snippet
from router.attribution.tracking.crawlers import STAFF, crawler_views, write_counts
from router.attribution.tracking.schema import belongs, host_and_port
from router.attribution.upkeep.service import TOO_LOW
from router.integrations.receivers import troubles
from router.integrations.vendors import receiver_name
from router.integrations.views import DELIVERY_STATES, EVENTS
from router.lib.formats import days_before, last_starts
from router.lib.phones import international, line_of, national, same_line, spellings_of_line
from router.reports.call_detail import (
    RECORDING_STATES,
    Receipt,
    blocked_because,
    describe_recording,
    how_sure,
    reasons_of,
)
from router.reports.calls import (
    CALL_STATUSES,
    PERIODS,
    CallFilter,
    calls_of,
    chosen_beyond,
    format_channel,
    format_source,
    only_announced,
    page_filter,
    scenario_choices,
    with_number,
)
from router.reports.leaks import DAYS, LEAST_CALLERS, LEAST_CALLS, read_leaks
from router.reports.sources import (
    GROUPS,
    PARTS,
    SourceFigures,
    SourceQuery,
    SourceReport,
    SourceRow,
    filter_of,
    parse_query,
    row_values,
    shortened,
)
from router.scenarios.billing.statement import harmless, project_forecast
from router.scenarios.models import Scenario
from router.scenarios.numbers.views import number_figures, titles_of
from router.server import current_server
from router.voice.models import EXTERNAL, INTERNAL, LOST, Call, Status
from router.voice.recordings import recorded_calls
from router.web.access import Audience, current_project, guard
from router.web.api import rows_of
from router.web.charts import range_bars
from router.web.errors import Problem
from router.web.layout import address_with
from router.web.network import host_of_pattern, registrable_domain

reports_pages = guard(Blueprint("reports", __name__), Audience.PEOPLE, require_person)

PERIOD_LABELS = {"today": "Today", "7": "7 days", "30": "30 days", "90": "90 days"}
GROUP_LABELS = {"channel": "Channel", "source": "Source and medium", "campaign": "Campaign"}
LAST_CALLS = 10
SHOWN_CANDIDATES = 8
WORTH_A_LINE = 0.01


@reports_pages.context_processor
def labels() -> dict[str, Any]:
    return {
        "blocked_because": blocked_because,
        "call_statuses": CALL_STATUSES,
        "delivery_states": DELIVERY_STATES,
        "format_source": format_source,
        "only_announced": only_announced,
        "address_without": lambda names: address_with(**dict.fromkeys([*names, "next"])),
    }


CHART_DAYS = 14
MISSED_DAYS = 7
MOST_MISSED = 500


class DayFigures:
    """Calls from outside of each of the last days, oldest first, today last, counted in one statement."""

    def __init__(self, session: Session, project: Project, now: datetime) -> None:
        starts = last_starts(now, project.timezone, CHART_DAYS)
        ends = [*starts[1:], now + timedelta(days=1)]
        within = [(Call.started_at >= start) & (Call.started_at < end) for start, end in zip(starts, ends, strict=True)]
        a_week_ago = days_before(now, project.timezone, 7)
        figures = [
            *(func.count().filter(day) for day in within),
            *(func.count().filter(day, Call.status.in_(LOST)) for day in within),
            func.count().filter(Call.started_at >= starts[-8], Call.started_at <= a_week_ago),
        ]
        here = (Call.project_id == project.id, Call.started_at >= starts[0], Call.kind == EXTERNAL)
        amounts = session.execute(select(*figures).where(*here)).one()
        self.calls, self.lost = amounts[:CHART_DAYS], amounts[CHART_DAYS : 2 * CHART_DAYS]
        self.today, self.by_now_a_week_ago = self.calls[-1], amounts[-1]


def not_called_back(session: Session, project: Project, now: datetime) -> list[Call]:
    """Lost calls of the last 7 days, newest first: one call for each caller who was not reached since.

    Calls that the company makes are not seen here: a caller counts as reached once a later call of his was answered.
    """
    since = now - timedelta(days=MISSED_DAYS)
    recent = select(Call).where(Call.project_id == project.id, Call.started_at >= since, Call.caller.is_not(None))
    recent = recent.where(Call.kind == EXTERNAL)
    lost = session.scalars(recent.where(Call.status.in_(LOST)).order_by(Call.id.desc()).limit(MOST_MISSED)).all()
    callers = {spelling for call in lost if call.caller for spelling in spellings_of_line(call.caller)}
    answered = select(Call.caller, func.max(Call.started_at).label("last_at")).where(
        Call.project_id == project.id,
        Call.started_at >= since,
        Call.status == Status.ANSWERED,
        Call.caller.in_(callers),
    )
    reached: dict[str, datetime] = {}
    for row in session.execute(answered.group_by(Call.caller)):
        line = line_of(row.caller)
        reached[line] = max(row.last_at, reached.get(line, row.last_at))
    newest = {line_of(call.caller): call for call in reversed(lost) if call.caller}
    waiting = [call for line, call in newest.items() if line not in reached or reached[line] < call.started_at]
    return sorted(waiting, key=lambda call: call.id, reverse=True)


@reports_pages.get("/overview")
def overview() -> str:
    server, project = current_server(), current_project()
    now = server.now()
    enabled = select(Scenario).where(
        Scenario.project_id == project.id, Scenario.deleted_at.is_(None), Scenario.enabled.is_(True)
    )
    least_accurate_first = (Scenario.accuracy.is_(None), Scenario.accuracy, Scenario.id)
    with server.database.reading() as session:
        newest = calls_of(session, project.id, CallFilter()).order_by(Call.started_at.desc(), Call.id.desc())
        last, waiting = session.scalars(newest.limit(LAST_CALLS)).all(), not_called_back(session, project, now)
        return render_template(
            "reports/overview.html",
            now=now,
            days=DayFigures(session, project, now),
            weekday=f"{now.astimezone(ZoneInfo(project.timezone)):%A}",
            waiting=waiting,
            recorded=recorded_calls(session, [*last, *waiting]),
            scenarios=session.scalars(enabled.order_by(*least_accurate_first)).all(),
            too_low=TOO_LOW,
            troubles=troubles(session, project.id),
            forecast=project_forecast(session, server, project, now),
            unpaid=number_figures(session, project.id, now).grace,
            calls=last,
        )


@reports_pages.get("/calls")
def calls() -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        statement = calls_of(session, project.id, page_filter(request.args, project, server.now()))
        statement = with_number(statement, request.args.get("q", ""), project)
        rows, following = rows_of(session, statement, (Call.started_at, Call.id), request.args)
        scenarios = scenario_choices(session, project.id)
        recorded = recorded_calls(session, rows)
    return render_template(
        "reports/calls.html",
        recorded=recorded,
        calls=rows,
        following=following,
        scenarios=scenarios,
        chosen=chosen_beyond(request.args, project, server.now()),
    )


@reports_pages.get("/calls/<int:call_id>")
def receipt(call_id: int) -> str:
    project = current_project()
    with current_server().database.reading() as session:
        details = Receipt(session, project, call_id)
    call, candidates = details.call, details.call.candidates
    # the visits that may well have called, at least the most probable one, and what all others come to together
    probable = [candidate for candidate in candidates[:SHOWN_CANDIDATES] if candidate["probability"] >= WORTH_A_LINE]
    shown = probable or candidates[:1]
    others = sum(candidate["probability"] for candidate in candidates[len(shown) :])
    listed = sum(candidate["probability"] for candidate in candidates)
    known = max(listed, sum(share[1] for share in call.shares or ()))
    # whose telephone an internal call came from, as the settings say it now
    remarks = [entry.get("remark", "") for entry in project.own_numbers if same_line(entry["number"], call.caller)]
    return render_template(
        "reports/receipt.html",
        receipt=details,
        call=call,
        shown=shown,
        others=others,
        earlier=known - listed if known - listed >= WORTH_A_LINE else 0.0,
        reach=reach_then(call.decision).leases,
        remark=next(filter(None, remarks), "") if call.kind == INTERNAL else "",
        nobody=max(0.0, 1 - known),
        how_sure=how_sure(call),
        reasons=lambda candidate, visit: "; ".join(reasons_of(candidate, visit, project.timezone)),
        receiver_name=receiver_name,
        event_labels=EVENTS,
        recording_states=RECORDING_STATES,
        describe_recording=describe_recording,
    )


reports = guard(Blueprint("sources", __name__, url_prefix="/reports"), Audience.PEOPLE, require_person)

MOST_ROWS = 200
COLUMNS = [name for name in SourceFigures.model_fields if name != "unattributed"]


@reports.get("")
def by_source() -> str:
    server, project = current_server(), current_project()
    now = server.now()
    try:
        query = parse_query(request.args, project.timezone, now)
    except Problem as problem:  # a page says what was wrong, and shows what it shows by itself
        flash(problem.detail, "bad")
        query = parse_query({}, project.timezone, now)
    with server.database.reading() as session:
        report = SourceReport(session, project.id, query)
        titles = scenario_choices(session, project.id)
        leaks = len(read_leaks(session, project.id, now))
    rows = shortened(report.rows, MOST_ROWS)
    # a bar for each row: what is credited, with the range in which the truth is expected
    bars = range_bars(
        [
            (row.figures.calls, row.expected.mean - row.expected.range, row.expected.mean + row.expected.range)
            for row in rows
        ]
    )
    return render_template(
        "reports/sources.html",
        report=report,
        query=query,
        scenarios=titles,
        rows=list(zip(rows, bars, strict=True)),
        label=lambda row: row_label(row, query.group),
        calls_of=lambda row: "" if row.others else url_for("reports.calls", **filter_of(row, query)),
        periods={name: _address(query, period=name) for name in PERIODS},
        period_labels=PERIOD_LABELS,
        groups={name: _address(query, by=name) for name in GROUPS},
        group_labels=GROUP_LABELS,
        file=_address(query, "sources.as_file"),
        leaks=leaks,
        hours=report.hours,
    )


@reports.get("/sources.csv")
def as_file() -> AnyResponse:
    """All rows of the report as a file; no cell of it is a formula."""
    server, project = current_server(), current_project()
    query = parse_query(request.args, project.timezone, server.now())
    with server.database.reading() as session:
        report = SourceReport(session, project.id, query)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in report.rows:
        values = row_values(row, query.group) | {"expected": round(row.expected.mean, 2)}
        parts = {name: harmless(values[name] or "") for name in PARTS}
        writer.writerow(values | parts if row.source else values | {"channel": "unattributed"})
    name = f"calls-by-{query.group}-{query.period.first}-{query.period.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _address(query: SourceQuery, endpoint: str = "sources.by_source", **changes: str) -> str:
    """The address of the report with some of its arguments changed; a period takes the place of own days."""
    arguments: dict[str, Any] = {"by": query.group} | ({"scenario": str(query.scenario)} if query.scenario else {})
    if query.period.name:
        arguments["period"] = query.period.name
    elif "period" not in changes:
        arguments |= {"from": query.period.first.isoformat(), "to": query.period.last.isoformat()}
    return url_for(endpoint, **(arguments | changes))


def row_label(row: SourceRow, group: str) -> str:
    if row.others:
        return f"{row.others} other {'channels' if group == 'channel' else 'sources'}"
    if row.source is None:
        return "Not known"
    if group == "channel":
        return format_channel(row.source.channel)
    return format_source({name: getattr(row.source, name) for name in GROUPS[group]}) or "unnamed"


leak_pages = guard(Blueprint("leaks", __name__, url_prefix="/numbers/leaks"), Audience.PEOPLE, require_person)


@leak_pages.get("")
def show_leaks() -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        leaks = read_leaks(session, project.id, server.now())
        titles = titles_of(session, project.id)
    return render_template(
        "reports/leaks.html",
        leaks=leaks,
        titles=titles,
        calls_of=lambda leak: url_for("reports.calls", q=leak.e164, kind=EXTERNAL),
        written=lambda leak: "\n".join(dict.fromkeys((international(leak.e164), national(leak.e164), leak.e164[1:]))),
        days=DAYS,
        least_calls=LEAST_CALLS,
        least_callers=LEAST_CALLERS,
    )


install_page = guard(Blueprint("install", __name__, url_prefix="/settings/install"), Audience.PEOPLE, require_person)


def read_lights(session: Session, project_id: int) -> Any:
    """The moments of the first `visit` and of the first `call`; None until there is one."""
    visit = select(func.min(Visit.started_at)).where(Visit.project_id == project_id).scalar_subquery()
    call = select(func.min(Call.started_at)).where(Call.project_id == project_id).scalar_subquery()
    return session.execute(select(visit.label("visit"), call.label("call"))).one()


@install_page.get("")
def show() -> str:
    server, project = current_server(), current_project()
    write_counts(server)
    with server.database.reading() as session:
        lights = read_lights(session, project.id)
        refused = session.scalars(
            select(RefusedOrigin).where(RefusedOrigin.project_id == project.id).order_by(RefusedOrigin.last_at.desc())
        ).all()
        views = crawler_views(session, project, server.now())
    base_url = project.tag_address or server.settings.base_url
    domain = registrable_domain(host_of_pattern(project.site[0])) or "example.com"
    script = script_address(base_url, project.key)

    def recipe(name: str) -> str:
        """What is copied into pages, and into what sites are made and served with."""
        amp = f"{base_url}/tag/{project.key}/amp"
        own_server = server.settings.base_url
        return render_template(f"reports/install/{name}.txt", script=script, amp=amp, server=own_server, domain=domain)

    return render_template(
        "reports/install.html",
        lights=lights,
        refused=[origin for origin in refused if not _is_own(project, origin)],
        staff=views.pop(STAFF),
        crawlers=sum(views.values()),
        snippet=snippet(base_url, project.key),
        script=script,
        csp="\n".join(f"{directive} {origin};" for directive, origin in csp_lines(base_url).items()),
        recipe=recipe,
        domain=domain,
        page_of_site=f"https://{project.site[0].removeprefix('*.')}/",
    )


@install_page.post("/allow/<int:origin_id>")
def allow(origin_id: int) -> AnyResponse:
    """The host of a site that asked becomes one of the project's own."""
    with changing() as change:
        session = change.session
        project = session.get_one(Project, change.project.id, with_for_update=True)
        refused = session.get(RefusedOrigin, origin_id)
        if refused is None or refused.project_id != project.id:
            raise Problem(404, "There is no such request.")
        name, port = host_and_port(refused.origin) or ("", None)
        host = f"{name}:{port}" if port else name
        if host and not _is_own(project, refused):
            project.site, project.version = [*project.site, host], project.version + 1
        session.delete(refused)
        change.record("site allowed", host)
    flash(f"Pages of {host} get tracking numbers from now on.")
    return redirect(url_for("install.show"))


def _is_own(project: Project, refused: RefusedOrigin) -> bool:
    site = host_and_port(refused.origin)
    return site is not None and belongs(project.site, *site)
