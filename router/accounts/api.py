"""Projects for programs, and the description of the whole API."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel
from sqlalchemy import select

from router.accounts import audit
from router.accounts.access import Audience, current_actor, current_project, guard, needs
from router.accounts.api_habits import merged, page_of, parse, take_version
from router.accounts.models import Project
from router.accounts.openapi import describe_api, described
from router.accounts.own_numbers import OwnNumber
from router.accounts.projects import (
    ProjectValues,
    RepeatCredit,
    TellInternal,
    change_project,
    create_project,
    differences,
)
from router.accounts.tag_values import Consent, known_here
from router.accounts.tokens import require_token
from router.server import current_server
from router.web import Problem, iso, read_json

accounts_api = guard(Blueprint("accounts_api", __name__, url_prefix="/api/v1"), Audience.PROGRAMS, require_token)
api_description = guard(Blueprint("api_description", __name__, url_prefix="/api/v1"), Audience.PUBLIC)


class ProjectDocument(BaseModel):
    """A project as programs see it. `destination_numbers` are those that its scenarios forward calls to: own telephones like
    `own_numbers` and the fallback destination, without being typed."""

    id: int
    key: str
    name: str
    site: list[str]
    country: str | None
    timezone: str
    currency: str
    email: str
    fallback_destination: str
    visit_gap_seconds: int
    source_days: int
    repeat_credit: RepeatCredit
    own_numbers: list[OwnNumber]
    destination_numbers: list[str]
    tell_internal: TellInternal
    consent: Consent
    gpc_refuses: bool
    tag_address: str | None
    staff_addresses: list[str]
    ignore_automation: bool
    unwanted_referrals: list[str]
    number_price_minor: int | None
    balance_minor: int
    suspended: bool
    created_at: str
    version: int


class ProjectPatch(ProjectValues):
    """A JSON merge patch: only what changes, and the version that was read."""

    version: int


def project_document(project: Project) -> dict[str, Any]:
    values = {name: getattr(project, name) for name in ProjectValues.model_fields}
    return (
        {"id": project.id, "key": project.key}
        | values
        | {
            "country": project.country or None,
            "destination_numbers": project.destination_numbers,
            "tag_address": project.tag_address or None,
            "balance_minor": project.balance_minor,
            "suspended": project.suspended_at is not None,
            "created_at": iso(project.created_at),
            "version": project.version,
        }
    )


@accounts_api.post("/projects")
@needs("operator")
@described(body=ProjectValues, answer=ProjectDocument, status=201)
def new_project() -> tuple[Response, int]:
    """Make a project; only the operator's tokens may."""
    server = current_server()
    values, now = parse(ProjectValues, read_json(request), known_here(server.settings)), server.now()
    with server.database.writing() as session:
        project = create_project(session, values, now)
        audit.record(session, current_actor(), now, "project created", project.name, project.id)
    return jsonify(project_document(project)), 201


@accounts_api.get("/projects")
@described(answer=ProjectDocument, is_list=True)
def list_projects() -> Response:
    """The projects that the token reaches."""
    actor, statement = current_actor(), select(Project)
    if not actor.is_operator:
        statement = statement.where(Project.id.in_(actor.roles))
    with current_server().database.reading() as session:
        return jsonify(page_of(session, statement, Project.id, request.args, project_document))


@accounts_api.get("/projects/<int:project_id>")
@described(answer=ProjectDocument)
def show_project(project_id: int) -> Response:
    """One project."""
    return jsonify(project_document(current_project()))


@accounts_api.patch("/projects/<int:project_id>")
@described(body=ProjectPatch, answer=ProjectDocument, is_patch=True)
def patch_project(project_id: int) -> Response:
    """Change a project by a JSON merge patch with the version that was read."""
    patch, before, server = read_json(request), current_project(), current_server()
    version = take_version(patch)
    stored = {name: getattr(before, name) for name in ProjectValues.model_fields}
    values = parse(ProjectValues, merged(stored, patch), known_here(server.settings))
    if values.number_price_minor != before.number_price_minor and not current_actor().is_operator:
        raise Problem(403, "Only the operator sets what a number costs.", "number_price_minor")
    with server.database.writing() as session:
        change_project(session, project_id, version, values)
        changes = differences(before, values)
        audit.record(session, current_actor(), server.now(), "project changed", values.name, project_id, **changes)
        changed = session.get_one(Project, project_id)
    return jsonify(project_document(changed))


@api_description.get("/openapi.json")
def openapi() -> Response:
    return jsonify(describe_api())
