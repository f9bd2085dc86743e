"""How much of a scenario's attribution can be trusted (R8): pure arithmetic over the figures of its days."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from router.attribution.models import AccuracyDay

DAYS = 7
"""Accuracy looks at today and the six days before."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one day or of several. `visits` asked for a dynamic number and their hold is over; of these, each visit counts in at most one of
    `shared`, `overflowed` and `kept`; `mixed` are the shared ones whose number another marketing source had as well."""

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
        """The mean confidence of the calls that have one; None when none has."""
        return self.confidence_sum / self.sure_calls if self.sure_calls else None

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, name) + getattr(other, name) for name in NAMES))


NAMES = tuple(one.name for one in fields(Figures))


def figures_of(row: AccuracyDay) -> Figures:
    return Figures(*(getattr(row, name) for name in NAMES))


def added(days: Iterable[Figures]) -> Figures:
    return sum(days, start=Figures())


def day_of(at: datetime, zone: str) -> str:
    """`2026-11-23`, the day of a moment in a time zone."""
    return at.astimezone(ZoneInfo(zone)).date().isoformat()


def last_days(now: datetime, zone: str, count: int) -> list[str]:
    """Oldest first, today last."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return [(today - timedelta(days=back)).isoformat() for back in range(count - 1, -1, -1)]


def span_of(day: str, zone: str) -> tuple[datetime, datetime]:
    """The beginning of a day and of the next one; days of 23 and 25 hours are as long as they are."""
    first = date.fromisoformat(day)
    midnights = (datetime.combine(one, time.min, ZoneInfo(zone)) for one in (first, first + timedelta(days=1)))
    begin, end = midnights
    return begin, end
