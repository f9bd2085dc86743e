"""The report by source: what is credited to each source, which equals the call list with the same filter, and what is to be expected from
the probabilities of each call (R7). It reads columns, not objects, in as many statements for 50,000 calls as for one."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, sqrt
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, and_, case, func, select
from sqlalchemy.orm import Session

from router.attribution.models import Visit
from router.attribution.tracking.sources import Source
from router.reports.calls import Id, Period, PeriodQuery, folded, one_of, parse_arguments, within, written_out
from router.voice.models import EXTERNAL, LOST, Call, Status

PARTS = ("channel", "source", "medium", "campaign")
AT_ONCE = 100
"""Rows that are in memory together: so few that they are freed before the garbage collector walks over them."""
GROUPS = {
    "channel": ("channel",),
    "source": ("source", "medium"),
    "campaign": ("source", "medium", "campaign"),
}
"""What the rows are told apart by."""
RowKey = tuple[str, ...]


@dataclass(frozen=True)
class SourceQuery:
    """What an address of the report asks for."""

    period: Period
    group: str
    scenario: int | None


class SourcesQuery(PeriodQuery):
    by: Annotated[str, *one_of(GROUPS)] = "source"
    scenario: Id | None = None


def parse_query(args: Mapping[str, str], zone: str, now: datetime) -> SourceQuery:
    """
    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    query = parse_arguments(SourcesQuery, args)
    return SourceQuery(query.of(zone, now), query.by, query.scenario)


@dataclass(slots=True)
class Figures:
    """What the calls credited to a source come to."""

    calls: int = 0
    before: int = 0
    answered: int = 0
    missed: int = 0
    first_callers: int = 0
    confidence_sum: float = 0.0
    sure_calls: int = 0
    """Those that have a source confidence."""

    @property
    def confidence(self) -> float | None:
        return self.confidence_sum / self.sure_calls if self.sure_calls else None

    def add(self, other: Any) -> None:
        """`other`: Figures, or a row with columns of these names."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def credited(session: Session, project_id: int, query: SourceQuery) -> list[Row[Any]]:
    """The figures of every source that calls of the period or of the one before are credited to, in columns named like those of Figures,
    beside its key (`source_key`) and its PARTS, which are None for calls without a source. One statement."""
    period, amount = query.period, func.count()
    now = and_(*within(period.since, period.until))
    before = and_(*within(period.before_since, period.before_until))
    parts = {name: Call.source[name].as_string() for name in PARTS}
    statement = (
        select(
            Call.source_key,
            parts["channel"].label("channel"),
            *(func.min(parts[name]).label(name) for name in PARTS[1:]),
            amount.filter(now).label("calls"),
            amount.filter(before).label("before"),
            amount.filter(now, Call.status == Status.ANSWERED).label("answered"),
            amount.filter(now, Call.status.in_(LOST)).label("missed"),
            amount.filter(now, Call.first_call).label("first_callers"),
            func.coalesce(func.sum(Call.source_confidence).filter(now), 0.0).label("confidence_sum"),
            func.count(Call.source_confidence).filter(now).label("sure_calls"),
        )
        .where(*_of(project_id, query), *within(period.before_since, period.until))
        .group_by(Call.source_key, parts["channel"])
    )
    return [row for row in session.execute(statement) if row.calls or row.before]


def source_of(row: Any) -> Source | None:
    """The source that a row names by its key and its PARTS."""
    return None if row.source_key is None else Source(*(getattr(row, name) or "" for name in PARTS))


def _of(project_id: int, query: SourceQuery) -> list[ColumnElement[bool]]:
    here = [Call.project_id == project_id, Call.kind == EXTERNAL]
    return [*here, Call.scenario_id == query.scenario] if query.scenario else here


Line = TypeVar("Line", bound=Hashable)
Shares = Mapping[int, float]
"""The probability that a call came from a source, by source key; what is missing to 1 came from nobody we know."""

CERTAIN = ("static", "imported")
DEVIATIONS = 2


@dataclass(slots=True)
class Expected:
    """The mean and the variance of a number of calls."""

    mean: float = 0.0
    variance: float = 0.0

    @property
    def range(self) -> int:
        """Two standard deviations, rounded up: the true number lies within in about 95 of 100 cases."""
        return ceil(DEVIATIONS * sqrt(self.variance) - 1e-9)

    def __add__(self, other: "Expected") -> "Expected":
        return Expected(self.mean + other.mean, self.variance + other.variance)


def shares_of(
    rule: str, source_key: int | None, source_confidence: float | None, shares: Iterable[Sequence[Any]] | None
) -> Shares:
    """The shares of a call that is no repeat. Static and imported calls are certain.

    Calls of an earlier release have no shares: their source has its confidence, and nobody the rest.
    """
    if rule in CERTAIN or shares is None:
        return own_share(source_key, source_confidence)
    return {key: probability for key, probability, *_ in shares}


def own_share(source_key: int | None, source_confidence: float | None) -> Shares:
    """The call's source with its confidence, or certain where the call has no confidence."""
    return {} if source_key is None else {source_key: 1.0 if source_confidence is None else source_confidence}


def expected_rows(
    calls: Iterable[tuple[Shares, int]], row_of: Callable[[int], Line | None]
) -> dict[Line | None, Expected]:
    """What to expect of each row; None is the row of nobody we know.

    Args:
        calls: the shares of each first call, and how many calls follow them: itself and its repeats, which have its source.
        row_of: the row of a source.
    """
    rows: dict[Line | None, Expected] = defaultdict(Expected)
    for shares, times in calls:
        by_row: dict[Line | None, float] = {}
        for key, share in shares.items():
            row = row_of(key)
            by_row[row] = by_row.get(row, 0.0) + share
        total = sum(by_row.values())
        if total < 1:
            by_row[None] = by_row.get(None, 0.0) + 1 - total
        for row, share in by_row.items():
            probability = (
                share if total <= 1 else share / total
            )  # shares are rounded, so they may come to a little more than 1
            expected = rows[row]
            expected.mean += times * probability
            expected.variance += times * times * probability * (1 - probability)
    return dict(rows)


class PeriodCalls:
    """The calls of a period, for what is to be expected of them. Two statements: the calls, and the first calls before the period that some
    of them follow."""

    def __init__(self, session: Session, project_id: int, query: SourceQuery) -> None:
        self.shares: dict[int, Shares] = {}
        """Of each call that decided for itself, by its id; of each other call that some of the period follow, as well."""
        self.visits: dict[int, int] = {}
        """A visit of each source that is a candidate's."""
        self.moments: list[datetime] = []
        """When each call began."""
        # the call whose source a repeat call has, as its decision says: rule 1 is asked first
        credited_call = func.coalesce(
            *(Call.decision["steps", 0, name].as_string() for name in ("first_call_id", "earlier_call_id"))
        )
        statement = select(
            Call.id,
            Call.started_at,
            Call.rule,
            Call.source_key,
            Call.source_confidence,
            case((Call.rule.in_(("lease", "none")), Call.shares)).label("shares"),
            case((Call.rule == "repeat", credited_call)).label("first"),
        ).where(*_of(project_id, query), *within(query.period.since, query.period.until))
        earlier, follow, fallback = dict[int, int](), Counter[int](), dict[int, Shares]()
        for row in session.execute(statement.execution_options(yield_per=AT_ONCE)):
            self.moments.append(row.started_at)
            follow[row.id] = 1
            if row.rule != "repeat":
                self._take(row)
                continue
            fallback[row.id] = own_share(row.source_key, row.source_confidence)
            if row.first:
                earlier[row.id] = int(row.first)
        for call_id in earlier:  # repeat calls count where the call that they follow is, at the end of the chain
            first, seen = call_id, {call_id}
            while first in earlier and earlier[first] not in seen:
                first = earlier[first]
                seen.add(first)
            follow[call_id] -= 1
            follow[first] += 1
            fallback.setdefault(first, fallback[call_id])
        self.follow = +follow
        """How many calls of the period follow a call: itself, and the repeat calls that have its source."""
        if before := [call_id for call_id in self.follow if call_id not in self.shares]:
            first_calls = select(Call.id, Call.rule, Call.source_key, Call.source_confidence, Call.shares).where(
                Call.project_id == project_id, Call.id.in_(written_out(before)), Call.rule != "repeat"
            )
            for row in session.execute(first_calls.execution_options(yield_per=AT_ONCE)):
                self._take(row)
        self.shares = fallback | self.shares

    def _take(self, call: Row[Any]) -> None:
        """What a call that decided for itself says."""
        self.shares[call.id] = shares_of(call.rule, call.source_key, call.source_confidence, call.shares)
        for key, _, visit_id in call.shares or ():
            self.visits[key] = visit_id


def sources_of(session: Session, project_id: int, visit_ids: Iterable[int]) -> dict[int, Source]:
    """The sources of visits that still exist, by key."""
    ids = list(visit_ids)
    if not ids:
        return {}
    columns = (Visit.source_key, Visit.channel, Visit.source, Visit.medium, Visit.campaign)
    rows = session.execute(select(*columns).where(Visit.project_id == project_id, Visit.id.in_(written_out(ids))))
    return {row.source_key: source for row in rows if (source := source_of(row))}


@dataclass
class SourceRow:
    """One line of the report. `source` is None for calls of nobody we know."""

    source: Source | None
    figures: Figures = field(default_factory=Figures)
    expected: Expected = field(default_factory=Expected)
    others: int = 0
    """How many sources are in this row together; 0: the row is of one source."""

    @property
    def confidence(self) -> float | None:
        """The mean source confidence of its calls; calls of nobody we know have none."""
        return self.figures.confidence if self.source else None

    @property
    def is_seen(self) -> bool:
        """It has calls, or had some, or probably has."""
        return bool(self.figures.calls or self.figures.before or self.expected.mean >= 0.5)


class SourceReport:
    """`rows`: most calls first, the row of nobody we know last; their calls come to `calls`, and so do their expected values. At most five
    statements, however many calls there are."""

    def __init__(self, session: Session, project_id: int, query: SourceQuery) -> None:
        self.query = query
        credited_rows = credited(session, project_id, query)
        calls = PeriodCalls(session, project_id, query)
        by_calls = sorted(credited_rows, key=lambda row: row.calls)  # the spelling of most calls wins
        sources = {row.source_key: source for row in by_calls if (source := source_of(row))}
        unknown = [visit_id for key, visit_id in calls.visits.items() if key not in sources]
        sources = sources_of(session, project_id, unknown) | sources
        rows: dict[RowKey | None, SourceRow] = {None: SourceRow(None)}
        for credited_row in credited_rows:
            source = source_of(credited_row)
            rows.setdefault(row_key(query.group, source), SourceRow(source)).figures.add(credited_row)
        keys = {key: row_key(query.group, source) for key, source in sources.items()}
        names = {row_key(query.group, source): source for source in sources.values()}
        weighed = ((calls.shares[call_id], times) for call_id, times in calls.follow.items())
        for row, expected in expected_rows(weighed, keys.get).items():
            rows.setdefault(row, SourceRow(names.get(row))).expected = expected

        def order(row: SourceRow) -> tuple[bool, int, float, int, str]:
            source, figures = row.source, row.figures
            name = " ".join((source.source, source.medium, source.campaign)) if source else ""
            return source is None, -figures.calls, -row.expected.mean, -figures.before, name

        self.rows = sorted(rows.values(), key=order)
        self.calls = sum(row.figures.calls for row in self.rows)
        self.before = sum(row.figures.before for row in self.rows)
        here = [moment.astimezone(query.period.since.tzinfo) for moment in calls.moments]
        self.hours = Counter((moment.weekday(), moment.hour) for moment in here)
        """Calls by weekday (0 is Monday) and hour in the project's time zone."""


def row_key(group: str, source: Source | None) -> RowKey | None:
    """What the row of a source is told apart by; channels have fixed names, the rest is compared as marketing sources are."""
    if source is None:
        return None
    if group == "channel":
        return (source.channel,)
    return tuple(folded(getattr(source, name)) for name in GROUPS[group])


def shortened(rows: Sequence[SourceRow], most: int) -> list[SourceRow]:
    """For a page: sources that hardly anything came from, and those beyond `most`, are one row before the last."""
    *known, nobody = rows
    seen = [row for row in known if row.is_seen]
    shown, left = seen[:most], [*seen[most:], *(row for row in known if not row.is_seen)]
    if len(left) < 2:
        return list(rows)
    together = SourceRow(left[0].source, others=len(left))
    for row in left:
        together.figures.add(row.figures)
        together.expected += row.expected
    return [*shown, together, nobody]


def filter_of(row: SourceRow, query: SourceQuery) -> dict[str, Any]:
    """The arguments of the call list that shows exactly the credited calls of a row; a space asks for an empty part."""
    arguments = {"from": query.period.first.isoformat(), "to": query.period.last.isoformat(), "kind": EXTERNAL}
    if query.scenario:
        arguments["scenario"] = str(query.scenario)
    if row.source is None:
        return arguments | {"unattributed": "1"}
    return arguments | {name: getattr(row.source, name) or " " for name in GROUPS[query.group]}


class SourceFigures(BaseModel):
    """The calls of one source; parts that the rows are not told apart by are null, and all are for calls of nobody we know.

    `calls` are credited to it, and are the calls that `/calls` lists with the same filter and `kind=external`. `expected` is how many came
    from it if every call counts with its probabilities; the true number is within `expected_range` of it in about 19 of 20 cases.
    """

    unattributed: bool
    channel: str | None
    source: str | None
    medium: str | None
    campaign: str | None
    calls: int
    expected: float
    expected_range: int
    answered: int
    missed: int
    first_callers: int
    mean_confidence: float | None
    calls_before: int


def row_values(row: SourceRow, group: str) -> dict[str, Any]:
    """A row for programs; the PARTS that rows of the group are not told apart by are None, and all are for calls of nobody we know."""
    parts = ("channel", *GROUPS[group])  # source and medium make the channel
    return {name: getattr(row.source, name) if row.source and name in parts else None for name in PARTS} | {
        "unattributed": row.source is None,
        "calls": row.figures.calls,
        "expected": round(row.expected.mean, 4),
        "expected_range": row.expected.range,
        "answered": row.figures.answered,
        "missed": row.figures.missed,
        "first_callers": row.figures.first_callers,
        "mean_confidence": None if row.confidence is None else round(row.confidence, 4),
        "calls_before": row.figures.before,
    }
