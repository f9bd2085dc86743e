"""API tokens: random, shown once, stored as a digest, revocable."""

import hashlib
import secrets
from datetime import datetime, timedelta

from flask import Response, g, request
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.models import ApiToken, Project
from router.server import current_server
from router.web.access import Actor, check_role
from router.web.errors import Problem

PREFIX = "rt_"
USE_NOTED_EVERY = timedelta(minutes=1)


def create_token(
    session: Session, name: str, now: datetime, project_id: int | None = None, role: str = "owner"
) -> tuple[ApiToken, str]:
    """A new token and its text, which is shown this once. Without a project it is an operator's."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        name=name[:120],
        project_id=project_id,
        role=role if project_id else "operator",
        digest=digest_of(text),
        hint=text[-4:],
        created_at=now,
    )
    session.add(token)
    session.flush()
    return token, text


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def actor_of(token: ApiToken) -> Actor:
    roles = {token.project_id: token.role} if token.project_id else {}
    return Actor(f"token {token.name}", token_id=token.id, is_operator=token.project_id is None, roles=roles)


def require_token() -> Response | None:
    """The `authenticate` hook of API blueprints: sets g.actor, and g.project from `project_id` in the address (else None).

    Raises:
        Problem: 404 for a project in which the token has no role, 403 when its role is too small.
    """
    server = current_server()
    with server.database.reading() as session:
        token = _find(session, request.headers.get("Authorization", ""))
        if token is None:
            return _refusal()
        g.actor = actor_of(token)
        g.project = _project(session, g.actor, (request.view_args or {}).get("project_id"))
    _note_use(token, server.now())
    check_role(g.actor, g.project)
    return None


def find_actor(session: Session, header: str) -> Actor | None:
    """Whose token an Authorization header holds; None when it holds none that counts."""
    token = _find(session, header)
    return actor_of(token) if token else None


def _find(session: Session, header: str) -> ApiToken | None:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        return None
    digest = digest_of(text.strip())
    return session.scalar(select(ApiToken).where(ApiToken.digest == digest, ApiToken.revoked_at.is_(None)))


def _project(session: Session, actor: Actor, project_id: int | None) -> Project | None:
    if project_id is None:
        return None
    project = session.get(Project, project_id) if actor.rank_in(project_id) else None
    if project is None:
        raise Problem(404, "There is no such project.")
    return project


def _note_use(token: ApiToken, now: datetime) -> None:
    if token.last_used_at is None or now - token.last_used_at >= USE_NOTED_EVERY:
        with current_server().database.writing() as session:
            session.execute(update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now))


def _refusal() -> Response:
    response = Problem(401, "Send “Authorization: Bearer” with a valid API token.").response()
    response.headers["WWW-Authenticate"] = 'Bearer realm="router"'
    return response
