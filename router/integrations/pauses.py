"""When a delivery is tried again (R11; the schedule of Standard Webhooks)."""

from datetime import datetime, timedelta

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400))
"""Before the first, second … tenth attempt; after the tenth it is dead."""
SPREAD = 0.1
LONGEST_WISH = timedelta(hours=24)
"""What a receiver's Retry-After may ask for at most."""


def next_attempt(attempts: int, now: datetime, chance: float, retry_after: float | None = None) -> datetime | None:
    """The moment of the attempt that follows `attempts` failed ones, or None when there is none left.

    `chance`, 0 to 1, spreads the pause by ±10 %; a receiver's Retry-After (seconds) makes it longer, never shorter.
    """
    if attempts >= len(PAUSES):
        return None
    pause = PAUSES[attempts] * (1 - SPREAD + 2 * SPREAD * chance)
    return now + max(pause, wish(retry_after))


def wish(retry_after: float | None) -> timedelta:
    """A receiver's Retry-After, within reason."""
    return timedelta(seconds=min(max(retry_after or 0.0, 0.0), LONGEST_WISH.total_seconds()))
