"""Reads phone numbers at the edge: what a person typed, a company line, what a carrier says of a caller."""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

SIP = re.compile(
    r"sips?:[A-Za-z0-9._+\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252}[A-Za-z0-9])?(?::\d{1,5})?(?:;[A-Za-z0-9=;.\-]{1,64})?"
)

LONGEST_CALLER = 250


class BadPhone(ValueError):
    """Not a phone number that can be called; the message is for the person who typed it."""


@dataclass(frozen=True)
class Caller:
    """Who calls: an identified E.164 number, or withheld (`e164` is None). `raw` is what the carrier said."""

    e164: str | None
    raw: str

    @property
    def withheld(self) -> bool:
        return self.e164 is None


def read_phone(text: str, country: str | None = None) -> str:
    """E.164 of what somebody typed, read with the project's country.

    Raises:
        BadPhone: it is no valid number.
    """
    try:
        number = phonenumbers.parse(text, country or None)
    except NumberParseException:
        raise BadPhone(
            f"“{text[:40]}” is not a phone number. Write it with its country code, like +14155552671."
        ) from None
    if not phonenumbers.is_valid_number(number):
        raise BadPhone(f"“{text[:40]}” is not a valid phone number. Write it with its country code, like +14155552671.")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def read_destination(text: str, country: str | None = None) -> str:
    """A company line: an E.164 number, or a SIP address as it stands.

    Raises:
        BadPhone: it is neither.
    """
    text = text.strip()
    if text.lower().startswith(("sip:", "sips:")):
        if not SIP.fullmatch(text):
            raise BadPhone(f"“{text[:60]}” is not a SIP address like sip:sales@pbx.example.com.")
        return text
    return read_phone(text, country)


def read_caller(raw: str | None) -> Caller:
    """A caller is identified if and only if the carrier's string is a valid international number (facts on withheld callers)."""
    return _read_caller((raw or "").strip()[:LONGEST_CALLER])


@lru_cache(maxsize=4096)
def _read_caller(raw: str) -> Caller:
    try:
        number = phonenumbers.parse(raw, None)
    except NumberParseException:
        return Caller(None, raw[:100])
    if not phonenumbers.is_valid_number(number) or not raw.startswith("+"):
        return Caller(None, raw[:100])
    return Caller(phonenumbers.format_number(number, PhoneNumberFormat.E164), raw[:100])
