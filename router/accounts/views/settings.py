"""Settings: the project itself and its audit trail."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, sessions
from router.accounts.models import AuditEntry, Project
from router.accounts.own_numbers import written
from router.accounts.projects import ProjectValues, TagValues, change_project, differences, known_here
from router.accounts.views.projects import errors_of, project_choices
from router.lib.formats import parse_int, parse_money, plain_money
from router.lib.phones import read_caller
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import parse, rows_of
from router.web.errors import Problem
from router.web.filters import values_of
from router.web.forms import REPEAT_CREDITS, TELL_INTERNAL

FIELDS = {"number_price_minor": "number_price", "tag_address": "site"}
"""Where the form shows what is wrong with another field: the tag's own address no longer is one of the site that was typed."""

settings = guard(Blueprint("settings", __name__, url_prefix="/settings"), Audience.PEOPLE, sessions.require_person)


@settings.get("", endpoint="project")
def show() -> str:
    project = current_project()
    values = {name: getattr(project, name) for name in (*ProjectValues.model_fields, "version")}
    price = project.number_price_minor
    values["own_numbers"] = written(project.own_numbers)
    values["number_price"] = "" if price is None else plain_money(price, project.currency)
    return _form(values, {})


@settings.post("")
def change() -> Response | tuple[str, int]:
    before, values, server = current_project(), values_of(request.form), current_server()
    version = values.pop("version", "")
    typed_price = values.pop("number_price", "")
    try:
        kept = {name: getattr(before, name) for name in (*TagValues.model_fields, "own_numbers", "tell_internal")}
        typed = values | {"number_price_minor": _price(before, typed_price)}
        clean = parse(ProjectValues, kept | typed, known_here(server.settings))
        with server.database.writing() as session:
            change_project(session, before.id, parse_int(version) or -1, clean)
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
        return _form(values | {"version": version, "number_price": typed_price}, errors), problem.status
    flash("The project is saved.")
    return redirect(url_for("settings.project"))


@settings.get("/audit")
@needs("admin")
def audit_trail() -> str:
    statement = select(AuditEntry).where(AuditEntry.project_id == current_project().id)
    with current_server().database.reading() as session:
        entries, following = rows_of(session, statement, AuditEntry.id, request.args)
    return render_template("accounts/audit.html", entries=entries, following=following)


def _price(project: Project, typed: str) -> int | None:
    """What the operator typed; what is stored when it is somebody else.

    Raises:
        Problem: 422, it is no amount.
    """
    if not current_actor().is_operator:
        return project.number_price_minor
    try:
        return parse_money(typed, project.currency) if typed.strip() else None
    except ValueError as error:
        raise Problem(422, str(error), "number_price") from None


def _form(values: dict[str, Any], errors: dict[str, str]) -> str:
    """`known_lines`: own telephones that nobody has to type, the fallback line and those that scenarios forward calls to."""
    errors = {FIELDS.get(name, name): said for name, said in errors.items()}
    project = current_project()
    fallback = read_caller(project.fallback_destination).e164
    return render_template(
        "accounts/settings_project.html",
        values=values,
        errors=errors,
        server_price=current_server().settings.number_price,
        repeat_credits=REPEAT_CREDITS,
        tell_internal=TELL_INTERNAL,
        known_lines=sorted({*project.destination_numbers, fallback or ""} - {""}),
        **project_choices(),
    )
