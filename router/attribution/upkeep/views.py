"""The page of a scenario's upkeep (R9): its switch and limits, what it would do now, and each day's decision with its reason. The same for
programs, with a run now or a dry one."""

from typing import Any, Literal

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.ledger import price_of
from router.accounts.sessions import require_person, require_token
from router.attribution.models import UpkeepRun
from router.attribution.upkeep.service import (
    check_may_run,
    most_numbers,
    plan_upkeep,
    pool_size,
    run_upkeep,
    spent_by_upkeep,
    todays_run,
)
from router.lib.formats import GREATEST_ID, day_of, parse_int, parse_money, plain_money
from router.scenarios.documents import present_scenarios
from router.scenarios.models import Scenario
from router.scenarios.service import change_scenario, find_scenario, switch_upkeep
from router.server import current_server
from router.web.access import Audience, current_project, guard
from router.web.api import described, parse, rows_of
from router.web.errors import Problem, Refused, iso, read_json
from router.web.filters import values_of
from router.web.forms import row_action

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
    most, limit = scenario.upkeep_max_numbers, scenario.upkeep_spending_limit_minor
    values = {
        "max_numbers": "" if most is None else str(most),
        "spending_limit_minor": "" if limit is None else plain_money(limit, project.currency),
    }
    return _page(scenario, values, {}, planned=planned)


@upkeep_pages.post("/switch")
def switch(scenario_id: int) -> Response:
    on = bool(request.form.get("on"))

    def do() -> str:
        with changing() as change:
            switch_upkeep(change, scenario_id, on)
        return "Upkeep is on: it decides once a day." if on else "Upkeep is off: the numbers stay as they are."

    return row_action(do, url_for("upkeep.show", scenario_id=scenario_id))


@upkeep_pages.post("")
def limits(scenario_id: int) -> Page:
    """Stores the limits; nobody else's change is overwritten, because nothing else of the scenario is touched."""
    server, project, values = current_server(), current_project(), values_of(request.form)
    errors: dict[str, str] = {}
    typed: dict[str, int | None] = {"max_numbers": None, "spending_limit_minor": None}  # None where nothing was typed
    if text := values.get("max_numbers", "").strip():
        typed["max_numbers"] = parse_int(text, greatest=99_999)
        if typed["max_numbers"] is None:
            errors["max_numbers"] = "Write a whole number, like 40."
    if text := values.get("spending_limit_minor", "").strip():
        try:
            typed["spending_limit_minor"] = parse_money(text, project.currency)
        except ValueError as error:
            errors["spending_limit_minor"] = str(error)

    def edit(present: dict[str, Any]) -> dict[str, Any]:
        return present | {"upkeep": present["upkeep"] | typed}

    try:
        if errors:
            raise Refused(errors)
        with changing() as change:
            change_scenario(change, scenario_id, edit)
    except Refused as refusal:
        errors = {field.rpartition(".")[2]: sentence for field, sentence in refusal.errors.items()}
        with server.database.reading() as session:
            scenario = find_scenario(session, project, scenario_id)
        return _page(scenario, values, errors), 422
    flash("The limits are stored.")
    return redirect(url_for("upkeep.show", scenario_id=scenario_id))


def _page(scenario: Scenario, values: dict[str, str], errors: dict[str, str], planned: Any = None) -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        numbers, price = pool_size(session, scenario), price_of(server.settings, project)
        spent = spent_by_upkeep(session, scenario, price, server.now()) if price else 0
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
        numbers=numbers,
        price=price,
        spent=spent,
        twice=most_numbers(scenario, numbers) if scenario.upkeep_max_numbers is None else None,
        today=day_of(server.now(), project.timezone),
    )


upkeep_api = guard(
    Blueprint("upkeep_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/upkeep"),
    Audience.PROGRAMS,
    require_token,
)


class RunShape(BaseModel):
    """Which scenario (without one: all with upkeep), and whether anything is done."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dry_run: bool = True
    scenario: int | None = None


class RunDocument(BaseModel):
    """A day's decision and why. `needed`: the smallest pool that would do; `wanted`: what the rule asked for; `count`: what the limits
    left of it. A dry run has neither `id` nor `at`."""

    id: int | None = None
    at: str | None = None
    scenario: int
    title: str
    day: str
    accuracy: int | None
    numbers: int
    needed: int | None
    action: Literal["buy", "release", "nothing"]
    wanted: int
    count: int
    why: str


class RunsDocument(BaseModel):
    """What was decided, or would be."""

    dry_run: bool
    items: list[RunDocument]


class RunsQuery(BaseModel):
    scenario: int | None = None


def run_document(run: UpkeepRun, title: str) -> dict[str, Any]:
    names = ("accuracy", "numbers", "needed", "action", "wanted", "count", "why")
    told = {"id": run.id, "scenario": run.scenario_id, "title": title, "day": run.day, "at": iso(run.at)}
    return told | {name: getattr(run, name) for name in names}


@upkeep_api.get("")
@described(answer=RunDocument, is_list=True, query=RunsQuery)
def get_upkeep(project_id: int) -> dict[str, Any]:
    """List what upkeep decided, newest first."""
    runs = select(UpkeepRun).where(UpkeepRun.project_id == project_id)
    if text := request.args.get("scenario", ""):
        scenario_id = parse_int(text)
        if scenario_id is None:
            raise Problem(422, "“scenario” is the id of a scenario.", "scenario")
        runs = runs.where(UpkeepRun.scenario_id == scenario_id)
    with current_server().database.reading() as session:
        rows, following = rows_of(session, runs, UpkeepRun.id, request.args)
        scenarios = select(Scenario.id, Scenario.title).where(Scenario.id.in_({row.scenario_id for row in rows}))
        titles = {scenario.id: scenario.title for scenario in session.execute(scenarios)}
    return {"items": [run_document(row, titles[row.scenario_id]) for row in rows], "next": following}


@upkeep_api.post("/run")
@described(body=RunShape, answer=RunsDocument, needs_body=False)
def post_run(project_id: int) -> dict[str, Any]:
    """Decide for today now, or say with `dry_run` (the default) what would be decided; a day that is decided is answered as it was."""
    asked = parse(RunShape, read_json(request, may_be_absent=True))
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        if asked.scenario is None:
            with_upkeep = present_scenarios(project.id).where(Scenario.upkeep_on, Scenario.enabled)
            scenarios = list(session.scalars(with_upkeep.order_by(Scenario.id)))
        elif 0 < asked.scenario <= GREATEST_ID:
            scenarios = [find_scenario(session, project, asked.scenario)]
        else:
            raise Problem(404, "There is no such scenario.")
    if not asked.dry_run and asked.scenario is not None:
        check_may_run(project, scenarios[0])
    documents = []
    for scenario in scenarios:
        if not asked.dry_run and project.suspended_at is None:
            run_upkeep(server, scenario.id, server.now())
        with server.database.reading() as session:
            if asked.dry_run:
                planned = plan_upkeep(session, server, project, scenario, server.now())
                today = {
                    "scenario": scenario.id,
                    "title": scenario.title,
                    "day": day_of(server.now(), project.timezone),
                }
                documents.append(today | planned.values())
            elif run := todays_run(session, project, scenario, server.now()):
                documents.append(run_document(run, scenario.title))
            # else the carrier could not be asked, and will be again
    return {"dry_run": asked.dry_run, "items": documents}
