"""What the tests of buying numbers begin with: numbers, orders, and the worker at a moment."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Project
from router.scenarios.models import NumberOrder
from router.scenarios.numbers.purchase import advance_due, order_numbers
from router.server import Server
from tests.factories import NOON
from tests.scenarios.names import ALICE

ONE, TWO, THREE, FOUR = (f"+1212555019{digit}" for digit in range(4))
PRICE = 150
LIKE_THESE = {"country": "US", "area_code": "212", "contains": ""}


def order(server: Server, project: Project, *e164s: str, **more: Any) -> int:
    with server.database.writing() as session:
        return order_numbers(Change(session, server, project, ALICE, more.pop("now", NOON)), e164s, **more).id


def balance(session: Session) -> int:
    return session.scalars(select(Project.balance_minor).order_by(Project.id)).first() or 0


def left(server: Server) -> int:
    with server.database.reading() as session:
        return balance(session)


def state_of(server: Server, e164: str) -> str:
    with server.database.reading() as session:
        return (
            session.scalars(
                select(NumberOrder.state).where(NumberOrder.e164 == e164).order_by(NumberOrder.id.desc())
            ).first()
            or ""
        )


def go(server: Server, seconds: float) -> None:
    """The worker at that moment."""
    while advance_due(server, NOON + timedelta(seconds=seconds)):
        pass
