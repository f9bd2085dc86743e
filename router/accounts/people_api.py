"""The people of a project for programs, with an owner's token."""

from typing import Annotated, Any, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts import audit, passwords, people
from router.accounts.access import Audience, current_actor, guard, needs
from router.accounts.api_habits import page_of, parse
from router.accounts.models import Membership, Person
from router.accounts.openapi import described
from router.accounts.projects import read_email
from router.accounts.tokens import require_token
from router.server import current_server
from router.web import read_json

people_api = guard(
    Blueprint("people_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/people"),
    Audience.PROGRAMS,
    require_token,
)

RoleName = Literal["owner", "admin", "viewer"]


class NewMember(BaseModel):
    """Somebody who gets a role in the project."""

    model_config = {"extra": "forbid"}

    email: Annotated[str, AfterValidator(read_email)]
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
def list_people(project_id: int) -> Response:
    """The people of a project."""
    members = select(Membership).where(Membership.project_id == project_id)
    with current_server().database.reading() as session:
        page = page_of(session, members, Membership.id, request.args)
        return jsonify(page | {"items": [_member(session, one) for one in page["items"]]})


@people_api.post("")
@needs("owner")
@described(body=NewMember, answer=MemberDocument, status=201)
def add_person(project_id: int) -> tuple[Response, int]:
    """Give somebody a role; a new person gets a password, shown this once."""
    given, server = parse(NewMember, read_json(request)), current_server()
    password = passwords.random_password()
    password_hash, name = passwords.hash_password(password), " ".join(given.name.split())
    with server.database.writing() as session:
        person, is_new = people.add_member(
            session, current_actor(), project_id, given.email, name, given.role, password_hash, server.now()
        )
    once = {"password": password} if is_new else {}
    return jsonify(_document(person, given.role) | once), 201


@people_api.put("/<int:person_id>")
@needs("owner")
@described(body=RoleChange, answer=MemberDocument)
def change_role(project_id: int, person_id: int) -> Response:
    """Give a member another role; a project keeps at least one owner."""
    body, server = read_json(request), current_server()
    with server.database.writing() as session:
        people.find_member(session, project_id, person_id)
        role = parse(RoleChange, body).role
        person = people.change_role(session, project_id, person_id, role)
        audit.record(session, current_actor(), server.now(), "role changed", person.email, project_id, role=role)
    return jsonify(_document(person, role))


@people_api.delete("/<int:person_id>")
@needs("owner")
@described(status=204)
def remove_person(project_id: int, person_id: int) -> Response:
    """Take somebody out of the project."""
    server = current_server()
    with server.database.writing() as session:
        person = people.remove_member(session, project_id, person_id)
        audit.record(session, current_actor(), server.now(), "person removed", person.email, project_id)
    return Response(status=204)


def _member(session: Session, membership: Membership) -> dict[str, Any]:
    return _document(session.get_one(Person, membership.person_id), membership.role)


def _document(person: Person, role: str) -> dict[str, Any]:
    return {"id": person.id, "email": person.email, "name": person.name, "role": role}
