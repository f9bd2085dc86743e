"""The page of a scenario's upkeep (R9): its switch and limits, what it would do now, and each day's decision with its reason."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.api_habits import rows_of
from router.accounts.filters import values_of
from router.accounts.ledger import price_of
from router.accounts.sessions import require_person
from router.attribution.models import UpkeepRun
from router.attribution.upkeep_facts import most_numbers, pool_size, spent_by_upkeep
from router.attribution.upkeep_run import day_of, plan_upkeep
from router.money import plain_money, read_money
from router.scenarios.models import Scenario
from router.scenarios.refusal import Refused
from router.scenarios.scenarios import change_scenario, find_scenario
from router.scenarios.switches import switch_upkeep
from router.server import current_server
from router.web import Problem

upkeep_pages = guard(
    Blueprint("upkeep", __name__, url_prefix="/scenarios/<int:scenario_id>/upkeep"), Audience.PEOPLE, require_person
)

Page = str | tuple[str, int] | Response


@upkeep_pages.get("")
def show(scenario_id: int) -> str:
    """With `?now=1` also what would be decided at this moment."""
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        scenario = find_scenario(session, project, scenario_id)
        planned = plan_upkeep(session, server, project, scenario, server.now()) if request.args.get("now") else None
    return _page(scenario, _values(scenario), {}, planned=planned)


@upkeep_pages.post("/switch")
def switch(scenario_id: int) -> Response:
    server, on = current_server(), bool(request.form.get("on"))
    try:
        with server.database.writing() as session:
            switch_upkeep(session, current_project(), current_actor(), scenario_id, on, server.now())
    except Problem as refusal:
        if refusal.status != 409:
            raise
        flash(refusal.detail, "bad")
    else:
        flash("Upkeep is on: it decides once a day." if on else "Upkeep is off: the numbers stay as they are.")
    return redirect(url_for("upkeep.show", scenario_id=scenario_id))


@upkeep_pages.post("")
def limits(scenario_id: int) -> Page:
    """Stores the limits; nobody else's change is overwritten, because nothing else of the scenario is touched."""
    server, project, values = current_server(), current_project(), values_of(request.form)
    errors: dict[str, str] = {}
    try:
        wanted = _read_limits(values, project.currency)
        with server.database.writing() as session:
            change_scenario(
                session,
                server,
                project,
                current_actor(),
                scenario_id,
                lambda present: present | {"upkeep": present["upkeep"] | wanted},
                None,
                server.now(),
            )
    except Refused as refusal:
        errors = {field.rpartition(".")[2]: sentence for field, sentence in refusal.errors.items()}
        with server.database.reading() as session:
            scenario = find_scenario(session, project, scenario_id)
        return _page(scenario, values, errors), 422
    flash("The limits are stored.")
    return redirect(url_for("upkeep.show", scenario_id=scenario_id))


def _read_limits(values: dict[str, str], currency: str) -> dict[str, int | None]:
    """None where nothing was typed.

    Raises:
        Refused: what was typed is no limit.
    """
    errors: dict[str, str] = {}
    found: dict[str, int | None] = {"max_numbers": None, "spending_limit_minor": None}
    if text := values.get("max_numbers", "").strip():
        if text.isascii() and text.isdigit() and len(text) < 6:
            found["max_numbers"] = int(text)
        else:
            errors["max_numbers"] = "Write a whole number, like 40."
    if text := values.get("spending_limit_minor", "").strip():
        try:
            found["spending_limit_minor"] = read_money(text, currency)
        except ValueError as error:
            errors["spending_limit_minor"] = str(error)
    if errors:
        raise Refused(errors)
    return found


def _values(scenario: Scenario) -> dict[str, str]:
    most, limit = scenario.upkeep_max_numbers, scenario.upkeep_spending_limit_minor
    return {
        "max_numbers": "" if most is None else str(most),
        "spending_limit_minor": "" if limit is None else plain_money(limit, current_project().currency),
    }


def _page(scenario: Scenario, values: dict[str, str], errors: dict[str, str], planned: Any = None) -> str:
    with current_server().database.reading() as session:
        facts = _facts(session, scenario)
        runs = select(UpkeepRun).where(UpkeepRun.scenario_id == scenario.id)
        rows, following = rows_of(session, runs, UpkeepRun.id, request.args)
    return render_template(
        "attribution/upkeep.html",
        scenario=scenario,
        values=values,
        errors=errors,
        planned=planned,
        runs=rows,
        following=following,
        **facts,
    )


def _facts(session: Session, scenario: Scenario) -> dict[str, Any]:
    server, project = current_server(), current_project()
    numbers, price = pool_size(session, scenario), price_of(server.settings, project)
    return {
        "numbers": numbers,
        "price": price,
        "spent": spent_by_upkeep(session, scenario, price, server.now()) if price else 0,
        "twice": most_numbers(scenario, numbers) if scenario.upkeep_max_numbers is None else None,
        "today": day_of(project.timezone, server.now()),
    }
