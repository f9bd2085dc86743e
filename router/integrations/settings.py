"""The member `integrations` of a scenario: checked, stored with sealed secrets, shown without them; and the wizard's form of it, with
flat names like `integrations.crm.url`."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_origin

import structlog
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy import select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from werkzeug.datastructures import MultiDict

from router.accounts.audit import changing
from router.accounts.models import Project
from router.carriers.accounts import reseal_accounts
from router.integrations.base import Slot, Vendor
from router.integrations.crm import CRM
from router.integrations.crm.accounts import account_of
from router.integrations.crm.connect import CrmButtons, CrmNames, beside_form
from router.integrations.models import Delivery, DeliveryState, Integration
from router.integrations.receivers import try_at_once
from router.integrations.trials import Receiver, rotate_secret
from router.integrations.vendors import VENDORS, slots, vendors_in
from router.lib.formats import parse_int
from router.lib.http_client import AddressBlocked, check_literal
from router.scenarios.documents import Pressed
from router.scenarios.models import Scenario, ScenarioDraft
from router.server import Server
from router.web.api import parse
from router.web.errors import Problem, Refused

NAME = "integrations"
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
    manager_before: str = ""
    """Whom the scenario named until now, at the same CRM."""


@dataclass(frozen=True)
class SlotForm:
    """A slot, and what was typed for it."""

    slot: Slot
    value: Mapping[str, Any]

    @property
    def vendor(self) -> Vendor:
        """The one that was chosen, else the first that can fill the slot."""
        vendors = vendors_in(self.slot)
        return vendors.get(str(self.value.get("kind"))) or next(iter(vendors.values()))

    @property
    def products(self) -> list[tuple[str, str]]:
        return [(kind, vendor.product or vendor.name) for kind, vendor in vendors_in(self.slot).items()]

    @property
    def used(self) -> bool:
        return bool(self.value.get(self.vendor.decides))

    @property
    def chosen_from(self) -> Mapping[str, str]:
        """Settings that name something of a CRM, each with the member of `Choices` that lists what there is."""
        return getattr(self.vendor.settings, "chosen_from", {})

    @property
    def fields(self) -> list[tuple[str, str, FieldInfo]]:
        """Name, look and declaration of the vendor's own settings, then of those that it shares with others.

        Looks are text, url, password, number, switch, choice (one of several), several, named (something of a CRM), and lines (`name =
        text` in each).
        """
        settings = self.vendor.settings
        shared = {name for base in settings.__bases__ for name in getattr(base, "model_fields", {})}
        looks = {self.vendor.sealed: "password", self.vendor.address: "url"}
        for name, info in settings.model_fields.items():
            if info.annotation is bool or get_origin(info.annotation) is dict:
                looks[name] = "switch" if info.annotation is bool else "lines"
            elif info.annotation is int:
                looks[name] = "number"
            elif name in self.chosen_from:
                looks[name] = "named"
            elif get_origin(info.annotation) is Literal:
                looks[name] = "choice"
            elif get_origin(info.annotation) is list:
                looks[name] = "several"
        fields = [(name, looks.get(name, "text"), info) for name, info in settings.model_fields.items()]
        return sorted(fields, key=lambda field: field[0] in shared)

    @property
    def groups(self) -> list[tuple[str, list[tuple[str, str, FieldInfo]]]]:
        """The fields under their headings; the first ones have none."""
        headings: Mapping[str, tuple[str, ...]] = getattr(self.vendor.settings, "groups", {})
        grouped = {name for names in headings.values() for name in names}
        groups = [("", [field for field in self.fields if field[0] not in grouped])]
        for heading, names in headings.items():
            of_group = {field[0]: field for field in self.fields if field[0] in names}
            groups.append((heading, [of_group[name] for name in names if name in of_group]))
        return [(heading, fields) for heading, fields in groups if fields]


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
        drafts: dict[str, Draft] = {}
        errors: dict[str, str] = {}
        for name, slot in known.items():
            if value.get(name) is None:
                continue
            draft, wrong = self._draft(project, slot, value[name], stored.get(name))
            errors |= {f"{NAME}.{name}.{field}".rstrip("."): sentence for field, sentence in wrong.items()}
            if draft is not None:
                drafts[name] = draft
        if CRM.name in drafts:
            draft, of_crm = drafts[CRM.name], stored.get(CRM.name)
            errors |= self._wrong_names(session, project, draft, of_crm)
            if of_crm is not None and of_crm.receiver == draft.receiver:
                before = session.scalar(select(Scenario.manager).where(Scenario.id == scenario_id)) or ""
                drafts[CRM.name] = replace(draft, manager_before=before)
        if errors:
            field, sentence = next(iter(errors.items()))
            raise Problem(422, sentence, field, errors=errors)
        return drafts

    def _draft(
        self, project: Project, slot: Slot, value: Any, stored: Integration | None
    ) -> tuple[Draft | None, dict[str, str]]:
        """The draft of a slot, or all that is wrong with it, by field."""
        if not isinstance(value, Mapping):
            return None, {"": "This has to be an object."}
        typed = {name: setting for name, setting in value.items() if setting is not None}
        vendors = vendors_in(slot)
        if slot.names_kind and str(typed.pop("kind", None)) not in vendors:
            return None, {"kind": f"The kind of {slot.title} is one of: {', '.join(vendors)}."}
        vendor = SlotForm(slot, value).vendor
        errors: dict[str, str] = {}
        settings: BaseModel | None = None
        try:
            settings = parse(vendor.settings, typed)
        except Problem as problem:
            errors = dict(problem.more["errors"])
        address = typed.get(vendor.address)
        if vendor.address and settings is not None:
            address = getattr(settings, vendor.address)
        if isinstance(address, str) and vendor.address not in errors:
            try:
                check_literal(address.strip(), self.server.settings.allow_private)
            except AddressBlocked as refused:
                errors[vendor.address] = str(refused)
        has_secret = not vendor.sealed or bool(typed.get(vendor.sealed)) or vendor.make_secret is not None
        is_stored = stored is not None and bool(stored.sealed) and stored.kind == vendor.kind
        if not has_secret and not is_stored:
            errors.setdefault(vendor.sealed, "This is required.")
        if settings is None or errors:
            return None, errors
        receiver = vendor.receiver(project.id, settings)
        if not has_secret and stored is not None and is_stored and stored.receiver != receiver:
            moved = "The address changed: type the secret again, so that it goes only where you mean."
            return None, {vendor.sealed: moved}
        secret = getattr(settings, vendor.sealed) if vendor.sealed else None
        return Draft(vendor, receiver, settings.model_dump(exclude={vendor.sealed}), secret), {}

    def _wrong_names(
        self, session: Session, project: Project, draft: Draft, stored: Integration | None
    ) -> dict[str, str]:
        """Settings that name what the CRM does not have, by dotted field. What was stored before is told by its deliveries, and keeps
        nobody from changing something else.

        Raises:
            AskFirst: it has to be asked whether it has.
        """
        names = CrmNames(self.server, session, project, draft.vendor, draft.receiver)
        secret = draft.secret or (self.server.keys.unseal(stored.sealed) if stored is not None else "")
        wrong = {}
        before = stored.config if stored is not None and stored.receiver == draft.receiver else {}
        for setting, member in SlotForm(CRM, {"kind": draft.vendor.kind}).chosen_from.items():
            if draft.config.get(setting) == before.get(setting):
                continue
            sentence = names.refusal(member, str(draft.config.get(setting) or ""), draft.config, secret)
            if sentence is not None:
                wrong[f"{NAME}.{CRM.name}.{setting}"] = sentence
        return wrong

    def save(
        self, session: Session, project: Project, scenario_id: int, clean: dict[str, Draft], now: datetime
    ) -> dict[str, Any]:
        """Stores the drafts; returns the secrets that were made, by dotted field name, to be shown this once."""
        rows = _stored(session, scenario_id, with_removed=True)
        shown_once: dict[str, Any] = {}
        for slot, row in rows.items():
            if slot not in clean and row.removed_at is None:
                row.removed_at, row.sealed, row.sealed_before = now, "", ""
        for slot, draft in clean.items():
            row = rows.get(slot) or Integration(project_id=project.id, scenario_id=scenario_id, slot=slot, sealed="")
            secret = draft.secret
            if secret is None and not row.sealed and draft.vendor.make_secret is not None:
                secret = draft.vendor.make_secret()
                told = draft.vendor.reveals or (lambda base_url, scenario_id, secret: secret)
                base_url = self.server.settings.base_url
                shown_once[f"{NAME}.{slot}.{draft.vendor.sealed}"] = told(base_url, scenario_id, secret)
            if slot == CRM.name:
                row.account = account_of(session, project.id, draft.vendor.kind, draft.receiver)
                self._check_scenarios_manager(session, project, scenario_id, draft, row)
            before = (row.kind, row.receiver, row.config, row.removed_at)
            after = (draft.vendor.kind, draft.receiver, draft.config, None)
            row.kind, row.receiver, row.config, row.removed_at = after
            if secret is not None:
                row.sealed = self.server.keys.seal(secret)
                row.sealed_before, row.earlier_until = "", None
            chosen = draft.config.get("events") if draft.vendor.chosen_events else None
            row.events = f",{','.join(chosen)}," if chosen else ""
            if row.id is None:
                row.created_at = now
                session.add(row)
            elif secret is not None or before != after:  # what waited for a mended integration is tried at once
                waiting = update(Delivery).where(
                    Delivery.integration_id == row.id, Delivery.state == DeliveryState.PENDING
                )
                session.execute(waiting.values(next_at=now).execution_options(synchronize_session=False))
                try_at_once(session, row.receiver, now)
        session.flush()
        for vendor in VENDORS.values():
            if vendor.saved is not None:
                vendor.saved(session, project.id)
        return shown_once

    def _check_scenarios_manager(
        self, session: Session, project: Project, scenario_id: int, draft: Draft, row: Integration
    ) -> None:
        """
        Raises:
            Refused: the CRM has nobody of the name that the scenario itself gives.
            AskFirst
        """
        names = CrmNames(self.server, session, project, draft.vendor, draft.receiver)
        secret = draft.secret or (self.server.keys.unseal(row.sealed) if row.sealed else "")
        manager = session.scalar(select(Scenario.manager).where(Scenario.id == scenario_id)) or ""
        if manager == draft.manager_before:
            return
        if (sentence := names.refusal("people", manager, draft.config, secret)) is not None:
            raise Refused({"manager": sentence})

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
        for row in _stored(session, original_id).values():
            kept = (
                "slot",
                "kind",
                "receiver",
                "account",
                "config",
                "sealed",
                "sealed_before",
                "earlier_until",
                "events",
            )
            same = {name: getattr(row, name) for name in kept}
            session.add(Integration(project_id=project.id, scenario_id=copy_id, created_at=now, **same))
        session.flush()

    def read_form(self, form: MultiDict[str, str], before: Any) -> Typed:
        """All that was typed, by slot; a secret that was typed earlier for the same vendor stays until another is typed."""
        typed: Typed = {}
        for name, slot in slots().items():
            earlier = (before or {}).get(name) or {}
            kind = form.get(f"{NAME}.{name}.kind") or earlier.get("kind")
            chosen = SlotForm(slot, {"kind": kind})
            value: dict[str, Any] = {"kind": kind or chosen.vendor.kind} if slot.names_kind else {}
            for field, look, info in chosen.fields:
                text = form.get(f"{NAME}.{name}.{field}", "")
                if look == "switch":
                    value[field] = bool(text)
                elif look == "several":
                    several = form.getlist(f"{NAME}.{name}.{field}")
                    value[field] = [] if tuple(several) == chosen.vendor.events[slot] else several
                elif look == "lines":
                    value[field] = text
                elif look == "number":
                    number = parse_int(text.strip())
                    value[field] = info.default if not text.strip() else text.strip() if number is None else number
                elif text.strip():
                    value[field] = text.strip()
            secret = chosen.vendor.sealed
            if earlier.get(secret) and earlier.get("kind") == value.get("kind"):
                value.setdefault(secret, earlier[secret])
            typed[name] = value
        return typed

    def member(self, typed: Any) -> dict[str, Any]:
        """The member `integrations`; an absent secret means that the stored one is kept."""
        member: dict[str, Any] = {}
        for form in self.form(typed):
            member[form.slot.name] = dict(form.value) if form.used else None
            for name in [name for name, look, _ in form.fields if look == "lines"]:
                if form.used and isinstance(text := form.value.get(name), str):
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
        return [SlotForm(slot, (typed or {}).get(name) or {}) for name, slot in slots().items()]

    def beside(self, session: Session, project: Project, typed: Any) -> Mapping[str, Any]:
        for form in self.form(typed):
            if form.slot is CRM:
                value = self.member(typed).get(CRM.name) or dict(form.value)
                receiver = None  # nobody knows yet where it goes
                with suppress(Problem):
                    settings = parse(form.vendor.settings, {name: value[name] for name in value if name != "kind"})
                    receiver = form.vendor.receiver(project.id, settings)
                return beside_form(session, project, form.vendor, receiver, value)
        return {}

    def crm_buttons(
        self, project: Project, scenario_id: int | None, value: Any, manager: str | None = None
    ) -> CrmButtons:
        """What can be done with a CRM's settings that nobody has stored yet. A secret that is absent is the stored one of the scenario.

        manager: whom the scenario names; None: whom the stored one does.

        Raises:
            Refused: 422, all that is wrong with them, by dotted field.
        """
        where = f"{NAME}.{CRM.name}"
        with self.server.database.reading() as session:
            scenario = session.get(Scenario, scenario_id) if scenario_id else None
            if scenario is not None and (scenario.project_id != project.id or scenario.deleted_at is not None):
                raise Problem(404, "There is no such scenario.")
            stored = _stored(session, scenario_id).get(CRM.name)
            draft, wrong = self._draft(project, CRM, value, stored)
            if draft is None:
                raise Refused({f"{where}.{field}".rstrip("."): sentence for field, sentence in wrong.items()})
            secret = draft.secret or (self.server.keys.unseal(stored.sealed) if stored is not None else "")
            if manager is None:
                manager = scenario.manager if scenario is not None else ""
        return CrmButtons(self.server, project, draft.vendor, draft.receiver, draft.config, secret, manager, where)

    def press(self, project: Project, scenario_id: int | None, manager: str, typed: Any, action: str) -> Pressed:
        """`crm.check` asks the CRM, `crm.fields` makes our fields there, `crm.test` makes a lead. Of other receivers `test` sends a test,
        `preview` shows what would be sent, and `rotate` changes the secret."""
        slot, _, verb = action.partition(".")
        if slot in slots() and slot != CRM.name and verb in ("test", "preview", "rotate"):
            return self._press_receiver(project, scenario_id, typed, slot, verb)
        if slot != CRM.name or verb not in ("check", "fields", "test"):
            raise Problem(404, "There is no such button.")
        (form,) = (form for form in self.form(typed) if form.slot is CRM)
        value = self.member(typed).get(slot)
        if value is None:
            return Pressed(errors={f"{NAME}.{slot}.{form.vendor.decides}": "This is required."})
        try:
            pressed = self.crm_buttons(project, scenario_id, value, manager).press(verb)
        except Refused as refused:
            return Pressed(errors=refused.errors)
        if pressed.typed is not None:
            lines = "".join(f"{name} = {template}\n" for name, template in pressed.typed.items())
            pressed.typed = {**typed, slot: {**typed[slot], "fields": lines}}
        pressed.whose = slot
        return pressed

    def _press_receiver(self, project: Project, scenario_id: int | None, typed: Any, slot: str, verb: str) -> Pressed:
        (form,) = (form for form in self.form(typed) if form.slot.name == slot)
        value = self.member(typed).get(slot)
        if value is None:
            return Pressed(errors={f"{NAME}.{slot}.{form.vendor.decides}": "This is required."})
        if verb == "rotate":
            if scenario_id is None:
                raise Problem(409, "A secret is made when the scenario is saved.")
            with changing() as change:
                secret, _ = rotate_secret(change, scenario_id, slot)
            said = "This is the new secret, shown this once. For 24 hours messages are signed with the old one as well."
            if form.vendor.reveals is not None:
                said = "This is the new address, shown this once. For 24 hours the old one works as well."
            return Pressed([said], text=secret, whose=slot)
        try:
            trial = Receiver.of(self.server, project, scenario_id, slot, value)
        except Problem as problem:
            errors: dict[str, str] = problem.more.get("errors") or {}
            if not errors:
                raise
            return Pressed(errors=errors)
        if verb == "preview":
            return Pressed(["This would be sent of the last call, or of an example."], text=trial.preview(), whose=slot)
        found = trial.try_out()
        sentences = [f"{found.words} It took {found.milliseconds} ms."]
        if found.is_good:
            return Pressed(sentences, text=found.answer, whose=slot)
        return Pressed(problems=sentences, text=found.answer, whose=slot)

    def json_schema(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, slot in slots().items():
            schemas = []
            for kind, vendor in vendors_in(slot).items():
                schema = vendor.settings.model_json_schema()
                schema["title"] = vendor.product or vendor.name
                if vendor.sealed:
                    schema["properties"][vendor.sealed]["writeOnly"] = True
                for setting in schema["properties"].values():
                    setting.pop("choices", None)  # of the form
                if slot.names_kind:
                    schema["properties"] = {"kind": {"const": kind}} | schema["properties"]
                    schema["required"] = ["kind", *schema.get("required", ())]
                schemas.append(schema)
            members[name] = {"description": slot.heading, "anyOf": [*schemas, {"type": "null"}]}
        return {"type": "object", "properties": members, "additionalProperties": False}

    def preview(self, typed: Any) -> list[str]:
        """What happens after a call, a sentence for each receiver."""
        sentences = []
        for form in self.form(typed):
            if not form.used:
                continue
            address = str(form.value[form.vendor.decides]).removeprefix("https://")
            sentence = form.slot.preview.format(address=address)
            chosen = form.value.get("events") if form.vendor.chosen_events else None
            if isinstance(chosen, list) and chosen:
                extra: Any = form.vendor.settings.model_fields["events"].json_schema_extra
                moments = [f"when {words}" for event, words in extra["choices"].items() if event in chosen]
                sentence = f"{address} gets a signed message {', '.join(moments)}"
            sentences.append(sentence)
        return sentences


def _stored(session: Session, scenario_id: int | None, with_removed: bool = False) -> dict[str, Integration]:
    if scenario_id is None:
        return {}
    rows = session.scalars(select(Integration).where(Integration.scenario_id == scenario_id))
    return {row.slot: row for row in rows if with_removed or row.removed_at is None}


def reseal(server: Server, now: datetime) -> int:
    """While the secret key is changed (`new,old`): seals under the new key what the old one sealed, so that the old one can go.

    Secrets of receivers, drafts of scenarios and accounts at the carrier; returns how many. What somebody changes meanwhile stays.
    """
    if len(server.keys.keys) == 1:
        return 0
    count = reseal_accounts(server)
    columns: tuple[InstrumentedAttribute[str], ...] = (
        Integration.sealed,
        Integration.sealed_before,
        ScenarioDraft.sealed,
    )
    for column in columns:
        model = column.class_
        with server.database.reading() as session:
            rows = session.execute(select(model.id, column).where(column != "")).all()
        for row_id, sealed in rows:
            if (anew := server.keys.sealed_anew(sealed)) is not None:
                with server.database.writing() as session:
                    session.execute(
                        update(model).where(model.id == row_id, column == sealed).values({column.key: anew})
                    )
                count += 1
    if count:
        log.info("resealed", count=count)
    return count
