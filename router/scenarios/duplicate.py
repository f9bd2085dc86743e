"""A copy of a scenario: its rules and integrations without its numbers, disabled (R3)."""

from datetime import datetime

from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.audit import record
from router.accounts.models import Project
from router.scenarios.channel_rows import without_numbers
from router.scenarios.flows import store_flow
from router.scenarios.models import CallFlow, Scenario
from router.scenarios.parts import parts_of
from router.scenarios.scenarios import find_scenario
from router.server import Server

COPY = " (copy)"
LONGEST_TITLE = 120


def duplicate_scenario(
    session: Session, server: Server, project: Project, actor: Actor, scenario_id: int, now: datetime
) -> Scenario:
    """The copy. Static channels stay behind with their numbers; upkeep, which spends money, is off and keeps its limits.

    Raises:
        Problem: 404.
    """
    original = find_scenario(session, project, scenario_id)
    copy = Scenario(
        project_id=project.id,
        title=original.title[: LONGEST_TITLE - len(COPY)] + COPY,
        aim=original.aim,
        exhausted=original.exhausted,
        hold_seconds=original.hold_seconds,
        tagging=original.tagging,
        channels=without_numbers(original.channels, ()),
        terms=original.terms,
        manager=original.manager,
        upkeep_spending_limit_minor=original.upkeep_spending_limit_minor,
        upkeep_max_numbers=original.upkeep_max_numbers,
        created_at=now,
    )
    session.add(copy)
    session.flush()
    if original.call_flow_id is not None:
        flow = session.get_one(CallFlow, original.call_flow_id)
        store_flow(session, copy, flow.document["destinations"], now)
    for part in parts_of(server):
        part.copy(session, project, original.id, copy.id, now)
    subject = f"scenario {copy.id} “{copy.title}”"
    record(session, actor, now, "scenario.created", subject, project.id, enabled=False, copy_of=original.id)
    session.flush()
    return copy
