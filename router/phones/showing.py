"""Forms in which a phone number is shown: international, national, by a display format, in parts."""

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

PLACEHOLDERS = re.compile("[X#]")


def country_of(e164: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(e164, None))
    except NumberParseException:
        return None


def is_valid(e164: str) -> bool:
    """Whether the numbering plans know the number; they are older than the newest numbers."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(e164, None))
    except NumberParseException:
        return False


def international(e164: str) -> str:
    """`+1 415-555-2671`; anything that is no phone number stays as it is."""
    return _formatted(e164, PhoneNumberFormat.INTERNATIONAL)


def national(e164: str) -> str:
    """`(415) 555-2671`."""
    return _formatted(e164, PhoneNumberFormat.NATIONAL)


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
