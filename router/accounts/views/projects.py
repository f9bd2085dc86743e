"""Pages of projects: the list, making one, opening one; the operator suspends and resumes them."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, sessions
from router.accounts.models import Project
from router.accounts.projects import ProjectValues, create_project, suspend_project
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import parse
from router.web.errors import Problem
from router.web.filters import values_of
from router.web.forms import COUNTRIES, CURRENCY_CHOICES, timezone_choices

projects = guard(Blueprint("projects", __name__, url_prefix="/projects"), Audience.PEOPLE, sessions.require_person)


@projects.get("")
@needs("person")
def table() -> str:
    """All projects for the operator, his own for everybody else."""
    actor = current_actor()
    statement = select(Project).order_by(Project.name, Project.id)
    if not actor.is_operator:
        statement = statement.where(Project.id.in_(actor.roles))
    with current_server().database.reading() as session:
        found = session.scalars(statement).all()
    return render_template("accounts/projects.html", found=found)


@projects.get("/new")
@needs("operator")
def new() -> str:
    return _form({"currency": "EUR", "timezone": "UTC"}, {})


@projects.post("")
@needs("operator")
def create() -> Response | tuple[str, int]:
    server, values = current_server(), values_of(request.form)
    try:
        clean = parse(ProjectValues, values)
    except Problem as problem:
        return _form(values, errors_of(problem)), 422
    now = server.now()
    with server.database.writing() as session:
        project = create_project(session, clean, now)
        audit.record(session, current_actor(), now, "project created", project.name, project.id)
    sessions.open_project(project.id)
    flash(f"{project.name} is ready.")
    return redirect(url_for("doors.home"))


@projects.post("/<int:project_id>/open")
@needs("person")
def open_one(project_id: int) -> Response:
    sessions.open_project(project_id)
    return redirect(url_for("doors.home"))


@projects.post("/<int:project_id>/suspend")
@needs("operator")
def suspend(project_id: int) -> Response:
    """`on` empty resumes it."""
    server, project, resumed = current_server(), current_project(), not request.form.get("on")
    now = server.now()
    with server.database.writing() as session:
        suspend_project(session, project_id, None if resumed else now)
        action = "project resumed" if resumed else "project suspended"
        audit.record(session, current_actor(), now, action, project.name, project_id)
    flash(
        f"{project.name} is {'running again' if resumed else 'suspended: it gives out no numbers, calls are still put through'}."
    )
    return redirect(url_for("projects.table"))


def errors_of(problem: Problem) -> dict[str, str]:
    """Field to sentence, for the form that has to be shown again."""
    errors: dict[str, str] = problem.more.get("errors") or {problem.field or "": problem.detail}
    return errors


def project_choices() -> dict[str, Any]:
    """What the selects of a project's form offer."""
    return {"countries": COUNTRIES, "currencies": CURRENCY_CHOICES, "timezones": timezone_choices()}


def _form(values: dict[str, Any], errors: dict[str, str]) -> str:
    return render_template("accounts/project_new.html", values=values, errors=errors, **project_choices())
