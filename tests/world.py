"""Small worlds for tests: a project, its scenarios and numbers, written with the least that the rules need."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.pool.numbers import follow_numbers
from router.db import start_visit_numbers
from router.scenarios.models import CallFlow, Scenario, TrackingNumber

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
COMPANY_LINE = "+14155550100"


def make_project(session: Session, **values: Any) -> Project:
    given = {
        "key": "k-shop",
        "name": "Shop",
        "site": ["shop.example"],
        "country": "US",
        "timezone": "America/New_York",
        "currency": "USD",
        "email": "owner@shop.example",
        "fallback_destination": "+14155550111",
        "created_at": NOON,
    }
    project = Project(**given | values)
    session.add(project)
    session.flush()
    start_visit_numbers(session, project.id)
    return project


def make_scenario(
    session: Session,
    project: Project,
    numbers: int | Sequence[str] = 3,
    *,
    destinations: Sequence[str] = (COMPANY_LINE,),
    ring_seconds: int = 20,
    static: dict[str, Any] | None = None,
    **values: Any,
) -> Scenario:
    """A scenario with dynamic numbers (a count, or these), or static ones when `static` gives their source."""
    given = {"title": "Main line", "enabled": True, "tagging": {}, "created_at": NOON, "hold_seconds": 150}
    scenario = Scenario(project_id=project.id, **given | values)
    session.add(scenario)
    session.flush()
    document = {"destinations": [{"to": to, "ring_seconds": ring_seconds} for to in destinations]}
    flow = CallFlow(scenario_id=scenario.id, number=1, document=document, created_at=NOON)
    session.add(flow)
    session.flush()
    scenario.call_flow_id = flow.id
    e164s = [numbers_from(scenario.id, i) for i in range(numbers)] if isinstance(numbers, int) else numbers
    for e164 in e164s:
        make_number(session, project, e164, scenario, static)
    return scenario


def numbers_from(scenario_id: int, index: int) -> str:
    return f"+1212555{scenario_id % 10}{index:03d}"


def make_number(
    session: Session,
    project: Project,
    e164: str,
    scenario: Scenario | None = None,
    static: dict[str, Any] | None = None,
) -> TrackingNumber:
    number = TrackingNumber(
        project_id=project.id,
        e164=e164,
        scenario_id=scenario.id if scenario else None,
        static_source=static,
        created_at=NOON,
    )
    session.add(number)
    session.flush()
    follow_numbers(session, [number.id])
    return number
