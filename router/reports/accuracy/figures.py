"""How much of a scenario's attribution can be trusted (R8): the figures of a day, counted from the facts as they are now, what the last
days come to, and the calls whose visitor is known well, which tell how long after a visit callers still call (R6)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Select, and_, cast, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import AccuracyDay, Lease, Unserved, Visit
from router.lib.formats import last_days
from router.scenarios.models import Scenario
from router.voice.models import EXTERNAL, Call

DAYS = 7
"""Accuracy looks at today and the six days before."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one day or of several. `visits` asked for a dynamic number and their hold is over; each counts in at most one of `shared`,
    `overflowed` and `kept`. `mixed` shared their number with a visit of another marketing source."""

    visits: int = 0
    shared: int = 0
    mixed: int = 0
    overflowed: int = 0
    kept: int = 0
    calls: int = 0
    sure_calls: int = 0
    confidence_sum: float = 0.0

    @property
    def alone(self) -> int:
        return self.visits - self.shared - self.overflowed - self.kept

    @property
    def shared_within(self) -> int:
        """Shared with visits of their own marketing source only."""
        return self.shared - self.mixed

    def trusted(self, aim: str) -> int:
        """The visits that the aim counts as alone."""
        return self.alone + (self.shared_within if aim == "source" else 0)

    def accuracy(self, aim: str) -> int | None:
        """In per cent, rounded down: 100 only if every visit; None when no visit asked."""
        return 100 * self.trusted(aim) // self.visits if self.visits else None

    @property
    def confidence(self) -> float | None:
        """The mean confidence of the calls that have a confidence; None when no call has."""
        return self.confidence_sum / self.sure_calls if self.sure_calls else None

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, name) + getattr(other, name) for name in NAMES))


NAMES = tuple(field.name for field in fields(Figures))


def figures_of(row: AccuracyDay) -> Figures:
    return Figures(*(getattr(row, name) for name in NAMES))


def added(days: Iterable[Figures]) -> Figures:
    return sum(days, start=Figures())


Span = tuple[datetime, datetime]


def count_day(
    session: Session, project_id: int, holds: Mapping[int, timedelta], day: Span, now: datetime
) -> dict[int, Figures]:
    """The figures of each scenario that had visits or calls then. A visit belongs to the day of its start and counts once its hold is over;
    one statement for each different hold, and one for the calls."""
    figures: dict[int, dict[str, Any]] = defaultdict(dict)
    for hold in sorted(set(holds.values())):
        scenarios = [scenario_id for scenario_id, its_hold in holds.items() if its_hold == hold]
        for row in session.execute(visit_statement(project_id, scenarios, day, now - hold)):
            names = ("visits", "shared", "mixed", "overflowed", "kept")
            figures[row.scenario_id] |= {name: getattr(row, name) for name in names}
    for row in session.execute(call_statement(project_id, list(holds), day)):
        confidence_sum = round(row.confidence_sum or 0.0, 4)
        figures[row.scenario_id or 0] |= {
            "calls": row.calls, "sure_calls": row.sure_calls, "confidence_sum": confidence_sum
        }  # fmt: skip
    return {scenario_id: Figures(**values) for scenario_id, values in figures.items()}


def visit_statement(project_id: int, scenarios: Sequence[int], day: Span, over_before: datetime) -> Select[Any]:
    """By scenario: visits, shared, mixed, overflowed, kept. A visit that was leased several numbers shared if one of them was shared; a
    visit that was refused a number at any time counts as refused. A number that its page never showed does not count."""
    begun = and_(Visit.project_id == project_id, Visit.started_at >= day[0], Visit.started_at < day[1])
    over = and_(begun, Visit.last_sign_at < over_before)
    lent = (
        select(Lease.scenario_id, Lease.visit_id, cast(Lease.shared, Integer).label("shared"))
        .add_columns(cast(Lease.mixed, Integer).label("mixed"), literal("").label("outcome"))
        .join(Visit, Visit.id == Lease.visit_id)
        .where(over, Lease.scenario_id.in_(scenarios), Lease.returned_at.is_(None))
        .where(or_(Lease.unplaced_at.is_(None), Lease.shown_at.is_not(None)))
    )
    refused = (
        select(Unserved.scenario_id, Unserved.visit_id, literal(0), literal(0), Unserved.outcome)
        .join(Visit, Visit.id == Unserved.visit_id)
        .where(over, Unserved.scenario_id.in_(scenarios))
    )
    asked = union_all(lent, refused).subquery("asked")
    each = (
        select(asked.c.scenario_id, func.max(asked.c.shared).label("shared"), func.max(asked.c.mixed).label("mixed"))
        .add_columns(func.max(asked.c.outcome).label("outcome"))
        .group_by(asked.c.scenario_id, asked.c.visit_id)
        .subquery("each")
    )
    served = each.c.outcome == ""
    return select(
        each.c.scenario_id,
        func.count().label("visits"),
        func.count().filter(served, each.c.shared == 1).label("shared"),
        func.count().filter(served, each.c.mixed == 1).label("mixed"),
        func.count().filter(each.c.outcome == "overflow").label("overflowed"),
        func.count().filter(each.c.outcome == "keep").label("kept"),
    ).group_by(each.c.scenario_id)


def call_statement(project_id: int, scenarios: Sequence[int], day: Span) -> Select[Any]:
    """By scenario: calls from outside, how many of them have a confidence, and the sum of these confidences."""
    return (
        select(Call.scenario_id, func.count().label("calls"))
        .add_columns(func.count(Call.confidence).label("sure_calls"), func.sum(Call.confidence).label("confidence_sum"))
        .where(Call.project_id == project_id, Call.scenario_id.in_(scenarios), Call.kind == EXTERNAL)
        .where(Call.started_at >= day[0], Call.started_at < day[1])
        .group_by(Call.scenario_id)
    )


SURE = 0.95
"""A call counts whose visitor is at least so probable, or tapped the number just before."""
MOST_CALLS = 5000
"""The newest ones: what visitors do changes."""


def sure_calls(session: Session, scenario_id: int) -> int:
    """How many calls there are to learn from, at most MOST_CALLS."""
    return session.scalar(select(func.count()).select_from(known_silences(scenario_id).subquery())) or 0


def known_silences(scenario_id: int) -> Select[float]:
    """How long the winning visits had been silent at their calls, in seconds; 0 while their page was open."""
    winner: Any = Call.candidates[0]
    tapped = winner["tapped_seconds"].as_float().is_not(None)
    silence: Any = winner["silent_seconds"].as_float()
    return (
        select(silence)
        .where(Call.scenario_id == scenario_id, Call.rule == "lease", or_(Call.confidence >= SURE, tapped))
        .where(silence.is_not(None), Call.kind == EXTERNAL)
        .order_by(Call.id.desc())
        .limit(MOST_CALLS)
    )


DAYS_SHOWN = 30


class History:
    """What is known of a scenario's accuracy so far."""

    def __init__(self, session: Session, project: Project, scenario: Scenario, now: datetime) -> None:
        self.aim, self.survival = scenario.aim, scenario.survival
        days = last_days(now, project.timezone, DAYS_SHOWN)
        kept = select(AccuracyDay).where(AccuracyDay.scenario_id == scenario.id, AccuracyDay.day >= days[0])
        figures = {row.day: figures_of(row) for row in session.scalars(kept)}
        self.days = {day: figures.get(day, Figures()) for day in days}
        """The last 30 of the project's time zone, like `2026-11-23`, oldest first, today last."""
        self.week = added(list(self.days.values())[-DAYS:])
        """Of the days that the accuracy looks at."""
        self.accuracy = self.week.accuracy(self.aim)
        self.sure_calls = sure_calls(session, scenario.id)
