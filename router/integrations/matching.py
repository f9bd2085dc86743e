"""Whether a record of a CRM is the caller's: by a phone number as people typed it there.

Search engines of CRMs find by digits; what they find counts only when one of the numbers in the text is the caller's line.
docs/crm.md tells it to people, with a table of cases that is a test."""

import re
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

import phonenumbers

from router.lib.phones import country_of, line_of, national, numbers_in, spellings_of_line

SCRIPTS = ("٠", "۰", "０")
"""The zeros of other scripts that people type numbers in: Arabic, Persian, full width."""
INTERNATIONAL = re.compile(r"\+[\d\s().\-–/]{6,30}", re.ASCII)
EXTENSION = re.compile(r"(?<=\d)\s?[-–/]\s?\d{1,4}(?=\s*(?:$|[,;/|])|\s+[^\W1-9]|\s+[+(])")
"""The last digits behind a dash or a slash: `-12` of `030 7664398-12`."""
EXTENSION_WORD = re.compile(
    r"(?<=\d)[\s,;(]*\b(?:dw|durchwahl|ext(?:ension)?|x|app(?:arat)?|nst|nebenstelle|poste|int|доб)\b[.:\s]*(?=\d{1,5}\b)",
    re.IGNORECASE,
)


class Match(IntEnum):
    """How a record was found, the surest first."""

    KNOWN = 0
    """The lead that already stood for this caller, or the CRM's own reading of its phone field."""
    TYPED = 1
    """One of the numbers in the text is the caller's."""
    EXTENSION = 2
    """The caller's line is that of a number with an extension, or its direct dial."""
    ABROAD = 3
    """A number without a country code, which is the caller's in the caller's own country."""


@lru_cache(maxsize=1024)
def digit_rows(caller: str) -> tuple[str, ...]:
    """Rows of digits, one of which every usual way to write the caller's number has in this order, whatever stands between them: the
    national digits of each spelling of the line, in the scripts in which people type them."""
    rows = {national_digits(spelling) for spelling in spellings_of_line(caller)}
    least = sorted(row for row in rows if not any(row != other and _has_in_order(row, other) for other in rows))
    scripts = (str.maketrans("0123456789", "".join(chr(ord(zero) + digit) for digit in range(10))) for zero in SCRIPTS)
    return (*least, *(row.translate(script) for script in scripts for row in least))


def match(text: str, caller: str, countries: Iterable[str]) -> Match | None:
    """How this text of a phone field says that the record is the caller's; None when it does not.

    countries: in which a number without a country code is read: the record's own, its company's, the project's.
    """
    homes = tuple(dict.fromkeys(country for country in countries if country))
    line = line_of(caller)
    with_plus = ("+" + re.sub(r"\(0\)|\D", "", number) for number in INTERNATIONAL.findall(text))
    if _is_in(text, caller, homes) or any(line_of(number) == line for number in with_plus):
        return Match.TYPED  # with its plus, also when it is newer than the tables of numbering plans
    # the base numbers alone, and extensions in words as direct dials: `030 7664398 DW 12` is `030 766439812`
    variants = (EXTENSION.sub(" … ", text), EXTENSION_WORD.sub("", text))
    if any(_is_in(variant, caller, homes) for variant in variants if variant != text):
        return Match.EXTENSION
    return Match.ABROAD if _is_abroad(text, caller, homes) else None


def national_digits(e164: str) -> str:
    """`307664398` of `+49307664398`."""
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(e164, None))
    except phonenumbers.NumberParseException:
        return e164.lstrip("+")


def _is_in(text: str, caller: str, countries: Iterable[str | None]) -> bool:
    line = line_of(caller)
    return any(line_of(number) == line for country in countries or (None,) for number in numbers_in(text, country))


def _is_abroad(text: str, caller: str, homes: Iterable[str]) -> bool:
    """Whether the caller's number stands there without its country code, in its own country's form.

    Digits alone say too little: `030 7664398` is a number in Berlin and in Brescia. So no home country may have a number of these
    digits, or the area code has to stand there as the caller's country writes it and not as home does: `0664 1234567` is a mobile
    number in Austria, in Germany it would be `06641 234567`.
    """
    usual = line_of(caller)
    country = country_of(usual)
    if country is None or country in homes or not _is_in(text, caller, [country]):
        return False
    ending = national_digits(usual)[-6:]
    rivals = {number for home in homes for number in numbers_in(text, home) if number.endswith(ending)}
    return not rivals or (_stands_so(text, usual) and not any(_stands_so(text, rival) for rival in rivals))


def _stands_so(text: str, e164: str) -> bool:
    """Whether the first group of digits stands there as the number's country writes it."""
    first = re.findall(r"\d+", national(e164))[:1]
    return bool(first) and first[0] in re.findall(r"\d+", text)


def _has_in_order(row: str, digits: str) -> bool:
    rest = iter(row)
    return all(digit in rest for digit in digits)
