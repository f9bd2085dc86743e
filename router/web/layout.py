"""The layout of all pages: navigation, headers, CSRF, the tabs of Settings, and what a template knows of the person. And errors as people
and programs see them: a page in the layout for browsers, application/problem+json for the rest."""

from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, current_app, g, render_template, request
from flask_bootstrap import Bootstrap5
from flask_wtf import CSRFProtect
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from router.db import schema_state
from router.server import current_server
from router.web.access import Audience, audience_of, audiences
from router.web.errors import TITLES, Problem
from router.web.filters import init_filters
from router.web.static import init_static

FORM_AUDIENCES = (Audience.PEOPLE, Audience.GUESTS)

NAVIGATION = (
    ("Overview", "/overview"),
    ("Scenarios", "/scenarios"),
    ("Numbers", "/numbers"),
    ("Calls", "/calls"),
    ("Reports", "/reports"),
    ("Deliveries", "/deliveries"),
    ("Balance", "/balance"),
    ("Settings", "/settings"),
)
SETTINGS_TABS = (
    ("Project", "/settings", "viewer"),
    ("Install", "/settings/install", "viewer"),
    ("Tag", "/settings/tag", "viewer"),
    ("Blocked callers", "/settings/blocked", "viewer"),
    ("Holidays", "/settings/holidays", "viewer"),
    ("Sounds", "/settings/sounds", "viewer"),
    ("Carrier account", "/settings/carrier", "viewer"),
    ("People", "/settings/people", "viewer"),
    ("API tokens", "/settings/tokens", "owner"),
    ("Bring over", "/settings/old-settings", "admin"),
    ("Call history", "/settings/call-history", "admin"),
    ("Audit trail", "/settings/audit", "admin"),
)
"""With the role that sees the tab; the page itself checks it again."""

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""Bootstrap's own style sheet draws its arrows from data: images."""


def init_layout(app: Flask) -> None:
    """Called after all blueprints are registered: their audience decides about CSRF tokens."""
    Bootstrap5(app)
    audiences[app.blueprints["bootstrap"]] = Audience.PUBLIC
    app.config.update(WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_SSL_STRICT=False)
    protect = CSRFProtect(app)
    for name, blueprint in app.blueprints.items():
        if audience_of(name, app) not in FORM_AUDIENCES:
            protect.exempt(blueprint)
    init_filters(app)
    init_static(app)
    app.jinja_env.globals.update(address_with=address_with, settings_tabs=settings_tabs)
    app.context_processor(_frame)

    @app.after_request
    def secure(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if response.mimetype == "text/html" and audience_of(request.blueprint) is not Audience.PUBLIC:
            for name, value in PAGE_HEADERS.items():
                response.headers.setdefault(name, value)
        return response


def navigation() -> list[tuple[str, str, bool]]:
    """Title, path and whether it is open, of the pages that this app has."""
    paths = {rule.rule for rule in current_app.url_map.iter_rules()}
    return [
        (title, path, request.path == path or request.path.startswith(f"{path}/"))
        for title, path in NAVIGATION
        if path in paths
    ]


def settings_tabs() -> list[tuple[str, str, bool]]:
    """Title, path and whether it is open, of the tabs of Settings that this person may see."""
    return [(title, path, request.path == path) for title, path, role in SETTINGS_TABS if may(role)]


def may(role: str) -> bool:
    """Whether this person may do what needs a role in the project that is shown."""
    return g.get("actor") is not None and g.actor.may(role, g.project.id if g.get("project") else None)


def address_with(**changes: str | None) -> str:
    """This page's address with some of its arguments changed; None takes one away."""
    kept = {**request.args.to_dict(), **changes}
    query = urlencode({name: value for name, value in kept.items() if value})
    return f"{request.path}?{query}" if query else request.path


def _frame() -> dict[str, Any]:
    """What `base.html` needs; on the sign-in page and on errors nobody may be known."""
    return {
        "actor": g.get("actor"),
        "person": g.get("person"),
        "project": g.get("project"),
        "projects": g.get("projects") or [],
        "navigation": navigation() if g.get("actor") else [],
        "may": may,
    }


PROGRAM_PATHS = ("/api/", "/tag/", "/voice/")

ADVICE = {
    400: "The form was open for too long, or came from elsewhere. Go back, load the page again and repeat it.",
    404: "There is nothing here.",
    405: "This address does not take that.",
    413: "That is more than the 64 kB that may be sent at once.",
    500: "Something went wrong on our side. It has been written to the log.",
}


def init_error_pages(app: Flask) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return answer_problem(error)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response | HTTPException:
        if error.code is None or error.code < 400:  # a redirect that routing asks for
            return error
        code = error.code or 500
        return answer_problem(Problem(code, ADVICE.get(code) or error.description or ""))

    @app.errorhandler(PoolTimeout)
    def no_connection(error: PoolTimeout) -> Response:
        current_app.logger.error("database: no connection became free in time")
        return answer_problem(Problem(503, "The database cannot be reached. Try again in a minute."))

    @app.errorhandler(DBAPIError)
    def database_error(error: DBAPIError) -> Response:
        g.pop("project", None)
        try:
            state = schema_state(current_server().database)
        except SQLAlchemyError:
            reason = "The database cannot be reached. Try again in a minute."
        else:
            if state != "current":
                reason = "The database has another version's schema. The operator has to run “router migrate”."
            elif isinstance(error, OperationalError):
                reason = "The database is too busy. Try again in a minute."
            else:  # it could answer, so that the mistake is ours
                raise error
        current_app.logger.error("database: %s", type(error.orig).__name__)
        return answer_problem(Problem(503, reason))


def answer_problem(error: Problem) -> Response:
    """A page or problem+json, by who asked."""
    audience = audience_of(request.blueprint)
    if audience is None or audience is Audience.PUBLIC:
        by_browser = not request.path.startswith(PROGRAM_PATHS)
    else:
        by_browser = audience in FORM_AUDIENCES
    if not by_browser:
        return error.response()
    title = TITLES.get(error.status, "Refused")
    return Response(render_template("error.html", title=title, detail=error.detail), error.status, mimetype="text/html")
