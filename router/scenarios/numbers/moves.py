"""Moving tracking numbers between scenarios, and pinning them. Their history stays with them: repeat callers are known by the
number (R7)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.models import Project
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import present_numbers
from router.scenarios.service import present_scenarios
from router.scenarios.signals import numbers_changed
from router.server import Server
from router.web.errors import Problem


def move_numbers(
    session: Session,
    server: Server,
    project: Project,
    actor: Actor,
    number_ids: Iterable[int],
    scenario_id: int | None,
    now: datetime,
) -> list[TrackingNumber]:
    """Puts numbers into a scenario, as dynamic ones, or takes them out (None); returns those that moved.

    One that leaves keeps where its calls went (R12), and the channel that it stood for goes from the scenario that it leaves.
    Whoever has one of these scenarios open is told that it changed (version).

    Raises:
        Problem: 404, a number or the scenario is not this project's; 409, a number is being given back.
    """
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
            raise Problem(409, f"{number.e164} is being given back to the carrier: it cannot be used any more.")
        if number.scenario_id is not None and number.scenario_id not in scenarios:
            raise Problem(409, f"Somebody else moved {number.e164} meanwhile. Look again, then repeat.")
    moved = [number for number in numbers if number.scenario_id != scenario_id]
    for number in moved:
        if before := scenarios.get(number.scenario_id or 0):
            leave_scenario(number, before)
        number.scenario_id, number.static_source, number.overflow = scenario_id, None, False
        record(session, actor, now, "number.moved", number.e164, project.id, scenario=scenario_id)
    if moved:
        for scenario in scenarios.values():
            scenario.mark_changed(actor.name, now)
        session.flush()
        numbers_changed.send(server, session=session, project_id=project.id, number_ids=[number.id for number in moved])
    return moved


def pin_number(
    session: Session, project: Project, actor: Actor, number_id: int, on: bool, now: datetime
) -> TrackingNumber:
    """A pinned number is never given back by the server (R5).

    Raises:
        Problem: 404.
    """
    number = locked_numbers(session, project, [number_id])[0]
    if number.pinned != on:
        number.pinned = on
        record(session, actor, now, "number.pinned" if on else "number.unpinned", number.e164, project.id)
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
    """Its calls still go where they went (R12), and the scenario's channels no longer name it."""
    number.scenario_id, number.static_source, number.overflow = None, None, False
    number.last_flow_id = scenario.call_flow_id or number.last_flow_id
    if any(channel.get("number") == number.e164 for channel in scenario.channels):
        scenario.channels = [one for one in scenario.channels if one.get("number") != number.e164]
