"""The report by source: what is credited to each, which equals the call list with the same filter, and what is to be expected."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from router.reports.calls import folded, read_id
from router.reports.expected import Expected, expected_rows
from router.reports.periods import Period, read_period
from router.reports.source_facts import (
    Figures,
    KnownSource,
    calls_of_period,
    credited,
    sources_of,
)
from router.voice.models import EXTERNAL
from router.web import Problem

GROUPS = {
    "channel": ("channel",),
    "source": ("source", "medium"),
    "campaign": ("source", "medium", "campaign"),
}
"""What the rows are told apart by."""
PARTS = ("channel", "source", "medium", "campaign")

RowKey = tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What an address of the report asks for."""

    period: Period
    group: str
    scenario: int | None


def read_wanted(args: Mapping[str, str], zone: str, now: datetime) -> Wanted:
    """
    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    group = args.get("by", "") or "source"
    if group not in GROUPS:
        raise Problem(422, f"“by” is one of {', '.join(GROUPS)}.", "by")
    return Wanted(read_period(args, zone, now), group, read_id("scenario", args.get("scenario", "")))


def told_of(group: str) -> tuple[str, ...]:
    """The parts of a source that a row of the group is sure of: its source and medium make its channel."""
    return ("channel", *GROUPS[group]) if group != "channel" else GROUPS[group]


@dataclass
class SourceRow:
    """One line of the report. `source` is None for calls of nobody we know."""

    source: KnownSource | None
    figures: Figures = field(default_factory=Figures)
    expected: Expected = field(default_factory=Expected)
    others: int = 0
    """How many sources are in this row together; 0 for one of its own."""

    @property
    def confidence(self) -> float | None:
        """The mean source confidence of its calls; calls of nobody we know have none."""
        return self.figures.confidence if self.source else None

    @property
    def is_seen(self) -> bool:
        """It has calls, or had some, or probably has."""
        return bool(self.figures.calls or self.figures.before or self.expected.mean >= 0.5)


@dataclass
class SourceReport:
    """`rows`: most calls first, the row of nobody we know last; their calls come to `calls`, and so do their expected values."""

    period: Period
    group: str
    rows: list[SourceRow]
    calls: int
    before: int
    moments: Sequence[datetime]
    """When each call of the period began."""

    @property
    def known(self) -> list[SourceRow]:
        return [row for row in self.rows if row.source]

    @property
    def nobody(self) -> SourceRow:
        return self.rows[-1]


def report_by_source(
    session: Session, project_id: int, period: Period, group: str, scenario: int | None
) -> SourceReport:
    """At most five statements, however many calls there are."""
    found = credited(session, project_id, period, scenario)
    calls = calls_of_period(session, project_id, period, scenario)
    most = sorted(((key, source, figures.calls) for key, source, figures in found if source), key=lambda one: one[2])
    sources: dict[int, KnownSource] = {key: source for key, source, _ in most if key is not None and source}
    unknown = [visit_id for key, visit_id in calls.visits.items() if key not in sources]
    sources = sources_of(session, project_id, unknown) | sources
    rows: dict[RowKey | None, SourceRow] = {None: SourceRow(None)}
    for _, source, figures in found:
        rows.setdefault(row_key(group, source), SourceRow(source)).figures.add(figures)
    keys = {key: row_key(group, source) for key, source in sources.items()}
    names = {row_key(group, source): source for source in sources.values()}
    for row, expected in expected_rows(calls.weighed(), keys.get).items():
        rows.setdefault(row, SourceRow(names.get(row))).expected = expected
    return SourceReport(
        period,
        group,
        sorted(rows.values(), key=_order),
        sum(row.figures.calls for row in rows.values()),
        sum(row.figures.before for row in rows.values()),
        calls.moments,
    )


def row_key(group: str, source: KnownSource | None) -> RowKey | None:
    """What the row of a source is told apart by; channels are words of ours, the rest is compared as marketing sources are."""
    if source is None:
        return None
    if group == "channel":
        return (source.channel,)
    return tuple(folded(getattr(source, name)) for name in GROUPS[group])


def _order(row: SourceRow) -> tuple[bool, int, float, int, str]:
    source = row.source
    name = " ".join((source.source, source.medium, source.campaign)) if source else ""
    return source is None, -row.figures.calls, -row.expected.mean, -row.figures.before, name


def shortened(rows: Sequence[SourceRow], most: int) -> list[SourceRow]:
    """For a page: sources that hardly anything came from, and those beyond `most`, are one row before the last."""
    known = [row for row in rows if row.source]
    seen = [row for row in known if row.is_seen]
    shown, left = seen[:most], [*seen[most:], *(row for row in known if not row.is_seen)]
    if len(left) < 2:
        return list(rows)
    together = SourceRow(left[0].source, others=len(left))
    for row in left:
        together.figures.add(row.figures)
        together.expected += row.expected
    return [*shown, together, *(row for row in rows if row.source is None)]


def filter_of(row: SourceRow, group: str, period: Period, scenario: int | None) -> Mapping[str, str]:
    """The arguments of the call list that shows exactly the credited calls of a row; a space asks for an empty part."""
    given = {"from": period.first.isoformat(), "to": period.last.isoformat(), "kind": EXTERNAL}
    if scenario:
        given["scenario"] = str(scenario)
    if row.source is None:
        return given | {"unattributed": "1"}
    return given | {name: getattr(row.source, name) or " " for name in GROUPS[group]}


def hours(moments: Sequence[datetime], period: Period) -> dict[tuple[int, int], int]:
    """Calls by weekday (0 is Monday) and hour in the project's time zone."""
    counted: dict[tuple[int, int], int] = defaultdict(int)
    for moment in moments:
        here = moment.astimezone(period.since.tzinfo)
        counted[here.weekday(), here.hour] += 1
    return dict(counted)
