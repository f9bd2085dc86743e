"""How a step of an order ends, each in one transaction and only while the claim holds: bought, postponed, lost, refused (R4, R5)."""

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.audit import record
from router.accounts.ledger import lock_balance, price_of
from router.accounts.models import Project
from router.carriers.shop import Owned
from router.database import dialect_name, skip_locked
from router.phones import country_of
from router.scenarios.models import NumberBatch, NumberOrder, Scenario
from router.scenarios.renting.arrivals import AlreadyHere, arrive, finish_batch, target_of
from router.scenarios.renting.orders import (
    SENTENCE_LENGTH,
    Claim,
    end_unbought,
    held,
    is_ours,
    taken_numbers,
    wait_for_arrivals,
    write_order,
)
from router.server import Server

NAMED_ELSEWHERE = "Another project of this server names this number as its own."
SPARE_LOSSES = 10
"""So many more numbers than were ordered may be lost before no other one is looked for."""

log = structlog.get_logger(__name__)


def keep(server: Server, claim: Claim, owned: Owned, now: datetime, proven: bool = False) -> bool:
    """The number is in our account: it arrives. False when it is there for something else; `proven`: it was just sold to us."""
    try:
        with server.database.writing() as session:
            order = held(session, claim)
            if order is None:
                return True
            if not (proven or is_ours(session, order, owned.label)):
                return False
            batch, scenario = _batch_of(session, order)
            arrive(session, server, batch, order, owned, scenario, now)
            finish_batch(session, batch, scenario, now)
    except AlreadyHere:
        log.error("bought_number_stands_in_another_project", order=claim.order_id)
        lose(server, claim, NAMED_ELSEWHERE, (), now)
    return True


def postpone(
    server: Server, claim: Claim, next_at: datetime, error: str | None = None, surely_not: bool = False
) -> None:
    """Somebody goes on at `next_at`. `surely_not`: the carrier has not done anything yet."""
    with server.database.writing() as session:
        order = held(session, claim)
        if order is None:
            return
        order.next_at = next_at
        if error is not None:
            order.error = error[:SENTENCE_LENGTH]
        if surely_not:
            order.state = "intent"


def lose(server: Server, claim: Claim, sentence: str, candidates: Sequence[str], now: datetime) -> None:
    """The number is not to be had: the money goes back, and the first of the candidates that is free is ordered in its place."""
    with server.database.writing() as session:
        order = held(session, claim)
        if order is None:
            return
        batch, scenario = _batch_of(session, order)
        wait_for_arrivals(session)
        end_unbought(session, order, "lost", sentence, now)
        record(session, Actor(batch.actor), now, "number.not_bought", order.e164, order.project_id, why=order.error)
        if candidates and _order_another(session, server, batch, candidates, now):
            order.state = "replaced"
        finish_batch(session, batch, scenario, now)


def refuse(server: Server, claim: Claim, sentence: str, now: datetime, alike: bool = False) -> None:
    """The carrier will not sell it to us. `alike`: those of the batch that would be refused as well and were not asked for yet end
    with it."""
    with server.database.writing() as session:
        order = held(session, claim)
        if order is None:
            return
        batch, scenario = _batch_of(session, order)
        ended = [order, *(_not_asked_yet(session, order) if alike else ())]
        for one in ended:
            end_unbought(session, one, "refused", sentence, now)
            record(session, Actor(batch.actor), now, "number.not_bought", one.e164, one.project_id, why=one.error)
        batch.error = sentence[:SENTENCE_LENGTH]
        finish_batch(session, batch, scenario, now)


def wanted_instead(session: Session, claim: Claim) -> tuple[tuple[str, str, str] | None, set[str]]:
    """By what another number is searched (country, area code, digits; None: by nothing), and the numbers that this batch had already."""
    batch = session.get_one(NumberBatch, claim.batch_id)
    had = session.execute(select(NumberOrder.e164, NumberOrder.state).where(NumberOrder.batch_id == batch.id)).all()
    lost = sum(order.state in ("lost", "replaced") for order in had)
    wanted = sum(order.state != "replaced" for order in had)
    country, area_code, contains = (str(batch.search.get(name) or "") for name in ("country", "area_code", "contains"))
    may_go_on = country and lost < wanted + SPARE_LOSSES
    return (country, area_code, contains) if may_go_on else None, {order.e164 for order in had}


def _batch_of(session: Session, order: NumberOrder) -> tuple[NumberBatch, Scenario | None]:
    """The batch, and its scenario locked: before the project's row, as everywhere."""
    batch = session.get_one(NumberBatch, order.batch_id)
    return batch, target_of(session, batch)


def _not_asked_yet(session: Session, order: NumberOrder) -> list[NumberOrder]:
    """Of the same country, because what the carrier wants differs by country."""
    waiting = select(NumberOrder).where(
        NumberOrder.batch_id == order.batch_id, NumberOrder.state == "intent", NumberOrder.attempts == 0
    )
    rows = session.scalars(skip_locked(waiting, dialect_name(session)).execution_options(populate_existing=True))
    country = country_of(order.e164)
    return [one for one in rows if country_of(one.e164) == country]


def _order_another(
    session: Session, server: Server, batch: NumberBatch, candidates: Sequence[str], now: datetime
) -> bool:
    balance = lock_balance(session, batch.project_id)
    price = price_of(server.settings, session.get_one(Project, batch.project_id, populate_existing=True))
    if balance < price:
        return False
    taken = taken_numbers(session, candidates)
    return any(write_order(session, batch, e164, price, now) for e164 in candidates if e164 not in taken)
