"""The integrations' fields of a scenario's form: flat names `integrations.crm.url` there, nested members in the API."""

from collections.abc import Mapping
from typing import Any

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
