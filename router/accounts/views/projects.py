"""Pages of projects: the list, making one, opening one, suspending and resuming one; its settings, its audit trail and its tag."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import Field

from router.accounts import audit, sessions
from router.accounts.audit import changing
from router.accounts.models import AuditEntry, Project
from router.accounts.projects import (
    ProjectValues,
    TagValues,
    change_project,
    create_project,
    is_staff,
    known_here,
    suspend_project,
    written_numbers,
)
from router.lib.formats import parse_int, plain_money
from router.lib.phones import read_caller
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import parse, rows_of
from router.web.errors import Problem, client_address, client_group, is_unknown
from router.web.forms import (
    CONSENT_CHOICES,
    COUNTRIES,
    CURRENCY_CHOICES,
    REPEAT_CREDITS,
    TELL_INTERNAL,
    SchemaForm,
    SwitchField,
    TextField,
    amount_of,
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
        listed = session.scalars(statement).all()
    return render_template("accounts/projects.html", listed=listed)


class ProjectForm(SchemaForm):
    """What is typed in about a new project."""

    schema = ProjectValues
    members: ClassVar[Iterable[str] | None] = (
        "name",
        "fallback_destination",
        "country",
        "timezone",
        "currency",
        "email",
    )
    site = TextField(separator=", ")


@projects.get("/new")
@needs("operator")
def new() -> str:
    return _new_page(ProjectForm(data={"currency": "EUR", "timezone": "UTC"}))


@projects.post("")
@needs("operator")
def create() -> Response | tuple[str, int]:
    server, form = current_server(), ProjectForm(request.form)
    try:
        values = parse(ProjectValues, form.data, known_here(server.settings))
    except Problem as problem:
        form.refuse(problem)
        return _new_page(form), 422
    now = server.now()
    with server.database.writing() as session:
        project = create_project(session, values, now)
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
    project, resumed = current_project(), not request.form.get("on")
    with changing() as change:
        suspend_project(change.session, project_id, None if resumed else change.now)
        change.record("project resumed" if resumed else "project suspended", project.name)
    flash(
        f"{project.name} is {'running again' if resumed else 'suspended: it gives out no numbers, calls are still put through'}."
    )
    return redirect(url_for("projects.table"))


def project_choices() -> dict[str, Any]:
    return {"countries": COUNTRIES, "currencies": CURRENCY_CHOICES, "timezones": timezone_choices()}


def _new_page(form: ProjectForm) -> str:
    return render_template("accounts/project_new.html", form=form, **project_choices())


settings = guard(Blueprint("settings", __name__, url_prefix="/settings"), Audience.PEOPLE, sessions.require_person)


class SettingsForm(ProjectForm):
    PATHS: ClassVar[Mapping[str, str]] = {"number_price": "number_price_minor"}
    members = ("visit_gap_seconds", "source_days", "repeat_credit", "recording_days", "message_days", "tell_internal")
    own_numbers = TextField()
    number_price = TextField()
    version = TextField()

    def by_path(self, within: str = "") -> dict[str, Field]:
        """An address of the tag that is none of the site any more is told where the site is typed."""
        return super().by_path(within) | {"tag_address": self.site}


@settings.get("", endpoint="project")
def project_settings() -> str:
    return _settings_page(SettingsForm(data=stored_texts()))


@settings.post("", endpoint="change")
def change_settings() -> Response | tuple[str, int]:
    form, project = SettingsForm(request.form, data=stored_texts()), current_project()
    price, field = project.number_price_minor, form.number_price
    try:
        if current_actor().is_operator:
            price = amount_of(field, project.currency, "number_price_minor") if field.data.strip() else None
        change_by_form("project changed", form, number_price_minor=price)
    except Problem as problem:
        form.refuse(problem)
        return _settings_page(form), problem.status
    flash("The project is saved.")
    return redirect(url_for("settings.project"))


@settings.get("/audit")
@needs("admin")
def audit_trail() -> str:
    statement = select(AuditEntry).where(AuditEntry.project_id == current_project().id)
    with current_server().database.reading() as session:
        entries, following = rows_of(session, statement, AuditEntry.id, request.args)
    return render_template("accounts/audit.html", entries=entries, following=following)


def change_by_form(action: str, form: SchemaForm, **decided: Any) -> None:
    """Stores what was typed in one of the forms about the project of this request.

    Args:
        decided: what the form itself does not say.

    Raises:
        Problem: as `change_project`, and 422 for a field that cannot be used.
    """
    project = current_project()
    stored = {name: getattr(project, name) for name in ProjectValues.model_fields}
    typed = {name: value for name, value in form.data.items() if name in stored}
    values = parse(ProjectValues, stored | typed | decided, known_here(current_server().settings, project))
    version = parse_int(form["version"].data) or -1
    with changing() as change:
        change_project(change, version, values, action)


def stored_texts() -> dict[str, Any]:
    project = current_project()
    price = project.number_price_minor
    return {name: getattr(project, name) for name in (*ProjectValues.model_fields, "version")} | {
        "own_numbers": written_numbers(project.own_numbers),
        "number_price": "" if price is None else plain_money(price, project.currency),
    }


def _settings_page(form: SettingsForm) -> str:
    """`known_lines`: own telephones that nobody has to type, the fallback line and those that scenarios forward calls to."""
    project = current_project()
    fallback = read_caller(project.fallback_destination).e164
    return render_template(
        "accounts/settings_project.html",
        form=form,
        server_price=current_server().settings.number_price,
        repeat_credits=REPEAT_CREDITS,
        tell_internal=TELL_INTERNAL,
        known_lines=sorted({*project.destination_numbers, fallback or ""} - {""}),
        **project_choices(),
    )


tag_settings = guard(
    Blueprint("tag_settings", __name__, url_prefix="/settings/tag"), Audience.PEOPLE, sessions.require_person
)


class TagForm(SchemaForm):
    schema = TagValues
    add_mine = SwitchField()
    version = TextField()


@tag_settings.get("", endpoint="show")
def tag() -> str:
    return _tag_page(TagForm(data=stored_texts()))


@tag_settings.post("", endpoint="change")
def change_tag() -> Response | tuple[str, int]:
    form = TagForm(request.form, data=stored_texts())
    if form.add_mine.data:
        form.staff_addresses.data += f"\n{client_group(_mine())}"
    try:
        change_by_form("tag changed", form)
    except Problem as problem:
        form.refuse(problem)
        return _tag_page(form), problem.status
    flash("The tag's settings are saved. Pages follow within five minutes.")
    return redirect(url_for("tag_settings.show"))


def _mine() -> str:
    """Where this person comes from, empty when nobody knows; of IPv6 the list gets the whole network of the line, because its addresses
    change daily."""
    address = client_address(request, current_server().settings.trusted_proxies)
    return "" if is_unknown(address) else address


def _tag_page(form: TagForm) -> str:
    return render_template(
        "accounts/settings_tag.html",
        form=form,
        consent_choices=CONSENT_CHOICES,
        base_url=current_server().settings.base_url,
        mine=_mine(),
        is_listed=is_staff(tuple(current_project().staff_addresses), _mine()),
    )
