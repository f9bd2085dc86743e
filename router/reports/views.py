"""Pages about calls: the overview, the list, and the receipt of one call."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import rows_by_time
from router.accounts.models import Project
from router.accounts.sessions import require_person
from router.phones import BadPhone, read_phone
from router.reports.calls import STATUSES, CallFilter, calls_of
from router.reports.overview import day_figures, day_starts, failures, not_called_back, shown_scenarios
from router.reports.receipt import read_receipt
from router.reports.steps import how_sure, page_state
from router.reports.words import DELIVERY_WORDS, EVENT_WORDS, STATUS_WORDS, receiver, say_clock, say_source
from router.scenarios.models import Scenario
from router.scenarios.money.forecast import project_forecast
from router.scenarios.number_table import number_figures
from router.server import current_server
from router.voice.models import Call
from router.web import GREATEST_ID

reports_pages = guard(Blueprint("reports", __name__), Audience.PEOPLE, require_person)

PERIODS = {"today": 1, "7": 7, "30": 30}
LAST_CALLS = 10
SHOWN_CANDIDATES = 8
WORTH_A_LINE = 0.01


@reports_pages.context_processor
def words() -> dict[str, Any]:
    return {"status_words": STATUS_WORDS, "delivery_words": DELIVERY_WORDS, "say_source": say_source}


@reports_pages.get("/overview")
def overview() -> str:
    server, project = current_server(), current_project()
    now = server.now()
    with server.database.reading() as session:
        newest = calls_of(project.id, CallFilter()).order_by(Call.started_at.desc(), Call.id.desc())
        last = session.scalars(newest.limit(LAST_CALLS)).all()
        return render_template(
            "reports/overview.html",
            now=now,
            days=day_figures(session, project, now),
            weekday=f"{now.astimezone(ZoneInfo(project.timezone)):%A}",
            waiting=not_called_back(session, project, now),
            scenarios=shown_scenarios(session, project),
            failures=failures(session, project),
            forecast=project_forecast(session, server, project, now),
            unpaid=number_figures(session, project.id, now).grace,
            calls=last,
        )


@reports_pages.get("/calls")
def calls() -> str:
    server, project = current_server(), current_project()
    wanted = calls_of(project.id, _filter(project, server.now()))
    with server.database.reading() as session:
        rows, following = rows_by_time(session, wanted, Call.started_at, Call.id, request.args)
        scenarios = _titles(session, project)
    return render_template("reports/calls.html", calls=rows, following=following, scenarios=scenarios)


@reports_pages.get("/calls/<int:call_id>")
def receipt(call_id: int) -> str:
    project = current_project()
    with current_server().database.reading() as session:
        found = read_receipt(session, project, call_id)
    shown, others = _worth_a_line(found.call.candidates)
    return render_template(
        "reports/receipt.html",
        receipt=found,
        call=found.call,
        shown=shown,
        others=others,
        nobody=max(0.0, 1 - sum(one["probability"] for one in found.call.candidates)),
        how_sure=how_sure(found.call),
        page_state=page_state,
        receiver=receiver,
        event_words=EVENT_WORDS,
        clock=lambda moment: say_clock(moment, project.timezone),
    )


def _worth_a_line(candidates: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], float]:
    """The visits that may well have called, at least the most probable one, and what all others come to together."""
    shown = [one for one in candidates[:SHOWN_CANDIDATES] if one["probability"] >= WORTH_A_LINE] or candidates[:1]
    return shown, sum(one["probability"] for one in candidates[len(shown) :])


def _filter(project: Project, now: datetime) -> CallFilter:
    """From the address; what a page does not offer is passed over."""
    status, scenario = request.args.get("status", ""), request.args.get("scenario", 0, int)
    days = PERIODS.get(request.args.get("period", ""))
    return CallFilter(
        status=status if status in STATUSES else None,
        scenario=scenario if 0 < scenario <= GREATEST_ID else None,
        since=day_starts(project.timezone, now, days)[0] if days else None,
        party=_party(request.args.get("q", ""), project.country),
    )


def _party(typed: str, country: str) -> str | None:
    """The number that was typed, or its digits when it is only a part of one."""
    typed = typed.replace("\0", "").strip()
    try:
        return read_phone(typed, country)
    except BadPhone:
        return "".join(sign for sign in typed if sign.isdigit()) or typed or None


def _titles(session: Session, project: Project) -> list[tuple[int, str]]:
    """Scenarios that a list of calls can be limited to; deleted ones keep their calls."""
    found = session.execute(
        select(Scenario.id, Scenario.title, Scenario.deleted_at)
        .where(Scenario.project_id == project.id)
        .order_by(Scenario.deleted_at.is_not(None), Scenario.title)
    )
    return [(row.id, row.title + (" (deleted)" if row.deleted_at else "")) for row in found]
