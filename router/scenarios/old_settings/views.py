"""Settings, Bring over (R13): send the old settings, look at the plan, apply it. The file is kept sealed until then."""

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.sections import Section, add_section
from router.accounts.sessions import require_person
from router.scenarios.models import OldSettingsFile
from router.scenarios.old_settings.apply import apply_old_settings
from router.scenarios.old_settings.kept_files import KeptFile, choose, find_file, forget_file, keep_file
from router.scenarios.old_settings.lines import PHONES, OldFile, read_old_file
from router.scenarios.old_settings.plan import ImportPlan, make_plan
from router.scenarios.old_settings.table import UnreadableFile
from router.scenarios.old_settings.two_readings import BadChoice, read_choices
from router.scenarios.refusal import Refused
from router.server import Server, current_server
from router.web import Problem

PATH = "/settings/old-settings"
MOST_BYTES = 384 * 1024
"""Of a request with a file; 1,000 lines are about 100 kB."""

old_settings_pages = guard(Blueprint("old_settings", __name__, url_prefix=PATH), Audience.PEOPLE, require_person)

Page = str | tuple[str, int] | Response


def add_old_settings_section(server: Server) -> None:
    add_section(server, Section("Bring over", PATH, 60, "admin"))


@old_settings_pages.before_app_request
def allow_a_file() -> None:
    """Before the form is read: this one may be larger than others."""
    if request.endpoint == "old_settings.send":
        request.max_content_length = MOST_BYTES


@old_settings_pages.get("")
def show() -> Page:
    """The form, and the plan of the file that was sent last."""
    kept = _kept()
    return _page(kept[0].name, _plan(kept[1]), kept[0].choices) if kept else _page()


@old_settings_pages.post("")
def send() -> Page:
    """Keeps the file, if it can be read at all; the plan is shown by the page that follows."""
    sent = request.files.get("file")
    data = sent.read(MOST_BYTES) if sent else b""
    try:
        if sent is None or not sent.filename:
            raise UnreadableFile("Choose a file first.")
        read_old_file(data, current_project().country)
    except UnreadableFile as error:
        return _page(error=str(error)), 422
    with current_server().database.writing() as session:
        keep_file(session, OldSettingsFile, sent.filename, data)
    return redirect(url_for("old_settings.show"))


@old_settings_pages.post("/choose")
def say() -> Page:
    """How numbers of two readings are to be read, by column; an empty choice asks again."""
    given = {column: request.form.get(f"numbers.{column}", "") for column in PHONES}
    try:
        choices = read_choices({column: choice for column, choice in given.items() if choice})
    except BadChoice as error:
        raise Problem(422, str(error), "numbers") from None
    with current_server().database.writing() as session:
        choose(session, OldSettingsFile, dict(choices))
    return redirect(url_for("old_settings.show"))


@old_settings_pages.post("/apply")
def apply() -> Page:
    """All or nothing; the plan is made anew in the transaction."""
    server, project = current_server(), current_project()
    kept = _kept()
    if kept is None:
        flash("There is no file to apply: send it first.", "bad")
        return redirect(url_for("old_settings.show"))
    sent, file = kept
    try:
        with server.database.writing() as session:
            done = apply_old_settings(session, server, project, current_actor(), file, server.now())
            forget_file(session, OldSettingsFile)
    except Refused:
        return _page(sent.name, _plan(file), sent.choices), 422
    except Problem as refusal:
        if refusal.status != 409:
            raise
        error = f"Nothing was brought over. {refusal.detail}"
        return _page(sent.name, _plan(file), sent.choices, error), 409
    return render_template("scenarios/old_settings_done.html", done=done)


@old_settings_pages.post("/forget")
def forget() -> Response:
    """Takes the file away without applying it."""
    with current_server().database.writing() as session:
        forget_file(session, OldSettingsFile)
    return redirect(url_for("old_settings.show"))


def _kept() -> tuple[KeptFile, OldFile] | None:
    """The file that this person sent last; None as well when it cannot be read any more, because the country changed."""
    kept = find_file(OldSettingsFile)
    if kept is None:
        return None
    try:
        return kept, read_old_file(kept.data, current_project().country, read_choices(kept.choices))
    except (UnreadableFile, BadChoice):
        return None


def _plan(file: OldFile) -> ImportPlan:
    server = current_server()
    with server.database.reading() as session:
        return make_plan(session, server, current_project(), file)


def _page(
    name: str = "", plan: ImportPlan | None = None, choices: Mapping[str, str] | None = None, error: str = ""
) -> str:
    return render_template("scenarios/old_settings.html", name=name, plan=plan, choices=choices or {}, error=error)
