"""Settings, Install: what the web master puts into the site, whether it works, and which other sites asked for numbers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from router.accounts import audit
from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.domains import registrable_domain
from router.accounts.models import Project
from router.accounts.sections import Section, add_section
from router.accounts.sessions import require_person
from router.attribution import install
from router.attribution.crawler_counts import STAFF, crawler_views, write_counts
from router.attribution.models import RefusedOrigin, Visit
from router.attribution.origins import belongs, host_and_port
from router.server import Server, current_server
from router.voice.models import Call
from router.web import Problem

install_page = guard(Blueprint("install", __name__, url_prefix="/settings/install"), Audience.PEOPLE, require_person)


@dataclass(frozen=True)
class Lights:
    """The first visit and the first call; None until there is one."""

    visit: datetime | None
    call: datetime | None


def add_install_section(server: Server) -> None:
    add_section(server, Section("Install", "/settings/install", 20))


def read_lights(session: Session, project_id: int) -> Lights:
    visit = select(func.min(Visit.started_at)).where(Visit.project_id == project_id)
    call = select(func.min(Call.started_at)).where(Call.project_id == project_id)
    return Lights(session.scalar(visit), session.scalar(call))


@install_page.get("")
def show() -> str:
    server, project = current_server(), current_project()
    write_counts(server)
    with server.database.reading() as session:
        lights = read_lights(session, project.id)
        refused = select(RefusedOrigin).where(RefusedOrigin.project_id == project.id)
        asked = [
            one for one in session.scalars(refused.order_by(RefusedOrigin.last_at.desc())) if not _own(project, one)
        ]
        views = crawler_views(session, project, server.now())
    return render_template(
        "reports/install.html",
        lights=lights,
        refused=asked,
        staff=views.pop(STAFF),
        crawlers=sum(views.values()),
        **_texts(project, server.settings.base_url),
    )


def _texts(project: Project, server_address: str) -> dict[str, Any]:
    """What there is to copy, with the address from which the project's tag comes."""
    base_url = project.tag_address or server_address
    host = urlsplit(f"//{project.site[0].removeprefix('*.')}").hostname or ""
    return {
        "snippet": install.snippet(base_url, project.key),
        "script": install.script_address(base_url, project.key),
        "csp": "\n".join(f"{directive} {origin};" for directive, origin in install.csp_lines(base_url).items()),
        "recipes": install.recipes(base_url, project.key),
        "proxies": install.proxies(server_address, registrable_domain(host) or "example.com"),
        "domain": registrable_domain(host) or "example.com",
        "page_of_site": f"https://{project.site[0].removeprefix('*.')}/",
        "consent": install.CONSENT,
        "scripting": install.SCRIPTING,
        "before": install.BEFORE,
    }


@install_page.post("/allow/<int:origin_id>")
def allow(origin_id: int) -> AnyResponse:
    """The host of a site that asked becomes one of the project's own."""
    server = current_server()
    with server.database.writing() as session:
        project = session.get_one(Project, current_project().id, with_for_update=True)
        refused = session.get(RefusedOrigin, origin_id)
        if refused is None or refused.project_id != project.id:
            raise Problem(404, "There is no such request.")
        host = _host(refused.origin)
        if host and not _own(project, refused):
            project.site, project.version = [*project.site, host], project.version + 1
        session.delete(refused)
        audit.record(session, current_actor(), server.now(), "site allowed", host, project.id)
    flash(f"Pages of {host} get tracking numbers from now on.")
    return redirect(url_for("install.show"))


def _own(project: Project, refused: RefusedOrigin) -> bool:
    found = host_and_port(refused.origin)
    return found is not None and belongs(project.site, *found)


def _host(origin: str) -> str:
    host, port = host_and_port(origin) or ("", None)
    return f"{host}:{port}" if port else host
