"""Before a scenario is enabled: what the linter finds, what would be bought and what it costs; *Connect* buys (R2, R4)."""

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.sessions import require_person
from router.scenarios.connect import Buying, buying_of, searching
from router.scenarios.documents import numbers_by_scenario, scenario_document
from router.scenarios.enabling import Enabling, enabling_of
from router.scenarios.linting.findings import Finding
from router.scenarios.models import Scenario
from router.scenarios.parts import parts_of
from router.scenarios.renting.market import look_around
from router.scenarios.renting.orders import taken_numbers
from router.scenarios.scenarios import connect_scenario, find_scenario
from router.scenarios.wizard.form import Values, element_of, values_of_document
from router.scenarios.wizard.steps import BY_NAME, Step
from router.server import current_server
from router.web import Problem

connect_pages = guard(Blueprint("connect", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)

Page = str | tuple[str, int] | Response


@connect_pages.get("/<int:scenario_id>/review")
def review(scenario_id: int) -> str:
    return _review(scenario_id)


@connect_pages.post("/<int:scenario_id>/connect")
def connect(scenario_id: int) -> Page:
    """Orders the numbers, if any are to be bought, and enables the scenario, at once or when they are there."""
    server, project, actor = current_server(), current_project(), current_actor()
    version = request.form.get("version", type=int)

    def attempt(found: Sequence[str] | None) -> tuple[Scenario, Buying | None]:
        with server.database.writing() as session:
            return connect_scenario(session, server, project, actor, scenario_id, found, server.now(), version)

    try:
        scenario, buying = searching(server, attempt)
    except Problem as refusal:
        if refusal.status not in (409, 503):
            raise
        return _review(scenario_id, refusal.detail), refusal.status
    if buying is not None:
        return redirect(url_for("buying.progress", batch_id=buying.batch))
    flash(f"{scenario.title} is on: visitors are shown its numbers.")
    return redirect(url_for("connect.review", scenario_id=scenario_id))


def _review(scenario_id: int, refusal: str = "") -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        scenario = find_scenario(session, project, scenario_id)
        enabling = enabling_of(session, server, project, scenario, server.now())
        numbers = numbers_by_scenario(session, [scenario.id])[scenario.id]
        values = values_of_document(scenario_document(session, server, scenario), parts_of(server), project.currency)
        under_way = buying_of(session, scenario)
        gone = taken_numbers(session, enabling.to_buy)
    country = str(scenario.to_buy.get("country") or project.country)
    market = look_around(server, country) if enabling.total else None
    return render_template(
        "scenarios/review.html",
        scenario=scenario,
        enabling=enabling,
        numbers=numbers,
        findings=[_placed(finding, values) for finding in enabling.findings],
        blocked=any(finding.blocks for finding in enabling.findings),
        under_way=under_way,
        gone=gone,
        done=_done(scenario, enabling),
        market=market,
        refusal=refusal,
    )


def _done(scenario: Scenario, enabling: Enabling) -> bool:
    """It is on, and there is nothing left to buy."""
    return scenario.enabled and not enabling.total


def _placed(finding: Finding, values: Values) -> tuple[Finding, Step, str]:
    """A finding with its step, and the element of it that has to be looked at."""
    return finding, BY_NAME[finding.step], element_of(finding.field, values)
