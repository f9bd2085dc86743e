"""Scenarios for programs: read, write, enable, disable, lint, duplicate and delete them."""

from typing import Any, Literal

from flask import Blueprint, request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from router.accounts.audit import changing
from router.accounts.sessions import require_token
from router.lib.phones import phone_or
from router.scenarios.documents import Document, editable, present_scenarios, scenario_document, scenario_documents
from router.scenarios.enable import buying_of, searching, stay_disabled
from router.scenarios.flows import flow_secret
from router.scenarios.lint import lint
from router.scenarios.models import Scenario
from router.scenarios.schema import (
    FindingsDocument,
    FlowSecretDocument,
    ScenarioBody,
    ScenarioChange,
    ScenarioDocument,
    ScenarioPatch,
)
from router.scenarios.service import (
    Secrets,
    change_scenario,
    connect_scenario,
    create_scenario,
    delete_with_numbers,
    duplicate_scenario,
    find_scenario,
    switch_scenario,
)
from router.server import current_server
from router.web.access import Audience, current_project, guard
from router.web.api import described, merged, rows_of, take_version
from router.web.errors import Problem, read_json

scenarios_api = guard(
    Blueprint("scenarios_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)

Answer = tuple[dict[str, Any], int]


@scenarios_api.post("/scenarios")
@described(body=ScenarioBody, answer=ScenarioDocument, status=201)
def post_scenario(project_id: int) -> Answer:
    """Make a scenario; `secrets` of the answer holds those that were made, this once."""
    body = read_json(request)

    def attempt(found: Any) -> dict[str, Any]:
        with changing() as change:
            return _answer(change.session, *create_scenario(change, body, found))

    return searching(current_server(), attempt), 201


@scenarios_api.get("/scenarios")
@described(answer=ScenarioDocument, is_list=True)
def get_scenarios(project_id: int) -> dict[str, Any]:
    """List the project's scenarios, newest first."""
    server = current_server()
    with server.database.reading() as session:
        rows, following = rows_of(session, present_scenarios(project_id), Scenario.id, request.args)
        return {"items": scenario_documents(session, server, rows), "next": following}


@scenarios_api.post("/flow-secret")
@described(answer=FlowSecretDocument)
def post_flow_secret(project_id: int) -> dict[str, str]:
    """Tell the secret by which the project's systems check the questions that flows ask them."""
    return {"secret": flow_secret(current_server().keys, project_id)}


@scenarios_api.get("/scenarios/<int:scenario_id>")
@described(answer=ScenarioDocument)
def get_scenario(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Read one scenario."""
    server = current_server()
    with server.database.reading() as session:
        return scenario_document(session, server, find_scenario(session, current_project(), scenario_id))


@scenarios_api.patch("/scenarios/<int:scenario_id>")
@described(body=ScenarioPatch, answer=ScenarioDocument, is_patch=True)
def patch_scenario(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Change a scenario by a JSON merge patch with the version that was read; 409 when somebody was faster."""
    patch = read_json(request)
    version = take_version(patch)
    if isinstance(static := patch.get("static"), dict):
        # as numbers are stored, so that the patch meets what is there
        country = current_project().country
        patch["static"] = {phone_or(text, country, otherwise=text): source for text, source in static.items()}
    # null takes away what stands there; of the two forms of channels an absent one would say nothing
    empty: dict[str, Any] = {"channels": [], "static": {}}
    emptied = {name: empty[name] for name in empty if patch.get(name, 0) is None}

    def edit(present: Document) -> Document:
        return _patched(present, patch) | emptied

    def attempt(found: Any) -> dict[str, Any]:
        with changing() as change:
            scenario, secrets = change_scenario(change, scenario_id, edit, version, found)
            if patch.get("enabled") is False:
                stay_disabled(change.session, scenario)
            return _answer(change.session, scenario, secrets)

    return searching(current_server(), attempt)


def _patched(present: Document, patch: Document) -> Document:
    """Of the two forms of a flow, the one that the patch has takes the place of the other."""
    flow, stored = patch.get("flow"), present.get("flow")
    if isinstance(flow, dict) and stored and (flow.get("destinations") or flow.get("steps")):
        present = present | {"flow": {name: stored[name] for name in stored if name not in ("destinations", "steps")}}
    return merged(present, patch)


def _answer(session: Session, scenario: Scenario, secrets: Secrets) -> dict[str, Any]:
    session.flush()
    buying = buying_of(session, scenario)
    return (
        scenario_document(session, current_server(), scenario)
        | ({"secrets": secrets} if secrets else {})
        | ({"buying": buying.model_dump()} if buying else {})
    )


class DeletionQuery(BaseModel):
    numbers: Literal["keep", "release"] = "keep"


@scenarios_api.delete("/scenarios/<int:scenario_id>")
@described(status=204, query=DeletionQuery)
def remove_scenario(project_id: int, scenario_id: int) -> tuple[str, int]:
    """Delete a scenario: its calls stay, its numbers are free again; with `numbers=release` rented ones are given back."""
    numbers = request.args.get("numbers", "keep")
    if numbers not in ("keep", "release"):
        raise Problem(422, "“numbers” is keep or release.", "numbers")
    with changing() as change:
        delete_with_numbers(change, scenario_id, numbers == "release")
    return "", 204


scenario_actions_api = guard(
    Blueprint("scenario_actions_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/scenarios"),
    Audience.PROGRAMS,
    require_token,
)


@scenario_actions_api.post("/<int:scenario_id>/enable")
@described(answer=ScenarioDocument)
def post_enable(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Enable a scenario and buy what it is to buy; 409 with `missing_minor` when the balance does not cover it."""

    def attempt(found: Any) -> dict[str, Any]:
        with changing() as change:
            scenario, buying = connect_scenario(change, scenario_id, found)
            document = scenario_document(change.session, change.server, scenario)
        return document | ({"buying": buying.model_dump()} if buying else {})

    return searching(current_server(), attempt)


@scenario_actions_api.post("/<int:scenario_id>/disable")
@described(answer=ScenarioDocument)
def post_disable(project_id: int, scenario_id: int) -> dict[str, Any]:
    """Disable a scenario: nobody is shown its numbers any more, calls to them still go through."""
    with changing() as change:
        scenario = switch_scenario(change, scenario_id, False)
        change.session.flush()
        return scenario_document(change.session, change.server, scenario)


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
        findings = lint(session, server, project, scenario_id, _patched(present, patch))
    return {"items": [finding.document() for finding in findings]}


@scenario_actions_api.post("/<int:scenario_id>/duplicate")
@described(answer=ScenarioDocument, status=201)
def post_duplicate(project_id: int, scenario_id: int) -> tuple[dict[str, Any], int]:
    """Copy a scenario with its integrations, disabled and without numbers."""
    with changing() as change:
        scenario = duplicate_scenario(change, scenario_id)
        return scenario_document(change.session, change.server, scenario), 201
