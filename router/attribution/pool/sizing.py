"""The load of a scenario's pool in erlangs, from what is stored about leases and signs of life (R9).

A visit holds a number from its lease to its last sign of life and the hold after it, and again when it came back after a long silence; one
that its page never showed until it gives it back.
The hour that counts is any four quarters of an hour in a row, as telephone traffic is measured (ITU-T E.500): one that begins at half
past would be cut in two by the clock. The database adds up, so that few rows come back, however many visits there were.

How many numbers a pool needs: Erlang-B, which asks for nothing but the load
(https://en.wikipedia.org/wiki/Erlang_(unit)#Erlang_B_formula).

Says when a pool is far too small for last week's load (R2); the worker keeps the figure, because tables lint many scenarios at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    CompoundSelect,
    Select,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from router.attribution.models import Lease, Unserved, Visit, VisitSpan
from router.lib.formats import format_count
from router.scenarios.lint.facts import Linted
from router.scenarios.lint.rules import Finding
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server

BLOCKING = 0.01
"""The share of visits that may find every number taken (R9)."""


def smallest_pool(load: float, below: float = BLOCKING) -> int:
    """The smallest pool whose blocking is below this; 0 when nobody asks for a number."""
    if load <= 0:
        return 0
    found, numbers = 1.0, 0
    while found >= below:
        numbers += 1
        found = load * found / (numbers + load * found)
    return numbers


DAYS = 7
QUARTER = 900
QUARTERS = 4
"""An hour."""
EARLIER = timedelta(days=1)
"""A number lent this long before the days that count may still be held in them."""

Hours = dict[int, dict[int, float]]
"""Erlangs by the quarter with which the hour begins (its seconds since 1970 / 900), then by marketing source; 0 stands for all together."""


def numbers_needed(session: Session, scenario: Scenario, now: datetime) -> int | None:
    """The smallest pool that would have done in every hour of the last 7 days; None when nobody was lent a number."""
    return pool_for(hourly_loads(session, scenario, now))


def pool_for(hours: Hours) -> int | None:
    """The pool that the busiest hour needs; where sources are told apart, each needs its own numbers (aim *source*)."""
    needs = (sum(smallest_pool(load) for load in sources.values()) for sources in hours.values())
    return max(needs, default=None)


def hourly_loads(session: Session, scenario: Scenario, now: datetime) -> Hours:
    """One statement of a row for each source and quarter of an hour in which a number was taken or came free: 10^5 visits are
    about 2,700 rows, or as many as there are visits if each had a source of its own."""
    rows = session.execute(_changes(scenario, now - timedelta(days=DAYS), now)).all()
    quarters: dict[int, dict[int, tuple[int, int]]] = {}
    for source, quarter, taken, offset in rows:
        quarters.setdefault(int(source), {})[int(quarter)] = (int(taken), int(offset))
    hours: Hours = {}
    for source, changes in quarters.items():
        for first, load in _hours(_held_seconds(changes)).items():
            hours.setdefault(first, {})[source] = load
    return hours


def _held_seconds(changes: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """For how many seconds numbers were held in each quarter of an hour: those that were taken before in all of it, those that changed
    within it in a part."""
    held, numbers = {}, 0
    for quarter in range(min(changes), max(changes) + 1):
        taken, offset = changes.get(quarter, (0, 0))
        if seconds := (numbers + taken) * QUARTER - offset:
            held[quarter] = seconds
        numbers += taken
    return held


def _hours(held: Mapping[int, int]) -> dict[int, float]:
    begins = {quarter - back for quarter in held for back in range(QUARTERS)}
    return {first: _sum(held, first) / (QUARTERS * QUARTER) for first in begins}


def _sum(held: Mapping[int, int], first: int) -> int:
    return sum(held.get(first + index, 0) for index in range(QUARTERS))


def _changes(scenario: Scenario, since: datetime, now: datetime) -> Select[Any]:
    """Source, quarter, numbers taken minus numbers come free in it, and the sum of their seconds into it, with the same signs."""
    held = _held(scenario, since, now)
    at = union_all(
        select(held.c.source, held.c.begin.label("at"), literal(1).label("sign")),
        select(held.c.source, held.c.end.label("at"), literal(-1).label("sign")),
    ).subquery("at")
    quarter = at.c.at // QUARTER
    offset = at.c.sign * (at.c.at - quarter * QUARTER)
    return select(at.c.source, quarter, func.sum(at.c.sign), func.sum(offset)).group_by(at.c.source, quarter)


def _held(scenario: Scenario, since: datetime, now: datetime) -> CTE:
    """When each visit held a number of the scenario, in seconds since 1970, cut to the time that counts."""
    spans = _spans(scenario, since).cte("spans")
    over = spans.c.last + scenario.hold_seconds
    next_begin = func.lead(spans.c.begin).over(partition_by=spans.c.visit_id, order_by=spans.c.begin)
    shown = select(spans.c.source, spans.c.begin, func.coalesce(_earlier(over, next_begin), over).label("end"))
    whole = union_all(shown, _given_back(scenario, since)).subquery("whole")
    begin = _later(whole.c.begin, literal(int(since.timestamp()))).label("begin")
    end = _earlier(whole.c.end, literal(int(now.timestamp()))).label("end")
    held = select(whole.c.source, begin, end).subquery("within")
    return select(held).where(held.c.end > held.c.begin).cte("held")


def _given_back(scenario: Scenario, since: datetime) -> Select[Any]:
    """Source, begin and end of the leases whose number never stood on the page."""
    begin, end = _seconds(Lease.started_at).label("begin"), _seconds(Lease.returned_at).label("end")
    leases = _leases(scenario, since, _source(scenario), begin, end).join(Visit, Visit.id == Lease.visit_id)
    return leases.where(Lease.returned_at.is_not(None))


def _source(scenario: Scenario) -> ColumnElement[int]:
    return (Visit.source_key if scenario.aim == "source" else literal(0)).label("source")


def _spans(scenario: Scenario, since: datetime) -> CompoundSelect[Any]:
    """The spans of signs of life of the visits that were lent a number, each from the lease on."""
    asked = _asked(scenario, since)
    of_visits = select(asked.c.visit_id, _source(scenario)).join(Visit, Visit.id == asked.c.visit_id)
    newest = of_visits.add_columns(
        _later(asked.c.at, _seconds(Visit.span_started_at)).label("begin"), _seconds(Visit.last_sign_at).label("last")
    )
    earlier = of_visits.add_columns(
        _later(asked.c.at, _seconds(VisitSpan.started_at)).label("begin"), _seconds(VisitSpan.last_at).label("last")
    ).join(VisitSpan, and_(VisitSpan.visit_id == asked.c.visit_id, _seconds(VisitSpan.last_at) >= asked.c.at))
    return union_all(newest, earlier)


def _asked(scenario: Scenario, since: datetime) -> CTE:
    """When each visit was first lent a number that it kept, or asked for one in vain."""
    lent = _leases(scenario, since, Lease.visit_id, _seconds(Lease.started_at).label("at"))
    lent = lent.where(Lease.returned_at.is_(None))
    in_vain = select(Unserved.visit_id, _seconds(Unserved.at).label("at")).where(
        Unserved.scenario_id == scenario.id, Unserved.at >= since - EARLIER
    )
    asked = union_all(lent, in_vain).subquery("asked_once")
    return select(asked.c.visit_id, func.min(asked.c.at).label("at")).group_by(asked.c.visit_id).cte("asked")


def _leases(scenario: Scenario, since: datetime, *columns: Any) -> Select[Any]:
    """By the index of leases on their numbers."""
    return (
        select(*columns)
        .select_from(Lease)
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(TrackingNumber.project_id == scenario.project_id, Lease.scenario_id == scenario.id)
        .where(Lease.started_at >= since - EARLIER)
    )


def _seconds(moment: Any) -> ColumnElement[int]:
    return cast(extract("epoch", moment), BigInteger)


def _earlier(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one < other, one), else_=other)


def _later(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


FAR = 0.75
"""A pool with a smaller share of what is needed has an accuracy below about 90 % in its busiest hour."""


def small_pools(session: Session, linted: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule; one statement."""
    ids = [one.scenario_id for one in linted if one.scenario_id and one.dynamic]
    if not ids:
        return {}
    found = select(Scenario.id, Scenario.needed).where(Scenario.id.in_(ids), Scenario.needed.is_not(None))
    needed = {scenario_id: amount or 0 for scenario_id, amount in session.execute(found)}
    return {
        one.scenario_id: [_finding(one, needed[one.scenario_id])]
        for one in linted
        if one.dynamic and one.dynamic + one.to_buy < FAR * needed.get(one.scenario_id, 0)
    }


def _finding(one: Linted, needed: int) -> Finding:
    has = one.dynamic + one.to_buy
    sentence = f"The busiest hour of the last 7 days needs {format_count(needed, 'number')}, and the pool has {has}: visitors share them."
    look = f"/scenarios/{one.scenario_id}/plan" if one.scenario_id else ""
    return Finding("small_pool", sentence, "numbers", "numbers", look=look, look_for="What more would tell")


def refresh_needed(server: Server, now: datetime) -> None:
    """Fills the column; each scenario is read on its own, and only what differs is written."""
    shown = select(Scenario).where(Scenario.deleted_at.is_(None), Scenario.first_shown_at.is_not(None))
    with server.database.reading() as session:
        scenarios = session.scalars(shown.order_by(Scenario.id)).all()
    needed: dict[int, int | None] = {}
    for scenario in scenarios:
        with server.database.reading() as session:
            found = numbers_needed(session, scenario, now)
        if found != scenario.needed:
            needed[scenario.id] = found
    if needed:
        with server.database.writing() as session:
            for scenario_id, amount in needed.items():
                session.execute(update(Scenario).where(Scenario.id == scenario_id).values(needed=amount))
