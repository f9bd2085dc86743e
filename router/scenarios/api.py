"""Scenarios for programs."""

from typing import Any

from flask import Blueprint, request
from sqlalchemy.orm import Session

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.api_habits import merged, rows_of, take_version
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.phones import BadPhone, read_phone
from router.scenarios.answers import ScenarioBody, ScenarioDocument, ScenarioPatch
from router.scenarios.connect import buying_of, searching, stay_disabled
from router.scenarios.deleting import delete_with_numbers
from router.scenarios.documents import scenario_document, scenario_documents
from router.scenarios.models import Scenario
from router.scenarios.refusal import Refused
from router.scenarios.scenarios import (
    Secrets,
    change_scenario,
    create_scenario,
    find_scenario,
    present_scenarios,
)
from router.server import current_server
from router.web import Problem, read_json

scenarios_api = guard(
    Blueprint("scenarios_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)

Answer = tuple[dict[str, Any], int]


@scenarios_api.errorhandler(Refused)
def refused(refusal: Refused) -> Any:
    return refusal.problem().response()


@scenarios_api.post("/scenarios")
@described(body=ScenarioBody, answer=ScenarioDocument, status=201)
def post_scenario(project_id: int) -> Answer:
    """Make a scenario; `secrets` of the answer holds those that were made, this once."""
    body = read_json(request)
    server, project, actor = current_server(), current_project(), current_actor()

    def attempt(found: Any) -> dict[str, Any]:
        with server.database.writing() as session:
            made = create_scenario(session, server, project, actor, body, server.now(), found)
            return _answer(session, *made)

    return searching(server, attempt), 201


@scenarios_api.get("/scenarios")
@described(answer=ScenarioDocument, is_list=True)
def get_scenarios(project_id: int) -> dict[str, Any]:
    """List the project's scenarios, newest first."""
    server = current_server()
    with server.database.reading() as session:
        rows, following = rows_of(session, present_scenarios(project_id), Scenario.id, request.args)
        return {"items": scenario_documents(session, server, rows), "next": following}


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
    project, server, actor = current_project(), current_server(), current_actor()
    patch = _with_e164_keys(patch, project.country)

    def attempt(found: Any) -> dict[str, Any]:
        with server.database.writing() as session:
            changed = change_scenario(
                session,
                server,
                project,
                actor,
                scenario_id,
                lambda present: _patched(present, patch),
                version,
                server.now(),
                found,
            )
            if patch.get("enabled") is False:
                stay_disabled(session, changed[0])
            return _answer(session, *changed)

    return searching(server, attempt)


def _answer(session: Session, scenario: Scenario, secrets: Secrets) -> dict[str, Any]:
    """The document, with secrets that were made and with what is being bought."""
    session.flush()
    buying = buying_of(session, scenario)
    return (
        scenario_document(session, current_server(), scenario)
        | ({"secrets": secrets} if secrets else {})
        | ({"buying": buying.document()} if buying else {})
    )


@scenarios_api.delete("/scenarios/<int:scenario_id>")
@described(status=204, query=("numbers",))
def remove_scenario(project_id: int, scenario_id: int) -> tuple[str, int]:
    """Delete a scenario: its calls stay, its numbers are free again; with `numbers=release` rented ones are given back."""
    server, numbers = current_server(), request.args.get("numbers", "keep")
    if numbers not in ("keep", "release"):
        raise Problem(422, "“numbers” is keep or release.", "numbers")
    with server.database.writing() as session:
        delete_with_numbers(
            session, server, current_project(), current_actor(), scenario_id, numbers == "release", server.now()
        )
    return "", 204


def _patched(present: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Null takes away what stands there; of the two forms of channels an absent one would say nothing."""
    empty: dict[str, Any] = {"channels": [], "static": {}}
    return merged(present, patch) | {name: empty[name] for name in empty if patch.get(name, 0) is None}


def _with_e164_keys(patch: dict[str, Any], country: str) -> dict[str, Any]:
    """`static` names numbers as they are stored, so that the patch meets what is there."""
    if not isinstance(patch.get("static"), dict):
        return patch
    return patch | {"static": {_e164(number, country): source for number, source in patch["static"].items()}}


def _e164(text: str, country: str) -> str:
    try:
        return read_phone(text, country)
    except BadPhone:
        return text
