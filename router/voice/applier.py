"""Carries the journal of a machine into the database (R12): records in their order, in batches, each once, with the times and the flow of
when they were written. Calls, their state and their deliveries are decided here.

A record that cannot be applied because of itself is set aside. Whatever is wrong with the database is waited for. Some errors may be of
either: they are waited for until other records have shown that the database takes what it should.
"""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import Insert, bindparam, select, update
from sqlalchemy.exc import DBAPIError, NotSupportedError, ProgrammingError
from sqlalchemy.orm import Session

from router.attribution.tracking.refused import REFUSED
from router.db import DATABASE_FAULTS, LONG_AGO, dialect_insert, insert_new, schema_state, table_of, wait_for_turns
from router.lib.file_store import LEAST_FREE
from router.lib.texts import plain_text
from router.server import Server
from router.statements import Statement
from router.voice.calls import NewCall, correct_inbound, name_of, record_calls, record_inbound
from router.voice.claims import check_claim, may_speak, with_claims
from router.voice.clocks import MachineClock
from router.voice.events import (
    CALLS_TURN,
    first_answer,
    machine_is_waiting,
    store_events,
    update_calls,
    write_and_announce,
)
from router.voice.forgotten import FORGOTTEN, Forgettings, with_forgotten
from router.voice.journal import (
    Entry,
    Journal,
    JournalError,
    Position,
    RecordKeeper,
    read_entries,
    remove_segments_before,
    resumed,
)
from router.voice.models import BLOCKED, EXTERNAL, Call, CallEvent, JournalPosition, SetAsideRecord, UnknownCall
from router.voice.presence import apply_refused, decide_with_refused, turns_of
from router.voice.records import FALLBACK, INBOUND, TEXT, Record, call_values, read_call, read_event, read_route_of
from router.voice.routing import find_route_of_call, kind_of
from router.voice.state import CALL_TERMINAL, Event
from router.voice.text_messages import apply_texts

log = structlog.get_logger(__name__)

BATCH = 100
POLL_SECONDS = 0.03
"""Between two looks at a journal that had nothing new."""
GATHER_SECONDS = 0.1
"""Between the beginnings of two batches, unless a whole one waits: what comes meanwhile costs one transaction, not one each."""
LONGEST_PAUSE = 2.0
"""Between two tries while the database does not take what it is given."""
HEARTBEAT = timedelta(seconds=5)

OF_THE_DATABASE = (*DATABASE_FAULTS, OSError, MemoryError)
"""Errors that are no record's own: the database's, or of a full disk."""

OF_EITHER = (ProgrammingError, NotSupportedError)
"""Those of OF_THE_DATABASE that may be a record's own after all: a missing column, or a value of a kind that its column does not take."""
DOUBTED_FOR, DOUBTED_TRIES = timedelta(minutes=1), 10
"""For how long, and how often, a record has to fail by one of them before it is doubted."""

KEPT_SECONDS = 3600.0
"""For how long a segment stays that was applied: a database that falls back to an earlier state is given the records again."""

UNKNOWN_AFTER = timedelta(seconds=60)
"""For so long the first request of a call may be on its way from another machine."""


BEGINNINGS = (INBOUND, FALLBACK)
"""Kinds of records that make a call; the others are its events."""


def apply_records(server: Server, session: Session, records: Sequence[Record], now: datetime, announcing: bool) -> None:
    """Writes what happened: heartbeats, calls in the order of the records, then events, then what has become of the calls by all of their
    events.

    Raises:
        ReceiverFailed: a receiver of a call event failed; repeat with `announcing=False`.
        ForeignRequest: a project's own account has signed what is about another project's call.
    """
    records = with_forgotten(server, session, records)
    again: list[Call] = []
    if refused := [record for record in records if record["kind"] == REFUSED]:
        again = apply_refused(session, refused)
        records = [record for record in records if record["kind"] != REFUSED]
    if texts := [record for record in records if record["kind"] == TEXT]:
        apply_texts(session, texts)
        records = [record for record in records if record["kind"] != TEXT]
    beginnings = [record for record in records if record["kind"] in BEGINNINGS]
    turns = {record["sid"] for record in records}.union(*map(turns_of, again))
    for record in beginnings:
        caller = read_call(record["call"], record.get(FORGOTTEN)).caller
        if record["route"] and not caller.withheld:  # calls of one caller to one number see each other
            turns.add(f"{record['route']['number_id']} {name_of(caller)}")
    wait_for_turns(session, CALLS_TURN, turns)
    decide_with_refused(server, session, again, now, announcing)
    corrected = _apply_beginnings(server, session, beginnings, now, announcing)
    told_later = with_claims(session, [record for record in records if record["kind"] not in BEGINNINGS])
    events = {(record["sid"], record["key"]): record for record in reversed(told_later)}
    stored = store_events(session, [(sid, key, read_event(record)) for (sid, key), record in reversed(events.items())])
    touched: dict[str, Mapping[str, Any] | None] = dict.fromkeys(corrected)
    """The calls that something happened to, with the flow that the carrier goes on by."""
    told: dict[str, Record] = {}
    """Events with which the carrier told of their call."""
    for (sid, key), record in reversed(events.items()):  # in their order
        if (sid, key) not in stored:
            continue
        touched.setdefault(sid, None)
        if record["began"]:
            touched[sid] = record["began"]["flow"]
        if record["call"]:
            told.setdefault(sid, record)
    if began := [record["sid"] for record in beginnings]:
        with_events = select(CallEvent.call_sid).where(CallEvent.call_sid.in_(began)).distinct()
        touched = dict.fromkeys(session.scalars(with_events)) | touched
    known = update_calls(server, session, touched, now, announcing, corrected=corrected)
    for sid in told.keys() - known:
        values = {
            "sid": sid,
            "call": told[sid]["call"],
            "known_at": now,
            "forgotten_id": told[sid].get(FORGOTTEN),
        }
        session.execute(insert_new(session, UnknownCall, unique=["sid"]).values(values))


def _apply_beginnings(
    server: Server, session: Session, records: Sequence[Record], now: datetime, announcing: bool
) -> set[str]:
    """First requests of calls. The earliest one gives a call its start; a call that was written without it is corrected by it. Returns the
    ids of calls that were there and are corrected."""
    news: list[NewCall] = []
    kept: list[Record] = []
    for record in records:
        call = read_call(record["call"], record.get(FORGOTTEN))
        route = read_route_of(record)
        if route is None and (found := find_route_of_call(session, call)):
            # who answered did not know the number, and led the call as the record says
            route = replace(found, flow=record["flow"], flow_id=None)
        if call.caller.forgotten is not None:  # an event that came after the forgetting may have told of him
            told = update(UnknownCall).where(UnknownCall.sid == call.sid)
            session.execute(told.values(call=call_values(call), forgotten_id=call.caller.forgotten))
        if route is not None:  # else a number that never was ours
            check_claim(record, route.project_id)
            news.append(NewCall(route, call, datetime.fromisoformat(record["start"]), record["call_kind"]))
            kept.append(record)
    written = record_calls(server, session, news, now, announcing)
    corrected = set()
    seen: set[str] = set()
    for new, record in zip(news, kept, strict=True):
        sid = new.call.sid
        if sid in written and sid not in seen:
            seen.add(sid)  # this is the request by which it was written
            continue
        known = session.scalars(select(Call).where(Call.sid == sid).with_for_update()).one()
        if new.started_at >= known.started_at:  # whoever names another's call has learned of it
            check_claim(record, known.project_id)
        if record["kind"] == FALLBACK:
            continue
        adopted = session.get(UnknownCall, sid)
        is_adopted = adopted is not None and adopted.adopted_at is not None
        is_repeated = known.project_id == new.route.project_id and new.started_at != known.started_at
        if is_repeated and not is_adopted and BLOCKED not in (known.kind, new.kind):
            answers = (first_answer(known.started_at, known.flow), first_answer(new.started_at, record["flow"]))
            store_events(session, [(sid, key, event) for key, event in answers])
        if is_adopted:
            session.delete(adopted)
        elif known.kind == BLOCKED != new.kind:
            new = replace(
                new, started_at=min(new.started_at, known.started_at)
            )  # the carrier asked twice, and he was put through
        elif new.kind == BLOCKED != known.kind or new.started_at >= known.started_at:
            continue
        correct_inbound(server, session, known, new, now, announcing)
        corrected.add(sid)
    return corrected


LONGEST_CALL_SECONDS = 86_400
"""What carriers allow at most."""


def adopt_unknown_calls(server: Server, now: datetime) -> int:
    """Writes the calls whose first request has not become known within a minute, from what their events tell; returns how many. None
    while a machine has records that were not applied."""
    with server.database.reading() as session:
        if machine_is_waiting(session, now):
            return 0
        due = select(UnknownCall.sid).where(
            UnknownCall.adopted_at.is_(None), UnknownCall.known_at <= now - UNKNOWN_AFTER
        )
        sids = session.scalars(due.order_by(UnknownCall.known_at).limit(BATCH)).all()
    for sid in sids:

        def adopt(session: Session, announcing: bool, sid: str = sid) -> None:
            forgettings = Forgettings.since(server, session, LONG_AGO)
            wait_for_turns(session, CALLS_TURN, [sid])
            unknown = session.get(UnknownCall, sid, with_for_update=True)
            if unknown is None or unknown.adopted_at is not None:
                return
            call = read_call(unknown.call, unknown.forgotten_id)
            route = find_route_of_call(session, call)
            if route is None or session.scalar(select(Call.id).where(Call.sid == sid)) is not None:
                session.delete(unknown)
                return
            unknown.adopted_at = now
            stored = select(CallEvent).where(CallEvent.call_sid == sid)
            told = [row for row in session.scalars(stored) if may_speak(row.facts, route.project_id)]
            started_at = _start_of([Event(row.kind, row.at, row.facts) for row in told], now)
            kind = kind_of(call.caller, route.own_lines)
            if kind == EXTERNAL and (blocked := route.guard.why_blocked(call)):
                kind, route = BLOCKED, replace(route, flow=route.guard.blocked_flow(blocked))
            call = forgettings.applied_to(call, route.project_id, started_at)
            unknown.call, unknown.forgotten_id = call_values(call), call.caller.forgotten
            record_inbound(server, session, route, call, started_at, now, announcing, kind)
            update_calls(server, session, {sid: None}, now, announcing)

        try:
            write_and_announce(server, adopt)
        except Exception as error:
            if isinstance(error, OF_THE_DATABASE) and not isinstance(error, OF_EITHER):
                raise
            log.exception("call_not_adopted", call=sid)  # of this call alone: those behind it are written
    return len(sids)


def _start_of(events: Sequence[Event], now: datetime) -> datetime:
    """When a call began whose first request is not known: as an address of ours told, else before its first event, and as long before its
    end as it lasted."""
    starts = [now, *(event.at for event in events)]
    for event in events:
        if event.facts.get("start"):
            starts.append(datetime.fromisoformat(event.facts["start"]))
        if event.kind == "status" and event.facts["status"] in CALL_TERMINAL:
            lasted = min(event.facts.get("seconds") or 0, LONGEST_CALL_SECONDS)
            starts.append(event.at - timedelta(seconds=lasted))
    return min(starts)


def machine_of(folder: Path) -> str:
    """The id of the machine whose journal this is, made when it is first asked for. A folder that was copied gets an id of its own: the
    file says in which folder it was made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = str(folder.stat().st_ino)
    path = folder / "machine"
    with suppress(OSError, ValueError):
        machine, _, made_in = path.read_text().strip().partition(" ")
        if made_in == place:
            return str(uuid.UUID(machine))
    machine = str(uuid.uuid4())
    temporary = folder / f"machine.{os.getpid()}"
    temporary.write_text(f"{machine} {place}\n")
    temporary.replace(path)
    return machine


def place_of(machine: JournalPosition | None) -> Position:
    """Behind the last record that was applied; the beginning for a machine of which nothing is known."""
    return Position.read(machine.position, machine.segment_id) if machine else Position()


@Statement
def _WRITE_POSITION(dialect: str) -> Insert:
    """A machine's place, new or moved on; its host stays."""
    place = table_of(JournalPosition)
    insert = dialect_insert(dialect, place).values({column.name: bindparam(column.name) for column in place.c})
    changed = {column.name: column for column in insert.excluded if column.name not in ("machine", "host")}
    return cast("Insert", insert.on_conflict_do_update(index_elements=["machine"], set_=changed))


@dataclass
class _Doubted:
    """A record that failed by one of OF_EITHER, and nothing behind it was applied since."""

    position: Position
    since: datetime
    tries: int = 0


class Applier:
    """Applies the journal in one folder. One at a time for each folder: `hold` waits for the others."""

    def __init__(self, server: Server, folder: Path, *, resident: bool = True) -> None:
        """`resident`: it is a process of its own, and says so. Else it applies all at once whenever it is asked to."""
        self._server, self._folder, self._resident = server, folder, resident
        self._machine = ""
        self._position: Position | None = None
        self._lock_file = -1
        self._seen_at: datetime | None = None
        self._may_wait = False
        """The database was told that records wait."""
        self._doubted: _Doubted | None = None
        self._clock = MachineClock(lambda: server.now())

    def hold(self, stop: threading.Event) -> bool:
        """Waits until no other process applies this journal; False when `stop` was set meanwhile."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._folder / "applier.lock"
        try:
            self._lock_file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # a disk that has become read-only: what stands in the journal can be applied all the same
            self._lock_file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        while True:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if stop.wait(0.1):
                    return False

    def run(self, stop: threading.Event) -> None:
        """Applies what comes until `stop` is set, and then what is left, as long as the database takes it."""
        if not self.hold(stop):
            return
        log.info("applier_started", machine=machine_of(self._folder))
        pause, fault = POLL_SECONDS, ""
        while True:
            stopping, began = stop.is_set(), time.monotonic()
            try:
                applied = self.apply_next()
                pause, fault = POLL_SECONDS, ""
                if applied:
                    if applied < BATCH and not stopping:
                        stop.wait(max(0.0, began + GATHER_SECONDS - time.monotonic()))
                    continue
                self._tell(is_stopped=stopping)
                if stopping:
                    break
            except OF_THE_DATABASE as error:
                if type(error).__name__ != fault:
                    fault = type(error).__name__
                    log.error("journal_not_applied", reason=str(error)[:500])
                self._position = None  # as the database knows it when it is back, which may be another one
                if stopping:
                    break  # the next applier goes on here
                pause = min(pause * 2, LONGEST_PAUSE)
            stop.wait(pause)
        log.info("applier_stopped")

    def apply_all(self) -> None:
        """Applies all that stands in the journal now.

        Raises:
            One of OF_THE_DATABASE: the rest waits.
        """
        while self.apply_next():
            pass

    def apply_next(self) -> int:
        """Applies the next records, at most a batch of them; returns how many lines are done with.

        Raises:
            One of OF_THE_DATABASE: nothing more was applied, and the same lines come next.
        """
        position = self._begin()
        entries = read_entries(self._folder, position, BATCH)
        if not entries:
            return 0
        try:
            with self._server.database.writing() as session:
                self._apply(session, announcing=True, entries=entries, is_waiting=len(entries) == BATCH)
            self._position = entries[-1].end
        except OF_THE_DATABASE as error:
            # of a lost connection nothing can be learned by trying the records one by one
            if not isinstance(error, DBAPIError) or error.connection_invalidated:
                raise
            if len(entries) == 1 and not isinstance(error, OF_EITHER):
                raise
            self._apply_singly(entries)
        except Exception:
            self._apply_singly(entries)
        remove_segments_before(self._folder, entries[-1].end, time.time() - KEPT_SECONDS)
        return len(entries)

    def _begin(self) -> Position:
        """The place of the next line, as the database knows it. A journal that was emptied meanwhile, also by hand, begins anew."""
        if self._position is None:
            self._machine = machine_of(self._folder)
            with self._server.database.reading() as session:
                self._position = place_of(session.get(JournalPosition, self._machine))
        self._position = resumed(self._folder, self._position)
        return self._position

    def _apply(self, session: Session, announcing: bool, *, entries: Sequence[Entry], is_waiting: bool = True) -> None:
        """
        Raises:
            ValueError: a line is damaged.
        """
        records, now = [], self._server.now()
        for entry in entries:
            if entry.record is None:
                raise ValueError(entry.fault)
            records.append(entry.record)
        apply_records(self._server, session, records, now, announcing)
        self._note(session, entries[-1].end, now, is_waiting=is_waiting)

    def _apply_singly(self, entries: Sequence[Entry]) -> None:
        """One transaction for each, so that only what is wrong by itself is set aside."""
        for index, entry in enumerate(entries):
            try:
                write_and_announce(self._server, partial(self._apply, entries=[entry]))
            except Exception as error:
                if isinstance(error, OF_EITHER):
                    if not self._is_its_own_fault(entry, entries[index + 1 :]):
                        raise
                elif isinstance(error, OF_THE_DATABASE):
                    raise
                log.exception("record_set_aside", position=str(entry.position))
                self._set_aside(entry, f"{type(error).__name__}: {error}"[:1000])
            self._position = entry.end

    def _is_its_own_fault(self, entry: Entry, behind: Sequence[Entry]) -> bool:
        """Whether a record that failed by one of OF_EITHER is to blame itself: again and again for a minute, and a record behind it could
        be applied, one of its kind if there is any. With an old schema nobody is to blame."""
        now = self._server.now()
        if self._doubted is None or self._doubted.position != entry.position:
            self._doubted = _Doubted(entry.position, now)
        self._doubted.tries += 1
        if self._doubted.tries < DOUBTED_TRIES or abs(now - self._doubted.since) < DOUBTED_FOR:
            return False
        if schema_state(self._server.database) != "current":
            return False
        kind = entry.record["kind"] if entry.record else None
        others = [other.record for other in behind if other.record]
        for other in [other for other in others if other.get("kind") == kind] or others:
            with suppress(Exception), self._server.database.writing() as session:
                apply_records(self._server, session, [other], self._server.now(), announcing=False)
                session.flush()
                session.rollback()  # its turn is later
                return True
        return False

    def _set_aside(self, entry: Entry, reason: str) -> None:
        now = self._server.now()
        sid = entry.record.get("sid") if entry.record else None
        values: dict[str, Any] = {
            "machine": self._machine,
            "position": f"{entry.position}@{entry.position.segment_id}".rstrip("@"),
            "call_sid": sid[:64] if isinstance(sid, str) else None,
            "reason": plain_text(reason),
            "at": now,
        }
        with self._server.database.writing() as session:
            record = entry.record
            if record is not None:  # as far as it can be read
                with suppress(Exception), session.begin_nested():
                    (record,) = with_forgotten(self._server, session, [record])
            values["record"] = (json.dumps(record) if record else entry.text).replace("\0", "")
            session.execute(insert_new(session, SetAsideRecord, unique=["machine", "position"]).values(values))
            self._note(session, entry.end, now)

    def _note(self, session: Session, position: Position, now: datetime, *, is_waiting: bool = True) -> None:
        """The place stands in the transaction that applied what is before it. More may wait, as far as is known."""
        values = {
            "position": str(position),
            "segment_id": position.segment_id,
            "seen_at": now,
            "is_waiting": is_waiting and self._resident,
            "is_stopped": not self._resident,
        }
        self._write_place(session, values)
        self._seen_at = now

    def _tell(self, *, is_stopped: bool) -> None:
        """That this machine's applier has nothing left to do, now and then, or that it ends so."""
        now = self._server.now()
        # also where the clock was set back meanwhile
        is_known = self._seen_at is not None and abs(now - self._seen_at) < HEARTBEAT and not self._may_wait
        if is_known and not is_stopped:
            return
        with self._server.database.writing() as session:
            position = self._begin()
            values = {
                "position": str(position),
                "segment_id": position.segment_id,
                "seen_at": now,
                "is_waiting": False,
                "is_stopped": is_stopped,
            }
            self._write_place(session, values)
        self._seen_at = now

    def _write_place(self, session: Session, values: Mapping[str, Any]) -> None:
        if self._clock.is_due:
            self._clock.measure(session)
        place = {"machine": self._machine, "host": socket.gethostname()[:100], **values}
        place |= {"seen_at": values["seen_at"] - self._clock.offset, "clock_offset": self._clock.seconds}
        _WRITE_POSITION.run(session, place)
        self._may_wait = bool(values["is_waiting"])


def journal_folder(server: Server) -> Path:
    return server.settings.data_dir / "journal"


def begin_journal(server: Server) -> None:
    """Before the processes of a machine start: what a power cut took of the newest segment is not written anew, for it may have been
    applied. A disk that takes no file keeps nobody from starting."""
    try:
        Journal(journal_folder(server)).begin_segment()
    except JournalError:
        log.exception("journal_not_begun")


def journal_of(server: Server) -> RecordKeeper:
    """Where requests of the carrier are kept before they are answered: the journal of this machine."""
    if server.journal is None:
        server.journal = Journal(journal_folder(server))
    return server.journal


def keep_refused(server: Server, record: Record) -> None:
    """A heartbeat that the database refused stands in the journal, if the disk has room for it. Never raises."""
    try:
        folder = journal_folder(server)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free >= LEAST_FREE:
            journal_of(server).append(record)
    except Exception as error:
        log.warning("heartbeat_not_kept", reason=str(error)[:300])
