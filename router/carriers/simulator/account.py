"""The simulated carrier's numbers: those that an account rents, in a small SQLite file, and valid ones of every country for sale."""

import re
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from router.carriers.simulator.book import Book
from router.carriers.simulator.player import Addresses

TABLES = """
CREATE TABLE IF NOT EXISTS number (
    e164 TEXT PRIMARY KEY, sid TEXT NOT NULL UNIQUE, friendly_name TEXT NOT NULL,
    voice_url TEXT NOT NULL, voice_method TEXT NOT NULL, voice_fallback_url TEXT NOT NULL, voice_fallback_method TEXT NOT NULL,
    status_callback TEXT NOT NULL, status_callback_method TEXT NOT NULL, made TEXT NOT NULL, ord INTEGER NOT NULL,
    sms_url TEXT NOT NULL DEFAULT '', sms_method TEXT NOT NULL DEFAULT 'POST',
    bundle_sid TEXT NOT NULL DEFAULT '', address_sid TEXT NOT NULL DEFAULT '', account TEXT NOT NULL DEFAULT ''
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
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
    "BundleSid": "bundle_sid",
    "AddressSid": "address_sid",
}
"""What of a number can be set, by Twilio's names, and the columns that keep it."""
METHODS = ("voice_method", "voice_fallback_method", "status_callback_method", "sms_method")
DEFAULTS = dict.fromkeys(METHODS, "POST")

Number = dict[str, Any]


class Taken(Exception):
    """Somebody has the number already."""


@dataclass(frozen=True)
class Event:
    """Something that was really done: `bought`, `changed` or `released`."""

    what: str
    e164: str
    label: str


class Account(Book):
    """The numbers of an account in the file at `path`, which knows the server's own by no `sid`. No number is sold to two of them."""

    tables = TABLES

    def __init__(self, path: Path, sid: str = "") -> None:
        super().__init__(path)
        self.sid = sid
        with self._writing() as book:  # a file of an older release
            known = {row["name"] for row in book.execute("PRAGMA table_info(number)")}
            for column in {*FIELDS.values(), "account"} - known:
                otherwise = DEFAULTS.get(column, "")
                book.execute(f"ALTER TABLE number ADD COLUMN {column} TEXT NOT NULL DEFAULT '{otherwise}'")

    def buy(self, e164: str, values: Mapping[str, str]) -> Number:
        """
        Args:
            values: by Twilio's names, such as `VoiceUrl`.

        Raises:
            Taken: we or somebody else have it.
        """
        row = {column: values.get(name, DEFAULTS.get(column, "")) for name, column in FIELDS.items()}
        row |= {"friendly_name": row["friendly_name"] or e164, "e164": e164, "sid": f"PN{secrets.token_hex(16)}"}
        row |= {"made": format_datetime(datetime.now(UTC)), "account": self.sid}
        columns, places = ", ".join(row), ", ".join(f":{column}" for column in row)
        with self._writing() as book:
            taken = "SELECT 1 FROM number WHERE e164 = ? UNION SELECT 1 FROM elsewhere WHERE e164 = ?"
            if book.execute(taken, (e164, e164)).fetchone() is not None:
                raise Taken(e164)
            later = "(SELECT coalesce(max(ord), 0) + 1 FROM number)"
            book.execute(f"INSERT INTO number ({columns}, ord) VALUES ({places}, {later})", row)  # noqa: S608 - our own names
            _note(book, "bought", e164, row["friendly_name"])
        return row

    def change(self, sid: str, values: Mapping[str, str]) -> Number | None:
        """Sets what is named; None when there is no such number."""
        changes = {column: values[name] for name, column in FIELDS.items() if name in values}
        with self._writing() as book:
            number = self._number(book, sid)
            if number is None:
                return None
            for column, value in changes.items():
                book.execute(f"UPDATE number SET {column} = ? WHERE sid = ?", (value, sid))  # noqa: S608 - our own names
            _note(book, "changed", number["e164"], number["friendly_name"])
        return number | changes

    def release(self, sid: str) -> bool:
        """Whether there was such a number."""
        with self._writing() as book:
            number = self._number(book, sid)
            if number is None:
                return False
            book.execute("DELETE FROM number WHERE sid = ?", (sid,))
            _note(book, "released", number["e164"], number["friendly_name"])
        return True

    def addresses(self, e164: str) -> Addresses | None:
        """Where calls to a number go, whichever account has it; None: it is not rented, or was told nothing."""
        number = self._anybodys(e164)
        if number is None or not number["voice_url"]:
            return None
        where = [number[name] for name in ("voice_url", "voice_fallback_url", "status_callback", "sms_url")]
        return Addresses(*where, *(number[name] for name in METHODS))

    def account_of(self, e164: str) -> str:
        """The SID of the account that has a number; empty: the server's own, or none."""
        number = self._anybodys(e164)
        return str(number["account"]) if number else ""

    def find(self, sid: str) -> Number | None:
        with self._open() as book:
            return self._number(book, sid)

    def numbers(self, part: str = "") -> list[Number]:
        """The numbers that contain `part`, the newest first."""
        with self._open() as book:
            of_account = "SELECT * FROM number WHERE account = ? AND instr(e164, ?) > 0 ORDER BY ord DESC"
            return [dict(row) for row in book.execute(of_account, (self.sid, part))]

    def taken(self) -> set[str]:
        """The numbers that are not for sale."""
        with self._open() as book:
            return {row[0] for row in book.execute("SELECT e164 FROM number UNION SELECT e164 FROM elsewhere")}

    def give_to_somebody_else(self, e164: str) -> None:
        with self._writing() as book:
            book.execute("INSERT OR IGNORE INTO elsewhere VALUES (?)", (e164,))

    def forget_addresses(self) -> None:
        """Calls to all numbers, of whichever account, go where the exchange itself sends them."""
        with self._writing() as book:
            book.execute("UPDATE number SET voice_url = ''")

    def history(self, what: str = "", e164: str = "") -> list[Event]:
        """What was really done, in order; `what` and `e164` narrow it."""
        with self._open() as book:
            rows = book.execute("SELECT what, e164, label FROM happened ORDER BY id").fetchall()
        events = [Event(row["what"], row["e164"], row["label"]) for row in rows]
        return [event for event in events if what in ("", event.what) and e164 in ("", event.e164)]

    def _number(self, book: sqlite3.Connection, sid: str) -> Number | None:
        row = book.execute("SELECT * FROM number WHERE sid = ? AND account = ?", (sid, self.sid)).fetchone()
        return dict(row) if row else None

    def _anybodys(self, e164: str) -> Number | None:
        with self._open() as book:
            row = book.execute("SELECT * FROM number WHERE e164 = ?", (e164,)).fetchone()
        return dict(row) if row else None


def _note(book: sqlite3.Connection, what: str, e164: str, label: str) -> None:
    book.execute("INSERT INTO happened (what, e164, label) VALUES (?, ?, ?)", (what, e164, label))


KINDS = {
    "local": PhoneNumberType.FIXED_LINE,
    "mobile": PhoneNumberType.MOBILE,
    "toll-free": PhoneNumberType.TOLL_FREE,
}
FREE_DIGITS = 6
STRIDE = 7919
"""A prime, so that neighbours in the stock are not neighbours in the number plan."""
MOST_TRIES = 4000


@dataclass(frozen=True)
class StockNumber:
    e164: str
    country: str
    kind: str


def countries() -> list[str]:
    return sorted(phonenumbers.SUPPORTED_REGIONS)


def search(country: str, digits: str = "", kind: str = "local", limit: int = 20, begins: str = "") -> list[StockNumber]:
    """Numbers for sale in a country that contain `digits` (in E.164 form, without the plus). Fewer than `limit` where it is small.

    `begins` are the first digits of their national form.
    """
    stock: dict[str, StockNumber] = {}
    if re.fullmatch(r"[0-9]*", digits + begins) is None:
        return []
    pattern, types = _pattern(country, kind), _types(country, kind)
    for national in _candidates(country, digits, kind, begins):
        if not pattern.fullmatch(national):
            continue
        number = phonenumbers.PhoneNumber(country_code=phonenumbers.country_code_for_region(country))
        number.national_number = int(national)
        # leading zeros belong to the number (Italy, Gabon): they are kept beside it
        zeros = len(national) - len(national.lstrip("0"))
        number.italian_leading_zero = zeros > 0 or None
        number.number_of_leading_zeros = zeros if zeros > 1 else None
        if (
            not phonenumbers.is_valid_number_for_region(number, country)
            or phonenumbers.number_type(number) not in types
        ):
            continue
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if digits in e164:
            stock.setdefault(e164, StockNumber(e164, country, kind))
        if len(stock) >= limit:
            break
    return list(stock.values())


def _example(country: str, kind: str) -> phonenumbers.PhoneNumber | None:
    return phonenumbers.example_number_for_type(country, KINDS[kind]) or phonenumbers.example_number(country)


@cache
def _types(country: str, kind: str) -> frozenset[int]:
    """The types of the country's example, and of numbers that may be that or another: an area code may belong to numbers of other kinds."""
    example = _example(country, kind)
    types = {phonenumbers.number_type(example)} if example else set()
    either = PhoneNumberType.FIXED_LINE_OR_MOBILE
    return frozenset(types | {either} if types & {PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE} else types)


@cache
def _pattern(country: str, kind: str) -> "re.Pattern[str]":
    """What every national number of that kind looks like. Most candidates are none, and a look at this costs a hundredth of the
    library's whole check."""
    plan, example = phonenumbers.PhoneMetadata.metadata_for_region(country), _example(country, kind)
    described = plan and {
        PhoneNumberType.FIXED_LINE: plan.fixed_line,
        PhoneNumberType.FIXED_LINE_OR_MOBILE: plan.fixed_line,
        PhoneNumberType.MOBILE: plan.mobile,
        PhoneNumberType.TOLL_FREE: plan.toll_free,
    }.get(phonenumbers.number_type(example) if example else PhoneNumberType.UNKNOWN, plan.general_desc)
    return re.compile((described and described.national_number_pattern) or "[0-9]*")


def _candidates(country: str, digits: str, kind: str, begins: str) -> Iterator[str]:
    """National numbers in the shape of the country's example, with `digits` at every place they fit; not all are valid."""
    example = _example(country, kind)
    if example is None:
        return
    shape = phonenumbers.national_significant_number(example)
    shape = begins + shape[len(begins) :]
    code = str(example.country_code)
    rest = digits.removeprefix(code) if digits.startswith(code) else None
    if rest is not None and not begins:
        yield from _filled(shape, rest, 0)
    last = len(shape) - len(digits)
    for place in range(last, len(begins) - 1 if digits else last - 1, -1):
        yield from _filled(shape, digits, place, len(begins))


def _filled(shape: str, digits: str, place: int, kept: int = 0) -> Iterator[str]:
    """The shape with `digits` at a place and all kinds of digits elsewhere, but for the `kept` first ones."""
    if place < 0 or place + len(digits) > len(shape):
        return
    free = [index for index in range(kept, len(shape)) if not place <= index < place + len(digits)]
    places = free[-FREE_DIGITS:]
    room, start = 10 ** len(places), int(shape[-FREE_DIGITS:])
    national = list(shape)
    national[place : place + len(digits)] = digits
    for turn in range(min(room, MOST_TRIES)):
        fill = str((start + turn * STRIDE) % room).zfill(len(places)) if places else ""
        for index, digit in zip(places, fill, strict=False):
            national[index] = digit
        yield "".join(national)


def is_sold(country: str, kind: str) -> bool:
    """Whether the country has numbers of a kind of their own: in North America nobody tells a mobile number from a local one."""
    example = phonenumbers.example_number_for_type(country, KINDS[kind])
    return kind == "local" or (example is not None and phonenumbers.number_type(example) == KINDS[kind])
