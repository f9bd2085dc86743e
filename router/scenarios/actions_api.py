"""What programs do with a scenario beside reading and writing it: enable, disable, lint, duplicate."""

from typing import Any

from flask import Blueprint, request

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.api_habits import merged
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.scenarios.answers import FindingsDocument, ScenarioBody, ScenarioChange, ScenarioDocument
from router.scenarios.connect import searching
from router.scenarios.documents import scenario_document
from router.scenarios.duplicate import duplicate_scenario
from router.scenarios.linting.lint import lint
from router.scenarios.scenarios import connect_scenario, editable, find_scenario, switch_scenario
from router.server import current_server
from router.web import read_json

scenario_actions_api = guard(
    Blueprint("scenario_actions_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/scenarios"),
    Audience.PROGRAMS,
    require_token,
)


@scenario_actions_api.post("/<int:scenario_id>/enable")
@described(answer=ScenarioDocument)
def post_enable(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Enable a scenario and buy what it is to buy; 409 with `missing_minor` when the balance does not cover it."""
    server, project, actor = current_server(), current_project(), current_actor()

    def attempt(found: Any) -> dict[str, Any]:
        with server.database.writing() as session:
            scenario, buying = connect_scenario(session, server, project, actor, scenario_id, found, server.now())
            document = scenario_document(session, server, scenario)
        return document | ({"buying": buying.document()} if buying else {})

    return searching(server, attempt)


@scenario_actions_api.post("/<int:scenario_id>/disable")
@described(answer=ScenarioDocument)
def post_disable(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Disable a scenario: nobody is shown its numbers any more, calls to them still go through."""
    server = current_server()
    with server.database.writing() as session:
        scenario = switch_scenario(
            session, server, current_project(), current_actor(), scenario_id, False, server.now()
        )
        session.flush()
        return scenario_document(session, server, scenario)


@scenario_actions_api.get("/<int:scenario_id>/lint")
@described(answer=FindingsDocument)
def get_lint(project_id: int, scenario_id: int) -> dict[str, Any]:
    """What should be looked at in a scenario before it is enabled."""
    return _linted(scenario_id, {})


@scenario_actions_api.post("/<int:scenario_id>/lint")
@described(body=ScenarioChange, answer=FindingsDocument, is_patch=True, needs_body=False)
def post_lint_of_change(project_id: int, scenario_id: int) -> dict[str, Any]:
    """What should be looked at in a scenario, or if it were changed by this merge patch; nothing is stored."""
    patch = read_json(request, may_be_absent=True)
    patch.pop("version", None)
    return _linted(scenario_id, patch)


@scenario_actions_api.post("/lint")
@described(body=ScenarioBody, answer=FindingsDocument)
def post_lint(project_id: int) -> dict[str, Any]:
    """What should be looked at in a scenario that is not stored."""
    return _linted(None, read_json(request))


def _linted(scenario_id: int | None, patch: dict[str, Any]) -> dict[str, Any]:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        present: dict[str, Any] = {}
        if scenario_id is not None:
            scenario = find_scenario(session, project, scenario_id)
            present = editable(scenario_document(session, server, scenario))
        findings = lint(session, server, project, scenario_id, merged(present, patch))
    return {"items": [finding.document() for finding in findings]}


@scenario_actions_api.post("/<int:scenario_id>/duplicate")
@described(answer=ScenarioDocument, status=201)
def post_duplicate(project_id: int, scenario_id: int) -> tuple[dict[str, Any], int]:
    """Copy a scenario with its integrations, disabled and without numbers."""
    server = current_server()
    with server.database.writing() as session:
        scenario = duplicate_scenario(session, server, current_project(), current_actor(), scenario_id, server.now())
        return scenario_document(session, server, scenario), 201
