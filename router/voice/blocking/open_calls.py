"""How many calls are open, by caller and by number: what the database knew at the last look, and what began on this machine since.

Approximate, and in doubt too few are counted, so that a call goes through: another machine's calls are counted once they are applied,
and a call that has just ended is counted until the next look. The processes of a machine share a file of the calls that the database
does not know yet; nothing is written into it in turns, because a lost place costs a count and no call.
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

from router.carriers.base import InboundCall
from router.lib.shared_files import open_shared
from router.voice.blocking.rules import CALLER_LIMIT, NUMBER_LIMIT, Blocked
from router.voice.models import BLOCKED, Call
from router.voice.routing import Route

PLACES = 512
"""Calls that the file holds. They are in it until they are applied, which is a second or two. Of more than some hundred at that moment too
few are counted; each answer is sooner found."""
PROBES = 8
WIDTH, SID_WIDTH = 8, 64
FORGET_AFTER = 300.0
"""Seconds after which a call in the file does not count any more: its end may have been told to another machine."""


HEARD_OF_WITHIN = timedelta(minutes=30)
"""Who talks for longer is not counted."""


def _mark(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=WIDTH).digest()


def _key(sid: str) -> bytes:
    return sid.encode()[:SID_WIDTH].ljust(SID_WIDTH, b"\0")


def _first_place(sid: str) -> int:
    """Where a call is looked for first; it is there or among the next ones."""
    return int.from_bytes(_mark(sid), "big") % (PLACES - PROBES)


NOBODY = bytes(WIDTH)


class OpenCalls:
    """Of one process. Nothing here raises, but `look`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: mmap.mmap | None = None
        self._by_caller: Counter[tuple[int, str]] = Counter()
        self._by_number: Counter[int] = Counter()

    # Four columns, each of all places, so that one is searched at once: sids, callers, numbers, times.
    _CALLERS = PLACES * SID_WIDTH
    _NUMBERS = _CALLERS + PLACES * WIDTH
    _TIMES = _NUMBERS + PLACES * WIDTH
    _SIZE = _TIMES + PLACES * WIDTH

    def begin(self, sid: str, project_id: int, caller: str | None, number_id: int) -> float:
        """A call is put through. Returns for how many seconds it has been already, on this machine: its carrier may ask again, because the
        process that it asked before has died or hangs."""
        places, key, began = self._open(), _key(sid), time.time()
        place = self._place_of(sid)
        if place is not None and abs(since := began - self._time_at(place)) < FORGET_AFTER:
            return max(0.0, since)
        if place is None:
            first = _first_place(sid)
            free = self._find(first, bytes(SID_WIDTH))
            place = first if free is None else free
        for start, value in (
            (self._CALLERS, _mark(f"{project_id} {caller}") if caller else NOBODY),
            (self._NUMBERS, _mark(str(number_id))),
            (self._TIMES, struct.pack("d", began)),
        ):
            places[start + place * WIDTH : start + (place + 1) * WIDTH] = value
        places[place * SID_WIDTH : (place + 1) * SID_WIDTH] = key
        return 0.0

    def end(self, sid: str) -> None:
        """A call has ended."""
        if (place := self._place_of(sid)) is not None:
            self._clear(place)

    def is_put_through(self, sid: str) -> bool:
        """Whether this very call was put through just now, on this machine: its carrier asks again."""
        return self._place_of(sid) is not None

    def of_caller(self, project_id: int, caller: str) -> int:
        """How many calls he holds, by his number as the carrier writes it."""
        return self._by_caller[project_id, caller] + self._count(self._CALLERS, _mark(f"{project_id} {caller}"))

    def of_number(self, number_id: int) -> int:
        return self._by_number[number_id] + self._count(self._NUMBERS, _mark(str(number_id)))

    def look(self, session: Session, now: datetime) -> None:
        """Counts what the database knows and has heard of lately: the end of a call may never be told. Two
        statements, the first only when calls have just begun.

        Raises:
            SQLAlchemyError: the database cannot be asked.
        """
        new = self._begun()
        if new:
            known = set(session.scalars(select(Call.sid).where(Call.sid.in_(new))))
            for sid in known:
                self._clear(new[sid])
        open_calls = select(Call.project_id, Call.number_id, Call.caller, func.count().label("amount"))
        open_calls = open_calls.where(
            Call.ended_at.is_(None), Call.last_event_at >= now - HEARD_OF_WITHIN, Call.kind != BLOCKED
        )
        by_caller: Counter[tuple[int, str]] = Counter()
        by_number: Counter[int] = Counter()
        for row in session.execute(open_calls.group_by(Call.project_id, Call.number_id, Call.caller)):
            by_number[row.number_id] += row.amount
            if row.caller:
                by_caller[row.project_id, row.caller] += row.amount
        self._by_caller, self._by_number = by_caller, by_number

    def forget(self) -> None:
        """The database cannot be asked: what it knew may have ended. Calls in the file still end after their time."""
        self._by_caller, self._by_number = Counter(), Counter()
        self._begun()

    def _begun(self) -> dict[str, int]:
        """The calls in the file with their places; those that have stood there for too long are taken out."""
        places = self._open()
        sids = places[: self._CALLERS]
        if not sids.strip(b"\0"):
            return {}
        begun, now = {}, time.time()
        for place in range(PLACES):
            if sid := sids[place * SID_WIDTH : (place + 1) * SID_WIDTH].rstrip(b"\0"):
                if abs(now - self._time_at(place)) > FORGET_AFTER:
                    self._clear(place)
                else:
                    begun[sid.decode(errors="replace")] = place
        return begun

    def _time_at(self, place: int) -> float:
        """When the call at this place was put through first."""
        start = self._TIMES + place * WIDTH
        (began,) = struct.unpack("d", self._open()[start : start + WIDTH])
        return float(began)

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
        places = self._open()
        places[place * SID_WIDTH : (place + 1) * SID_WIDTH] = bytes(SID_WIDTH)
        for start in (self._CALLERS, self._NUMBERS):
            places[start + place * WIDTH : start + (place + 1) * WIDTH] = NOBODY

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
    if not (guard.per_caller or guard.per_number) or open_calls.is_put_through(call.sid):
        return None
    if guard.per_caller and caller and open_calls.of_caller(route.project_id, caller) >= guard.per_caller:
        return Blocked(CALLER_LIMIT)
    if guard.per_number and open_calls.of_number(route.number_id) >= guard.per_number:
        return Blocked(NUMBER_LIMIT)
    return None
