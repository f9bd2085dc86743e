"""Leaks: dynamic numbers that ring again and again although nobody was shown them, probably hard-coded or printed somewhere (R7)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Select, and_, case, or_, select
from sqlalchemy.orm import Session

from router.attribution.decision import OVERFLOW
from router.lib.formats import format_count
from router.lib.phones import line_of
from router.reports.counters import write_columns
from router.scenarios.lint import Finding, Linted
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import EXTERNAL, Call
from router.web.api import Instant

DAYS = 30
LEAST_CALLS, LEAST_CALLERS = 3, 2
"""Within the days: one caller may have saved the number, and two calls may have dialled it wrongly."""
TINY = 0.05
"""A most probable visit that is less probable is no better than none, when all visits together are no more than DOUBTFUL."""
DOUBTFUL = 0.2
AT_ONCE = 1000


class LeakDocument(BaseModel):
    """A dynamic number that rings although nobody was shown it: `calls` of so many `callers` in the last 30 days that no visit explains,
    and the first such call of all (`since`). `scenario` is null for a free number."""

    number: int
    e164: str
    scenario: int | None
    calls: int
    callers: int
    since: Instant
    last_call_at: Instant


LonelyCall = Any
"""A call of a number that no visit can explain: a row with `number_id`, `caller` and `started_at`."""


def leaking(calls: Iterable[LonelyCall]) -> dict[int, list[LonelyCall]]:
    """The numbers with enough calls of enough callers; who withholds his number may be any of them and counts as none."""
    by_number: dict[int, list[LonelyCall]] = defaultdict(list)
    for call in calls:
        by_number[call.number_id].append(call)
    return {
        number: its_calls
        for number, its_calls in by_number.items()
        if len(its_calls) >= LEAST_CALLS and _callers(its_calls) >= LEAST_CALLERS
    }


def _callers(calls: Sequence[LonelyCall]) -> int:
    """How many known lines they came from."""
    return len({line_of(call.caller) for call in calls if call.caller})


def read_leaks(session: Session, project_id: int, now: datetime) -> list[LeakDocument]:
    """The leaks of a project, most calls first. Three statements at most."""
    # numbers that should ring only for visitors who were leased them
    recent = (
        _maybe_lonely()
        .join(TrackingNumber, TrackingNumber.id == Call.number_id)
        .where(Call.project_id == project_id, Call.started_at >= now - timedelta(days=DAYS))
        .where(TrackingNumber.is_dynamic, TrackingNumber.released_at.is_(None))
    )
    by_number = leaking(_lonely_among(session, recent))
    if not by_number:
        return []
    ever = _maybe_lonely().where(Call.project_id == project_id, Call.number_id.in_(by_number))
    since: dict[int, datetime] = {}
    for call in _lonely_among(session, ever):
        since[call.number_id] = min(call.started_at, since.get(call.number_id, call.started_at))
    numbers = select(TrackingNumber.id, TrackingNumber.e164, TrackingNumber.scenario_id)
    leaks = [
        LeakDocument(
            number=number.id,
            e164=number.e164,
            scenario=number.scenario_id,
            calls=len(by_number[number.id]),
            callers=_callers(by_number[number.id]),
            since=since[number.id],
            last_call_at=max(call.started_at for call in by_number[number.id]),
        )
        for number in session.execute(numbers.where(TrackingNumber.id.in_(by_number)))
    ]
    return sorted(leaks, key=lambda leak: (-leak.calls, leak.number))


def _maybe_lonely() -> Select[Any]:
    """Calls from outside: of the lease rule whose best visit is unlikely, and calls without a source, with what says why."""
    shares = case((Call.rule == "lease", Call.shares)).label("shares")
    decision = case((Call.rule == "none", Call.decision)).label("decision")
    unexplained = or_(Call.rule == "none", and_(Call.rule == "lease", Call.confidence < TINY))
    columns = (Call.number_id, Call.caller, Call.started_at, shares, decision)
    return select(*columns).where(unexplained, Call.kind == EXTERNAL)


def _lonely_among(session: Session, statement: Select[Any]) -> Iterator[LonelyCall]:
    for call in session.execute(statement.execution_options(yield_per=AT_ONCE)):
        # the overflow number is shown to all for whom no other was left: such calls have no visit by design
        is_overflow = any(step.get("because") == OVERFLOW for step in (call.decision or {}).get("steps") or ())
        if not is_overflow and sum(share[1] for share in call.shares or ()) <= DOUBTFUL:
            yield call


def leaking_scenarios(session: Session, linted: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule: scenarios with such numbers say so. One statement; the worker keeps the figure."""
    ids = [scenario.scenario_id for scenario in linted if scenario.scenario_id and scenario.dynamic]
    if not ids:
        return {}
    findings = {}
    leaking = select(Scenario.id, Scenario.leaking).where(Scenario.id.in_(ids), Scenario.leaking > 0)
    for row in session.execute(leaking):
        verb, whom = ("rings", "it") if row.leaking == 1 else ("ring", "them")
        sentence = f"{format_count(row.leaking, 'number')} {verb} although nobody was shown {whom}: see Numbers, Leaks."
        findings[row.id] = [Finding("leaking_numbers", sentence, "numbers", "numbers")]
    return findings


def refresh_leaking(server: Server, now: datetime) -> None:
    """Fills the scenarios' column; each project is read on its own, and only what differs is written."""
    with server.database.reading() as session:
        statement = select(Scenario.project_id, Scenario.id, Scenario.leaking).where(Scenario.deleted_at.is_(None))
        scenarios = session.execute(statement).all()
    leaking: Counter[int | None] = Counter()
    for project_id in sorted({scenario.project_id for scenario in scenarios}):
        with server.database.reading() as session:
            leaking.update(leak.scenario for leak in read_leaks(session, project_id, now))
    amounts = [
        (scenario.id, leaking[scenario.id]) for scenario in scenarios if scenario.leaking != leaking[scenario.id]
    ]
    write_columns(server, Scenario, [(scenario_id, {"leaking": amount}) for scenario_id, amount in amounts])
