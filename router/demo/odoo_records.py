"""The records of the example Odoo: models, domains, external ids, as Odoo 19 was seen to treat them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import phonenumbers

Record = dict[str, Any]

FIELDS: dict[str, tuple[str, ...]] = {
    "crm.lead": (
        *("name", "phone", "phone_sanitized", "description", "active", "type", "won_status", "stage_id", "user_id"),
        *("source_id", "medium_id", "campaign_id", "contact_name", "partner_name", "email_from", "referred", "color"),
        *("website", "city", "expected_revenue", "priority"),
    ),
    "res.partner": ("name", "phone", "phone_sanitized", "active", "email"),
    "res.users": ("name", "login", "email", "active", "share"),
    "utm.source": ("name",),
    "utm.medium": ("name",),
    "utm.campaign": ("name",),
    "mail.message": ("model", "res_id", "body", "message_type", "author_id"),
    "crm.stage": ("name", "is_won"),
}
LINKS = {
    "user_id": ("res.users", "Salesperson"),
    "source_id": ("utm.source", "Source"),
    "medium_id": ("utm.medium", "Medium"),
    "campaign_id": ("utm.campaign", "Campaign"),
    "stage_id": ("crm.stage", "Stage"),
}
UNIQUE_NAMES = ("utm.source", "utm.medium", "utm.campaign")
DEFAULTS: dict[str, Record] = {
    "crm.lead": {"active": True, "type": "lead", "won_status": "pending", "stage_id": 1},
    "res.partner": {"active": True},
    "res.users": {"active": True, "share": False},
}


class OdooError(Exception):
    """What Odoo answers instead: a status and the exception's name."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name


@dataclass
class Records:
    """Everything that this Odoo holds."""

    tables: dict[str, dict[int, Record]] = field(default_factory=lambda: {model: {} for model in FIELDS})
    external: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=lambda: {model: count(1) for model in FIELDS})

    def create(self, model: str, values: Record) -> int:
        record = dict[str, Any](dict.fromkeys(FIELDS[model], False)) | DEFAULTS.get(model, {}) | values
        if model in UNIQUE_NAMES:
            record["name"] = self._unique_name(model, str(record["name"]))
        number = int(next(self.numbers[model]))
        self.tables[model][number] = record | {"id": number}
        self._compute(self.tables[model][number])
        return number

    def write(self, model: str, number: int, values: Record) -> None:
        self.get(model, number).update(values)
        self._compute(self.tables[model][number])

    def unlink(self, model: str, number: int) -> None:
        self.get(model, number)
        del self.tables[model][number]
        notes = self.tables["mail.message"]
        for note in [one for one in notes.values() if (one["model"], one["res_id"]) == (model, number)]:
            del notes[note["id"]]
        self.external = {name: at for name, at in self.external.items() if at != (model, number)}

    def get(self, model: str, number: int) -> Record:
        if number not in self.tables[model]:
            message = f"Record does not exist or has been deleted.\n(Record: {model}({number},), User: 2)"
            raise OdooError(404, "odoo.exceptions.MissingError", message)
        return self.tables[model][number]

    def search(self, model: str, domain: list[Any], with_archived: bool) -> list[Record]:
        wanted = matcher(model, domain)
        found = [record for record in self.tables[model].values() if wanted(record)]
        return [record for record in found if with_archived or record.get("active", True)]

    def _compute(self, record: Record) -> None:
        if "phone_sanitized" in record:
            record["phone_sanitized"] = sanitized_phone(record.get("phone"))
        for name in ("description", "body"):
            if record.get(name):
                record[name] = sanitized_html(str(record[name]))

    def _unique_name(self, model: str, name: str) -> str:
        taken = {record["name"] for record in self.tables[model].values()}
        names = (name if turn == 1 else f"{name} [{turn}]" for turn in count(1))
        return next(one for one in names if one not in taken)


def matcher(model: str, domain: list[Any]) -> Callable[[Record], bool]:
    """A domain in Polish notation, terms joined by *and*."""
    terms = list(domain)

    def term() -> Callable[[Record], bool]:
        first = terms.pop(0)
        if first == "|":
            one, other = term(), term()
            return lambda record: one(record) or other(record)
        return _condition(model, first)

    found = []
    while terms:
        found.append(term())
    return lambda record: all(one(record) for one in found)


def _condition(model: str, condition: Any) -> Callable[[Record], bool]:
    name, operator, value = condition
    if name != "id" and name not in FIELDS[model]:
        text = f"Invalid field {model}.{name} in condition ({name!r}, {operator!r}, {value!r})"
        raise OdooError(500, "builtins.ValueError", text)
    if operator == "=":
        return lambda record: bool(record[name] == value)
    if operator == "in":
        return lambda record: record[name] in value
    if operator in ("=ilike", "ilike"):
        pattern = like(str(value), anywhere=operator == "ilike")
        return lambda record: isinstance(record[name], str) and bool(pattern.fullmatch(record[name]))
    raise OdooError(500, "builtins.ValueError", f"Invalid operator {operator!r}")


def like(value: str, anywhere: bool) -> re.Pattern[str]:
    """PostgreSQL's LIKE: `%` and `_` stand for anything, after a backslash for themselves."""
    parts = re.findall(r"\\.|.", value, re.DOTALL)
    signs = {"%": ".*", "_": "."}
    body = "".join(
        re.escape(part[1:]) if part[0] == "\\" and part[1:] else signs.get(part) or re.escape(part) for part in parts
    )
    return re.compile(f".*{body}.*" if anywhere else body, re.IGNORECASE | re.DOTALL)


def sanitized_phone(phone: Any) -> str | bool:
    try:
        number = phonenumbers.parse(str(phone or ""), "US")
    except phonenumbers.NumberParseException:
        return False
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def sanitized_html(text: str) -> str:
    """Scripts go, `<br/>` becomes `<br>`, and text that stands in no element gets one."""
    text = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL | re.IGNORECASE).replace("<br/>", "<br>")
    return text if text.startswith(("<p>", "<span>", "<div")) else f"<span>{text}</span>"
