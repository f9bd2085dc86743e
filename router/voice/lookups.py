"""Look-ups in the database while a caller waits (R12): each has a limit of time and a default, and a breaker that keeps callers from
waiting for a database that has not answered."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from router.db import Database
from router.lib.waiting import Signal

log = structlog.get_logger(__name__)

AT_ONCE = 4
PAUSE_SECONDS = 5.0
"""For how long no answer asks a database that has not answered."""

T = TypeVar("T")


class Lookups:
    """Look-ups of one kind in one process. Nothing here raises."""

    def __init__(self, database: Database, name: str, seconds: float) -> None:
        """`seconds`: how long a caller waits for one."""
        self.database = database
        self.seconds = seconds
        self._name = name
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._none_before = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the database is asked at present."""
        return time.monotonic() >= self._none_before

    def pause(self) -> None:
        """The database has not answered: nobody asks for a while."""
        self._none_before = time.monotonic() + PAUSE_SECONDS

    def resume(self) -> None:
        """The database answers again."""
        self._none_before = 0.0

    def ask(self, look: Callable[[Session], T], default: T, seconds: float | None = None) -> T:
        """What `look` finds in the database; `default` when there is no answer in time, or when nobody asks at present."""

        def read() -> T:
            with self.database.reading() as session:
                return look(session)

        return self.run(read, default, seconds, looks_again=True)

    def run(self, work: Callable[[], T], default: T, seconds: float | None = None, *, looks_again: bool = False) -> T:
        """The same for work that opens its own session, or asks somebody else, for so many seconds at most. Work that takes longer goes on
        by itself, and its result is dropped.

        Args:
            looks_again: the work may be done twice. When it ends late, as after a lock, it is done once more, and the pause is over if
                that was quick.
        """
        limit = self.seconds if seconds is None else min(seconds, self.seconds)
        if not self.is_open or not self._free.acquire(blocking=False):
            return default
        results: list[T] = []
        ended = Signal()

        def attempt() -> None:
            try:
                began = time.monotonic()
                results.append(work())
                if looks_again and (ended_at := time.monotonic()) > began + limit:
                    work()
                    if time.monotonic() <= ended_at + limit:
                        self.resume()
            except SQLAlchemyError:
                log.exception("look_up_failed", what=self._name)
            finally:
                self._free.release()
                ended.give()

        try:
            threading.Thread(target=attempt, name=f"{self._name}-lookup", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            self._free.release()
            log.exception("look_up_failed", what=self._name)
            return default
        ended.wait(limit)
        if results:
            return results[0]
        self.pause()
        return default
