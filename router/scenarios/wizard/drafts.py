"""Drafts of the wizard: what somebody typed and has not saved, sealed, so that a closed browser loses nothing (R2)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import g, url_for
from sqlalchemy import Row, Select, delete, func, or_, select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from router.accounts.audit import Change, changing
from router.accounts.models import Project
from router.db import insert_new
from router.lib.crypto import KeyRing, SealBroken
from router.lib.formats import parse_int
from router.lib.phones import phone_or
from router.scenarios.documents import AskFirst, scenario_document
from router.scenarios.lint import Finding, lint
from router.scenarios.models import Scenario, ScenarioDraft, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers, present_numbers
from router.scenarios.service import Secrets, change_scenario, create_scenario, find_scenario
from router.scenarios.wizard.forms import (
    STEPS,
    Step,
    Values,
    document_of_values,
    read_step,
    rows_in_use,
    values_of_document,
)
from router.server import current_server
from router.web.access import current_project
from router.web.errors import Problem, Refused
from router.web.forms import lines_of

FormData = MultiDict[str, str]


def open_values(keys: KeyRing, draft: ScenarioDraft) -> Values:
    """What was typed; of a draft under a key that is no longer ours only its title is left."""
    try:
        values: Values = json.loads(keys.unseal(draft.sealed))
    except SealBroken:
        return {"title": draft.title}
    return values


def begin_draft(change: Change) -> ScenarioDraft:
    """A draft of a new scenario: a draft that this person opened and never touched, else another."""
    session, now = change.session, change.now
    untouched = select(ScenarioDraft).where(
        ScenarioDraft.project_id == change.project.id,
        ScenarioDraft.person_id == g.person.id,
        ScenarioDraft.scenario_id.is_(None),
        ScenarioDraft.updated_at == ScenarioDraft.created_at,
    )
    if (draft := session.scalars(untouched.limit(1)).first()) is not None:
        return draft
    owner = {"project_id": change.project.id, "person_id": g.person.id}
    draft = ScenarioDraft(**owner, sealed=change.server.keys.seal("{}"), created_at=now, updated_at=now)
    session.add(draft)
    session.flush()
    return draft


def find_draft(session: Session, draft_id: int, lock: bool = False) -> ScenarioDraft:
    """A draft of a new scenario. Drafts are of one person: for everybody else they are not there.

    Raises:
        Problem: 404
    """
    draft = session.get(ScenarioDraft, draft_id, with_for_update=lock or None, populate_existing=lock)
    mine = (current_project().id, g.person.id, None)
    if draft is None or (draft.project_id, draft.person_id, draft.scenario_id) != mine:
        raise Problem(404, "There is no such draft. It was saved or discarded.")
    return draft


def _of(scenario_id: int) -> Select[ScenarioDraft]:
    """SELECT of what this person changed of a scenario and has not applied."""
    return select(ScenarioDraft).where(ScenarioDraft.person_id == g.person.id, ScenarioDraft.scenario_id == scenario_id)


def keep(keys: KeyRing, draft: ScenarioDraft, values: Values, place: int, now: datetime) -> None:
    """Stores what was typed; `place` is the step (1 to 6) that was opened."""
    draft.sealed = keys.seal(json.dumps(values))
    draft.title = " ".join(str(values.get("title", "")).split())[:120]
    draft.reached = max(draft.reached, place)
    draft.updated_at = max(now, draft.created_at + timedelta(microseconds=1))  # later than its begin: it was touched


def unfinished(session: Session, project_id: int, person_id: int) -> Sequence[Row[int, str, int, datetime, int | None]]:
    """What this person began and has not saved, the latest first: `draft_id`, `title`, `place` (the furthest step, from 1), `updated_at`
    and `scenario_id` (None: a new one)."""
    title = func.coalesce(Scenario.title, func.nullif(ScenarioDraft.title, ""), "Untitled").label("title")
    columns = (ScenarioDraft.id.label("draft_id"), title, ScenarioDraft.reached.label("place"))
    drafts = (
        select(*columns, ScenarioDraft.updated_at, ScenarioDraft.scenario_id)
        .outerjoin(Scenario, Scenario.id == ScenarioDraft.scenario_id)
        .where(
            ScenarioDraft.project_id == project_id,
            ScenarioDraft.person_id == person_id,
            or_(ScenarioDraft.scenario_id.is_not(None), ScenarioDraft.updated_at != ScenarioDraft.created_at),
            Scenario.deleted_at.is_(None),
        )
        .order_by(ScenarioDraft.updated_at.desc())
    )
    return session.execute(drafts).all()


@dataclass(frozen=True)
class Editor:
    """What one person edits: a new scenario, or changes of one."""

    project: Project
    scenario: Scenario | None
    draft: ScenarioDraft | None
    values: Values
    stored: dict[str, Any]
    """The scenario's stored document; `{}` for a new one."""
    version: int
    """Of the scenario, as this person saw it when he began."""

    @property
    def reached(self) -> int:
        return len(STEPS) if self.scenario else self.draft.reached if self.draft else 1

    @property
    def kept_at(self) -> datetime | None:
        touched = self.draft and self.draft.updated_at != self.draft.created_at
        return self.draft.updated_at if self.draft and (touched or self.scenario) else None

    @property
    def stale(self) -> bool:
        """Somebody else changed the scenario since this draft was begun."""
        return self.scenario is not None and self.draft is not None and self.version != self.scenario.version

    def address(self, step: str, **more: Any) -> str:
        if self.scenario is not None:
            return url_for("wizard.change", scenario_id=self.scenario.id, step=step, **more)
        return url_for("wizard.draft", draft_id=self.draft.id if self.draft else 0, step=step, **more)

    def play_address(self) -> str:
        """The page that plays the flow."""
        if self.scenario is not None:
            return url_for("flow_play.change", scenario_id=self.scenario.id)
        return url_for("flow_play.draft", draft_id=self.draft.id if self.draft else 0)


def open_editor(
    session: Session, *, draft_id: int | None = None, scenario_id: int = 0, undrafted: bool = False
) -> Editor:
    """A draft of a new scenario; or a scenario with this person's draft of it, or as it is stored (`undrafted`).

    Raises:
        Problem: 404.
    """
    server, project = current_server(), current_project()
    scenario, draft = None, None
    if draft_id is not None:
        draft = find_draft(session, draft_id)
    else:
        scenario = find_scenario(session, project, scenario_id)
        draft = None if undrafted else session.scalar(_of(scenario_id))
    stored = scenario_document(session, server, scenario) if scenario else {}
    values = values_of_document(stored, server.scenario_parts, project.currency, project.country)
    if draft is not None:
        steps = values["forwarding"]["steps"]
        values |= open_values(server.keys, draft)
        # a draft of a release that could not show steps holds none, and takes none away
        if not rows_in_use(values, "destinations"):
            values["forwarding"].setdefault("steps", steps)
    version = draft.scenario_version if draft else scenario.version if scenario else 0
    return Editor(project, scenario, draft, values, stored, version)


def keep_step(
    change: Change, step: Step, form: FormData, *, draft_id: int | None = None, scenario_id: int = 0
) -> Editor:
    """Keeps what was typed on a step. The draft of a stored scenario is begun with what is stored, at the version that the person saw.

    Raises:
        Problem: 404.
    """
    session, server, project, now = change.session, change.server, change.project, change.now
    if draft_id is not None:
        draft = find_draft(session, draft_id, lock=True)
    else:
        scenario = find_scenario(session, project, scenario_id)
        version = parse_int(form.get("version", ""), greatest=GREATEST_VERSION)
        begun = {
            "project_id": project.id,
            "person_id": g.person.id,
            "scenario_id": scenario.id,
            "scenario_version": scenario.version if version is None else version,
            "sealed": server.keys.seal("{}"),
            "reached": len(STEPS),
            "created_at": now,
            "updated_at": now,
        }
        session.execute(insert_new(session, ScenarioDraft, unique=["person_id", "scenario_id"]).values(**begun))
        locked = _of(scenario.id).with_for_update().execution_options(populate_existing=True)
        draft = session.scalars(locked).one()
    editor = open_editor(session, draft_id=draft_id, scenario_id=scenario_id)
    values = editor.values
    values[step.name] = read_step(step.name, form, server.scenario_parts, values[step.name])
    values["title"] = form.get("title", "")
    if editor.scenario is not None:
        values.setdefault("base", editor.stored["numbers"])
    keep(server.keys, draft, values, step.place, now)
    return editor


def forget_draft(session: Session, editor: Editor) -> None:
    """
    Raises:
        Problem: 404, the draft of a new scenario was saved or discarded meanwhile.
    """
    if (draft := editor.draft) is not None:
        if editor.scenario is None:
            find_draft(session, draft.id, lock=True)
        session.execute(delete(ScenarioDraft).where(ScenarioDraft.id == draft.id))


MOST_OWN = 1000
GREATEST_VERSION = 2**31 - 1


def save(change: Change, editor: Editor, version: int | None = None) -> tuple[Scenario, Secrets]:
    """Stores the draft; the scenario stays on or off as it is, and a new one is off. Nothing is bought.

    Args:
        version: the scenario's version that the person saw; None: whatever it is.

    Raises:
        Refused: every field that cannot be used; nothing may be stored.
        Problem: 409 when somebody else changed the scenario since `version`.
    """
    scenario, values = editor.scenario, editor.values
    document, errors = document_of_values(values, change.server.scenario_parts, editor.project.currency)
    lines = lines_of(values["numbers"]["own"])
    if len(lines) > MOST_OWN:
        errors["own"] = f"At most {MOST_OWN} numbers can be added at once."
    else:  # of a line that is no number `add_numbers` says why
        read = {line: phone_or(line, change.project.country, otherwise=line) for line in lines}
        known = present_numbers(change.project.id).where(TrackingNumber.e164.in_(list(read.values())))
        of_project = {number.e164 for number in change.session.scalars(known)}
        try:
            add_numbers(change, [line for line in lines if read[line] not in of_project])
        except Refused as refusal:
            errors |= {f"own.{index}": sentence for index, sentence in refusal.errors.items()}
        else:
            document["numbers"] += [
                number for number in dict.fromkeys(read.values()) if number not in document["numbers"]
            ]

    def edit(present: dict[str, Any]) -> dict[str, Any]:
        """What the wizard does not show stays; so do numbers that came in after the draft was begun."""
        known = {*values.get("base", present["numbers"]), *document["numbers"], document["overflow"]}
        arrived = [number for number in present["numbers"] if number not in known]
        kept = {"enabled": present["enabled"], "numbers": document["numbers"] + arrived}
        return document | kept

    try:
        saved = change_scenario(change, scenario.id, edit, version) if scenario else create_scenario(change, document)
    except Refused as refusal:
        raise Refused(refusal.errors | errors) from None
    if errors:
        raise Refused(errors)
    return saved


def try_out(editor: Editor) -> tuple[dict[str, str], list[Finding]]:
    """Saves and rolls back: errors by field, and what the linter would find."""
    with changing() as change:
        attempt = change.session.begin_nested()
        try:
            scenario, _ = save(change, editor)
            document = scenario_document(change.session, change.server, scenario)
            return {}, lint(change.session, change.server, editor.project, scenario.id, document)
        except Refused as refusal:
            return refusal.errors, []
        except AskFirst:  # it is asked when the draft is saved
            return {}, []
        finally:
            attempt.rollback()
