"""What the carrier says of calls: each callback is kept once, and the state of its call is derived anew from all of them, in one short
transaction. A receiver of call events that fails never costs the call's facts: the worker announces it again."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.db import dialect_insert, insert_new
from router.server import Server
from router.voice.calls import ReceiverFailed, announce
from router.voice.models import Call, CallEvent, CallLeg, JournalPosition, SetAsideRecord
from router.voice.routing import destinations_of
from router.voice.state import Event, derive_state


def store_event(session: Session, call_sid: str, key: str, event: Event) -> bool:
    """Writes an event; False when it is there already. `key` is the same for repetitions of the same callback."""
    row = insert_new(session, CallEvent, unique=["call_sid", "key"]).values(
        call_sid=call_sid, key=key[:160], kind=event.kind, at=event.at, facts=dict(event.facts)
    )
    return session.execute(row.returning(CallEvent.id)).scalar_one_or_none() is not None


def update_call(
    server: Server,
    session: Session,
    call_sid: str,
    now: datetime,
    announcing: bool = True,
    flow: Mapping[str, Any] | None = None,
    *,
    corrected: bool = False,
) -> Call | None:
    """Brings a call up to its events and announces its end, once, or what changed after it. None: no such call.

    Args:
        flow: by which the carrier went on with the call; it is the call's own unless the carrier asked twice at its beginning.
        corrected: something about it changed already.
        announcing: False when a receiver failed before: the event is marked *fan-out due* instead.

    Raises:
        ReceiverFailed: a receiver of the event failed; repeat with `announcing=False`.
    """
    call = session.scalars(select(Call).where(Call.sid == call_sid).with_for_update()).one_or_none()
    if call is None:
        return None
    if flow and flow["destinations"] != call.flow["destinations"]:
        call.flow = call.flow | {"destinations": flow["destinations"]}
    stored = select(CallEvent).where(CallEvent.call_sid == call_sid).order_by(CallEvent.at, CallEvent.id)
    events = [Event(row.kind, row.at, row.facts) for row in session.scalars(stored)]
    state = derive_state(call.started_at, call_destinations(call), events, spoken=bool(call.flow.get("announcement")))
    had_ended, has_changed = call.ended_at is not None, corrected
    # A call whose end was announced stays ended, also when it turns out that the leg which had answered was refused and the next
    # destination rings: what follows corrects it.
    if not had_ended or state.ended_at is not None:
        for name, value in state.call_values().items():
            if getattr(call, name) != value:
                setattr(call, name, value)
                has_changed = True
    call.last_event_at = max(call.last_event_at, now)
    for leg in state.legs:
        values = {name: getattr(leg, name) for name in leg.__slots__}
        insert = dialect_insert(session, CallLeg).values(call_sid=call_sid, **values)
        session.execute(insert.on_conflict_do_update(index_elements=["call_sid", "sid"], set_=values))
    event = "ended" if state.ended_at and not had_ended else "updated" if had_ended and has_changed else ""
    if event and announcing:
        session.flush()
        announce(server, session, event, call, now)
    elif event:
        call.fan_out_due = ",".join(filter(None, [call.fan_out_due, event]))
    return call


def call_destinations(call: Call) -> list[str]:
    """The destinations that this call rings in turn."""
    return [destination.to for destination in destinations_of(call.flow, call.number, call.caller)]


log = structlog.get_logger(__name__)

T = TypeVar("T")


def write_and_announce(server: Server, work: Callable[[Session, bool], T]) -> T:
    """Runs `work(session, announcing)` in a transaction; when a receiver fails, again without announcing (*fan-out due*)."""
    try:
        with server.database.writing() as session:
            return work(session, True)
    except ReceiverFailed:
        log.exception("fan_out_failed")
    with server.database.writing() as session:
        return work(session, False)


SILENT_MACHINE = timedelta(minutes=1)


def machine_is_waiting(session: Session, now: datetime) -> bool:
    """Whether a machine has, or may have, records that were not applied: what is not known of a call may stand there."""
    machines = session.scalars(select(JournalPosition).where(~JournalPosition.is_stopped))
    return any(machine.is_waiting or machine.seen_at < now - SILENT_MACHINE for machine in machines)


NO_APPLIER = "no applier has been seen yet"


def state_of_journals(session: Session, now: datetime) -> str:
    """`applied`, or what an operator should know about the journals of all machines."""
    aside = session.scalar(select(func.count()).select_from(SetAsideRecord)) or 0
    if aside:
        return f"{aside} records could not be applied: run router doctor"
    machines = session.scalars(select(JournalPosition)).all()
    if not machines:
        return NO_APPLIER
    for machine in machines:
        if not machine.is_stopped and machine.seen_at < now - SILENT_MACHINE:
            return f"the applier of {machine.host} is silent since {machine.seen_at:%Y-%m-%d %H:%M:%S} UTC"
    return "applied"


SILENT = timedelta(hours=4, minutes=15)
"""Longer than the longest call that a carrier allows."""
BATCH = 100


def close_silent_calls(server: Server, now: datetime) -> int:
    """Ends, as *unknown*, the calls that nobody has said anything about for 4 h 15 min; returns how many. None
    while a machine has records that were not applied: the end of a call may be one of them."""
    with server.database.reading() as session:
        if machine_is_waiting(session, now):
            return 0
        silent = select(Call.sid).where(Call.ended_at.is_(None), Call.last_event_at <= now - SILENT)
        sids = list(session.scalars(silent.order_by(Call.last_event_at).limit(BATCH)))
    for sid in sids:

        def close(session: Session, announcing: bool, sid: str = sid) -> None:
            store_event(session, sid, "closed", Event("closed", now, {}))
            update_call(server, session, sid, now, announcing)

        write_and_announce(server, close)
    return len(sids)


def repeat_fan_out(server: Server, now: datetime) -> int:
    """Announces again what a receiver failed at; returns how many calls are done with now."""
    with server.database.reading() as session:
        due = list(session.scalars(select(Call.id).where(Call.fan_out_due != "").order_by(Call.id).limit(BATCH)))
    done = 0
    for call_id in due:
        try:
            with server.database.writing() as session:
                call = session.get_one(Call, call_id, with_for_update=True)
                for event in filter(None, call.fan_out_due.split(",")):
                    announce(server, session, event, call, now)
                call.fan_out_due = ""
            done += 1
        except ReceiverFailed:
            log.exception("fan_out_failed_again", call_id=call_id)
    return done
