"""Settings, People and API tokens: the owners of a project add people, change their roles and remove them, and make and revoke tokens."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import ValidationError

from router.accounts import members, sessions
from router.accounts.audit import changing
from router.accounts.models import ApiToken, Membership, Person
from router.accounts.projects import parse_email
from router.accounts.tokens import create_token
from router.server import current_server
from router.web.access import Audience, current_project, guard, needs
from router.web.errors import Problem
from router.web.forms import ROLES, Form, TextField

people_settings = guard(
    Blueprint("people", __name__, url_prefix="/settings/people"), Audience.PEOPLE, sessions.require_person
)


class PersonForm(Form):
    """A person by e-mail address."""

    email = TextField()
    name = TextField()

    def validate_email(self, field: TextField) -> None:
        try:
            field.data = parse_email(field.data)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class MemberForm(PersonForm):
    role = TextField()


@people_settings.get("", endpoint="table")
def list_people() -> str:
    return _people_page(MemberForm(data={"role": "admin"}))


@people_settings.post("")
@needs("owner")
def add() -> str | tuple[str, int]:
    """A new person gets a password, shown once; one who is here already only gets the role."""
    form = MemberForm(request.form)
    if not form.validate():
        return _people_page(form), 422
    person, password = members.add_member(**form.data)
    return _people_page(MemberForm(data={"role": "admin"}), person, password)


@people_settings.post("/<int:person_id>", endpoint="change")
@needs("owner")
def change_role(person_id: int) -> Response:
    role = request.form.get("role", "")
    with changing() as change:
        person = members.change_role(change, person_id, role)
    flash(f"{person.email} is {role} now.")
    return redirect(url_for("people.table"))


@people_settings.post("/<int:person_id>/remove")
@needs("owner")
def remove(person_id: int) -> Response:
    with changing() as change:
        person = members.remove_member(change, person_id)
    flash(f"{person.email} is no longer in {current_project().name}.")
    return redirect(url_for("people.table"))


def _people_page(form: MemberForm, added: Person | None = None, password: str = "") -> str:
    """`password` of somebody who was just added is shown this once; it is empty for a person who had one."""
    with current_server().database.reading() as session:
        rows = session.execute(
            select(Person, Membership.role)
            .join(Membership, Membership.person_id == Person.id)
            .where(Membership.project_id == current_project().id)
            .order_by(Person.email)
        ).all()
    return render_template("accounts/people.html", members=rows, roles=ROLES, form=form, added=added, password=password)


token_settings = guard(
    Blueprint("tokens", __name__, url_prefix="/settings/tokens"), Audience.PEOPLE, sessions.require_person
)


class TokenForm(Form):
    name = TextField()
    role = TextField()

    def validate_name(self, field: TextField) -> None:
        field.data = members.clean_name(field.data)
        if not field.data:
            raise ValidationError("Say what the token is for.")

    def validate_role(self, field: TextField) -> None:
        if field.data not in members.ROLES:
            raise ValidationError("Choose a role.")


@token_settings.get("", endpoint="table")
@needs("owner")
def list_tokens() -> str:
    return _tokens_page(TokenForm(data={"role": "viewer"}))


@token_settings.post("")
@needs("owner")
def create() -> str | tuple[str, int]:
    form = TokenForm(request.form)
    if not form.validate():
        return _tokens_page(form), 422
    name, role = form.name.data, form.role.data
    with changing() as change:
        _, text = create_token(change.session, name, change.now, change.project.id, role)
        change.record("token created", name, role=role)
    return _tokens_page(TokenForm(data={"role": "viewer"}), shown=text)


@token_settings.post("/<int:token_id>/revoke")
@needs("owner")
def revoke(token_id: int) -> Response:
    with changing() as change:
        token = change.session.get(ApiToken, token_id)
        if token is None or token.project_id != change.project.id:
            raise Problem(404, "There is no such token.")
        token.revoked_at = token.revoked_at or change.now
        change.record("token revoked", token.name)
    flash(f"The token {token.name} is revoked.")
    return redirect(url_for("tokens.table"))


def _tokens_page(form: TokenForm, shown: str = "") -> str:
    statement = select(ApiToken).where(ApiToken.project_id == current_project().id, ApiToken.revoked_at.is_(None))
    with current_server().database.reading() as session:
        tokens = session.scalars(statement.order_by(ApiToken.id.desc())).all()
    return render_template("accounts/tokens.html", tokens=tokens, roles=ROLES, form=form, shown=shown)
