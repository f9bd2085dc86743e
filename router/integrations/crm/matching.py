"""Whether a record of a CRM is the caller's, and whether a call makes a lead or is added to one (R10).

Search engines of CRMs find by digits; what they find counts only when one of the numbers in the text is the caller's line.
docs/crm.md tells it to people, with a table of cases that is a test."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """The national digits of each spelling of the caller's line, in the scripts in which people type digits. Every usual way to write the
    number has the digits of at least one row in this order, with anything between them."""
    rows = {national_digits(spelling) for spelling in spellings_of_line(caller)}
    # without those that hold all digits of another one in its order
    least = sorted(row for row in rows if not any(row != other and re.search(".*".join(other), row) for other in rows))
    scripts = (str.maketrans("0123456789", "".join(chr(ord(zero) + digit) for digit in range(10))) for zero in SCRIPTS)
    return (*least, *(row.translate(script) for script in scripts for row in least))


def match(text: str, caller: str, countries: Iterable[str]) -> Match | None:
    """How the text of a phone field says that the record is the caller's; None: somebody else's.

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
    # Without its country code, in its own country's form, digits alone say too little: `030 7664398` is a number in Berlin and in Brescia.
    # So no home country may have a number of these digits, or the area code has to stand there as the caller's country writes it and not
    # as home does: `0664 1234567` is a mobile number in Austria, in Germany it would be `06641 234567`.
    country = country_of(line)
    if country is None or country in homes or not _is_in(text, caller, [country]):
        return None
    ending = national_digits(line)[-6:]
    rivals = {number for home in homes for number in numbers_in(text, home) if number.endswith(ending)}
    is_abroad = not rivals or (_stands_so(text, line) and not any(_stands_so(text, rival) for rival in rivals))
    return Match.ABROAD if is_abroad else None


def national_digits(e164: str) -> str:
    """`307664398` of `+49307664398`."""
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(e164, None))
    except phonenumbers.NumberParseException:
        return e164.lstrip("+")


def _is_in(text: str, caller: str, countries: Iterable[str | None]) -> bool:
    line = line_of(caller)
    return any(line_of(number) == line for country in countries or (None,) for number in numbers_in(text, country))


def _stands_so(text: str, e164: str) -> bool:
    """Whether the first group of digits stands there as the number's country writes it."""
    first = re.findall(r"\d+", national(e164))[:1]
    return bool(first) and first[0] in re.findall(r"\d+", text)


RecordId = int | str
"""As the CRM names its records; two are the same when their texts are."""


@dataclass(frozen=True)
class FoundLead:
    """A lead or deal with the caller's number, as the CRM has it."""

    id: RecordId
    is_open: bool
    match: Match = Match.KNOWN
    is_hidden: bool = False
    """Lost or archived: sellers do not see it in their lists."""
    order: float = 0
    """Rises with the time at which it was made."""


@dataclass(frozen=True)
class FoundContact:
    """A person or company with the caller's number."""

    id: RecordId
    match: Match = Match.KNOWN


@dataclass(frozen=True)
class Switches:
    """What a scenario's CRM connection says about calls of known callers (R10)."""

    only_new_customers: bool = True
    not_while_open: bool = True
    reopen_lost: bool = False

    @property
    def searches(self) -> bool:
        """Whether it matters what is there already."""
        return self.only_new_customers or self.not_while_open or self.reopen_lost


def lead_to_add_to(
    leads: Sequence[FoundLead], known: RecordId | None, is_customer: bool, switches: Switches
) -> FoundLead | str:
    """The lead that a call is added to; else `customer` (known, but without any lead that counts) or `create`.

    Open leads come first, then closed ones that people see; among equals the lead that stood for this caller before, then the surest
    match, then the newest. A hidden one is only ever answered to be reopened: nobody would read a note there.

    leads: those of the caller's number, newest first. known: the id of the lead that stood for this caller before.
    """
    preferred = sorted(leads, key=lambda lead: (str(lead.id) != str(known), lead.match))
    seen = [lead for lead in preferred if not lead.is_hidden]
    still_open = [lead for lead in seen if lead.is_open]
    if switches.not_while_open and still_open:
        return still_open[0]
    if switches.only_new_customers and seen:
        return seen[0]
    if preferred and not seen:
        return preferred[0] if switches.reopen_lost else "create"
    return "customer" if switches.only_new_customers and is_customer else "create"
