"""The records of the example Odoo: models, computed fields, external ids, as Odoo 19 was seen to treat them."""

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import phonenumbers

from router.demo.odoo_domain import OdooError, Record, matcher

FIELDS: dict[str, tuple[str, ...]] = {
    "crm.lead": (
        *("name", "phone", "phone_sanitized", "description", "active", "type", "won_status", "stage_id", "user_id"),
        *("source_id", "medium_id", "campaign_id", "contact_name", "partner_name", "email_from", "referred", "color"),
        *("website", "city", "expected_revenue", "priority", "partner_id", "country_id", "company_id", "team_id"),
        "tag_ids",
    ),
    "res.partner": ("name", "phone", "phone_sanitized", "active", "email", "country_id", "country_code", "company_id"),
    "res.company": ("name", "country_id", "country_code"),
    "res.country": ("name", "code"),
    "res.users": ("name", "login", "email", "active", "share"),
    "utm.source": ("name",),
    "utm.medium": ("name", "active"),
    "utm.campaign": ("name", "active"),
    "mail.message": ("model", "res_id", "body", "message_type", "author_id"),
    "crm.stage": ("name", "is_won"),
    "crm.team": ("name", "active"),
    "crm.tag": ("name",),
}
LINKS = {
    "user_id": ("res.users", "Salesperson"),
    "source_id": ("utm.source", "Source"),
    "medium_id": ("utm.medium", "Medium"),
    "campaign_id": ("utm.campaign", "Campaign"),
    "stage_id": ("crm.stage", "Stage"),
    "team_id": ("crm.team", "Sales Team"),
    "partner_id": ("res.partner", "Contact"),
    "country_id": ("res.country", "Country"),
    "company_id": ("res.company", "Company"),
}
LINK_LISTS = {"tag_ids": ("crm.tag", "Tags")}
UNIQUE_NAMES = ("utm.source", "utm.medium", "utm.campaign")
DEFAULTS: dict[str, Record] = {
    "crm.lead": {
        "active": True,
        "type": "lead",
        "won_status": "pending",
        "stage_id": 1,
        "company_id": 1,
        "tag_ids": [],
        "expected_revenue": 0.0,
    },
    "res.partner": {"active": True},
    "res.users": {"active": True, "share": False},
    "utm.medium": {"active": True},
    "utm.campaign": {"active": True},
    "crm.team": {"active": True},
}
COUNTRIES = {"AR": "Argentina", "AT": "Austria", "DE": "Germany", "FR": "France", "NO": "Norway", "US": "United States"}


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
        if model == "crm.lead" and record["partner_id"] and not record["phone"]:
            record["phone"] = self.tables["res.partner"][record["partner_id"]]["phone"]
        number = int(next(self.numbers[model]))
        self.tables[model][number] = record | {"id": number}
        self._compute(model, self.tables[model][number])
        return number

    def write(self, model: str, number: int, values: Record) -> None:
        self.get(model, number).update(values)
        self._compute(model, self.tables[model][number])

    def unlink(self, model: str, number: int) -> None:
        self.get(model, number)
        del self.tables[model][number]
        notes = self.tables["mail.message"]
        for note in [one for one in notes.values() if (one["model"], one["res_id"]) == (model, number)]:
            del notes[note["id"]]
        self.external = {name: at for name, at in self.external.items() if at != (model, number)}
        for link in [name for name, (target, _) in LINKS.items() if target == model]:
            for record in [one for table in self.tables.values() for one in table.values() if one.get(link) == number]:
                record[link] = False

    def get(self, model: str, number: int) -> Record:
        if number not in self.tables[model]:
            message = f"Record does not exist or has been deleted.\n(Record: {model}({number},), User: 2)"
            raise OdooError(404, "odoo.exceptions.MissingError", message)
        return self.tables[model][number]

    def search(self, model: str, domain: list[Any], with_archived: bool) -> list[Record]:
        wanted = matcher(domain, lambda record, path: self.value(model, record, path))
        found = [record for record in self.tables[model].values() if wanted(record)]
        return [record for record in found if with_archived or record.get("active", True)]

    def value(self, model: str, record: Record, path: str) -> Any:
        """A field of a record, or of one that it links to: `partner_id.phone`."""
        name, _, rest = path.partition(".")
        if name != "id" and name not in FIELDS[model]:
            raise OdooError(500, "builtins.ValueError", f"Invalid field {model}.{name} in condition")
        if not rest or not record[name]:
            return record[name]
        target = LINKS[name][0]
        return self.value(target, self.tables[target][record[name]], rest)

    def _compute(self, model: str, record: Record) -> None:
        """The fields that follow from others. `phone_sanitized` is stored: it does not follow a company that moves."""
        if "country_code" in record:
            record["country_code"] = self._code(record)
        if "phone_sanitized" in record:
            record["phone_sanitized"] = sanitized_phone(record["phone"], self._phone_country(record))
        for name in ("description", "body"):
            if record.get(name):
                record[name] = sanitized_html(str(record[name]))

    def _phone_country(self, record: Record) -> str | None:
        partner = self.tables["res.partner"].get(record.get("partner_id") or 0, {})
        company = self.tables["res.company"].get(1, {})
        return next((code for one in (record, partner, company) if (code := self._code(one))), None)

    def _code(self, record: Record) -> Any:
        country = record.get("country_id")
        return self.tables["res.country"][country]["code"] if country else False

    def _unique_name(self, model: str, name: str) -> str:
        taken = {record["name"] for record in self.tables[model].values()}
        names = (name if turn == 1 else f"{name} [{turn}]" for turn in count(1))
        return next(one for one in names if one not in taken)


def sanitized_phone(phone: Any, country: str | None) -> str | bool:
    """As phone_validation does it: one number in the whole text, letters read as keys, else nothing."""
    text = str(phone or "")
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return False
    if phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.TOO_LONG:
        if number.country_code == 52 and str(number.national_number).startswith("1"):
            number.national_number = int(str(number.national_number)[1:])  # Odoo's patch of the Mexican form
        elif not text.startswith("+"):
            return sanitized_phone(f"+{text.removeprefix('00')}", country)
    if not phonenumbers.is_valid_number(number):
        return False
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def sanitized_html(text: str) -> str:
    """Scripts go, `<br/>` becomes `<br>`, and text that stands in no element gets one."""
    text = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL | re.IGNORECASE).replace("<br/>", "<br>")
    return text if text.startswith(("<p>", "<span>", "<div")) else f"<span>{text}</span>"
