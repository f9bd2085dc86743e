"""Reads what the report by source is made of: columns, not objects, in as many statements for 50,000 calls as for one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from router.attribution.models import Visit
from router.reports.calls import within, written_out
from router.reports.expected import Shares, own_share, shares_of
from router.reports.overview import LOST
from router.reports.periods import Period
from router.voice.models import EXTERNAL, Call

AT_ONCE = 100
"""Rows that are in memory together. Few: what a call is read from is forgotten before the garbage collector walks over it."""


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A marketing source as somebody wrote it; in the report, equal ones are one."""

    channel: str
    source: str
    medium: str
    campaign: str


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

    def add(self, other: "Figures") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Credited = tuple[int | None, KnownSource | None, Figures]
"""A source's key, the source, its figures; both are None for calls without one."""


def credited(session: Session, project_id: int, period: Period, scenario: int | None) -> list[Credited]:
    """The figures of every source that calls of the period or of the one before are credited to. One statement."""
    now = and_(*within(period.since, period.until))
    before = and_(*within(period.before_since, period.before_until))
    parts = [Call.source[name].as_string() for name in ("channel", "source", "medium", "campaign")]
    rows = (
        select(
            Call.source_key,
            parts[0],
            *(func.min(part) for part in parts[1:]),
            _count(now),
            _count(before),
            _count(and_(now, Call.status == "answered")),
            _count(and_(now, Call.status.in_(LOST))),
            _count(and_(now, Call.first_call)),
            func.coalesce(func.sum(case((now, Call.source_confidence))), 0.0),
            _count(and_(now, Call.source_confidence.is_not(None))),
        )
        .where(*_of(project_id, scenario), *within(period.before_since, period.until))
        .group_by(Call.source_key, parts[0])
    )
    return [
        (key, KnownSource(*(part or "" for part in source)) if key is not None else None, Figures(*figures))
        for key, *source, calls, was, answered, missed, first, sure, sure_calls in session.execute(rows)
        for figures in [(calls, was, answered, missed, first, sure, sure_calls)]
        if calls or was
    ]


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _of(project_id: int, scenario: int | None) -> list[ColumnElement[bool]]:
    here = [Call.project_id == project_id, Call.kind == EXTERNAL]
    return [*here, Call.scenario_id == scenario] if scenario else here


@dataclass(slots=True)
class PeriodCalls:
    """The calls of a period, for what is to be expected of them."""

    shares: dict[int, Shares] = field(default_factory=dict)
    """Of each call that decided for itself, by its id; of each other call that some of the period follow, as well."""
    follow: dict[int, int] = field(default_factory=dict)
    """How many calls of the period follow a call: itself, and the repeat calls that have its source."""
    visits: dict[int, int] = field(default_factory=dict)
    """A visit of each source that is a candidate's."""
    moments: list[datetime] = field(default_factory=list)
    """When each call began."""

    def weighed(self) -> Iterator[tuple[Shares, int]]:
        for call_id, times in self.follow.items():
            yield self.shares[call_id], times

    def take(self, call_id: int, rule: str, source_key: int | None, sure: float | None, shares: Any) -> None:
        """What a call that decided for itself says."""
        self.shares[call_id] = shares_of(rule, source_key, sure, shares)
        for key, _, visit_id in shares or ():
            self.visits[key] = visit_id


def calls_of_period(session: Session, project_id: int, period: Period, scenario: int | None) -> PeriodCalls:
    """Two statements: the calls, and the first calls before the period that some of them follow."""
    wanted = select(
        Call.id,
        Call.started_at,
        Call.rule,
        Call.source_key,
        Call.source_confidence,
        case((Call.rule.in_(("lease", "none")), Call.shares)),
        case((Call.rule == "repeat", _credited_call())),
    ).where(*_of(project_id, scenario), *within(period.since, period.until))
    found, earlier, follow = PeriodCalls(), {}, Counter[int]()
    fallback: dict[int, Shares] = {}
    for call_id, at, rule, key, sure, shares, first in session.execute(wanted.execution_options(yield_per=AT_ONCE)):
        found.moments.append(at)
        follow[call_id] = 1
        if rule != "repeat":
            found.take(call_id, rule, key, sure, shares)
            continue
        fallback[call_id] = own_share(key, sure)
        if first:
            earlier[call_id] = int(first)
    _gather(follow, earlier, fallback)
    found.follow = +follow
    _read_first_calls(session, project_id, found, [one for one in found.follow if one not in found.shares])
    found.shares = fallback | found.shares
    return found


def _credited_call() -> ColumnElement[str]:
    """The call whose source a repeat call has, as its decision says: rule 1 is asked first."""
    named = (Call.decision["steps", 0, f"{which}_call_id"].as_string() for which in ("first", "earlier"))
    return func.coalesce(*named)


def _gather(follow: Counter[int], earlier: Mapping[int, int], fallback: dict[int, Shares]) -> None:
    """Counts repeat calls where the calls that they follow are, at the end of the chain."""
    for call_id in earlier:
        first, seen = call_id, {call_id}
        while first in earlier and earlier[first] not in seen:
            first = earlier[first]
            seen.add(first)
        follow[call_id] -= 1
        follow[first] += 1
        fallback.setdefault(first, fallback[call_id])


def _read_first_calls(session: Session, project_id: int, found: PeriodCalls, ids: list[int]) -> None:
    """Those that are not in the period themselves."""
    if not ids:
        return
    wanted = select(Call.id, Call.rule, Call.source_key, Call.source_confidence, Call.shares).where(
        Call.project_id == project_id, Call.id.in_(written_out(ids)), Call.rule != "repeat"
    )
    for row in session.execute(wanted.execution_options(yield_per=AT_ONCE)):
        found.take(*row)


def sources_of(session: Session, project_id: int, visit_ids: Iterable[int]) -> dict[int, KnownSource]:
    """The sources of visits, by key; of visits that are no more, nothing."""
    ids = list(visit_ids)
    if not ids:
        return {}
    columns = (Visit.source_key, Visit.channel, Visit.source, Visit.medium, Visit.campaign)
    found = session.execute(select(*columns).where(Visit.project_id == project_id, Visit.id.in_(written_out(ids))))
    return {key: KnownSource(*parts) for key, *parts in found}
