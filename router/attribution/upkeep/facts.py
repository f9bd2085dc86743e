"""What upkeep looks at (R9): a pool's numbers, what it needs, what buying for it may cost."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from router.accounts.ledger import price_of
from router.accounts.models import LedgerEntry, Project
from router.attribution.models import PoolNumber, UpkeepRun
from router.attribution.upkeep.rules import Decision, Limits, PoolNumberFacts, decide
from router.scenarios.models import OPEN, QUIET, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.release import active_numbers
from router.server import Server

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class PoolFacts:
    """A pool on a day. `numbers`: with those that are being bought."""

    numbers: int
    accuracy: int | None
    needed: int | None
    limits: Limits
    candidates: list[PoolNumberFacts]
    e164s: list[str]

    def decide(self, now: datetime) -> Decision:
        return decide(self.numbers, self.accuracy, self.needed, self.limits, self.candidates, now)


def read_pool(
    session: Session,
    server: Server,
    project: Project,
    scenario: Scenario,
    needed: int | None,
    now: datetime,
    *,
    lock: bool = False,
) -> PoolFacts:
    """A fixed number of statements. With `lock` the numbers stay as they are to the end of the transaction."""
    in_pool = select(TrackingNumber).where(_in_pool(scenario)).order_by(TrackingNumber.id)
    if lock:
        in_pool = in_pool.with_for_update().execution_options(populate_existing=True)
    rows = session.scalars(in_pool).all()
    ordered = select(func.count(NumberOrder.id)).join(NumberBatch, NumberBatch.id == NumberOrder.batch_id)
    being_bought = session.scalar(ordered.where(NumberBatch.scenario_id == scenario.id, OPEN)) or 0
    numbers, price = len(rows) + being_bought, price_of(server.settings, project)
    limits = Limits(
        max_numbers=most_numbers(scenario, numbers),
        spending_limit_minor=scenario.upkeep_spending_limit_minor,
        spent_minor=spent_by_upkeep(session, scenario, price, now) if price else 0,
        price_minor=price,
        balance_minor=project.balance_minor,
        currency=project.currency,
    )
    ids = [row.id for row in rows]
    # active: shown now, or with a heartbeat younger than the hold, however long ago the number was leased
    held = select(PoolNumber.number_id).where(
        PoolNumber.scenario_id == scenario.id,
        PoolNumber.last_sign_at >= now - timedelta(seconds=scenario.hold_seconds),
    )
    active = active_numbers(session, server, ids, now) | set(session.scalars(held))
    called = server.numbers_called(session, ids, now - QUIET) if server.numbers_called else set()
    candidates = [
        PoolNumberFacts(
            id=row.id,
            pinned=row.pinned,
            owned_elsewhere=row.owned_elsewhere,
            active=row.id in active,
            in_release=row.releasing_at is not None,
            static=row.static_source is not None,
            paid_until=row.paid_until,
            last_call_at=now if row.id in called else row.last_call_at,
            last_shown_at=row.last_shown_at,
        )
        for row in rows
    ]
    return PoolFacts(numbers, scenario.accuracy, needed, limits, candidates, [row.e164 for row in rows])


def _in_pool(scenario: Scenario) -> ColumnElement[bool]:
    """WHERE of the numbers that visitors of the scenario are leased."""
    return and_(TrackingNumber.scenario_id == scenario.id, TrackingNumber.is_lendable)


def pool_size(session: Session, scenario: Scenario) -> int:
    """How many numbers the pool has, without those that are being bought."""
    return session.scalar(select(func.count(TrackingNumber.id)).where(_in_pool(scenario))) or 0


def most_numbers(scenario: Scenario, numbers: int) -> int:
    """The limit of numbers: the admin's, else twice the pool when upkeep was switched on."""
    return scenario.upkeep_max_numbers or 2 * (scenario.upkeep_began_with or max(numbers, 1))


def spent_by_upkeep(session: Session, scenario: Scenario, price: int, now: datetime) -> int:
    """What numbers that upkeep bought for this scenario cost in any 7 days, in minor units: what the ledger says of the last 7 days, or
    what renewing them will cost in the coming ones, whichever is more. What was refunded was not spent."""
    orders = (
        select(NumberOrder)
        .join(UpkeepRun, UpkeepRun.batch_id == NumberOrder.batch_id)
        .where(UpkeepRun.scenario_id == scenario.id)
    ).subquery()
    charged = select(func.sum(LedgerEntry.amount_minor)).where(
        LedgerEntry.project_id == scenario.project_id,
        LedgerEntry.at > now - WEEK,
        LedgerEntry.number.in_(select(orders.c.e164)),
    )
    rented = select(func.count(TrackingNumber.id)).where(
        TrackingNumber.id.in_(select(orders.c.number_id)),
        TrackingNumber.releasing_at.is_(None),
        TrackingNumber.released_at.is_(None),
    )
    coming = select(func.count(orders.c.id)).where(orders.c.state.in_(("intent", "unknown")))
    numbers = (session.scalar(rented) or 0) + (session.scalar(coming) or 0)
    return max(-int(session.scalar(charged) or 0), numbers * price)
