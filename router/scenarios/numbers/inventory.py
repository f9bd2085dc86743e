"""Tracking numbers of a project: adding, placing in scenarios, moving, pinning, removing. In one project, in at most one scenario. Their
history stays with them: repeat callers are known by the number (R7)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Project
from router.db import insert_new, wait_for_turn
from router.lib.phones import BadPhone, read_phone
from router.scenarios.documents import present_scenarios
from router.scenarios.flows import destinations_of, numbers_here, tracking_among
from router.scenarios.models import (
    HERE,
    OPEN,
    NumberOrder,
    Scenario,
    TrackingNumber,
    free_numbers_changed,
    numbers_changed,
)
from router.server import Server
from router.web.errors import Problem, Refused

StaticSource = dict[str, Any] | None

HERE_ALREADY = "{number} is a number of this project already."
ELSEWHERE = "{number} belongs to another project of this server. It has to be removed there first."
IS_DESTINATION = "Calls are forwarded to {number}: it cannot be a tracking number as well."
BEING_BOUGHT = "{number} is being bought already."
LEAVING = "{number} is being given back to the carrier: it cannot be used any more."
ARRIVALS = 7303
"""Names the turn in which numbers come to this server, so that one is never ordered here and added there at once."""


def add_number(change: Change, text: str) -> TrackingNumber:
    """Adds a number that is owned elsewhere and only forwarded here (R5).

    Raises:
        Refused: it is no number, or calls are forwarded to it.
        Problem: 409, it is in this project already, or in another one.
    """
    session, project = change.session, change.project
    try:
        e164 = read_phone(text, project.country)
    except BadPhone as error:
        raise Refused({"e164": str(error)}) from None
    if e164 in _forwarded_to(session, project):
        raise Refused({"e164": IS_DESTINATION.format(number=e164)})
    number = _insert(change, e164)
    if number is None:
        raise Problem(409, why_taken(session, project, e164), "e164")
    free_numbers_changed.send(session=session, project_id=project.id)
    change.record("number.added", e164)
    return number


def add_numbers(change: Change, texts: Sequence[str]) -> list[TrackingNumber]:
    """Adds all of them, or none.

    Raises:
        Refused: `errors` by the index of the text.
    """
    session, project = change.session, change.project
    forwarded_to = _forwarded_to(session, project)
    added: dict[str, TrackingNumber] = {}
    errors: dict[str, str] = {}
    for index, text in enumerate(texts):
        try:
            e164 = read_phone(text, project.country)
        except BadPhone as error:
            errors[str(index)] = str(error)
            continue
        if e164 in added:
            errors[str(index)] = f"{e164} is named twice."
        elif e164 in forwarded_to:
            errors[str(index)] = IS_DESTINATION.format(number=e164)
        elif number := _insert(change, e164):
            added[e164] = number
        else:
            errors[str(index)] = why_taken(session, project, e164)
    if errors:
        raise Refused(errors)
    for e164 in added:
        change.record("number.added", e164)
    free_numbers_changed.send(session=session, project_id=project.id)
    return list(added.values())


def _insert(change: Change, e164: str) -> TrackingNumber | None:
    """The new row; None when the number is on this server already, or being bought."""
    wait_for_arrivals(change.session)
    if e164 in taken_numbers(change.session, [e164]):
        return None
    not_rented = {"owned_elsewhere": True, "carrier_sid": None, "bought_at": None, "paid_until": None}
    return bring_in(change.session, change.project.id, e164, change.now, not_rented)


def bring_in(
    session: Session, project_id: int, e164: str, now: datetime, values: Mapping[str, Any]
) -> TrackingNumber | None:
    """The row of a number that comes to a project; None when it is on this server already. A project that had the number before goes on
    with the same row: its calls and leases stay with it, and repeat callers are known by it (R7)."""
    if tracking_among(session, [e164]):
        return None
    before = select(TrackingNumber).where(TrackingNumber.e164 == e164, TrackingNumber.project_id == project_id)
    newest = before.order_by(TrackingNumber.released_at.desc(), TrackingNumber.id.desc()).limit(1)
    number = session.scalar(newest.with_for_update().execution_options(populate_existing=True))
    if number is None:
        new = insert_new(session, TrackingNumber, unique=["e164"], where=HERE)
        new = new.values(project_id=project_id, e164=e164, created_at=now, **values).returning(TrackingNumber)
        return session.scalars(new).one_or_none()
    number.released_at = number.releasing_at = number.carrier_next_at = None
    number.scenario_id = number.static_source = None
    number.overflow = number.pinned = False
    number.carrier_error = number.carrier_account = ""
    for name, value in values.items():
        setattr(number, name, value)
    session.flush()
    return number


def wait_for_arrivals(session: Session) -> None:
    wait_for_turn(session, ARRIVALS, 0)


def taken_numbers(session: Session, e164s: Iterable[str]) -> set[str]:
    """Those of the numbers that are on this server, in whichever project, or are being bought."""
    numbers = list(e164s)
    ordered = select(NumberOrder.e164).where(NumberOrder.e164.in_(numbers), OPEN)
    return tracking_among(session, numbers) | set(session.scalars(ordered))


def why_taken(session: Session, project: Project, e164: str, leaving: str = "") -> str:
    """Why a number cannot come to this project; `leaving` says so of one that it is giving back."""
    number = session.scalar(numbers_here([e164]))
    if number is None:
        sentence = BEING_BOUGHT
    elif number.project_id != project.id:
        sentence = ELSEWHERE
    else:
        sentence = leaving if leaving and number.releasing_at else HERE_ALREADY
    return sentence.format(number=e164)


def _forwarded_to(session: Session, project: Project) -> set[str]:
    return destinations_of(session, project.id) | {project.fallback_destination}


def present_numbers(project_id: int) -> Select[TrackingNumber]:
    """SELECT of the numbers of a project that were not given back to the carrier."""
    return select(TrackingNumber).where(TrackingNumber.project_id == project_id, TrackingNumber.released_at.is_(None))


def free_numbers(session: Session, project_id: int) -> list[TrackingNumber]:
    """The project's numbers that are in no scenario, oldest first."""
    free = present_numbers(project_id).where(
        TrackingNumber.scenario_id.is_(None), TrackingNumber.releasing_at.is_(None)
    )
    return list(session.scalars(free.order_by(TrackingNumber.id)))


def place_numbers(
    session: Session,
    server: Server,
    scenario: Scenario,
    lendable: Mapping[str, StaticSource],
    overflow: str | None = None,
) -> list[TrackingNumber]:
    """Makes exactly these numbers of the project the scenario's: `lendable` with their static source (None: dynamic), and `overflow`,
    which is not among them. The other numbers of the scenario become free and keep where their calls went (`last_flow_id`, R12).

    Returns the numbers that changed, after telling the packages above in the same transaction.

    Raises:
        Problem: 409 when another scenario took a number meanwhile, or it is being given back.
    """
    everyone = {**lendable, overflow: None} if overflow else lendable
    rows = (
        present_numbers(scenario.project_id)
        .where(or_(TrackingNumber.e164.in_(list(everyone)), TrackingNumber.scenario_id == scenario.id))
        .order_by(TrackingNumber.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    changed = []
    for number in session.scalars(rows).all():
        before = (number.scenario_id, number.static_source, number.overflow)
        if number.e164 not in everyone:
            number.scenario_id = number.static_source = None
            number.last_flow_id = scenario.call_flow_id or number.last_flow_id
        elif number.scenario_id not in (None, scenario.id):
            raise Problem(409, f"Another scenario took {number.e164} meanwhile. Look again, then repeat.", "numbers")
        elif number.releasing_at is not None:
            raise Problem(409, LEAVING.format(number=number.e164), "numbers")
        else:
            number.scenario_id, number.static_source = scenario.id, everyone[number.e164]
        number.overflow = number.e164 == overflow
        if (number.scenario_id, number.static_source, number.overflow) != before:
            changed.append(number)
    session.flush()
    if changed:
        numbers_changed.send(
            server, session=session, project_id=scenario.project_id, number_ids=[number.id for number in changed]
        )
    return changed


def remove_number(change: Change, number_id: int) -> TrackingNumber:
    """Removes a number that was typed wrongly: free, shown to nobody, called by nobody. Other numbers keep their history.

    Raises:
        Problem: 404, it is not this project's; 409, it is in use or has a history.
    """
    session, project_id = change.session, change.project.id
    number = session.get(TrackingNumber, number_id, with_for_update=True)
    if number is None or number.project_id != project_id:
        raise Problem(404, "There is no such number.")
    if not number.owned_elsewhere:
        raise Problem(409, f"{number.e164} is rented: it has to be given back to the carrier instead.")
    if number.scenario_id is not None:
        raise Problem(409, f"{number.e164} is in a scenario. Take it out there first.")
    if number.calls or number.last_shown_at or number.last_flow_id:
        raise Problem(409, f"{number.e164} was in use: customers may still call it, so it stays and is forwarded.")
    session.delete(number)
    numbers_changed.send(session=session, project_id=project_id, number_ids=[number_id])
    change.record("number.removed", number.e164)
    return number


def move_numbers(change: Change, number_ids: Iterable[int], scenario_id: int | None) -> list[TrackingNumber]:
    """Puts numbers into a scenario, as dynamic ones, or takes them out (None); returns the numbers that moved.

    A number that leaves a scenario keeps where its calls went (R12), and its channel goes from there. The version of each scenario rises.

    Raises:
        Problem: 404, a number or the scenario is not this project's; 409, a number is being given back.
    """
    session, project = change.session, change.project
    ids = set(number_ids)
    leaving = session.scalars(select(TrackingNumber.scenario_id).where(TrackingNumber.id.in_(ids)).distinct())
    concerned = present_scenarios(project.id).where(Scenario.id.in_({*leaving, scenario_id} - {None}))
    rows = concerned.order_by(Scenario.id).with_for_update().execution_options(populate_existing=True)
    scenarios = {
        scenario.id: scenario for scenario in session.scalars(rows)
    }  # locked before the numbers, as everywhere
    if scenario_id is not None and scenario_id not in scenarios:
        raise Problem(404, "There is no such scenario.", "scenario")
    numbers = locked_numbers(session, project, ids)
    for number in numbers:
        if number.releasing_at:
            raise Problem(409, LEAVING.format(number=number.e164))
        if number.scenario_id is not None and number.scenario_id not in scenarios:
            raise Problem(409, f"Somebody else moved {number.e164} meanwhile. Look again, then repeat.")
    moved = [number for number in numbers if number.scenario_id != scenario_id]
    for number in moved:
        if before := scenarios.get(number.scenario_id or 0):
            leave_scenario(number, before)
        number.scenario_id, number.static_source, number.overflow = scenario_id, None, False
        change.record("number.moved", number.e164, scenario=scenario_id)
    if moved:
        for scenario in scenarios.values():
            scenario.mark_changed(change.actor.name, change.now)
        session.flush()
        moved_ids = [number.id for number in moved]
        numbers_changed.send(change.server, session=session, project_id=project.id, number_ids=moved_ids)
    return moved


def pin_number(change: Change, number_id: int, on: bool) -> TrackingNumber:
    """A pinned number is never given back by the server (R5).

    Raises:
        Problem: 404.
    """
    number = locked_numbers(change.session, change.project, [number_id])[0]
    if number.pinned != on:
        number.pinned = on
        change.record("number.pinned" if on else "number.unpinned", number.e164)
    return number


def locked_numbers(session: Session, project: Project, number_ids: Iterable[int]) -> Sequence[TrackingNumber]:
    """
    Raises:
        Problem: 404 when one of them is no number of this project (any more).
    """
    ids = set(number_ids)
    rows = present_numbers(project.id).where(TrackingNumber.id.in_(ids)).order_by(TrackingNumber.id)
    numbers = session.scalars(rows.with_for_update().execution_options(populate_existing=True)).all()
    if len(numbers) != len(ids) or not ids:
        raise Problem(404, "There is no such number.")
    return numbers


def leave_scenario(number: TrackingNumber, scenario: Scenario) -> None:
    """Takes the number out: its calls still go where they went (R12), and the scenario's channels no longer name it."""
    number.scenario_id, number.static_source, number.overflow = None, None, False
    number.last_flow_id = scenario.call_flow_id or number.last_flow_id
    if any(channel.get("number") == number.e164 for channel in scenario.channels):
        scenario.channels = [channel for channel in scenario.channels if channel.get("number") != number.e164]
