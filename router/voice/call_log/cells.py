"""Cells of a call log: numbers of the project, callers, and what stands in a column."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.phones import AmbiguousPhone, BadPhone, is_withheld, numbers_in, read_caller, readings_of, spellings_of_line
from router.scenarios.models import TrackingNumber
from router.scenarios.old_settings.table import Record, cell_error, plain, tidy
from router.scenarios.old_settings.two_readings import Choice, read_file_phone
from router.voice.call_log.columns import Content
from router.voice.call_log.times import BadTime, WrittenTime, read_clock, read_time

TELEPHONE_ADDRESS = re.compile(r"(?:sips?|tel|client|whatsapp):", re.IGNORECASE)
LONGEST_PHONE = 60


class BadLine(ValueError):
    """The message names the column."""


@dataclass(frozen=True)
class Numbers:
    """What the reading of numbers needs of a project: its country, its zone, and all its tracking numbers with their ids."""

    country: str
    timezone: str
    ids: Mapping[str, int]


def project_numbers(session: Session, project: Project) -> Numbers:
    """Those that were given up as well: they were called when the log was written."""
    known = select(TrackingNumber.e164, TrackingNumber.id).where(TrackingNumber.project_id == project.id)
    rows = session.execute(known.order_by(TrackingNumber.id)).all()
    return Numbers(project.country, project.timezone, {e164: number_id for e164, number_id in rows})  # noqa: C416


class Cells:
    """Reads cells of one file; what was read once is remembered for a while."""

    def __init__(self, numbers: Numbers, choices: Mapping[str, Choice]) -> None:
        self.numbers, self.choices = numbers, choices
        self.ours = lru_cache(maxsize=20_000)(self._ours)
        self.readings = lru_cache(maxsize=20_000)(self._readings)

    def _readings(self, text: str) -> tuple[str, ...]:
        return readings_of(text, self.numbers.country) or tuple(numbers_in(text, self.numbers.country))

    def _ours(self, text: str) -> str | None:
        """The number of the project that a cell can mean."""
        readings = self.readings(text)
        if not readings and TELEPHONE_ADDRESS.match(text):
            readings = tuple(filter(None, [read_caller(text, self.numbers.country).e164]))
        spelled = (spelling for reading in readings for spelling in spellings_of_line(reading))
        return next((one for one in spelled if one in self.numbers.ids), None)

    def number(self, column: str, text: str) -> str:
        """
        Raises:
            BadLine: it is no number of the project.
        """
        if ours := self.ours(text):
            return ours
        if not text:
            raise BadLine(f"{column}: it is empty.")
        readings = self.readings(text)
        if not readings:
            raise BadLine(
                f"{column}: “{text[:40]}” is not a phone number. Write it with its country code, like +14155552671."
            )
        said = f"{readings[0]} is not" if len(readings) == 1 else f"neither {' nor '.join(readings)} is"
        raise BadLine(f"{column}: {said} a number of this project. Bring the numbers over first.")

    def caller(self, column: str, text: str) -> str | None:
        """None: he withheld his number.

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

    def _is_phone(self, text: str) -> bool:
        return is_short(text) and (bool(cell_error(text)) or bool(self.readings(text)))

    def contents(self, sample: Sequence[Record], width: int) -> list[Content]:
        return [self._content([one.cells[index] for one in sample if index < len(one.cells)]) for index in range(width)]

    def _content(self, cells: Sequence[str]) -> Content:
        texts = [text for text in map(plain, map(tidy, cells)) if text]
        times = [time_or_none(text) for text in texts]
        return Content(
            filled=len(texts),
            ours=sum(is_short(text) and self.ours(text) is not None for text in texts),
            phones=sum(is_withheld(text) or self._is_phone(text) for text in texts),
            days=sum(time is not None for time in times),
            clocked_days=sum(time is not None and time.clock is not None for time in times),
            clocks=sum(time is None and read_clock(text) is not None for text, time in zip(texts, times, strict=True)),
        )


def is_short(text: str) -> bool:
    """Whether a cell can be a number of some country at all."""
    return len(text) <= LONGEST_PHONE and sum(sign.isdigit() for sign in text) >= 5


def time_or_none(text: str) -> WrittenTime | None:
    try:
        return read_time(text)
    except BadTime:
        return None
