"""Pages about calls: the overview, the list, and the receipt of one call."""

from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, render_template, request

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import rows_by_time
from router.accounts.frame import address_with
from router.accounts.models import Project
from router.accounts.sessions import require_person
from router.attribution.candidates import reach_then
from router.phones import same_line
from router.reports.calls import CallFilter, calls_of, scenario_titles
from router.reports.list_filter import chosen_beyond, page_filter
from router.reports.overview import day_figures, failures, not_called_back, shown_scenarios
from router.reports.reasons import reasons_of
from router.reports.receipt import read_receipt
from router.reports.steps import how_sure
from router.reports.words import (
    DELIVERY_WORDS,
    EVENT_WORDS,
    STATUS_WORDS,
    only_announced,
    receiver,
    say_clock,
    say_source,
)
from router.scenarios.money.forecast import project_forecast
from router.scenarios.number_table import number_figures
from router.server import current_server
from router.voice.models import INTERNAL, Call

reports_pages = guard(Blueprint("reports", __name__), Audience.PEOPLE, require_person)

LAST_CALLS = 10
SHOWN_CANDIDATES = 8
WORTH_A_LINE = 0.01


@reports_pages.context_processor
def words() -> dict[str, Any]:
    return {
        "status_words": STATUS_WORDS,
        "delivery_words": DELIVERY_WORDS,
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
        rows, following = rows_by_time(session, wanted, Call.started_at, Call.id, request.args)
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
