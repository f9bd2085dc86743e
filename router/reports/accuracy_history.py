"""What a scenario's accuracy page and its API answer: the last days, and what was learned about late callers (R6, R8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import AccuracyDay
from router.attribution.survival import Curve
from router.reports.accuracy import DAYS, Figures, added, figures_of, last_days
from router.reports.learning import sure_calls
from router.scenarios.models import Scenario

DAYS_SHOWN = 30


@dataclass(frozen=True)
class Day:
    """A day of the project's time zone, like `2026-11-23`, with what is known of it so far."""

    day: str
    figures: Figures


@dataclass(frozen=True)
class History:
    """The last 30 days, oldest first, today last. `sure_calls`: calls whose visitor is known well, to learn from."""

    aim: str
    days: Sequence[Day]
    survival: Curve | None
    sure_calls: int

    @property
    def week(self) -> Figures:
        """Of the days that the accuracy looks at."""
        return added(one.figures for one in self.days[-DAYS:])

    @property
    def accuracy(self) -> int | None:
        return self.week.accuracy(self.aim)


def read_history(session: Session, project: Project, scenario: Scenario, now: datetime) -> History:
    days = last_days(now, project.timezone, DAYS_SHOWN)
    kept = select(AccuracyDay).where(AccuracyDay.scenario_id == scenario.id, AccuracyDay.day >= days[0])
    figures = {row.day: figures_of(row) for row in session.scalars(kept)}
    return History(
        aim=scenario.aim,
        days=[Day(day, figures.get(day, Figures())) for day in days],
        survival=scenario.survival,
        sure_calls=sure_calls(session, scenario.id),
    )
