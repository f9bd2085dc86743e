"""The calls and recordings of the simulated carrier, as its REST side lists and shows them
(https://www.twilio.com/docs/voice/api/call-resource, https://www.twilio.com/docs/voice/api/recording)."""

import io
import re
import sqlite3
import wave
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import phonenumbers

from router.carriers.simulator.book import Book
from router.carriers.simulator.call import CallRecording, Leg, PhoneCall

TABLES = """
CREATE TABLE IF NOT EXISTS call (
    ord INTEGER PRIMARY KEY AUTOINCREMENT, sid TEXT NOT NULL UNIQUE, parent TEXT NOT NULL, direction TEXT NOT NULL,
    caller TEXT NOT NULL, dialled TEXT NOT NULL, status TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER, seconds INTEGER NOT NULL,
    forwarded_from TEXT NOT NULL, stir_verstat TEXT NOT NULL, account TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS recording (
    ord INTEGER PRIMARY KEY AUTOINCREMENT, sid TEXT NOT NULL UNIQUE, call TEXT NOT NULL, source TEXT NOT NULL, channels INTEGER NOT NULL,
    started INTEGER NOT NULL, seconds INTEGER, ready INTEGER, account TEXT NOT NULL DEFAULT ''
);
"""
KEEP_CALL = """
INSERT INTO call (sid, parent, direction, caller, dialled, status, started, ended, seconds, forwarded_from, stir_verstat, account)
VALUES (:sid, :parent, :direction, :caller, :dialled, :status, :started, :ended, :seconds, :forwarded_from, :stir_verstat, :account)
ON CONFLICT (sid) DO UPDATE SET status = excluded.status, started = excluded.started, ended = excluded.ended, seconds = excluded.seconds
"""
KEEP_RECORDING = """
INSERT INTO recording (sid, call, source, channels, started, seconds, ready, account)
VALUES (:sid, :call, :source, :channels, :started, :seconds, :ready, :account)
ON CONFLICT (sid) DO UPDATE SET seconds = excluded.seconds, ready = excluded.ready
"""
LIST_CALLS = """
SELECT * FROM call
WHERE account = :account AND (:to = '' OR dialled = :to) AND (:from = '' OR caller = :from) AND (:parent = '' OR parent = :parent)
    AND (:status = '' OR status = :status) AND started BETWEEN :started_from AND :started_until
    AND (:any_end OR ended BETWEEN :ended_from AND :ended_until)
    AND (:after = '' OR ord < (SELECT ord FROM call WHERE sid = :after))
ORDER BY ord DESC LIMIT :limit
"""
LIST_RECORDINGS = """
SELECT * FROM recording
WHERE account = :account AND (:call = '' OR call = :call) AND started BETWEEN :started_from AND :started_until
    AND (:after = '' OR ord < (SELECT ord FROM recording WHERE sid = :after))
ORDER BY ord DESC LIMIT :limit
"""
LAST_MOMENT = 2**62
DAY_SECONDS = 86_400

PRICE_SECONDS = 60
"""A price is known only some time after the end; Twilio does not say when."""
MINUTE_PRICES = {"inbound": 0.0085, "outbound-dial": 0.0140}
RECORDING_MINUTE_PRICE = 0.0025

SAMPLES_PER_SECOND = 8000
SILENCE = b"\x80"

Row = sqlite3.Row


class BadFilter(Exception):
    """A list is asked for with a value that Twilio does not understand; the message names its parameter."""


class CallBook(Book):
    """The calls of an account in the file at `path`, their legs, which are calls of their own, and their recordings. There the server's
    account has no `sid`."""

    tables = TABLES

    def __init__(self, path: Path, sid: str = "") -> None:
        super().__init__(path)
        self._sid = sid
        with self._writing() as book:  # a file of a release that knew one account
            for table in ("call", "recording"):
                if "account" not in {row["name"] for row in book.execute(f"PRAGMA table_info({table})")}:
                    book.execute(f"ALTER TABLE {table} ADD COLUMN account TEXT NOT NULL DEFAULT ''")

    def keep(self, call: PhoneCall) -> None:
        """Writes a call, its legs and its recordings as they are now."""
        with self._writing() as book:
            of_account = {"account": self._sid}
            book.execute(KEEP_CALL, _values_of_call(call) | of_account)
            for leg in call.legs:
                if leg.began_at is not None:
                    book.execute(KEEP_CALL, _values_of_leg(call, leg, leg.began_at) | of_account)
            for recording in call.recordings:
                book.execute(KEEP_RECORDING, _values_of_recording(call, recording) | of_account)

    def find_call(self, sid: str) -> Row | None:
        return self._find("SELECT * FROM call WHERE sid = ? AND account = ?", sid)

    def find_recording(self, sid: str) -> Row | None:
        return self._find("SELECT * FROM recording WHERE sid = ? AND account = ?", sid)

    def forget_recording(self, sid: str) -> bool:
        """Whether there was such a recording."""
        with self._writing() as book:
            ours = (sid, self._sid)
            return book.execute("DELETE FROM recording WHERE sid = ? AND account = ?", ours).rowcount > 0

    def calls(self, asked: Mapping[str, str], after: str, limit: int) -> list[Row]:
        """The newest calls first, from behind the call `after` on.

        Args:
            asked: Twilio's filters.

        Raises:
            BadFilter: one of them.
        """
        started_from, started_until = moments(asked, "StartTime")
        ended_from, ended_until = moments(asked, "EndTime")
        filters = {
            "to": asked.get("To", ""),
            "from": asked.get("From", ""),
            "parent": asked.get("ParentCallSid", ""),
            "status": asked.get("Status", ""),
            "started_from": started_from,
            "started_until": started_until,
            "any_end": (ended_from, ended_until) == (0, LAST_MOMENT),
            "ended_from": ended_from,
            "ended_until": ended_until,
        }
        with self._open() as book:
            asked_for = filters | {"account": self._sid, "after": after, "limit": limit}
            return book.execute(LIST_CALLS, asked_for).fetchall()

    def recordings(self, asked: Mapping[str, str], after: str, limit: int) -> list[Row]:
        """The newest recordings first, from behind the recording `after` on.

        Raises:
            BadFilter: one of Twilio's filters in `asked`.
        """
        started_from, started_until = moments(asked, "DateCreated")
        filters = {"call": asked.get("CallSid", ""), "started_from": started_from, "started_until": started_until}
        with self._open() as book:
            asked_for = filters | {"account": self._sid, "after": after, "limit": limit}
            return book.execute(LIST_RECORDINGS, asked_for).fetchall()

    def _find(self, statement: str, sid: str) -> Row | None:
        with self._open() as book:
            row: Row | None = book.execute(statement, (sid, self._sid)).fetchone()
            return row


def _values_of_call(call: PhoneCall) -> dict[str, Any]:
    return {
        "sid": call.sid,
        "parent": "",
        "direction": "inbound",
        "caller": call.caller,
        "dialled": call.to,
        "status": call.status,
        "started": _second(call.began_at),
        "ended": _second(call.ended_at),
        "seconds": call.seconds,
        "forwarded_from": call.signalling.forwarded_from,
        "stir_verstat": call.signalling.stir_verstat,
    }


def _values_of_leg(call: PhoneCall, leg: Leg, began_at: datetime) -> dict[str, Any]:
    return {
        "sid": leg.sid,
        "parent": call.sid,
        "direction": "outbound-dial",
        "caller": leg.caller_id,
        "dialled": leg.to,
        "status": "queued" if leg.status == "initiated" else leg.status,
        "started": _second(began_at),
        "ended": _second(leg.ended_at),
        "seconds": leg.seconds,
        "forwarded_from": "",
        "stir_verstat": "",
    }


def _values_of_recording(call: PhoneCall, recording: CallRecording) -> dict[str, Any]:
    return {
        "sid": recording.sid,
        "call": call.sid,
        "source": recording.source,
        "channels": recording.channels,
        "started": _second(recording.began_at),
        "seconds": recording.seconds,
        "ready": _second(recording.ready_at),
    }


def _second(moment: datetime | None) -> int | None:
    """Twilio's times have no fractions."""
    return None if moment is None else int(moment.timestamp())


def moments(asked: Mapping[str, str], name: str) -> tuple[int, int]:
    """The first and the last second that a list is asked for: `name` itself is a day or a second, `name<` and `name>` are bounds, of which
    a day means its first second.

    Raises:
        BadFilter: what stands there is neither `YYYY-MM-DD` nor `YYYY-MM-DDThh:mm:ssZ`.
    """
    first, last = 0, LAST_MOMENT
    for sign in ("", "<", ">"):
        text = asked.get(name + sign, "")
        if not text:
            continue
        is_day = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None
        if not is_day and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text):
            raise BadFilter(name)
        try:
            moment = int(datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp())
        except ValueError:
            raise BadFilter(name) from None
        if sign != "<":
            first = max(first, moment)
        if sign != ">":
            last = min(last, moment + (DAY_SECONDS - 1 if is_day and not sign else 0))
    return first, last


def call_document(row: Row, base: str, account: str, now: datetime) -> dict[str, Any]:
    """A Call resource. What did not succeed has no duration and no end; a price comes late.

    Args:
        base: the path of the account.
    """
    is_completed = row["status"] == "completed"
    ended = row["ended"] if is_completed else None
    uri = f"{base}/Calls/{row['sid']}"
    return {
        "sid": row["sid"],
        "account_sid": account,
        "parent_call_sid": row["parent"] or None,
        "phone_number_sid": None,
        "direction": row["direction"],
        "from": row["caller"],
        "from_formatted": formatted(row["caller"]),
        "to": row["dialled"],
        "to_formatted": formatted(row["dialled"]),
        "forwarded_from": row["forwarded_from"] or None,
        "stir_verstat": row["stir_verstat"] or None,
        "caller_name": None,
        "answered_by": None,
        "status": row["status"],
        "start_time": rfc2822(row["started"]),
        "end_time": rfc2822(ended),
        "duration": str(row["seconds"]) if is_completed else None,
        "price": price(MINUTE_PRICES[row["direction"]], row["seconds"], ended, now),
        "price_unit": "USD",
        "queue_time": "0",
        "group_sid": None,
        "trunk_sid": None,
        "api_version": "2010-04-01",
        "date_created": rfc2822(row["started"]),
        "date_updated": rfc2822(row["ended"] or row["started"]),
        "subresource_uris": {"recordings": f"{uri}/Recordings.json"},
        "uri": f"{uri}.json",
    }


def recording_document(row: Row, base: str, account: str, now: datetime, origin: str) -> dict[str, Any]:
    """A Recording resource. It has no duration (-1) until its file is there.

    Args:
        base: the path of the account.
        origin: of the REST side's addresses.
    """
    ready = is_ready(row, now)
    uri = f"{base}/Recordings/{row['sid']}"
    return {
        "sid": row["sid"],
        "account_sid": account,
        "call_sid": row["call"],
        "conference_sid": None,
        "status": "completed" if ready else "in-progress" if row["seconds"] is None else "processing",
        "source": row["source"],
        "channels": row["channels"],
        "start_time": rfc2822(row["started"]),
        "duration": str(row["seconds"]) if ready else "-1",
        "price": price(RECORDING_MINUTE_PRICE, row["seconds"] or 0, row["ready"], now),
        "price_unit": "USD",
        "error_code": None,
        "encryption_details": None,
        "media_url": f"{origin}{uri}",
        "api_version": "2010-04-01",
        "date_created": rfc2822(row["started"]),
        "date_updated": rfc2822(row["ready"] or row["started"]),
        "subresource_uris": {},
        "uri": f"{uri}.json",
    }


def is_ready(recording: Row, now: datetime) -> bool:
    return recording["ready"] is not None and recording["ready"] <= now.timestamp()


def price(of_minute: float, seconds: int, ended: int | None, now: datetime) -> str | None:
    """What is charged for the minutes begun, as a negative amount with five decimals; None before it is known."""
    if not seconds or ended is None or now.timestamp() < ended + PRICE_SECONDS:
        return None
    return f"-{-(-seconds // 60) * of_minute:.5f}"


def rfc2822(second: int | None) -> str | None:
    return None if second is None else format_datetime(datetime.fromtimestamp(second, UTC))


def formatted(number: str) -> str:
    """North American numbers in their national form, all others as they are."""
    if not number.startswith("+1"):
        return number
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)


def silence(seconds: int, channels: int) -> bytes:
    """A WAV file of that length, 8 kHz, 8 bit."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(1)
        sound.setframerate(SAMPLES_PER_SECOND)
        sound.writeframes(SILENCE * (seconds * SAMPLES_PER_SECOND * channels))
    return file.getvalue()
