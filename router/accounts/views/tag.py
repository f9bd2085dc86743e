"""Settings, Tag: what it may do before a visitor has chosen, from where it is served, whose visits are no visits, and which hosts no
source."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts import audit, sessions
from router.accounts.models import Project
from router.accounts.projects import ProjectValues, TagValues, change_project, differences, is_staff, known_here
from router.accounts.views.projects import errors_of
from router.lib.formats import parse_int
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard
from router.web.api import parse
from router.web.errors import Problem, client_address, client_group, is_unknown
from router.web.filters import values_of
from router.web.forms import CONSENT_CHOICES

tag_settings = guard(
    Blueprint("tag_settings", __name__, url_prefix="/settings/tag"), Audience.PEOPLE, sessions.require_person
)


@tag_settings.get("")
def show() -> str:
    project = current_project()
    return _form(_stored(project) | {"version": project.version}, {})


@tag_settings.post("")
def change() -> Response | tuple[str, int]:
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
        return _form(_stored(before) | values | {"version": version}, errors), problem.status
    flash("The tag's settings are saved. Pages follow within five minutes.")
    return redirect(url_for("tag_settings.show"))


def _stored(project: Project) -> dict[str, Any]:
    return {name: getattr(project, name) for name in ProjectValues.model_fields}


def _mine() -> str:
    """Where this person comes from, empty when nobody knows; of IPv6 the list gets the whole network of the line, because its addresses
    change daily."""
    address = client_address(request, current_server().settings.trusted_proxies)
    return "" if is_unknown(address) else address


def _form(values: dict[str, Any], errors: dict[str, str]) -> str:
    return render_template(
        "accounts/settings_tag.html",
        values=values,
        errors=errors,
        consent_choices=CONSENT_CHOICES,
        base_url=current_server().settings.base_url,
        mine=_mine(),
        is_listed=is_staff(tuple(current_project().staff_addresses), _mine()),
    )
