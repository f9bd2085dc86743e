"""Brings old settings over (R13): all or nothing, and a second time nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.audit import record
from router.accounts.models import Project
from router.formats import say_count
from router.scenarios.models import Scenario
from router.scenarios.numbers import add_numbers
from router.scenarios.old_settings.lines import OldFile
from router.scenarios.old_settings.plan import ImportPlan, PlannedScenario, make_plan
from router.scenarios.refusal import Refused
from router.scenarios.scenarios import change_scenario, create_scenario
from router.server import Server


@dataclass(frozen=True)
class Imported:
    """Ids and titles of the scenarios of the file, in its order, for `roistatCalltrackingScripts`; and how many were made."""

    scenarios: list[tuple[int, str]]
    made: int
    numbers: int

    def say(self) -> str:
        if not self.numbers:
            return "All of it is here already: nothing was changed."
        return f"{say_count(self.made, 'scenario')} made, {say_count(self.numbers, 'number')} put in."

    def page_variable(self) -> str:
        """What limits a page to these scenarios."""
        return f"window.roistatCalltrackingScripts = {[one[0] for one in self.scenarios]};"


def apply_old_settings(
    session: Session, server: Server, project: Project, actor: Actor, file: OldFile, now: datetime
) -> Imported:
    """Adds the numbers that are not here yet as own ones, makes the scenarios, switched off, and puts the numbers in.

    Raises:
        Refused: `errors` by `lines.<line>`, and by `numbers.<column>` for a question that is open; nothing may be stored.
        Problem: 409, somebody took a number meanwhile.
    """
    plan = make_plan(session, server, project, file)
    if plan.problems or plan.questions:
        open_questions = {f"numbers.{column}": question.say() for column, question in plan.questions.items()}
        raise Refused({f"lines.{line}": sentence for line, sentence in plan.problems.items()} | open_questions)
    if not plan.changes:
        return _imported(plan, [(one.scenario.id, one.title) for one in plan.scenarios if one.scenario], 0)
    there = select(Scenario.id).where(Scenario.id.in_([one.scenario.id for one in plan.scenarios if one.scenario]))
    session.execute(there.order_by(Scenario.id).with_for_update())  # scenarios before numbers, as everywhere
    add_numbers(session, project, actor, [e164 for one in plan.scenarios for e164 in one.to_add], now)
    scenarios = [_store(session, server, project, actor, one, now) for one in plan.scenarios]
    made = len(plan.new)
    subject = f"{say_count(made, 'scenario')} and {say_count(len(file.numbers), 'number')}"
    record(session, actor, now, "settings.imported", subject, project.id, scenarios=[one[0] for one in scenarios])
    return _imported(plan, scenarios, made)


def _imported(plan: ImportPlan, scenarios: list[tuple[int, str]], made: int) -> Imported:
    return Imported(scenarios, made, sum(len(one.moving) for one in plan.scenarios))


def _store(
    session: Session, server: Server, project: Project, actor: Actor, planned: PlannedScenario, now: datetime
) -> tuple[int, str]:
    numbers = planned.moving
    try:
        if planned.scenario is None:
            document = planned.settings.document(planned.title, numbers)
            scenario, _ = create_scenario(session, server, project, actor, document, now)
        elif numbers:
            edit = _with_numbers(planned, numbers)
            scenario, _ = change_scenario(
                session, server, project, actor, planned.scenario.id, edit, planned.scenario.version, now
            )
        else:
            scenario = planned.scenario
    except Refused as refusal:
        first = planned.numbers[0].line
        raise Refused({f"lines.{first}": sentence for sentence in refusal.errors.values()}) from None
    return scenario.id, scenario.title


def _with_numbers(planned: PlannedScenario, numbers: list[str]) -> Any:
    def edit(present: dict[str, Any]) -> dict[str, Any]:
        return present | {
            "numbers": [*present["numbers"], *numbers],
            "channels": [*present["channels"], *planned.settings.channels(numbers)],
        }

    return edit
