"""Files of other call tracking services (R13): how a table is read.

Tables come in any encoding and with any delimiter, and everything in them is hostile. Nothing here looks into the database.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from router.lib.texts import plain_text

MOST_BYTES = 4 * 1024 * 1024
LONGEST_CELL = 2000
MOST_LINES_BEFORE = 40
"""Titles, filters and blank lines above the head."""
BEGINNING = 256 * 1024
CHUNK = 1024 * 1024
DELIMITERS = ",;\t|"
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of Excel and LibreOffice begin."""
SHORTENED = re.compile(r"[+-]?\d+(?:[.,]\d+)?e\+?\d+", re.IGNORECASE)
AS_TEXT = re.compile(r'="?([^"]*)"?')
"""How spreadsheets write a cell that must not be counted with: `="0049301234567"`."""
COUNTED_WITH = re.compile(r"(\d+)[.,]0+")
"""How they write whole numbers that they counted with."""
GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){3,}(?:\.0+)?")
DELIMITER_LINE = re.compile(r'"?sep=([,;\t|])"?[ ,;\t]*(?:[\r\n]+|$)', re.IGNORECASE)
HIGH_BYTES = re.compile(rb"[\xa8\xaf\xb3\xb4\xb8\xbf\xc0-\xff]+")

Score = Callable[[Sequence[str]], int]
"""How much of the table's columns a line names: the head is the first line that names the most; 0 is no head."""


class UnreadableFile(ValueError):
    """Nothing of the file can be used; the message is for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its number in the file, from 1, and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a table, or several lines with a cell that spans them. `problem`: why it cannot be read; it has no cells then."""

    line: int
    last_line: int
    cells: list[str]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A table in a file. Its records are read from the file each time, so that a large one needs no room."""

    file: BinaryIO
    encoding: str
    delimiter: str
    head: list[str]
    head_line: int
    before: list[str] = field(default_factory=list)
    """What stands above the head: a title, a filter, a time zone."""

    def records(self) -> Iterator[Record]:
        for record in _records(_text(self.file, self.encoding), self.delimiter):
            if record.line > self.head_line:
                yield record


def open_table(file: BinaryIO, score: Score, most_bytes: int = MOST_BYTES) -> Table:
    """
    Args:
        score: tells the head from titles, and the right delimiter from others.

    Raises:
        UnreadableFile: it is no table of text, has no head, or is too large.
    """
    size = file.seek(0, io.SEEK_END)
    if size > most_bytes:
        raise UnreadableFile(f"The file is larger than {most_bytes // 1024 // 1024} MB. Split it.")
    encoding = _encoding(file)
    beginning = _text(file, encoding).read(BEGINNING)
    controls = sum(unicodedata.category(sign) == "Cc" for sign in beginning)
    line_ends_and_tabs = sum(beginning.count(sign) for sign in "\t\r\n")
    if "\0" in beginning or controls > line_ends_and_tabs + len(beginning) // 50:  # a text may have a stray one or two
        raise UnreadableFile("This is not a text file. Export the table as CSV in UTF-8 and try again.")
    if not beginning.strip("\ufeff \t\r\n"):
        raise UnreadableFile("The file is empty.")
    named = DELIMITER_LINE.match(beginning.lstrip("\ufeff"))
    best: tuple[tuple[int, int, bool], int, str, list[Record]] | None = None
    for delimiter in DELIMITERS:
        first = list(islice(_records(io.StringIO(beginning, newline=""), delimiter), MOST_LINES_BEFORE))
        worth = [(score(record.cells), sum(bool(cell.strip()) for cell in record.cells)) for record in first]
        if not worth:
            continue
        named_columns = [columns for columns, _ in worth]
        place = named_columns.index(max(named_columns)) if any(named_columns) else worth.index(max(worth))
        quality = (*worth[place], named is not None and delimiter == named.group(1))
        if best is None or quality > best[0]:
            best = quality, place, delimiter, first
    if best is None:
        raise UnreadableFile("The file is empty.")
    _, place, delimiter, first = best
    before = [" ".join(cell for cell in record.cells if cell.strip()) for record in first[:place]]
    head = first[place]
    return Table(file, encoding, delimiter, [tidy(cell) for cell in head.cells], head.line, before)


def read_table(
    data: bytes, needed: Sequence[str], optional: Sequence[str], most_rows: int, most_bytes: int = MOST_BYTES
) -> list[Row]:
    """The rows that are not empty; columns that are not there are empty cells, those that we do not know are passed over.

    Raises:
        UnreadableFile: it is no table of text, lacks a needed column, has a line that cannot be read, or is too large.
    """
    known = [*needed, *optional]
    table = open_table(
        io.BytesIO(data), lambda cells: len({column_name(cell) for cell in cells} & set(known)), most_bytes
    )
    header = [column_name(cell) for cell in table.head]
    missing = [name for name in needed if name not in header]
    if missing:
        raise UnreadableFile(
            f"The first line has to name the columns; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        )
    if twice := [name for name in known if header.count(name) > 1]:
        raise UnreadableFile(f"The column {twice[0]} is there twice.")
    rows = []
    for record in table.records():
        if record.problem:
            raise UnreadableFile(f"Line {record.line} cannot be read: {record.problem}")
        cells = dict(zip(header, record.cells, strict=False))
        rows.append(Row(record.line, {name: tidy(cells.get(name, "")) for name in known}))
        if len(rows) > most_rows:
            raise UnreadableFile(f"The file has more than {most_rows:,} lines. Split it.")
    return rows


def _text(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
    file.seek(0)
    return _Wrapper(file, encoding=encoding, errors="replace", newline="")


class _Wrapper(io.TextIOWrapper):
    """Leaves the file open when it is collected."""

    def __del__(self) -> None:
        try:
            self.detach()
        except ValueError:
            return


def _encoding(file: BinaryIO) -> str:
    """UTF-8 or UTF-16, with or without its mark; else Windows-1251 or Windows-1252."""
    file.seek(0)
    start = file.read(4096)
    if start.startswith(SPREADSHEETS):
        raise UnreadableFile("This is a spreadsheet's own file. Save the table as CSV in UTF-8 and try again.")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in start[:200]:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    broken = letters = 0
    while chunk := file.read(CHUNK):
        text = decoder.decode(chunk)
        broken += text.count("\ufffd")
        letters += len(text) - len(text.encode("ascii", "ignore"))
    broken += decoder.decode(b"", True).count("\ufffd")
    is_utf8 = (
        broken * 10 <= letters
    )  # a cell that was cut in the middle of a letter makes no other encoding of a whole file
    if is_utf8:
        return "utf-8-sig"
    # letters with an accent stand between plain ones (`Müller`, `numéro`); Cyrillic ones stand together (`Номер`)
    file.seek(0)
    alone = together = 0
    while chunk := file.read(CHUNK):
        for high in HIGH_BYTES.finditer(chunk):
            length = high.end() - high.start()
            if length > 1:
                together += length
            else:
                alone += 1
        if alone + together > 10_000:
            break
    return "cp1251" if together > alone else "cp1252"


def _records(text: io.TextIOBase, delimiter: str) -> Iterator[Record]:
    """Each with the number of its first line, from 1; empty lines and the line that names the delimiter are none."""
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Record(
                line, reader.line_num, [], "its quotation marks are not in order: one is opened and never closed."
            )
            continue
        if line == 1 and DELIMITER_LINE.fullmatch(delimiter.join(cells).strip("\ufeff")):
            continue
        cells = [plain_text(cell) for cell in cells]
        if any(cell.strip("\ufeff\xa0 \t\r\n") for cell in cells):
            yield Record(line, reader.line_num, cells)


def column_name(title: str) -> str:
    return tidy(title).strip("\"'").casefold().replace(" ", "_").replace("-", "_")


def tidy(text: str) -> str:
    """Without what cannot be seen: marks of byte order and of the direction of writing, which address books leave in numbers."""
    if text.isascii():
        return text.strip()
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cf").strip()


def cell_error(text: str, *, figures: bool = True) -> str | None:
    """Why the cell cannot be used; None when it can.

    Args:
        figures: whether a number is expected, in which digits may be lost.
    """
    if len(text) > LONGEST_CELL:
        return f"This is longer than {LONGEST_CELL:,} characters."
    if text.startswith(("=", "@")):
        return f"“{text[:40]}” is a formula. Write the value itself."
    if figures and SHORTENED.fullmatch(text):
        return f"The spreadsheet has shortened “{text}”. Its last digits are lost: format the column as text and export it again."
    return None


def plain(text: str) -> str:
    """The cell without the signs that keep a spreadsheet from counting with it, and without the `.0` of a counted number."""
    if text.startswith('="') and (wrapped := AS_TEXT.fullmatch(text)):
        text = wrapped.group(1)
    text = text.strip()
    if text.startswith("'"):
        text = text.strip("'").strip()
    if GROUPED.fullmatch(text):
        text = text.replace(",", "")
    whole = COUNTED_WITH.fullmatch(text)
    return whole.group(1) if whole and len(whole.group(1)) > 5 else text
