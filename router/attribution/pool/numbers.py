"""The numbers of a pool: the rows that leases change, kept in step with the tracking numbers of scenarios, and with the free ones of
projects without scenarios (R13); and how many numbers a scenario needs (R9), by its load in erlangs and Erlang-B.

A visit holds a number from its lease to its last heartbeat and the hold after it, and again when it came back after a long silence; a
number that its page never showed, until the lease is reverted. The hour that counts is any four quarters of an hour in a row, as telephone
traffic is measured (ITU-T E.500): one that begins at half past would be cut in two by the clock. The database adds up, so that few rows
come back, however many visits there were."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Select,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    extract,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from router.attribution.models import (
    Lease,
    PoolNumber,
    Unserved,
    Visit,
    VisitSpan,
    free_pool_id,
    is_free_pool,
    project_of_free_pool,
)
from router.scenarios.documents import present_scenarios
from router.scenarios.models import Scenario, TrackingNumber, free_numbers_changed, numbers_changed
from router.server import Server

BATCH = 500


def connect_pool() -> None:
    """Connects the receivers, strongly; again changes nothing."""
    numbers_changed.connect(_follow_changed, weak=False)
    free_numbers_changed.connect(follow_free_numbers, weak=False)


def _follow_changed(_: Any, session: Session, number_ids: Iterable[int], **__: Any) -> None:
    follow_numbers(session, number_ids)


def follow_numbers(session: Session, number_ids: Iterable[int]) -> None:
    """A dynamic number of a scenario has a row in the scenario's pool, a free number of a project without scenarios in the pool of free
    numbers; any other number has none.

    A number that moves keeps its lease counter and its last heartbeat: a visitor who sees it on a page still holds it.
    """
    ids = {"ids": list(number_ids)}
    if not ids["ids"]:
        return
    session.flush()
    rows = {row.number_id: row for row in session.scalars(_ROWS, ids)}
    for number, was_leased, has_scenario in session.execute(_NUMBERS, ids).all():
        pool_id = number.scenario_id
        if pool_id is None and not has_scenario:
            pool_id = free_pool_id(number.project_id)
        if pool_id is None or not number.is_lendable:
            continue
        row = rows.pop(number.id, None)
        if row is None:
            row = PoolNumber(number_id=number.id, e164=number.e164)
            # one that was in a pool before goes on with its lease counter, and is idle since it was leased last
            if was_leased:
                leases = select(Lease.turn, Lease.started_at).where(Lease.number_id == number.id)
                leases = leases.order_by(Lease.turn.desc()).limit(1)
                newest = session.execute(leases).one()
                row.turn, row.group_turn = newest.turn, newest.turn + 1
                if kept := session.execute(leases.where(Lease.returned_at.is_(None))).first():
                    row.lease_started_at = row.last_sign_at = kept.started_at
            session.add(row)
        row.scenario_id = pool_id
    if rows:
        session.execute(delete(PoolNumber).where(PoolNumber.number_id.in_(list(rows))))


_GIVEN: BindParameter[Any] = bindparam("ids", expanding=True)
_ROWS = (  # in the order of page views
    select(PoolNumber)
    .where(PoolNumber.number_id.in_(_GIVEN))
    .order_by(PoolNumber.scenario_id, PoolNumber.number_id)
    .with_for_update()
)
_NUMBERS = select(
    TrackingNumber,
    exists().where(Lease.number_id == TrackingNumber.id),
    exists().where(Scenario.project_id == TrackingNumber.project_id, Scenario.deleted_at.is_(None)),
).where(TrackingNumber.id.in_(_GIVEN))


def follow_free_numbers(_: Any, session: Session, project_id: int, **__: Any) -> None:
    """After a project got its first scenario, lost its last one, or got other free numbers. A first batch at once; the worker adds the
    rest."""
    session.flush()
    if session.scalar(present_scenarios(project_id).with_only_columns(Scenario.id).limit(1)) is not None:
        session.execute(delete(PoolNumber).where(PoolNumber.scenario_id == free_pool_id(project_id)))
        return
    follow_numbers(session, session.scalars(_unsettled().where(TrackingNumber.project_id == project_id)).all())


def settle_free_numbers(server: Server, now: datetime) -> None:
    """The worker's look for free numbers whose row is missing, or is there although the number is not free any more, or its project has a
    scenario."""
    number = select(TrackingNumber.id).where(
        TrackingNumber.id == PoolNumber.number_id,
        TrackingNumber.scenario_id.is_(None),
        TrackingNumber.releasing_at.is_(None),
        TrackingNumber.released_at.is_(None),
    )
    scenario = select(Scenario.id).where(
        Scenario.project_id == project_of_free_pool(PoolNumber.scenario_id), Scenario.deleted_at.is_(None)
    )
    left_over = or_(~number.exists(), scenario.exists())
    rows = select(PoolNumber.number_id).where(is_free_pool(PoolNumber.scenario_id), left_over).limit(BATCH)
    with server.database.reading() as session:
        ids = [*session.scalars(_unsettled()), *session.scalars(rows)][:BATCH]
    if ids:
        with server.database.writing() as session:
            follow_numbers(session, ids)


def _unsettled() -> Select[int]:
    """The ids of free numbers that could be leased and are in no pool."""
    scenario = select(Scenario.id).where(
        Scenario.project_id == TrackingNumber.project_id, Scenario.deleted_at.is_(None)
    )
    free = select(TrackingNumber.id).where(
        TrackingNumber.scenario_id.is_(None),
        TrackingNumber.is_lendable,
        ~scenario.exists(),
        ~select(PoolNumber.number_id).where(PoolNumber.number_id == TrackingNumber.id).exists(),
    )
    return free.order_by(TrackingNumber.id).limit(BATCH)


BLOCKING = 0.01
"""The share of visits that may find every number taken (R9)."""


def smallest_pool(load: float, below: float = BLOCKING) -> int:
    """The smallest pool whose blocking is below this; 0 when nobody asks for a number."""
    if load <= 0:
        return 0
    blocking, numbers = 1.0, 0
    while blocking >= below:
        numbers += 1
        blocking = load * blocking / (numbers + load * blocking)
    return numbers


DAYS = 7
QUARTER = 900
QUARTERS = 4
"""An hour."""
EARLIER = timedelta(days=1)
"""A number leased this long before the days that count may still be held in them."""

Hours = dict[int, dict[int, float]]
"""Erlangs by the quarter with which the hour begins (its seconds since 1970 / 900), then by marketing source; 0 stands for all together."""


def numbers_needed(session: Session, scenario: Scenario, now: datetime) -> int | None:
    """The smallest pool that would have done in every hour of the last 7 days; None when nobody was leased a number."""
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
    for row in rows:
        quarters.setdefault(int(row.source), {})[int(row.quarter)] = (int(row.taken), int(row.offset))
    hours: Hours = {}
    for source, changes in quarters.items():
        # for how many seconds numbers were held in each quarter: those taken before in all of it, those that changed within it in a part
        held, numbers = {}, 0
        for quarter in range(min(changes), max(changes) + 1):
            taken, offset = changes.get(quarter, (0, 0))
            if seconds := (numbers + taken) * QUARTER - offset:
                held[quarter] = seconds
            numbers += taken
        for first in {quarter - back for quarter in held for back in range(QUARTERS)}:
            seconds = sum(held.get(first + index, 0) for index in range(QUARTERS))
            hours.setdefault(first, {})[source] = seconds / (QUARTERS * QUARTER)
    return hours


def _changes(scenario: Scenario, since: datetime, now: datetime) -> Select[Any]:
    """Source, quarter, numbers taken minus numbers come free in it, and the sum of their seconds into it, with the same signs."""
    # the spans of heartbeats of the visits that asked for a number and kept it, or got none, each from the lease on
    first = first_asked(scenario, since - EARLIER, now).subquery("first_asked")
    asked = select(first.c.visit_id, _seconds(first.c.at).label("at")).cte("asked")
    of_visits = select(asked.c.visit_id, _source(scenario)).join(Visit, Visit.id == asked.c.visit_id)
    newest = of_visits.add_columns(
        _later(asked.c.at, _seconds(Visit.span_started_at)).label("begin"), _seconds(Visit.last_sign_at).label("last")
    )
    earlier = of_visits.add_columns(
        _later(asked.c.at, _seconds(VisitSpan.started_at)).label("begin"), _seconds(VisitSpan.last_at).label("last")
    ).join(VisitSpan, and_(VisitSpan.visit_id == asked.c.visit_id, _seconds(VisitSpan.last_at) >= asked.c.at))
    spans = union_all(newest, earlier).cte("spans")
    over = spans.c.last + scenario.hold_seconds
    next_begin = func.lead(spans.c.begin).over(partition_by=spans.c.visit_id, order_by=spans.c.begin)
    shown = select(spans.c.source, spans.c.begin, func.coalesce(_earlier(over, next_begin), over).label("end"))
    reverted_at = _seconds(Lease.returned_at).label("end")
    reverted = _leases(
        scenario, since - EARLIER, _source(scenario), _seconds(Lease.started_at).label("begin"), reverted_at
    )
    reverted = reverted.join(Visit, Visit.id == Lease.visit_id).where(Lease.returned_at.is_not(None))
    whole = union_all(shown, reverted).subquery("whole")
    # when each visit held a number, in seconds since 1970, cut to the time that counts
    begin = _later(whole.c.begin, literal(int(since.timestamp()))).label("begin")
    end = _earlier(whole.c.end, literal(int(now.timestamp()))).label("end")
    within = select(whole.c.source, begin, end).subquery("within")
    held = select(within).where(within.c.end > within.c.begin).cte("held")
    at = union_all(
        select(held.c.source, held.c.begin.label("at"), literal(1).label("sign")),
        select(held.c.source, held.c.end.label("at"), literal(-1).label("sign")),
    ).subquery("at")
    quarter = at.c.at // QUARTER
    offset = at.c.sign * (at.c.at - quarter * QUARTER)
    sums = (func.sum(at.c.sign).label("taken"), func.sum(offset).label("offset"))
    return select(at.c.source, quarter.label("quarter"), *sums).group_by(at.c.source, quarter)


def first_asked(scenario: Scenario, since: datetime, until: datetime) -> Select[Any]:
    """When each visit first asked for a dynamic number, whether it was leased one or not; leases that were given back were not needed."""
    leased = _leases(scenario, since, Lease.visit_id, Lease.started_at.label("at"))
    leased = leased.where(Lease.started_at <= until, Lease.returned_at.is_(None))
    unserved = select(Unserved.visit_id, Unserved.at).where(
        Unserved.scenario_id == scenario.id, Unserved.at >= since, Unserved.at <= until
    )
    asked = union_all(leased, unserved).subquery("asked_once")
    return select(asked.c.visit_id, func.min(asked.c.at).label("at")).group_by(asked.c.visit_id)


def _source(scenario: Scenario) -> ColumnElement[int]:
    return (Visit.source_key if scenario.aim == "source" else literal(0)).label("source")


def _leases(scenario: Scenario, since: datetime, *columns: Any) -> Select[Any]:
    """By the index of leases on their numbers."""
    return (
        select(*columns)
        .select_from(Lease)
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(TrackingNumber.project_id == scenario.project_id, Lease.scenario_id == scenario.id)
        .where(Lease.started_at >= since)
    )


def _seconds(moment: Any) -> ColumnElement[int]:
    return cast(extract("epoch", moment), BigInteger)


def _earlier(first: ColumnElement[int], second: ColumnElement[int]) -> ColumnElement[int]:
    return case((first < second, first), else_=second)


def _later(first: ColumnElement[int], second: ColumnElement[int]) -> ColumnElement[int]:
    return case((first > second, first), else_=second)


def refresh_needed(server: Server, now: datetime) -> None:
    """Fills the column that a lint rule reads; each scenario is read on its own, and only what differs is written."""
    shown = select(Scenario).where(Scenario.deleted_at.is_(None), Scenario.first_shown_at.is_not(None))
    with server.database.reading() as session:
        scenarios = session.scalars(shown.order_by(Scenario.id)).all()
    changed = []
    for scenario in scenarios:
        with server.database.reading() as session:
            needed = numbers_needed(session, scenario, now)
        if needed != scenario.needed:
            changed.append({"id": scenario.id, "needed": needed})
    if changed:
        with server.database.writing() as session:
            session.execute(update(Scenario), changed)
