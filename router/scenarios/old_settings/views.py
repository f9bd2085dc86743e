"""Settings, Bring over (R13): send the old settings, look at the plan, apply it. The file is kept sealed until then."""

import base64
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.sections import Section, add_section
from router.accounts.sessions import require_person
from router.crypto import SealBroken
from router.database import dialect_insert
from router.scenarios.models import OldSettingsFile
from router.scenarios.old_settings.apply import apply_old_settings
from router.scenarios.old_settings.lines import OldFile, read_old_file
from router.scenarios.old_settings.plan import ImportPlan, make_plan
from router.scenarios.old_settings.table import UnreadableFile
from router.scenarios.refusal import Refused
from router.server import Server, current_server
from router.web import Problem

PATH = "/settings/old-settings"
MOST_BYTES = 384 * 1024
"""Of a request with a file; 1,000 lines are about 100 kB."""
LONGEST_NAME = 120

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
    return _page(kept[0], _plan(kept[1])) if kept else _page()


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
        _keep(session, sent.filename.replace("\0", "")[-LONGEST_NAME:], data)
    return redirect(url_for("old_settings.show"))


@old_settings_pages.post("/apply")
def apply() -> Page:
    """All or nothing; the plan is made anew in the transaction."""
    server, project = current_server(), current_project()
    kept = _kept()
    if kept is None:
        flash("There is no file to apply: send it first.", "bad")
        return redirect(url_for("old_settings.show"))
    name, file = kept
    try:
        with server.database.writing() as session:
            done = apply_old_settings(session, server, project, current_actor(), file, server.now())
            session.execute(delete(OldSettingsFile).where(*_mine()))
    except Refused:
        return _page(name, _plan(file)), 422
    except Problem as refusal:
        if refusal.status != 409:
            raise
        return _page(name, _plan(file), error=f"Nothing was brought over. {refusal.detail}"), 409
    return render_template("scenarios/old_settings_done.html", done=done)


@old_settings_pages.post("/forget")
def forget() -> Response:
    """Takes the file away without applying it."""
    with current_server().database.writing() as session:
        session.execute(delete(OldSettingsFile).where(*_mine()))
    return redirect(url_for("old_settings.show"))


def _mine() -> tuple[Any, Any]:
    return (
        OldSettingsFile.project_id == current_project().id,
        OldSettingsFile.person_id == (current_actor().person_id or 0),
    )


def _kept() -> tuple[str, OldFile] | None:
    """The file that this person sent last, with its name; None as well when it cannot be read any more (the country or the key changed)."""
    server = current_server()
    with server.database.reading() as session:
        kept = session.scalar(select(OldSettingsFile).where(*_mine()))
    if kept is None:
        return None
    try:
        return kept.name, read_old_file(base64.b64decode(server.keys.unseal(kept.sealed)), current_project().country)
    except (SealBroken, UnreadableFile):
        return None


def _keep(session: Session, name: str, data: bytes) -> None:
    server = current_server()
    sealed = server.keys.seal(base64.b64encode(data).decode())
    changed = {"name": name, "sealed": sealed, "created_at": server.now()}
    mine = {"project_id": current_project().id, "person_id": current_actor().person_id}
    row = dialect_insert(session, OldSettingsFile).values(mine | changed)
    session.execute(row.on_conflict_do_update(index_elements=list(mine), set_=changed))


def _plan(file: OldFile) -> ImportPlan:
    server = current_server()
    with server.database.reading() as session:
        return make_plan(session, server, current_project(), file)


def _page(name: str = "", plan: ImportPlan | None = None, error: str = "") -> str:
    return render_template("scenarios/old_settings.html", name=name, plan=plan, error=error)
