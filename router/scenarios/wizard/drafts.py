"""Drafts of the wizard: all that somebody typed and has not saved yet, sealed, so that a closed browser loses nothing (R2).

Opens what somebody works on in the wizard, and keeps what was typed before anything else is done with it (R2).

Saves what the wizard holds: its own numbers are added, then the scenario is made or changed; all of it or nothing (R2)."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.accounts.models import Project
from router.db import insert_new
from router.lib.crypto import KeyRing, SealBroken
from router.lib.formats import parse_int
from router.lib.phones import BadPhone, read_phone
from router.scenarios.documents import parts_of, scenario_document
from router.scenarios.lint.rules import Finding, lint
from router.scenarios.models import Scenario, ScenarioDraft, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.service import Secrets, change_scenario, create_scenario, find_scenario
from router.scenarios.wizard.forms import (
    COLUMNS,
    MOST_ROWS,
    NAMES,
    STEP_OF_ROWS,
    Form,
    Step,
    Values,
    document_of_values,
    lines_of,
    read_step,
    values_of_document,
)
from router.scenarios.wizard.previews import Desk
from router.server import Server
from router.web.errors import Problem, Refused

DraftValues = dict[str, Any]


def open_values(keys: KeyRing, draft: ScenarioDraft) -> DraftValues:
    """What was typed; of a draft under a key that is no longer ours only its title is left."""
    try:
        values: DraftValues = json.loads(keys.unseal(draft.sealed))
    except SealBroken:
        return {"title": draft.title}
    return values


def begin_draft(session: Session, keys: KeyRing, project_id: int, person_id: int, now: datetime) -> ScenarioDraft:
    """A draft of a new scenario: the one that this person opened and never touched, else another."""
    untouched = select(ScenarioDraft).where(
        ScenarioDraft.project_id == project_id,
        ScenarioDraft.person_id == person_id,
        ScenarioDraft.scenario_id.is_(None),
        ScenarioDraft.updated_at == ScenarioDraft.created_at,
    )
    if (draft := session.scalars(untouched.limit(1)).first()) is not None:
        return draft
    draft = ScenarioDraft(
        project_id=project_id, person_id=person_id, sealed=keys.seal("{}"), created_at=now, updated_at=now
    )
    session.add(draft)
    session.flush()
    return draft


def find_draft(session: Session, project_id: int, person_id: int, draft_id: int, lock: bool = False) -> ScenarioDraft:
    """A draft of a new scenario. Drafts are of one person: for everybody else they are not there.

    Raises:
        Problem: 404
    """
    draft = session.get(ScenarioDraft, draft_id, with_for_update=lock or None, populate_existing=lock)
    if draft is None or (draft.project_id, draft.person_id, draft.scenario_id) != (project_id, person_id, None):
        raise Problem(404, "There is no such draft. It was saved or discarded.")
    return draft


def draft_of(session: Session, person_id: int, scenario_id: int) -> ScenarioDraft | None:
    """What this person changed of a scenario and has not applied."""
    return session.scalars(_of(person_id, scenario_id)).one_or_none()


def _of(person_id: int, scenario_id: int) -> Select[ScenarioDraft]:
    return select(ScenarioDraft).where(ScenarioDraft.person_id == person_id, ScenarioDraft.scenario_id == scenario_id)


def lock_draft_of(
    session: Session, keys: KeyRing, scenario: Scenario, version: int, person_id: int, now: datetime
) -> ScenarioDraft:
    """The person's draft of this scenario, locked; begun at the `version` that he saw when there was none."""
    values = {
        "project_id": scenario.project_id,
        "person_id": person_id,
        "scenario_id": scenario.id,
        "scenario_version": version,
        "sealed": keys.seal("{}"),
        "reached": 6,
        "created_at": now,
        "updated_at": now,
    }
    session.execute(insert_new(session, ScenarioDraft, unique=["person_id", "scenario_id"]).values(**values))
    wanted = _of(person_id, scenario.id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(wanted).one()


def keep(keys: KeyRing, draft: ScenarioDraft, values: DraftValues, place: int, now: datetime) -> None:
    """Stores what was typed; `place` is the step (1 to 6) that was opened."""
    draft.sealed = keys.seal(json.dumps(values))
    draft.title = " ".join(str(values.get("title", "")).split())[:120]
    draft.reached = max(draft.reached, place)
    draft.updated_at = max(now, draft.created_at + timedelta(microseconds=1))  # later than its begin: it was touched


def discard_draft_of(session: Session, person_id: int, scenario_id: int) -> None:
    session.execute(
        delete(ScenarioDraft).where(ScenarioDraft.person_id == person_id, ScenarioDraft.scenario_id == scenario_id)
    )


@dataclass(frozen=True)
class Unfinished:
    """A draft as the table of scenarios shows it (templates/scenarios/_drafts.html)."""

    draft_id: int
    title: str
    place: int
    """The furthest step of six that was opened."""
    kept_at: datetime
    scenario_id: int | None
    """The scenario that is being changed; None: a new one."""

    @property
    def step(self) -> str:
        return NAMES[self.place - 1]


def unfinished(session: Session, project_id: int, person_id: int) -> list[Unfinished]:
    """What this person began and has not saved, the latest first. One statement."""
    drafts = (
        select(ScenarioDraft, Scenario.title)
        .outerjoin(Scenario, Scenario.id == ScenarioDraft.scenario_id)
        .where(
            ScenarioDraft.project_id == project_id,
            ScenarioDraft.person_id == person_id,
            or_(ScenarioDraft.scenario_id.is_not(None), ScenarioDraft.updated_at != ScenarioDraft.created_at),
            Scenario.deleted_at.is_(None),
        )
        .order_by(ScenarioDraft.updated_at.desc())
    )
    return [
        Unfinished(one.id, title or one.title or "Untitled", one.reached, one.updated_at, one.scenario_id)
        for one, title in session.execute(drafts)
    ]


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
    shown = parse_int(form.get("version", ""))
    version = scenario.version if shown is None else shown
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
    at = -1 if (row := parse_int(index)) is None else row
    if verb == "add" and len(rows) < MOST_ROWS[name]:
        rows += [dict.fromkeys(COLUMNS[name], "")] * (1 if rows else 2)
    elif verb == "remove" and 0 <= at < len(rows):
        del rows[at]
    elif verb == "up" and 0 < at < len(rows):
        rows[at - 1], rows[at] = rows[at], rows[at - 1]


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
