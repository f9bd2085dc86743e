"""The simulated carrier's stock: plausible valid numbers of every country that phonenumbers knows, the same at every search."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

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
    found: dict[str, StockNumber] = {}
    if re.fullmatch(r"[0-9]*", digits + begins) is None:
        return []
    for national in _candidates(country, digits, kind, begins):
        number = phonenumbers.PhoneNumber(country_code=phonenumbers.country_code_for_region(country))
        number.national_number, number.italian_leading_zero = _split_zeros(number, national)
        if not phonenumbers.is_valid_number_for_region(number, country) or not _is_of(number, country, kind):
            continue
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if digits in e164:
            found.setdefault(e164, StockNumber(e164, country, kind))
        if len(found) >= limit:
            break
    return list(found.values())


def _example(country: str, kind: str) -> phonenumbers.PhoneNumber | None:
    return phonenumbers.example_number_for_type(country, KINDS[kind]) or phonenumbers.example_number(country)


def _is_of(number: phonenumbers.PhoneNumber, country: str, kind: str) -> bool:
    """Whether it is of the same type as the country's example: an area code may belong to numbers of another kind."""
    example = _example(country, kind)
    return example is not None and phonenumbers.number_type(number) == phonenumbers.number_type(example)


def _split_zeros(number: phonenumbers.PhoneNumber, national: str) -> tuple[int, bool | None]:
    """Leading zeros belong to the number (Italy, Gabon): they are kept beside it."""
    zeros = len(national) - len(national.lstrip("0"))
    if zeros:
        number.number_of_leading_zeros = zeros if zeros > 1 else None
    return int(national), bool(zeros) or None


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
    room = 10 ** len(places)
    for turn in range(min(room, MOST_TRIES)):
        fill = str((int(shape[-FREE_DIGITS:]) + turn * STRIDE) % room).zfill(len(places)) if places else ""
        national = list(shape)
        national[place : place + len(digits)] = digits
        for index, digit in zip(places, fill, strict=False):
            national[index] = digit
        yield "".join(national)


def is_sold(country: str, kind: str) -> bool:
    """Whether the country has numbers of a kind of their own: in North America nobody tells a mobile number from a local one."""
    example = phonenumbers.example_number_for_type(country, KINDS[kind])
    return kind == "local" or (example is not None and phonenumbers.number_type(example) == KINDS[kind])
