"""One factory for each thing that the database holds: a plausible row, whose columns keyword arguments replace.

Factories write with the session's transaction and return the row, which has its id.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from router.accounts import members, tokens
from router.accounts.models import ApiToken, Person, Project
from router.accounts.passwords import hash_password
from router.attribution.pool.numbers import follow_numbers
from router.db import Base, start_visit_numbers
from router.scenarios.models import CallFlow, Scenario, TrackingNumber

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
COMPANY_LINE = "+14155550100"
PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_password(PASSWORD)

Row = TypeVar("Row", bound=Base)


def _add(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row


def make_project(session: Session, numbers: Sequence[str] = (), **fields: Any) -> Project:
    """A project with these free numbers. Its key follows from its name: `k-shop`, and `k-shop-2` for the second of that name."""
    name = fields.setdefault("name", "Shop")
    namesakes = session.query(Project).filter_by(name=name).count()
    defaults = {
        "key": "-".join(["k", *re.findall("[a-z0-9]+", name.lower()), *([f"{namesakes + 1}"] if namesakes else [])]),
        "site": ["shop.example"],
        "country": "US",
        "timezone": "America/New_York",
        "currency": "USD",
        "email": "owner@shop.example",
        "fallback_destination": "+14155550111",
        "created_at": NOON,
    }
    project = _add(session, Project(**(defaults | fields)))
    start_visit_numbers(session, project.id)
    for e164 in numbers:
        make_number(session, project, e164)
    return project


def make_person(session: Session, email: str = "", **fields: Any) -> Person:
    """Somebody whose password is PASSWORD."""
    email = email or f"{secrets.token_hex(4)}@example.com"
    fields.setdefault("name", email.partition("@")[0].capitalize())
    return members.create_person(session, email, PASSWORD_HASH, NOON, **fields)


def make_member(session: Session, project: Project, person: Person, role: str = "owner") -> None:
    members.set_role(session, project.id, person.id, role)


def make_token(
    session: Session, project: Project | None = None, role: str = "owner", name: str = "test"
) -> tuple[ApiToken, str]:
    """A new API token and its text; without a project an operator's."""
    return tokens.create_token(session, name, NOON, project.id if project else None, role)


def make_scenario(
    session: Session,
    project: Project,
    numbers: int | Sequence[str] = 3,
    *,
    destinations: Sequence[str] = (COMPANY_LINE,),
    ring_seconds: int = 20,
    static: dict[str, Any] | None = None,
    **fields: Any,
) -> Scenario:
    """A scenario with dynamic numbers (a count, or these), or static ones when `static` gives their source."""
    defaults = {"title": "Main line", "enabled": True, "tagging": {}, "created_at": NOON, "hold_seconds": 150}
    scenario = _add(session, Scenario(project_id=project.id, **(defaults | fields)))
    document = {"destinations": [{"to": to, "ring_seconds": ring_seconds} for to in destinations]}
    flow = _add(session, CallFlow(scenario_id=scenario.id, number=1, document=document, created_at=NOON))
    scenario.call_flow_id = flow.id
    if isinstance(numbers, int):
        numbers = [f"+1212555{scenario.id % 10}{index:03d}" for index in range(numbers)]
    for e164 in numbers:
        make_number(session, project, e164, scenario, static)
    return scenario


def make_number(
    session: Session,
    project: Project,
    e164: str,
    scenario: Scenario | None = None,
    static: dict[str, Any] | None = None,
    **fields: Any,
) -> TrackingNumber:
    """A number that is owned elsewhere: free, dynamic in a scenario, or static when `static` gives its source."""
    defaults = {"scenario_id": scenario.id if scenario else None, "static_source": static, "created_at": NOON}
    number = _add(session, TrackingNumber(project_id=project.id, e164=e164, **(defaults | fields)))
    follow_numbers(session, [number.id])
    return number
