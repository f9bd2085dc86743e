"""Waiting for another thread. A request that a loop answers together with others, as a greenlet, goes back to the loop meanwhile; anybody
else waits with his whole thread."""

import threading
from abc import abstractmethod
from typing import Any

from greenlet import getcurrent, greenlet


class LoopedRequest(greenlet):
    """A request that a loop answers. It runs until it waits for a signal, and the loop then runs others."""

    awaited: "Signal | None" = None
    """What the request waits for at present."""

    @abstractmethod
    def wait_for(self, signal: "Signal", seconds: float) -> None:
        """In the request: goes back to the loop, and returns when the signal was given or the time is over."""

    @abstractmethod
    def resume_soon(self, signal: "Signal") -> None:
        """In any thread: the loop shall go on with the request, as its signal was given."""


class Signal:
    """Given once, by any thread; the thread or the request that has made it waits for it."""

    __slots__ = ("_event", "is_given", "request")

    def __init__(self) -> None:
        present: Any = getcurrent()
        self.request = present if isinstance(present, LoopedRequest) else None
        self._event = None if self.request else threading.Event()
        self.is_given = False

    def give(self) -> None:
        self.is_given = True
        if self.request is not None:
            self.request.resume_soon(self)
        elif self._event is not None:
            self._event.set()

    def wait(self, seconds: float) -> bool:
        """Whether the signal was given within this time."""
        if self.request is not None and not self.is_given:
            self.request.wait_for(self, seconds)
        elif self._event is not None:
            self._event.wait(seconds)
        return self.is_given
