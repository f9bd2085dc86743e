"""What the tests of scenarios name: somebody who changes them, a line and a few numbers."""

from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.scenarios.models import TrackingNumber

ALICE = Actor("alice@example.com", roles={})
LINE = "+14155550111"
FIRST, SECOND, THIRD = "+14155550121", "+14155550122", "+14155550123"


def number(session: Session, e164: str) -> TrackingNumber:
    return session.query(TrackingNumber).filter_by(e164=e164).populate_existing().one()
