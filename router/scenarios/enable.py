"""Enabling a scenario (R2, R4): what it would buy and cost, and *Connect*, which orders all numbers that it still needs or none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.ledger import BalanceTooLow, lock_balance, price_of
from router.accounts.models import Project
from router.carriers.accounts import sid_of_project
from router.lib.formats import format_money
from router.scenarios.documents import asking
from router.scenarios.models import PAID_TIME, RENTED, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.inventory import wait_for_arrivals
from router.scenarios.numbers.purchase import order_numbers
from router.scenarios.numbers.search import open_shop, search_numbers
from router.scenarios.schema import BuyingDocument
from router.server import Server
from router.web.errors import Problem


@dataclass(frozen=True)
class Enabling:
    """All money in minor units of the project's currency."""

    to_buy: list[str]
    count: int
    """How many others beside them, found by the scenario's search."""
    price_minor: int
    """Of one number and 7 days."""
    owed_minor: int
    """What numbers in grace owe; part of the cost."""
    cost_minor: int
    balance_minor: int
    currency: str

    @property
    def total(self) -> int:
        return len(self.to_buy) + self.count

    @property
    def missing_minor(self) -> int:
        return max(self.cost_minor - self.balance_minor, 0)

    def check(self) -> None:
        """
        Raises:
            Problem: 409 with what is missing.
        """
        if self.missing_minor:
            raise Problem(
                409,
                f"{format_money(self.missing_minor, self.currency)} are missing: this costs "
                f"{format_money(self.cost_minor, self.currency)} now, and the balance is "
                f"{format_money(self.balance_minor, self.currency)}. Top it up, then repeat.",
                missing_minor=self.missing_minor,
                cost_minor=self.cost_minor,
                balance_minor=self.balance_minor,
                currency=self.currency,
            )


def enabling_of(session: Session, server: Server, project: Project, scenario: Scenario, now: datetime) -> Enabling:
    """What *Connect* would do. Numbers already paid and own ones cost nothing."""
    numbers, count = list(scenario.to_buy.get("numbers", [])), int(scenario.to_buy.get("count", 0))
    ended = select(TrackingNumber.paid_until).where(
        TrackingNumber.scenario_id == scenario.id, RENTED, TrackingNumber.paid_until <= now
    )
    # numbers in grace are renewed from where their paid time ended
    periods = sum((now - end) // PAID_TIME + 1 for end in session.scalars(ended) if end is not None)
    price = 0
    if numbers or count or periods:
        price = price_of(server.settings, session.get_one(Project, project.id, populate_existing=True))
    balance = session.execute(select(Project.balance_minor).where(Project.id == project.id)).scalar_one()
    return Enabling(
        to_buy=numbers,
        count=count,
        price_minor=price,
        owed_minor=periods * price,
        cost_minor=(len(numbers) + count + periods) * price,
        balance_minor=balance,
        currency=project.currency,
    )


Result = TypeVar("Result")


class SearchNeeded(Exception):
    """Numbers have to be found before the transaction can be written; nothing was stored."""

    def __init__(self, to_buy: Mapping[str, Any], project_id: int) -> None:
        super().__init__("numbers have to be searched first")
        self.to_buy, self.project_id = dict(to_buy), project_id


def searching(server: Server, attempt: Callable[[Sequence[str] | None], Result]) -> Result:
    """The result of the transaction `attempt`, which is tried again with numbers for sale when it raises SearchNeeded.

    Raises:
        Problem: 409, the carrier has not enough of them, or an address has to be chosen first; 422, none in this country; 502, it
            refuses; 503, it does not answer.
    """
    try:
        return asking(partial(attempt, None))
    except SearchNeeded as needed:
        to_buy, project_id = needed.to_buy, needed.project_id
    count, named = to_buy["count"], set(to_buy["numbers"])
    kind = (to_buy["country"], to_buy["area_code"], to_buy["contains"])
    try:
        numbers = search_numbers(server, project_id, *kind, limit=count + len(named))
    except Problem as refusal:
        field = f"to_buy.{refusal.field}" if refusal.field else None
        raise Problem(refusal.status, refusal.detail, field, **refusal.more) from None
    found = [number.e164 for number in numbers if number.e164 not in named][:count]
    if len(found) < count:
        raise Problem(
            409,
            f"The carrier has only {len(found)} such numbers now. Ask for fewer, or search with fewer digits.",
            "to_buy.count",
        )
    return attempt(found)


def connect(change: Change, scenario: Scenario, found: Sequence[str] | None) -> BuyingDocument | None:
    """Orders what the scenario is to buy and empties `to_buy`, of which the kind of numbers stays, for upkeep.

    A scenario with numbers is enabled at once, a scenario without any when its order is done.

    Args:
        scenario: locked.
        found: numbers for sale, as many as `to_buy` counts beside those that it names; None: they were not searched yet.

    Raises:
        Problem: 409, with `missing_minor` when the balance does not cover the cost; 503, this server has no account at the carrier.
        SearchNeeded: `found` is needed.
    """
    enabling = enabling_of(change.session, change.server, change.project, scenario, change.now)
    enabling.check()
    if enabling.total and not sid_of_project(change.session, change.project.id):
        open_shop(change.server)
    if enabling.count and found is None:
        raise SearchNeeded(scenario.to_buy, scenario.project_id)
    numbers = select(TrackingNumber.id).where(TrackingNumber.scenario_id == scenario.id)
    has_number = change.session.scalar(numbers.limit(1)) is not None
    if not enabling.total:
        scenario.enabled = True
        return None
    found = found or ()
    if len(found) != enabling.count:
        raise Problem(409, "Somebody else changed this scenario meanwhile. Look again, then repeat.")
    kind = {name: scenario.to_buy[name] for name in ("country", "area_code", "contains")} if enabling.count else {}
    e164s = [*enabling.to_buy, *found]
    try:
        batch = order_numbers(change, e164s, scenario_id=scenario.id, enable=not has_number, search=kind)
    except BalanceTooLow as refusal:  # charged elsewhere since it was read
        replace(enabling, balance_minor=enabling.cost_minor - refusal.missing_minor).check()
        raise
    scenario.to_buy = {**scenario.to_buy, "numbers": [], "count": 0}
    scenario.enabled = scenario.enabled or has_number
    return BuyingDocument(batch=batch.id, total=len(e164s))


def buying_of(session: Session, scenario: Scenario) -> BuyingDocument | None:
    """The newest order of a scenario that is not done yet."""
    orders = select(func.count(NumberOrder.id)).where(NumberOrder.batch_id == NumberBatch.id).scalar_subquery()
    newest = (
        select(NumberBatch.id.label("batch"), orders.label("total"))
        .where(NumberBatch.project_id == scenario.project_id, NumberBatch.scenario_id == scenario.id)
        .where(NumberBatch.finished_at.is_(None))
        .order_by(NumberBatch.id.desc())
        .limit(1)
    )
    row = session.execute(newest).first()
    return BuyingDocument(**row._asdict()) if row else None


def lock_purse(session: Session, project: Project) -> None:
    """Locks what a purchase locks, before numbers are locked: the order is scenario, arrivals, balance, numbers everywhere."""
    wait_for_arrivals(session)
    lock_balance(session, project.id)


def stay_disabled(session: Session, scenario: Scenario) -> None:
    """Open orders do not enable the scenario any more: somebody disabled it."""
    of_scenario = (NumberBatch.project_id == scenario.project_id, NumberBatch.scenario_id == scenario.id)
    waiting = update(NumberBatch).where(*of_scenario, NumberBatch.finished_at.is_(None))
    session.execute(waiting.values(enable=False).execution_options(synchronize_session=False))
