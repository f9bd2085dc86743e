"""A PostgreSQL that hangs: it keeps its connections and answers nothing, as when its machine is frozen or its disk stands still. No limit
of a connection ends such a wait, since the system of that machine still confirms what it receives, and soon every thread of a process
waits. (PostgreSQL's own limits of time, as statement_timeout, are kept by the server that hangs.)"""

import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from router.db import CONNECT_SECONDS, Database

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
DOUBTED_AFTER = 3.0
"""For so long a connection is used before the database is asked whether it answers at all."""


class HangGuard:
    """Ends the waiting in one process. A statement that merely takes long, or waits for a lock, is left alone: the guard asks the database
    itself before. While that does not answer, whoever asks it gets an OperationalError at once."""

    def __init__(self, database: Database) -> None:
        self.hangs = False
        self._engine = database.engine
        self._used: dict[Any, tuple[Any, float]] = {}
        """The driver's connection, and since when it is used, by the pool's record of it."""
        self._stopped = threading.Event()

        @event.listens_for(self._engine, "checkout")
        def take(connection: Any, record: Any, _: Any) -> None:
            if self.hangs:
                raise DisconnectionError("the database hangs")  # the pool opens another one, which is refused
            self._used[record] = connection, time.monotonic()

        @event.listens_for(self._engine, "checkin")
        @event.listens_for(self._engine, "invalidate")
        def give_back(_: Any, record: Any, *__: Any) -> None:
            self._used.pop(record, None)

        @event.listens_for(self._engine, "do_connect")
        def refuse(dialect: Any, *_: Any) -> None:
            if self.hangs:
                raise dialect.loaded_dbapi.OperationalError("the database hangs")

    def start(self) -> None:
        def follow() -> None:
            while not self._stopped.wait(LOOK_SECONDS):
                try:
                    self.look()
                except Exception:
                    log.exception("database_not_looked_at")

        threading.Thread(target=follow, name="hanging", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def look(self) -> None:
        """Asks the database if somebody has waited for long, or if it hung before."""
        doubted = time.monotonic() - DOUBTED_AFTER
        waiting = [connection for connection, since in list(self._used.values()) if since < doubted]
        if not waiting and not self.hangs:
            return
        hung, self.hangs = self.hangs, not self._answers()
        if self.hangs:
            if not hung:
                log.error("database_hangs", waiting=len(waiting))
            for connection in waiting:
                # psycopg's thread reads an end of the connection, as if the server had died
                with suppress(OSError), socket.socket(fileno=socket.dup(connection.fileno())) as its_socket:
                    its_socket.shutdown(socket.SHUT_RDWR)
        elif hung:
            log.info("database_answers_again")

    def _answers(self) -> bool:
        """By a connection of its own; behind a pooler only a statement tells."""
        dialect = self._engine.dialect
        arguments, options = dialect.create_connect_args(self._engine.url)
        try:
            connection: Any = dialect.connect(*arguments, **options, connect_timeout=CONNECT_SECONDS)
        except dialect.loaded_dbapi.Error:
            return False
        try:
            connection.pgconn.send_query(b"SELECT 1")
            return bool(select.select([connection.fileno()], [], [], CONNECT_SECONDS)[0])
        except (dialect.loaded_dbapi.Error, OSError):
            return False
        finally:
            connection.close()
