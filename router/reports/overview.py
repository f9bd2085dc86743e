"""The figures of the overview: each is an answer, with where it leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.lib.formats import days_before, last_starts
from router.lib.phones import line_of, spellings_of_line
from router.scenarios.models import Scenario
from router.voice.models import EXTERNAL, LOST, Call, Status

DAYS = 14
MISSED_DAYS = 7
MOST_MISSED = 500


@dataclass(frozen=True)
class DayFigures:
    """Calls from outside of each of the last days, oldest first, today last."""

    calls: Sequence[int]
    lost: Sequence[int]
    by_now_a_week_ago: int

    @property
    def today(self) -> int:
        return self.calls[-1]


def day_figures(session: Session, project: Project, now: datetime) -> DayFigures:
    """Counted in one statement."""
    starts = last_starts(now, project.timezone, DAYS)
    ends = [*starts[1:], now + timedelta(days=1)]
    within = [(Call.started_at >= start) & (Call.started_at < end) for start, end in zip(starts, ends, strict=True)]
    same_day_until_now = (Call.started_at >= starts[-8]) & (Call.started_at <= days_before(now, project.timezone, 7))
    figures = [
        *(func.sum(case((day, 1), else_=0)) for day in within),
        *(func.sum(case((day & Call.status.in_(LOST), 1), else_=0)) for day in within),
        func.sum(case((same_day_until_now, 1), else_=0)),
    ]
    since = select(*figures).where(Call.project_id == project.id, Call.started_at >= starts[0], Call.kind == EXTERNAL)
    amounts = [int(amount or 0) for amount in session.execute(since).one()]
    return DayFigures(amounts[:DAYS], amounts[DAYS : 2 * DAYS], amounts[-1])


def not_called_back(session: Session, project: Project, now: datetime) -> list[Call]:
    """Lost calls of the last 7 days, newest first: one call for each caller who was not reached since.

    Calls that the company makes are not seen here: a caller counts as reached once a later call of his was answered.
    """
    since = now - timedelta(days=MISSED_DAYS)
    recent = select(Call).where(Call.project_id == project.id, Call.started_at >= since, Call.caller.is_not(None))
    recent = recent.where(Call.kind == EXTERNAL)
    lost = session.scalars(recent.where(Call.status.in_(LOST)).order_by(Call.id.desc()).limit(MOST_MISSED)).all()
    callers = {spelling for call in lost if call.caller for spelling in spellings_of_line(call.caller)}
    answered = select(Call.caller, func.max(Call.started_at).label("last_at")).where(
        Call.project_id == project.id,
        Call.started_at >= since,
        Call.status == Status.ANSWERED,
        Call.caller.in_(callers),
    )
    reached: dict[str, datetime] = {}
    for row in session.execute(answered.group_by(Call.caller)):
        line = line_of(row.caller)
        reached[line] = max(row.last_at, reached.get(line, row.last_at))
    newest = {line_of(call.caller): call for call in reversed(lost) if call.caller}
    waiting = [call for line, call in newest.items() if line not in reached or reached[line] < call.started_at]
    return sorted(waiting, key=lambda call: call.id, reverse=True)


def shown_scenarios(session: Session, project: Project) -> Sequence[Scenario]:
    """The enabled scenarios, least accurate first."""
    enabled = select(Scenario).where(
        Scenario.project_id == project.id, Scenario.deleted_at.is_(None), Scenario.enabled.is_(True)
    )
    return session.scalars(enabled.order_by(Scenario.accuracy.is_(None), Scenario.accuracy, Scenario.id)).all()
