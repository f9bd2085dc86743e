"""Upkeep for programs: each day's decision, and a run now or a dry one."""

from typing import Any, Literal

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import parse, rows_of
from router.accounts.models import Project
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.attribution.models import UpkeepRun
from router.attribution.upkeep_run import check_may_run, plan_upkeep, run_document, run_upkeep, todays_run
from router.scenarios.models import Scenario
from router.scenarios.scenarios import find_scenario, present_scenarios
from router.server import current_server
from router.web import GREATEST_ID, Problem, read_json

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


@upkeep_api.get("")
@described(answer=RunDocument, is_list=True, query=("scenario",))
def get_upkeep(project_id: int) -> dict[str, Any]:
    """List what upkeep decided, newest first."""
    wanted = select(UpkeepRun).where(UpkeepRun.project_id == project_id)
    if text := request.args.get("scenario", ""):
        wanted = wanted.where(UpkeepRun.scenario_id == _id(text))
    with current_server().database.reading() as session:
        rows, following = rows_of(session, wanted, UpkeepRun.id, request.args)
        titles = _titles(session, {row.scenario_id for row in rows})
    return {"items": [run_document(row, titles[row.scenario_id]) for row in rows], "next": following}


@upkeep_api.post("/run")
@described(body=RunShape, answer=RunsDocument, needs_body=False)
def post_run(project_id: int) -> dict[str, Any]:
    """Decide for today now, or say with `dry_run` (the default) what would be decided; a day that is decided is answered as it was."""
    wanted = parse(RunShape, read_json(request, may_be_absent=True))
    project = current_project()
    with current_server().database.reading() as session:
        scenarios = _scenarios(session, project, wanted)
    if not wanted.dry_run and wanted.scenario is not None:
        check_may_run(project, scenarios[0])
    documents = [_dry(project, one) if wanted.dry_run else _run(project, one) for one in scenarios]
    return {"dry_run": wanted.dry_run, "items": [one for one in documents if one is not None]}


def _scenarios(session: Session, project: Project, wanted: RunShape) -> list[Scenario]:
    if wanted.scenario is not None:
        if not 0 < wanted.scenario <= GREATEST_ID:
            raise Problem(404, "There is no such scenario.")
        return [find_scenario(session, project, wanted.scenario)]
    found = present_scenarios(project.id).where(Scenario.upkeep_on, Scenario.enabled)
    return list(session.scalars(found.order_by(Scenario.id)))


def _dry(project: Project, scenario: Scenario) -> dict[str, Any]:
    server = current_server()
    with server.database.reading() as session:
        return plan_upkeep(session, server, project, scenario, server.now()).document()


def _run(project: Project, scenario: Scenario) -> dict[str, Any] | None:
    """Today's decision; None when the carrier could not be asked and will be again."""
    server = current_server()
    if project.suspended_at is None:
        run_upkeep(server, scenario.id, server.now())
    with server.database.reading() as session:
        run = todays_run(session, project, scenario, server.now())
    return run_document(run, scenario.title) if run else None


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= GREATEST_ID):
        raise Problem(422, "“scenario” is the id of a scenario.", "scenario")
    return int(text)


def _titles(session: Session, ids: set[int]) -> dict[int, str]:
    return {
        row.id: row.title for row in session.execute(select(Scenario.id, Scenario.title).where(Scenario.id.in_(ids)))
    }
