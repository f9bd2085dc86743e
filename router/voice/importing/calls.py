"""The calls of another service (R13): what its call log says when it is read, what a person says about it, both in sentences for the page
and the command; and how the calls are written with the sources that it named, so that old customers are repeat callers from the first day.
Nobody is told about these calls."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.tracking.sources import named_source
from router.db import LONG_AGO, insert_new
from router.lib.formats import format_count, format_day
from router.lib.phones import Caller, line_of, spellings_of_line
from router.scenarios.importing.files import Choice, Questions
from router.server import Server
from router.voice.calls import CALL, IMPORTED, decide_later_calls
from router.voice.forgotten import Forgettings
from router.voice.importing.columns import ROLES, Columns
from router.voice.importing.times import Order
from router.voice.models import EXTERNAL, Call, Status
from router.voice.routing import kind_of, own_lines, route_of

AT_ONCE = 500
"""Rows of one transaction."""


@dataclass(frozen=True, slots=True)
class OldCall:
    """A call as the other service knew it; a call without a source only tells that the caller is not new."""

    number_id: int
    number: str
    caller: str
    started_at: datetime
    source: str
    medium: str
    campaign: str
    or_at: datetime | None = None
    """The other moment that the written time can mean, when the clock showed that hour twice."""

    def sid(self, project_id: int, at: datetime | None = None) -> str:
        """The same id for the same call, so that a second import finds the call stored."""
        facts = f"{project_id}|{self.number}|{self.caller}|{(at or self.started_at).isoformat()}"
        return "import-" + hashlib.sha256(facts.encode()).hexdigest()[:40]


MOST_PROBLEMS = 1000
"""Lines whose reasons are kept; all are counted."""
ORDER_LABELS = {
    "day-first": "the day first, as in 23/11/2026",
    "month-first": "the month first, as in 11/23/2026",
    "year-first": "the year first, as in 26/11/23",
}


@dataclass(frozen=True)
class Choices:
    """What a person says about a file. Columns by role; how numbers without a plus are read, by role (the empty one stands for all)."""

    columns: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Choice] = field(default_factory=dict)
    dates: Order | None = None
    zone: str = ""


@dataclass(frozen=True, slots=True)
class DatesQuestion:
    """What is day and what is month: nothing in the file tells, or its dates contradict each other. `readings`: the possible orders, each
    with what it makes of a date of the file."""

    sentence: str
    readings: tuple[tuple[Order, str], ...]


@dataclass
class CallLog:
    """What a file holds. `problems` are the first lines that cannot be used, each with its reason; `bad` counts all.

    Lines about which a question is open are neither calls nor problems.
    """

    columns: Columns
    calls: list[OldCall] = field(default_factory=list)
    """By time."""
    problems: dict[int, str] = field(default_factory=dict)
    bad: int = 0
    withheld: int = 0
    outgoing: int = 0
    no_calls: int = 0
    forgotten: int = 0
    """Calls of forgotten callers (R14)."""
    doubled: int = 0
    """Lines that say a call of the file again."""
    without_clock: int = 0
    totals: list[int] = field(default_factory=list)
    questions: Questions = field(default_factory=Questions)
    dates_question: DatesQuestion | None = None
    order: Order | None = None
    order_reason: str = ""
    zone: str = ""
    """Of the times that name none; empty where every time does."""
    zone_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether somebody has to say something before anything can be brought over."""
        return bool(self.columns.open or self.questions or self.dates_question)

    def refuse(self, line: int, sentence: str) -> None:
        self.bad += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems[line] = sentence

    def describe_columns(self) -> str:
        """`Tracking number “To”, caller “From”, day and time “Start Time”. Not read: “Duration”.`"""
        read = ", ".join(
            f"{ROLES[role]} “{self.columns.head_of(role)}”" for role in ROLES if role in self.columns.taken
        )
        taken = set(self.columns.taken.values())
        others = ", ".join(f"“{head}”" for index, head in enumerate(self.columns.heads) if head and index not in taken)
        return f"{read[:1].upper()}{read[1:]}." + (f" Not read: {others}." if others else "")

    def describe_open_columns(self) -> list[tuple[str, str, list[str]]]:
        """For each needed column that nobody can tell: the role, the question, and the heads to choose from."""
        return [
            (
                role,
                f"Which column is the {ROLES[role]}?",
                [self.columns.heads[index] or f"column {index + 1}" for index in among],
            )
            for role, among in self.columns.open.items()
        ]

    def describe_times(self) -> list[str]:
        """How dates and times are read where they do not say it themselves."""
        sentences = [f"Dates have {ORDER_LABELS[self.order]}, {self.order_reason}."] if self.order else []
        if self.zone:
            sentences.append(f"Times are in {self.zone}, {self.zone_reason}.")
        if self.without_clock:
            sentences.append(f"{format_count(self.without_clock, 'line')} without a time of day: midnight is taken.")
        return sentences

    def describe_span(self, zone: str) -> str:
        """`1,204 calls from 1 Mar 2026 to 3 Nov 2026`"""
        if not self.calls:
            return "No calls"
        first, last = (format_day(call.started_at, zone) for call in (self.calls[0], self.calls[-1]))
        days = f"of {first}" if first == last else f"from {first} to {last}"
        return f"{format_count(len(self.calls), 'call')} {days}"

    def describe_passed_over(self) -> list[str]:
        """What is in the file and is not brought over, although nothing is wrong with it."""
        counts = (
            (self.withheld, "call", "of withheld numbers, by which nobody is recognised"),
            (self.outgoing, "outgoing call", ""),
            (self.no_calls, "line", "about messages or forms"),
            (self.forgotten, "call", "of forgotten callers"),
            (self.doubled, "line", "with a call that another line says too"),
        )
        sentences = [f"{format_count(count, what)} {why}".strip() for count, what, why in counts if count]
        if self.totals:
            lines = ", ".join(f"{line:,}" for line in self.totals[:5])
            sentences.append(f"the totals in line {lines}")
        return sentences


def leave_out_forgotten(server: Server, project: Project, log: CallLog) -> None:
    """Passes over the calls of forgotten callers, so that the plan and the result tell of them."""
    if not log.calls:
        return
    with server.database.reading() as session:
        forgettings = Forgettings.since(server, session, log.calls[0].started_at)
    kept = [call for call in log.calls if not forgettings.covers(project.id, call.caller, call.started_at)]
    log.forgotten, log.calls = len(log.calls) - len(kept), kept


def write_old_calls(
    server: Server,
    project: Project,
    calls: Sequence[OldCall],
    now: datetime,
    done: Callable[[int], object] = lambda count: None,
) -> int:
    """Writes the calls that are not stored yet, some hundred at a time; returns how many were new. It can be broken off and repeated.

    Args:
        done: is told after each portion how many calls it had.
    """
    written = 0
    # by number and caller, so that later calls are decided again once
    by_line = sorted(calls, key=lambda call: (*_pair(call), call.started_at))
    while by_line:
        # the first calls, as many as one transaction can write with the stored calls that have to be decided again
        portion = by_line[:AT_ONCE]
        stored = Counter[tuple[int, str]]()
        counted: Any = select(Call.number_id, Call.caller, func.count().label("amount"))
        with server.database.reading() as session:
            for row in session.execute(_of_callers(counted, portion)):
                stored[row.number_id, line_of(row.caller)] += row.amount
        weight, seen = 0, set[tuple[int, str]]()
        for place, call in enumerate(portion):
            pair = _pair(call)
            weight += 1 + (0 if pair in seen else stored[pair])
            if weight > AT_ONCE and seen and pair not in seen:
                portion = portion[:place]
                break
            seen.add(pair)
        with server.database.writing() as session:
            written += write_some(server, session, project, portion, now)
        del by_line[: len(portion)]
        done(len(portion))
    return written


def write_some(server: Server, session: Session, project: Project, calls: Sequence[OldCall], now: datetime) -> int:
    """Writes the calls that are not stored yet, and decides later calls of their callers again; returns how many were new. Calls of
    forgotten callers (R14) are left out."""
    # another file may have told a call of a repeated hour as one of the other of the two hours
    other_sids = {call.sid(project.id, call.or_at): call for call in calls if call.or_at}
    if other_sids:
        told = {other_sids[sid] for sid in session.scalars(select(Call.sid).where(Call.sid.in_(other_sids)))}
        calls = [call for call in calls if call not in told]
    if calls:
        forgettings = Forgettings.since(server, session, min(call.started_at for call in calls))
        calls = [call for call in calls if not forgettings.covers(project.id, call.caller, call.started_at)]
    if not calls:
        return 0
    # the moments of the first and of the last stored call of each number and caller
    first_calls: dict[tuple[int, str], datetime] = {}
    last_calls: dict[tuple[int, str], datetime] = {}
    first, last = func.min(Call.started_at).label("first"), func.max(Call.started_at).label("last")
    stored_calls: Any = select(Call.number_id, Call.caller, first, last).where(Call.kind == EXTERNAL)
    for span in session.execute(_of_callers(stored_calls, calls)):
        pair = (span.number_id, line_of(span.caller))
        first_calls[pair] = min(span.first, first_calls.get(pair, span.first))
        last_calls[pair] = max(span.last, last_calls.get(pair, span.last))
    lines = own_lines(project.fallback_destination, project.own_numbers, project.destination_numbers)
    rows: dict[str, dict[str, Any]] = {}
    for call in sorted(calls, key=lambda call: call.started_at):
        kind = kind_of(Caller(call.caller, call.caller), lines)
        source = named_source(call.source, call.medium, call.campaign) if call.source else None
        row = {
            "sid": call.sid(project.id),
            "project_id": project.id,
            "kind": kind,
            "number_id": call.number_id,
            "number": call.number,
            "scenario_enabled": False,
            "flow": {"destinations": []},
            "caller": call.caller,
            "caller_raw": call.caller,
            "started_at": call.started_at,
            "last_event_at": call.started_at,
            "ended_at": call.started_at,
            "status": Status.UNKNOWN,
            "first_call": kind == EXTERNAL and call.started_at <= first_calls.setdefault(_pair(call), call.started_at),
            "rule": IMPORTED,
            "candidates": [],
            "decision": {"steps": [{"rule": IMPORTED, "applies": True}]},
            "source": source.as_dict() if source else None,
            "source_key": source.key if source else None,
        }
        rows.setdefault(call.sid(project.id), row)
    insert = insert_new(session, CALL, unique=["sid"]).returning(CALL.c.sid)
    new = set(session.scalars(insert, list(rows.values())))
    first_new = {
        _pair(call): call
        for call in sorted(calls, key=lambda call: call.started_at, reverse=True)
        if call.sid(project.id) in new and last_calls.get(_pair(call), LONG_AGO) >= call.started_at
    }
    for call in first_new.values():
        if route := route_of(session, call.number_id):
            caller = Caller(call.caller, call.caller)
            decide_later_calls(server, session, route, caller, call.started_at, now, tell=False)
    return len(new)


def _pair(call: OldCall) -> tuple[int, str]:
    """Number and caller, in whatever spelling of the line."""
    return call.number_id, line_of(call.caller)


def _of_callers(statement: Select[Any], calls: Iterable[OldCall]) -> Select[Any]:
    """Only the calls of these callers to these numbers, in every spelling, by index."""
    numbers = {call.number_id for call in calls}
    callers = {spelling for call in calls for spelling in spellings_of_line(call.caller)}
    return statement.where(Call.number_id.in_(numbers), Call.caller.in_(callers)).group_by(Call.number_id, Call.caller)
