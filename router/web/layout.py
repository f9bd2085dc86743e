"""The layout of all pages: navigation, headers, CSRF, the tabs of Settings, and what a template knows of the person."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, current_app, g, request
from flask_bootstrap import Bootstrap5
from flask_wtf import CSRFProtect

from router.server import current_server
from router.web.access import Audience, audience_of, audiences
from router.web.filters import init_filters


@dataclass(frozen=True)
class Tab:
    """One tab of Settings. `path` is its page, which extends `settings.html`."""

    title: str
    path: str
    order: int
    role: str = "viewer"
    """Who sees the tab; the page itself checks it again."""


OWN = (
    Tab("Project", "/settings", 10),
    Tab("Tag", "/settings/tag", 25),
    Tab("People", "/settings/people", 30),
    Tab("API tokens", "/settings/tokens", 40, "owner"),
    Tab("Audit trail", "/settings/audit", 90, "admin"),
)


def settings_tabs() -> list[tuple[str, str, bool]]:
    """Title, path and whether it is open, of the sections that this person may see."""
    project_id = g.project.id if g.get("project") else None
    return [
        (tab.title, tab.path, request.path == tab.path)
        for tab in sorted((*OWN, *current_server().settings_tabs), key=lambda tab: tab.order)
        if g.actor.may(tab.role, project_id)
    ]


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

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
"""Bootstrap's own style sheet draws its arrows from data: images."""


@dataclass(frozen=True)
class Entry:
    """One line of the navigation."""

    title: str
    path: str
    current: bool


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
    app.jinja_env.globals.update(address_with=address_with, settings_tabs=settings_tabs)
    app.context_processor(_frame)
    app.after_request(_secure)


def navigation() -> list[Entry]:
    """The entries whose pages this app has."""
    paths = {rule.rule for rule in current_app.url_map.iter_rules()}
    return [
        Entry(title, path, request.path == path or request.path.startswith(f"{path}/"))
        for title, path in NAVIGATION
        if path in paths
    ]


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
        "may": lambda role: (
            g.get("actor") is not None and g.actor.may(role, g.project.id if g.get("project") else None)
        ),
    }


def _secure(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html" and audience_of(request.blueprint) is not Audience.PUBLIC:
        for name, value in PAGE_HEADERS.items():
            response.headers.setdefault(name, value)
    return response
