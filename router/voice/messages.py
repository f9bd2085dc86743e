"""Messages that callers leave are mailed, each once, to the addresses that the step of the call's flow names, else to the project's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.lib.formats import format_duration, format_moment
from router.lib.phones import international
from router.scenarios.flows import steps_in
from router.server import Server
from router.voice.models import Call, CallRecording, RecordingState
from router.voice.recordings import page_of_recording
from router.voice.routing import flow_of

MOST_ATTACHED = 10 * 1024 * 1024
"""Bytes; what mail servers take nearly everywhere, once it is encoded."""
MOST_RECIPIENTS = 10
"""Of one text message."""
ENDINGS = {"audio/wav": "wav", "audio/mpeg": "mp3"}


def mail_message(server: Server, session: Session, recording: CallRecording, now: datetime) -> int:
    """Writes the e-mails about a message; returns how many. None about one that is mailed already, that has no sound, or whose caller was
    forgotten. The file comes along when it is kept and not too large."""
    call = session.scalar(select(Call).where(Call.sid == recording.call_sid))
    if call is None or call.forgotten_id is not None or recording.seconds == 0:
        return 0
    project = session.get_one(Project, call.project_id)
    flow = flow_of(session, recording.flow_id) if recording.flow_id else None
    attachment = None
    if recording.state == RecordingState.KEPT and (recording.size or 0) <= MOST_ATTACHED:
        attachment = {
            "store": recording.store,
            "file": recording.file,
            "size": recording.size,
            "name": file_name(recording, call),
            "content_type": recording.content_type,
        }
    caller = international(call.caller) if call.caller else "a withheld number"
    source = call.source or {}
    words = " / ".join(str(source[name]) for name in ("source", "medium", "campaign") if source.get(name))
    lasts = "" if recording.seconds is None else f", {format_duration(recording.seconds)}"
    where = page_of_recording(server, call)
    if attachment is not None:
        last = f"The message is attached. The call, with all that is known of it: {where}"
    elif recording.state == RecordingState.KEPT:
        last = f"The message is too large for an e-mail. Listen to it here: {where}"
    else:
        last = f"The message could not be fetched from the carrier yet. As soon as it is, it is here: {where}"
    subject = f"Message from {caller}"
    body = (
        f"From: {caller}\n"
        f"Called: {international(call.number)}\n"
        f"When: {format_moment(call.started_at, project.timezone, now)} ({project.timezone}){lasts}\n"
        f"Came from: {words or 'not known'}\n\n{last}\n"
    )
    steps = _voicemails(flow or call.flow)
    # where it is not known which step it was, the only one
    named = [step for step in steps if step.get("id") == recording.step] or (steps if len(steps) == 1 else [])
    recipients = (named[0].get("mail_to") if named else None) or [project.email]
    written = 0
    for recipient in dict.fromkeys(recipients):
        key = f"message:{recording.sid}:{recipient[:100]}"
        written += write_mail(session, project, key, subject, body, now, recipient=recipient, attachment=attachment)
    return written


def file_name(recording: CallRecording, call: Call) -> str:
    """Under which people keep the file; it names nobody."""
    kind = "message" if recording.is_message else "call"
    return f"{kind}-{call.id}-{recording.id}.{ENDINGS.get(recording.content_type, 'wav')}"


def _voicemails(flow: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [step for _, step in steps_in(flow) if step["type"] == "voicemail"]


def recipients_of(flow: Mapping[str, Any], project: Project) -> list[str]:
    """To whom text messages to the numbers of a flow are mailed: to all to whom its voicemails are, else to the project's address."""
    recipients = [to for step in _voicemails(flow) for to in step.get("mail_to") or [project.email]]
    return list(dict.fromkeys(recipients or [project.email]))[:MOST_RECIPIENTS]
