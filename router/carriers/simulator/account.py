"""The simulated carrier's book: which numbers an account rents, kept in a small SQLite file that processes share and restarts keep."""

import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from router.carriers.simulator.player import Addresses

WAIT_SECONDS = 10.0
TABLES = """
CREATE TABLE IF NOT EXISTS number (
    e164 TEXT PRIMARY KEY, sid TEXT NOT NULL UNIQUE, friendly_name TEXT NOT NULL,
    voice_url TEXT NOT NULL, voice_method TEXT NOT NULL, voice_fallback_url TEXT NOT NULL, voice_fallback_method TEXT NOT NULL,
    status_callback TEXT NOT NULL, status_callback_method TEXT NOT NULL, made TEXT NOT NULL, ord INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS elsewhere (e164 TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS happened (id INTEGER PRIMARY KEY, what TEXT NOT NULL, e164 TEXT NOT NULL, label TEXT NOT NULL);
"""
FIELDS = {
    "FriendlyName": "friendly_name",
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
}
"""What of a number can be set, by Twilio's names, and the columns that keep it."""
DEFAULTS = {"voice_method": "POST", "voice_fallback_method": "POST", "status_callback_method": "POST"}

Number = dict[str, Any]


class Taken(Exception):
    """Somebody has the number already."""


@dataclass(frozen=True)
class Event:
    """Something that was really done: `bought`, `changed` or `released`."""

    what: str
    e164: str
    label: str


class Account:
    """The book in the file at `path`. Every method is one transaction, so threads and processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as book:
            book.executescript(TABLES)

    def buy(self, e164: str, values: Mapping[str, str]) -> Number:
        """
        Args:
            values: by Twilio's names, such as `VoiceUrl`.

        Raises:
            Taken: we or somebody else have it.
        """
        row = {column: values.get(name, DEFAULTS.get(column, "")) for name, column in FIELDS.items()}
        row |= {"friendly_name": row["friendly_name"] or e164, "e164": e164, "sid": f"PN{secrets.token_hex(16)}"}
        row |= {"made": format_datetime(datetime.now(UTC))}
        columns, places = ", ".join(row), ", ".join(f":{column}" for column in row)
        with self._writing() as book:
            if self._is_taken(book, e164):
                raise Taken(e164)
            later = "(SELECT coalesce(max(ord), 0) + 1 FROM number)"
            book.execute(f"INSERT INTO number ({columns}, ord) VALUES ({places}, {later})", row)  # noqa: S608 - our own names
            _note(book, "bought", e164, row["friendly_name"])
        return row

    def change(self, sid: str, values: Mapping[str, str]) -> Number | None:
        """Sets what is named; None when there is no such number."""
        changes = {column: values[name] for name, column in FIELDS.items() if name in values}
        with self._writing() as book:
            found = _one(book, "sid", sid)
            if found is None:
                return None
            for column, value in changes.items():
                book.execute(f"UPDATE number SET {column} = ? WHERE sid = ?", (value, sid))  # noqa: S608 - our own names
            _note(book, "changed", found["e164"], found["friendly_name"])
        return found | changes

    def release(self, sid: str) -> bool:
        """Whether there was such a number."""
        with self._writing() as book:
            found = _one(book, "sid", sid)
            if found is None:
                return False
            book.execute("DELETE FROM number WHERE sid = ?", (sid,))
            _note(book, "released", found["e164"], found["friendly_name"])
        return True

    def addresses(self, e164: str) -> Addresses | None:
        """Where calls to a rented number go; None: it is not rented, or was told nothing."""
        with self._open() as book:
            found = _one(book, "e164", e164)
        if found is None or not found["voice_url"]:
            return None
        where = [found[name] for name in ("voice_url", "voice_fallback_url", "status_callback")]
        return Addresses(*where, *(found[name] for name in DEFAULTS))

    def find(self, sid: str) -> Number | None:
        with self._open() as book:
            return _one(book, "sid", sid)

    def numbers(self, part: str = "") -> list[Number]:
        """The numbers that contain `part`, the newest first."""
        with self._open() as book:
            rows = book.execute("SELECT * FROM number WHERE instr(e164, ?) > 0 ORDER BY ord DESC", (part,))
            return [dict(row) for row in rows]

    def taken(self) -> set[str]:
        """The numbers that are not for sale."""
        with self._open() as book:
            return {row[0] for row in book.execute("SELECT e164 FROM number UNION SELECT e164 FROM elsewhere")}

    def give_to_somebody_else(self, e164: str) -> None:
        with self._writing() as book:
            book.execute("INSERT OR IGNORE INTO elsewhere VALUES (?)", (e164,))

    def history(self, what: str = "", e164: str = "") -> list[Event]:
        """What was really done, in order; `what` and `e164` narrow it."""
        with self._open() as book:
            rows = book.execute("SELECT what, e164, label FROM happened ORDER BY id").fetchall()
        events = [Event(row["what"], row["e164"], row["label"]) for row in rows]
        return [event for event in events if what in ("", event.what) and e164 in ("", event.e164)]

    def _is_taken(self, book: sqlite3.Connection, e164: str) -> bool:
        wanted = "SELECT 1 FROM number WHERE e164 = ? UNION SELECT 1 FROM elsewhere WHERE e164 = ?"
        return book.execute(wanted, (e164, e164)).fetchone() is not None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        book = sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)
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


def _one(book: sqlite3.Connection, column: str, value: str) -> Number | None:
    row = book.execute(f"SELECT * FROM number WHERE {column} = ?", (value,)).fetchone()  # noqa: S608 - our own names
    return dict(row) if row else None


def _note(book: sqlite3.Connection, what: str, e164: str, label: str) -> None:
    book.execute("INSERT INTO happened (what, e164, label) VALUES (?, ?, ?)", (what, e164, label))
