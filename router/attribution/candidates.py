"""Reads the facts about those who may be calling: the visits that held a number before the call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, bindparam, func, or_, select
from sqlalchemy.orm import Session

from router.attribution.confidence import LATE_TAP_BEFORE, Candidate, Weighed, weigh
from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.database import table_of
from router.settings import Settings
from router.statements import Statement

SOURCE_COLUMNS = ("channel", "source", "medium", "campaign", "term", "content")

_lease, _visit, _span, _tap = table_of(Lease).c, table_of(Visit).c, table_of(VisitSpan).c, table_of(Tap).c
_TAPPED = (
    select(_tap.visit_id, func.max(_tap.at).label("tapped_at"))
    .where(_tap.number_id == bindparam("number"), _tap.at <= bindparam("at"), _tap.at >= bindparam("tapped_since"))
    .group_by(_tap.visit_id)
    .subquery("tapped")
)
_LEASES = Statement(
    lambda _: (
        select(
            *(_visit[name] for name in ("id", "number", "source_key", "span_started_at", "last_sign_at", "left")),
            _lease.started_at,
            _TAPPED.c.tapped_at,
            _visit.visitor,
            *(_visit[name] for name in SOURCE_COLUMNS),
        )
        .join_from(table_of(Lease), table_of(Visit), _visit.id == _lease.visit_id)
        .outerjoin(_TAPPED, _TAPPED.c.visit_id == _lease.visit_id)
        .where(
            _lease.number_id == bindparam("number"),
            _lease.started_at <= bindparam("at"),
            _lease.started_at > bindparam("oldest"),
            or_(_lease.returned_at.is_(None), _lease.returned_at > bindparam("at")),
        )
        .order_by(_lease.started_at.desc(), _lease.turn.desc())
        .limit(bindparam("most", type_=Integer))
    )
)
_SPANS = (
    select(_span.visit_id, _span.last_at, _span.left)
    .where(_span.visit_id.in_(bindparam("visits", expanding=True)), _span.started_at <= bindparam("at"))
    .order_by(_span.started_at)
)

Sources = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reach:
    """Which leases of a number are candidates of a call (R7): so many of the last ones, and none that is as old as `age`."""

    leases: int = 50
    age: timedelta = timedelta(days=30)

    def kept(self) -> dict[str, int]:
        """As it is kept with a decision."""
        return {"candidate_leases": self.leases, "candidate_days": self.age.days}


USUAL_REACH = Reach()


def reach_of(settings: Settings) -> Reach:
    """What the operator has set."""
    return Reach(settings.candidate_leases, timedelta(days=settings.candidate_days))


def reach_then(decision: Mapping[str, Any]) -> Reach:
    """What held when a call came, by its decision; the usual one where nothing was kept."""
    given = decision.get("given") or {}
    if "candidate_leases" not in given:
        return USUAL_REACH
    return Reach(given["candidate_leases"], timedelta(days=given["candidate_days"]))


def weighed_candidates(
    session: Session, number_id: int, hold: timedelta, at: datetime, reach: Reach = USUAL_REACH
) -> tuple[list[Weighed], Sources]:
    """The candidates of a call at a moment, most probable first, and the marketing source of the most probable one's visit.

    One index range of leases; the signs of life are taken as they stood at that moment, however late it is now. A lease that had been given
    back by then is none of them: its number never stood on the page.
    """
    values = {"number": number_id, "at": at, "oldest": at - reach.age, "tapped_since": at - LATE_TAP_BEFORE}
    values["most"] = reach.leases
    rows = _LEASES.all(session, values)
    newest = {row[0]: row for row in reversed(rows)}
    earlier = _last_signs(session, [visit_id for visit_id, row in newest.items() if row[3] > at], at)
    candidates = [_candidate(row, earlier.get(row[0])) for row in newest.values()]
    weighed = weigh(candidates, hold, at, earlier=len(rows) == reach.leases)
    best = [one.candidate.visit_id for one in weighed[:1]]
    return weighed, {visit_id: dict(zip(SOURCE_COLUMNS, newest[visit_id][9:], strict=True)) for visit_id in best}


LastSign = tuple[datetime, bool]
"""When it was, and whether it said that the page was being left."""


def _candidate(row: tuple[Any, ...], earlier: LastSign | None) -> Candidate:
    visit_id, number, source_key, _, last_sign_at, left, leased_at, tapped_at, visitor = row[:9]
    last_sign_at, left = earlier or (last_sign_at, left)
    return Candidate(visit_id, number, source_key, leased_at, last_sign_at, visitor, left, tapped_at)


def _last_signs(session: Session, visit_ids: list[int], at: datetime) -> dict[int, LastSign]:
    """The end of the newest span that had begun at a moment, for visits whose present span began later."""
    if not visit_ids:
        return {}
    rows = session.execute(_SPANS, {"visits": visit_ids, "at": at})
    return {visit_id: (last_at, left) for visit_id, last_at, left in rows}
