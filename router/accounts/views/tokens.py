"""Settings: the API tokens of a project, for its owners."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, members, sessions, tokens
from router.accounts.models import ApiToken
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.errors import Problem
from router.web.filters import values_of
from router.web.forms import ROLES

token_settings = guard(
    Blueprint("tokens", __name__, url_prefix="/settings/tokens"), Audience.PEOPLE, sessions.require_person
)


@token_settings.get("")
@needs("owner")
def table() -> str:
    return _page()


@token_settings.post("")
@needs("owner")
def create() -> str | tuple[str, int]:
    values, server, project = values_of(request.form), current_server(), current_project()
    name, role = " ".join(values.get("name", "").split())[:120], values.get("role", "")
    if not name or role not in members.ROLES:
        return _page({"name": "Say what the token is for."}), 422
    with server.database.writing() as session:
        now = server.now()
        _, text = tokens.create_token(session, name, now, project.id, role)
        audit.record(session, current_actor(), now, "token created", name, project.id, role=role)
    return _page(shown=text)


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


def _page(errors: dict[str, str] | None = None, shown: str = "") -> str:
    statement = select(ApiToken).where(ApiToken.project_id == current_project().id, ApiToken.revoked_at.is_(None))
    with current_server().database.reading() as session:
        found = session.scalars(statement.order_by(ApiToken.id.desc())).all()
    return render_template("accounts/tokens.html", found=found, roles=ROLES, errors=errors or {}, shown=shown)
