"""A visit as programs see it: where it came from, when its page was open, which numbers it was shown, and its calls."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Visit, VisitSpan
from router.integrations.document import full_call_documents
from router.scenarios.models import TrackingNumber
from router.voice.models import Call
from router.web import Problem, iso

MOST_ROWS = 200


def find_visit(session: Session, project_id: int, number: int) -> Visit:
    """
    Raises:
        Problem: 404 when the project has no visit of this number.
    """
    wanted = select(Visit).where(Visit.project_id == project_id, Visit.number == number)
    visit = session.scalars(wanted).one_or_none()
    if visit is None:
        raise Problem(404, "There is no such visit.")
    return visit


def visit_document(session: Session, visit: Visit) -> dict[str, Any]:
    """`source_at` is before `started_at` when it came back directly and keeps its last known source; `limited`: without consent to a
    cookie and click ids."""
    calls = select(Call).where(Call.visit_id == visit.id).order_by(Call.id.desc()).limit(MOST_ROWS)
    return {
        "visit": visit.number,
        "visitor": visit.visitor,
        "started_at": iso(visit.started_at),
        "last_sign_at": iso(visit.last_sign_at),
        "landing_page": visit.page,
        "referrer": visit.referrer or None,
        "source": source_of(visit),
        "source_at": iso(visit.source_at or visit.started_at),
        "click_ids": visit.click_ids,
        "ga": visit.ga,
        "params": visit.params,
        "limited": visit.limited,
        "spans": _spans(session, visit),
        "numbers": _numbers(session, visit),
        "calls": full_call_documents(session, session.scalars(calls)),
    }


def source_of(visit: Visit) -> dict[str, str]:
    return {name: getattr(visit, name) for name in ("channel", "source", "medium", "campaign", "term", "content")}


def _spans(session: Session, visit: Visit) -> list[dict[str, Any]]:
    """When its page was open, oldest first; `left`: it ended with the page being left."""
    earlier = select(VisitSpan).where(VisitSpan.visit_id == visit.id).order_by(VisitSpan.started_at.desc())
    spans = [(span.started_at, span.last_at, span.left) for span in session.scalars(earlier.limit(MOST_ROWS))]
    spans = [*reversed(spans), (visit.span_started_at, visit.last_sign_at, visit.left)]
    return [{"started_at": iso(start), "last_at": iso(last), "left": left} for start, last, left in spans]


def _numbers(session: Session, visit: Visit) -> list[dict[str, Any]]:
    """The numbers it was lent, oldest first; `scenario` is null for a free number of a project without scenarios. `shown_at`: when its page
    said that the number stands on it; `returned_at`: when it said that it stands nowhere; null in both: nothing was said, or
    only that the page was left too soon."""
    rows = session.execute(
        select(Lease, TrackingNumber.e164)
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(Lease.visit_id == visit.id)
        .order_by(Lease.id)
        .limit(MOST_ROWS)
    )
    return [
        {
            "e164": e164,
            "scenario": max(lease.scenario_id, 0) or None,
            "started_at": iso(lease.started_at),
            "shared": lease.shared,
            "shown_at": iso(lease.shown_at) if lease.shown_at else None,
            "returned_at": iso(lease.returned_at) if lease.returned_at else None,
        }
        for lease, e164 in rows
    ]
