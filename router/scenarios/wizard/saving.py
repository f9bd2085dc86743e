"""Saves what the wizard holds: its own numbers are added, then the scenario is made or changed; all of it or nothing (R2)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.access import Actor
from router.accounts.models import Project
from router.phones import BadPhone, read_phone
from router.scenarios.documents import scenario_document
from router.scenarios.linting.lint import Finding, lint
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers import add_numbers
from router.scenarios.parts import parts_of
from router.scenarios.refusal import Refused
from router.scenarios.scenarios import Secrets, change_scenario, create_scenario
from router.scenarios.wizard.form import Values, document_of_values, lines_of
from router.server import Server

MOST_OWN = 1000


@dataclass(frozen=True)
class Work:
    """Who saves what, and when. Without a scenario a new one is made; `version` is the one that he saw, None: whatever it is."""

    server: Server
    project: Project
    actor: Actor
    values: Values
    now: datetime
    scenario_id: int | None = None
    version: int | None = None


def save(session: Session, work: Work) -> tuple[Scenario, Secrets]:
    """Stores the draft; the scenario stays on or off as it is, and a new one is off. Nothing is bought.

    Raises:
        Refused: every field that cannot be used; nothing may be stored.
        Problem: 409 when somebody else changed the scenario since `version`.
    """
    document, errors = document_of_values(work.values, parts_of(work.server), work.project.currency)
    document["numbers"] += [one for one in _own_numbers(session, work, errors) if one not in document["numbers"]]
    try:
        scenario, secrets = _store(session, work, document)
    except Refused as refusal:
        raise Refused(refusal.errors | errors) from None
    if errors:
        raise Refused(errors)
    return scenario, secrets


def _store(session: Session, work: Work, document: dict[str, Any]) -> tuple[Scenario, Secrets]:
    common = (session, work.server, work.project, work.actor)
    if work.scenario_id is None:
        return create_scenario(*common, document, work.now)
    return change_scenario(*common, work.scenario_id, _onto(document, work.values), work.version, work.now)


def _onto(document: dict[str, Any], values: Values) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the wizard does not show stays; so do numbers that came in after the draft was begun."""

    def edit(present: dict[str, Any]) -> dict[str, Any]:
        known = set(values.get("base", present["numbers"])) | set(document["numbers"])
        arrived = [number for number in present["numbers"] if number not in {*known, document["overflow"]}]
        return document | {"enabled": present["enabled"]} | {"numbers": document["numbers"] + arrived}

    return edit


def _own_numbers(session: Session, work: Work, errors: dict[str, str]) -> list[str]:
    """The numbers that were typed, in E.164; those that are not the project's yet are added."""
    lines = lines_of(work.values["numbers"]["own"])
    if len(lines) > MOST_OWN:
        errors["own"] = f"At most {MOST_OWN} numbers can be added at once."
        return []
    read = {line: _read(line, work.project.country) for line in lines}
    here = set(
        session.scalars(
            select(TrackingNumber.e164).where(
                TrackingNumber.project_id == work.project.id,
                TrackingNumber.e164.in_(list(read.values())),
                TrackingNumber.released_at.is_(None),
            )
        )
    )
    new = [line for line in lines if read[line] not in here]
    try:
        add_numbers(session, work.project, work.actor, new, work.now)
    except Refused as refusal:
        errors |= {f"own.{index}": said for index, said in refusal.errors.items()}
        return []
    return list(dict.fromkeys(read.values()))


def _read(line: str, country: str) -> str:
    """E.164, or the line itself when it is no number: `add_numbers` says why."""
    try:
        return read_phone(line, country)
    except BadPhone:
        return line


@dataclass(frozen=True)
class Trial:
    """What would come of a save: errors by field, and what the linter finds."""

    errors: dict[str, str]
    findings: list[Finding] = field(default_factory=list)


def try_out(work: Work) -> Trial:
    """Saves and takes it back at once, so that every error is found and nothing stays."""
    with work.server.database.writing() as session:
        attempt = session.begin_nested()
        try:
            scenario, _ = save(session, work)
            document = scenario_document(session, work.server, scenario)
            return Trial({}, lint(session, work.server, work.project, scenario.id, document))
        except Refused as refusal:
            return Trial(refusal.errors)
        finally:
            attempt.rollback()
