"""What the simulated carrier remembers, in a small SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS = 10.0


class Book:
    """Some `tables` in the file at `path`. Every method is one transaction, so threads and processes may use it at once."""

    tables = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as book:
            book.executescript(self.tables)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        book = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        book.row_factory = sqlite3.Row
        book.execute("PRAGMA synchronous = OFF")
        try:
            yield book
        finally:
            book.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as book:
            book.execute("BEGIN IMMEDIATE")
            try:
                yield book
            except BaseException:
                book.execute("ROLLBACK")
                raise
            book.execute("COMMIT")
