"""Patience in tests: for what has to happen there is much of it, and a time-out that has to run out runs out without a race."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx

PATIENCE_SECONDS = 60.0
"""For a machine that is slow and busy; on a quick one nothing waits so long."""


def eventually(look: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """What `look` returns as soon as that is true. It looks less often as time goes by, because looking takes the time of what it waits
    for."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        try:
            if found := look():
                return found
        except httpx.HTTPError:
            pass
        time.sleep(min(max(0.01, waited / 10), 0.1))
    raise AssertionError(f"it did not happen within {seconds} s")


def standing_still() -> float:
    """A clock for `Outgoing`: every step of a request has the whole time for itself. What the kernel answers at once (a connection on the
    loopback, a small write) never runs out then, and only a read that nobody answers does."""
    return 0.0


def ticking() -> Callable[[], float]:
    """A clock for `Outgoing` on which a second passes at every look: so many steps, and the time is up, whatever they took."""
    return map(float, count()).__next__
