"""Pages about calls: the overview, the list, and the receipt of one call.

The report by source: as a page and as a file.

The page about numbers that ring although nobody was shown them.

Settings, Install: what the web master puts into the site, whether it works, and which other sites asked for numbers."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from router.accounts import audit
from router.accounts.models import Project
from router.accounts.sessions import require_person
from router.attribution.decide.candidates import reach_then
from router.attribution.models import RefusedOrigin, Visit
from router.attribution.tag.install import (
    BEFORE,
    CONSENT,
    SCRIPTING,
    csp_lines,
    proxies,
    recipes,
    script_address,
    snippet,
)
from router.attribution.tracking.crawlers import STAFF, crawler_views, write_counts
from router.attribution.tracking.schema import belongs, host_and_port
from router.attribution.upkeep.rules import TOO_LOW
from router.integrations.labels import DELIVERY_STATES
from router.lib.phones import international, national, same_line
from router.reports.call_detail import how_sure, read_receipt, reasons_of
from router.reports.calls import CallFilter, calls_of, chosen_beyond, page_filter, scenario_titles
from router.reports.expected import PERIODS, Period
from router.reports.leaks import DAYS, LEAST_CALLERS, LEAST_CALLS, read_leaks
from router.reports.overview import (
    EVENT_WORDS,
    STATUS_WORDS,
    day_figures,
    failures,
    not_called_back,
    only_announced,
    receiver,
    say_channel,
    say_clock,
    say_source,
    shown_scenarios,
)
from router.reports.sources import (
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
from router.scenarios.billing.statement import harmless, project_forecast
from router.scenarios.numbers.views import number_figures, titles_of
from router.server import Server, current_server
from router.voice.models import EXTERNAL, INTERNAL, Call
from router.web.access import Audience, current_actor, current_project, guard
from router.web.api import rows_of
from router.web.charts import BarRow, bar_chart
from router.web.errors import Problem
from router.web.layout import Section, add_section, address_with
from router.web.network import host_of_pattern, registrable_domain

reports_pages = guard(Blueprint("reports", __name__), Audience.PEOPLE, require_person)

LAST_CALLS = 10
SHOWN_CANDIDATES = 8
WORTH_A_LINE = 0.01


@reports_pages.context_processor
def words() -> dict[str, Any]:
    return {
        "status_words": STATUS_WORDS,
        "delivery_states": DELIVERY_STATES,
        "say_source": say_source,
        "only_announced": only_announced,
        "address_without": lambda names: address_with(**dict.fromkeys([*names, "next"])),
    }


@reports_pages.get("/overview")
def overview() -> str:
    server, project = current_server(), current_project()
    now = server.now()
    with server.database.reading() as session:
        newest = calls_of(session, project.id, CallFilter()).order_by(Call.started_at.desc(), Call.id.desc())
        last = session.scalars(newest.limit(LAST_CALLS)).all()
        return render_template(
            "reports/overview.html",
            now=now,
            days=day_figures(session, project, now),
            weekday=f"{now.astimezone(ZoneInfo(project.timezone)):%A}",
            waiting=not_called_back(session, project, now),
            scenarios=shown_scenarios(session, project),
            too_low=TOO_LOW,
            failures=failures(session, project),
            forecast=project_forecast(session, server, project, now),
            unpaid=number_figures(session, project.id, now).grace,
            calls=last,
        )


@reports_pages.get("/calls")
def calls() -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        wanted = calls_of(session, project.id, page_filter(request.args, project, server.now()))
        rows, following = rows_of(session, wanted, (Call.started_at, Call.id), request.args)
        scenarios = scenario_titles(session, project.id)
    return render_template(
        "reports/calls.html",
        calls=rows,
        following=following,
        scenarios=scenarios,
        chosen=chosen_beyond(request.args, project, server.now()),
    )


@reports_pages.get("/calls/<int:call_id>")
def receipt(call_id: int) -> str:
    project = current_project()
    with current_server().database.reading() as session:
        found = read_receipt(session, project, call_id)
    shown, others = _worth_a_line(found.call.candidates)
    earlier, nobody = _not_listed(found.call)
    return render_template(
        "reports/receipt.html",
        receipt=found,
        call=found.call,
        shown=shown,
        others=others,
        earlier=earlier,
        reach=reach_then(found.call.decision).leases,
        remark=_remark(project, found.call),
        nobody=nobody,
        how_sure=how_sure(found.call),
        reasons=lambda candidate, visit: "; ".join(reasons_of(candidate, visit, project.timezone)),
        receiver=receiver,
        event_words=EVENT_WORDS,
        clock=lambda moment: say_clock(moment, project.timezone),
    )


def _remark(project: Project, call: Call) -> str:
    """Whose telephone an internal call came from, as the settings say it now."""
    found = (one.get("remark", "") for one in project.own_numbers if same_line(one["number"], call.caller))
    return next(found, "") if call.kind == INTERNAL else ""


def _not_listed(call: Call) -> tuple[float, float]:
    """The probability of visits before the candidates, and of nobody we know; together what the candidates leave over."""
    candidates = sum(one["probability"] for one in call.candidates)
    known = max(candidates, sum(share[1] for share in call.shares or ()))
    earlier = known - candidates
    return (earlier if earlier >= WORTH_A_LINE else 0.0), max(0.0, 1 - known)


def _worth_a_line(candidates: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], float]:
    """The visits that may well have called, at least the most probable one, and what all others come to together."""
    shown = [one for one in candidates[:SHOWN_CANDIDATES] if one["probability"] >= WORTH_A_LINE] or candidates[:1]
    return shown, sum(one["probability"] for one in candidates[len(shown) :])


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
        calls_of=lambda leak: address("reports.calls", {"q": leak.e164, "kind": EXTERNAL}),
        written=lambda leak: "\n".join(dict.fromkeys((international(leak.e164), national(leak.e164), leak.e164[1:]))),
        days=DAYS,
        least_calls=LEAST_CALLS,
        least_callers=LEAST_CALLERS,
    )


install_page = guard(Blueprint("install", __name__, url_prefix="/settings/install"), Audience.PEOPLE, require_person)


@dataclass(frozen=True)
class Lights:
    """The first visit and the first call; None until there is one."""

    visit: datetime | None
    call: datetime | None


def add_install_section(server: Server) -> None:
    add_section(server, Section("Install", "/settings/install", 20))


def read_lights(session: Session, project_id: int) -> Lights:
    visit = select(func.min(Visit.started_at)).where(Visit.project_id == project_id)
    call = select(func.min(Call.started_at)).where(Call.project_id == project_id)
    return Lights(session.scalar(visit), session.scalar(call))


@install_page.get("")
def show() -> str:
    server, project = current_server(), current_project()
    write_counts(server)
    with server.database.reading() as session:
        lights = read_lights(session, project.id)
        refused = select(RefusedOrigin).where(RefusedOrigin.project_id == project.id)
        asked = [
            one for one in session.scalars(refused.order_by(RefusedOrigin.last_at.desc())) if not _own(project, one)
        ]
        views = crawler_views(session, project, server.now())
    return render_template(
        "reports/install.html",
        lights=lights,
        refused=asked,
        staff=views.pop(STAFF),
        crawlers=sum(views.values()),
        **_texts(project, server.settings.base_url),
    )


def _texts(project: Project, server_address: str) -> dict[str, Any]:
    """What there is to copy, with the address from which the project's tag comes."""
    base_url = project.tag_address or server_address
    domain = registrable_domain(host_of_pattern(project.site[0])) or "example.com"
    return {
        "snippet": snippet(base_url, project.key),
        "script": script_address(base_url, project.key),
        "csp": "\n".join(f"{directive} {origin};" for directive, origin in csp_lines(base_url).items()),
        "recipes": recipes(base_url, project.key),
        "proxies": proxies(server_address, domain),
        "domain": domain,
        "page_of_site": f"https://{project.site[0].removeprefix('*.')}/",
        "consent": CONSENT,
        "scripting": SCRIPTING,
        "before": BEFORE,
    }


@install_page.post("/allow/<int:origin_id>")
def allow(origin_id: int) -> AnyResponse:
    """The host of a site that asked becomes one of the project's own."""
    server = current_server()
    with server.database.writing() as session:
        project = session.get_one(Project, current_project().id, with_for_update=True)
        refused = session.get(RefusedOrigin, origin_id)
        if refused is None or refused.project_id != project.id:
            raise Problem(404, "There is no such request.")
        host = _host(refused.origin)
        if host and not _own(project, refused):
            project.site, project.version = [*project.site, host], project.version + 1
        session.delete(refused)
        audit.record(session, current_actor(), server.now(), "site allowed", host, project.id)
    flash(f"Pages of {host} get tracking numbers from now on.")
    return redirect(url_for("install.show"))


def _own(project: Project, refused: RefusedOrigin) -> bool:
    found = host_and_port(refused.origin)
    return found is not None and belongs(project.site, *found)


def _host(origin: str) -> str:
    host, port = host_and_port(origin) or ("", None)
    return f"{host}:{port}" if port else host
