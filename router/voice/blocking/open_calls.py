"""How many calls are open, by caller and by number: what the database knew at the last look, with what this machine knows better: calls
that began since, and calls that have ended since.

Approximate, and in doubt too few are counted, so that a call goes through: another machine's calls are counted once they are applied.
The processes of a machine share a file of the calls that it has put through; nothing is written into it in turns, because a lost place
costs a count and no call.
"""

import mmap
import os
import struct
import time
from collections import Counter
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.carriers.base import InboundCall
from router.lib.shared_files import open_shared
from router.voice.blocking.rules import CALLER_LIMIT, NUMBER_LIMIT, Blocked
from router.voice.models import BLOCKED, Call
from router.voice.routing import Route

PLACES = 512
"""Calls that the file holds. A call that the database does not know yet takes the place of one that it knows, so too few are counted only
when hundreds begin within a second or two. Of fewer places each answer is sooner found."""
PROBES = 8
WIDTH, SID_WIDTH = 8, 64
FORGET_AFTER = 300.0
"""Seconds after which a call in the file does not count any more, neither as open nor as ended: its end may have been told to another
machine, and the database may never hear of it."""
SEEN_BY_ALL_AFTER = 5.0
"""Seconds after the end of a call, within which each process has looked."""
HEARD_OF_WITHIN = timedelta(minutes=30)
"""Who talks for longer is not counted."""


def _mark(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=WIDTH).digest()


def _key(sid: str) -> bytes:
    return sid.encode()[:SID_WIDTH].ljust(SID_WIDTH, b"\0")


def _first_place(sid: str) -> int:
    """Where a call is looked for first; it is there or among the next ones."""
    return int.from_bytes(_mark(sid), "big") % (PLACES - PROBES)


NOBODY, UNKNOWN = bytes(WIDTH), b"\xff" * WIDTH
"""Instead of a mark; the second as the number of a call that has ended before the database knew it."""


class OpenCalls:
    """Of one process. Nothing here raises, but `look`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: mmap.mmap | None = None
        self._by_caller: Counter[tuple[int, str]] = Counter()
        self._by_number: Counter[int] = Counter()
        self._left_out: Counter[tuple[int, bytes]] = Counter()
        """Ended calls in the file that the database did not take for open at the last look, by column and mark."""

    # Columns, each of all places, so that one is searched at once: sids; callers and numbers of calls that the database does not know yet;
    # callers and numbers of calls that it takes for open and that have ended; times. A call that it knows and that is open has only a sid.
    _CALLERS = PLACES * SID_WIDTH
    _NUMBERS = _CALLERS + PLACES * WIDTH
    _ENDED_CALLERS = _NUMBERS + PLACES * WIDTH
    _ENDED_NUMBERS = _ENDED_CALLERS + PLACES * WIDTH
    _TIMES = _ENDED_NUMBERS + PLACES * WIDTH
    _SIZE = _TIMES + PLACES * WIDTH

    def begin(self, sid: str, project_id: int, caller: str | None, number_id: int) -> None:
        """A call is put through. Its carrier may ask again, because the process that it asked before has died or hangs."""
        place, now = self._place_of(sid), time.time()
        if place is not None and abs(now - self._time_at(place)) < FORGET_AFTER:
            return
        if place is None:
            first = _first_place(sid)
            place = self._find(first, bytes(SID_WIDTH))
            if place is None:
                near = range(first, first + PROBES)
                place = next((each for each in near if self._read(self._NUMBERS, each) == NOBODY), first)
        self._clear(place)
        self._write(self._CALLERS, place, _mark(f"{project_id} {caller}") if caller else NOBODY)
        self._write(self._NUMBERS, place, _mark(str(number_id)))
        self._write(self._TIMES, place, struct.pack("d", now))
        self._open()[place * SID_WIDTH : (place + 1) * SID_WIDTH] = _key(sid)

    def end(self, sid: str, project_id: int, caller: str | None, number_id: int) -> None:
        """A call has ended, if it was put through on this machine."""
        place = self._place_of(sid)
        if place is None:
            return
        is_new = self._read(self._NUMBERS, place) != NOBODY
        if not (is_new or self._is_plain(place)):
            return
        self._write(self._TIMES, place, struct.pack("d", time.time()))
        if is_new:
            self._write(self._CALLERS, place, NOBODY)
            self._write(self._NUMBERS, place, NOBODY)
            self._write(self._ENDED_NUMBERS, place, UNKNOWN)
        else:
            self._mark_ended(place, project_id, caller, number_id)

    def _mark_ended(self, place: int, project_id: int, caller: str | None, number_id: int) -> None:
        self._write(self._ENDED_CALLERS, place, _mark(f"{project_id} {caller}") if caller else NOBODY)
        self._write(self._ENDED_NUMBERS, place, _mark(str(number_id)))

    def is_put_through(self, sid: str) -> bool:
        """Whether this very call was put through, on this machine: its carrier asks again."""
        return self._place_of(sid) is not None

    def of_caller(self, project_id: int, caller: str) -> int:
        """How many calls he holds, by his number as the carrier writes it."""
        mark = _mark(f"{project_id} {caller}")
        known = self._by_caller[project_id, caller] - self._ended_since(self._ENDED_CALLERS, mark)
        return max(0, known) + self._count(self._CALLERS, mark)

    def of_number(self, number_id: int) -> int:
        mark = _mark(str(number_id))
        known = self._by_number[number_id] - self._ended_since(self._ENDED_NUMBERS, mark)
        return max(0, known) + self._count(self._NUMBERS, mark)

    def _ended_since(self, column: int, mark: bytes) -> int:
        """Calls that the database took for open at this process' last look, and that have ended."""
        return max(0, self._count(column, mark) - self._left_out[column, mark])

    def look(self, session: Session, now: datetime) -> None:
        """Counts what the database knows and has heard of lately: the end of a call may never be told. What no project limits is not
        counted.

        Raises:
            SQLAlchemyError: the database cannot be asked.
        """
        left_out: Counter[tuple[int, bytes]] = Counter()
        if waiting := self._waiting():
            columns = (Call.sid, Call.ended_at, Call.project_id, Call.caller, Call.number_id)
            for row in session.execute(select(*columns).where(Call.sid.in_(waiting))):
                place = waiting[row.sid]
                is_new = self._read(self._NUMBERS, place) != NOBODY
                if row.ended_at is not None and (is_new or time.time() - self._time_at(place) > SEEN_BY_ALL_AFTER):
                    self._clear(place)
                elif row.ended_at is not None:
                    for column in (self._ENDED_CALLERS, self._ENDED_NUMBERS):
                        left_out[column, self._read(column, place)] += 1
                elif is_new:  # counted from now on as what the database knows
                    self._write(self._CALLERS, place, NOBODY)
                    self._write(self._NUMBERS, place, NOBODY)
                elif self._read(self._ENDED_NUMBERS, place) == UNKNOWN:
                    self._mark_ended(place, row.project_id, row.caller, row.number_id)
        per_caller, per_number = session.execute(
            select(func.max(Project.calls_per_caller), func.max(Project.calls_per_number))
        ).one()
        is_open = (Call.ended_at.is_(None), Call.last_event_at >= now - HEARD_OF_WITHIN, Call.kind != BLOCKED)
        by_caller: Counter[tuple[int, str]] = Counter()
        by_number: Counter[int] = Counter()
        if per_caller:
            of_callers = select(Call.project_id, Call.caller, func.count().label("amount")).where(
                *is_open, Call.caller.is_not(None)
            )
            rows = session.execute(of_callers.group_by(Call.project_id, Call.caller))
            by_caller.update({(row.project_id, row.caller): row.amount for row in rows})
        if per_number:
            of_numbers = select(Call.number_id, func.count().label("amount")).where(*is_open).group_by(Call.number_id)
            by_number.update({row.number_id: row.amount for row in session.execute(of_numbers)})
        self._by_caller, self._by_number, self._left_out = by_caller, by_number, left_out

    def forget(self) -> None:
        """The database cannot be asked: what it knew may have ended. Calls in the file still end after their time."""
        self._by_caller, self._by_number, self._left_out = Counter(), Counter(), Counter()
        self._waiting()

    def _waiting(self) -> dict[str, int]:
        """The calls, with their places, of which the database does not know yet that they have begun, or that they have ended; those that
        have stood in the file for too long are taken out."""
        places = self._open()
        sids = places[: self._CALLERS]
        if not sids.strip(b"\0"):
            return {}
        waiting, now = {}, time.time()
        for place in range(PLACES):
            if sid := sids[place * SID_WIDTH : (place + 1) * SID_WIDTH].rstrip(b"\0"):
                is_plain, age = self._is_plain(place), abs(now - self._time_at(place))
                if age > (HEARD_OF_WITHIN.total_seconds() if is_plain else FORGET_AFTER):
                    self._clear(place)
                elif not is_plain:
                    waiting[sid.decode(errors="replace")] = place
        return waiting

    def _is_plain(self, place: int) -> bool:
        """A call in this place is open, and the database knows it."""
        return self._read(self._NUMBERS, place) == NOBODY == self._read(self._ENDED_NUMBERS, place)

    def _read(self, column: int, place: int) -> bytes:
        return self._open()[column + place * WIDTH : column + (place + 1) * WIDTH]

    def _write(self, column: int, place: int, value: bytes) -> None:
        self._open()[column + place * WIDTH : column + (place + 1) * WIDTH] = value

    def _time_at(self, place: int) -> float:
        """When the call at this place was put through first, or has ended."""
        (at,) = struct.unpack("d", self._read(self._TIMES, place))
        return float(at)

    def _count(self, start: int, mark: bytes) -> int:
        return self._open()[start : start + PLACES * WIDTH].count(mark)

    def _place_of(self, sid: str) -> int | None:
        return self._find(_first_place(sid), _key(sid))

    def _find(self, first: int, key: bytes) -> int | None:
        """The first of the places of a call that has this id, or none if it is zeros."""
        start = first * SID_WIDTH
        near = self._open()[start : start + PROBES * SID_WIDTH]
        at = near.find(key)
        while at % SID_WIDTH and at > 0:  # zeros behind a shorter id
            at = near.find(key, at + SID_WIDTH - at % SID_WIDTH)
        return None if at < 0 else first + at // SID_WIDTH

    def _clear(self, place: int) -> None:
        self._open()[place * SID_WIDTH : (place + 1) * SID_WIDTH] = bytes(SID_WIDTH)
        for column in (self._CALLERS, self._NUMBERS, self._ENDED_CALLERS, self._ENDED_NUMBERS):
            self._write(column, place, NOBODY)

    def _open(self) -> mmap.mmap:
        """The file; where a disk takes none, memory of this process alone."""
        if self._file is None:
            self._file, handle = open_shared(self._path, self._SIZE)
            if handle >= 0:
                os.close(handle)
        return self._file


def why_blocked(open_calls: OpenCalls, route: Route, call: InboundCall) -> Blocked | None:
    """Why a call from outside is not put through: its caller, or too many calls at a time; None: it is."""
    guard, caller = route.guard, call.caller.e164
    if blocked := guard.why_blocked(call):
        return blocked
    if not guard.limits_calls or open_calls.is_put_through(call.sid):
        return None
    if guard.per_caller and caller and open_calls.of_caller(route.project_id, caller) >= guard.per_caller:
        return Blocked(CALLER_LIMIT)
    if guard.per_number and open_calls.of_number(route.number_id) >= guard.per_number:
        return Blocked(NUMBER_LIMIT)
    return None
