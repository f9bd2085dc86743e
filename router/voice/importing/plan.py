"""What a call log says when it is read, what a person says about it, and both in sentences for the page and the command."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.lib.formats import format_count, format_day
from router.scenarios.importing.files import Choice, Questions
from router.voice.importing.calls import OldCall
from router.voice.importing.columns import ROLES, Columns
from router.voice.importing.times import Order

MOST_PROBLEMS = 1000
"""Lines whose reasons are kept; all are counted."""
ROLE_LABELS = {
    "number": "tracking number",
    "caller": "caller",
    "started_at": "day and time",
    "time": "time of day",
    "zone": "time zone",
    "source": "source",
    "medium": "medium",
    "campaign": "campaign",
    "direction": "incoming or outgoing",
    "kind": "call or message",
}
ORDER_LABELS = {
    "day-first": "the day first, as in 23/11/2026",
    "month-first": "the month first, as in 11/23/2026",
    "year-first": "the year first, as in 26/11/23",
}


@dataclass(frozen=True)
class Choices:
    """What a person says about a file. Columns by role; how numbers without a plus are read, by role (the empty one stands for all)."""

    columns: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Choice] = field(default_factory=dict)
    dates: Order | None = None
    zone: str = ""


@dataclass(frozen=True, slots=True)
class DatesQuestion:
    """What is day and what is month: nothing in the file tells, or its dates contradict each other. `readings`: the possible orders, each
    with what it makes of a date of the file."""

    sentence: str
    readings: tuple[tuple[Order, str], ...]


@dataclass
class CallLog:
    """A file, read. Its problems are the first lines that cannot be used, each with its reason; `bad` counts all of them.

    Lines about which a question is open are neither calls nor problems.
    """

    heads: list[str]
    columns: Columns
    calls: list[OldCall] = field(default_factory=list)
    """By time."""
    problems: dict[int, str] = field(default_factory=dict)
    bad: int = 0
    withheld: int = 0
    outgoing: int = 0
    no_calls: int = 0
    doubled: int = 0
    """Lines that say a call of the file again."""
    without_clock: int = 0
    totals: list[int] = field(default_factory=list)
    questions: Questions = field(default_factory=Questions)
    dates_question: DatesQuestion | None = None
    order: Order | None = None
    order_reason: str = ""
    zone: str = ""
    """Of the times that name none; empty where every time does."""
    zone_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether somebody has to say something before anything can be brought over."""
        return bool(self.columns.open or self.questions or self.dates_question)

    def head_of(self, role: str) -> str:
        return self.heads[self.columns.taken[role]] if role in self.columns.taken else ""

    def refuse(self, line: int, sentence: str) -> None:
        self.bad += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems[line] = sentence

    def describe_columns(self) -> str:
        """`Tracking number “To”, caller “From”, day and time “Start Time”. Not read: “Duration”.`"""
        read = ", ".join(f"{ROLE_LABELS[role]} “{self.head_of(role)}”" for role in ROLES if role in self.columns.taken)
        taken = set(self.columns.taken.values())
        others = ", ".join(f"“{head}”" for index, head in enumerate(self.heads) if head and index not in taken)
        return f"{read[:1].upper()}{read[1:]}." + (f" Not read: {others}." if others else "")

    def describe_open_columns(self) -> list[tuple[str, str, list[str]]]:
        """For each needed column that nobody can tell: the role, the question, and the heads to choose from."""
        return [
            (role, f"Which column is {ROLES[role]}?", [self.heads[one] or f"column {one + 1}" for one in among])
            for role, among in self.columns.open.items()
        ]

    def describe_times(self) -> list[str]:
        """How dates and times are read where they do not say it themselves."""
        sentences = [f"Dates have {ORDER_LABELS[self.order]}, {self.order_reason}."] if self.order else []
        if self.zone:
            sentences.append(f"Times are in {self.zone}, {self.zone_reason}.")
        if self.without_clock:
            sentences.append(f"{format_count(self.without_clock, 'line')} without a time of day: midnight is taken.")
        return sentences

    def describe_span(self, zone: str) -> str:
        """`1,204 calls from 1 Mar 2026 to 3 Nov 2026`"""
        if not self.calls:
            return "No calls"
        first, last = (format_day(one.started_at, zone) for one in (self.calls[0], self.calls[-1]))
        return f"{format_count(len(self.calls), 'call')} " + (
            f"of {first}" if first == last else f"from {first} to {last}"
        )

    def describe_passed_over(self) -> list[str]:
        """What is in the file and is not brought over, although nothing is wrong with it."""
        counts = (
            (self.withheld, "call", "of withheld numbers, by which nobody is recognised"),
            (self.outgoing, "outgoing call", ""),
            (self.no_calls, "line", "about messages or forms"),
            (self.doubled, "line", "with a call that another line says too"),
        )
        sentences = [f"{format_count(count, what)} {why}".strip() for count, what, why in counts if count]
        if self.totals:
            lines = ", ".join(f"{line:,}" for line in self.totals[:5])
            sentences.append(f"the totals in line {lines}")
        return sentences
