"""Leaks: dynamic numbers that ring again and again although nobody was shown them, probably hard-coded or printed somewhere (R7)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.decide.decision import OVERFLOW
from router.lib.formats import format_count
from router.lib.phones import line_of
from router.scenarios.lint.rules import Finding, Linted
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import EXTERNAL, Call

DAYS = 30
LEAST_CALLS, LEAST_CALLERS = 3, 2
"""Within the days: one caller may have a saved number, and two calls may be wrong ones."""
TINY = 0.05
"""A most probable visit that is less probable is no better than none, when all visits together are no more than DOUBTFUL."""
DOUBTFUL = 0.2
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class LonelyCall:
    """A call of a number that no visit can explain."""

    number_id: int
    caller: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Leak:
    """A number with its calls of the last days that no visit explains. `since`: the first such call ever; `callers`: the known ones."""

    number_id: int
    e164: str
    scenario_id: int | None
    calls: int
    callers: int
    since: datetime
    last_call_at: datetime


def leaking(calls: Iterable[LonelyCall]) -> dict[int, list[LonelyCall]]:
    """The numbers with enough calls of enough callers; who withholds his number may be any of them and counts as none."""
    by_number: dict[int, list[LonelyCall]] = {}
    for call in calls:
        by_number.setdefault(call.number_id, []).append(call)
    return {
        number: some
        for number, some in by_number.items()
        if len(some) >= LEAST_CALLS and _callers(some) >= LEAST_CALLERS
    }


def _callers(calls: Sequence[LonelyCall]) -> int:
    return len({line_of(call.caller) for call in calls if call.caller})


def read_leaks(session: Session, project_id: int, now: datetime) -> list[Leak]:
    """The leaks of a project, most calls first. Three statements at most."""
    found = leaking(lonely_calls(session, project_id, now))
    if not found:
        return []
    numbers = select(TrackingNumber.id, TrackingNumber.e164, TrackingNumber.scenario_id)
    first = _first_calls(session, project_id, found)
    leaks = [
        Leak(
            number_id,
            e164,
            scenario_id,
            len(found[number_id]),
            _callers(found[number_id]),
            first[number_id],
            max(call.at for call in found[number_id]),
        )
        for number_id, e164, scenario_id in session.execute(numbers.where(TrackingNumber.id.in_(found)))
    ]
    return sorted(leaks, key=lambda leak: (-leak.calls, leak.number_id))


def lonely_calls(session: Session, project_id: int, now: datetime) -> Iterator[LonelyCall]:
    """The calls of the last days to dynamic numbers that no visit explains."""
    wanted = (
        _maybe_lonely()
        .join(TrackingNumber, TrackingNumber.id == Call.number_id)
        .where(Call.project_id == project_id, Call.started_at >= now - timedelta(days=DAYS), *_dynamic())
    )
    return _lonely_among(session, wanted)


def _maybe_lonely() -> Select[Any]:
    """Calls from outside: of the lease rule whose best visit is unlikely, and calls without a source, with what says why."""
    shares = case((Call.rule == "lease", Call.shares))
    decision = case((Call.rule == "none", Call.decision))
    return select(Call.number_id, Call.caller, Call.started_at, shares, decision).where(_lonely())


def _lonely_among(session: Session, wanted: Select[Any]) -> Iterator[LonelyCall]:
    for number_id, caller, at, shares, decision in session.execute(wanted.execution_options(yield_per=AT_ONCE)):
        if not _was_overflow(decision) and sum(share[1] for share in shares or ()) <= DOUBTFUL:
            yield LonelyCall(number_id, caller, at)


def _lonely() -> ColumnElement[bool]:
    unexplained = or_(Call.rule == "none", and_(Call.rule == "lease", Call.confidence < TINY))
    return and_(unexplained, Call.kind == EXTERNAL)


def _dynamic() -> list[ColumnElement[bool]]:
    """Numbers that should ring only for those who were lent them."""
    number = TrackingNumber
    return [number.static_source.is_(None), number.overflow.is_(False), number.released_at.is_(None)]


def _was_overflow(decision: Mapping[str, Any] | None) -> bool:
    """Shown to all for whom no other number was left: such calls have no visit by design."""
    return any(step.get("because") == OVERFLOW for step in (decision or {}).get("steps") or ())


def _first_calls(session: Session, project_id: int, numbers: Iterable[int]) -> dict[int, datetime]:
    """Since when each of these numbers has been called so."""
    wanted = _maybe_lonely().where(Call.project_id == project_id, Call.number_id.in_(numbers))
    first: dict[int, datetime] = {}
    for call in _lonely_among(session, wanted):
        first[call.number_id] = min(call.at, first.get(call.number_id, call.at))
    return first


def leaking_scenarios(session: Session, linted: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule: scenarios with such numbers say so. One statement; the worker keeps the figure."""
    ids = [one.scenario_id for one in linted if one.scenario_id and one.dynamic]
    found = select(Scenario.id, Scenario.leaking).where(Scenario.id.in_(ids), Scenario.leaking > 0)
    return {scenario_id: [_finding(amount)] for scenario_id, amount in session.execute(found)} if ids else {}


def refresh_leaking(server: Server, now: datetime) -> None:
    """Fills the scenarios' column; each project is read on its own, and only what differs is written."""
    with server.database.reading() as session:
        were = select(Scenario.project_id, Scenario.id, Scenario.leaking).where(Scenario.deleted_at.is_(None))
        scenarios = session.execute(were).all()
    found: Counter[int | None] = Counter()
    for project_id in sorted({one.project_id for one in scenarios}):
        with server.database.reading() as session:
            found.update(leak.scenario_id for leak in read_leaks(session, project_id, now))
    changed = {one.id: found[one.id] for one in scenarios if one.leaking != found[one.id]}
    if changed:
        with server.database.writing() as session:
            for scenario_id, amount in changed.items():
                session.execute(update(Scenario).where(Scenario.id == scenario_id).values(leaking=amount))


def _finding(amount: int) -> Finding:
    verb = "rings" if amount == 1 else "ring"
    said = f"{format_count(amount, 'number')} {verb} although nobody was shown {'it' if amount == 1 else 'them'}: see Numbers, Leaks."
    return Finding("leaking_numbers", said, "numbers", "numbers")
