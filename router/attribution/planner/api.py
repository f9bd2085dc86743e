"""Pool plans for programs: asking for one, and reading the last one."""

from typing import Any

from flask import Blueprint, request

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import parse
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.attribution.models import PoolPlan
from router.attribution.planner.making import ask_plan
from router.attribution.planner.shapes import PlanDocument, TrafficShape
from router.attribution.planner.showing import costs_of, plan_document
from router.scenarios.scenarios import find_scenario
from router.server import current_server
from router.web import Problem, read_json

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
