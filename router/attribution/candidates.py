"""Reads the facts about those who may be calling: the visits that held a number before the call."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from router.attribution.confidence import Candidate, Weighed, weigh
from router.attribution.models import Lease, Visit, VisitSpan
from router.database import table_of
from router.statements import Statement

MOST_LEASES = 50
OLDEST = timedelta(days=30)
SOURCE_COLUMNS = ("channel", "source", "medium", "campaign", "term", "content")

_lease, _visit, _span = table_of(Lease).c, table_of(Visit).c, table_of(VisitSpan).c
_LEASES = Statement(
    lambda _: (
        select(
            *(_visit[name] for name in ("id", "number", "source_key", "span_started_at", "last_sign_at")),
            _lease.started_at,
            _visit.visitor,
            *(_visit[name] for name in SOURCE_COLUMNS),
        )
        .join_from(table_of(Lease), table_of(Visit), _visit.id == _lease.visit_id)
        .where(
            _lease.number_id == bindparam("number"),
            _lease.started_at <= bindparam("at"),
            _lease.started_at > bindparam("oldest"),
        )
        .order_by(_lease.started_at.desc())
        .limit(MOST_LEASES)
    )
)
_SPANS = (
    select(_span.visit_id, _span.last_at)
    .where(_span.visit_id.in_(bindparam("visits", expanding=True)), _span.started_at <= bindparam("at"))
    .order_by(_span.started_at)
)

Sources = Mapping[int, Mapping[str, Any]]


def weighed_candidates(
    session: Session, number_id: int, hold: timedelta, at: datetime
) -> tuple[list[Weighed], Sources]:
    """The candidates of a call at a moment, most probable first, and the marketing source of the most probable one's visit.

    One index range of leases; the signs of life are taken as they stood at that moment, however late it is now.
    """
    rows = _LEASES.all(session, {"number": number_id, "at": at, "oldest": at - OLDEST})
    newest = {row[0]: row for row in reversed(rows)}
    earlier = _last_signs(session, [visit_id for visit_id, row in newest.items() if row[3] > at], at)
    candidates = [
        Candidate(visit_id, number, source_key, leased_at, earlier.get(visit_id) or last_sign_at, visitor)
        for visit_id, number, source_key, _, last_sign_at, leased_at, visitor, *_ in newest.values()
    ]
    weighed = weigh(candidates, hold, at)
    best = [one.candidate.visit_id for one in weighed[:1]]
    return weighed, {visit_id: dict(zip(SOURCE_COLUMNS, newest[visit_id][7:], strict=True)) for visit_id in best}


def _last_signs(session: Session, visit_ids: list[int], at: datetime) -> dict[int, datetime]:
    """The last sign of life of the newest span that had begun at a moment, for visits whose present span began later."""
    if not visit_ids:
        return {}
    rows = session.execute(_SPANS, {"visits": visit_ids, "at": at})
    return {visit_id: last_at for visit_id, last_at in rows}  # noqa: C416 - the later row of a visit wins, and mypy knows the types
