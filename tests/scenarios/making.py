"""What the tests of scenarios begin with: a project with a few numbers, and somebody who may change it."""

from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.accounts.models import Project
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from tests import people

NOON = people.NOW
ALICE = Actor("alice@example.com", roles={})
LINE = "+14155550111"
FIRST, SECOND, THIRD = "+14155550121", "+14155550122", "+14155550123"


def make_project(session: Session, name: str = "Alpine Bikes", numbers: tuple[str, ...] = ()) -> Project:
    project = people.create_project(session, name=name)
    add_numbers(session, project, ALICE, numbers, NOON)
    return project


def number(session: Session, e164: str) -> TrackingNumber:
    return session.query(TrackingNumber).filter_by(e164=e164).populate_existing().one()
