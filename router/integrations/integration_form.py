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
SWITCHES = ("only_new_customers", "not_while_open")


def read_form(form: Mapping[str, str]) -> dict[str, Any]:
    """The member `integrations`; an empty secret means that the stored one is kept."""
    return {slot: _slot(form, slot) for slot in TEXTS}


def _slot(form: Mapping[str, str], slot: str) -> dict[str, Any] | None:
    given = {name: form.get(f"{PREFIX}{slot}.{name}", "").strip() for name in TEXTS[slot]}
    if not given[DECIDES[slot]]:
        return None
    value: dict[str, Any] = {name: text for name, text in given.items() if text}
    if slot == "crm":
        value["kind"] = form.get(f"{PREFIX}crm.kind", "odoo")
        value["fields"] = read_templates(form.get(f"{PREFIX}crm.fields", ""))
        value |= {name: bool(form.get(f"{PREFIX}crm.{name}")) for name in SWITCHES}
    return value


def read_templates(text: str) -> dict[str, str]:
    """`name = Call from {phone}`, one in each line."""
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [line.partition("=") for line in lines]
    return {name.strip(): template.strip() for name, _, template in pairs}
