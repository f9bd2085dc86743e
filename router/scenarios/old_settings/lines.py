"""Old number settings (R13): what a file of another call tracking service says, line by line, and the scenarios that follow from it.
Pure: what is here already is looked up in `plan.py`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.phones import AmbiguousPhone, BadPhone, forms, international, read_destination
from router.scenarios.old_settings.table import Row, UnreadableFile, cell_error, plain, read_table
from router.scenarios.old_settings.two_readings import Choice, Questions, read_file_phone
from router.scenarios.tagging import format_error, selector_error

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
            number = _number(row, phones)
        except _BadCell as error:
            file.problems[row.line] = str(error)
            continue
        if number.e164 in lines:
            said = f"{international(number.e164)} is in line {lines[number.e164]} already."
            file.problems[row.line] = said
            continue
        lines[number.e164] = row.line
        file.numbers.append(number)
    file.questions = Questions({column: file.questions[column] for column in PHONES if column in file.questions})
    _check_destinations(file, lines)
    groups = file.groups()
    if len(groups) > MOST_SCENARIOS:
        raise UnreadableFile(f"The file would make more than {MOST_SCENARIOS} scenarios. Split it.")
    for settings, numbers in groups:
        for number in numbers[MOST_STATIC:] if settings.type == "static" else ():
            file.problems[number.line] = f"At most {MOST_STATIC} static numbers can be in one scenario."
    return file


def _check_destinations(file: OldFile, lines: dict[str, int]) -> None:
    for number in file.numbers:
        if number.settings.destination in lines:
            line = lines[number.settings.destination]
            said = f"destination: it is the tracking number of line {line}, so calls would go round in circles."
            file.problems[number.line] = said


def _phones(row: Row, country: str, choices: Mapping[str, Choice], questions: Questions) -> dict[str, str] | None:
    """Number and destination; None when somebody has to say first how one of them is to be read."""
    read: dict[str, str] = {}
    for column in PHONES:
        text = plain(row.cells[column])
        if problem := cell_error(text):
            raise _BadCell(f"{column}: {problem}")
        try:
            read[column] = _phone(column, text, country, choices.get(column) or choices.get(""))
        except AmbiguousPhone as error:
            questions.ask(column, row.line, text, error.readings)
        except BadPhone as error:
            raise _BadCell(f"{column}: {error}") from None
    return read if len(read) == len(PHONES) else None


def _phone(column: str, text: str, country: str, choice: Choice | None) -> str:
    if column == "destination" and not text:
        return ""
    if column == "destination" and ("@" in text or text.lower().startswith(("sip:", "sips:"))):
        return read_destination(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}")
    return read_file_phone(text, country, choice)


def _number(row: Row, phones: Mapping[str, str]) -> OldNumber:
    cells = {name: plain(text) for name, text in row.cells.items()}
    for name, text in cells.items():
        if name not in PHONES and (problem := cell_error(text)):
            raise _BadCell(f"{name}: {problem}")
    settings = OldSettings(
        destination=phones["destination"],
        prefix=_prefix(cells["prefix"], phones["number"]),
        selectors=_selectors(cells["selectors"]),
        format=_format(cells["format"]),
        type=_type(cells["type"]),
        channel=read_channel(cells["channel"]),
    )
    return OldNumber(row.line, phones["number"], settings)


def _prefix(text: str, e164: str) -> str:
    """The digits with which a number begins: `+49711`, `0049 711`, `49711` and `0711` are one prefix of a German number."""
    digits, whole = re.sub(r"\D", "", text), e164.removeprefix("+")
    for exit_code in ("", "00", "011"):
        if digits.startswith(exit_code) and whole.startswith(digits.removeprefix(exit_code)):
            return digits.removeprefix(exit_code)
    *_, national = spelled = forms(e164)
    for form in spelled:
        if form.startswith(digits):
            before = len(form) - len(national)  # country code, trunk prefix
            return whole.removesuffix(national) + national[: max(0, len(digits) - before)]
    return digits


def _selectors(text: str) -> tuple[str, ...]:
    found = {f".{one}" if OLD_CLASS.fullmatch(one) else one for one in re.split(r"[\s,;]+", text) if one}
    for one in sorted(found):
        problem = selector_error(one) or (len(one) > LONGEST_SELECTOR and f"“{one[:40]}…” is too long.")
        if problem:
            raise _BadCell(f"selectors: {problem}")
    if len(found) > MOST_SELECTORS:
        raise _BadCell(f"selectors: at most {MOST_SELECTORS} can be kept.")
    return tuple(sorted(found))


def _format(text: str) -> str:
    mask = " ".join(text.split())
    if len(mask) > LONGEST_FORMAT:
        raise _BadCell(f"format: at most {LONGEST_FORMAT} characters.")
    if problem := format_error(mask):
        raise _BadCell(f"format: {problem}")
    return mask


def _type(text: str) -> str:
    kind = text.casefold() or "dynamic"
    if kind not in ("dynamic", "static"):
        raise _BadCell(f"type: “{text[:40]}” is neither dynamic nor static.")
    return kind


def read_channel(text: str) -> tuple[str, str, str]:
    """Source, medium and campaign, case-folded, as they are compared; a campaign may hold slashes."""
    parts = [part.strip() for part in text.split("/", 2)]
    source, medium, campaign = [part.casefold() for part in [*parts, "", ""][:3]]
    if (medium or campaign) and not source:
        raise _BadCell("channel: write it as source, source/medium or source/medium/campaign.")
    if max(len(source), len(medium), len(campaign)) > 200:
        raise _BadCell("channel: at most 200 characters each.")
    return source, medium, campaign
