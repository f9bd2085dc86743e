"""Which number harms least when it is leased (R6): the expected regret, what a scenario has learned about late callers, and what a page
shows when every number is active and none is to be shared.

P(a visitor still calls | idle for so long): of the visitors who are silent now and will call, those still to come are the ones whose
silence will be longer. So P is the share of calls after a silence that came after a longer one, 1 at no silence; what no visitor does
concerns all numbers alike."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Executable, bindparam, select
from sqlalchemy.orm import Session

from router.attribution.models import Unserved
from router.db import LONG_AGO, insert_new, table_of
from router.scenarios.models import TrackingNumber
from router.statements import Statement

IDLE_SCALE = 300.0
"""Seconds after which P is half by default."""

CALLS_NEEDED = 1000
PRIOR_CALLS = 200
"""Smoothing: as if so many calls that follow the default had been seen as well."""

GRID = (0.0, *(30.0 * 2**power for power in range(17)))
"""Seconds: from half a minute to 23 days, each time twice as long."""
DIGITS = 7

Curve = Sequence[Sequence[float]]
"""`[[seconds, P], ...]` at the moments of the grid: rising, and never rising."""


def default_chance(seconds: float) -> float:
    return 1 / (1 + seconds / IDLE_SCALE)


def learn(silences: Iterable[float]) -> list[list[float]]:
    """The curve of calls that came after these silences, in seconds; calls from an open page (0) say nothing about it.

    Each point is the share of longer silences among them and the default's calls, so it never rises and nowhere reaches 0.
    """
    after = sorted(silence for silence in silences if silence > 0)
    whole = len(after) + PRIOR_CALLS
    return [
        [at, round((len(after) - bisect_right(after, at) + PRIOR_CALLS * default_chance(at)) / whole, DIGITS)]
        for at in GRID
    ]


def chance_after(seconds: float, curve: Curve | None) -> float:
    """P at an idle time: straight between the points of the curve, and beyond its end falling on as 1 / time; without one the default."""
    if not curve:
        return default_chance(seconds)
    above = bisect_left(curve, seconds, key=lambda point: point[0])
    if above == 0:
        return curve[0][1]
    before, chance_before = curve[above - 1]
    if above == len(curve):
        return chance_before * before / seconds
    after, chance = curve[above]
    return chance_before + (chance - chance_before) * (seconds - before) / (after - before)


ACTIVE_SCALE = 60.0
OTHER_SOURCE_FACTOR = {"visit": 10, "source": 30}
"""By the aim. Numbers that tell sources apart have to stay with their source until the last visitor who saw them has called."""


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
        """None of the visits that hold it is active: the last heartbeat of them all is older than the hold."""
        return now - self.last_sign_at > hold


def active_chance(age: float) -> float:
    """Of an active number, by the seconds since it was leased last: those who have just come are the likeliest to call."""
    return 1 + 1 / (1 + max(0.0, age) / ACTIVE_SCALE)


def harm(chance: float, same_source: bool, aim: str) -> float:
    """The expected regret of leasing a number again whose last visitor still calls with this chance."""
    return chance * (1 if same_source else 1 + OTHER_SOURCE_FACTOR[aim])


SHARE, OVERFLOW, KEEP = "share", "overflow", "keep"
"""The policies of an exhausted pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The rules by which the numbers of a pool are leased: a scenario's, or those of a project's free numbers."""

    id: int
    """The scenario's, or `free_pool_id`."""
    aim: str
    hold_seconds: int
    exhausted: str = SHARE
    survival: Curve | None = None
    """P(still calls | idle) as the scenario has learned it; None: the default."""
    locked: bool = False
    """This transaction holds the pool's lock already."""

    @property
    def hold(self) -> timedelta:
        return timedelta(seconds=self.hold_seconds)

    @property
    def sharing(self) -> bool:
        """Visits may share a number. Without it the aim only says which of the idle ones is leased."""
        return self.exhausted == SHARE

    def chance_of_call(self, entry: PoolEntry, now: datetime) -> float:
        """P(its last visitor still calls): 0 for a number never shown, falling while idle, above 1 while active; never rises with time."""
        if entry.last_sign_at == LONG_AGO:
            return 0.0
        if entry.is_idle(self.hold, now):
            return chance_after((now - entry.last_sign_at).total_seconds(), self.survival)
        return active_chance((now - entry.lease_started_at).total_seconds())

    def expected_regret(self, entry: PoolEntry, source_key: int, now: datetime) -> float:
        return harm(self.chance_of_call(entry, now), entry.source_key == source_key, self.aim)

    def choose(self, entries: Sequence[PoolEntry], source_key: int, now: datetime) -> PoolEntry | None:
        """The entry with the least expected regret among those that the aim allows; None when there are none.

        Aim *visit*: idle numbers come first. Aim *source*: an active number may be the better choice.
        """
        if self.aim == "visit":
            entries = [entry for entry in entries if entry.is_idle(self.hold, now)] or entries
        return min(entries, key=lambda entry: self.expected_regret(entry, source_key, now), default=None)


UNSERVED, _number = table_of(Unserved), table_of(TrackingNumber).c


@Statement
def _COUNT(dialect: str) -> Executable:
    values: dict[str, Any] = {column.name: bindparam(column.name) for column in UNSERVED.c}
    statement: Executable = insert_new(dialect, UNSERVED, unique=["visit_id", "scenario_id"]).values(values)
    return statement


_OVERFLOW_NUMBER = Statement(
    select(_number.e164)
    .where(_number.scenario_id == bindparam("scenario"), _number.overflow, _number.released_at.is_(None))
    .order_by(_number.id)
    .limit(1)
)


def shown_instead(session: Session, scenario_id: int, policy: str, visit_id: int, now: datetime) -> str | None:
    """The overflow number that the visit is shown; None: the page keeps its own. The first time a visit is not served is counted."""
    number = _OVERFLOW_NUMBER.first(session, {"scenario": scenario_id}) if policy == OVERFLOW else None
    outcome = OVERFLOW if number else KEEP
    _COUNT.run(session, {"visit_id": visit_id, "scenario_id": scenario_id, "outcome": outcome, "at": now})
    return str(number.e164) if number else None
