"""Tables that other services export: CSV in whatever encoding, with whatever delimiter. Everything in them is hostile."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BYTES = 4 * 1024 * 1024
LONGEST_CELL = 2000
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of Excel and LibreOffice begin."""
SHORTENED = re.compile(r"\d+(?:[.,]\d+)?[eE]\+?\d+")
AS_TEXT = re.compile(r'="?([^"]*)"?')
"""How spreadsheets write a cell that must not be counted with: `="0049301234567"`."""


class UnreadableFile(ValueError):
    """Nothing of the file can be used; the message is for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its number in the file, from 1, and its cells by column."""

    line: int
    cells: dict[str, str]


def read_table(
    data: bytes, needed: Sequence[str], optional: Sequence[str], most_rows: int, most_bytes: int = MOST_BYTES
) -> list[Row]:
    """The rows that are not empty; columns that are not there are empty cells, those that we do not know are passed over.

    Raises:
        UnreadableFile: it is no table of text, lacks a needed column, or is too large.
    """
    if len(data) > most_bytes:
        raise UnreadableFile(f"The file is larger than {most_bytes // 1024 // 1024} MB. Split it.")
    lines = _parse(decode(data))
    if not lines:
        raise UnreadableFile("The file is empty.")
    header = [_column(cell) for cell in lines[0][1]]
    missing = [name for name in needed if name not in header]
    if missing:
        raise UnreadableFile(
            f"The first line has to name the columns; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        )
    known = [*needed, *optional]
    if twice := [name for name in known if header.count(name) > 1]:
        raise UnreadableFile(f"The column {twice[0]} is there twice.")
    if len(lines) - 1 > most_rows:
        raise UnreadableFile(f"The file has more than {most_rows:,} lines. Split it.")
    return [_row(number, cells, header, known) for number, cells in lines[1:]]


def _row(number: int, cells: list[str], header: list[str], known: list[str]) -> Row:
    given = dict(zip(header, cells, strict=False))
    return Row(number, {name: given.get(name, "").strip() for name in known})


def decode(data: bytes) -> str:
    """Text of UTF-8 or UTF-16, with or without its mark, else of Windows-1251, which most old exports are in.

    Raises:
        UnreadableFile: it is no text.
    """
    if data.startswith(SPREADSHEETS):
        raise UnreadableFile("This is a spreadsheet's own file. Save the table as CSV in UTF-8 and try again.")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif b"\0" in data[:200]:
        encodings = ["utf-16-le" if data[1:2] == b"\0" else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "cp1251"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(sign < " " and sign not in "\t\r\n" for sign in text):
            return text
    raise UnreadableFile("This is not a text file. Export the table as CSV in UTF-8 and try again.")


def _parse(text: str) -> list[tuple[int, list[str]]]:
    """Line numbers and cells, without empty lines."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found = []
    try:
        before = 0
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((before + 1, cells))
            before = reader.line_num
    except csv.Error:
        raise UnreadableFile(f"Line {reader.line_num} cannot be read: check its quotation marks.") from None
    return found


def _column(title: str) -> str:
    return title.strip().strip("\ufeff\"'").casefold().replace(" ", "_").replace("-", "_")


def cell_error(text: str) -> str | None:
    """Why no cell may be so; None when it may."""
    if len(text) > LONGEST_CELL:
        return f"This is longer than {LONGEST_CELL:,} characters."
    if text.startswith(("=", "@")):
        return f"“{text[:40]}” is a formula. Write the value itself."
    if SHORTENED.fullmatch(text):
        return f"The spreadsheet has shortened “{text}”. Format the column as text and export it again."
    return None


def plain(text: str) -> str:
    """Without the signs that keep a spreadsheet from counting with a cell."""
    if text.startswith('="') and (wrapped := AS_TEXT.fullmatch(text)):
        return wrapped.group(1).strip()
    return text.removeprefix("'").strip()
