"""What the worker does for calls: closes silent ones, and repeats the announcements that failed."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.server import Server
from router.voice.calls import facts_of, values_of
from router.voice.events import follow, keep_event
from router.voice.intake import write_and_tell
from router.voice.models import Call
from router.voice.signals import ReceiverFailed, announce
from router.voice.story import Event

log = structlog.get_logger(__name__)

SILENT = timedelta(hours=4, minutes=15)
"""Longer than the longest call that a carrier allows."""
BATCH = 100


def close_silent_calls(server: Server, now: datetime) -> int:
    """Ends, as *unknown*, the calls that nobody has said anything about for 4 h 15 min; returns how many."""
    with server.database.reading() as session:
        silent = select(Call.sid).where(Call.ended_at.is_(None), Call.last_event_at <= now - SILENT)
        sids = list(session.scalars(silent.order_by(Call.last_event_at).limit(BATCH)))
    for sid in sids:
        _close(server, sid, now)
    return len(sids)


def _close(server: Server, sid: str, now: datetime) -> None:
    def work(session: Session, announcing: bool) -> None:
        keep_event(session, sid, "closed", Event("closed", now, {}))
        follow(server, session, sid, now, announcing)

    write_and_tell(server, work)


def repeat_fan_out(server: Server, now: datetime) -> int:
    """Announces again what a receiver failed at; returns how many calls are done with now."""
    with server.database.reading() as session:
        due = list(session.scalars(select(Call.id).where(Call.fan_out_due != "").order_by(Call.id).limit(BATCH)))
    return sum(_repeat(server, call_id, now) for call_id in due)


def _repeat(server: Server, call_id: int, now: datetime) -> bool:
    try:
        with server.database.writing() as session:
            call = session.get_one(Call, call_id, with_for_update=True)
            for event in filter(None, call.fan_out_due.split(",")):
                announce(server, session, event, facts_of(call.id, values_of(call)), now)
            call.fan_out_due = ""
        return True
    except ReceiverFailed:
        log.exception("fan_out_failed_again", call_id=call_id)
        return False
