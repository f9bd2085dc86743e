"""The page of the pool planner: what fewer and more numbers would have told, made by the worker while the page waits."""

from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import parse
from router.accounts.filters import values_of
from router.accounts.sessions import require_person
from router.attribution.models import PoolPlan
from router.attribution.planner.making import ask_plan
from router.attribution.planner.plan import trust
from router.attribution.planner.shapes import TrafficShape
from router.attribution.planner.showing import costs_of, plan_state, seconds_left, shown, trial_count
from router.scenarios.models import Scenario
from router.scenarios.scenarios import find_scenario
from router.server import current_server
from router.web import Problem

plan_pages = guard(
    Blueprint("plan", __name__, url_prefix="/scenarios/<int:scenario_id>/plan"), Audience.PEOPLE, require_person
)

Page = str | tuple[str, int] | Response
TYPED = {"visits_per_hour": "", "callers": "6", "sources": "12"}
NO_BREAK = "\u00a0"


@plan_pages.get("")
def show(scenario_id: int) -> str:
    with current_server().database.reading() as session:
        scenario = find_scenario(session, current_project(), scenario_id)
        return _page(scenario, session.get(PoolPlan, scenario_id), {}, {})


@plan_pages.post("")
def ask(scenario_id: int) -> Page:
    """Asks for a plan by the scenario's own visits and calls, or by a described traffic."""
    server, project, values = current_server(), current_project(), values_of(request.form)
    with server.database.reading() as session:
        scenario = find_scenario(session, project, scenario_id)
        present = session.get(PoolPlan, scenario_id)
    described, errors = _read(values) if values.get("by") == "described" else (None, {})
    if errors:
        return _page(scenario, present, values, errors), 422
    with server.database.writing() as session:
        ask_plan(session, find_scenario(session, project, scenario_id), described, server.now())
    return redirect(url_for("plan.show", scenario_id=scenario_id))


def _read(values: dict[str, str]) -> tuple[TrafficShape | None, dict[str, str]]:
    """The described traffic, or what is wrong with what was typed."""
    read = {name: _number(values.get(name, "")) for name in TYPED}
    errors = {name: "Write a number, like 12." for name, value in read.items() if value is None}
    given = {"visits_per_hour": read["visits_per_hour"], "callers": (read["callers"] or 0) / 100}
    sources = read["sources"] or 0
    given["sources"] = int(sources) if sources == int(sources) else -1
    if errors:
        return None, errors
    try:
        return parse(TrafficShape, given), {}
    except Problem as refusal:
        return None, {field: SENTENCES[field] for field in refusal.more["errors"]}


SENTENCES = {
    "visits_per_hour": "Write a number from 0.1 to 10000.",
    "callers": "Write a number from 0.1 to 50.",
    "sources": "Write a whole number from 1 to 100.",
}


def _number(text: str) -> float | None:
    """What a person typed: `12`, `0.5`, `0,5`; None when it is no such number."""
    plain = text.strip().replace(",", ".")
    digits = plain.replace(".", "", 1)
    return float(plain) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _page(scenario: Scenario, plan: PoolPlan | None, typed: dict[str, str], errors: dict[str, str]) -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        costs = costs_of(session, server.settings, project)
    facts, values = dict[str, Any](), TYPED | typed
    if plan is not None:
        facts = {"state": plan_state(plan), "made": shown(plan, costs), "left": seconds_left(plan)}
        first_at = (plan.facts or {}).get("first_at")
        facts |= {"first_at": datetime.fromisoformat(first_at) if first_at else None}
        made, values = facts["made"], TYPED | described_values(plan) | typed
        facts |= {"findings": [unbroken(one, costs.in_currency) for one in made.findings] if made else []}
        facts |= {"trials": trial_count(plan), "trust": trust((plan.facts or {}).get("calls", 0))}
    return render_template(
        "attribution/plan.html", scenario=scenario, plan=plan, costs=costs, values=values, errors=errors, **facts
    )


def described_values(plan: PoolPlan) -> dict[str, str]:
    """What the form shows again of a described traffic."""
    inputs = plan.inputs
    if not inputs:
        return {}
    return {
        "visits_per_hour": f"{inputs['visits_per_hour']:g}",
        "callers": f"{100 * inputs['callers']:g}",
        "sources": str(inputs["sources"]),
    }


def unbroken(sentence: str, currency: str) -> str:
    """No line ends between a figure and what it is in."""
    return sentence.replace(" %", f"{NO_BREAK}%").replace(f" {currency}", f"{NO_BREAK}{currency}")
