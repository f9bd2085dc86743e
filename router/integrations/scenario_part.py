"""The member `integrations` of a scenario: checked, stored with sealed secrets, shown without them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.api_habits import parse
from router.accounts.models import Project
from router.integrations import integration_form
from router.integrations.health import try_at_once
from router.integrations.models import Delivery, Integration
from router.integrations.shapes import SLOTS, Shape
from router.integrations.webhook import new_secret
from router.outgoing import AddressBlocked, check_literal
from router.server import Server
from router.web import Problem

NAME = "integrations"
LONGEST_DESTINATION = 80


@dataclass(frozen=True)
class Draft:
    """One slot, ready to be stored. Without a secret the stored one is kept."""

    kind: str
    destination: str
    config: dict[str, Any]
    secret: str | None


class IntegrationsPart:
    """What scenarios need to know about integrations (router/scenarios/parts.py: ScenarioPart)."""

    name = NAME
    form_template = "integrations/fields.html"

    def __init__(self, server: Server) -> None:
        self.server = server

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> dict[str, Draft]:
        """The drafts by slot; slots that are absent or null are to be removed.

        Raises:
            Problem: 422 naming the field.
        """
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise Problem(422, "This has to be an object with webhook_start, webhook_end, ga4 and crm.", NAME)
        for slot in value:
            if slot not in SLOTS:
                raise Problem(422, "There is no such integration.", f"{NAME}.{str(slot)[:60]}")
        stored = _stored(session, scenario_id)
        return {
            slot: self._draft(project, slot, value[slot], stored.get(slot))
            for slot in SLOTS
            if value.get(slot) is not None
        }

    def save(
        self, session: Session, project: Project, scenario_id: int, clean: dict[str, Draft], now: datetime
    ) -> dict[str, Any]:
        """Stores the drafts; returns the webhook secrets that were made, by dotted field name, to be shown this once."""
        rows = _stored(session, scenario_id, with_removed=True)
        shown_once: dict[str, Any] = {}
        for slot, row in rows.items():
            if slot not in clean and row.removed_at is None:
                row.removed_at, row.sealed = now, ""
        for slot, draft in clean.items():
            row = rows.get(slot) or Integration(project_id=project.id, scenario_id=scenario_id, slot=slot, sealed="")
            secret = draft.secret
            if secret is None and not row.sealed:
                secret = shown_once[f"{NAME}.{slot}.secret"] = new_secret()
            self._store(session, row, draft, secret, now)
        session.flush()
        return shown_once

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        ids = list(scenario_ids)
        shown: dict[int, dict[str, Any]] = {scenario_id: {} for scenario_id in ids}
        rows = select(Integration).where(Integration.scenario_id.in_(ids), Integration.removed_at.is_(None))
        for row in session.scalars(rows.order_by(Integration.id)):
            kind = {"kind": row.kind} if row.slot == "crm" else {}
            shown[row.scenario_id][row.slot] = kind | dict(row.config)
        return shown

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        """The secrets go where they went before: a copy has the same receivers."""
        for slot, row in _stored(session, original_id).items():
            session.add(
                Integration(
                    project_id=project.id,
                    scenario_id=copy_id,
                    slot=slot,
                    kind=row.kind,
                    destination=row.destination,
                    config=row.config,
                    sealed=row.sealed,
                    created_at=now,
                )
            )
        session.flush()

    def read_form(self, form: Mapping[str, str], before: Any) -> Any:
        return integration_form.read_form(form, before)

    def member(self, typed: Any) -> Any:
        return integration_form.member_of(typed)

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        return integration_form.veiled(typed)

    def _draft(self, project: Project, slot: str, value: Any, stored: Integration | None) -> Draft:
        kind, shape = _parse(slot, value)
        where = f"{NAME}.{slot}"
        try:
            check_literal(shape.address(), self.server.settings.allow_private)
        except AddressBlocked as refused:
            raise Problem(422, str(refused), f"{where}.{shape.address_name}") from None
        destination = _destination(kind, project.id, shape.place())
        secret = shape.secret_given()
        if secret is None and shape.bound_to_address:
            _check_kept(stored, destination, f"{where}.{shape.sealed_member}")
        return Draft(kind, destination, shape.config(), secret)

    def _store(self, session: Session, row: Integration, draft: Draft, secret: str | None, now: datetime) -> None:
        before = (row.kind, row.destination, row.config, row.removed_at)
        row.kind, row.destination, row.config, row.removed_at = draft.kind, draft.destination, draft.config, None
        if secret is not None:
            row.sealed = self.server.keys.seal(secret)
        if row.id is None:
            row.created_at = now
            session.add(row)
        elif secret is not None or before != (row.kind, row.destination, row.config, None):
            _send_waiting_now(session, row, now)


def _parse(slot: str, value: Any) -> tuple[str, Shape]:
    where = f"{NAME}.{slot}"
    if not isinstance(value, Mapping):
        raise Problem(422, "This has to be an object.", where)
    kinds = SLOTS[slot]
    kind = str(value.get("kind")) if slot == "crm" else next(iter(kinds))
    if kind not in kinds:
        raise Problem(422, f"The kind of CRM is one of: {', '.join(kinds)}.", f"{where}.kind")
    try:
        return kind, parse(kinds[kind], {name: one for name, one in value.items() if one is not None})
    except Problem as problem:
        errors = {f"{where}.{field}": text for field, text in problem.more["errors"].items()}
        raise Problem(422, problem.detail, f"{where}.{problem.field}", errors=errors) from None


def _check_kept(stored: Integration | None, destination: str, field: str) -> None:
    if stored is None or not stored.sealed:
        raise Problem(422, "This is required.", field)
    if stored.destination != destination:
        raise Problem(422, "The address changed: type the secret again, so that it goes only where you mean.", field)


def _stored(session: Session, scenario_id: int | None, with_removed: bool = False) -> dict[str, Integration]:
    if scenario_id is None:
        return {}
    rows = session.scalars(select(Integration).where(Integration.scenario_id == scenario_id))
    return {row.slot: row for row in rows if with_removed or row.removed_at is None}


def _destination(kind: str, project_id: int, place: str) -> str:
    """`odoo:3:crm.example.com/main`, shortened by a digest where it is too long."""
    full = f"{kind}:{project_id}:{place.casefold()}"
    if len(full) <= LONGEST_DESTINATION:
        return full
    digest = hashlib.blake2b(full.encode(), digest_size=8).hexdigest()
    return f"{full[: LONGEST_DESTINATION - 17]}~{digest}"


def _send_waiting_now(session: Session, row: Integration, now: datetime) -> None:
    """What waited for a mended integration is tried at once."""
    waiting = update(Delivery).where(Delivery.integration_id == row.id, Delivery.state == "pending")
    session.execute(waiting.values(next_at=now).execution_options(synchronize_session=False))
    try_at_once(session, row.destination)
