"""What the tests of scenarios begin with: a project with a few numbers, and somebody who may change it."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.models import Project
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers import add_numbers

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALICE = Actor("alice@example.com", roles={})
LINE = "+14155550111"
FIRST, SECOND, THIRD = "+14155550121", "+14155550122", "+14155550123"


def make_project(session: Session, name: str = "Alpine Bikes", numbers: tuple[str, ...] = ()) -> Project:
    project = Project(
        key=f"key-{name}"[:32],
        name=name,
        site=["bikes.example.com"],
        country="US",
        timezone="Europe/Berlin",
        currency="EUR",
        email="alice@example.com",
        fallback_destination="+14155550100",
        created_at=NOON,
    )
    session.add(project)
    session.flush()
    add_numbers(session, project, ALICE, numbers, NOON)
    return project


def number(session: Session, e164: str) -> TrackingNumber:
    return session.query(TrackingNumber).filter_by(e164=e164).populate_existing().one()
