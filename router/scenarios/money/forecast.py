"""How long a balance lasts: every rented number is renewed for 7 days where its paid time ends (R4)."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.ledger import price_of
from router.accounts.models import Project
from router.scenarios.models import TrackingNumber
from router.server import Server

PERIOD = timedelta(days=7)
AHEAD = timedelta(days=7)
"""A balance that will last less is low."""
FOR_GOOD = datetime(9000, 1, 1, tzinfo=UTC)
"""Nobody looks further ahead, and a time zone can still be applied to it."""

Renewal = tuple[datetime, int]
"""When the paid time ends, and what the next 7 days cost in minor units."""


def lasts_until(balance_minor: int, renewals: Sequence[Renewal], now: datetime) -> datetime | None:
    """When the first renewal cannot be paid, not before `now` and at most FOR_GOOD; None when nothing costs anything."""
    costing = [(paid_until, price) for paid_until, price in renewals if price > 0]
    if not costing:
        return None
    left = balance_minor - sum(price * _due(paid_until, now) for paid_until, price in costing)
    if left < 0:
        return now
    coming = [(paid_until + _due(paid_until, now) * PERIOD, price) for paid_until, price in costing]
    return _first_unpaid(left, coming)


def _first_unpaid(left: int, coming: list[Renewal]) -> datetime:
    """When the renewals that begin so and go on each week have cost more than `left`."""
    begins = max(at for at, _ in coming) - PERIOD
    before = sorted((at + week * PERIOD, price) for at, price in coming for week in range(_due(at, begins)))
    for at, price in before:
        left -= price
        if left < 0:
            return at
    week = sorted((at + _due(at, begins) * PERIOD, price) for at, price in coming)
    spent = list(accumulate(price for _, price in week))
    weeks, rest = divmod(left, spent[-1])
    first = week[bisect_right(spent, rest)][0]
    return FOR_GOOD if weeks > (FOR_GOOD - first) // PERIOD else first + weeks * PERIOD


def _due(paid_until: datetime, now: datetime) -> int:
    """How many renewals are due by now."""
    return max(0, (now - paid_until) // PERIOD + 1)


def weekly_cost(renewals: Sequence[Renewal]) -> int:
    """What all of them cost in 7 days, in minor units."""
    return sum(price for _, price in renewals)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a project's rented numbers cost, and until when its balance covers them."""

    balance_minor: int
    price_minor: int
    """For one number and 7 days."""
    rented: int
    weekly_minor: int
    lasts_until: datetime | None
    """None: numbers cost nothing, or none is rented."""
    is_low: bool
    """It lasts less than 7 days."""


def project_forecast(session: Session, server: Server, project: Project, now: datetime) -> Forecast:
    """Two statements, whatever the number of numbers. Those that are being given back are not renewed."""
    price = price_of(server.settings, project)
    balance = session.execute(select(Project.balance_minor).where(Project.id == project.id)).scalar_one()
    found = session.execute(
        select(TrackingNumber.paid_until, func.count())
        .where(
            TrackingNumber.project_id == project.id,
            TrackingNumber.paid_until.is_not(None),
            TrackingNumber.owned_elsewhere.is_(False),
            TrackingNumber.releasing_at.is_(None),
            TrackingNumber.released_at.is_(None),
        )
        .group_by(TrackingNumber.paid_until)
    ).all()
    renewals = [(paid_until, amount * price) for paid_until, amount in found if paid_until is not None]
    end = lasts_until(balance, renewals, now)
    return Forecast(
        balance_minor=balance,
        price_minor=price,
        rented=sum(amount for _, amount in found),
        weekly_minor=weekly_cost(renewals),
        lasts_until=end,
        is_low=end is not None and end < now + AHEAD,
    )
