"""Renewing rented numbers (R4): for 7 days from where the paid time ended, when it has ended and not before, also while their scenario
is disabled or their project suspended. What cannot be paid is left to `grace.py`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from router.accounts.ledger import RENEWED, Post, charge_all, lock_balance, price_of
from router.accounts.models import Project
from router.scenarios.models import TrackingNumber
from router.scenarios.renting.grace import keep_grace, unpaid
from router.scenarios.renting.paid_time import PAID_TIME, rent_reason
from router.server import Server

AT_ONCE = 200
"""Numbers of one transaction."""
ACTOR = "server"


def renew_due(server: Server, now: datetime) -> int:
    """Charges every number whose paid time has ended, week by week until it is paid again; returns how many weeks were charged.

    Then each project with numbers that its balance does not cover is written to, and what its grace leaves is given back.
    """
    with server.database.reading() as session:
        due = select(TrackingNumber.project_id).where(*unpaid(now)).distinct().order_by(TrackingNumber.project_id)
        projects = session.scalars(due).all()
    renewed = 0
    for project_id in projects:
        while weeks := renew_some(server, project_id, now):
            renewed += weeks
        keep_grace(server, project_id, now)
    return renewed


def renew_some(server: Server, project_id: int, now: datetime) -> int:
    """Charges the next week of those numbers of a project whose paid time ended first, as far as the balance goes."""
    with server.database.reading() as session:
        if not _affordable(session, server, project_id, session.get_one(Project, project_id).balance_minor):
            return 0
    with server.database.writing() as session:
        affordable = _affordable(session, server, project_id, lock_balance(session, project_id))
        numbers = _locked(session, project_id, affordable, now)
        price = price_of(server.settings, session.get_one(Project, project_id))
        if price:
            charge_all(session, project_id, [_rent(number, price) for number in numbers], now)
        for number in numbers:
            number.paid_until = _paid_until(number) + PAID_TIME
    return len(numbers)


def _locked(session: Session, project_id: int, amount: int, now: datetime) -> Sequence[TrackingNumber]:
    """The first of those that are due, locked by id, as everybody locks several numbers."""
    first = session.scalars(due_numbers(project_id, now).with_only_columns(TrackingNumber.id).limit(amount)).all()
    chosen = select(TrackingNumber).where(TrackingNumber.id.in_(first), *unpaid(now)).order_by(TrackingNumber.id)
    return session.scalars(chosen.with_for_update().execution_options(populate_existing=True)).all()


def due_numbers(project_id: int, now: datetime) -> Select[TrackingNumber]:
    """SELECT of the rented numbers of a project whose paid time has ended, the earliest first."""
    due = select(TrackingNumber).where(TrackingNumber.project_id == project_id, *unpaid(now))
    return due.order_by(TrackingNumber.paid_until, TrackingNumber.id).execution_options(populate_existing=True)


def _affordable(session: Session, server: Server, project_id: int, balance: int) -> int:
    price = price_of(server.settings, session.get_one(Project, project_id, populate_existing=True))
    return min(AT_ONCE, balance // price) if price else AT_ONCE


def _rent(number: TrackingNumber, price: int) -> Post:
    """One that counted before is left out by the ledger: then these 7 days are paid."""
    reason = rent_reason(number.e164, _paid_until(number))
    return Post(-price, reason, ACTOR, RENEWED, number.e164, number.scenario_id)


def _paid_until(number: TrackingNumber) -> datetime:
    if number.paid_until is None:
        raise ValueError(f"{number.id} is not rented")
    return number.paid_until
