"""Settings: the people of a project. Its owners add them, change their roles and remove them."""

from dataclasses import dataclass

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, passwords, sessions
from router.accounts import members as people
from router.accounts.models import Membership, Person
from router.accounts.projects import parse_email
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
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


@people_settings.get("")
def table() -> str:
    return _page()


@people_settings.post("")
@needs("owner")
def add() -> str | tuple[str, int]:
    """A new person gets a password, shown once; one who is here already only gets the role."""
    values = values_of(request.form)
    try:
        email = parse_email(values.get("email", ""))
    except ValueError as error:
        return _page(values, {"email": str(error)}), 422
    password = passwords.random_password()
    password_hash, server, project = passwords.hash_password(password), current_server(), current_project()
    name, role = " ".join(values.get("name", "").split())[:120], values.get("role", "")
    with server.database.writing() as session:
        now = server.now()
        _, is_new = people.add_member(session, current_actor(), project.id, email, name, role, password_hash, now)
    return _page(invitation=Invitation(email, password if is_new else ""))


@people_settings.post("/<int:person_id>")
@needs("owner")
def change(person_id: int) -> Response:
    server, project, role = current_server(), current_project(), request.form.get("role", "")
    with server.database.writing() as session:
        person = people.change_role(session, project.id, person_id, role)
        audit.record(session, current_actor(), server.now(), "role changed", person.email, project.id, role=role)
    flash(f"{person.email} is {role} now.")
    return redirect(url_for("people.table"))


@people_settings.post("/<int:person_id>/remove")
@needs("owner")
def remove(person_id: int) -> Response:
    server, project = current_server(), current_project()
    with server.database.writing() as session:
        person = people.remove_member(session, project.id, person_id)
        audit.record(session, current_actor(), server.now(), "person removed", person.email, project.id)
    flash(f"{person.email} is no longer in {project.name}.")
    return redirect(url_for("people.table"))


def _page(
    values: dict[str, str] | None = None, errors: dict[str, str] | None = None, invitation: Invitation | None = None
) -> str:
    with current_server().database.reading() as session:
        members = session.execute(
            select(Person, Membership.role)
            .join(Membership, Membership.person_id == Person.id)
            .where(Membership.project_id == current_project().id)
            .order_by(Person.email)
        ).all()
    return render_template(
        "accounts/people.html",
        members=members,
        roles=ROLES,
        values=values or {},
        errors=errors or {},
        invitation=invitation,
    )
