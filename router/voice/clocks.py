"""The clocks of machines beside the database's: compared once a minute, so that a machine with a wrong clock is neither taken for silent
nor for alive, and is named.

Nothing that happened is dated by it. The start of a call, its events, leases and heartbeats bear the time of the machine that saw them: on
one machine they fit together whatever its clock says, and to move some of them by an offset would only set them apart.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import DateTime, func, select
from sqlalchemy.orm import Session

from router.db import dialect_name

EVERY_SECONDS = 60.0
LOOKS = 3
SET_SECONDS = 1.0
"""A clock that differs by more from the time that has passed was set meanwhile."""
AGREES_SECONDS = 2.0


def database_time(session: Session) -> datetime | None:
    """What the database's clock says; None for SQLite, which is on this machine."""
    if dialect_name(session) != "postgresql":
        return None
    moment: datetime | None = session.scalar(select(func.clock_timestamp(type_=DateTime(timezone=True))))
    return moment.astimezone(UTC) if moment else None


def by_database(session: Session, now: datetime) -> datetime:
    """The present moment by the database's clock.

    Args:
        now: by this machine's clock.
    """
    return database_time(session) or now


def measured_offset(session: Session, now: Callable[[], datetime]) -> timedelta:
    """How far this machine's clock is ahead of the database's: by the quickest of some questions, halfway between asking and hearing."""
    looks = []
    for _ in range(LOOKS):
        asked, there, heard = now(), database_time(session), now()
        if there is None:
            return timedelta(0)
        looks.append((abs(heard - asked), asked + (heard - asked) / 2 - there))
    return min(looks)[1]


class MachineClock:
    """This machine's clock, as a process knows it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._measured: tuple[datetime, float] | None = None
        self.offset = timedelta(0)
        """By so much it is ahead of the database's, once it was measured."""

    @property
    def seconds(self) -> float | None:
        """The offset; None: it was not measured yet."""
        return None if self._measured is None else round(self.offset.total_seconds(), 3)

    @property
    def is_due(self) -> bool:
        """A minute has passed, or the clock was set."""
        if self._measured is None:
            return True
        at, ticks = self._measured
        passed = time.monotonic() - ticks
        return passed >= EVERY_SECONDS or abs((self._now() - at).total_seconds() - passed) > SET_SECONDS

    def measure(self, session: Session) -> None:
        self.offset = measured_offset(session, self._now)
        self._measured = self._now(), time.monotonic()


def clock_fault(host: str, seconds: float | None) -> str:
    """What an operator should know of a machine's clock that is ahead of the database's by so much; empty while they agree."""
    if seconds is None or abs(seconds) <= AGREES_SECONDS:
        return ""
    differs = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'}"
    return (
        f"the clock of {host} is {differs} the database's: let NTP set both, since calls and visits are compared by it"
    )
