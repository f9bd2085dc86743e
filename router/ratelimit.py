"""Rate limits in the memory of one process, so that no request waits for a store. `limits` counts; we say who is asking."""

from limits import parse_many
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter


class RateLimit:
    """`RateLimit("600/minute").allows("203.0.113.9")`; `off` allows everything."""

    def __init__(self, rate: str) -> None:
        self._items = [] if rate == "off" else parse_many(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def allows(self, who: str) -> bool:
        return all(self._limiter.hit(item, who) for item in self._items)
