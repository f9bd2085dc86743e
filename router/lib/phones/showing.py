"""Forms in which a phone number is shown: international, national, by a display format, masked in logs; and whether who dials it reaches
the number."""

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat

PLACEHOLDERS = re.compile("[X#]")
TO_THE_LAST_DIGIT = re.compile(r".*[X#](?:[\s+).\-‐-―·/]*[0-9])*", re.DOTALL)
"""Of a mask: its number, without words behind it (`(24/7)`). Digits that follow the last placeholder at once belong to it."""


@lru_cache(maxsize=2048)
def parsed(e164: str) -> PhoneNumber:
    """A number with its country code; one page asks for the same number ten times. Not to be changed: all callers share it.

    Raises:
        NumberParseException: it is no phone number.
    """
    return phonenumbers.parse(e164, None)


@lru_cache(maxsize=2048)
def country_of(e164: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(parsed(e164))
    except NumberParseException:
        return None


def digit_forms(e164: str) -> tuple[str, str, str]:
    """The digits in which a number is written: country code and national form (`+44 (0)20 …`), national form, and without trunk prefix."""
    number = parsed(e164)
    digits = re.sub("[^0-9]", "", national(e164))
    return f"{number.country_code}{digits}", digits, phonenumbers.national_significant_number(number)


@lru_cache(maxsize=8192)
def is_valid(e164: str) -> bool:
    """Whether the numbering plans know the number; they are older than the newest numbers."""
    try:
        return phonenumbers.is_valid_number(parsed(e164))
    except NumberParseException:
        return False


def international(e164: str) -> str:
    """`+1 415-555-2671`; anything that is no phone number stays as it is."""
    return _formatted(e164, PhoneNumberFormat.INTERNATIONAL)


def national(e164: str) -> str:
    """`(415) 555-2671`."""
    return _formatted(e164, PhoneNumberFormat.NATIONAL)


@lru_cache(maxsize=2048)
def _formatted(e164: str, form: int) -> str:
    try:
        return phonenumbers.format_number(parsed(e164), form)
    except NumberParseException:
        return e164


@lru_cache(maxsize=2048)
def area_digits(e164: str) -> int:
    """How many of its national digits are the area code; 0 where it has none."""
    number = parsed(e164)
    length = phonenumbers.length_of_geographical_area_code(number)
    length = length or phonenumbers.length_of_national_destination_code(number)
    return length if length < len(phonenumbers.national_significant_number(number)) else 0


def is_domestic(e164: str, country: str | None) -> bool:
    """Whether the national form of this number can be dialled in this country: it has the same country code. Without a country the
    number's own counts, which numbers of no country (+800 …) have not."""
    number = parsed(e164)
    if country:
        return phonenumbers.country_code_for_region(country) == number.country_code
    return phonenumbers.region_code_for_country_code(number.country_code or 0) not in ("001", "ZZ")


def usual(e164: str, country: str | None) -> str:
    """As it is written in this country: the national form, the international one for a number from abroad."""
    try:
        at_home = is_domestic(e164, country) and reaches(national(e164), e164, country)
    except NumberParseException:
        return e164
    return national(e164) if at_home else international(e164)


def reaches(shown: str, e164: str, country: str | None) -> bool:
    """Whether who dials what is shown reaches the number: in this country (without one, in the number's own), or from abroad when it begins
    with `+`, 00 or 011.

    A trunk prefix behind a country code is wrong, unless it stands in brackets: `+49 (0)30 …`, never `+49 030 …`.
    """
    digits = re.sub("[^0-9]", "", shown)
    if re.match("[^0-9]*[+]", shown):
        has_trunk_in_brackets = re.match(r"\D*[0-9]{1,3}\W*[(\[]\s*[0-9]{1,2}\s*[)\]]", shown, re.ASCII) is not None
        return f"+{digits}" == e164 or (has_trunk_in_brackets and _dialled(f"+{digits}", None) == e164)
    if digits.startswith(("00", "011")) and f"+{re.sub('^(00|011)', '', digits)}" == e164:
        return True
    home = country or phonenumbers.region_code_for_number(parsed(e164))
    return _dialled(digits, home) == e164


def _dialled(digits: str, country: str | None) -> str:
    try:
        return phonenumbers.format_number(phonenumbers.parse(digits, country), PhoneNumberFormat.E164)
    except NumberParseException:
        return ""


def display(e164: str, mask: str, country: str | None = None) -> str:
    """The number as a page shows it: the mask filled from the right with national digits, `X` and `#` being digits.

    Surplus digits go before the first placeholder, missing ones drop from the front. The digits that a mask itself has before its first
    placeholder must be the number's own: its country code (after a `+` always), its trunk prefix (8 in Russia, 0 in Germany), both, and
    the beginning of its national digits, which is then not written twice. A mask without such digits fits every number of the country
    (the project's; without one, of the number's own). Where nobody who dials what a mask gives would reach the number, it is shown in the
    international form. An empty mask gives the national form, and the international one for a number from abroad.
    """
    if PLACEHOLDERS.search(mask) is None:
        return usual(e164, country)
    return _filled(mask, e164, country) or international(e164)


def is_foreign_to(mask: str, e164: str, country: str | None = None) -> bool:
    """Whether the mask cannot show this number, so that `display` gives the international form."""
    return PLACEHOLDERS.search(mask) is not None and _filled(mask, e164, country) is None


def _filled(mask: str, e164: str, country: str | None) -> str | None:
    """A mask that has placeholders, filled; None when its own digits are another number's, or who dials it does not reach the number."""
    number = parsed(e164)
    digits = phonenumbers.national_significant_number(number)
    beginning = PLACEHOLDERS.split(mask, maxsplit=1)[0]
    own = re.sub("[^0-9]", "", beginning)
    code = str(number.country_code)
    trunk = phonenumbers.ndd_prefix_for_region(phonenumbers.region_code_for_number(number) or "", True) or ""
    leads = [code, f"{code}{trunk}"]
    if "+" not in beginning:
        leads += [f"00{code}", f"011{code}", trunk, ""]
    rests = [own.removeprefix(lead) for lead in leads if own.startswith(lead)]
    fitting = [digits.removeprefix(rest) for rest in rests if digits.startswith(rest)]
    left = max(fitting, key=len, default=None)
    to_the_last_digit = TO_THE_LAST_DIGIT.match(mask)
    if left is None or to_the_last_digit is None:
        return None
    return fill_mask(mask, left) if reaches(fill_mask(to_the_last_digit.group(), left), e164, country) else None


def fill_mask(mask: str, digits: str) -> str:
    """`##-##-##` and 1234567 give `123-45-67`; 12345 gives `1-23-45`."""
    places = [index for index, sign in enumerate(mask) if sign in "X#"]
    if not places:
        return mask
    shown = list(mask)
    left = list(digits)
    for place in reversed(places):
        shown[place] = left.pop() if left else ""
    first = places[0]
    shown[first] = "".join(left) + shown[first]
    filled = [index for index in places if shown[index]]
    if filled and filled[0] != first:  # nothing stands between what dropped from the front and the first digit shown
        shown[first : filled[0]] = [""] * (filled[0] - first)
    return "".join(shown)


PHONE = re.compile(
    r"(?:\+|%2[Bb])\d[\d ().\-/]{5,20}\d"
    r"|(?:(?<=\bsip:)|(?<=\bsips:)|(?<=\btel:)|(?<=\bcallto:))\d[\d().\-]{3,20}\d"
    r"|(?<![\w.:\-+])\d{10,15}(?![\w:\-])",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """For logs: `+14155552671` becomes `+14…71`, wherever it stands in the text, also in a SIP or tel address. Dates and
    ids stay."""

    def hide(match: re.Match[str]) -> str:
        number = match.group()
        sign = "" if number[0].isdigit() else "+"
        digits = re.sub(r"\D", "", re.sub("^%2[Bb]", "", number))
        return f"{sign}{digits[:2]}…{digits[-2:]}"

    return PHONE.sub(hide, text)
