"""Who a request comes from: people by a signed cookie that names the person, the password's stamp and the project they work in,
programs by their bearer token."""

import hmac
from datetime import timedelta

from flask import Flask, Request, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.audit import Actor
from router.accounts.models import ApiToken, Membership, Person, Project
from router.accounts.tokens import find_token
from router.server import current_server
from router.web.access import check_role, needs_project
from router.web.errors import Problem

TOKEN_USE_NOTED_EVERY = timedelta(minutes=1)


def begin_session(person: Person) -> None:
    session.clear()
    session.permanent = True
    session["person"] = person.id
    session["stamp"] = person.session_stamp


def end_session() -> None:
    session.clear()


def keep_session(stamp: str) -> None:
    """This browser stays signed in although its person's password changed."""
    session["stamp"] = stamp


def open_project(project_id: int) -> None:
    session["project"] = project_id


def require_person() -> Response | None:
    """The `authenticate` hook of page blueprints: sets g.person, g.actor, g.projects (by name) and g.project, or leads to the sign-in page.

    Raises:
        Problem: 404 and 403 as `check_role` says.
    """
    with current_server().database.reading() as database_session:
        memberships = database_session.execute(
            select(Person, Membership.role, Project)
            .outerjoin(Membership, Membership.person_id == Person.id)
            .outerjoin(Project, Project.id == Membership.project_id)
            .where(Person.id == session.get("person", 0))
            .order_by(Project.name, Project.id)
        ).all()
        person = memberships[0].Person if memberships else None
        # the stamp is another one when the password changed since
        if person is None or not hmac.compare_digest(person.session_stamp, str(session.get("stamp", ""))):
            asked_for = request.full_path.rstrip("?") if request.method == "GET" else None
            return redirect(url_for("doors.sign_in", next=asked_for if asked_for != "/" else None))
        roles = {row.Project.id: row.role for row in memberships if row.Project is not None}
        g.person, g.projects = person, [row.Project for row in memberships if row.Project is not None]
        g.actor = Actor(person.email, person_id=person.id, is_operator=person.is_operator, roles=roles)
        g.project = _project_of_request(database_session)
    if g.project is None and needs_project():
        if g.actor.is_operator:
            return redirect(url_for("projects.table"))
        raise Problem(404, "You are in no project yet. Ask its owner to add you.")
    check_role(g.actor, g.project)
    return None


def _project_of_request(database_session: Session) -> Project | None:
    """The project in the address, else the one that was opened, else the person's first one."""
    named = (request.view_args or {}).get("project_id")
    if named is not None:
        project = _reachable(database_session, named)
        if project is None:
            raise Problem(404, "There is nothing here.")
        return project
    opened = _reachable(database_session, session.get("project", 0))
    if opened or not g.actor.is_operator or g.projects:
        return opened or next(iter(g.projects), None)
    return database_session.scalar(select(Project).order_by(Project.id).limit(1))


def _reachable(database_session: Session, project_id: int) -> Project | None:
    """The project, if the person may see it."""
    own = next((project for project in g.projects if project.id == project_id), None)
    if own is None and g.actor.is_operator and project_id:
        return database_session.get(Project, project_id)
    return own


def require_token() -> Response | None:
    """The `authenticate` hook of API blueprints: sets g.actor, and g.project from `project_id` in the address (else None).

    Raises:
        Problem: 404 for a project in which the token has no role, 403 when its role is too small.
    """
    server = current_server()
    project_id = (request.view_args or {}).get("project_id")
    with server.database.reading() as database_session:
        token = find_token(database_session, request.headers.get("Authorization", ""))
        if token is None:
            refusal = Problem(401, "Send “Authorization: Bearer” with a valid API token.").response()
            refusal.headers["WWW-Authenticate"] = 'Bearer realm="router"'
            return refusal
        roles = {token.project_id: token.role} if token.project_id else {}
        is_operator = token.project_id is None
        g.actor = Actor(f"token {token.name}", token_id=token.id, is_operator=is_operator, roles=roles)
        g.project = None
        if project_id is not None:
            g.project = database_session.get(Project, project_id) if g.actor.rank_in(project_id) else None
            if g.project is None:
                raise Problem(404, "There is no such project.")
    now = server.now()
    if token.last_used_at is None or now - token.last_used_at >= TOKEN_USE_NOTED_EVERY:
        with server.database.writing() as database_session:
            database_session.execute(update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now))
    check_role(g.actor, g.project)
    return None


class CookieSessions(SecureCookieSessionInterface):
    """A request without the cookie, as web pages and carriers send them, costs no keys and no signer."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if "HTTP_COOKIE" not in request.environ or self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)
