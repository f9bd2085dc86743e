"""Numbers on web pages: what the tag looks for in the text, and what it needs to write a number in the form of another."""

import re
from collections.abc import Iterable

import phonenumbers
from phonenumbers import NumberParseException

from router.phones.showing import national


def spellings(numbers: Iterable[str], country: str | None) -> list[str]:
    """Digits of every usual spelling of these numbers; one that begins with `+` stands for `00` too.

    `8 (495) 123-45-67` gives `+74951234567`, `74951234567`, `84951234567` and `4951234567`. What is no phone number
    (a short number) stays as its digits.
    """
    return list(dict.fromkeys(spelling for number in numbers for spelling in _of_one(number, country) if spelling))


def _of_one(text: str, country: str | None) -> list[str]:
    as_written = re.sub(r"(?!^\+)\D", "", text.strip())
    try:
        number = phonenumbers.parse(text, country or None)
    except NumberParseException:
        return [as_written]
    code = str(number.country_code)
    national = phonenumbers.national_significant_number(number)
    trunk = phonenumbers.ndd_prefix_for_region(phonenumbers.region_code_for_number(number) or "", True) or ""
    found = [f"+{code}{national}", f"{code}{national}", f"{trunk}{national}", national]
    if trunk and trunk != code:
        found.insert(1, f"+{code}{trunk}{national}")
    return found if phonenumbers.is_possible_number(number) else [as_written]


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
