"""Files of other call tracking services (R13): how a table is read, and which scenarios follow from a table of old number settings.

Tables come in any encoding and with any delimiter, and everything in them is hostile. Nothing here looks into the database.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

from router.lib.phones import AmbiguousPhone, BadPhone, digit_forms, international, read_destination
from router.scenarios.importing.two_readings import Choice, Questions, read_file_phone
from router.scenarios.matching import format_error, selector_error

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
        """What stands below the head, without empty lines."""
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
    said = DELIMITER_LINE.match(beginning.lstrip("\ufeff"))
    best: tuple[tuple[int, int, bool], int, str, list[Record]] | None = None
    for delimiter in DELIMITERS:
        first = list(islice(_records(io.StringIO(beginning, newline=""), delimiter), MOST_LINES_BEFORE))
        worth = [(score(one.cells), sum(bool(cell.strip()) for cell in one.cells)) for one in first]
        if not worth:
            continue
        place = worth.index(max(worth)) if max(worth)[0] == 0 else [one[0] for one in worth].index(max(worth)[0])
        quality = (*worth[place], said is not None and delimiter == said.group(1))
        if best is None or quality > best[0]:
            best = quality, place, delimiter, first
    if best is None:
        raise UnreadableFile("The file is empty.")
    _, place, delimiter, first = best
    before = [" ".join(one for one in record.cells if one.strip()) for record in first[:place]]
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
        given = dict(zip(header, record.cells, strict=False))
        rows.append(Row(record.line, {name: tidy(given.get(name, "")) for name in known}))
        if len(rows) > most_rows:
            raise UnreadableFile(f"The file has more than {most_rows:,} lines. Split it.")
    return rows


def _text(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
    file.seek(0)
    return _Wrapper(file, encoding=encoding, errors="replace", newline="")


class _Wrapper(io.TextIOWrapper):
    """Leaves the file open when it is thrown away."""

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
    return "utf-8-sig" if is_utf8 else _one_byte_encoding(file)


def _one_byte_encoding(file: BinaryIO) -> str:
    """Letters with an accent stand between plain ones (`Müller`, `numéro`); Cyrillic ones stand together (`Номер`)."""
    file.seek(0)
    alone = together = 0
    while chunk := file.read(CHUNK):
        for found in HIGH_BYTES.finditer(chunk):
            length = found.end() - found.start()
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
        if any(cell.strip("\ufeff\xa0\x1a \t\r\n") for cell in cells):
            yield Record(line, reader.line_num, cells)


def column_name(title: str) -> str:
    return tidy(title).strip("\"'").casefold().replace(" ", "_").replace("-", "_")


def tidy(text: str) -> str:
    """Without what cannot be seen: marks of byte order and of the direction of writing, which address books leave in numbers."""
    if text.isascii():
        return text.strip()
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cf").strip()


def cell_error(text: str, *, figures: bool = True) -> str | None:
    """Why no cell may be so; None when it may.

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
    """Without the signs that keep a spreadsheet from counting with a cell, and without the `.0` of one that it counted with."""
    if text.startswith('="') and (wrapped := AS_TEXT.fullmatch(text)):
        text = wrapped.group(1)
    text = text.strip()
    if text.startswith("'"):
        text = text.strip("'").strip()
    if GROUPED.fullmatch(text):
        text = text.replace(",", "")
    whole = COUNTED_WITH.fullmatch(text)
    return whole.group(1) if whole and len(whole.group(1)) > 5 else text


COLUMNS = ("number", "destination", "prefix", "selectors", "format", "type", "channel")
NEEDED = ("number", "destination")
PHONES = ("number", "destination")
"""Columns that hold phone numbers."""
MOST_ROWS, MOST_SCENARIOS = 1000, 200
"""As many as one transaction may write: calls wait for it on SQLite."""
MOST_STATIC = 500
MOST_SELECTORS, LONGEST_SELECTOR, LONGEST_FORMAT, LONGEST_TITLE = 50, 300, 60, 120
OLD_CLASS = re.compile(r"roistat-phone[\w-]*")
"""Elements of the old logic were named by class."""


@dataclass(frozen=True, slots=True)
class OldSettings:
    """What numbers must have in common to be one scenario."""

    destination: str
    prefix: str
    selectors: tuple[str, ...]
    format: str
    type: str
    channel: tuple[str, str, str]
    """Source, medium, campaign; all empty for every source."""

    def document(self, title: str, numbers: Iterable[str]) -> dict[str, Any]:
        """The scenario, switched off."""
        return {
            "title": title,
            "enabled": False,
            "numbers": list(numbers),
            "flow": {"destinations": [{"to": self.destination}]} if self.destination else None,
            "tagging": {"selectors": list(self.selectors), "replace": [], "format": self.format},
            "channels": self.channels(numbers),
            "terms": {"only_sources": [self.source_pattern]} if self.source_pattern and self.type == "dynamic" else {},
        }

    def channels(self, numbers: Iterable[str]) -> list[dict[str, Any]]:
        match = {name: part for name, part in zip(("source", "medium", "campaign"), self.channel, strict=True) if part}
        kind = {"match": match, "kind": "static"}
        return [kind | {"number": number} for number in numbers] if self.type == "static" else []

    @property
    def source_pattern(self) -> str:
        """`google/cpc`"""
        return "/".join(self.channel).rstrip("/")

    def title(self) -> str:
        """`Dynamic to +1 415-555-0100 · google/cpc · .phone · 495`"""
        where = international(self.destination) if self.destination else "the fallback destination"
        tags = " ".join(self.selectors)
        parts = [f"{self.type.capitalize()} to {where}", self.source_pattern, tags, self.format, self.prefix]
        return " · ".join(part for part in parts if part)[:LONGEST_TITLE].strip()


@dataclass(frozen=True, slots=True)
class OldNumber:
    line: int
    e164: str
    settings: OldSettings


@dataclass
class OldFile:
    """A file, read: its numbers, a sentence for each line that cannot be used, and the numbers that somebody has to say how to read:
    their lines are among neither."""

    numbers: list[OldNumber] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    questions: Questions = field(default_factory=Questions)

    def groups(self) -> list[tuple[OldSettings, list[OldNumber]]]:
        """Numbers with identical settings together, in the order of the file (R13)."""
        found: dict[OldSettings, list[OldNumber]] = {}
        for number in self.numbers:
            found.setdefault(number.settings, []).append(number)
        return list(found.items())


class _BadCell(ValueError):
    """The message names the column."""


def read_old_file(data: bytes, country: str, choices: Mapping[str, Choice] | None = None) -> OldFile:
    """
    Args:
        choices: how numbers without a plus are to be read that have two readings, by column; the empty one stands for all.

    Raises:
        UnreadableFile: nothing of it can be used.
    """
    file = OldFile()
    rows = read_table(data, NEEDED, [name for name in COLUMNS if name not in NEEDED], MOST_ROWS)
    lines: dict[str, int] = {}
    for row in rows:
        try:
            phones = _phones(row, country, choices or {}, file.questions)
            if phones is None:
                continue
            number = OldNumber(row.line, phones["number"], _settings(row, phones))
        except _BadCell as error:
            file.problems[row.line] = str(error)
            continue
        if number.e164 in lines:
            file.problems[row.line] = f"{international(number.e164)} is in line {lines[number.e164]} already."
            continue
        lines[number.e164] = row.line
        file.numbers.append(number)
    file.questions = Questions({column: file.questions[column] for column in PHONES if column in file.questions})
    for number in file.numbers:
        if line := lines.get(number.settings.destination):
            circle = f"destination: it is the tracking number of line {line}, so calls would go round in circles."
            file.problems[number.line] = circle
    groups = file.groups()
    if len(groups) > MOST_SCENARIOS:
        raise UnreadableFile(f"The file would make more than {MOST_SCENARIOS} scenarios. Split it.")
    for settings, numbers in groups:
        for number in numbers[MOST_STATIC:] if settings.type == "static" else ():
            file.problems[number.line] = f"At most {MOST_STATIC} static numbers can be in one scenario."
    return file


def _phones(row: Row, country: str, choices: Mapping[str, Choice], questions: Questions) -> dict[str, str] | None:
    """Number and destination; None when somebody has to say first how one of them is to be read."""
    read: dict[str, str] = {}
    for column in PHONES:
        text = plain(row.cells[column])
        if problem := cell_error(text):
            raise _BadCell(f"{column}: {problem}")
        is_sip = text.lower().startswith(("sip:", "sips:"))
        try:
            if column == "destination" and not text:
                read[column] = ""
            elif column == "destination" and ("@" in text or is_sip):
                read[column] = read_destination(text if is_sip else f"sip:{text}")
            else:
                read[column] = read_file_phone(text, country, choices.get(column) or choices.get(""))
        except AmbiguousPhone as error:
            questions.ask(column, row.line, text, error.readings)
        except BadPhone as error:
            raise _BadCell(f"{column}: {error}") from None
    return read if len(read) == len(PHONES) else None


def _settings(row: Row, phones: Mapping[str, str]) -> OldSettings:
    cells = {name: plain(text) for name, text in row.cells.items()}
    for name, text in cells.items():
        if name not in PHONES and (problem := cell_error(text)):
            raise _BadCell(f"{name}: {problem}")
    selectors = {
        f".{selector}" if OLD_CLASS.fullmatch(selector) else selector
        for selector in re.split(r"[\s,;]+", cells["selectors"])
        if selector
    }
    for selector in sorted(selectors):
        if problem := selector_error(selector):
            raise _BadCell(f"selectors: {problem}")
        if len(selector) > LONGEST_SELECTOR:
            raise _BadCell(f"selectors: “{selector[:40]}…” is too long.")
    if len(selectors) > MOST_SELECTORS:
        raise _BadCell(f"selectors: at most {MOST_SELECTORS} can be kept.")
    mask = " ".join(cells["format"].split())
    if len(mask) > LONGEST_FORMAT:
        raise _BadCell(f"format: at most {LONGEST_FORMAT} characters.")
    if problem := format_error(mask):
        raise _BadCell(f"format: {problem}")
    kind = cells["type"].casefold() or "dynamic"
    if kind not in ("dynamic", "static"):
        raise _BadCell(f"type: “{cells['type'][:40]}” is neither dynamic nor static.")
    return OldSettings(
        destination=phones["destination"],
        prefix=_prefix(cells["prefix"], phones["number"]),
        selectors=tuple(sorted(selectors)),
        format=mask,
        type=kind,
        channel=read_channel(cells["channel"]),
    )


def _prefix(text: str, e164: str) -> str:
    """The digits with which a number begins: `+49711`, `0049 711`, `49711` and `0711` are one prefix of a German number."""
    digits, whole = re.sub(r"\D", "", text), e164.removeprefix("+")
    for exit_code in ("", "00", "011"):
        if digits.startswith(exit_code) and whole.startswith(digits.removeprefix(exit_code)):
            return digits.removeprefix(exit_code)
    *_, national = spelled = digit_forms(e164)
    for form in spelled:
        if form.startswith(digits):
            before = len(form) - len(national)  # country code, trunk prefix
            return whole.removesuffix(national) + national[: max(0, len(digits) - before)]
    return digits


def read_channel(text: str) -> tuple[str, str, str]:
    """Source, medium and campaign, case-folded, as they are compared; a campaign may hold slashes."""
    parts = [part.strip() for part in text.split("/", 2)]
    source, medium, campaign = [part.casefold() for part in [*parts, "", ""][:3]]
    if (medium or campaign) and not source:
        raise _BadCell("channel: write it as source, source/medium or source/medium/campaign.")
    if max(len(source), len(medium), len(campaign)) > 200:
        raise _BadCell("channel: at most 200 characters each.")
    return source, medium, campaign
