"""The member `integrations` of a scenario: checked, stored with sealed secrets, shown without them; and the wizard's form of it, with
flat names like `integrations.crm.url`."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_origin

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.integrations.base import Slot, Vendor
from router.integrations.models import Delivery, DeliveryState, Integration
from router.integrations.receivers import try_at_once
from router.integrations.vendors import slots, vendors_in
from router.lib.http_client import AddressBlocked, check_literal
from router.scenarios.models import ScenarioDraft
from router.server import Server
from router.web.api import parse
from router.web.errors import Problem

NAME = "integrations"
LONGEST_RECEIVER = 80
Typed = dict[str, dict[str, Any]]
"""What was typed in the form, by slot and setting; secrets too."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Draft:
    """What one slot shall hold, ready to be stored. Without a secret the stored one is kept."""

    vendor: Vendor
    receiver: str
    config: dict[str, Any]
    secret: str | None


@dataclass(frozen=True)
class FormField:
    """A setting in the form. `type`: text, url, password, switch, or lines (`name = text` in each)."""

    name: str
    type: str
    label: str
    help: str
    placeholder: str
    default: Any


@dataclass(frozen=True)
class SlotForm:
    """The fields of a slot for one of the vendors that can fill it."""

    slot: Slot
    vendor: Vendor
    products: list[tuple[str, str]]
    """Kind and name of each vendor that can fill the slot."""
    fields: list[FormField]
    used: bool


class IntegrationsPart:
    """What scenarios need to know about integrations (router/scenarios/documents.py: ScenarioPart)."""

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
        known = slots()
        if not isinstance(value, Mapping):
            *names, last = known
            raise Problem(422, f"This has to be an object with {', '.join(names)} and {last}.", NAME)
        for name in value:
            if name not in known:
                raise Problem(422, "There is no such integration.", f"{NAME}.{str(name)[:60]}")
        stored = _stored(session, scenario_id)
        return {
            name: self._draft(project, slot, value[name], stored.get(name))
            for name, slot in known.items()
            if value.get(name) is not None
        }

    def _draft(self, project: Project, slot: Slot, value: Any, stored: Integration | None) -> Draft:
        where = f"{NAME}.{slot.name}"
        if not isinstance(value, Mapping):
            raise Problem(422, "This has to be an object.", where)
        typed = {name: setting for name, setting in value.items() if setting is not None}
        vendors = vendors_in(slot)
        if slot.names_kind and str(typed.pop("kind", None)) not in vendors:
            raise Problem(422, f"The kind of {slot.title} is one of: {', '.join(vendors)}.", f"{where}.kind")
        vendor = _chosen(slot, value)
        try:
            settings = parse(vendor.settings, typed)
        except Problem as problem:
            errors = {f"{where}.{field}": text for field, text in problem.more["errors"].items()}
            raise Problem(422, problem.detail, f"{where}.{problem.field}", errors=errors) from None
        try:
            check_literal(getattr(settings, vendor.address), self.server.settings.allow_private)
        except AddressBlocked as refused:
            raise Problem(422, str(refused), f"{where}.{vendor.address}") from None
        receiver = vendor.receiver(project.id, settings)
        if len(receiver) > LONGEST_RECEIVER:
            digest = hashlib.blake2b(receiver.encode(), digest_size=8).hexdigest()
            receiver = f"{receiver[: LONGEST_RECEIVER - 17]}~{digest}"
        secret = getattr(settings, vendor.sealed)
        if secret is None and vendor.make_secret is None:
            if stored is None or not stored.sealed:
                raise Problem(422, "This is required.", f"{where}.{vendor.sealed}")
            if stored.receiver != receiver:
                raise Problem(
                    422,
                    "The address changed: type the secret again, so that it goes only where you mean.",
                    f"{where}.{vendor.sealed}",
                )
        return Draft(vendor, receiver, settings.model_dump(exclude={vendor.sealed}), secret)

    def save(
        self, session: Session, project: Project, scenario_id: int, clean: dict[str, Draft], now: datetime
    ) -> dict[str, Any]:
        """Stores the drafts; returns the secrets that were made, by dotted field name, to be shown this once."""
        rows = _stored(session, scenario_id, with_removed=True)
        shown_once: dict[str, Any] = {}
        for slot, row in rows.items():
            if slot not in clean and row.removed_at is None:
                row.removed_at, row.sealed = now, ""
        for slot, draft in clean.items():
            row = rows.get(slot) or Integration(project_id=project.id, scenario_id=scenario_id, slot=slot, sealed="")
            secret = draft.secret
            if secret is None and not row.sealed and draft.vendor.make_secret is not None:
                secret = shown_once[f"{NAME}.{slot}.{draft.vendor.sealed}"] = draft.vendor.make_secret()
            before = (row.kind, row.receiver, row.config, row.removed_at)
            after = (draft.vendor.kind, draft.receiver, draft.config, None)
            row.kind, row.receiver, row.config, row.removed_at = after
            if secret is not None:
                row.sealed = self.server.keys.seal(secret)
            if row.id is None:
                row.created_at = now
                session.add(row)
            elif secret is not None or before != after:  # what waited for a mended integration is tried at once
                waiting = update(Delivery).where(
                    Delivery.integration_id == row.id, Delivery.state == DeliveryState.PENDING
                )
                session.execute(waiting.values(next_at=now).execution_options(synchronize_session=False))
                try_at_once(session, row.receiver)
        session.flush()
        return shown_once

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        ids = list(scenario_ids)
        shown: dict[int, dict[str, Any]] = {scenario_id: {} for scenario_id in ids}
        known = slots()
        rows = select(Integration).where(Integration.scenario_id.in_(ids), Integration.removed_at.is_(None))
        for row in session.scalars(rows.order_by(Integration.id)):
            if (slot := known.get(row.slot)) is not None:
                kind = {"kind": row.kind} if slot.names_kind else {}
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
                    receiver=row.receiver,
                    config=row.config,
                    sealed=row.sealed,
                    created_at=now,
                )
            )
        session.flush()

    def read_form(self, form: Mapping[str, str], before: Any) -> Typed:
        """All that was typed, by slot; a secret that was typed earlier for the same vendor stays until another is typed."""
        typed: Typed = {}
        for name, slot in slots().items():
            earlier = (before or {}).get(name) or {}
            kind = form.get(f"{NAME}.{name}.kind") or earlier.get("kind")
            value: dict[str, Any] = {}
            vendor = _chosen(slot, {"kind": kind})
            if slot.names_kind:
                value["kind"] = kind or vendor.kind
            for field in form_fields(vendor):
                text = form.get(f"{NAME}.{name}.{field.name}", "")
                if field.type == "switch":
                    value[field.name] = bool(text)
                elif field.type == "lines":
                    value[field.name] = text
                elif text.strip():
                    value[field.name] = text.strip()
            if earlier.get(vendor.sealed) and earlier.get("kind") == value.get("kind"):
                value.setdefault(vendor.sealed, earlier[vendor.sealed])
            typed[name] = value
        return typed

    def member(self, typed: Any) -> dict[str, Any]:
        """The member `integrations`; an absent secret means that the stored one is kept."""
        member: dict[str, Any] = {}
        for form in self.form(typed):
            value = (typed or {}).get(form.slot.name) or {}
            member[form.slot.name] = dict(value) if form.used else None
            for name in [field.name for field in form.fields if field.type == "lines"]:
                if form.used and isinstance(text := value.get(name), str):
                    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
                    member[form.slot.name][name] = {key.strip(): template.strip() for key, _, template in pairs}
        return member

    def veiled(self, typed: Any) -> tuple[Typed, set[str]]:
        """What was typed without its secrets, and the fields whose secret it holds."""
        shown: Typed = {slot: dict(value or {}) for slot, value in (typed or {}).items()}
        held = {
            f"{NAME}.{form.slot.name}.{form.vendor.sealed}"
            for form in self.form(typed)
            if shown.get(form.slot.name, {}).pop(form.vendor.sealed, None)
        }
        return shown, held

    def form(self, typed: Any) -> list[SlotForm]:
        """The form's slots, each with the fields of the vendor that is chosen in it."""
        forms = []
        for name, slot in slots().items():
            value = (typed or {}).get(name) or {}
            vendor = _chosen(slot, value)
            products = [(kind, product.product or product.name) for kind, product in vendors_in(slot).items()]
            forms.append(SlotForm(slot, vendor, products, form_fields(vendor), bool(value.get(vendor.decides))))
        return forms

    def preview(self, typed: Any) -> list[str]:
        """What happens after a call, a sentence for each receiver."""
        return [
            form.slot.preview.format(address=str(typed[form.slot.name][form.vendor.decides]).removeprefix("https://"))
            for form in self.form(typed)
            if form.used
        ]


def form_fields(vendor: Vendor) -> list[FormField]:
    """A vendor's own settings, then those that it shares with others."""
    shared = {name for base in vendor.settings.__bases__ for name in getattr(base, "model_fields", {})}
    fields = []
    for name, info in sorted(vendor.settings.model_fields.items(), key=lambda item: item[0] in shared):
        special = {vendor.sealed: "password", vendor.address: "url"}.get(name, "text")
        kind = "switch" if info.annotation is bool else "lines" if get_origin(info.annotation) is dict else special
        placeholder = str(info.examples[0]) if info.examples else ""
        default = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
        fields.append(FormField(name, kind, info.title or name, info.description or "", placeholder, default))
    return fields


def _chosen(slot: Slot, value: Mapping[str, Any]) -> Vendor:
    """The vendor that a slot's settings name, else the first."""
    vendors = vendors_in(slot)
    return vendors.get(str(value.get("kind"))) or next(iter(vendors.values()))


def _stored(session: Session, scenario_id: int | None, with_removed: bool = False) -> dict[str, Integration]:
    if scenario_id is None:
        return {}
    rows = session.scalars(select(Integration).where(Integration.scenario_id == scenario_id))
    return {row.slot: row for row in rows if with_removed or row.removed_at is None}


def reseal(server: Server, now: datetime) -> int:
    """While the secret key is changed (`new,old`): seals under the new key what the old one sealed, so that the old one can go.

    Secrets of receivers and drafts of scenarios; returns how many. What somebody changes meanwhile stays.
    """
    if len(server.keys.keys) == 1:
        return 0
    count = 0
    for model in (Integration, ScenarioDraft):
        with server.database.reading() as session:
            rows = session.execute(select(model.id, model.sealed).where(model.sealed != "")).all()
        for row_id, sealed in rows:
            if (anew := server.keys.sealed_anew(sealed)) is not None:
                with server.database.writing() as session:
                    kept = update(model).where(model.id == row_id, model.sealed == sealed).values(sealed=anew)
                    session.execute(kept)
                count += 1
    if count:
        log.info("resealed", count=count)
    return count
