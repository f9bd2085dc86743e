"""A project's own telephones: numbers whose calls are internal (R10), typed one a line with a remark."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from router.lib.phones import BadPhone, international, line_of, read_phone

MOST_NUMBERS = 200
LONGEST_REMARK = 80
REMARK = re.compile(r"[,;:#\t]|(?=[^\W\d_])")
"""Where the remark of a line begins: behind a comma and the like, or with the first letter."""
DIVIDERS = " \t,;:#-–—"


class OwnNumber(BaseModel):
    """`number`: E.164 once it is read with the project's country."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(max_length=60)
    remark: str = Field(default="", max_length=LONGEST_REMARK)


def _parted(line: str) -> dict[str, str]:
    """`+49 30 7664398 (Anna, 2nd floor)` gives `{number: "+49 30 7664398", remark: "Anna, 2nd floor"}`."""
    number, remark = [*REMARK.split(line, maxsplit=1), ""][:2]
    remark = remark.strip(DIVIDERS)
    if number.rstrip().endswith("("):
        remark = remark.removesuffix(")")
    return {"number": number.rstrip(DIVIDERS + "("), "remark": remark}


def _listed(value: object) -> list[Any]:
    """Objects `{number, remark}` and lines, or one text of lines."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str | Mapping) for line in lines):
        raise ValueError("Give a list of numbers, each with its remark.")
    return [
        _parted(line) if isinstance(line, str) else line for line in lines if not isinstance(line, str) or line.strip()
    ]


OwnNumbers = Annotated[
    list[OwnNumber],
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"anyOf": [OwnNumber.model_json_schema(), {"type": "string"}]}},
                {"type": "string"},
            ]
        }
    ),
]


def parse_own_numbers(typed: Iterable[OwnNumber], country: str) -> list[OwnNumber]:
    """The numbers in E.164, each line once: of two spellings of one line the first stays.

    Raises:
        ValueError: one of them is no number, or can be read in two ways; or there are too many.
    """
    numbers: dict[str, OwnNumber] = {}
    for own in typed:
        if not own.number.strip():
            raise ValueError(f"“{own.remark[:40]}” has no number: write the number first, then its remark.")
        try:
            number = read_phone(own.number, country)
        except BadPhone as error:
            raise ValueError(str(error)) from None
        numbers.setdefault(line_of(number), OwnNumber(number=number, remark=" ".join(own.remark.split())))
    if len(numbers) > MOST_NUMBERS:
        raise ValueError(f"Name at most {MOST_NUMBERS} numbers.")
    return list(numbers.values())


def written(own_numbers: Iterable[Mapping[str, str]]) -> str:
    """As they are typed, one a line: `+49 30 7664398, Anna`."""
    return "\n".join(", ".join(filter(None, [international(own["number"]), own.get("remark")])) for own in own_numbers)
