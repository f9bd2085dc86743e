"""Records that no journal took (R12): written to the database at once, else kept in memory until the next one can be written, or the
journal takes records again."""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

import structlog
from sqlalchemy.orm import Session

from router.lib.waiting import Signal
from router.server import Server
from router.voice.applier import OF_THE_DATABASE, apply_records
from router.voice.events import write_and_announce
from router.voice.lookups import Lookups
from router.voice.records import Record

log = structlog.get_logger(__name__)

SECONDS = 1.0
"""How long a caller waits for a record to be written."""
BATCH = 100
MOST_KEPT = 20_000


class _Kept:
    """A record, and whether it is written."""

    __slots__ = ("record", "written")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.written = Signal()


class DirectWriter:
    """Writes records in their order, many in one transaction. One for each process; `apply` writes some of them, or none."""

    def __init__(self, attempts: Lookups, apply: Callable[[Sequence[Record]], None]) -> None:
        self._attempts, self._apply = attempts, apply
        self._kept: deque[_Kept] = deque()
        self._turn = threading.Lock()

    def write(self, record: Record) -> bool:
        """Whether the record stands in the database. If not, it stands in the log, and is tried again with the next one. Never raises."""
        kept = _Kept(record)
        if len(self._kept) < MOST_KEPT:
            self._kept.append(kept)
        has_written = self._attempts.run(self._write_next, False)
        # others write at present, also for us
        if not has_written and self._attempts.is_open and not kept.written.wait(self._attempts.seconds):
            self._attempts.pause()
        if kept.written.is_given:
            return True
        log.critical("record_lost", call=record["sid"], record=json.dumps(record))
        return False

    def journal(self, append: Callable[[Record], None]) -> None:
        """What is still kept goes to the journal, which takes records again. Nobody waits for that. Never raises."""
        if self._kept:
            with suppress(RuntimeError):  # the system has no more threads: with the next record
                threading.Thread(target=self._journal_all, args=(append,), name="kept-records", daemon=True).start()

    def _journal_all(self, append: Callable[[Record], None]) -> None:
        if not self._turn.acquire(blocking=False):
            return  # somebody writes them
        try:
            while self._kept:
                kept = self._kept[0]
                try:
                    append(kept.record)
                    kept.written.give()
                except ValueError:
                    log.exception("record_given_up", call=kept.record["sid"])
                self._kept.popleft()
        except Exception as error:
            log.error("kept_records_not_journaled", reason=str(error)[:500])
        finally:
            self._turn.release()

    def _write_next(self) -> bool:
        with self._turn:
            while batch := list(islice(self._kept, BATCH)):
                try:
                    self._apply_each(batch)
                except OF_THE_DATABASE as error:
                    log.error("records_not_written", reason=str(error)[:500])
                    self._attempts.pause()
                    return False
        return True

    def _apply_each(self, batch: Sequence[_Kept]) -> None:
        """Together, else one by one; a record that is wrong by itself is given up."""
        try:
            self._apply([kept.record for kept in batch])
        except OF_THE_DATABASE:
            raise
        except Exception:
            if len(batch) > 1:
                for kept in batch:
                    self._apply_each([kept])
                return
            log.exception("record_given_up", call=batch[0].record["sid"])
        else:
            for kept in batch:
                kept.written.give()
        for _ in batch:
            self._kept.popleft()


def direct_writer_of(server: Server) -> DirectWriter:
    """The server's own, made when it is first asked for."""
    if server.direct is None:

        def apply(records: Sequence[Record]) -> None:
            def work(session: Session, announcing: bool) -> None:
                apply_records(server, session, records, server.now(), announcing)

            write_and_announce(server, work)

        server.direct = DirectWriter(Lookups(server.database, "direct", SECONDS), apply)
    return server.direct
