"""The simulator's time: real, faster than real, or virtual (which passes only when somebody waits)."""

import threading
import time
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

Message = TypeVar("Message")


class Clock(Protocol):
    def now(self) -> datetime: ...

    def wait(self, until: datetime, inbox: "SimpleQueue[Message]") -> Message | None:
        """The next message, or None once it is `until`."""


class RealClock:
    """Time passes `speed` times as fast as outside."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._began = datetime.now(UTC)
        self._zero = time.monotonic()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=(time.monotonic() - self._zero) * self._speed)

    def wait(self, until: datetime, inbox: "SimpleQueue[Message]") -> Message | None:
        left = (until - self.now()).total_seconds() / self._speed
        try:
            return inbox.get(timeout=left) if left > 0 else inbox.get_nowait()
        except Empty:
            return None


class VirtualClock:
    """Nobody waits in real time: whoever waits makes the time pass. `now` can be given to the server as its clock."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def wait(self, until: datetime, inbox: "SimpleQueue[Message]") -> Message | None:
        try:
            return inbox.get_nowait()
        except Empty:
            with self._lock:
                self._now = max(self._now, until)
            return None
