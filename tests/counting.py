"""Counts the SQL statements that a piece of code takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from router.db import Database


@contextmanager
def count_statements(database: Database) -> Iterator[list[str]]:
    """The statements of the block, in order."""
    heard: list[str] = []

    def hear(*told: Any) -> None:
        heard.append(told[2])

    event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(database.engine, "before_cursor_execute", hear)
