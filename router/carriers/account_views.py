"""Settings, Carrier account: the account of a project at the carrier, by page and for programs. Auth tokens go in and never come out."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BaseModel
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.sessions import require_person, require_token
from router.carriers.accounts import AccountValues, CheckState, find_account, read_tokens, remove_account, save_account
from router.carriers.models import CarrierAccount
from router.lib.crypto import SealBroken
from router.server import Server, current_server
from router.web.access import Audience, current_project, guard, needs
from router.web.api import described, parse
from router.web.errors import Problem, iso, read_json
from router.web.forms import Form, SwitchField, TextField

account_pages = guard(
    Blueprint("carrier_account", __name__, url_prefix="/settings/carrier"), Audience.PEOPLE, require_person
)
account_api = guard(
    Blueprint("carrier_account_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/carrier-account"),
    Audience.PROGRAMS,
    require_token,
)


class AccountForm(Form):
    account_sid = TextField()
    auth_token = TextField()
    next_auth_token = TextField()
    forget_next = SwitchField()


class AccountDocument(BaseModel):
    """The account of a project at the carrier. Its auth tokens are not told; `has_next_auth_token`: a second one is accepted too.
    `state` is what the carrier said when it was asked last; `reason` says why it is refused, or was not reached."""

    account_sid: str
    has_next_auth_token: bool
    is_readable: bool
    state: CheckState
    reason: str | None
    checked_at: str | None
    changed_at: str


def account_document(server: Server, account: CarrierAccount) -> dict[str, Any]:
    try:
        tokens, is_readable = read_tokens(server.keys, account.sealed), True
    except SealBroken:
        tokens, is_readable = [], False
    return {
        "account_sid": account.sid,
        "has_next_auth_token": len(tokens) > 1,
        "is_readable": is_readable,
        "state": account.state,
        "reason": account.reason or None,
        "checked_at": iso(account.checked_at) if account.checked_at else None,
        "changed_at": iso(account.changed_at),
    }


def _present(session: Session, project_id: int) -> CarrierAccount:
    account = find_account(session, project_id)
    if account is None:
        raise Problem(404, "The project has no account of its own: its numbers are at the server’s.")
    return account


@account_pages.get("")
def show() -> str:
    return _page(None)


@account_pages.post("")
@needs("admin")
def save() -> Response | tuple[str, int]:
    form = AccountForm(request.form)
    try:
        values = parse(AccountValues, form.data)
        with changing() as change:
            save_account(change, values)
    except Problem as problem:
        form.refuse(problem)
        return _page(form), problem.status
    flash("The account is saved, and the carrier is being asked about it. Numbers are bought there from now on.")
    return redirect(url_for("carrier_account.show"))


@account_pages.post("/remove")
@needs("admin")
def remove() -> Response | tuple[str, int]:
    try:
        with changing() as change:
            remove_account(change)
    except Problem as problem:
        return _page(None, problem.detail), problem.status
    flash("The account is removed. Numbers are bought at the server’s own from now on.")
    return redirect(url_for("carrier_account.show"))


def _page(form: AccountForm | None, error: str = "") -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        account = find_account(session, project.id)
        document = account_document(server, account) if account else None
    if form is None:
        form = AccountForm(data={"account_sid": account.sid} if account else {})
    return render_template("carriers/account.html", form=form, account=document, error=error)


@account_api.get("")
@described(answer=AccountDocument)
def show_account(project_id: int) -> dict[str, Any]:
    """The project's own account at the carrier; 404: it has none."""
    server = current_server()
    with server.database.reading() as session:
        return account_document(server, _present(session, project_id))


@account_api.put("")
@needs("admin")
@described(body=AccountValues, answer=AccountDocument)
def put_account(project_id: int) -> dict[str, Any]:
    """Give the project an account of its own at the carrier, or change its tokens. A token that is absent is kept."""
    values, server = parse(AccountValues, read_json(request)), current_server()
    with changing() as change:
        return account_document(server, save_account(change, values))


@account_api.delete("")
@needs("admin")
@described(status=204)
def delete_account(project_id: int) -> tuple[str, int]:
    """Let the project use the server's account again; 409 while numbers are rented at its own."""
    with changing() as change:
        remove_account(change)
    return "", 204
