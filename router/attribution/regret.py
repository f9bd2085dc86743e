"""Which number harms least when it is lent again (R6): pure rules over what a look at the pool brings back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from router.attribution.survival import Curve, chance_after
from router.database import LONG_AGO

ACTIVE_SCALE = 60.0
OTHER_SOURCE_FACTOR = {"visit": 10, "source": 30}
"""By the aim. Numbers that tell sources apart have to stay with theirs until the last of those who saw them has called."""


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """One dynamic number as a look saw it; `turn` is its lease counter then."""

    number_id: int
    e164: str
    turn: int
    group_turn: int
    visitor: str
    source_key: int
    lease_started_at: datetime
    last_sign_at: datetime

    def is_idle(self, hold: timedelta, now: datetime) -> bool:
        """None of the visits that hold it is active: the last sign of life of them all is older than the hold."""
        return now - self.last_sign_at > hold


def chance_of_call(entry: PoolEntry, hold: timedelta, now: datetime, survival: Curve | None = None) -> float:
    """P(its last visitor still calls): 0 for a number never shown, falling while idle, above 1 while active; never rises with time.

    Args:
        survival: how it falls, as the scenario has learned it; None: the default.
    """
    if entry.last_sign_at == LONG_AGO:
        return 0.0
    if entry.is_idle(hold, now):
        return chance_after((now - entry.last_sign_at).total_seconds(), survival)
    return active_chance((now - entry.lease_started_at).total_seconds())


def active_chance(age: float) -> float:
    """Of an active number, by the seconds since it was lent last: those who have just come are the likeliest to call."""
    return 1 + 1 / (1 + max(0.0, age) / ACTIVE_SCALE)


def harm(chance: float, same_source: bool, aim: str) -> float:
    """The expected regret of lending a number again whose last visitor still calls with this chance."""
    return chance * (1 if same_source else 1 + OTHER_SOURCE_FACTOR[aim])


def expected_regret(
    entry: PoolEntry, source_key: int, aim: str, hold: timedelta, now: datetime, survival: Curve | None = None
) -> float:
    return harm(chance_of_call(entry, hold, now, survival), entry.source_key == source_key, aim)


def choose(
    entries: Iterable[PoolEntry],
    source_key: int,
    aim: str,
    hold: timedelta,
    now: datetime,
    survival: Curve | None = None,
) -> PoolEntry | None:
    """The entry with the least expected regret among those that the aim allows; None when there are none.

    Aim *visit*: idle numbers come first. Aim *source*: an active number may be the better choice.
    """
    entries = list(entries)
    if aim == "visit":
        entries = [entry for entry in entries if entry.is_idle(hold, now)] or entries
    return min(entries, key=lambda entry: expected_regret(entry, source_key, aim, hold, now, survival), default=None)
