"""Settings, People and API tokens: the owners of a project add people, change their roles and remove them, and make and revoke tokens."""

from dataclasses import dataclass

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, members, passwords, sessions
from router.accounts.models import ApiToken, Membership, Person
from router.accounts.projects import parse_email
from router.accounts.tokens import create_token
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.errors import Problem
from router.web.filters import values_of
from router.web.forms import ROLES

people_settings = guard(
    Blueprint("people", __name__, url_prefix="/settings/people"), Audience.PEOPLE, sessions.require_person
)


@dataclass(frozen=True)
class Invitation:
    """Somebody who was just added; the password is shown this once, and empty for a person who had one."""

    email: str
    password: str


@people_settings.get("", endpoint="table")
def list_people() -> str:
    return _people_page()


@people_settings.post("")
@needs("owner")
def add() -> str | tuple[str, int]:
    """A new person gets a password, shown once; one who is here already only gets the role."""
    values = values_of(request.form)
    try:
        email = parse_email(values.get("email", ""))
    except ValueError as error:
        return _people_page(values, {"email": str(error)}), 422
    password = passwords.random_password()
    password_hash, server, project = passwords.hash_password(password), current_server(), current_project()
    name, role = " ".join(values.get("name", "").split())[:120], values.get("role", "")
    with server.database.writing() as session:
        now = server.now()
        _, is_new = members.add_member(session, current_actor(), project.id, email, name, role, password_hash, now)
    return _people_page(invitation=Invitation(email, password if is_new else ""))


@people_settings.post("/<int:person_id>")
@needs("owner")
def change(person_id: int) -> Response:
    server, project, role = current_server(), current_project(), request.form.get("role", "")
    with server.database.writing() as session:
        person = members.change_role(session, project.id, person_id, role)
        audit.record(session, current_actor(), server.now(), "role changed", person.email, project.id, role=role)
    flash(f"{person.email} is {role} now.")
    return redirect(url_for("people.table"))


@people_settings.post("/<int:person_id>/remove")
@needs("owner")
def remove(person_id: int) -> Response:
    server, project = current_server(), current_project()
    with server.database.writing() as session:
        person = members.remove_member(session, project.id, person_id)
        audit.record(session, current_actor(), server.now(), "person removed", person.email, project.id)
    flash(f"{person.email} is no longer in {project.name}.")
    return redirect(url_for("people.table"))


def _people_page(
    values: dict[str, str] | None = None, errors: dict[str, str] | None = None, invitation: Invitation | None = None
) -> str:
    with current_server().database.reading() as session:
        rows = session.execute(
            select(Person, Membership.role)
            .join(Membership, Membership.person_id == Person.id)
            .where(Membership.project_id == current_project().id)
            .order_by(Person.email)
        ).all()
    return render_template(
        "accounts/people.html",
        members=rows,
        roles=ROLES,
        values=values or {},
        errors=errors or {},
        invitation=invitation,
    )


token_settings = guard(
    Blueprint("tokens", __name__, url_prefix="/settings/tokens"), Audience.PEOPLE, sessions.require_person
)


@token_settings.get("", endpoint="table")
@needs("owner")
def list_tokens() -> str:
    return _tokens_page()


@token_settings.post("")
@needs("owner")
def create() -> str | tuple[str, int]:
    values, server, project = values_of(request.form), current_server(), current_project()
    name, role = " ".join(values.get("name", "").split())[:120], values.get("role", "")
    if not name or role not in members.ROLES:
        return _tokens_page({"name": "Say what the token is for."}), 422
    with server.database.writing() as session:
        now = server.now()
        _, text = create_token(session, name, now, project.id, role)
        audit.record(session, current_actor(), now, "token created", name, project.id, role=role)
    return _tokens_page(shown=text)


@token_settings.post("/<int:token_id>/revoke")
@needs("owner")
def revoke(token_id: int) -> Response:
    server, project = current_server(), current_project()
    with server.database.writing() as session:
        now = server.now()
        token = session.get(ApiToken, token_id)
        if token is None or token.project_id != project.id:
            raise Problem(404, "There is no such token.")
        token.revoked_at = token.revoked_at or now
        audit.record(session, current_actor(), now, "token revoked", token.name, project.id)
    flash(f"The token {token.name} is revoked.")
    return redirect(url_for("tokens.table"))


def _tokens_page(errors: dict[str, str] | None = None, shown: str = "") -> str:
    statement = select(ApiToken).where(ApiToken.project_id == current_project().id, ApiToken.revoked_at.is_(None))
    with current_server().database.reading() as session:
        found = session.scalars(statement.order_by(ApiToken.id.desc())).all()
    return render_template("accounts/tokens.html", found=found, roles=ROLES, errors=errors or {}, shown=shown)
