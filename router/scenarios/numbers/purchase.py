"""Buying numbers (R4, R5): the intent and its charge are written first, in one transaction; then the carrier is asked for exactly this
number, and our account is looked through before the number is asked for again: an answer that was lost may have been a yes.

Every request to the carrier is made outside a transaction, and every result is written at once. An order ends bought, lost (another number
may be ordered in its place) or refused, each in one transaction and only while the claim holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, Change, record
from router.accounts.ledger import BOUGHT, BalanceTooLow, Post, find_entry, lock_balance, post, price_of
from router.accounts.models import Project
from router.carriers.accounts import shop_at, sid_of_project
from router.carriers.base import Gone, NotForUs, NumberShop, OutcomeUnknown, Owned, ShopError, TryLater
from router.db import dialect_name, insert_new, skip_locked
from router.jobs import Claim, Jobs, backoff, backoff_by_age, requested_pause, work_side_by_side
from router.lib.formats import parse_int
from router.lib.phones import country_of
from router.scenarios.channels import static_sources
from router.scenarios.models import (
    OPEN,
    OPEN_STATES,
    PAID_TIME,
    NumberBatch,
    NumberOrder,
    OrderState,
    Scenario,
    TrackingNumber,
    numbers_changed,
    rent_reason,
)
from router.scenarios.numbers.compliance import chosen_at, compliance_of
from router.scenarios.numbers.inventory import BEING_BOUGHT, bring_in, taken_numbers, wait_for_arrivals, why_taken
from router.server import Server
from router.web.errors import Problem

LEASE = timedelta(seconds=120)
"""Longer than one turn of an order with all its requests may last, so that no other process asks in parallel."""
SENTENCE_LENGTH = 300
MOST_AT_ONCE = 200
SPARE_LOSSES = 10
"""So many more numbers than were ordered may be lost before no other one is looked for."""
LOOKS = tuple(timedelta(seconds=seconds) for seconds in (0, 2, 5, 15, 30, 60))
"""When the account is looked through after a question that was not answered clearly."""
ASK_AGAIN = timedelta(minutes=2)
"""The same number may be asked for again when it is not ours for so long; doubled each time."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=15)
LONGEST_REQUESTED = timedelta(hours=1)
GIVE_UP = timedelta(days=1)
AT_ONCE = 8

BEING_RELEASED = "{number} is being given back to the carrier. It can be bought again when that is done."
NAMED_ELSEWHERE = "Another project of this server names this number as its own."
TAKEN = "Somebody else has this number by now."
FOREIGN = (
    "The carrier's account has this number already, for something else. Add it as an own number, or take another one."
)

ORDERS = Jobs(NumberOrder, OPEN, LEASE, due_at=NumberOrder.next_at)

log = structlog.get_logger(__name__)


def order_numbers(
    change: Change,
    e164s: Sequence[str],
    *,
    scenario_id: int | None = None,
    enable: bool = False,
    search: Mapping[str, Any] | None = None,
    due_at: datetime | None = None,
) -> NumberBatch:
    """Writes the intent to buy these numbers and charges all of them; the worker buys them then.

    Args:
        e164s: E.164, as the carrier's search gave them.
        scenario_id: where they go; None: to the project's free ones.
        enable: the scenario is enabled when all is over and it has a number.
        search: `{country, area_code, contains}` by which another one is found when one of them is gone.
        due_at: before this moment the worker leaves the orders to the caller.

    Raises:
        BalanceTooLow: the balance does not cover all of them.
        Problem: 409, one of them is here already or being bought; 422, too many.
        After either the transaction has to be rolled back.
    """
    session, project, now = change.session, change.project, change.now
    e164s = list(dict.fromkeys(e164s))
    if len(e164s) > MOST_AT_ONCE:
        raise Problem(422, f"At most {MOST_AT_ONCE} numbers can be bought at once.", "numbers")
    wait_for_arrivals(session)
    taken = taken_numbers(session, e164s)
    for e164 in e164s:
        if e164 in taken:
            raise Problem(409, why_taken(session, project, e164, leaving=BEING_RELEASED), "e164")
    balance = lock_balance(session, project.id)
    price = price_of(change.server.settings, session.get_one(Project, project.id, populate_existing=True))
    if balance < price * len(e164s):
        raise BalanceTooLow(price * len(e164s) - balance)
    batch = NumberBatch(
        project_id=project.id,
        scenario_id=scenario_id,
        enable=enable,
        search=dict(search or {}),
        actor=change.actor.name,
        created_at=now,
    )
    session.add(batch)
    session.flush()
    for e164 in e164s:
        if write_order(session, batch, e164, price, now, due_at) is None:
            raise Problem(409, BEING_BOUGHT.format(number=e164), "e164")
    detail = {"batch": batch.id, "numbers": len(e164s), "price_minor": price}
    change.record("numbers.ordered", ", ".join(e164s[:10]), **detail)
    if not e164s:
        finish_batch(session, batch, target_of(session, batch), now)
    return batch


def buy_now(
    server: Server, project: Project, actor_name: str, e164: str, now: datetime, scenario_id: int | None = None
) -> NumberOrder:
    """Orders one number and asks the carrier at once; returns the order as it stands then. When it is still open, the worker goes on.

    Raises:
        BalanceTooLow, Problem: as `order_numbers`.
    """
    with server.database.writing() as session:
        change = Change(session, server, project, Actor(actor_name), now)
        batch = order_numbers(change, [e164], scenario_id=scenario_id, due_at=now + LEASE)
        claim = ORDERS.claim_of(session.scalars(select(NumberOrder).where(NumberOrder.batch_id == batch.id)).one())
    _go_on(server, now, claim)
    with server.database.reading() as session:
        return session.get_one(NumberOrder, claim.id)


def advance_due(server: Server, now: datetime) -> int:
    """Takes the next step with the orders that are due, a few at a time side by side; returns how many. Call it again until it is 0."""
    with server.database.writing() as session:
        claims = ORDERS.claim_due(session, now, AT_ONCE)
    work_side_by_side(claims, partial(_go_on, server, now), "purchase")
    return len(claims)


def _go_on(server: Server, now: datetime, claim: Claim[NumberOrder]) -> None:
    """The next step with a claimed order: look if the number may be ours already, else ask for it."""
    order = claim.job
    shop = shop_at(server, order.project_id, order.carrier_account)
    asked_at = order.asked_at if order.state == OrderState.UNKNOWN else None
    given_up = now >= order.created_at + GIVE_UP
    if (asked_at or given_up) and _find(server, shop, claim, now):
        return
    if asked_at:
        ask_again_at = asked_at + backoff(order.attempts, ASK_AGAIN, LONGEST_PAUSE)
        if now < ask_again_at:
            looks = (asked_at + look for look in LOOKS)
            return _postpone(server, claim, next((look for look in looks if look > now), ask_again_at))
    if given_up:
        return _refuse(server, claim, "The carrier could not be asked for a whole day.", now)
    with server.database.writing() as session:  # that the carrier is being asked is committed before it is
        held = ORDERS.held(session, claim)
        if held is None:
            return None
        held.state, held.asked_at = OrderState.UNKNOWN, now
        held.attempts += 1
        asked = ORDERS.claim_of(held)
        compliance = compliance_of(session, order.project_id, order.carrier_account, order.e164)
    try:
        owned = shop.buy(order.e164, label_of(order.id), compliance)
    except Gone:
        if not _find(server, shop, asked, now):
            _lose(server, shop, asked, TAKEN, now)
    except NotForUs as error:
        _check_refusal(server, shop, asked, error, now, asked_before=asked_at is not None)
    except TryLater as error:
        _postpone(server, asked, now + _pause(asked, error, now), str(error), surely_not=asked_at is None)
    except OutcomeUnknown as error:
        if not _find(server, shop, asked, now):
            _postpone(server, asked, now + LOOKS[1], str(error))
    else:
        _take_in(server, asked, owned, now, proven=True)


def _find(server: Server, shop: NumberShop, claim: Claim[NumberOrder], now: datetime) -> bool:
    """Looks through our account; False when the number is surely not there, True when this turn is done: the number arrived or a later look
    is due."""
    try:
        owned = shop.find(claim.job.e164)
    except ShopError as error:
        _postpone(server, claim, now + _pause(claim, error, now), str(error))
        return True
    if owned is None:
        return False
    if not _take_in(server, claim, owned, now):
        _lose(server, shop, claim, FOREIGN, now)
    return True


def _check_refusal(
    server: Server, shop: NumberShop, claim: Claim[NumberOrder], error: NotForUs, now: datetime, *, asked_before: bool
) -> None:
    """Believes a refusal when the number is not in our account, for an earlier question may have bought it, and carriers err; or when the
    look is refused as well (a wrong key) and the carrier was not asked before."""
    try:
        owned = shop.find(claim.job.e164)
    except ShopError as no_look:
        if asked_before or not isinstance(no_look, NotForUs):
            return _postpone(server, claim, now + _pause(claim, no_look, now), str(error))
        owned = None
    if owned is None or not _take_in(server, claim, owned, now):
        _refuse(server, claim, str(error), now, alike=True)


def _pause(claim: Claim[NumberOrder], error: ShopError, now: datetime) -> timedelta:
    return pause_after(error, now - claim.job.created_at, LONGEST_PAUSE)


def _postpone(
    server: Server, claim: Claim[NumberOrder], next_at: datetime, error: str | None = None, surely_not: bool = False
) -> None:
    """Somebody goes on at `next_at`. `surely_not`: the carrier has not done anything yet."""
    with server.database.writing() as session:
        order = ORDERS.held(session, claim)
        if order is None:
            return
        order.next_at = next_at
        if error is not None:
            order.error = error[:SENTENCE_LENGTH]
        if surely_not:
            order.state = OrderState.INTENT


def _batch_of(session: Session, order: NumberOrder) -> tuple[NumberBatch, Scenario | None]:
    """The batch, and its scenario locked: before the project's row, as everywhere."""
    batch = session.get_one(NumberBatch, order.batch_id)
    return batch, target_of(session, batch)


def _take_in(server: Server, claim: Claim[NumberOrder], owned: Owned, now: datetime, proven: bool = False) -> bool:
    """Lets the number of our account arrive; False when it is there for something else. `proven`: it was just sold to us."""
    try:
        with server.database.writing() as session:
            order = ORDERS.held(session, claim)
            if order is None:
                return True
            if not (proven or is_ours(session, order, owned.label)):
                return False
            arrive(session, server, order, owned, now)
    except AlreadyHere:
        log.error("bought_number_stands_in_another_project", order=claim.id)
        _end_lost(server, claim, NAMED_ELSEWHERE, (), now)
    return True


def _lose(server: Server, shop: NumberShop, claim: Claim[NumberOrder], sentence: str, now: datetime) -> None:
    """Looks for another number by the batch's search, if it has one, because this number is not to be had.

    The order stays open until another number is found or surely none is, so that a crash between forgets nothing."""
    with server.database.reading() as session:
        batch = session.get_one(NumberBatch, claim.job.batch_id)
        orders = session.scalars(select(NumberOrder).where(NumberOrder.batch_id == batch.id)).all()
        country, area_code, contains = (
            str(batch.search.get(name) or "") for name in ("country", "area_code", "contains")
        )
        chosen = chosen_at(session, claim.job.project_id, claim.job.carrier_account, country)
    losses = sum(order.state in (OrderState.LOST, OrderState.REPLACED) for order in orders)
    ordered = sum(order.state != OrderState.REPLACED for order in orders)
    candidates = []
    try:
        if country and losses < ordered + SPARE_LOSSES:
            had = {order.e164 for order in orders}
            offers = shop.search(country, area_code, contains, chosen=chosen)
            candidates = [offer.e164 for offer in offers if offer.e164 not in had]
    except (TryLater, OutcomeUnknown) as error:
        return _postpone(server, claim, now + _pause(claim, error, now), str(error))
    except ShopError:
        pass
    _end_lost(server, claim, sentence, candidates, now)


def _end_lost(
    server: Server, claim: Claim[NumberOrder], sentence: str, candidates: Sequence[str], now: datetime
) -> None:
    """Gives the money back, and orders the first free candidate in the lost number's place, if the balance covers it."""
    with server.database.writing() as session:
        order = ORDERS.held(session, claim)
        if order is None:
            return
        batch, scenario = _batch_of(session, order)
        wait_for_arrivals(session)
        end_unbought(session, order, OrderState.LOST, sentence, now)
        if candidates:
            balance = lock_balance(session, batch.project_id)
            price = price_of(server.settings, session.get_one(Project, batch.project_id, populate_existing=True))
            taken = taken_numbers(session, candidates)
            free = (e164 for e164 in candidates if e164 not in taken)
            if balance >= price and any(write_order(session, batch, e164, price, now) for e164 in free):
                order.state = OrderState.REPLACED
        finish_batch(session, batch, scenario, now)


def _refuse(server: Server, claim: Claim[NumberOrder], sentence: str, now: datetime, alike: bool = False) -> None:
    """Ends an order that the carrier refuses. `alike`: orders of the batch for numbers of the same country that nobody asked for yet end
    with it, because what the carrier demands differs by country."""
    with server.database.writing() as session:
        order = ORDERS.held(session, claim)
        if order is None:
            return
        batch, scenario = _batch_of(session, order)
        ended = [order]
        if alike:
            waiting = select(NumberOrder).where(
                NumberOrder.batch_id == order.batch_id,
                NumberOrder.state == OrderState.INTENT,
                NumberOrder.attempts == 0,
            )
            rows = session.scalars(
                skip_locked(waiting, dialect_name(session)).execution_options(populate_existing=True)
            )
            country = country_of(order.e164)
            ended += [other for other in rows if country_of(other.e164) == country]
        for refused in ended:
            end_unbought(session, refused, OrderState.REFUSED, sentence, now)
        batch.error = sentence[:SENTENCE_LENGTH]
        finish_batch(session, batch, scenario, now)


def pause_after(error: ShopError, age: timedelta, longest: timedelta) -> timedelta:
    """How long the carrier is left alone after an error about a job of this age: a growing pause, or a longer one if the carrier asks for
    it."""
    requested = requested_pause(error.seconds if isinstance(error, TryLater) else None, LONGEST_REQUESTED)
    return max(backoff_by_age(age, FIRST_PAUSE, longest), requested)


def label_of(order_id: int) -> str:
    """The label that the carrier keeps beside the number that was bought for an order."""
    return f"ct:{order_id}"


def write_order(
    session: Session, batch: NumberBatch, e164: str, price: int, now: datetime, due_at: datetime | None = None
) -> NumberOrder | None:
    """The order and its charge; None when the number is being bought already. The worker goes on with it from `due_at`, or at once.

    Raises:
        BalanceTooLow: the balance does not cover it; the transaction has to be rolled back.
    """
    start = now
    while price and find_entry(session, batch.project_id, rent_reason(e164, start)):
        start += timedelta(microseconds=1)  # a start that was charged for and refunded would count as paid
    row = insert_new(session, NumberOrder, unique=["e164"], where=OPEN).values(
        batch_id=batch.id,
        project_id=batch.project_id,
        e164=e164,
        state=OrderState.INTENT,
        price_minor=price,
        carrier_account=sid_of_project(session, batch.project_id),
        charged_from=start,
        next_at=due_at or now,
        created_at=now,
    )
    order = session.scalars(row.returning(NumberOrder)).one_or_none()
    if order is not None and price:
        reason = rent_reason(e164, start)
        post(session, batch.project_id, Post(-price, reason, batch.actor, BOUGHT, e164, batch.scenario_id), now)
    return order


def end_unbought(session: Session, order: NumberOrder, state: OrderState, sentence: str, now: datetime) -> None:
    """Ends an order without a number and gives the money back (R4)."""
    order.state, order.error, order.ended_at = state, sentence[:SENTENCE_LENGTH], now
    batch = session.get_one(NumberBatch, order.batch_id)
    if order.price_minor:
        reason = f"refund:{rent_reason(order.e164, order.charged_from)}"
        refund = Post(order.price_minor, reason, batch.actor, "Not bought", order.e164, batch.scenario_id)
        post(session, order.project_id, refund, now)
    record(session, Actor(batch.actor), now, "number.not_bought", order.e164, order.project_id, why=order.error)
    session.flush()


def is_ours(session: Session, order: NumberOrder, label: str) -> bool:
    """Whether the label of a number in our account says that it was bought for this order, or for an earlier one of the same number
    (the carrier did that later than we looked). Two servers may share an account: a label alone proves nothing."""
    if label == label_of(order.id):
        return True
    kind, _, text = label.partition(":")
    if kind != "ct" or (earlier_id := parse_int(text)) is None:
        return False
    earlier = select(NumberOrder.id).where(NumberOrder.id == earlier_id, NumberOrder.e164 == order.e164)
    return session.scalar(earlier) is not None


class AlreadyHere(Exception):
    """The number that we bought stands in another project: somebody put it there by hand."""


def target_of(session: Session, batch: NumberBatch) -> Scenario | None:
    """The batch's scenario, locked, if numbers can still be placed in it; else they go to the project's free ones."""
    if batch.scenario_id is None:
        return None
    scenario = session.get(Scenario, batch.scenario_id, with_for_update=True, populate_existing=True)
    if scenario is None or scenario.project_id != batch.project_id or scenario.deleted_at is not None:
        return None
    return None if session.get_one(Project, batch.project_id, populate_existing=True).suspended_at else scenario


def arrive(session: Session, server: Server, order: NumberOrder, owned: Owned, now: datetime) -> None:
    """Brings a number in that the carrier sold for this order, paid for 7 days from when it was charged.

    Raises:
        AlreadyHere: nothing may be stored.
    """
    batch, scenario = _batch_of(session, order)
    rented = {"owned_elsewhere": False, "carrier_sid": owned.sid, "bought_at": now}
    rented["carrier_account"] = order.carrier_account
    rented["paid_until"] = order.charged_from + PAID_TIME
    number = bring_in(session, order.project_id, order.e164, now, rented)
    if number is None:
        raise AlreadyHere
    if scenario is not None:
        number.scenario_id = scenario.id
        number.static_source = static_sources(scenario.channels).get(order.e164)
        scenario.mark_changed(batch.actor, now)
    session.flush()
    numbers_changed.send(server, session=session, project_id=order.project_id, number_ids=[number.id])
    order.state, order.error, order.number_id, order.ended_at = OrderState.BOUGHT, "", number.id, now
    detail: dict[str, Any] = {"price_minor": order.price_minor, "batch": batch.id}
    if scenario is not None:
        detail["scenario"] = scenario.id
    record(session, Actor(batch.actor), now, "number.bought", order.e164, order.project_id, **detail)
    finish_batch(session, batch, scenario, now)


def finish_batch(session: Session, batch: NumberBatch, scenario: Scenario | None, now: datetime) -> None:
    """Ends the batch when no order of it is open, and enables its scenario if `enable` says so and it has a number."""
    session.flush()
    session.refresh(batch, with_for_update=True)
    is_open = select(NumberOrder.id).where(NumberOrder.batch_id == batch.id, OPEN).limit(1)
    if batch.finished_at is not None or session.scalar(is_open) is not None:
        return
    batch.finished_at = now
    if not batch.enable or scenario is None or scenario.enabled:
        return
    ready = select(TrackingNumber.id).where(
        TrackingNumber.scenario_id == scenario.id, TrackingNumber.overflow.is_(False)
    )
    if session.scalar(ready.limit(1)) is not None:
        scenario.enabled = True
        scenario.mark_changed(batch.actor, now)
        subject = f"scenario {scenario.id} “{scenario.title}”"
        record(session, Actor(batch.actor), now, "scenario.enabled", subject, scenario.project_id)


@dataclass(frozen=True)
class Progress:
    """How far a batch is. `problems`: (number, sentence) of the failed orders, and of those that the carrier makes wait."""

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
    orders = session.execute(
        counted.where(NumberOrder.batch_id == batch_id, NumberOrder.state != OrderState.REPLACED)
    ).all()
    bought = sum(order.state == OrderState.BOUGHT for order in orders)
    waiting = sum(order.state in OPEN_STATES for order in orders)
    problems = [(order.e164, order.error) for order in orders if order.error]
    failed = len(orders) - bought - waiting
    return Progress(len(orders), bought, failed, waiting, problems, batch.finished_at is not None)
