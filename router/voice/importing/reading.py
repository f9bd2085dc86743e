"""Reads a call log of another service (R13) in one pass, line by line: its columns, its dates, its calls, what cannot be read and what
somebody has to say first. `calls.py` beside it writes the calls."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache
from itertools import groupby, islice
from typing import BinaryIO
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.tracking.sources import LONGEST_VALUE
from router.db import LONG_AGO
from router.lib.formats import format_count
from router.lib.phones import (
    AmbiguousPhone,
    BadPhone,
    is_withheld,
    numbers_in,
    read_caller,
    readings_of,
    spellings_of_line,
)
from router.scenarios.importing.files import Choice, read_file_phone
from router.scenarios.importing.tables import Record, Table, UnreadableFile, cell_error, open_table, plain, tidy
from router.scenarios.models import TrackingNumber
from router.voice.importing.calls import CallLog, Choices, DatesQuestion, OldCall
from router.voice.importing.columns import (
    NEEDED,
    NO_CALLS,
    OUTGOING,
    ROLES,
    TOTALS,
    Columns,
    Content,
    folded,
    head_score,
    plain_head,
)
from router.voice.importing.times import (
    BadTime,
    Order,
    OrderEvidence,
    WrittenTime,
    folds_of,
    order_in_head,
    read_clock,
    read_time,
    read_zone,
)

TELEPHONE_ADDRESS = re.compile(r"(?:sips?|tel|client|whatsapp):", re.IGNORECASE)
LONGEST_PHONE = 60


class BadLine(ValueError):
    """The message names the column."""


@dataclass(frozen=True)
class Numbers:
    """A project's country, zone, and tracking numbers with their ids."""

    country: str
    timezone: str
    ids: Mapping[str, int]


def project_numbers(session: Session, project: Project) -> Numbers:
    """Also the numbers that were given up: they were called when the log was written."""
    known = select(TrackingNumber.e164, TrackingNumber.id).where(TrackingNumber.project_id == project.id)
    rows = session.execute(known.order_by(TrackingNumber.id)).all()
    return Numbers(project.country, project.timezone, {row.e164: row.id for row in rows})


class Cells:
    """Reads cells of one file; what was read once is remembered for a while."""

    def __init__(self, numbers: Numbers, choices: Mapping[str, Choice]) -> None:
        self.numbers, self.choices = numbers, choices
        self.own_number = lru_cache(maxsize=20_000)(self.find_own_number)
        self.readings = lru_cache(maxsize=20_000)(self.find_readings)

    def find_readings(self, text: str) -> tuple[str, ...]:
        """The E.164 numbers that a cell can mean."""
        return readings_of(text, self.numbers.country) or tuple(numbers_in(text, self.numbers.country))

    def find_own_number(self, text: str) -> str | None:
        """The number of the project that a cell can mean."""
        readings = self.readings(text)
        if not readings and TELEPHONE_ADDRESS.match(text):
            readings = tuple(filter(None, [read_caller(text, self.numbers.country).e164]))
        spellings = (spelling for reading in readings for spelling in spellings_of_line(reading))
        return next((spelling for spelling in spellings if spelling in self.numbers.ids), None)

    def number(self, column: str, text: str) -> str:
        """
        Raises:
            BadLine: it is no number of the project.
        """
        if own := self.own_number(text):
            return own
        if not text:
            raise BadLine(f"{column}: it is empty.")
        readings = self.readings(text)
        if not readings:
            raise BadLine(
                f"{column}: “{text[:40]}” is not a phone number. Write it with its country code, like +14155552671."
            )
        subject = f"{readings[0]} is not" if len(readings) == 1 else f"neither {' nor '.join(readings)} is"
        raise BadLine(f"{column}: {subject} a number of this project. Bring the numbers over first.")

    def caller(self, column: str, text: str) -> str | None:
        """None: the caller withheld the number.

        Raises:
            BadLine: it is no number.
            AmbiguousPhone: somebody has to say first how it is read.
        """
        if is_withheld(text):
            return None
        if text.startswith("+") or TELEPHONE_ADDRESS.match(text):
            known = read_caller(text, self.numbers.country).e164
            if known or TELEPHONE_ADDRESS.match(text):
                return known
        choice = self.choices.get("caller") or self.choices.get("")
        readings = self.readings(text)
        if len(readings) == 1:
            return readings[0]
        try:
            return read_file_phone(text, self.numbers.country, choice)
        except AmbiguousPhone:
            raise
        except BadPhone as error:
            raise BadLine(f"{column}: {error}") from None

    def contents(self, sample: Sequence[Record], width: int) -> list[Content]:
        """What each column holds in these lines."""
        contents = []
        for index in range(width):
            cells = (record.cells[index] for record in sample if index < len(record.cells))
            texts = [text for text in map(plain, map(tidy, cells)) if text]
            short = [text for text in texts if is_short(text)]
            times = [time_or_none(text) for text in texts]
            content = Content(
                filled=len(texts),
                own=sum(self.own_number(text) is not None for text in short),
                phones=sum(is_withheld(text) for text in texts)
                + sum(not is_withheld(text) and bool(cell_error(text) or self.readings(text)) for text in short),
                days=sum(time is not None for time in times),
                clocked_days=sum(time is not None and time.clock is not None for time in times),
                clocks=sum(
                    time is None and read_clock(text) is not None for text, time in zip(texts, times, strict=True)
                ),
            )
            contents.append(content)
        return contents


def is_short(text: str) -> bool:
    """Whether a cell can be a number of some country at all."""
    return len(text) <= LONGEST_PHONE and sum(sign.isdigit() for sign in text) >= 5


def time_or_none(text: str) -> WrittenTime | None:
    try:
        return read_time(text)
    except BadTime:
        return None


MOST_ROWS = 200_000
MOST_BYTES = 64 * 1024 * 1024
SAMPLE = 200
"""Lines by which columns are told."""
ZONE_LINE = re.compile(
    r"(?:time ?zone|zeitzone|часовой пояс|zona horaria|fuseau horaire|fuso orario|tijdzone)\s*[:=]?\s*(.+)",
    re.IGNORECASE,
)
OUTGOING_CODES = ("3", "4")
"""How a FRITZ!Box writes outgoing calls into its column “Typ”."""


@dataclass(slots=True)
class _Draft:
    """A line whose numbers are read, and whose time waits for what the whole file says."""

    line: int
    number: str
    caller: str
    time: WrittenTime
    zone: tzinfo | None
    """From a column of its own."""
    source: tuple[str, str, str]


def read_call_log(
    file: BinaryIO, numbers: Numbers, choices: Choices, now: datetime, most_rows: int = MOST_ROWS
) -> CallLog:
    """
    Raises:
        UnreadableFile: nothing of it can be used.
        UnknownColumn: a column was chosen that it does not have.
    """
    named_heads = {plain_head(name) for name in choices.columns.values() if name}

    def score(line: Sequence[str]) -> int:
        """The line with the heads that a person named is the head of the table."""
        return 10 * len(named_heads & {plain_head(cell) for cell in line}) + head_score(line)

    table = open_table(file, score, MOST_BYTES)
    cells = Cells(numbers, choices.numbers)
    if len(table.head) < 2:
        raise UnreadableFile("This is no table: no line of it names several columns.")
    if any(is_short(head) and (time_or_none(head) or cells.own_number(head)) for head in table.head):
        raise UnreadableFile("The first line has to name the columns, and it holds a call.")
    sample = list(islice(table.records(), SAMPLE))
    if not sample:
        raise UnreadableFile("The file has no lines below its head.")
    columns = Columns(table.head, cells.contents(sample, len(table.head)))
    columns.find(choices.columns)
    log = CallLog(columns)
    if not all(columns.open.values()):
        missing = [f"the {ROLES[role]}" for role in NEEDED if role not in columns.taken]
        raise UnreadableFile(f"No column of the file is {' or '.join(missing)}.")
    if not columns.open:
        _Reading(table, log, cells, choices, now).read(most_rows)
    return log


class _Reading:
    def __init__(self, table: Table, log: CallLog, cells: Cells, choices: Choices, now: datetime) -> None:
        self.table, self.log, self.cells, self.choices, self.now = table, log, cells, choices, now
        self.evidence = OrderEvidence()
        self.drafts: list[_Draft] = []
        self.sources: dict[tuple[str, str, str], tuple[str, str, str]] = {}
        self.zone = self._zone()

    def read(self, most_rows: int) -> None:
        log = self.log
        for count, record in enumerate(self.table.records(), start=1):
            if count > most_rows:
                raise UnreadableFile(f"The file has more than {most_rows:,} lines. Split it.")
            if record.problem:
                log.refuse(record.line, _to_line(record) + record.problem)
                continue
            surplus = len(record.cells) - len(self.table.head)
            if surplus > 0 and self.table.delimiter == ",":
                # a time without quotation marks may have fallen apart at its commas: `Nov 3, 2026, 2:05 PM`
                place = log.columns.taken["started_at"]
                behind = place + surplus + 1
                time = ", ".join(record.cells[place:behind])
                if time_or_none(time):
                    record = replace(record, cells=[*record.cells[:place], time, *record.cells[behind:]])
            row = {
                role: plain(tidy(record.cells[index])) if index < len(record.cells) else ""
                for role, index in log.columns.taken.items()
            }
            try:
                draft = self._draft(record, row)
            except BadLine as error:
                first_cell = next((cell for cell in record.cells if cell.strip()), "")
                if any(word in TOTALS for word in plain_head(first_cell).split()[:1]):
                    log.totals.append(record.line)
                else:
                    log.refuse(record.line, str(error))
            except AmbiguousPhone as error:
                log.questions.ask(log.columns.head_of("caller"), record.line, row["caller"], error.readings)
            else:
                if draft is not None:
                    self.drafts.append(draft)
        self._settle_order()
        if log.dates_question is None:
            self._place()
        log.problems = dict(sorted(log.problems.items()))

    def _zone(self) -> tzinfo:
        """Of the times that name none: what a person says, else the column's head, else the title, else the project's."""
        log, chosen = self.log, self.choices.zone
        if chosen and read_zone(chosen) is None:
            raise UnreadableFile(f"“{chosen[:60]}” is no time zone. Write it like Europe/Berlin or +01:00.")
        named = [(chosen, "as you said")]
        for head in (log.columns.head_of("started_at"), log.columns.head_of("time")):
            names = [*re.findall(r"[(\[](.*?)[)\]]", head), *re.findall(r"[ _](utc|gmt)$", head, re.IGNORECASE)]
            named += [(name, f"as the column “{head}” says") for name in names]
        titles = filter(None, map(ZONE_LINE.search, self.table.before))
        named += [(title.group(1).strip(), "as the file says above its head") for title in titles]
        for name, reason in named:
            if zone := read_zone(name):
                log.zone, log.zone_reason = name, reason
                return zone
        log.zone, log.zone_reason = self.cells.numbers.timezone, "the project's time zone"
        return ZoneInfo(log.zone)

    def _draft(self, record: Record, row: Mapping[str, str]) -> _Draft | None:
        """None: the line is no incoming call with a known caller."""
        log = self.log
        # the dates of all lines, also of those that are passed over, tell what is day and what is month
        time: WrittenTime | BadLine
        column, text, zone = log.columns.head_of("started_at"), row["started_at"], None
        if row.get("zone") and (zone := read_zone(row["zone"])) is None:
            time = BadLine(
                f"{log.columns.head_of('zone')}: “{row['zone'][:40]}” is no time zone. Write it like Europe/Berlin or +01:00."
            )
        else:
            try:
                time = read_time(text)
                self.evidence.see(record.line, time)
                if row.get("time") and time.clock is None:
                    column, text = log.columns.head_of("time"), row["time"]
                    clock = read_clock(text)
                    if clock is None:
                        raise BadTime("Write it like 14:05:00.")
                    time = replace(time, clock=clock[0], zone=clock[1] or time.zone)
            except BadTime as error:
                time = BadLine(f"{column}: “{text[:40]}” is not a time. {error}")
        self._check_shape(record)
        kind, direction = _plain_word(row.get("kind", "")), _plain_word(row.get("direction", ""))
        if kind in NO_CALLS or direction in NO_CALLS:
            log.no_calls += 1
            return None
        for role, text in row.items():
            if problem := cell_error(text, figures=role in NEEDED):
                raise BadLine(f"{log.columns.head_of(role)}: {problem}")
        is_outgoing = direction in OUTGOING or (
            direction in OUTGOING_CODES and plain_head(log.columns.head_of("direction")) == "typ"
        )
        if is_outgoing or (
            self.cells.own_number(row["number"]) is None and self.cells.own_number(row["caller"]) is not None
        ):
            log.outgoing += 1
            return None
        number = self.cells.number(log.columns.head_of("number"), row["number"])
        if isinstance(time, BadLine):
            raise time
        caller = self.cells.caller(log.columns.head_of("caller"), row["caller"])
        if caller is None:
            log.withheld += 1
            return None
        source, medium, campaign = (row.get(role, "")[:LONGEST_VALUE] for role in ("source", "medium", "campaign"))
        if (medium or campaign) and not source:
            head = log.columns.head_of("source") or "source"
            raise BadLine(f"{head}: it is empty, although a medium or a campaign is named.")
        named = (source, medium, campaign)
        return _Draft(record.line, number, caller, time, zone, self.sources.setdefault(named, named))

    def _check_shape(self, record: Record) -> None:
        """
        Raises:
            BadLine: its cells are not those of the head.
        """
        width, delimiter = len(self.table.head), self.table.delimiter
        if any(cell.strip() for cell in record.cells[width:]):
            raise BadLine(
                f"It has {format_count(len(record.cells), 'cell')}, and the head has {width}. A cell that holds a “{delimiter}” "
                "has to stand in quotation marks."
            )
        if record.last_line == record.line:
            return
        taken = self.log.columns.taken
        for line in "\n".join(record.cells).splitlines()[1:]:  # a stray quotation mark made one cell of several lines
            parts = line.split(delimiter)
            is_whole = len(parts) > max(taken[role] for role in NEEDED)
            if is_whole and time_or_none(plain(tidy(parts[taken["started_at"]].strip('" ')))) is not None:
                raise BadLine(
                    f"{_to_line(record)}A quotation mark is opened here and closed in a later line. Take it out."
                )

    def _settle_order(self) -> None:
        log, evidence, head = self.log, self.evidence, self.log.columns.head_of("started_at")
        if self.choices.dates:
            log.order, log.order_reason = self.choices.dates, "as you said"
        elif hint := order_in_head(head):
            log.order, log.order_reason = hint, f"as the column “{head}” says"
        elif len(evidence.only) > 1:
            contradiction = " and ".join(
                f"{written.shown()} in line {line:,} has the {order.removesuffix('-first')} first"
                for order, (line, written) in evidence.only.items()
            )
            readings = tuple((order, _format_date(written, order)) for order, (_, written) in evidence.only.items())
            log.dates_question = DatesQuestion(f"The dates contradict each other: {contradiction}.", readings)
        elif evidence.is_year_doubtful or (evidence.open and not evidence.only):
            line, written = evidence.open or next(iter(evidence.only.values()))
            orders = [order for order in written.orders if order != "year-first" or evidence.is_year_doubtful]
            readings = tuple((order, _format_date(written, order)) for order in orders)
            dates = " or ".join(date for _, date in readings)
            log.dates_question = DatesQuestion(
                f"What is day and what is month? {written.shown()} in line {line:,} is {dates}, and no other line tells.",
                readings,
            )
        elif evidence.only:
            log.order, (line, written) = next(iter(evidence.only.items()))
            log.order_reason = f"because of {written.shown()} in line {line:,}"
        elif evidence.has_dots:
            log.order, log.order_reason = "day-first", "as it is usual with dots"

    def _place(self) -> None:
        """Gives each line its moment; where a clock showed an hour twice, by the order of the lines."""
        log, head = self.log, self.log.columns.head_of("started_at")
        drafts: list[_Draft] = []
        for draft in self.drafts:
            try:
                draft.time.moment(log.order, draft.zone or self.zone)
            except BadTime as error:
                log.refuse(draft.line, f"{head}: “{draft.time.shown()}” is not a time. {error}")
                continue
            log.without_clock += draft.time.clock is None
            drafts.append(draft)
        if all(draft.time.zone or draft.zone for draft in drafts):
            log.zone = log.zone_reason = ""
        zones = (None if draft.time.zone else draft.zone or self.zone for draft in drafts)
        whos = ((draft.number, draft.caller) for draft in drafts)
        folds = folds_of(zip(whos, (draft.time.local(log.order) for draft in drafts), zones, strict=True))
        self.drafts = []
        for index in range(len(drafts) - 1, -1, -1):  # each is forgotten when its call is made: a log may be long
            draft, (fold, is_alone) = drafts.pop(), folds.get(index, (0, False))
            zone = draft.zone or self.zone
            moment = draft.time.moment(log.order, zone, fold)
            if moment > self.now or moment < LONG_AGO:
                reason = "in the future" if moment > self.now else "too long ago"
                log.refuse(draft.line, f"{head}: {draft.time.shown()} is {reason}.")
                continue
            other = draft.time.moment(log.order, zone, 1 - fold) if is_alone else None
            number_id = self.cells.numbers.ids[draft.number]
            log.calls.append(OldCall(number_id, draft.number, draft.caller, moment, *draft.source, other))
        log.calls.sort(key=_identity)
        count = len(log.calls)
        log.calls = [next(alike) for _, alike in groupby(log.calls, _identity)]
        log.doubled = count - len(log.calls)


def _identity(call: OldCall) -> tuple[datetime, str, str]:
    return call.started_at, call.number, call.caller


def _plain_word(text: str) -> str:
    return folded(text).replace("-", " ").replace("_", " ")


def _to_line(record: Record) -> str:
    return f"(To line {record.last_line:,}.) " if record.last_line > record.line else ""


def _format_date(written: WrittenTime, order: Order) -> str:
    day = written.day(order)
    return f"{day.day} {day:%B %Y}"
