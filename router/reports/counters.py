"""Columns of numbers and scenarios that count calls and showings. The worker fills them, as it fills others, in small writes."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, Visit
from router.db import LONG_AGO
from router.reports.calls import NOT_COUNTED
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import EXTERNAL, Call

Change = tuple[int, dict[str, Any]]
"""The id of a row, and the values that its columns should have."""

OVERLAP = 1000
"""Rows looked at again: a transaction that began earlier may commit later."""
AT_ONCE = 200
"""Rows of one transaction."""


class ColumnKeeper:
    """Remembers the newest call that was counted, so that a turn costs what came since. Internal calls are not counted."""

    def __init__(self) -> None:
        self._call_id = 0

    def refresh(self, server: Server, now: datetime) -> None:
        """Calls and showings of numbers and scenarios."""
        with server.database.reading() as session:
            new = session.execute(
                select(Call.number_id, Call.scenario_id).where(Call.id > self._call_id).distinct()
            ).all()
            newest = session.scalar(select(func.max(Call.id))) or 0
            numbers, scenarios = {row.number_id for row in new}, {row.scenario_id for row in new}
            internal = InternalCalls(session)
            first_shown = select(func.min(Lease.started_at)).where(Lease.scenario_id == Scenario.id).scalar_subquery()
            first_showings = select(
                Scenario.id, Scenario.first_shown_at.label("present"), first_shown.label("counted")
            ).where(Scenario.first_shown_at.is_(None))
            of_scenarios = [
                *_changed_calls(session, Scenario, Call.scenario_id, scenarios, internal.of_scenarios),
                *_changed(session.execute(first_showings), "first_shown_at"),
            ]
            # where the newest call is an internal one, the newest from outside is looked for; all others an index tells
            newest_call = select(func.max(Call.started_at)).where(Call.number_id == TrackingNumber.id)
            columns = (TrackingNumber.id, TrackingNumber.last_call_at.label("present"))
            of_all = select(*columns, newest_call.scalar_subquery().label("counted"))
            from_outside = select(*columns, newest_call.where(Call.kind == EXTERNAL).scalar_subquery().label("counted"))
            rows = session.execute(of_all.where(TrackingNumber.id.in_(numbers))).all()
            tested = [row.id for row in rows if row.id in internal.last and internal.last[row.id] >= row.counted]
            last_calls = [row for row in rows if row.id not in tested]
            if tested:
                last_calls += session.execute(from_outside.where(TrackingNumber.id.in_(tested))).all()
            of_numbers = [
                *_changed_calls(session, TrackingNumber, Call.number_id, numbers, internal.of_numbers),
                *_changed(last_calls, "last_call_at"),
                *_shown_numbers(session),
            ]
        write_columns(server, Scenario, of_scenarios)
        write_columns(server, TrackingNumber, of_numbers)
        self._call_id = max(0, newest - OVERLAP)


class InternalCalls:
    """The internal calls: how many each number and scenario has, and when each number had its last. They are few and have
    an index of their own, so that all calls can be counted by an index too and these be taken off."""

    def __init__(self, session: Session) -> None:
        self.of_numbers, self.of_scenarios, self.last = Counter[int](), Counter[int](), dict[int, datetime]()
        amount, last = func.count().label("amount"), func.max(Call.started_at).label("last_at")
        counted = select(Call.number_id, Call.scenario_id, amount, last).where(NOT_COUNTED)
        for row in session.execute(counted.group_by(Call.number_id, Call.scenario_id)):
            self.of_numbers[row.number_id] += row.amount
            self.of_scenarios[row.scenario_id or 0] += row.amount
            self.last[row.number_id] = max(row.last_at, self.last.get(row.number_id, row.last_at))


def _changed(rows: Iterable[Any], column: str) -> list[Change]:
    """The rows whose `present` value differs from the `counted` one."""
    return [(row.id, {column: row.counted}) for row in rows if row.present != row.counted]


def _changed_calls(
    session: Session, model: Any, column: Any, ids: Iterable[int | None], internal: Counter[int]
) -> list[Change]:
    """Numbers or scenarios whose column `calls` differs from the calls from outside that name them in `column`."""
    counted = select(func.count(Call.id)).where(column == model.id).scalar_subquery().label("counted")
    rows = session.execute(select(model.id, model.calls, counted).where(model.id.in_(ids)))
    calls = [(row.id, row.calls, row.counted - internal[row.id]) for row in rows]
    return [(row_id, {"calls": counted}) for row_id, present, counted in calls if present != counted]


def write_columns(server: Server, model: Any, changes: Iterable[Change]) -> None:
    """Some rows at a time, so that no call waits for long; by id, as everybody locks several rows, and never scenarios together with
    numbers: whoever edits a scenario locks the scenario first."""
    by_id: dict[int, dict[str, Any]] = {}
    for row_id, values in changes:
        by_id[row_id] = by_id.get(row_id, {}) | values
    ids = sorted(by_id)
    for first in range(0, len(ids), AT_ONCE):
        with server.database.writing() as session:
            for row_id in ids[first : first + AT_ONCE]:
                session.execute(update(model).where(model.id == row_id).values(by_id[row_id]))


def _shown_numbers(session: Session) -> list[Change]:
    """Numbers that were leased or returned since: the time and the visit of the last lease that was not returned."""
    shown_at = case((PoolNumber.lease_started_at > LONG_AGO, PoolNumber.lease_started_at))
    visit = (
        select(Visit.number)
        .join_from(Lease, Visit, Visit.id == Lease.visit_id)
        .where(Lease.number_id == PoolNumber.number_id, Lease.returned_at.is_(None))
        .order_by(Lease.turn.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(TrackingNumber.id, shown_at.label("shown_at"), visit.label("visit"))
        .join(PoolNumber, PoolNumber.number_id == TrackingNumber.id)
        .outerjoin(Lease, and_(Lease.number_id == PoolNumber.number_id, Lease.turn == PoolNumber.turn))
        .where(
            or_(PoolNumber.lease_started_at > LONG_AGO, Lease.returned_at.is_not(None)),
            TrackingNumber.last_shown_at.is_distinct_from(shown_at),
        )
    )
    return [(row.id, {"last_shown_at": row.shown_at, "last_visit": row.visit}) for row in session.execute(statement)]
