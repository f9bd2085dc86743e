"""Rented numbers and money for tests of renewal, grace and release."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.ledger import Post, post
from router.accounts.models import LedgerEntry, Project
from router.scenarios.models import TrackingNumber
from tests.factories import NOON
from tests.scenarios.shop import FakeShop

WEEK = timedelta(days=7)
DAY = timedelta(days=1)


def rent(
    session: Session, project: Project, e164: str, paid_until: datetime, shop: FakeShop | None = None, **values: Any
) -> TrackingNumber:
    """A number that was bought for the 7 days that end at `paid_until`."""
    sid = shop.buy(e164, "ct:0").sid if shop else f"PN{e164[1:]}"
    bought = paid_until - WEEK
    number = TrackingNumber(
        project_id=project.id, e164=e164, owned_elsewhere=False, carrier_sid=sid, bought_at=bought, paid_until=paid_until,
        created_at=bought, **values,
    )  # fmt: skip
    session.add(number)
    session.flush()
    return number


def top_up(session: Session, project: Project, amount: int, reason: str = "top-up:1") -> None:
    post(session, project.id, Post(amount, reason, "olivia"), NOON)


def balance_of(session: Session, project: Project) -> int:
    """The balance, after a look that it is the ledger's sum (R4)."""
    summed = select(func.coalesce(func.sum(LedgerEntry.amount_minor), 0)).where(LedgerEntry.project_id == project.id)
    balance = session.scalar(select(Project.balance_minor).where(Project.id == project.id)) or 0
    assert session.scalar(summed) == balance
    return balance
