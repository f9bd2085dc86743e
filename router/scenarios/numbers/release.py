"""Giving numbers back to the carrier (R4, R5): at once out of their scenario, then asked of the carrier until it is done."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.carriers.accounts import shop_at
from router.carriers.base import ShopError
from router.jobs import Claim, Jobs, work_side_by_side
from router.scenarios.models import Scenario, TrackingNumber, numbers_changed
from router.scenarios.numbers.inventory import leave_scenario
from router.scenarios.numbers.purchase import LEASE, SENTENCE_LENGTH, pause_after
from router.server import Server
from router.web.errors import Problem

NumbersShown = Callable[[Session, Iterable[int], datetime], set[int]]
"""(session, number ids, now) -> those that a visitor sees on his page now."""

AT_ONCE = 8
LONGEST_PAUSE = timedelta(hours=1)
"""Between two questions; the carrier is asked for ever."""
LOOK_AGAIN = timedelta(minutes=1)
LONGEST_VISIT = timedelta(days=1)
"""So long a number waits for the visitors who see it."""

RELEASES = Jobs(
    TrackingNumber,
    TrackingNumber.releasing_at.is_not(None) & TrackingNumber.released_at.is_(None),
    LEASE,
    due_at=TrackingNumber.carrier_next_at,
)


def active_numbers(session: Session, server: Server, number_ids: Iterable[int], now: datetime) -> set[int]:
    return server.numbers_shown(session, number_ids, now) if server.numbers_shown else set()


def begin_release(change: Change, number: TrackingNumber) -> None:
    """Takes a rented number out of its scenario and no longer renews it; the worker gives it back when nobody sees it any more.

    Calls to it still follow its last flow (R12). A number that is being given back already stays so.

    Raises:
        Problem: 404, it is not this project's; 409, it is pinned or owned elsewhere.
    """
    session, project, now = change.session, change.project, change.now
    scenario = session.get(Scenario, number.scenario_id, with_for_update=True) if number.scenario_id else None
    session.refresh(number, with_for_update=True)
    if number.project_id != project.id or number.released_at is not None:
        raise Problem(404, "There is no such number.")
    if number.owned_elsewhere:
        raise Problem(409, f"{number.e164} is owned elsewhere: there is nobody to give it back to.")
    if number.pinned:
        raise Problem(409, f"{number.e164} is pinned. Unpin it first.")
    if number.scenario_id != (scenario.id if scenario else None):
        raise Problem(409, f"Somebody else moved {number.e164} meanwhile. Look again, then repeat.")
    if number.releasing_at is not None:
        return
    if scenario is not None:
        leave_scenario(number, scenario)
        scenario.mark_changed(change.actor.name, now)
    number.releasing_at = number.carrier_next_at = now
    number.carrier_error = ""
    session.flush()
    numbers_changed.send(change.server, session=session, project_id=project.id, number_ids=[number.id])
    change.record("number.release_begun", number.e164)


def advance_releases(server: Server, now: datetime) -> int:
    """Asks the carrier to take back the numbers that are due, a few side by side; returns how many. Call it again until it is 0."""
    with server.database.writing() as session:
        claims = RELEASES.claim_due(session, now, AT_ONCE)
        seen = active_numbers(session, server, [claim.id for claim in claims], now)
        waiting = [
            claim for claim in claims if claim.id in seen and now - (claim.job.releasing_at or now) < LONGEST_VISIT
        ]
        for claim in waiting:
            claim.job.carrier_next_at = now + LOOK_AGAIN
    due = [claim for claim in claims if claim not in waiting]
    work_side_by_side(due, partial(_give_back, server, now), "release")
    return len(due)


def _give_back(server: Server, now: datetime, claim: Claim[TrackingNumber]) -> None:
    """A request that was not answered clearly is simply repeated: what is not ours any more is released."""
    error: ShopError | None = None
    try:
        if claim.job.carrier_sid:
            rented = claim.job
            shop_at(server, rented.project_id, rented.carrier_account).release(claim.job.carrier_sid)
    except ShopError as refusal:
        error = refusal
    with server.database.writing() as session:
        number = RELEASES.held(session, claim)
        if number is None or number.releasing_at is None:
            return
        if error is None:
            number.released_at, number.carrier_next_at, number.carrier_error = now, None, ""
        else:
            number.carrier_next_at = now + pause_after(error, now - number.releasing_at, LONGEST_PAUSE)
            number.carrier_error = str(error)[:SENTENCE_LENGTH]
