"""The switch of a scenario's upkeep (R3, R9). What upkeep does stands in attribution/upkeep.py."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.audit import record
from router.accounts.models import Project
from router.scenarios.models import Scenario, TrackingNumber
from router.web import Problem

NO_POOL = "This scenario has no dynamic numbers, so there is nothing that upkeep could buy or give back."


def switch_upkeep(
    session: Session, project: Project, actor: Actor, scenario_id: int, on: bool, now: datetime
) -> Scenario:
    """Switches upkeep on or off; on remembers how many dynamic numbers it began with, of which the limit is twice as many (R9).

    Raises:
        Problem: 404; 409, it is to be switched on and the scenario has no dynamic numbers.
    """
    scenario = session.get(Scenario, scenario_id, with_for_update=True, populate_existing=True)
    if scenario is None or scenario.project_id != project.id or scenario.deleted_at is not None:
        raise Problem(404, "There is no such scenario.")
    if scenario.upkeep_on == on:
        return scenario
    began_with = _pool_size(session, scenario) if on else scenario.upkeep_began_with
    if on and not began_with:
        raise Problem(409, NO_POOL)
    scenario.upkeep_on, scenario.upkeep_began_with = on, began_with
    scenario.version += 1
    subject = f"scenario {scenario.id} “{scenario.title}”"
    record(session, actor, now, "upkeep.on" if on else "upkeep.off", subject, project.id)
    return scenario


def _pool_size(session: Session, scenario: Scenario) -> int:
    """How many dynamic numbers it has, with those that *Connect* is still to buy."""
    counted = select(func.count(TrackingNumber.id)).where(
        TrackingNumber.scenario_id == scenario.id,
        TrackingNumber.static_source.is_(None),
        TrackingNumber.overflow.is_(False),
    )
    to_buy = scenario.to_buy
    return (session.scalar(counted) or 0) + len(to_buy.get("numbers", [])) + int(to_buy.get("count", 0))
