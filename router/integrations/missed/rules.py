"""When missed calls are told: at once, but nobody's calls more than once in ten minutes, and never more than a few messages in that time.
What is held back is told together as soon as it may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

WINDOW = timedelta(minutes=10)
MOST_NOTICES = 6
"""Within the window."""
MOST_APART = 3
"""When more callers than these wait at a time, one message tells of all."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A missed call that is to be told. All who withhold their number count as one caller."""

    call_id: int
    caller: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """One that was told, with others of the same `notice` together."""

    notice: int
    caller: str | None
    at: datetime


def due_notices(waiting: Sequence[Missed], told: Sequence[Told], now: datetime) -> list[list[Missed]]:
    """The calls that are told now, those of one message together, the oldest first in each."""
    recent = [one for one in told if now - WINDOW < one.at <= now]
    room = MOST_NOTICES - len({one.notice for one in recent})
    lately = {one.caller for one in recent}
    by_caller: dict[str | None, list[Missed]] = {}
    for one in sorted(waiting, key=lambda each: (each.at, each.call_id)):
        if one.caller not in lately:
            by_caller.setdefault(one.caller, []).append(one)
    if not by_caller or room <= 0:
        return []
    if len(by_caller) > min(MOST_APART, room):
        together = [one for calls in by_caller.values() for one in calls]
        return [sorted(together, key=lambda each: (each.at, each.call_id))]
    return list(by_caller.values())


def is_quiet(config: Mapping[str, Any], zone: str, now: datetime) -> bool:
    """Whether it is between `quiet_from` and `quiet_until`, which may be past midnight."""
    begin, end = str(config.get("quiet_from") or ""), str(config.get("quiet_until") or "")
    if not begin or not end:
        return False
    here = f"{now.astimezone(ZoneInfo(zone)):%H:%M}"
    return begin <= here < end if begin < end else here >= begin or here < end
