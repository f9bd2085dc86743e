"""A scenario with a past: visits that were lent numbers, and calls that the lease rule decided."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Visit
from router.scenarios.models import Scenario, TrackingNumber
from router.voice.models import Call
from tests.factories import NOON

BEGAN = NOON - timedelta(days=2)


def number_ids(session: Session, scenario: Scenario) -> list[int]:
    found = select(TrackingNumber.id).where(TrackingNumber.scenario_id == scenario.id)
    return list(session.scalars(found.order_by(TrackingNumber.id)))


def make_visit(session: Session, scenario: Scenario, at: datetime, lasts: float = 60, **values: Any) -> Visit:
    """A visit of a visitor of its own that was lent the scenario's first number, unless `number_id` says otherwise (0: none)."""
    number = 10001 + (session.query(Visit).count())
    empty = dict.fromkeys(("page", "referrer", "channel", "source", "medium", "campaign", "term", "content"), "")
    given: dict[str, Any] = {"visitor": f"v{number}", "source_key": 7, "click_ids": {}, "ga": {}, "address": ""}
    given |= {"span_started_at": at, "last_sign_at": at + timedelta(seconds=lasts)}
    number_id = values.pop("number_id", None)
    visit = Visit(project_id=scenario.project_id, number=number, started_at=at, **(empty | given | values))
    session.add(visit)
    session.flush()
    if number_id != 0:
        lend(session, scenario, visit, at, number_id)
    return visit


def lend(session: Session, scenario: Scenario, visit: Visit, at: datetime, number_id: int | None = None) -> None:
    chosen = number_id or number_ids(session, scenario)[0]
    session.add(Lease(scenario_id=scenario.id, number_id=chosen, visit_id=visit.id, turn=visit.id, started_at=at))
    session.flush()


def call_row(
    scenario: Scenario, at: datetime, candidates: Sequence[tuple[int, float]], **values: Any
) -> dict[str, Any]:
    best = candidates[0] if candidates else (None, None)
    given = {
        "sid": f"CA{at.timestamp()}",
        "project_id": scenario.project_id,
        "number_id": 1,
        "number": "+12125551000",
        "scenario_id": scenario.id,
        "scenario_enabled": True,
        "flow": {},
        "caller": "+442079460123",
        "caller_raw": "",
        "started_at": at,
        "last_event_at": at,
        "status": "answered",
        "first_call": True,
        "rule": "lease" if candidates else "none",
        "visit_id": best[0],
        "confidence": best[1],
        "candidates": [{"visit_id": visit_id, "probability": share} for visit_id, share in candidates],
        "decision": {},
    }
    return given | values


def make_call(
    session: Session, scenario: Scenario, at: datetime, *candidates: tuple[int, float], **values: Any
) -> None:
    session.execute(insert(Call), [call_row(scenario, at, candidates, **values)])


def make_busy_past(session: Session, scenario: Scenario, visits: int = 120, calls: int = 30) -> None:
    """A visit every ten seconds from three sources in turn, up to two days ago; every fourth or so called within its stay."""
    for index in range(visits):
        at = BEGAN + timedelta(seconds=10 * index)
        visit = make_visit(session, scenario, at, 90, source_key=index % 3)
        if index % max(1, visits // calls) == 0:
            make_call(session, scenario, at + timedelta(seconds=70), (visit.id, 0.8))
