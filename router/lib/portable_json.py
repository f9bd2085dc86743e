"""JSON that is still the same, byte for byte, when JavaScript has read and written it again.

Many receivers (Express, Node-RED's http-in) have only the parsed body at hand and check a signature against `JSON.stringify` of it.
https://tc39.es/ecma262/ says how that writes numbers (Number::toString) and in which order it has an object's members.
"""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

GREATEST_INTEGER = 2**53 - 1
"""Number.MAX_SAFE_INTEGER"""
GREATEST_INDEX = 2**32 - 2
NOT_PORTABLE = "__proto__"
"""Some parsers refuse a body with such a member, others lose it."""
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def portable_json(value: Any) -> bytes:
    """The document of these texts, numbers, truths, None, lists and mappings with names that are texts.

    A whole number that JavaScript cannot hold becomes a text, NaN and infinity null; half a surrogate pair becomes U+FFFD. An object's
    members named like an index come first, by number; a member `__proto__` is left out.

    Raises:
        TypeError: any other value.
    """
    return _written(value).encode()


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int.__repr__(value) if -GREATEST_INTEGER <= value <= GREATEST_INTEGER else f'"{int.__repr__(value)}"'
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, Mapping):
        members: dict[str, str] = {}
        for name, member in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a member is named {name!r}")
            members[_text(name)] = _written(member)
        members.pop(f'"{NOT_PORTABLE}"', None)
        names = sorted(filter(_is_index, members), key=lambda name: int(name[1:-1]))
        names += [name for name in members if not _is_index(name)]
        return "{" + ",".join(f"{name}:{members[name]}" for name in names) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(map(_written, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _text(text: str) -> str:
    quoted = _quoted(str.__str__(text))
    return quoted if quoted.isascii() else quoted.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_index(quoted: str) -> bool:
    digits = quoted[1:-1]
    is_number = digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0")
    return is_number and len(digits) <= 10 and int(digits) <= GREATEST_INDEX


def number_text(number: float) -> str:
    """As JavaScript writes it: `1` for 1.0, `0` for -0.0, `1e-7` for 1e-07, `1e+21`, `null` for NaN."""
    if not math.isfinite(number):
        return "null"
    if number == 0:
        return "0"
    if 1e-4 <= abs(number) < 1e16:  # no exponent here, nor there
        return repr(float(number)).removesuffix(".0")
    sign, all_digits, exponent = Decimal(repr(float(number))).as_tuple()
    digits = "".join(map(str, all_digits)).rstrip("0")
    point = len(all_digits) + int(exponent)  # where the decimal point stands, counted from the first digit
    if -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    elif 0 < point <= 21:
        text = digits.ljust(point, "0")
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1:+d}"
    return ("-" if sign else "") + text
