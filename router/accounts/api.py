"""Projects and their people for programs, and the description of the whole API."""

from typing import Annotated, Any, Literal

from flask import Blueprint, render_template, request
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import select

from router.accounts import audit, members
from router.accounts.audit import changing
from router.accounts.models import Membership, Person, Project
from router.accounts.projects import (
    BlockedAnswer,
    Consent,
    OwnNumber,
    ProjectValues,
    RepeatCredit,
    TellInternal,
    change_project,
    create_project,
    known_here,
    parse_email,
)
from router.accounts.sessions import require_token
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import describe_api, described, merged, page_of, parse, take_version
from router.web.errors import Problem, iso, read_json
from router.web.layout import PAGE_HEADERS

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
    recording_days: int
    message_days: int
    repeat_credit: RepeatCredit
    own_numbers: list[OwnNumber]
    destination_numbers: list[str]
    tell_internal: TellInternal
    block_withheld: bool
    block_failed_verification: bool
    block_robocalls: bool
    blocked_answer: BlockedAnswer
    blocked_sentence: str | None
    calls_per_caller: int
    calls_per_number: int
    tell_blocked: TellInternal
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
    stored = {name: getattr(project, name) for name in ProjectDocument.model_fields if name != "suspended"}
    return stored | {
        "country": project.country or None,
        "tag_address": project.tag_address or None,
        "blocked_sentence": project.blocked_sentence or None,
        "suspended": project.suspended_at is not None,
        "created_at": iso(project.created_at),
    }


@accounts_api.post("/projects")
@needs("operator")
@described(body=ProjectValues, answer=ProjectDocument, status=201)
def new_project() -> tuple[dict[str, Any], int]:
    """Make a project; only the operator's tokens may."""
    server = current_server()
    values, now = parse(ProjectValues, read_json(request), known_here(server.settings)), server.now()
    with server.database.writing() as session:
        project = create_project(session, values, now)
        audit.record(session, current_actor(), now, "project created", project.name, project.id)
    return project_document(project), 201


@accounts_api.get("/projects")
@described(answer=ProjectDocument, is_list=True)
def list_projects() -> dict[str, Any]:
    """The projects that the token reaches."""
    actor, statement = current_actor(), select(Project)
    if not actor.is_operator:
        statement = statement.where(Project.id.in_(actor.roles))
    with current_server().database.reading() as session:
        return page_of(session, statement, Project.id, request.args, project_document)


@accounts_api.get("/projects/<int:project_id>")
@described(answer=ProjectDocument)
def show_project(project_id: int) -> dict[str, Any]:
    """One project."""
    return project_document(current_project())


@accounts_api.patch("/projects/<int:project_id>")
@described(body=ProjectPatch, answer=ProjectDocument, is_patch=True)
def patch_project(project_id: int) -> dict[str, Any]:
    """Change a project by a JSON merge patch with the version that was read."""
    patch, before = read_json(request), current_project()
    version = take_version(patch)
    stored = {name: getattr(before, name) for name in ProjectValues.model_fields}
    values = parse(ProjectValues, merged(stored, patch), known_here(current_server().settings, before))
    if values.number_price_minor != before.number_price_minor and not current_actor().is_operator:
        raise Problem(403, "Only the operator sets what a number costs.", "number_price_minor")
    with changing() as change:
        change_project(change, version, values, "project changed")
        return project_document(change.session.get_one(Project, project_id))


@api_description.get("/openapi.json")
def openapi() -> dict[str, Any]:
    return describe_api()


@api_description.get("/docs")
def show_description() -> tuple[str, dict[str, str]]:
    """The same to read. Redoc and Swagger UI write inline styles, which the pages' Content-Security-Policy forbids."""
    return render_template("api.html", api=describe_api()), PAGE_HEADERS


people_api = guard(
    Blueprint("people_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/people"),
    Audience.PROGRAMS,
    require_token,
)

RoleName = Literal["owner", "admin", "viewer"]


class NewMember(BaseModel):
    """Somebody who gets a role in the project."""

    model_config = {"extra": "forbid"}

    email: Annotated[str, AfterValidator(parse_email)]
    name: str = Field(default="", max_length=120)
    role: RoleName


class RoleChange(BaseModel):
    """Another role for a member."""

    model_config = {"extra": "forbid"}

    role: RoleName


class MemberDocument(BaseModel):
    """A member of a project. `password` is there once, for a person who was just made."""

    id: int
    email: str
    name: str
    role: RoleName
    password: str | None = None


@people_api.get("")
@described(answer=MemberDocument, is_list=True)
def list_people(project_id: int) -> dict[str, Any]:
    """The people of a project."""
    memberships = select(Membership).where(Membership.project_id == project_id)
    with current_server().database.reading() as session:

        def document(membership: Membership) -> dict[str, Any]:
            return _document(session.get_one(Person, membership.person_id), membership.role)

        return page_of(session, memberships, Membership.id, request.args, document)


@people_api.post("")
@needs("owner")
@described(body=NewMember, answer=MemberDocument, status=201)
def add_person(project_id: int) -> tuple[dict[str, Any], int]:
    """Give somebody a role; a new person gets a password, shown this once."""
    new = parse(NewMember, read_json(request))
    person, password = members.add_member(new.email, new.name, new.role)
    return _document(person, new.role) | ({"password": password} if password else {}), 201


@people_api.put("/<int:person_id>")
@needs("owner")
@described(body=RoleChange, answer=MemberDocument)
def change_role(project_id: int, person_id: int) -> dict[str, Any]:
    """Give a member another role; a project keeps at least one owner."""
    body = read_json(request)
    with changing() as change:
        members.find_member(change.session, project_id, person_id)
        role = parse(RoleChange, body).role
        person = members.change_role(change, person_id, role)
    return _document(person, role)


@people_api.delete("/<int:person_id>")
@needs("owner")
@described(status=204)
def remove_person(project_id: int, person_id: int) -> tuple[str, int]:
    """Take somebody out of the project."""
    with changing() as change:
        members.remove_member(change, person_id)
    return "", 204


def _document(person: Person, role: str) -> dict[str, Any]:
    return {"id": person.id, "email": person.email, "name": person.name, "role": role}
