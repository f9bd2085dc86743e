"""Settings, Blocked callers: the block list and the switches beside it; the same for programs; and *Block this caller* on a call's page."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.projects import BlockingValues
from router.accounts.sessions import require_person, require_token
from router.accounts.views.projects import change_by_form, stored_texts
from router.server import current_server
from router.voice.blocking.rules import LONGEST_PATTERN, shown_pattern
from router.voice.blocking.service import REASON_LENGTH, block_caller, entries_of, unblock_caller
from router.voice.models import BLOCKED, BlockedCaller, Call
from router.web.access import Audience, current_project, guard, needs
from router.web.api import described, page_of, parse
from router.web.errors import Problem, iso, read_json
from router.web.forms import BLOCKED_ANSWERS, TELL_INTERNAL, Form, SchemaForm, TextField

blocked_pages = guard(Blueprint("blocked", __name__, url_prefix="/settings/blocked"), Audience.PEOPLE, require_person)
blocked_api = guard(
    Blueprint("blocked_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/blocked-callers"),
    Audience.PROGRAMS,
    require_token,
)


class BlockingForm(SchemaForm):
    schema = BlockingValues
    version = TextField()


class EntryForm(Form):
    pattern = TextField()
    reason = TextField()


@blocked_pages.get("")
def table() -> str:
    return _page(BlockingForm(data=stored_texts()), EntryForm())


@blocked_pages.post("")
@needs("admin")
def change() -> Response | tuple[str, int]:
    form = BlockingForm(request.form, data=stored_texts())
    try:
        change_by_form("blocking changed", form)
    except Problem as problem:
        form.refuse(problem)
        return _page(form, EntryForm()), problem.status
    flash("The settings are saved. They count for calls from now on.")
    return redirect(url_for("blocked.table"))


@blocked_pages.post("/entries")
@needs("admin")
def add() -> Response | tuple[str, int]:
    form = EntryForm(request.form)
    try:
        with changing() as change:
            entry = block_caller(change, str(form.pattern.data), str(form.reason.data))
    except Problem as problem:
        form.refuse(problem)
        return _page(BlockingForm(data=stored_texts()), form), problem.status
    flash(f"{shown_pattern(entry.pattern)} is not put through any more.")
    return redirect(url_for("blocked.table"))


@blocked_pages.post("/entries/<int:entry_id>/remove")
@needs("admin")
def remove(entry_id: int) -> Response:
    with changing() as change:
        entry = unblock_caller(change, entry_id)
    flash(f"Calls from {shown_pattern(entry.pattern)} are put through again.")
    return redirect(url_for("blocked.table"))


@blocked_pages.post("/calls/<int:call_id>")
@needs("admin")
def block_caller_of(call_id: int) -> Response:
    with changing() as change:
        call = change.session.get(Call, call_id)
        if call is None or call.project_id != change.project.id:
            raise Problem(404, "There is no such call.")
        try:
            entry = block_caller(change, call.caller or "", str(request.form.get("reason", "")))
        except Problem as problem:
            flash(problem.detail if call.caller else "The caller's number is not known.", "bad")
            return redirect(url_for("reports.receipt", call_id=call_id))
    flash(f"{shown_pattern(entry.pattern)} is not put through any more.")
    return redirect(url_for("reports.receipt", call_id=call_id))


def _page(form: BlockingForm, entry_form: EntryForm) -> str:
    project = current_project()
    blocked = select(func.count(Call.id)).where(Call.project_id == project.id, Call.kind == BLOCKED)
    with current_server().database.reading() as session:
        return render_template(
            "voice/blocked.html",
            form=form,
            entry_form=entry_form,
            entries=entries_of(session, project.id),
            calls=session.scalar(blocked),
            shown=shown_pattern,
            answers=BLOCKED_ANSWERS,
            tell_blocked=TELL_INTERNAL,
        )


class NewBlockedCaller(BaseModel):
    """A number in any spelling, a pattern in which `*` stands for any digits (`+4930*`, `*0000`), or a SIP address
    (`sip:*@example.com`)."""

    model_config = ConfigDict(extra="forbid")

    pattern: str = Field(max_length=LONGEST_PATTERN, examples=["+4930*"])
    reason: str = Field(default="", max_length=REASON_LENGTH)


class BlockedCallerDocument(BaseModel):
    """An entry of the block list. `is_guess`: the worker made it. `taken_back_at`: since when a guess does not count; it is not guessed
    again."""

    id: int
    pattern: str
    reason: str | None
    is_guess: bool
    created_at: str
    created_by: str
    taken_back_at: str | None


def entry_document(entry: BlockedCaller) -> dict[str, Any]:
    stored = {name: getattr(entry, name) for name in BlockedCallerDocument.model_fields}
    return stored | {
        "reason": entry.reason or None,
        "created_at": iso(entry.created_at),
        "taken_back_at": iso(entry.taken_back_at) if entry.taken_back_at else None,
    }


@blocked_api.get("")
@described(answer=BlockedCallerDocument, is_list=True)
def list_blocked_callers(project_id: int) -> dict[str, Any]:
    """The block list. Its calls are under calls, with the kind blocked; its switches belong to the project."""
    listed = select(BlockedCaller).where(BlockedCaller.project_id == project_id)
    with current_server().database.reading() as session:
        return page_of(session, listed, BlockedCaller.id, request.args, entry_document)


@blocked_api.post("")
@needs("admin")
@described(body=NewBlockedCaller, answer=BlockedCallerDocument, status=201)
def add_blocked_caller(project_id: int) -> tuple[dict[str, Any], int]:
    """Block a caller or a pattern. It counts within two seconds."""
    new = parse(NewBlockedCaller, read_json(request))
    with changing() as change:
        return entry_document(block_caller(change, new.pattern, new.reason)), 201


@blocked_api.delete("/<int:entry_id>")
@needs("admin")
@described(status=204)
def remove_blocked_caller(project_id: int, entry_id: int) -> tuple[str, int]:
    """Take an entry from the list. A guess stays as taken back, so that it is not guessed again; a second time removes it."""
    with changing() as change:
        unblock_caller(change, entry_id)
    return "", 204
