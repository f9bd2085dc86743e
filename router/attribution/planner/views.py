"""Pool plans for people, for programs and on the console: what fewer and more numbers would have told. The worker makes those that pages
and programs ask for; the command makes its own at once, and `router.cli` passes it a function that makes the server."""

import json
from datetime import datetime
from typing import Any

import click
from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.cli import Opener, opened
from router.accounts.models import Project
from router.accounts.sessions import require_person, require_token
from router.attribution.models import PoolPlan
from router.attribution.planner.jobs import NothingToGoBy, ask_plan, prepare
from router.attribution.planner.plan import (
    MadePlan,
    PlanDocument,
    TrafficShape,
    costs_of,
    made_plan,
    plan_document,
    plan_state,
    seconds_left,
    trial_count,
    trust,
)
from router.lib.formats import GREATEST_ID, format_count, format_percent
from router.scenarios.models import Scenario
from router.scenarios.service import find_scenario
from router.server import current_server
from router.web.access import Audience, current_project, guard
from router.web.api import described, parse
from router.web.errors import Problem, read_json
from router.web.filters import values_of

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
    read: dict[str, float | None] = {}
    for name in TYPED:  # `12`, `0.5`, `0,5`
        plain = values.get(name, "").strip().replace(",", ".")
        digits = plain.replace(".", "", 1)
        is_number = digits.isascii() and digits.isdigit() and len(digits) < 10
        read[name] = float(plain) if is_number else None
    errors = {name: "Write a number, like 12." for name, value in read.items() if value is None}
    if errors:
        return None, errors
    sources = read["sources"] or 0
    shape = {"visits_per_hour": read["visits_per_hour"], "callers": (read["callers"] or 0) / 100}
    try:
        return parse(TrafficShape, shape | {"sources": int(sources) if sources == int(sources) else -1}), {}
    except Problem as refusal:
        return None, {field: SENTENCES[field] for field in refusal.more["errors"]}


SENTENCES = {
    "visits_per_hour": "Write a number from 0.1 to 10000.",
    "callers": "Write a number from 0.1 to 50.",
    "sources": "Write a whole number from 1 to 100.",
}


def _page(scenario: Scenario, plan: PoolPlan | None, typed: dict[str, str], errors: dict[str, str]) -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        costs = costs_of(session, server.settings, project)
    facts, values = dict[str, Any](), dict(TYPED)
    if plan is not None:
        made = made_plan(plan, costs)
        facts = {"state": plan_state(plan), "made": made, "left": seconds_left(plan), "trials": trial_count(plan)}
        if made is not None:  # no line ends between a figure and what it is in
            currency = costs.in_currency
            facts["findings"] = [
                sentence.replace(" %", f"{NO_BREAK}%").replace(f" {currency}", f"{NO_BREAK}{currency}")
                for sentence in made.findings
            ]
            known = plan.facts or {}
            facts["worth"] = trust(known["calls"])
            if first_at := known.get("first_at"):
                facts["first_at"] = datetime.fromisoformat(first_at)
        if inputs := plan.inputs:
            values["visits_per_hour"] = f"{inputs['visits_per_hour']:g}"
            values["callers"], values["sources"] = f"{100 * inputs['callers']:g}", str(inputs["sources"])
    values |= typed
    return render_template(
        "attribution/plan.html", scenario=scenario, plan=plan, costs=costs, values=values, errors=errors, **facts
    )


plan_api = guard(
    Blueprint("plan_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/scenarios/<int:scenario_id>/plan"),
    Audience.PROGRAMS,
    require_token,
)


@plan_api.get("")
@described(answer=PlanDocument)
def get_plan(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Read the last plan of a scenario's pool, as far as it is made."""
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        plan = session.get(PoolPlan, find_scenario(session, project, scenario_id).id)
        if plan is None:
            raise Problem(404, "No plan was asked for yet: POST to this address asks for one.")
        return plan_document(plan, costs_of(session, server.settings, project))


@plan_api.post("")
@described(body=TrafficShape, answer=PlanDocument, status=202, needs_body=False)
def post_plan(project_id: int, scenario_id: int) -> tuple[dict[str, Any], int]:
    """Ask for a plan by a described traffic or, without a body, by the scenario's own visits and calls; the worker makes it."""
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        find_scenario(session, project, scenario_id)
    body = read_json(request, may_be_absent=True)
    traffic = parse(TrafficShape, body) if body else None
    with server.database.writing() as session:
        plan = ask_plan(session, find_scenario(session, project, scenario_id), traffic, server.now())
        return plan_document(plan, costs_of(session, server.settings, project)), 202


@click.command("plan")
@click.option(
    "--scenario", "scenario_id", type=click.IntRange(1, GREATEST_ID), required=True, help="The scenario's id."
)
@click.option("--visits-per-hour", type=float, help="Try a described traffic instead of the scenario's own.")
@click.option("--callers", type=float, default=0.06, show_default=True, help="The share of visits that call.")
@click.option("--sources", type=int, default=12, show_default=True, help="How many marketing sources there are.")
@click.option("--hours", type=float, help="How many hours of it; without: as many as bring 16,000 visits.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed describes the same traffic.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def plan(open_server: Opener, /, scenario_id: int, as_json: bool, **options: Any) -> None:
    """Say what a scenario's pool would tell with fewer and with more numbers."""
    described = None
    if options["visits_per_hour"] is not None:
        try:
            described = parse(TrafficShape, {name: value for name, value in options.items() if value is not None})
        except Problem as refusal:
            option = f"--{refusal.field.replace('_', '-')}: " if refusal.field else ""
            raise click.ClickException(f"{option}{refusal.detail}") from None
    with opened(open_server) as server:
        with server.database.reading() as session:
            scenario = session.get(Scenario, scenario_id)
            if scenario is None or scenario.deleted_at is not None:
                raise click.ClickException(f"There is no scenario {scenario_id}.")
            costs = costs_of(session, server.settings, session.get_one(Project, scenario.project_id))
            try:
                trials = prepare(session, server, scenario, described, server.now())
            except NothingToGoBy as sentence:
                raise click.ClickException(f"{sentence} Say --visits-per-hour.") from None
        made = MadePlan(trials.run(), trials.facts["aim"], trials.facts["numbers"], costs)
    if as_json:
        document = {name: trials.facts[name] for name in ("numbers", "aim", "visits", "calls")} | made.document()
        click.echo(json.dumps(document, indent=2))
    else:
        lines = [
            *(scenario.title, *made.findings, ""),
            f"{'':>9}  {'by visit':^23}  {'by advertisement':^23}",
            f"{'numbers':>9}  " + "  ".join([f"{'advertisement':>13} {'visit':>9}"] * 2) + "  cost a week",
        ]
        for size in made.sizes:
            both = [point for aim in ("visit", "source") if (point := made.at(size, aim))]
            shares = "  ".join(
                f"{format_percent(point.right_source):>13} {format_percent(point.right_visit):>9}" for point in both
            )
            mark = "  today" if size == made.today else ""
            lines.append(f"{size:>9}  {shares}  {costs.say(size) or '-':>11}{mark}")
        calls = trials.facts["calls"]
        tried = f"{format_count(trials.facts['visits'], 'visit')} and {format_count(calls, 'call')} were tried."
        click.echo("\n".join([*lines, "", f"{tried} {trust(calls)}".rstrip()]))
