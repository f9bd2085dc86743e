"""Phone numbers become a type at the edge: E.164, or a caller who cannot be identified. Display formats, masks for logs."""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

SIP = re.compile(
    r"sips?:[A-Za-z0-9._+\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252}[A-Za-z0-9])?(?::\d{1,5})?(?:;[A-Za-z0-9=;.\-]{1,64})?"
)
PHONE = re.compile(r"(?:\+|%2[Bb])\d[\d ().\-]{5,20}\d|(?<![\w.:\-+])\d{10,15}(?![\w:\-])")

PLACEHOLDERS = re.compile("[X#]")

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


def country_of(e164: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(e164, None))
    except NumberParseException:
        return None


def international(e164: str) -> str:
    """`+1 415-555-2671`; anything that is no phone number stays as it is."""
    return _formatted(e164, PhoneNumberFormat.INTERNATIONAL)


def national(e164: str) -> str:
    """`(415) 555-2671`."""
    return _formatted(e164, PhoneNumberFormat.NATIONAL)


def forms(e164: str) -> list[str]:
    """The digits of its usual forms: country code and national digits (`+44 (0)20 …`), national digits, and those without trunk prefix;
    none for what is no number."""
    try:
        number = phonenumbers.parse(e164, None)
    except NumberParseException:
        return []
    digits = re.sub(r"\D", "", national(e164))
    return [f"{number.country_code}{digits}", digits, phonenumbers.national_significant_number(number)]


def parts(e164: str) -> dict[str, str]:
    """`{country, region, number}` as a page shows them apart: country code, area code (empty where a country has none), and the
    subscriber's number as it is written nationally."""
    number = phonenumbers.parse(e164, None)
    digits = phonenumbers.national_significant_number(number)
    area = phonenumbers.length_of_geographical_area_code(number) or phonenumbers.length_of_national_destination_code(
        number
    )
    area = area if area < len(digits) else 0
    subscriber = re.search(rf"(?:[0-9][^0-9]*){{{len(digits) - area}}}$", national(e164))
    shown = subscriber.group().strip() if subscriber else digits[area:]
    return {"country": str(number.country_code), "region": digits[:area], "number": shown}


def _formatted(e164: str, form: int) -> str:
    try:
        return phonenumbers.format_number(phonenumbers.parse(e164, None), form)
    except NumberParseException:
        return e164


def display(e164: str, mask: str) -> str:
    """The number as a page shows it: the mask filled from the right with national digits, `X` and `#` being digits.

    Surplus digits go before the first placeholder, missing ones drop from the front. The digits that a mask itself has before its first
    placeholder must be the number's own: its country code (after a `+` always), its trunk prefix (8 in Russia, 0 in Germany), both, and
    the beginning of its national digits, which is then not written twice; a number that they are not true of is shown in the
    international form. A mask without such digits fits every country. An empty mask gives the national form.
    """
    if PLACEHOLDERS.search(mask) is None:
        return national(e164)
    left = _left_to(mask, e164)
    return international(e164) if left is None else fill_mask(mask, left)


def is_foreign_to(mask: str, e164: str) -> bool:
    """Whether the mask's own digits are another number's, so that `display` gives the international form."""
    return PLACEHOLDERS.search(mask) is not None and _left_to(mask, e164) is None


def _left_to(mask: str, e164: str) -> str | None:
    """The national digits that go into the placeholders of a mask that has some; None when its own digits are another number's."""
    number = phonenumbers.parse(e164, None)
    digits = phonenumbers.national_significant_number(number)
    said = PLACEHOLDERS.split(mask, maxsplit=1)[0]
    return _not_said(number, digits, re.sub("[^0-9]", "", said), with_code="+" in said)


def _not_said(number: phonenumbers.PhoneNumber, digits: str, said: str, *, with_code: bool) -> str | None:
    """The national digits that a mask's own digits leave to its placeholders; None when those are another number's."""
    code = str(number.country_code)
    trunk = phonenumbers.ndd_prefix_for_region(phonenumbers.region_code_for_number(number) or "", True) or ""
    leads = [code, f"{code}{trunk}"] if with_code else [code, f"00{code}", trunk, f"{code}{trunk}", ""]
    rests = [said.removeprefix(lead) for lead in leads if said.startswith(lead)]
    fitting = [digits.removeprefix(rest) for rest in rests if digits.startswith(rest)]
    return max(fitting, key=len, default=None)


def fill_mask(mask: str, digits: str) -> str:
    """`##-##-##` and 1234567 give `123-45-67`; 12345 gives `1-23-45`."""
    places = [index for index, sign in enumerate(mask) if sign in "X#"]
    if not places:
        return mask
    shown = list(mask)
    left = list(digits)
    for place in reversed(places):
        shown[place] = left.pop() if left else ""
    first = next(index for index in places)
    shown[first] = "".join(left) + shown[first]
    filled = [index for index in places if shown[index]]
    if filled and filled[0] != first:  # nothing stands between what dropped from the front and the first digit shown
        shown[first : filled[0]] = [""] * (filled[0] - first)
    return "".join(shown)


def masked(text: str) -> str:
    """For logs: `+14155552671` becomes `+14…71`, wherever it stands in the text. Dates and ids stay."""
    return PHONE.sub(lambda found: _hide(found.group()), text)


def _hide(number: str) -> str:
    sign = "" if number[0].isdigit() else "+"
    digits = re.sub(r"\D", "", re.sub("^%2[Bb]", "", number))
    return f"{sign}{digits[:2]}…{digits[-2:]}"
