"""Brings the call history of another service over, so that rule 1 of R7 knows old customers from the first day (R13).

The calls stand here with the source that the other service named. Nobody is told about them."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.tracking.sources import named_source
from router.db import LONG_AGO, insert_new
from router.lib.phones import Caller, line_of, spellings_of_line
from router.server import Server
from router.voice.calls import CALL, IMPORTED, decide_later_calls
from router.voice.internal import kind_of, own_lines
from router.voice.models import EXTERNAL, Call
from router.voice.routing import route_of

AT_ONCE = 500
"""Rows of one transaction."""


@dataclass(frozen=True, slots=True)
class OldCall:
    """A call as the other service knew it; without a source it only tells that the caller is not new."""

    number_id: int
    number: str
    caller: str
    started_at: datetime
    source: str
    medium: str
    campaign: str
    or_at: datetime | None = None
    """The other moment that its time can mean: the clock showed that hour twice, and another file may have told it otherwise."""

    def sid(self, project_id: int) -> str:
        """The same for the same call, so that a second import finds it here."""
        return self._sid_at(project_id, self.started_at)

    def other_sid(self, project_id: int) -> str | None:
        return self._sid_at(project_id, self.or_at) if self.or_at else None

    def _sid_at(self, project_id: int, moment: datetime) -> str:
        facts = f"{project_id}|{self.number}|{self.caller}|{moment.isoformat()}"
        return "import-" + hashlib.sha256(facts.encode()).hexdigest()[:40]


def write_old_calls(
    server: Server,
    project: Project,
    calls: Sequence[OldCall],
    now: datetime,
    done: Callable[[int], object] = lambda count: None,
) -> int:
    """Writes those that are not here yet, some hundred at a time; returns how many were new. Broken off, it can be repeated.

    Args:
        done: is told after each portion how many calls it had.
    """
    written = 0
    by_line = sorted(calls, key=lambda one: (*_pair(one), one.started_at))  # so that later calls are decided again once
    while by_line:
        with server.database.reading() as session:
            some = _portion(session, by_line[:AT_ONCE])
        with server.database.writing() as session:
            written += write_some(server, session, project, some, now)
        del by_line[: len(some)]
        done(len(some))
    return written


def _portion(session: Session, calls: Sequence[OldCall]) -> Sequence[OldCall]:
    """As many as can be written in one transaction, with the calls that are here and have to be decided again."""
    later = _calls_here(session, calls)
    weight, seen = 0, set[tuple[int, str]]()
    for place, one in enumerate(calls):
        weight += 1 + (0 if _pair(one) in seen else later.get(_pair(one), 0))
        if weight > AT_ONCE and seen and _pair(one) not in seen:
            return calls[:place]
        seen.add(_pair(one))
    return calls


def write_some(server: Server, session: Session, project: Project, calls: Sequence[OldCall], now: datetime) -> int:
    calls = _without_known_hours(session, project, calls)
    if not calls:
        return 0
    spans = _known_spans(session, calls)
    rows = _rows(project, calls, {pair: first for pair, (first, _) in spans.items()})
    new = set(session.scalars(insert_new(session, CALL, unique=["sid"]).returning(CALL.c.sid), rows))
    later = {
        _pair(one): one
        for one in sorted(calls, key=lambda one: one.started_at, reverse=True)
        if one.sid(project.id) in new and spans.get(_pair(one), (now, LONG_AGO))[1] >= one.started_at
    }
    for one in later.values():
        if route := route_of(session, one.number_id):
            caller = Caller(one.caller, one.caller)
            decide_later_calls(server, session, route, caller, one.started_at, now, tell=False)
    return len(new)


def _pair(call: OldCall) -> tuple[int, str]:
    """Who called what; two spellings of one line are one caller."""
    return call.number_id, line_of(call.caller)


def _without_known_hours(session: Session, project: Project, calls: Sequence[OldCall]) -> Sequence[OldCall]:
    """Without calls of a repeated hour that are here already, by another file, in the other of the two hours."""
    others = {sid for one in calls if (sid := one.other_sid(project.id))}
    if not others:
        return calls
    here = set(session.scalars(select(Call.sid).where(Call.sid.in_(others))))
    return [one for one in calls if one.other_sid(project.id) not in here]


def _of_callers(statement: Select[Any], calls: Iterable[OldCall]) -> Select[Any]:
    """Only the calls of these callers to these numbers, in every spelling, by index."""
    numbers = {one.number_id for one in calls}
    callers = {spelling for one in calls for spelling in spellings_of_line(one.caller)}
    return statement.where(Call.number_id.in_(numbers), Call.caller.in_(callers)).group_by(Call.number_id, Call.caller)


def _calls_here(session: Session, calls: Sequence[OldCall]) -> dict[tuple[int, str], int]:
    """How many calls are here of each number and caller."""
    found: dict[tuple[int, str], int] = {}
    wanted: Any = select(Call.number_id, Call.caller, func.count())
    for number_id, caller, count in session.execute(_of_callers(wanted, calls)):
        pair = (number_id, line_of(caller))
        found[pair] = found.get(pair, 0) + count
    return found


def _known_spans(session: Session, calls: Sequence[OldCall]) -> dict[tuple[int, str], tuple[datetime, datetime]]:
    """The first and the last call that is here of each number and caller."""
    spans: dict[tuple[int, str], tuple[datetime, datetime]] = {}
    wanted: Any = select(Call.number_id, Call.caller, func.min(Call.started_at), func.max(Call.started_at))
    wanted = wanted.where(Call.kind == EXTERNAL)
    for number_id, caller, first, last in session.execute(_of_callers(wanted, calls)):
        pair = (number_id, line_of(caller))
        earliest, latest = spans.get(pair, (first, last))
        spans[pair] = (min(first, earliest), max(last, latest))
    return spans


def _rows(
    project: Project, calls: Iterable[OldCall], first_known: dict[tuple[int, str], datetime]
) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    first_known = dict(first_known)
    lines = own_lines(project.fallback_destination, project.own_numbers, project.destination_numbers)
    for one in sorted(calls, key=lambda one: one.started_at):
        kind = kind_of(Caller(one.caller, one.caller), lines)
        first_call = kind == EXTERNAL and one.started_at <= first_known.setdefault(_pair(one), one.started_at)
        row = _row(project, one, first_call) | {"kind": kind}
        rows.setdefault(row["sid"], row)
    return list(rows.values())


def _row(project: Project, call: OldCall, first_call: bool) -> dict[str, Any]:
    source = named_source(call.source, call.medium, call.campaign) if call.source else None
    return {
        "sid": call.sid(project.id),
        "project_id": project.id,
        "number_id": call.number_id,
        "number": call.number,
        "scenario_id": None,
        "scenario_enabled": False,
        "flow": {"destinations": []},
        "caller": call.caller,
        "caller_raw": call.caller,
        "started_at": call.started_at,
        "last_event_at": call.started_at,
        "ended_at": call.started_at,
        "status": "unknown",
        "first_call": first_call,
        "destination": "",
        "recording_sid": "",
        "recording_url": "",
        "visit_id": None,
        "rule": IMPORTED,
        "confidence": None,
        "source_confidence": None,
        "candidates": [],
        "decision": {"steps": [{"rule": IMPORTED, "applies": True}]},
        "source": source.as_dict() if source else None,
        "source_key": source.key if source else None,
        "fan_out_due": "",
    }
