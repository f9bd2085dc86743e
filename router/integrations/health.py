"""The circuit breaker of a destination, in the database so that all workers share it: after failures in a row its deliveries wait."""

from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from router.database import insert_new
from router.integrations.models import DestinationHealth

FAILURES_TO_OPEN = 5
FIRST_PAUSE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=30)


def pause_after(failures: int) -> timedelta | None:
    """How long a destination is left alone after so many failures in a row: 60 s from the fifth on, doubling to 30 min."""
    if failures < FAILURES_TO_OPEN:
        return None
    doubled: timedelta = FIRST_PAUSE * 2 ** min(failures - FAILURES_TO_OPEN, 10)
    return min(doubled, LONGEST_PAUSE)


def note_success(session: Session, destination: str) -> None:
    session.execute(delete(DestinationHealth).where(DestinationHealth.destination == destination))


def note_failure(session: Session, destination: str, error: str, now: datetime) -> None:
    """One more retryable failure in a row."""
    health = _locked(session, destination, now)
    health.failures += 1
    health.failing_since = health.failing_since or now
    health.last_error = error
    pause = pause_after(health.failures)
    if pause is not None:
        health.open_until = now + pause


def leave_alone(session: Session, destination: str, error: str, now: datetime, until: datetime) -> None:
    """The destination itself asked for a pause, or refuses our account: nothing is tried before `until`."""
    health = _locked(session, destination, now)
    health.failing_since = health.failing_since or now
    health.last_error = error
    health.open_until = max(until, health.open_until or until)


def try_at_once(session: Session, destination: str) -> None:
    """An admin changed something or asks for it: the pause is over, what was learnt about failures is not."""
    session.execute(
        update(DestinationHealth).where(DestinationHealth.destination == destination).values(open_until=None)
    )


def _locked(session: Session, destination: str, now: datetime) -> DestinationHealth:
    fresh = insert_new(session, DestinationHealth, unique=["destination"])
    session.execute(fresh.values(destination=destination, failures=0, last_error="", failing_since=now))
    return session.get_one(DestinationHealth, destination, with_for_update=True, populate_existing=True)
