"""What is expected of each source, from the probabilities of each call (R7), and the period that a report is about: days of the project's
time zone, and the period before. Pure."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil, sqrt
from typing import Any, TypeVar

from router.lib.formats import date_of, days_before, start_of
from router.web.errors import Problem

Row = TypeVar("Row", bound=Hashable)
Shares = Mapping[int, float]
"""The probability that a call came from a source, by source key; what is missing to 1 came from nobody we know."""

CERTAIN = ("static", "imported")
DEVIATIONS = 2


@dataclass(slots=True)
class Expected:
    """The mean and the variance of a number of calls."""

    mean: float = 0.0
    variance: float = 0.0

    @property
    def range(self) -> int:
        """Two standard deviations, rounded up: the true number lies within in about 95 of 100 cases."""
        return ceil(DEVIATIONS * sqrt(self.variance) - 1e-9)

    def __add__(self, other: "Expected") -> "Expected":
        return Expected(self.mean + other.mean, self.variance + other.variance)


def shares_of(
    rule: str, source_key: int | None, source_confidence: float | None, shares: Iterable[Sequence[Any]] | None
) -> Shares:
    """The shares of a call that is no repeat, from what is stored of it. Static and imported ones are certain.

    Where the shares are not known by source (calls of an earlier release), the call's own source has its confidence and nobody the rest.
    """
    if rule in CERTAIN or shares is None:
        return own_share(source_key, source_confidence)
    return {key: probability for key, probability, *_ in shares}


def own_share(source_key: int | None, source_confidence: float | None) -> Shares:
    """A call's own source, with its confidence; certain when it has none."""
    return {} if source_key is None else {source_key: 1.0 if source_confidence is None else source_confidence}


def expected_rows(
    calls: Iterable[tuple[Shares, int]], row_of: Callable[[int], Row | None]
) -> dict[Row | None, Expected]:
    """What to expect of each row; None is the row of nobody we know.

    Args:
        calls: the shares of each first call, and how many calls follow them: itself and its repeats, which came from where it came from.
        row_of: the row of a source.
    """
    rows: dict[Row | None, Expected] = defaultdict(Expected)
    for shares, times in calls:
        by_row: dict[Row | None, float] = {}
        for key, share in shares.items():
            row = row_of(key)
            by_row[row] = by_row.get(row, 0.0) + share
        total = sum(by_row.values())
        if total < 1:
            by_row[None] = by_row.get(None, 0.0) + 1 - total
        for row, share in by_row.items():
            probability = (
                share if total <= 1 else share / total
            )  # shares are rounded, so they may come to a little more than 1
            expected = rows[row]
            expected.mean += times * probability
            expected.variance += times * times * probability * (1 - probability)
    return dict(rows)


PERIODS = {"today": 1, "7": 7, "30": 30, "90": 90}
DEFAULT = "30"
MOST_DAYS = 800
"""The longest period: two years and a bit, so that a year can be compared with the one before."""


@dataclass(frozen=True)
class Period:
    """From the first to the last day, both whole, in a time zone. `now` limits what the period before is compared up to."""

    first: date
    last: date
    zone: str
    now: datetime

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def since(self) -> datetime:
        return start_of(self.first, self.zone)

    @property
    def until(self) -> datetime:
        """Where it ends: the start of the day after."""
        return start_of(self.last + timedelta(days=1), self.zone)

    @property
    def last_moment(self) -> datetime:
        """A moment of its last day."""
        return start_of(self.last, self.zone)

    @property
    def goes_on(self) -> bool:
        return self.since <= self.now < self.until

    @property
    def before_since(self) -> datetime:
        return start_of(self.first - timedelta(days=self.days), self.zone)

    @property
    def before_until(self) -> datetime:
        """The period before has as many days; while this one goes on, it is counted up to the same time of day."""
        if not self.goes_on:
            return self.since
        return days_before(self.now, self.zone, self.days).astimezone(UTC)

    @property
    def name(self) -> str:
        """The name among PERIODS, when the period ends today and is as long; else empty."""
        names = {days: name for name, days in PERIODS.items()}
        return names.get(self.days, "") if self.last == date_of(self.now, self.zone) else ""


def parse_period(args: Mapping[str, str], zone: str, now: datetime) -> Period:
    """From an address: `from` and `to`, which win, or `period`. When only one of the days is given, it is both.

    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    today = date_of(now, zone)
    first, last = _day("from", args.get("from", "")), _day("to", args.get("to", ""))
    if first or last:
        first, last = first or last or today, last or max(today, first or today)
        if last < first:
            raise Problem(422, "“to” is a day before “from”.", "to")
        if (last - first).days >= MOST_DAYS:
            raise Problem(422, f"A report is about {MOST_DAYS} days at most.", "from")
        return Period(first, last, zone, now)
    name = args.get("period", "") or DEFAULT
    if name not in PERIODS:
        raise Problem(422, f"“period” is one of {', '.join(PERIODS)}.", "period")
    return Period(today - timedelta(days=PERIODS[name] - 1), today, zone, now)


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Problem(422, f"“{name}” is a day, like 2026-11-23.", name) from None
    if not 2000 <= day.year <= 2200:
        raise Problem(422, f"“{name}” is a day between 2000 and 2200.", name)
    return day
