"""Asking the carrier for ordered numbers, step by step: every request outside a transaction, every result written at once (R5)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import cast

import structlog

from router.carriers import shop_of
from router.carriers.shop import Gone, NotForUs, NumberShop, OutcomeUnknown, Owned, ShopError, TryLater
from router.scenarios.renting import order_ends as ends
from router.scenarios.renting.orders import Claim, claim_due, claim_of, claim_order, held
from router.server import Server

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

log = structlog.get_logger(__name__)


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
        ends.postpone(server, claim, _next_look(claim, now))
    elif given_up:
        ends.refuse(server, claim, NO_ANSWER, now)
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
        ends.postpone(server, claim, now + _pause(claim, error, now), str(error))
        return True
    if owned is None:
        return False
    _keep(server, shop, claim, owned, now)
    return True


def _keep(server: Server, shop: NumberShop, claim: Claim, owned: Owned, now: datetime) -> None:
    if not ends.keep(server, claim, owned, now):
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
        ends.postpone(server, asked, now + _pause(asked, error, now), str(error), surely_not=not claim.may_be_done)
    except OutcomeUnknown as error:
        if not _found(server, shop, asked, now):
            ends.postpone(server, asked, now + LOOKS[1], str(error))
    else:
        ends.keep(server, asked, owned, now, proven=True)


def _refuse(server: Server, shop: NumberShop, before: Claim, asked: Claim, error: NotForUs, now: datetime) -> None:
    """Believed when the number is not in our account, for an earlier question may have bought it, and carriers err; or when we are
    refused the look as well (a wrong key) and did not ask before."""
    try:
        owned = shop.find(asked.e164)
    except ShopError as no_look:
        if before.may_be_done or not isinstance(no_look, NotForUs):
            ends.postpone(server, asked, now + _pause(asked, no_look, now), str(error))
            return
        owned = None
    if owned is not None and ends.keep(server, asked, owned, now):
        return
    ends.refuse(server, asked, str(error), now, alike=True)


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
        search, had = ends.wanted_instead(session, claim)
    try:
        offers = shop.search(*search) if search else []
    except (TryLater, OutcomeUnknown) as error:
        ends.postpone(server, claim, now + _pause(claim, error, now), str(error))
    except ShopError:
        ends.lose(server, claim, sentence, (), now)
    else:
        ends.lose(server, claim, sentence, [offer.e164 for offer in offers if offer.e164 not in had], now)


def _pause(claim: Claim, error: ShopError, now: datetime) -> timedelta:
    """Growing, or what the carrier wished for, if that is longer."""
    growing = min(max((now - claim.created_at) / 2, FIRST_PAUSE), LONGEST_PAUSE)
    wished = timedelta(seconds=min(error.seconds or 0, 3600)) if isinstance(error, TryLater) else timedelta()
    return max(growing, wished)
