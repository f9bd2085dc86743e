"""Columns of lower floors that show what upper floors know: calls and showings. The worker fills them, in small writes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, Visit
from router.db import LONG_AGO
from router.reports.calls import IS_INTERNAL
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import EXTERNAL, Call

Query = Select[*tuple[Any, ...]]
Change = tuple[int, dict[str, Any]]
"""A row by its id, and what its columns should be."""

OVERLAP = 1000
"""Rows looked at again: a transaction that began earlier may commit later."""
AT_ONCE = 200
"""Rows of one transaction."""


class ColumnKeeper:
    """Remembers how far it has read, so that a turn costs what has changed since the last one. Internal calls count for nothing."""

    def __init__(self) -> None:
        self._call_id = 0

    def refresh(self, server: Server, now: datetime) -> None:
        """Calls and showings of numbers and scenarios."""
        with server.database.reading() as session:
            newest, numbers, scenarios = self._touched(session)
            internal = InternalCalls.read(session)
            of_scenarios = [
                *_changed(_less(session, _scenario_calls(scenarios), internal.of_scenarios), "calls"),
                *_changed(session.execute(_shown_scenarios()), "first_shown_at"),
            ]
            of_numbers = [
                *_changed(_less(session, _number_calls(numbers), internal.of_numbers), "calls"),
                *_changed(_last_calls(session, numbers, internal), "last_call_at"),
                *_shown_numbers(session),
            ]
        _write(server, Scenario, of_scenarios)
        _write(server, TrackingNumber, of_numbers)
        self._call_id = max(0, newest - OVERLAP)

    def _touched(self, session: Session) -> tuple[int, set[int], set[int | None]]:
        new = select(Call.number_id, Call.scenario_id).where(Call.id > self._call_id).distinct()
        rows = session.execute(new).all()
        newest = session.scalar(select(func.max(Call.id))) or 0
        return newest, {row.number_id for row in rows}, {row.scenario_id for row in rows}


@dataclass(frozen=True)
class InternalCalls:
    """The calls that count nowhere: how many each number and scenario has, and when each number had its last one. They are few and have
    an index of their own, so that all calls can be counted by an index too and these be taken off."""

    of_numbers: Counter[int]
    of_scenarios: Counter[int]
    last: dict[int, datetime]

    @classmethod
    def read(cls, session: Session) -> "InternalCalls":
        found = cls(Counter(), Counter(), {})
        amount, last = func.count(), func.max(Call.started_at)
        rows = select(Call.number_id, Call.scenario_id, amount, last).where(IS_INTERNAL)
        for number_id, scenario_id, calls, at in session.execute(rows.group_by(Call.number_id, Call.scenario_id)):
            found.of_numbers[number_id] += calls
            found.of_scenarios[scenario_id or 0] += calls
            found.last[number_id] = max(at, found.last.get(number_id, at))
        return found


def _less(session: Session, query: Query, internal: Counter[int]) -> Iterator[tuple[int, Any, int]]:
    return ((row[0], row[1], row[2] - internal[row[0]]) for row in session.execute(query))


def _changed(rows: Iterable[Any], column: str) -> list[Change]:
    """Of the rows (id, value as it is, value as it should be) those that differ."""
    return [(row[0], {column: row[2]}) for row in rows if row[1] != row[2]]


def _write(server: Server, model: Any, changes: Iterable[Change]) -> None:
    """Some rows at a time, so that no call waits for them; by id, as everybody locks several rows, and never scenarios with numbers:
    who edits a scenario has locked it when he comes to its numbers."""
    by_id: dict[int, dict[str, Any]] = {}
    for row_id, values in changes:
        by_id[row_id] = by_id.get(row_id, {}) | values
    ids = sorted(by_id)
    for first in range(0, len(ids), AT_ONCE):
        with server.database.writing() as session:
            for row_id in ids[first : first + AT_ONCE]:
                session.execute(update(model).where(model.id == row_id).values(by_id[row_id]))


def _number_calls(numbers: Iterable[int]) -> Query:
    counted = select(func.count(Call.id)).where(Call.number_id == TrackingNumber.id).scalar_subquery()
    return select(TrackingNumber.id, TrackingNumber.calls, counted).where(TrackingNumber.id.in_(numbers))


def _last_calls(session: Session, numbers: Iterable[int], internal: InternalCalls) -> list[Any]:
    """Where the newest call is an internal one, the newest from outside is looked for; all others an index tells."""
    newest = select(func.max(Call.started_at)).where(Call.number_id == TrackingNumber.id)
    whole = select(TrackingNumber.id, TrackingNumber.last_call_at, newest.scalar_subquery())
    from_outside = select(
        TrackingNumber.id, TrackingNumber.last_call_at, newest.where(Call.kind == EXTERNAL).scalar_subquery()
    )
    rows = session.execute(whole.where(TrackingNumber.id.in_(numbers))).all()
    tested = [row[0] for row in rows if row[0] in internal.last and internal.last[row[0]] >= row[2]]
    again = session.execute(from_outside.where(TrackingNumber.id.in_(tested))).all() if tested else []
    return [row for row in rows if row[0] not in tested] + list(again)


def _scenario_calls(scenarios: Iterable[int | None]) -> Query:
    counted = select(func.count(Call.id)).where(Call.scenario_id == Scenario.id).scalar_subquery()
    return select(Scenario.id, Scenario.calls, counted).where(Scenario.id.in_(scenarios))


def _shown_numbers(session: Session) -> list[Change]:
    """Numbers that were lent or given back since: when they were lent last to a visit that kept them, and to which."""
    shown_at = case((PoolNumber.lease_started_at > LONG_AGO, PoolNumber.lease_started_at))
    kept = (
        select(Visit.number)
        .join_from(Lease, Visit, Visit.id == Lease.visit_id)
        .where(Lease.number_id == PoolNumber.number_id, Lease.returned_at.is_(None))
        .order_by(Lease.turn.desc())
        .limit(1)
        .scalar_subquery()
    )
    lent = (
        select(TrackingNumber.id, shown_at, kept)
        .join(PoolNumber, PoolNumber.number_id == TrackingNumber.id)
        .outerjoin(Lease, and_(Lease.number_id == PoolNumber.number_id, Lease.turn == PoolNumber.turn))
        .where(
            or_(PoolNumber.lease_started_at > LONG_AGO, Lease.returned_at.is_not(None)),
            TrackingNumber.last_shown_at.is_distinct_from(shown_at),
        )
    )
    return [(number_id, {"last_shown_at": at, "last_visit": visit}) for number_id, at, visit in session.execute(lent)]


def _shown_scenarios() -> Query:
    first = select(func.min(Lease.started_at)).where(Lease.scenario_id == Scenario.id).scalar_subquery()
    return select(Scenario.id, Scenario.first_shown_at, first).where(Scenario.first_shown_at.is_(None))
