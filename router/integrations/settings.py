"""The member `integrations` of a scenario: checked, stored with sealed secrets, shown without them.

The integrations' fields of a scenario's form: flat names `integrations.crm.url` there, nested members in the API.

What an integration's settings look like in the API, one model for each kind; secrets are apart, as they never come back."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.integrations.ga4 import ENDPOINT, EVENT
from router.integrations.models import Delivery, Integration
from router.integrations.placeholders import unknown_placeholder
from router.integrations.queue import try_at_once
from router.integrations.webhook import new_secret, secret_bytes
from router.lib.http_client import AddressBlocked, check_literal
from router.server import Server
from router.web.api import parse
from router.web.errors import Problem

PREFIX = "integrations."
TEXTS = {
    "webhook_start": ("url", "secret"),
    "webhook_end": ("url", "secret"),
    "ga4": ("measurement_id", "api_secret", "endpoint", "event"),
    "crm": ("url", "database", "key", "manager"),
}
DECIDES = {"webhook_start": "url", "webhook_end": "url", "ga4": "measurement_id", "crm": "url"}
"""A slot whose deciding field is empty is not wanted."""
SECRETS = {"webhook_start": "secret", "webhook_end": "secret", "ga4": "api_secret", "crm": "key"}
SWITCHES = ("only_new_customers", "not_while_open")
Typed = dict[str, dict[str, Any]]


def read_form(form: Mapping[str, str], before: Mapping[str, Any] | None) -> Typed:
    """All that was typed, by slot; a secret that was typed earlier stays until another is typed."""
    return {slot: _slot(form, slot, (before or {}).get(slot) or {}) for slot in TEXTS}


def _slot(form: Mapping[str, str], slot: str, before: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: form.get(f"{PREFIX}{slot}.{name}", "").strip() for name in TEXTS[slot]}
    value: dict[str, Any] = {name: text for name, text in given.items() if text}
    secret = SECRETS[slot]
    if secret not in value and before.get(secret):
        value[secret] = before[secret]
    if slot == "crm":
        value["kind"] = form.get(f"{PREFIX}crm.kind", "odoo")
        value["fields"] = form.get(f"{PREFIX}crm.fields", "")
        value |= {name: bool(form.get(f"{PREFIX}crm.{name}")) for name in SWITCHES}
    return value


def member_of(typed: Mapping[str, Any] | None) -> dict[str, Any]:
    """The member `integrations`; an absent secret means that the stored one is kept."""
    return {slot: _member(slot, (typed or {}).get(slot) or {}) for slot in TEXTS}


def _member(slot: str, typed: Mapping[str, Any]) -> dict[str, Any] | None:
    if not typed.get(DECIDES[slot]):
        return None
    fields = typed.get("fields")
    return {**typed, "fields": read_templates(fields)} if isinstance(fields, str) else dict(typed)


def veiled(typed: Mapping[str, Any] | None) -> tuple[Typed, set[str]]:
    """What was typed without its secrets, and the fields whose secret it holds."""
    shown: Typed = {slot: dict(value or {}) for slot, value in (typed or {}).items()}
    held = {f"{PREFIX}{slot}.{SECRETS[slot]}" for slot, value in shown.items() if value.pop(SECRETS[slot], None)}
    return shown, held


def read_templates(text: str) -> dict[str, str]:
    """`name = Call from {phone}`, one in each line."""
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [line.partition("=") for line in lines]
    return {name.strip(): template.strip() for name, _, template in pairs}


GA_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,39}$"
GA_RESERVED = frozenset(
    (
        *("ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data"),
        *("app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade", "error"),
        *("dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "first_open", "first_visit"),
        *("firebase_campaign", "firebase_in_app_message_action", "firebase_in_app_message_dismiss", "in_app_purchase"),
        *("firebase_in_app_message_impression", "notification_dismiss", "notification_foreground", "os_update"),
        *("notification_open", "notification_receive", "notification_send", "screen_view", "session_start"),
        *("session_start_with_rollout", "user_engagement"),
    )
)
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
FIELDS_OF_OURS = frozenset(("id", "phone", "user_id", "source_id", "medium_id", "campaign_id"))
MOST_FIELDS, LONGEST_TEMPLATE = 30, 2000

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Secret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


def _as_text(value: Any) -> Any:
    """A user's number in a CRM may come as a number."""
    return "" if value is None else str(value) if type(value) is int else value


class Shape(BaseModel):
    """One slot. `sealed_member` is the member that is sealed, `keep_secret` whether it may go with a new address."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sealed_member: ClassVar[str]
    address_name: ClassVar[str] = "url"
    bound_to_address: ClassVar[bool] = True
    """The secret itself is sent, so that it must not follow an address that somebody changes."""

    def config(self) -> dict[str, Any]:
        return self.model_dump(exclude={self.sealed_member, "kind"})

    def secret_given(self) -> str | None:
        given: str | None = getattr(self, self.sealed_member)
        return given

    def address(self) -> str:
        return str(getattr(self, self.address_name))

    def place(self) -> str:
        """Whom a failure concerns, within one project."""
        return urlsplit(self.address()).netloc


class WebhookShape(Shape):
    sealed_member = "secret"
    bound_to_address = False
    url: Address
    secret: Secret | None = None

    @field_validator("secret")
    @classmethod
    def _strong(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                secret_bytes(value)
            except ValueError as error:
                raise ValueError(
                    f"The secret {error}. Leave it out and one is made: whsec_ and the base64 of 24 to 64 bytes."
                ) from None
        return value


class Ga4Shape(Shape):
    sealed_member = "api_secret"
    address_name = "endpoint"
    measurement_id: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^G-[A-Z0-9]{1,20}$")]
    api_secret: Secret | None = None
    endpoint: Address = ENDPOINT
    event: Annotated[str, StringConstraints(pattern=GA_NAME)] = EVENT

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        if urlsplit(value).query or urlsplit(value).fragment:
            raise ValueError("The endpoint ends with its path: the identifiers are added when it is sent.")
        return value

    @field_validator("event")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in GA_RESERVED or value.startswith(("ga_", "google_", "firebase_")):
            raise ValueError("Google Analytics keeps this event name for itself.")
        return value

    def place(self) -> str:
        return f"{super().place()}/{self.measurement_id}"


class OdooShape(Shape):
    sealed_member = "key"
    kind: Literal["odoo"]
    url: Address
    database: Text
    key: Secret | None = None
    manager: Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, max_length=200)] = ""
    fields: dict[str, str] = Field(default_factory=dict, max_length=MOST_FIELDS)
    only_new_customers: bool = True
    not_while_open: bool = True

    @field_validator("url")
    @classmethod
    def _root(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("database")
    @classmethod
    def _header(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.\-]{1,200}", value, re.ASCII):
            raise ValueError("A database's name has letters, digits, dots, dashes and underscores.")
        return value

    @field_validator("key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("An API key has no such signs.")
        return value

    @field_validator("fields")
    @classmethod
    def _templates(cls, value: dict[str, str]) -> dict[str, str]:
        for name, template in value.items():
            if not FIELD_NAME.fullmatch(name) or name in FIELDS_OF_OURS:
                raise ValueError(f"“{name[:60]}” is not the name of a field that can be filled.")
            if (unknown := unknown_placeholder(template)) is not None:
                raise ValueError(f"There is no placeholder {{{unknown[:60]}}} (in “{name}”).")
            if len(template) > LONGEST_TEMPLATE:
                raise ValueError(f"“{name}” is longer than {LONGEST_TEMPLATE} characters.")
        return value

    def place(self) -> str:
        return f"{super().place()}/{self.database}"


SLOTS: dict[str, dict[str, type[Shape]]] = {
    "webhook_start": {"webhook": WebhookShape},
    "webhook_end": {"webhook": WebhookShape},
    "ga4": {"ga4": Ga4Shape},
    "crm": {"odoo": OdooShape},
}
"""Which kinds a slot may hold. With several kinds the member `kind` tells."""


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
        return read_form(form, before)

    def member(self, typed: Any) -> Any:
        return member_of(typed)

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        return veiled(typed)

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
