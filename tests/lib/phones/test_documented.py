"""Every line of docs/numbers.md is true."""

import re
from pathlib import Path

import pytest

from router.lib.phones import (
    cost_of,
    numbers_in,
    read_caller,
    read_dialled,
    read_dialled_anywhere,
    readings_of,
    same_line,
)

DOCUMENT = Path(__file__).parents[3] / "docs/numbers.md"
E164 = re.compile(r"\+\d+")


def table(head: str) -> list[list[str]]:
    """The cells of the table that begins with this head, without the marks of code."""
    lines = DOCUMENT.read_text("utf-8").splitlines()
    rows = []
    for line in lines[lines.index(head) + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    assert rows, head
    return rows


@pytest.mark.parametrize(("written", "country", "read"), table("| written | country | read as |"))
def test_what_is_written_is_read_as_documented(written: str, country: str, read: str) -> None:
    assert list(readings_of(written, country)) == E164.findall(read)


@pytest.mark.parametrize(("said", "country", "caller"), table("| the carrier says | dialled number in | caller |"))
def test_a_caller_is_read_as_documented(said: str, country: str, caller: str) -> None:
    assert (read_caller(said, country).e164 or "withheld") == caller


@pytest.mark.parametrize(("said", "country", "number"), table("| the carrier says | in | number |"))
def test_a_dialled_number_is_read_as_documented(said: str, country: str, number: str) -> None:
    assert number in read_dialled(said, country)
    assert number in read_dialled(said) + read_dialled_anywhere(said)


@pytest.mark.parametrize(("one", "other", "since"), table("| one | other | since |"))
def test_two_spellings_of_one_line_are_one_caller(one: str, other: str, since: str) -> None:
    assert same_line(one, other), since


@pytest.mark.parametrize(("one", "other", "why"), table("| one | other | why |"))
def test_two_lines_are_two_callers(one: str, other: str, why: str) -> None:
    assert not same_line(one, other), why


@pytest.mark.parametrize(("text", "country", "numbers"), table("| text | country | numbers |"))
def test_the_numbers_of_a_text_are_found_as_documented(text: str, country: str, numbers: str) -> None:
    assert numbers_in(text, country) == E164.findall(numbers)


@pytest.mark.parametrize(("number", "cost", "what"), table("| number | cost | what it is |"))
def test_what_a_call_to_a_number_costs_is_as_documented(number: str, cost: str, what: str) -> None:
    assert cost_of(number) == cost, what
