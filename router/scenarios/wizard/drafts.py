"""Drafts of the wizard: all that somebody typed and has not saved yet, sealed, so that a closed browser loses nothing (R2)."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from router.crypto import KeyRing, SealBroken
from router.database import insert_new
from router.scenarios.models import Scenario, ScenarioDraft
from router.scenarios.wizard.steps import NAMES
from router.web import Problem

Values = dict[str, Any]


def open_values(keys: KeyRing, draft: ScenarioDraft) -> Values:
    """What was typed; of a draft under a key that is no longer ours only its title is left."""
    try:
        values: Values = json.loads(keys.unseal(draft.sealed))
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


def keep(keys: KeyRing, draft: ScenarioDraft, values: Values, place: int, now: datetime) -> None:
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
