"""Counts the visits and calls of one day (R8), from the facts as they are now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from router.attribution.models import Lease, Unserved, Visit
from router.reports.accuracy import Figures
from router.voice.models import EXTERNAL, Call

Span = tuple[datetime, datetime]


def count_day(
    session: Session, project_id: int, holds: Mapping[int, timedelta], day: Span, now: datetime
) -> dict[int, Figures]:
    """The figures of each scenario that had visits or calls then. A visit belongs to the day of its start and counts once its hold is over;
    one statement for each different hold, and one for the calls."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for hold in sorted(set(holds.values())):
        scenarios = [one for one, its in holds.items() if its == hold]
        rows = session.execute(_visits(project_id, scenarios, day, now - hold))
        for scenario_id, visits, shared, mixed, overflowed, kept in rows:
            found[scenario_id] |= {
                "visits": visits, "shared": shared, "mixed": mixed, "overflowed": overflowed, "kept": kept
            }  # fmt: skip
    for scenario, calls, sure, confidence_sum in session.execute(_calls(project_id, list(holds), day)):
        found[scenario or 0] |= {
            "calls": calls, "sure_calls": sure, "confidence_sum": round(confidence_sum or 0.0, 4)
        }  # fmt: skip
    return {scenario_id: Figures(**values) for scenario_id, values in found.items()}


def _visits(project_id: int, scenarios: Sequence[int], day: Span, over_before: datetime) -> Select[Any]:
    """Scenario, visits, shared, mixed, overflowed, kept. A visit that was lent several numbers shared if one of them was shared; one that
    was refused a number at any time counts as that. A number that its page never showed does not count."""
    begun = and_(Visit.project_id == project_id, Visit.started_at >= day[0], Visit.started_at < day[1])
    over = and_(begun, Visit.last_sign_at < over_before)
    lent = (
        select(Lease.scenario_id, Lease.visit_id, _one_if(Lease.shared).label("shared"))
        .add_columns(_one_if(Lease.mixed).label("mixed"), literal("").label("outcome"))
        .join(Visit, Visit.id == Lease.visit_id)
        .where(over, Lease.scenario_id.in_(scenarios), Lease.returned_at.is_(None))
        .where(or_(Lease.unplaced_at.is_(None), Lease.shown_at.is_not(None)))
    )
    refused = (
        select(Unserved.scenario_id, Unserved.visit_id, literal(0), literal(0), Unserved.outcome)
        .join(Visit, Visit.id == Unserved.visit_id)
        .where(over, Unserved.scenario_id.in_(scenarios))
    )
    asked = union_all(lent, refused).subquery("asked")
    each = (
        select(asked.c.scenario_id, func.max(asked.c.shared).label("shared"), func.max(asked.c.mixed).label("mixed"))
        .add_columns(func.max(asked.c.outcome).label("outcome"))
        .group_by(asked.c.scenario_id, asked.c.visit_id)
        .subquery("each")
    )
    served = each.c.outcome == ""
    return select(
        each.c.scenario_id,
        func.count(),
        func.sum(_one_if(served & (each.c.shared == 1))),
        func.sum(_one_if(served & (each.c.mixed == 1))),
        func.sum(_one_if(each.c.outcome == "overflow")),
        func.sum(_one_if(each.c.outcome == "keep")),
    ).group_by(each.c.scenario_id)


def _one_if(condition: ColumnElement[bool] | InstrumentedAttribute[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _calls(project_id: int, scenarios: Sequence[int], day: Span) -> Select[int | None, int, int, float | None]:
    """Scenario, calls from outside, those that have a confidence, and the sum of these."""
    return (
        select(Call.scenario_id, func.count(), func.count(Call.confidence), func.sum(Call.confidence))
        .where(Call.project_id == project_id, Call.scenario_id.in_(scenarios), Call.kind == EXTERNAL)
        .where(Call.started_at >= day[0], Call.started_at < day[1])
        .group_by(Call.scenario_id)
    )
