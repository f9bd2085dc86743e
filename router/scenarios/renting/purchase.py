"""Buying numbers (R4, R5): the intent and the charge first, in one transaction; then exactly this number is asked for, and looked for
before it is asked for again (facts on Twilio, section 4). `buying.py` talks with the carrier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.audit import record
from router.accounts.ledger import BalanceTooLow, lock_balance, price_of
from router.accounts.models import Project
from router.scenarios.models import NumberBatch, NumberOrder, TrackingNumber
from router.scenarios.numbers import BEING_BOUGHT, ELSEWHERE, HERE_ALREADY
from router.scenarios.renting.arrivals import finish_batch, target_of
from router.scenarios.renting.buying import advance_due, advance_order, go_on
from router.scenarios.renting.orders import LEASE, OPEN_STATES, claim_of, taken_numbers, wait_for_arrivals, write_order
from router.server import Server
from router.web import Problem

__all__ = ["Progress", "advance_due", "advance_order", "batch_progress", "buy_now", "order_numbers"]

BEING_RELEASED = "{number} is being given back to the carrier. It can be bought again when that is done."
MOST_AT_ONCE = 200


def order_numbers(
    session: Session,
    server: Server,
    project: Project,
    actor_name: str,
    e164s: Sequence[str],
    now: datetime,
    *,
    scenario_id: int | None = None,
    enable: bool = False,
    search: Mapping[str, Any] | None = None,
) -> NumberBatch:
    """Writes the intent to buy these numbers and charges all of them; the worker buys them then.

    Args:
        e164s: E.164, as the carrier's search gave them.
        scenario_id: where they go; None: to the project's free ones.
        enable: the scenario is enabled when all is over and it has a number.
        search: `{country, area_code, contains}` by which another one is found when one of them is gone.

    Raises:
        BalanceTooLow: the balance does not cover all of them.
        Problem: 409, one of them is here already or being bought; 422, too many.
        After either the transaction has to be rolled back.
    """
    return _order(session, server, project, actor_name, e164s, now, None, scenario_id, enable, search)[0]


def buy_now(
    server: Server, project: Project, actor_name: str, e164: str, now: datetime, scenario_id: int | None = None
) -> NumberOrder:
    """Orders one number and asks the carrier at once; returns the order as it stands then. When it is still open, the worker goes on.

    Raises:
        BalanceTooLow, Problem: as `order_numbers`.
    """
    with server.database.writing() as session:
        _, (order,) = _order(session, server, project, actor_name, [e164], now, now + LEASE, scenario_id)
        claim = claim_of(order)
    go_on(server, claim, now)
    with server.database.reading() as session:
        return session.get_one(NumberOrder, claim.order_id)


def _order(
    session: Session,
    server: Server,
    project: Project,
    actor_name: str,
    e164s: Sequence[str],
    now: datetime,
    lent_until: datetime | None,
    scenario_id: int | None = None,
    enable: bool = False,
    search: Mapping[str, Any] | None = None,
) -> tuple[NumberBatch, list[NumberOrder]]:
    wanted = list(dict.fromkeys(e164s))
    if len(wanted) > MOST_AT_ONCE:
        raise Problem(422, f"At most {MOST_AT_ONCE} numbers can be bought at once.", "numbers")
    wait_for_arrivals(session)
    _check_free(session, project, wanted)
    balance = lock_balance(session, project.id)
    price = price_of(server.settings, session.get_one(Project, project.id, populate_existing=True))
    if balance < price * len(wanted):
        raise BalanceTooLow(price * len(wanted) - balance)
    batch = NumberBatch(
        project_id=project.id,
        scenario_id=scenario_id,
        enable=enable,
        search=dict(search or {}),
        actor=actor_name,
        created_at=now,
    )
    session.add(batch)
    session.flush()
    orders = [_must(write_order(session, batch, e164, price, now, lent_until), e164) for e164 in wanted]
    detail = {"batch": batch.id, "numbers": len(wanted), "price_minor": price}
    record(session, Actor(actor_name), now, "numbers.ordered", ", ".join(wanted[:10]), project.id, **detail)
    if not orders:
        finish_batch(session, batch, target_of(session, batch), now)
    return batch, orders


def _must(order: NumberOrder | None, e164: str) -> NumberOrder:
    if order is None:
        raise Problem(409, BEING_BOUGHT.format(number=e164), "e164")
    return order


def _check_free(session: Session, project: Project, wanted: list[str]) -> None:
    taken = taken_numbers(session, wanted)
    if not taken:
        return
    e164 = next(one for one in wanted if one in taken)
    here = select(TrackingNumber).where(TrackingNumber.e164 == e164, TrackingNumber.released_at.is_(None))
    number = session.scalar(here)
    if number is None:
        sentence = BEING_BOUGHT
    elif number.project_id != project.id:
        sentence = ELSEWHERE
    else:
        sentence = BEING_RELEASED if number.releasing_at else HERE_ALREADY
    raise Problem(409, sentence.format(number=e164), "e164")


@dataclass(frozen=True)
class Progress:
    """How far a batch is. `problems`: (number, sentence) of those that failed, and of those that the carrier makes wait."""

    total: int
    bought: int
    failed: int
    waiting: int
    problems: list[tuple[str, str]] = field(default_factory=list)
    finished: bool = False


def batch_progress(session: Session, batch_id: int) -> Progress:
    """A number in whose place another one was ordered does not count."""
    batch = session.get_one(NumberBatch, batch_id, populate_existing=True)
    counted = select(NumberOrder.e164, NumberOrder.state, NumberOrder.error).order_by(NumberOrder.id)
    orders = session.execute(counted.where(NumberOrder.batch_id == batch_id, NumberOrder.state != "replaced")).all()
    bought = sum(order.state == "bought" for order in orders)
    waiting = sum(order.state in OPEN_STATES for order in orders)
    problems = [(order.e164, order.error) for order in orders if order.error]
    failed = len(orders) - bought - waiting
    return Progress(len(orders), bought, failed, waiting, problems, batch.finished_at is not None)
