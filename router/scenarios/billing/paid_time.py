"""The paid time of a rented number (R4): 7 days at a time, and what follows when the next ones are not paid."""

from datetime import datetime, timedelta

PAID_TIME = timedelta(days=7)
GRACE = timedelta(days=7)
QUIET = timedelta(days=30)
"""Nobody gives back a number that was called since."""


def rent_reason(e164: str, start: datetime) -> str:
    """The reason of the charge for 7 days from `start`: unique, so that they are never charged twice."""
    return f"rent:{e164}:{start.isoformat()}"


def grace_ends(paid_until: datetime) -> datetime:
    """Until then an unpaid number is not lost, whatever it is."""
    return paid_until + GRACE
