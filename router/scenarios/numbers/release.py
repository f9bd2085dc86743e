"""Giving numbers back to the carrier (R4, R5): at once out of their scenario, then asked of the carrier until it is done."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.models import Project
from router.carriers import shop_of
from router.carriers.base import ShopError, TryLater
from router.db import dialect_name, skip_locked
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.moves import leave_scenario
from router.scenarios.numbers.orders import LEASE, SENTENCE_LENGTH
from router.scenarios.signals import numbers_changed
from router.server import Server
from router.web.errors import Problem

ACTIVITY = "number_activity"
Activity = Callable[[Session, Iterable[int], datetime], set[int]]
"""(session, number ids, now) -> those that a visitor sees on his page now."""

AT_ONCE = 8
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
LOOK_AGAIN = timedelta(minutes=1)
LONGEST_VISIT = timedelta(days=1)
"""So long a number waits for the visitors who see it."""

PINNED = "{number} is pinned. Unpin it first."
OWN = "{number} is owned elsewhere: there is nobody to give it back to."

log = structlog.get_logger(__name__)


def add_activity(server: Server, activity: Activity) -> None:
    """The floor that knows visitors tells which numbers they see."""
    server.registries[ACTIVITY] = activity


def active_numbers(session: Session, server: Server, number_ids: Iterable[int], now: datetime) -> set[int]:
    activity: Activity | None = server.registries.get(ACTIVITY)
    return activity(session, number_ids, now) if activity else set()


def begin_release(
    session: Session, server: Server, project: Project, actor_name: str, number: TrackingNumber, now: datetime
) -> None:
    """Takes a rented number out of its scenario and no longer renews it; the worker gives it back when nobody sees it any more.

    Calls to it still follow its last flow (R12). One that is being given back already stays so.

    Raises:
        Problem: 404, it is not this project's; 409, it is pinned or owned elsewhere.
    """
    scenario = session.get(Scenario, number.scenario_id, with_for_update=True) if number.scenario_id else None
    session.refresh(number, with_for_update=True)
    _check(project, number, scenario)
    if number.releasing_at is not None:
        return
    if scenario is not None:
        leave_scenario(number, scenario)
        scenario.mark_changed(actor_name, now)
    number.releasing_at = number.carrier_next_at = now
    number.carrier_error = ""
    session.flush()
    numbers_changed.send(server, session=session, project_id=project.id, number_ids=[number.id])
    record(session, Actor(actor_name), now, "number.release_begun", number.e164, project.id)


def _check(project: Project, number: TrackingNumber, scenario: Scenario | None) -> None:
    if number.project_id != project.id or number.released_at is not None:
        raise Problem(404, "There is no such number.")
    if number.owned_elsewhere:
        raise Problem(409, OWN.format(number=number.e164))
    if number.pinned:
        raise Problem(409, PINNED.format(number=number.e164))
    if number.scenario_id != (scenario.id if scenario else None):
        raise Problem(409, f"Somebody else moved {number.e164} meanwhile. Look again, then repeat.")


@dataclass(frozen=True, slots=True)
class Claim:
    """A number that one process asks the carrier to take back, until `until`, which is also the fence."""

    number_id: int
    sid: str | None
    until: datetime


def advance_releases(server: Server, now: datetime) -> int:
    """Asks the carrier to take back the numbers that are due, a few side by side; returns how many. Call it again until it is 0."""
    with server.database.writing() as session:
        claims = _claim_due(session, server, now)
    if claims:
        with ThreadPoolExecutor(len(claims), "release") as pool:
            list(pool.map(lambda claim: _give_back(server, claim, now), claims))
    return len(claims)


def _claim_due(session: Session, server: Server, now: datetime) -> list[Claim]:
    due = (
        select(TrackingNumber)
        .where(
            TrackingNumber.releasing_at.is_not(None),
            TrackingNumber.released_at.is_(None),
            TrackingNumber.carrier_next_at <= now,
        )
        .order_by(TrackingNumber.carrier_next_at)
        .limit(AT_ONCE)
        .execution_options(populate_existing=True)
    )
    numbers = session.scalars(skip_locked(due, dialect_name(session))).all()
    seen = active_numbers(session, server, [one.id for one in numbers], now)
    claims = []
    for number in numbers:
        if number.id in seen and number.releasing_at and now - number.releasing_at < LONGEST_VISIT:
            number.carrier_next_at = now + LOOK_AGAIN
            continue
        number.carrier_next_at = now + LEASE
        claims.append(Claim(number.id, number.carrier_sid, number.carrier_next_at))
    return claims


def _give_back(server: Server, claim: Claim, now: datetime) -> None:
    """A request that was not answered clearly is simply repeated: what is not ours any more is released."""
    try:
        if claim.sid:
            shop_of(server).release(claim.sid)
    except ShopError as error:
        _settle(server, claim, now, error)
    except Exception:
        log.exception("release_failed", number=claim.number_id)
    else:
        _settle(server, claim, now, None)


def _settle(server: Server, claim: Claim, now: datetime, error: ShopError | None) -> None:
    with server.database.writing() as session:
        number = session.scalar(
            select(TrackingNumber)
            .where(TrackingNumber.id == claim.number_id, TrackingNumber.carrier_next_at == claim.until)
            .with_for_update()
        )
        if number is None or number.releasing_at is None:
            return
        if error is None:
            number.released_at, number.carrier_next_at, number.carrier_error = now, None, ""
        else:
            number.carrier_next_at = now + _pause(now - number.releasing_at, error)
            number.carrier_error = str(error)[:SENTENCE_LENGTH]


def _pause(since: timedelta, error: ShopError) -> timedelta:
    """Growing, or what the carrier wished for, if that is longer; it is asked for ever."""
    wished = timedelta(seconds=min(error.seconds or 0, 3600)) if isinstance(error, TryLater) else timedelta()
    return max(min(max(since / 2, FIRST_PAUSE), LONGEST_PAUSE), wished)
