"""How a number may be written on a page: what the tag looks for in the text."""

import re
from collections.abc import Iterable

import phonenumbers
from phonenumbers import NumberParseException


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
