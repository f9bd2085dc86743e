"""Buying numbers (R4, R5): the intent and the charge first, in one transaction; then exactly this number is asked for, and looked for
before it is asked for again. `buying.py` talks with the carrier.

Asking the carrier for ordered numbers, step by step: every request outside a transaction, every result written at once (R5).

How a step of an order ends, each in one transaction and only while the claim holds: bought, postponed, lost, refused (R4, R5)."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.ledger import BalanceTooLow, lock_balance, price_of
from router.accounts.models import Project
from router.carriers import shop_of
from router.carriers.base import Gone, NotForUs, NumberShop, OutcomeUnknown, Owned, ShopError, TryLater
from router.db import dialect_name, skip_locked
from router.lib.phones import country_of
from router.scenarios.models import NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.inventory import BEING_BOUGHT, ELSEWHERE, HERE_ALREADY
from router.scenarios.numbers.orders import (
    LEASE,
    OPEN_STATES,
    SENTENCE_LENGTH,
    AlreadyHere,
    Claim,
    arrive,
    claim_due,
    claim_of,
    claim_order,
    end_unbought,
    finish_batch,
    held,
    is_ours,
    taken_numbers,
    target_of,
    wait_for_arrivals,
    write_order,
)
from router.server import Server
from router.web.errors import Problem

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


LOOKS = tuple(timedelta(seconds=seconds) for seconds in (0, 2, 5, 15, 30, 60))
"""When the account is looked through after a question that was not answered clearly."""
ASK_AGAIN = timedelta(minutes=2)
"""The same number may be asked for again when it is not ours for so long; doubled each time."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
GIVE_UP = timedelta(days=1)
AT_ONCE = 8
"""Orders under way in one process."""

TAKEN = "Somebody else has this number by now."
FOREIGN = (
    "The carrier's account has this number already, for something else. Add it as an own number, or take another one."
)
NO_ANSWER = "The carrier could not be asked for a whole day."


def advance_due(server: Server, now: datetime) -> int:
    """Takes the next step with the orders that are due, a few at a time side by side; returns how many. Call it again until it is 0."""
    with server.database.writing() as session:
        claims = claim_due(session, now, AT_ONCE)
    if claims:
        with ThreadPoolExecutor(len(claims), "purchase") as pool:
            list(pool.map(lambda claim: _go_on_or_log(server, claim, now), claims))
    return len(claims)


def advance_order(server: Server, order_id: int, now: datetime) -> bool:
    """Takes the next step with one order; False when it has ended, is not due yet or somebody is at it."""
    with server.database.writing() as session:
        claim = claim_order(session, order_id, now)
    if claim is None:
        return False
    go_on(server, claim, now)
    return True


def _go_on_or_log(server: Server, claim: Claim, now: datetime) -> None:
    """One order's fault stops no other; it is due again when its claim ends."""
    try:
        go_on(server, claim, now)
    except Exception:
        log.exception("order_failed", order=claim.order_id)


def go_on(server: Server, claim: Claim, now: datetime) -> None:
    """The next step with a claimed order: look if it may be ours already, else ask."""
    shop = shop_of(server)
    given_up = now >= claim.created_at + GIVE_UP
    if (claim.may_be_done or given_up) and _found(server, shop, claim, now):
        return
    if claim.may_be_done and now < _ask_again_at(claim):
        postpone(server, claim, _next_look(claim, now))
    elif given_up:
        refuse(server, claim, NO_ANSWER, now)
    else:
        _ask(server, shop, claim, now)


def _ask_again_at(claim: Claim) -> datetime:
    doubled: int = 2 ** min(claim.attempts - 1, 10)
    return cast(datetime, claim.asked_at) + min(ASK_AGAIN * doubled, LONGEST_PAUSE)


def _next_look(claim: Claim, now: datetime) -> datetime:
    asked_at = cast(datetime, claim.asked_at)
    looks = [asked_at + look for look in LOOKS if asked_at + look > now]
    return looks[0] if looks else _ask_again_at(claim)


def _found(server: Server, shop: NumberShop, claim: Claim, now: datetime) -> bool:
    """Looks through our account: True when that settles this turn, with the number or with a later look; False when it is surely not
    there."""
    try:
        owned = shop.find(claim.e164)
    except ShopError as error:
        postpone(server, claim, now + _pause(claim, error, now), str(error))
        return True
    if owned is None:
        return False
    _keep(server, shop, claim, owned, now)
    return True


def _keep(server: Server, shop: NumberShop, claim: Claim, owned: Owned, now: datetime) -> None:
    if not keep(server, claim, owned, now):
        _lose(server, shop, claim, FOREIGN, now)


def _ask(server: Server, shop: NumberShop, claim: Claim, now: datetime) -> None:
    asked = _mark_asked(server, claim, now)
    if asked is None:
        return
    try:
        owned = shop.buy(claim.e164, claim.label)
    except Gone:
        if not _found(server, shop, asked, now):
            _lose(server, shop, asked, TAKEN, now)
    except NotForUs as error:
        _refuse(server, shop, claim, asked, error, now)
    except TryLater as error:
        postpone(server, asked, now + _pause(asked, error, now), str(error), surely_not=not claim.may_be_done)
    except OutcomeUnknown as error:
        if not _found(server, shop, asked, now):
            postpone(server, asked, now + LOOKS[1], str(error))
    else:
        keep(server, asked, owned, now, proven=True)


def _refuse(server: Server, shop: NumberShop, before: Claim, asked: Claim, error: NotForUs, now: datetime) -> None:
    """Believed when the number is not in our account, for an earlier question may have bought it, and carriers err; or when we are
    refused the look as well (a wrong key) and did not ask before."""
    try:
        owned = shop.find(asked.e164)
    except ShopError as no_look:
        if before.may_be_done or not isinstance(no_look, NotForUs):
            postpone(server, asked, now + _pause(asked, no_look, now), str(error))
            return
        owned = None
    if owned is not None and keep(server, asked, owned, now):
        return
    refuse(server, asked, str(error), now, alike=True)


def _mark_asked(server: Server, claim: Claim, now: datetime) -> Claim | None:
    """Commits that the carrier is being asked before it is; None when the order is not ours to go on with any more."""
    with server.database.writing() as session:
        order = held(session, claim)
        if order is None:
            return None
        order.state, order.asked_at = "unknown", now
        order.attempts += 1
        return claim_of(order)


def _lose(server: Server, shop: NumberShop, claim: Claim, sentence: str, now: datetime) -> None:
    """The order stays open until another number is found or surely none is, so that a crash between forgets nothing."""
    with server.database.reading() as session:
        search, had = wanted_instead(session, claim)
    try:
        offers = shop.search(*search) if search else []
    except (TryLater, OutcomeUnknown) as error:
        postpone(server, claim, now + _pause(claim, error, now), str(error))
    except ShopError:
        lose(server, claim, sentence, (), now)
    else:
        lose(server, claim, sentence, [offer.e164 for offer in offers if offer.e164 not in had], now)


def _pause(claim: Claim, error: ShopError, now: datetime) -> timedelta:
    """Growing, or what the carrier wished for, if that is longer."""
    growing = min(max((now - claim.created_at) / 2, FIRST_PAUSE), LONGEST_PAUSE)
    wished = timedelta(seconds=min(error.seconds or 0, 3600)) if isinstance(error, TryLater) else timedelta()
    return max(growing, wished)


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
