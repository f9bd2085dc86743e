"""A scenario's own visits and calls as traffic to try pools with, read in a fixed number of statements.

Nobody told who called. The visit that the attribution named is taken for the caller's where it was more likely than not; else one of the
candidates is drawn by their probabilities, so that the doubt stays in. A call that nobody we know may have made is left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import CTE, func, select, union_all
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap, Unserved, Visit, VisitSpan
from router.attribution.planner import traffic
from router.attribution.planner.traffic import CallMade, Span, Stay, Traffic
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server

DAYS = timedelta(days=30)
LIKELY = 0.5
"""The caller is taken to be the named visit if that was at least as probable."""
PAST_CALLS = "past_calls"


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that the lease rule decided; `candidates`: visit ids with their probabilities."""

    at: datetime
    visit_id: int | None
    confidence: float
    candidates: Sequence[tuple[int, float]]


Calls = Callable[[Session, Scenario, datetime, datetime], Sequence[PastCall]]
"""(session, scenario, since, until) -> the calls of that time, oldest first."""


@dataclass(frozen=True)
class History:
    """What is known of the last 30 days."""

    traffic: Traffic
    first_at: datetime | None
    """When the first visit of it asked for a number."""
    cut: bool
    """There were more visits: these are the newest."""
    drawn: int
    """Of the calls: those whose caller was drawn."""
    left_out: int
    """Calls that no visit of it made."""


def add_past_calls(server: Server, calls: Calls) -> None:
    """The floor that knows calls tells those of a scenario."""
    server.registries[PAST_CALLS] = calls


def read_history(session: Session, server: Server, scenario: Scenario, now: datetime, most_visits: int) -> History:
    """Four statements, however many visits and calls there were."""
    since = now - DAYS
    asked = _asked(scenario, since, now, most_visits)
    rows = session.execute(
        select(
            asked.c.visit_id,
            asked.c.at,
            *(Visit.visitor, Visit.source_key, Visit.span_started_at, Visit.last_sign_at, Visit.left),
        )
        .join(Visit, Visit.id == asked.c.visit_id)
        .order_by(asked.c.at, asked.c.visit_id)
    ).all()
    earlier = _earlier_spans(session, asked)
    stays = [_stay(row, earlier.get(row.visit_id, []), since) for row in rows]
    places = {row.visit_id: place for place, row in enumerate(rows)}
    first_at = rows[0].at if rows else None
    past: Calls | None = server.registries.get(PAST_CALLS)
    made = past(session, scenario, first_at, now) if past and first_at else []
    calls = list(_calls(made, places, Random(scenario.id), since))  # noqa: S311 - a draw, not a secret
    return History(
        traffic=Traffic(stays, calls, _taps(session, asked, places, since)),
        first_at=first_at,
        cut=len(rows) == most_visits,
        drawn=sum(one.confidence < LIKELY for one in made),
        left_out=len(made) - len(calls),
    )


def _asked(scenario: Scenario, since: datetime, now: datetime, most: int) -> CTE:
    """When each visit first asked for a dynamic number, whether it was lent one or not; by the index of leases on their numbers. Those
    that were given back were not needed."""
    lent = (
        select(Lease.visit_id, Lease.started_at.label("at"))
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(TrackingNumber.project_id == scenario.project_id, Lease.scenario_id == scenario.id)
        .where(Lease.started_at >= since, Lease.started_at <= now, Lease.returned_at.is_(None))
    )
    unserved = select(Unserved.visit_id, Unserved.at).where(
        Unserved.scenario_id == scenario.id, Unserved.at >= since, Unserved.at <= now
    )
    every = union_all(lent, unserved).subquery("every")
    first = func.min(every.c.at).label("at")
    newest = select(every.c.visit_id, first).group_by(every.c.visit_id).order_by(first.desc(), every.c.visit_id.desc())
    return newest.limit(most).cte("asked")


def _earlier_spans(session: Session, asked: CTE) -> dict[int, list[Any]]:
    spans = (
        select(VisitSpan.visit_id, VisitSpan.started_at, VisitSpan.last_at, VisitSpan.left)
        .join(asked, asked.c.visit_id == VisitSpan.visit_id)
        .where(VisitSpan.last_at >= asked.c.at)
        .order_by(VisitSpan.visit_id, VisitSpan.started_at)
    )
    found: dict[int, list[Any]] = {}
    for visit_id, started_at, last_at, left in session.execute(spans):
        found.setdefault(visit_id, []).append((started_at, last_at, left))
    return found


def _stay(row: Any, earlier: Iterable[tuple[datetime, datetime, bool]], since: datetime) -> Stay:
    """Its spans of signs of life, from when it asked for a number."""
    spans = [*earlier, (row.span_started_at, max(row.last_sign_at, row.at), row.left)]
    cut = (Span(_seconds(max(begin, row.at), since), _seconds(last, since), left) for begin, last, left in spans)
    return Stay(row.visitor, row.source_key, tuple(cut))


def _taps(session: Session, asked: CTE, places: Mapping[int, int], since: datetime) -> list[traffic.Tap]:
    taps = (
        select(Tap.visit_id, Tap.at)
        .join(asked, asked.c.visit_id == Tap.visit_id)
        .where(Tap.at >= asked.c.at)
        .order_by(Tap.at, Tap.id)
    )
    return [traffic.Tap(_seconds(at, since), places[visit_id]) for visit_id, at in session.execute(taps)]


def _calls(made: Iterable[PastCall], places: Mapping[int, int], random: Random, since: datetime) -> Iterable[CallMade]:
    for call in made:
        place = places.get(caller_of(call, random) or 0)
        if place is not None:
            yield CallMade(_seconds(call.at, since), place)


def caller_of(call: PastCall, random: Random) -> int | None:
    """The visit that is taken for the caller's; None: nobody's that we know."""
    if call.confidence >= LIKELY:
        return call.visit_id
    drawn = random.random()
    for visit_id, probability in call.candidates:
        drawn -= probability
        if drawn < 0:
            return visit_id
    return None


def _seconds(moment: datetime, since: datetime) -> float:
    return (moment - since).total_seconds()
