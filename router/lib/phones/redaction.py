"""Takes a number out of texts, in every usual way to write it: with and without country code, with anything between its digits."""

import re
from functools import cached_property
from typing import Any

import phonenumbers

from router.lib.phones.lines import line_of, spellings_of_line

ERASED = "…"
BETWEEN = r"(?:[\s().\-–/]|%20){0,3}"
PLUS = r"(?:\+|%2B)"
BEGINS = r"(?:(?<!\d)|(?<=%20))"
LEAST_NATIONAL = 7
"""Digits. Without its country code a shorter number is anybody's."""
LAST = 6
"""Digits at its end that all spellings of a line have in common."""


class Redactor:
    """Finds and erases the spellings of one line in texts and documents. Another country's number of the same digits stays."""

    def __init__(self, e164: str) -> None:
        self.line = line_of(e164)
        self.spellings = spellings_of_line(e164)

    @cached_property
    def likes(self) -> tuple[str, ...]:
        """Patterns of SQL's LIKE: a text that has the number fits one of them, and seldom another text."""
        return tuple({f"%{'%'.join(re.sub(r'[^0-9]', '', spelling)[-LAST:])}%" for spelling in self.spellings})

    def text(self, text: str) -> str:
        return self._pattern.sub(lambda found: found.group() if found["other"] else ERASED, text)

    def value(self, value: Any) -> Any:
        """A document of JSON, with the number erased in its strings."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.value(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return value

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        mine, others = [], []
        for spelling in self.spellings:
            try:
                number = phonenumbers.parse(spelling, None)
                code, national = str(number.country_code), phonenumbers.national_significant_number(number)
            except phonenumbers.NumberParseException:  # a country that the tables do not know
                code, national = spelling[1:2], spelling[2:]
            digits = BETWEEN.join(national) + r"(?!\d)"
            with_code = rf"(?:{PLUS}|00|011)?{BETWEEN}{code}{BETWEEN}"
            optional = "?" if len(national) >= LEAST_NATIONAL else ""
            mine.append(rf"{BEGINS}(?:{with_code}){optional}(?:\(?[08]\)?{BETWEEN})?{digits}")
            others.append(rf"{PLUS}(?!{code})\d{{1,3}}{BETWEEN}{digits}")
        return re.compile(f"(?P<other>{'|'.join(others)})|{'|'.join(mine)}", re.ASCII | re.IGNORECASE)
