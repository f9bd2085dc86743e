"""The simulated carrier's stock: plausible valid numbers of every country that phonenumbers knows, the same at every search."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

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
    pattern, types = _pattern(country, kind), _types(country, kind)
    for national in _candidates(country, digits, kind, begins):
        if not pattern.fullmatch(national):
            continue
        number = phonenumbers.PhoneNumber(country_code=phonenumbers.country_code_for_region(country))
        number.national_number, number.italian_leading_zero = _split_zeros(number, national)
        if (
            not phonenumbers.is_valid_number_for_region(number, country)
            or phonenumbers.number_type(number) not in types
        ):
            continue
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if digits in e164:
            found.setdefault(e164, StockNumber(e164, country, kind))
        if len(found) >= limit:
            break
    return list(found.values())


def _example(country: str, kind: str) -> phonenumbers.PhoneNumber | None:
    return phonenumbers.example_number_for_type(country, KINDS[kind]) or phonenumbers.example_number(country)


@cache
def _types(country: str, kind: str) -> frozenset[int]:
    """The types of the country's example, and of numbers that may be that or another: an area code may belong to numbers of other kinds."""
    example = _example(country, kind)
    found = {phonenumbers.number_type(example)} if example else set()
    either = PhoneNumberType.FIXED_LINE_OR_MOBILE
    return frozenset(found | {either} if found & {PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE} else found)


@cache
def _pattern(country: str, kind: str) -> "re.Pattern[str]":
    """What every national number of that kind looks like. Most candidates are none, and a look at this costs a hundredth of the
    library's whole check."""
    plan, example = phonenumbers.PhoneMetadata.metadata_for_region(country), _example(country, kind)
    described = plan and {
        PhoneNumberType.FIXED_LINE: plan.fixed_line,
        PhoneNumberType.FIXED_LINE_OR_MOBILE: plan.fixed_line,
        PhoneNumberType.MOBILE: plan.mobile,
        PhoneNumberType.TOLL_FREE: plan.toll_free,
    }.get(phonenumbers.number_type(example) if example else PhoneNumberType.UNKNOWN, plan.general_desc)
    return re.compile((described and described.national_number_pattern) or "[0-9]*")


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
    room, start = 10 ** len(places), int(shape[-FREE_DIGITS:])
    national = list(shape)
    national[place : place + len(digits)] = digits
    for turn in range(min(room, MOST_TRIES)):
        fill = str((start + turn * STRIDE) % room).zfill(len(places)) if places else ""
        for index, digit in zip(places, fill, strict=False):
            national[index] = digit
        yield "".join(national)


def is_sold(country: str, kind: str) -> bool:
    """Whether the country has numbers of a kind of their own: in North America nobody tells a mobile number from a local one."""
    example = phonenumbers.example_number_for_type(country, KINDS[kind])
    return kind == "local" or (example is not None and phonenumbers.number_type(example) == KINDS[kind])
