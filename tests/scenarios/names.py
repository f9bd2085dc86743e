"""What the tests of scenarios call by name: who changes them, a line, a few numbers; and a look at a number or a balance."""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.accounts.models import LedgerEntry, Project
from router.scenarios.models import TrackingNumber

ALICE = Actor("alice@example.com", roles={})
LINE = "+14155550111"
FIRST, SECOND, THIRD = "+14155550121", "+14155550122", "+14155550123"
WEEK, DAY = timedelta(days=7), timedelta(days=1)


def number(session: Session, e164: str) -> TrackingNumber:
    return session.query(TrackingNumber).filter_by(e164=e164).populate_existing().one()


def balance_of(session: Session, project: Project) -> int:
    """The balance, after a look that it is the ledger's sum (R4)."""
    summed = select(func.coalesce(func.sum(LedgerEntry.amount_minor), 0)).where(LedgerEntry.project_id == project.id)
    balance = session.scalar(select(Project.balance_minor).where(Project.id == project.id)) or 0
    assert session.scalar(summed) == balance
    return balance
