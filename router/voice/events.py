"""What the carrier says of calls: each callback is kept once, and the state of its call is derived anew from all of them, in one short
transaction. A receiver of call events that fails never costs the call's facts: the worker announces it again."""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy import Insert, bindparam, false, func, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, defer

from router.db import dialect_insert, insert_new, table_of
from router.server import Server
from router.statements import Statement
from router.voice.calls import HELD, ReceiverFailed, announce, hold_end, is_end_held, mark_due
from router.voice.claims import settle_claims
from router.voice.clocks import by_database, clock_fault
from router.voice.given import Given
from router.voice.machines import note_machines
from router.voice.models import Call, CallEvent, CallLeg, JournalPosition, SetAsideRecord, Status
from router.voice.recordings import note_recordings
from router.voice.routing import destinations_of
from router.voice.state import CALL_TERMINAL, STEERING, Event, derive_state

_EVENT, _LEG = table_of(CallEvent), table_of(CallLeg)
_INSERT_EVENT = Statement(
    lambda dialect: (
        insert_new(dialect, _EVENT, unique=["call_sid", "key"])
        .values({column.name: bindparam(column.name) for column in _EVENT.c if column.name != "id"})
        .returning(_EVENT.c.id)
    )
)

_EVENTS_OF = Statement(
    select(_EVENT.c.kind, _EVENT.c.at, _EVENT.c.facts)
    .where(_EVENT.c.call_sid == bindparam("sid"))
    .order_by(_EVENT.c.at, _EVENT.c.id)
)


@Statement
def _WRITE_LEG(dialect: str) -> Insert:
    """A leg of a call, new or as it is now."""
    insert = dialect_insert(dialect, _LEG).values(
        {column.name: bindparam(column.name) for column in _LEG.c if column.name != "id"}
    )
    changed = {column.name: column for column in insert.excluded if column.name not in ("id", "call_sid", "sid")}
    return cast("Insert", insert.on_conflict_do_update(index_elements=["call_sid", "sid"], set_=changed))


CALLS_TURN = 7304
"""Of `wait_for_turns`: whoever writes of a call, or of a caller's calls to a number, sees what others have written of it."""


def store_events(session: Session, events: Sequence[tuple[str, str, Event]]) -> set[tuple[str, str]]:
    """Writes events, each with its call's id and a key that is the same for repetitions of the same callback. Returns id and key of those
    that were not there; none may stand twice among them."""
    rows = [
        {"call_sid": sid, "key": key[:160], "kind": event.kind, "at": event.at, "facts": dict(event.facts)}
        for sid, key, event in events
    ]
    stored = _INSERT_EVENT.many(session, rows)
    return {(sid, key) for (sid, key, _), inserted in zip(events, stored, strict=True) if inserted}


_UNREAD = [defer(column) for column in (Call.candidates, Call.shares, Call.decision, Call.source)]
"""What a call's events leave as it is, and is long."""


def update_calls(
    server: Server,
    session: Session,
    flows: Mapping[str, Mapping[str, Any] | None],
    now: datetime,
    announcing: bool = True,
    *,
    corrected: Container[str] = (),
) -> set[str]:
    """Brings calls up to their events and announces that each was answered and that it ended, once, or what changed after it. Returns the
    ids of those that there are.

    Args:
        flows: by the carrier's id of a call, the flow by which the carrier went on with it, where that is known; it is the call's
            own unless the carrier asked twice at its beginning.
        announcing: False when a receiver failed before: the event is marked *fan-out due* instead.
        corrected: ids of calls of which something changed already.

    Raises:
        ReceiverFailed: a receiver of the event failed; repeat with `announcing=False`.
    """
    if not flows:
        return set()
    locked = select(Call).where(Call.sid.in_(flows)).options(*_UNREAD).order_by(Call.sid).with_for_update()
    calls = {call.sid: call for call in session.scalars(locked)}
    stored = _EVENTS_OF.many(session, [{"sid": sid} for sid in calls])
    events = {sid: [Event(*row) for row in rows] for sid, rows in zip(calls, stored, strict=True)}
    settle_claims(session, calls, events, now)
    note_recordings(session, calls, events, now)
    note_machines(session, calls, events, now)
    legs: list[dict[str, Any]] = []
    news: list[tuple[str, Call]] = []
    for sid in (sid for sid in flows if sid in calls):
        call, flow = calls[sid], flows[sid]
        if taken := _answer_taken(call, events[sid]):
            call.flow = taken
        elif flow and any(flow.get(name) != call.flow.get(name) for name in VERSION):
            others = {name: value for name, value in call.flow.items() if name not in (*VERSION, "given")}
            call.flow = others | {name: flow[name] for name in VERSION if name in flow}
        spoken = bool(call.flow.get("announcement"))
        given = call.flow.get("given") or (NOT_TOLD if "version" in call.flow else None)
        had_ended, has_changed = call.ended_at is not None, sid in corrected
        was_answered = _is_answered(call)
        lines, told = call_destinations(call), events[sid]
        state = derive_state(call.started_at, lines, told, spoken=spoken, given=given, is_over=had_ended)
        # A call whose end was announced stays ended, also when it turns out that the leg which had answered was refused and the next
        # destination rings: what follows corrects it.
        if not had_ended or state.ended_at is not None:
            for name, value in state.call_values().items():
                if getattr(call, name) != value:
                    setattr(call, name, value)
                    has_changed = True
        call.last_event_at = max(call.last_event_at, now)
        legs += [{"call_sid": sid} | {name: getattr(leg, name) for name in leg.__slots__} for leg in state.legs]
        event = "ended" if state.ended_at and not had_ended else "updated" if had_ended and has_changed else ""
        if event == "ended" or is_end_held(call):
            hold_end(call, is_held=state.is_guessed)
            event = "" if state.is_guessed else "ended"
        answered = "answered" if _is_answered(call) and not was_answered else ""
        for happened in filter(None, (answered, event)):
            if announcing:
                news.append((happened, call))
            else:
                mark_due(call, happened)
    _WRITE_LEG.many(session, legs)
    announce(server, session, news, now)
    return set(calls)


def _is_answered(call: Call) -> bool:
    """When it was is not always known."""
    return call.answered_at is not None or call.status == Status.ANSWERED


def first_answer(started_at: datetime, flow: Mapping[str, Any]) -> tuple[str, Event]:
    """What one of several machines answered to the first request of a call, which the carrier had repeated, as an event with its key.
    `flow`: as the call would keep it."""
    start = round(started_at.timestamp() * 1000)
    return f"{FIRST_ANSWER}:{start}", Event(FIRST_ANSWER, started_at, {"start": start, "flow": dict(flow)})


FIRST_ANSWER = "inbound"


def _answer_taken(call: Call, events: Sequence[Event]) -> dict[str, Any] | None:
    """The flow of the first answer that the carrier went on by, where there were several: its addresses bring back when it began. Where
    the carrier asked nothing more, it is the last that rings what was rung, for it asks until it has an answer. None: there was one, or
    nothing tells."""
    answers = {event.facts["start"]: event.facts["flow"] for event in events if event.kind == FIRST_ANSWER}
    if not answers:
        return None
    for event in events:
        if event.kind in STEERING and event.facts.get("start"):
            start = round(datetime.fromisoformat(event.facts["start"]).timestamp() * 1000)
            return answers.get(start)
    rung = {event.facts.get("to") for event in events if event.kind == "leg"}
    fitting = []
    for _, flow in sorted(answers.items()):
        lines = (flow.get("given") or {"lines": [line["to"] for line in flow.get("destinations", ())]}).get("lines", ())
        if rung & set(lines) if rung else not lines:
            fitting.append(flow)
    return fitting[-1] if fitting else None


NOT_TOLD: Given = {"leads": "on", "spoken": True}
"""Where the first answer of a flow of steps has led that is not known."""
VERSION = ("destinations", "version")
"""What a call keeps of its flow, of the one form or of the other."""


def call_destinations(call: Call) -> list[str]:
    """The destinations that this call rings in turn; none of a flow of steps."""
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
    machines = session.scalars(select(JournalPosition).where(~JournalPosition.is_stopped)).all()
    silent_since = by_database(session, now) - SILENT_MACHINE
    return any(machine.is_waiting or machine.seen_at < silent_since for machine in machines)


NO_APPLIER = "no applier has been seen yet"


def state_of_journals(session: Session, now: datetime) -> str:
    """`applied`, or what an operator should know about the journals of all machines."""
    aside = session.scalar(select(func.count()).select_from(SetAsideRecord)) or 0
    if aside:
        return f"{aside} records could not be applied: run router doctor"
    machines = session.scalars(select(JournalPosition)).all()
    if not machines:
        return NO_APPLIER
    silent_since = by_database(session, now) - SILENT_MACHINE
    running = [machine for machine in machines if not machine.is_stopped]
    for machine in running:
        if machine.seen_at < silent_since:
            return f"the applier of {machine.host} is silent since {machine.seen_at:%Y-%m-%d %H:%M:%S} UTC"
    return next(filter(None, (clock_fault(machine.host, machine.clock_offset) for machine in running)), "applied")


SILENT = timedelta(hours=4, minutes=15)
"""Longer than the longest call that a carrier allows."""
MESSAGE_AWAITED = timedelta(minutes=2)
"""After the end of a call whose caller was asked for a message: for so long it may still be told that he has left one."""
HELD_FOR = timedelta(seconds=15)
"""How long the end of a call is held whose caller has given up as far as is known."""
BATCH = 100


def _has_waited(at: Any, now: datetime, wait: timedelta) -> Any:
    """Whether so much time has passed since a moment (a column or a datetime), also where the clock was set back by more meanwhile."""
    return (at <= now - wait) | (at > now + wait)


def close_silent_calls(server: Server, now: datetime) -> int:
    """Ends, as *unknown*, the calls that nobody has said anything about for 4 h 15 min, and as what they were those that are over and of
    whose message nothing was told; returns how many. None while a machine has records that were not applied: the end of a call may be one
    of them."""
    with server.database.reading() as session:
        if machine_is_waiting(session, now):
            return 0
        has_ended = select(CallEvent.id).where(
            CallEvent.call_sid == Call.sid, CallEvent.key.in_([f"status:{status}" for status in CALL_TERMINAL])
        )
        awaited = _has_waited(Call.last_event_at, now, MESSAGE_AWAITED) & has_ended.exists()
        silent = select(Call.sid).where(Call.ended_at.is_(None), (Call.last_event_at <= now - SILENT) | awaited)
        sids = list(session.scalars(silent.order_by(Call.last_event_at).limit(BATCH)))
    for sid in sids:

        def close(session: Session, announcing: bool, sid: str = sid) -> None:
            store_events(session, [(sid, "closed", Event("closed", now, {}))])
            update_calls(server, session, {sid: None}, now, announcing)

        try:
            write_and_announce(server, close)
        except (OperationalError, InterfaceError, PoolTimeout, OSError):
            raise
        except Exception:  # of this call alone: those behind it are closed
            log.exception("call_not_closed", call=sid)
    return len(sids)


def repeat_fan_out(server: Server, now: datetime) -> int:
    """Announces again what a receiver failed at, and the ends that were held and of which nothing more was told; returns of how many calls
    nothing is due any more."""
    with server.database.reading() as session:
        # in any order: those that fail each time keep no other waiting
        is_waiting = machine_is_waiting(session, now)
        ends = false() if is_waiting else _has_waited(Call.last_event_at, now, HELD_FOR)
        failed = select(Call.id).where(Call.fan_out_due != "", (Call.fan_out_due != HELD) | ends)
        due = list(session.scalars(failed.order_by(func.random()).limit(BATCH)))
    done = 0
    for call_id in due:
        try:
            with server.database.writing() as session:
                call = session.get(Call, call_id, with_for_update=True)
                if call is None:
                    continue
                is_held = is_end_held(call)
                hold_end(call, is_held=False)
                events = [event for event in call.fan_out_due.split(",") if event]
                if is_held and not is_waiting and _has_waited(call.last_event_at, now, HELD_FOR):
                    is_held, events = False, [*events, "ended"]
                announce(server, session, [(event, call) for event in events], now)
                call.fan_out_due = HELD if is_held else ""
            done += 1
        except ReceiverFailed:
            log.exception("fan_out_failed_again", call_id=call_id)
    return done
