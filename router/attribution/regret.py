"""Which number harms least when it is lent again (R6): pure rules over what a look at the pool brings back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from router.attribution.survival import Curve, chance_after
from router.database import LONG_AGO

ACTIVE_SCALE = timedelta(seconds=60)
OTHER_SOURCE_FACTOR = 10


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
    return 1 + 1 / (1 + max(timedelta(0), now - entry.lease_started_at) / ACTIVE_SCALE)


def expected_regret(
    entry: PoolEntry, source_key: int, hold: timedelta, now: datetime, survival: Curve | None = None
) -> float:
    other_source = entry.source_key != source_key
    return chance_of_call(entry, hold, now, survival) * (1 + OTHER_SOURCE_FACTOR * other_source)


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
    return min(entries, key=lambda entry: expected_regret(entry, source_key, hold, now, survival), default=None)
