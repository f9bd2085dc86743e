"""Settings: the project itself and its audit trail."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, sessions
from router.accounts.access import Audience, current_actor, current_project, guard, needs
from router.accounts.api_habits import parse, rows_of
from router.accounts.filters import values_of
from router.accounts.models import AuditEntry, Project
from router.accounts.project_pages import errors_of, project_choices
from router.accounts.projects import ProjectValues, change_project, differences
from router.server import current_server
from router.web import Problem

settings = guard(Blueprint("settings", __name__, url_prefix="/settings"), Audience.PEOPLE, sessions.require_person)


@settings.get("")
def project() -> str:
    return _form(_values(current_project()), {})


@settings.post("")
def change() -> Response | tuple[str, int]:
    before, values, server = current_project(), values_of(request.form), current_server()
    version = values.pop("version", "")
    try:
        clean = parse(ProjectValues, values)
        with server.database.writing() as session:
            change_project(session, before.id, int(version) if version.isdecimal() else -1, clean)
            audit.record(
                session,
                current_actor(),
                server.now(),
                "project changed",
                clean.name,
                before.id,
                **differences(before, clean),
            )
    except Problem as problem:
        errors = errors_of(problem) if problem.status == 422 else {"": problem.detail}
        return _form(values | {"version": version}, errors), problem.status
    flash("The project is saved.")
    return redirect(url_for("settings.project"))


@settings.get("/audit")
@needs("admin")
def audit_trail() -> str:
    statement = select(AuditEntry).where(AuditEntry.project_id == current_project().id)
    with current_server().database.reading() as session:
        entries, following = rows_of(session, statement, AuditEntry.id, request.args)
    return render_template("accounts/audit.html", entries=entries, following=following)


def _values(project: Project) -> dict[str, Any]:
    return {name: getattr(project, name) for name in (*ProjectValues.model_fields, "version")}


def _form(values: dict[str, Any], errors: dict[str, str]) -> str:
    return render_template("accounts/settings_project.html", values=values, errors=errors, **project_choices())
