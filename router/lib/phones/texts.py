"""Numbers in free text: what people typed into a field of a CRM that was meant for one number.

docs/numbers.md has the contract and a table of cases."""

import re
import unicodedata
from collections.abc import Sequence

from router.lib.phones.reading import readings_of

WRITTEN = re.compile(r"[+(]?[\d(][\d\s().\-‐-―−/,;|+]*\d", re.ASCII)
"""A stretch of a text that may hold numbers: digits and what is written between digits."""
DIVIDERS = re.compile(r"[/,;|\n\r\t]+|\s{2,}|(?<=\d)[\s.\-]*(?=\+)|\s*(?=\((?!0\)))")
"""Where one number may end and another begin. All of it but the plus stands inside numbers as well."""
BEFORE_ZERO = re.compile(r"[\s.\-‐-―−]+(?=0)")
"""Where a trunk prefix may begin another number, when what stands there is no number as a whole, or two."""
ODD_SEPARATORS = "·•∙‧'’`´_*~\\"
FULL_WIDTH = 0xFEE0
INTERNATIONAL = ("+", "00")
FEWEST_DIGITS = 7
"""Fewer behind a plus are no number of any country."""
LONGEST_TEXT = 1000
MOST_PIECES = 12


def numbers_in(text: str, country: str | None = None) -> list[str]:
    """E.164 of every number that is written in a free text, in its order: `030 7654321 / 0151 23460002`, `+49 30 7664398 (Herr Meier)`.

    A number that has two readings gives both, and so does a row of digits that is one number or two.

    Of the pieces between dividers, the longest row that is a number comes first, then what follows it. A remark in brackets ends a
    number. Pieces that are numbers each by itself are not one number. A piece that is no number may be several with blanks between
    them, and one with a trunk prefix inside is one number or two.
    """
    plain = re.sub(r"(?<=\d):(?=\d)", " ", "".join(_plain_sign(sign) for sign in text[:LONGEST_TEXT]))
    numbers: list[str] = []
    for stretch in WRITTEN.findall(plain):
        pieces = _pieces(DIVIDERS, stretch)
        before = ""
        while pieces:
            count = _longest_row(pieces, country)
            row = " ".join(pieces[:count])
            parts = pieces[:count] if count > 1 else _pieces(BEFORE_ZERO, row)
            finer = parts if len(parts) > 1 else row.split()
            if not readings_of(row, country) and (len(finer) > 1 or row.startswith(INTERNATIONAL)):
                begins_a_number = len(finer) > 1
                if finer[0].startswith(INTERNATIONAL):
                    # without a number behind this country code, nothing there is a number of this country
                    ends = range(1, len(finer))
                    begins_a_number = any(readings_of(" ".join(finer[:end]), country) for end in ends)
                if begins_a_number:
                    pieces = [*finer[:MOST_PIECES], *pieces[1:]]
                else:  # a country code that stands alone takes the next piece with it
                    is_code = sum(map(str.isdigit, pieces[0])) < FEWEST_DIGITS
                    pieces = pieces[2 if is_code else 1 :]
                continue
            if count == 1:
                numbers += readings_of(_with_area_of(before, row), country)
            alone = [readings_of(part, country) for part in parts] if len(parts) > 1 else []
            if count == 1 or not all(alone):
                numbers += readings_of(row, country)
            if all(alone):
                numbers += [reading for readings in alone for reading in readings]
            before, pieces = row, pieces[count:]
    return list(dict.fromkeys(numbers))


def _plain_sign(sign: str) -> str:
    """An ASCII digit or separator for every other one, and nothing for the invisible signs that address books copy along."""
    if sign.isascii():
        return " " if sign in ODD_SEPARATORS else sign
    if sign.isdecimal():
        return str(int(sign))
    if "！" <= sign <= "～":
        return chr(ord(sign) - FULL_WIDTH)
    if sign.isspace() or sign in ODD_SEPARATORS:
        return " "
    return "" if unicodedata.category(sign) == "Cf" else sign


def _pieces(dividers: re.Pattern[str], text: str) -> list[str]:
    return [piece.strip(" .-") for piece in dividers.split(text) if re.search(r"\d", piece)][:MOST_PIECES]


def _longest_row(pieces: Sequence[str], country: str | None) -> int:
    """How many pieces from the first on are one number; 1 when none is."""
    for count in range(1, len(pieces)):
        if pieces[count].startswith("(") and readings_of(" ".join(pieces[:count]), country):
            return count
    rows = range(len(pieces), 0, -1)
    return next((count for count in rows if readings_of(" ".join(pieces[:count]), country)), 1)


def _with_area_of(before: str, piece: str) -> str:
    """`030 7654322` of `7654322` behind `030 7654321`: a second number that lacks the area code alone."""
    groups = re.findall(r"\d+", before)
    if not groups or before.startswith("+") or piece.startswith(("0", "+")):
        return ""
    whole = f"{groups[0]} {piece}"
    return whole if sum(map(str.isdigit, whole)) == sum(map(len, groups)) else ""
