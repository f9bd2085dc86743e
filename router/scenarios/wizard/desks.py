"""Opens what somebody works on in the wizard, and keeps what was typed before anything else is done with it (R2)."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import AuditEntry, Project
from router.scenarios.documents import scenario_document
from router.scenarios.models import Scenario, ScenarioDraft
from router.scenarios.parts import parts_of
from router.scenarios.scenarios import find_scenario
from router.scenarios.wizard.drafts import draft_of, find_draft, keep, lock_draft_of, open_values
from router.scenarios.wizard.form import (
    COLUMNS,
    MOST_ROWS,
    STEP_OF_ROWS,
    Form,
    Values,
    read_step,
    values_of_document,
)
from router.scenarios.wizard.presenting import Desk
from router.scenarios.wizard.steps import Step
from router.server import Server


def open_new(session: Session, server: Server, project: Project, person_id: int, draft_id: int) -> Desk:
    draft = find_draft(session, project.id, person_id, draft_id)
    return _desk(server, project, None, draft, {})


def open_stored(
    session: Session, server: Server, project: Project, person_id: int, scenario_id: int, undrafted: bool = False
) -> Desk:
    """A scenario with this person's draft of it, or as it is stored."""
    scenario = find_scenario(session, project, scenario_id)
    draft = None if undrafted else draft_of(session, person_id, scenario_id)
    return _desk(server, project, scenario, draft, scenario_document(session, server, scenario))


def stored_values(server: Server, desk: Desk) -> Values:
    return _shown(server, desk.project, desk.stored)


def _shown(server: Server, project: Project, stored: dict[str, Any]) -> Values:
    """Numbers are searched in the project's country, if no other was named."""
    values = values_of_document(stored, parts_of(server), project.currency)
    to_buy = values["numbers"]["to_buy"]
    to_buy["country"] = to_buy["country"] or project.country
    return values


def _desk(
    server: Server, project: Project, scenario: Scenario | None, draft: ScenarioDraft | None, stored: dict[str, Any]
) -> Desk:
    values = _shown(server, project, stored)
    if draft is not None:
        values |= open_values(server.keys, draft)
    version = draft.scenario_version if draft else scenario.version if scenario else 0
    return Desk(project, scenario, draft, values, stored, version)


def keep_new(
    session: Session, server: Server, project: Project, person_id: int, draft_id: int, step: Step, form: Form
) -> Desk:
    draft = find_draft(session, project.id, person_id, draft_id, lock=True)
    return _keep(_desk(server, project, None, draft, {}), draft, server, step, form)


def keep_stored(
    session: Session, server: Server, project: Project, person_id: int, scenario_id: int, step: Step, form: Form
) -> Desk:
    """The draft is begun with what is stored, at the version that the person was shown."""
    scenario = find_scenario(session, project, scenario_id)
    shown = form.get("version", "")
    version = int(shown) if shown.isascii() and shown.isdigit() and len(shown) < 10 else scenario.version
    draft = lock_draft_of(session, server.keys, scenario, version, person_id, server.now())
    return _keep(
        _desk(server, project, scenario, draft, scenario_document(session, server, scenario)), draft, server, step, form
    )


def _keep(desk: Desk, draft: ScenarioDraft, server: Server, step: Step, form: Form) -> Desk:
    values = desk.values
    values[step.name] = read_step(step.name, form, parts_of(server), values[step.name])
    values["title"] = form.get("title", "")
    if desk.scenario is not None:
        values.setdefault("base", desk.stored["numbers"])
    verb, _, argument = form.get("do", "").partition(".")
    if verb in ("add", "remove", "up"):
        change_rows(values, verb, argument)
    keep(server.keys, draft, values, step.place, server.now())
    return desk


def change_rows(values: Values, verb: str, argument: str) -> None:
    """`add destinations`, `remove destinations.2`, `up destinations.2`; what names no row changes nothing."""
    name, _, index = argument.partition(".")
    if name not in COLUMNS:
        return
    rows: list[dict[str, str]] = values[STEP_OF_ROWS[name]][name]
    at = int(index) if index.isascii() and index.isdigit() and len(index) < 4 else -1
    if verb == "add" and len(rows) < MOST_ROWS[name]:
        rows += [dict.fromkeys(COLUMNS[name], "")] * (1 if rows else 2)
    elif verb == "remove" and 0 <= at < len(rows):
        del rows[at]
    elif verb == "up" and 0 < at < len(rows):
        rows[at - 1], rows[at] = rows[at], rows[at - 1]


def last_change(session: Session, scenario: Scenario) -> tuple[str, datetime] | None:
    """Who changed the scenario last, and when."""
    wanted = select(AuditEntry.actor, AuditEntry.at).where(
        AuditEntry.project_id == scenario.project_id,
        AuditEntry.action.startswith("scenario."),
        AuditEntry.subject.startswith(f"scenario {scenario.id} "),
    )
    row = session.execute(wanted.order_by(AuditEntry.id.desc()).limit(1)).first()
    return (row.actor, row.at) if row else None
