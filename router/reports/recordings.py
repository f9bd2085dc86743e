"""Recordings are heard on their call's page by people who sign in, and fetched by programs with their token; a browser asks for pieces of
the file as it plays. People may also delete one, or have it fetched again."""

from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from router.accounts.audit import changing
from router.accounts.sessions import open_project, require_person, require_token
from router.lib.file_store import StoreError, store_named
from router.reports.calls import find_call
from router.server import current_server
from router.voice.messages import ENDINGS, file_name
from router.voice.models import Call, CallRecording, RecordingState
from router.voice.recordings import fetch_failed_again, find_recording, is_heard, remove_recordings
from router.web.access import Audience, current_project, guard, needs
from router.web.api import described
from router.web.errors import Problem
from router.web.stored_files import send_stored

WHY_NOT = {
    RecordingState.WAITING: "The recording is still being fetched from the carrier.",
    RecordingState.FAILED: "The recording could not be fetched from the carrier.",
}

recording_pages = guard(Blueprint("recordings", __name__, url_prefix="/calls"), Audience.PEOPLE, require_person)


@recording_pages.get("/in/<int:project_id>/<int:call_id>")
def open_call(project_id: int, call_id: int) -> AnyResponse:
    """Where links in e-mails and CRMs lead: opens the project, and then the call."""
    open_project(project_id)
    return redirect(url_for("reports.receipt", call_id=call_id, _anchor="recordings"))


@recording_pages.get("/<int:call_id>/recordings/<int:recording_id>")
def hear(call_id: int, recording_id: int) -> Response:
    """`download` in the address: as a file to keep."""
    return _sound(recording_id, call_id)


@recording_pages.post("/<int:call_id>/recordings/<int:recording_id>/delete")
@needs("admin")
def delete(call_id: int, recording_id: int) -> AnyResponse:
    with changing() as change:
        recording = _recording_of_call(change.session, call_id, recording_id)
        reason = f"Deleted by {change.actor.name}."
        remove_recordings(change.session, CallRecording.id == recording.id, reason, change.now)
        change.record("recording.deleted", f"recording {recording.id} of call {call_id}")
    flash("The recording is deleted, here and at the carrier.")
    return redirect(url_for("reports.receipt", call_id=call_id, _anchor="recordings"))


@recording_pages.post("/<int:call_id>/recordings/<int:recording_id>/fetch")
@needs("admin")
def fetch_again(call_id: int, recording_id: int) -> AnyResponse:
    """Of one that was given up."""
    with changing() as change:
        recording = _recording_of_call(change.session, call_id, recording_id)
        if not fetch_failed_again(change.session, CallRecording.id == recording.id, change.now):
            raise Problem(409, "This recording is fetched, or on its way.")
        change.record("recording.fetched again", f"recording {recording.id} of call {call_id}")
    flash("The recording is being fetched again. Load this page anew in a moment.")
    return redirect(url_for("reports.receipt", call_id=call_id, _anchor="recordings"))


recording_api = guard(
    Blueprint("recording_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/recordings"),
    Audience.PROGRAMS,
    require_token,
)


@recording_api.get("/<int:recording_id>")
@described(file=tuple(ENDINGS), also={206: None, 416: None})
def get_recording(project_id: int, recording_id: int) -> Response:
    """Read the file of a recording: audio/wav or audio/mpeg, whole or in ranges of bytes. 404 while it is not kept here."""
    return _sound(recording_id)


def _recording_of_call(session: Any, call_id: int, recording_id: int) -> CallRecording:
    """
    Raises:
        Problem: 404 when the project has no such recording of this call.
    """
    call = find_call(session, current_project().id, call_id)
    recording = find_recording(session, current_project().id, recording_id)
    if recording.call_sid != call.sid:
        raise Problem(404, "There is no such recording.")
    return recording


def _sound(recording_id: int, call_id: int | None = None) -> Response:
    """The file, or the range that was asked for. Nobody on the way keeps it.

    Raises:
        Problem: 404 when it cannot be heard, 503 when its store does not answer.
    """
    server = current_server()
    with server.database.reading() as session:
        if call_id is not None:
            recording = _recording_of_call(session, call_id, recording_id)
        else:
            recording = find_recording(session, current_project().id, recording_id)
        call = session.query(Call).filter_by(sid=recording.call_sid).one()
    if not is_heard(recording) or not recording.size:
        raise Problem(404, WHY_NOT.get(RecordingState(recording.state), "The recording was deleted."))
    disposition = "attachment" if "download" in request.args else "inline"
    headers = {
        "Cache-Control": "private, no-store",
        "Content-Disposition": f'{disposition}; filename="{file_name(recording, call)}"',
    }
    tag, size = f"{recording.id}-{recording.size}", recording.size
    try:
        store = store_named(server.settings, recording.store)
        return send_stored(store, recording.file, size, recording.content_type, tag, headers)
    except StoreError as error:
        raise Problem(503, f"{error} Try again in a minute.") from None
