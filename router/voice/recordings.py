"""Recordings of calls: each that the carrier tells of is one row, told to programs, until it is removed. `recording_jobs.py` fetches and
deletes what the rows say."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.orm import Session

from router.carriers.base import Recording
from router.db import insert_new
from router.server import Server
from router.voice.models import Call, CallRecording, RecordingState
from router.voice.state import Event
from router.web.errors import Problem, iso

RECORDING = "recording"
"""The kind of event with which the carrier tells that a recording is finished."""
LEASE = timedelta(minutes=15)
"""Longer than a file may take to be fetched and stored."""
GOING = (RecordingState.REMOVING, RecordingState.REMOVED)
TALK, MESSAGE = "talk", "message"
FORGOTTEN = "The caller was forgotten."


def recording_event(
    recording: Recording, at: datetime, step: str = "", flow_id: int | None = None
) -> tuple[str, Event]:
    """What the carrier tells of a recording, with its key. `step` and `flow_id`: by what it was recorded, as our address said."""
    facts = {
        "sid": recording.recording_sid,
        "url": recording.url,
        "seconds": recording.seconds,
        "channels": recording.channels,
        "is_message": recording.is_message,
        "status": recording.status,
        "step": step,
        "flow": flow_id,
    }
    return f"recording:{recording.recording_sid}:{recording.status}", Event(RECORDING, at, facts)


def note_recordings(
    session: Session, calls: Mapping[str, Call], events: Mapping[str, Iterable[Event]], now: datetime
) -> None:
    """Writes a row for each recording that the events of these calls tell of, once. Those of forgotten callers are only deleted."""
    rows: dict[str, dict[str, Any]] = {}
    for sid, call in calls.items():
        for event in events[sid]:
            facts = event.facts
            if event.kind == "gather" and facts.get("message"):  # what the carrier says of it elsewhere may be lost
                step = str(facts.get("step") or "").partition(".")[0]
                facts = {**facts["message"], "is_message": True, "step": step}
            elif event.kind != RECORDING or facts.get("status", "completed") != "completed":
                continue
            if not facts.get("sid") or (facts["sid"] in rows and event.kind != RECORDING):
                continue
            rows[facts["sid"]] = {
                "project_id": call.project_id,
                "call_sid": sid,
                "sid": facts["sid"],
                "is_message": bool(facts.get("is_message")),
                "step": facts.get("step") or "",
                "flow_id": facts.get("flow") or None,
                "channels": facts.get("channels") or 1,
                "seconds": facts.get("seconds"),
                "told_at": event.at,
                "state": RecordingState.WAITING,
                "reason": "",
                "file": secrets.token_hex(20),
                "store": "",
                "content_type": "",
                "is_at_carrier": True,
                "attempts": 0,
                "next_at": now,
            }
    if not rows:
        return
    session.execute(insert_new(session, CallRecording, unique=["sid"]).values(list(rows.values())))
    forgotten = [sid for sid, call in calls.items() if call.forgotten_id is not None]
    if forgotten:
        remove_recordings(session, CallRecording.call_sid.in_(forgotten), FORGOTTEN, now)


def remove_recordings(session: Session, which: ColumnElement[bool], reason: str, now: datetime) -> int:
    """Recordings are heard by nobody from now on, and their files deleted here and at the carrier soon. Returns how many. One that is being
    fetched in this moment is deleted after whoever does it has ended."""
    after_lease = now + LEASE
    in_hand = (CallRecording.state == RecordingState.WAITING) & (CallRecording.next_at > now)
    next_at = case(
        (in_hand & (CallRecording.next_at < after_lease), CallRecording.next_at), (in_hand, after_lease), else_=now
    )
    removed = (
        update(CallRecording)
        .where(which, CallRecording.state.not_in(GOING))
        .values(state=RecordingState.REMOVING, reason=reason[:300], attempts=0, next_at=next_at)
        .returning(CallRecording.id)
        .execution_options(synchronize_session=False)
    )
    return len(session.execute(removed).all())


def fetch_failed_again(session: Session, which: ColumnElement[bool], now: datetime) -> int:
    """Recordings that were given up are tried from the beginning. Returns how many."""
    again = (
        update(CallRecording)
        .where(which, CallRecording.state == RecordingState.FAILED)
        .values(state=RecordingState.WAITING, attempts=0, next_at=now)
        .returning(CallRecording.id)
        .execution_options(synchronize_session=False)
    )
    return len(session.execute(again).all())


def recordings_of(session: Session, calls: Iterable[Call]) -> dict[str, list[CallRecording]]:
    """The recordings of calls in the order in which they were made, by the carrier's id of the call."""
    calls = list(calls)
    by_call: dict[str, list[CallRecording]] = {call.sid: [] for call in calls}
    projects = {call.sid: call.project_id for call in calls}
    if by_call:
        stored = select(CallRecording).where(CallRecording.call_sid.in_(by_call))
        for recording in session.scalars(stored.order_by(CallRecording.told_at, CallRecording.id)):
            if (
                recording.project_id == projects[recording.call_sid]
            ):  # else an account has told of what is not its project's
                by_call[recording.call_sid].append(recording)
    return by_call


def recorded_calls(session: Session, calls: Iterable[Call]) -> set[str]:
    """Those of these calls of which something can be heard, by the carrier's ids."""
    sids = [call.sid for call in calls]
    kept = select(CallRecording.call_sid).where(
        CallRecording.call_sid.in_(sids), CallRecording.state == RecordingState.KEPT
    )
    return set(session.scalars(kept)) if sids else set()


def count_recordings(session: Session) -> dict[str, int]:
    """How many there are by their state, without those that were removed."""
    states = select(CallRecording.state, func.count().label("amount")).where(CallRecording.state != "removed")
    return {row.state: row.amount for row in session.execute(states.group_by(CallRecording.state))}


FETCHED_WITHIN = timedelta(hours=1)
STUBBORN = 11
"""Tries to delete one, a day's: the pauses double from a minute on."""
MOST_LATE = 1000


def late_recordings(session: Session, now: datetime) -> Sequence[CallRecording]:
    """Those that somebody should look at, the oldest first: given up, not fetched for an hour, not deleted for a day."""
    given_up = CallRecording.state == RecordingState.FAILED
    waits = (CallRecording.state == RecordingState.WAITING) & (CallRecording.told_at <= now - FETCHED_WITHIN)
    stays = CallRecording.state.in_((RecordingState.KEPT, RecordingState.REMOVING)) & (
        CallRecording.attempts >= STUBBORN
    )
    late = select(CallRecording).where(CallRecording.state != "removed", given_up | waits | stays)
    return session.scalars(late.order_by(CallRecording.told_at, CallRecording.id).limit(MOST_LATE)).all()


def oldest_due_recording(session: Session, now: datetime) -> datetime | None:
    """Since when the recording waits that waits the longest for what is to be done with it; None: nothing is due."""
    return session.scalar(select(func.min(CallRecording.next_at)).where(CallRecording.next_at <= now))


def find_recording(session: Session, project_id: int, recording_id: int) -> CallRecording:
    """
    Raises:
        Problem: 404 when the project has no such recording.
    """
    recording = session.get(CallRecording, recording_id)
    if recording is None or recording.project_id != project_id:
        raise Problem(404, "There is no such recording.")
    return recording


def is_heard(recording: CallRecording) -> bool:
    """Whether its file is here and may be listened to."""
    return recording.state == RecordingState.KEPT


PREFERRED = (RecordingState.KEPT, RecordingState.WAITING, RecordingState.FAILED, *GOING)


def main_recording(recordings: Sequence[CallRecording]) -> CallRecording | None:
    """The one that stands for its call: it can be heard or will be soonest, and of several the longest."""
    ranked = sorted(recordings, key=lambda one: (PREFERRED.index(RecordingState(one.state)), -(one.seconds or 0)))
    return ranked[0] if ranked else None


def recording_document(server: Server, call: Call, recording: CallRecording) -> dict[str, Any]:
    """As programs get it: `url` is for them and wants their token, `page` is for people."""
    base, is_gone = server.settings.base_url, recording.state in GOING
    url = f"{base}/api/v1/projects/{recording.project_id}/recordings/{recording.id}"
    return {
        "id": recording.id,
        "kind": MESSAGE if recording.is_message else TALK,
        "state": RecordingState.REMOVED if is_gone else recording.state,
        "url": None if is_gone else url,
        "page": page_of_recording(server, call),
        "duration": recording.seconds,
        "channels": recording.channels,
        "content_type": recording.content_type or None,
        "size": recording.size,
        "told_at": iso(recording.told_at),
    }


def page_of_recording(server: Server, call: Call) -> str:
    """It names the project: whoever follows a link may have another one open."""
    return f"{server.settings.base_url}/calls/in/{call.project_id}/{call.id}#recordings"
