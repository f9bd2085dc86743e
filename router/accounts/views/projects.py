"""Pages of projects: the list, making one, opening one, suspending and resuming one; its settings, its audit trail and its tag."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts import audit, sessions
from router.accounts.models import AuditEntry, Project
from router.accounts.projects import (
    ProjectValues,
    TagValues,
    change_project,
    create_project,
    differences,
    is_staff,
    known_here,
    suspend_project,
    written_numbers,
)
from router.lib.formats import parse_int, parse_money, plain_money
from router.lib.phones import read_caller
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import parse, rows_of
from router.web.errors import Problem, client_address, client_group, is_unknown
from router.web.filters import values_of
from router.web.forms import (
    CONSENT_CHOICES,
    COUNTRIES,
    CURRENCY_CHOICES,
    REPEAT_CREDITS,
    TELL_INTERNAL,
    timezone_choices,
)

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
    return _new_page({"currency": "EUR", "timezone": "UTC"}, {})


@projects.post("")
@needs("operator")
def create() -> Response | tuple[str, int]:
    server, values = current_server(), values_of(request.form)
    try:
        clean = parse(ProjectValues, values)
    except Problem as problem:
        return _new_page(values, errors_of(problem)), 422
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


def _new_page(values: dict[str, Any], errors: dict[str, str]) -> str:
    return render_template("accounts/project_new.html", values=values, errors=errors, **project_choices())


FIELDS = {"number_price_minor": "number_price", "tag_address": "site"}
"""Where the form shows what is wrong with another field: the tag's own address no longer is one of the site that was typed."""

settings = guard(Blueprint("settings", __name__, url_prefix="/settings"), Audience.PEOPLE, sessions.require_person)


@settings.get("", endpoint="project")
def project_settings() -> str:
    project = current_project()
    values = {name: getattr(project, name) for name in (*ProjectValues.model_fields, "version")}
    price = project.number_price_minor
    values["own_numbers"] = written_numbers(project.own_numbers)
    values["number_price"] = "" if price is None else plain_money(price, project.currency)
    return _settings_page(values, {})


@settings.post("", endpoint="change")
def change_settings() -> Response | tuple[str, int]:
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
        return _settings_page(values | {"version": version, "number_price": typed_price}, errors), problem.status
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


def _settings_page(values: dict[str, Any], errors: dict[str, str]) -> str:
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


tag_settings = guard(
    Blueprint("tag_settings", __name__, url_prefix="/settings/tag"), Audience.PEOPLE, sessions.require_person
)


@tag_settings.get("", endpoint="show")
def tag() -> str:
    project = current_project()
    return _tag_page(_stored(project) | {"version": project.version}, {})


@tag_settings.post("", endpoint="change")
def change_tag() -> Response | tuple[str, int]:
    server, before, typed = current_server(), current_project(), values_of(request.form)
    version, add_mine = typed.pop("version", ""), typed.pop("add_mine", "")
    values: dict[str, Any] = {name: typed[name] for name in TagValues.model_fields if name in typed}
    values |= {name: name in typed for name in ("gpc_refuses", "ignore_automation")}
    if add_mine:
        values["staff_addresses"] = f"{values.get('staff_addresses', '')}\n{client_group(_mine())}"
    try:
        clean = parse(ProjectValues, _stored(before) | values, known_here(server.settings))
        with server.database.writing() as session:
            change_project(session, before.id, parse_int(version) or -1, clean)
            changes = differences(before, clean)
            audit.record(session, current_actor(), server.now(), "tag changed", clean.name, before.id, **changes)
    except Problem as problem:
        errors = errors_of(problem) if problem.status == 422 else {"": problem.detail}
        return _tag_page(_stored(before) | values | {"version": version}, errors), problem.status
    flash("The tag's settings are saved. Pages follow within five minutes.")
    return redirect(url_for("tag_settings.show"))


def _stored(project: Project) -> dict[str, Any]:
    return {name: getattr(project, name) for name in ProjectValues.model_fields}


def _mine() -> str:
    """Where this person comes from, empty when nobody knows; of IPv6 the list gets the whole network of the line, because its addresses
    change daily."""
    address = client_address(request, current_server().settings.trusted_proxies)
    return "" if is_unknown(address) else address


def _tag_page(values: dict[str, Any], errors: dict[str, str]) -> str:
    return render_template(
        "accounts/settings_tag.html",
        values=values,
        errors=errors,
        consent_choices=CONSENT_CHOICES,
        base_url=current_server().settings.base_url,
        mine=_mine(),
        is_listed=is_staff(tuple(current_project().staff_addresses), _mine()),
    )
