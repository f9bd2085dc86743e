"""A small Odoo, for the demo and for tests: the part of JSON-2 and of the CRM that a connector uses, as a WSGI application in memory.

Kept true to the real Odoo 19 by one set of tests that runs against both."""

import json
import re
import threading
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from html import escape
from itertools import count
from typing import Any
from uuid import uuid4

import phonenumbers

Record = dict[str, Any]
Test = Callable[[Record], bool]


class OdooError(Exception):
    """What Odoo answers instead: a status and the exception's name."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name


def matcher(domain: list[Any], value_of: Callable[[Record, str], Any]) -> Test:
    """A domain in Polish notation, terms joined by *and*. `value_of` reads a path like `partner_id.phone` of a record."""
    terms = list(domain)

    def term() -> Test:
        first = terms.pop(0)
        if first == "!":
            negated = term()
            return lambda record: not negated(record)
        if first in ("|", "&"):
            join = any if first == "|" else all
            pair = (term(), term())
            return lambda record: join(test(record) for test in pair)
        name, operator, operand = first
        holds = _holds(operator, operand)
        return lambda record: holds(value_of(record, name))

    tests = []
    while terms:
        tests.append(term())
    return lambda record: all(test(record) for test in tests)


def _holds(operator: str, operand: Any) -> Callable[[Any], bool]:
    if operator == "=":
        return lambda value: bool(value == operand)
    if operator == "in":
        return lambda value: value in operand
    if operator in ("=like", "=ilike", "ilike"):
        pattern = like(str(operand), anywhere=operator == "ilike", any_case=operator != "=like")
        return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))
    raise OdooError(500, "builtins.ValueError", f"Invalid operator {operator!r}")


def like(value: str, anywhere: bool, any_case: bool = True) -> re.Pattern[str]:
    """PostgreSQL's LIKE: `%` and `_` stand for anything, after a backslash for themselves. Takes linear time, as there."""
    value = f"%{value}%" if anywhere else value
    pieces = [""]
    for part in re.findall(r"\\.|.", value, re.DOTALL):
        if part == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if part == "_" else re.escape(part[1:] if part[0] == "\\" and part[1:] else part)
    first, *more = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in more[:-1])
    last = f".*{more[-1]}" if more else ""
    return re.compile(first + middle + last, re.DOTALL | (re.IGNORECASE if any_case else 0))


FIELDS: dict[str, tuple[str, ...]] = {
    "crm.lead": (
        *("name", "phone", "phone_sanitized", "description", "active", "type", "won_status", "stage_id", "user_id"),
        *("source_id", "medium_id", "campaign_id", "contact_name", "partner_name", "email_from", "referred", "color"),
        *("website", "city", "expected_revenue", "priority", "partner_id", "country_id", "company_id", "team_id"),
        "tag_ids",
    ),
    "res.partner": (
        *("name", "phone", "phone_sanitized", "active", "email", "country_id", "country_code", "company_id"),
        "user_id",
    ),
    "res.company": ("name", "country_id", "country_code"),
    "res.country": ("name", "code"),
    "res.users": ("name", "login", "email", "active", "share", "company_ids"),
    "utm.source": ("name",),
    "utm.medium": ("name", "active"),
    "utm.campaign": ("name", "active"),
    "mail.message": ("model", "res_id", "body", "message_type", "author_id"),
    "crm.stage": ("name", "is_won"),
    "crm.team": ("name", "active"),
    "crm.tag": ("name",),
    "mail.activity": ("res_model", "res_id", "summary", "note", "date_deadline", "user_id", "active"),
    "ir.config_parameter": (),
    "ir.model": ("name", "model"),
    "ir.model.fields": ("name", "field_description", "model_id", "ttype", "state"),
    "iap.account": (),
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
    "res.users": {"active": True, "share": False, "company_ids": [1]},
    "utm.medium": {"active": True},
    "utm.campaign": {"active": True},
    "crm.team": {"active": True},
    "mail.activity": {"active": True},
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
            taken = {other["name"] for other in self.tables[model].values()}
            name = str(record["name"])
            names = (name if turn == 1 else f"{name} [{turn}]" for turn in count(1))
            record["name"] = next(name for name in names if name not in taken)
        if model == "crm.lead" and record["partner_id"] and not record["phone"]:
            record["phone"] = self.tables["res.partner"][record["partner_id"]]["phone"]
        number = int(next(self.numbers[model]))
        self.tables[model][number] = record | {"id": number}
        self._compute(model, self.tables[model][number])
        return number

    def fields(self, model: str) -> list[str]:
        """Its own and, of a lead, those that were made."""
        made = self.tables["ir.model.fields"].values() if model == "crm.lead" else ()
        return [*FIELDS[model], *(record["name"] for record in made)]

    def write(self, model: str, number: int, values: Record) -> None:
        self.get(model, number).update(values)
        self._compute(model, self.tables[model][number])

    def unlink(self, model: str, number: int) -> None:
        self.get(model, number)
        del self.tables[model][number]
        notes = self.tables["mail.message"]
        for note in [note for note in notes.values() if (note["model"], note["res_id"]) == (model, number)]:
            del notes[note["id"]]
        self.external = {name: at for name, at in self.external.items() if at != (model, number)}
        for link in [name for name, (target, _) in LINKS.items() if target == model]:
            for table in self.tables.values():
                for record in table.values():
                    if record.get(link) == number:
                        record[link] = False

    def get(self, model: str, number: int) -> Record:
        if number not in self.tables[model]:
            message = f"Record does not exist or has been deleted.\n(Record: {model}({number},), User: 2)"
            raise OdooError(404, "odoo.exceptions.MissingError", message)
        return self.tables[model][number]

    def search(self, model: str, domain: list[Any], with_archived: bool) -> list[Record]:
        matches = matcher(domain, lambda record, path: self.value(model, record, path))
        records = [record for record in self.tables[model].values() if matches(record)]
        return [record for record in records if with_archived or record.get("active", True)]

    def value(self, model: str, record: Record, path: str) -> Any:
        """A field of a record, or of a record that it links to: `partner_id.phone`."""
        name, _, rest = path.partition(".")
        if name != "id" and name not in self.fields(model):
            raise OdooError(500, "builtins.ValueError", f"Invalid field {model}.{name} in condition")
        if not rest or not record.get(name):
            return record.get(name, False)
        target = LINKS[name][0]
        return self.value(target, self.tables[target][record[name]], rest)

    def _compute(self, model: str, record: Record) -> None:
        """The fields that follow from others. `phone_sanitized` is stored: it does not follow a company that moves."""
        if "country_code" in record:
            record["country_code"] = self._code(record)
        if "phone_sanitized" in record:
            partner = self.tables["res.partner"].get(record.get("partner_id") or 0, {})
            company = self.tables["res.company"].get(1, {})
            countries = (self._code(owner) for owner in (record, partner, company))
            record["phone_sanitized"] = sanitized_phone(record["phone"], next(filter(None, countries), None))
        for name in ("description", "body", "note"):
            if record.get(name):
                record[name] = sanitized_html(str(record[name]))

    def _code(self, record: Record) -> Any:
        country = record.get("country_id")
        return self.tables["res.country"][country]["code"] if country else False


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


BODY_LIMIT = 1_000_000
METHODS = (
    *("search_read", "load", "message_post", "create", "write", "unlink", "activity_schedule"),
    *("get_param", "get_credits_url", "context_get", "has_group", "fields_get"),
    *("action_set_lost", "action_set_won", "action_archive", "action_unarchive", "merge_opportunity"),
)
"""What can be called of a model; each is a method of `OdooFake`."""


FORBIDDEN = "You are not allowed to access '{0}' ({0}) records."
PARAMETERS = "You are not allowed to access 'System Parameter' (ir.config_parameter) records."


class OdooFake:
    """One database of one Odoo with one user, `admin`, and the key of another, `calltracking`. `country` is its company's."""

    def __init__(self, database: str = "demo", key: str = "demo-key", country: str = "US") -> None:
        self.database = database
        self.key = key
        self.uuid = str(uuid4())
        self.may_administer = False
        """The key's user may read parameters of the system and make fields."""
        self.unreadable: set[str] = set()
        """Models that the key's user may not see."""
        self.own_documents_only = False
        """The key's user, who has the number 2, sees and makes leads of his own and of nobody alone."""
        self.records = Records()
        self.requests: list[tuple[str, str]] = []
        self._turn = threading.RLock()
        for name in ("New", "Qualified", "Proposition", "Won"):
            self.records.create("crm.stage", {"name": name, "is_won": name == "Won"})
        for login, name in (("admin", "Administrator"), ("calltracking", "Call tracking")):
            self.records.create("res.users", {"login": login, "name": name})
        codes = {
            code: self.records.create("res.country", {"code": code, "name": name}) for code, name in COUNTRIES.items()
        }
        self.records.create("res.company", {"name": "My Company", "country_id": codes[country]})
        self.records.create("crm.team", {"name": "Sales"})
        self.records.create("ir.model", {"name": "Lead", "model": "crm.lead"})

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, content_type = 200, "application/json; charset=utf-8"
        try:
            if environ.get("HTTP_X_ODOO_DATABASE", self.database) != self.database:
                raise OdooError(404, "", "no database is selected")
            parts = environ["PATH_INFO"].strip("/").split("/")
            if environ["REQUEST_METHOD"] != "POST" or len(parts) != 4 or parts[:2] != ["json", "2"]:
                raise OdooError(404, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?")
            if environ.get("HTTP_AUTHORIZATION", "").lower() != f"bearer {self.key}".lower():
                raise OdooError(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
            length = min(int(environ.get("CONTENT_LENGTH") or 0), BODY_LIMIT)
            try:
                arguments = json.loads(environ["wsgi.input"].read(length))
            except ValueError as error:
                text = f"could not parse the body as json: {error}"
                raise OdooError(400, "werkzeug.exceptions.BadRequest", text) from None
            try:
                answer = self.call(parts[2], parts[3], **arguments)
            except TypeError as error:
                raise OdooError(500, "builtins.TypeError", str(error)) from None
            body = json.dumps(answer).encode()
        except OdooError as error:
            status, message = error.status, str(error)
            document = {"name": error.name, "message": message, "arguments": [message], "context": {}, "debug": ""}
            body = json.dumps(document).encode()
            if not error.name:
                content_type, body = "text/html; charset=utf-8", b"<!DOCTYPE html><h1>Not Found</h1>"
        start_response(f"{status} Status", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        """A method, as its people would use it in the browser."""
        with self._turn:
            self.requests.append((model, method))
            if model not in FIELDS:
                raise OdooError(404, "werkzeug.exceptions.NotFound", f"the model '{model}' does not exist")
            if model in self.unreadable:
                raise OdooError(403, "odoo.exceptions.AccessError", FORBIDDEN.format(model))
            if model == "ir.config_parameter" and not self.may_administer:
                raise OdooError(403, "odoo.exceptions.AccessError", PARAMETERS)
            if model in ("ir.model", "ir.model.fields") and not self.may_administer:
                raise OdooError(403, "odoo.exceptions.AccessError", FORBIDDEN.format(model))
            if method not in METHODS:
                message = f"The method '{model}.{method}' does not exist"
                raise OdooError(404, "werkzeug.exceptions.NotFound", message)
            return getattr(self, method)(model, **arguments)

    def leads(self) -> list[Record]:
        """All leads, with their notes as `notes`, for a page that shows what arrived."""
        with self._turn:
            notes = list(self.records.tables["mail.message"].values())
            return [
                self._read(lead, list(FIELDS["crm.lead"]))
                | {"notes": [n["body"] for n in notes if (n["model"], n["res_id"]) == ("crm.lead", lead["id"])]}
                for lead in self.records.tables["crm.lead"].values()
            ]

    def search_read(
        self,
        model: str,
        domain: list[Any] | None = None,
        fields: list[str] | None = None,
        order: str = "id",
        limit: int | None = None,
        offset: int = 0,
        context: Record | None = None,
    ) -> list[Record]:
        names = fields or list(FIELDS[model])
        for name in names:
            if name != "id" and name not in self.records.fields(model):
                raise OdooError(500, "builtins.ValueError", f"Invalid field '{name}' on '{model}'")
        records = self.records.search(model, domain or [], not (context or {}).get("active_test", True))
        records.sort(key=lambda record: record["id"], reverse=order.endswith("desc"))
        return [self._read(record, names) for record in records[offset : None if limit is None else offset + limit]]

    def _read(self, record: Record, names: list[str]) -> Record:
        """The fields of a record; a link is its id and the name of its record."""
        values: Record = {"id": record["id"]}
        for name in names:
            values[name] = record.get(name, False)
            if name in LINKS and record[name]:
                values[name] = [record[name], self.records.get(LINKS[name][0], record[name])["name"]]
        return values

    def load(self, model: str, fields: list[str], data: list[list[Any]], context: Record | None = None) -> Record:
        ids: list[int] = []
        messages: list[Record] = []
        before = (deepcopy(self.records.tables), dict(self.records.external)) if len(data) > 1 else None
        for row, values in enumerate(data):
            try:
                ids.append(self._load_row(model, dict(zip(fields, values, strict=True))))
            except LoadRefused as refused:
                place = {"rows": {"from": row, "to": row}, "type": "error", "record": row}
                messages += [place | {"field": field, "message": words} for field, words in refused.errors.items()]
        if messages and before is not None:
            self.records.tables, self.records.external = before
        return {"ids": False if messages else ids, "messages": messages, "nextrow": 0}

    def _load_row(self, model: str, row: Record) -> int:
        number = row.pop(".id", None)
        external = str(row.pop("id", ""))
        values: Record = {}
        errors: dict[str, str] = {}
        for name, value in row.items():
            try:
                values |= dict([self._loaded(model, name, value)])
            except LoadRefused as refused:
                errors |= refused.errors
        if errors:
            raise LoadRefused(errors)
        if number is not None:
            self.records.write(model, int(number), values)
            return int(number)
        if " " in external:
            raise LoadRefused({"id": 'violates check constraint "ir_model_data_name_nospaces"'})
        known = self.records.external.get(external)
        if not values.get("name", known and "kept"):
            raise LoadRefused({"name": "Missing required value for the field 'Opportunity' (name)."})
        if model == "crm.lead" and self.own_documents_only and values.get("user_id") not in (False, 2):
            raise LoadRefused(
                {"": "Due to security restrictions, you are not allowed to modify 'Lead' (crm.lead) records."}
            )
        if known is not None:
            self.records.write(model, known[1], values)
            return known[1]
        if model == "crm.lead":
            values.setdefault("user_id", 2)
        made = self.records.create(model, values)
        self.records.external[external] = (model, made)
        return made

    def _loaded(self, model: str, name: str, value: Any) -> tuple[str, Any]:
        plain = name.removesuffix("/.id")
        if plain not in self.records.fields(model):
            raise OdooError(500, "builtins.ValueError", f"Invalid field name '{name}'")
        if value in ("", False):
            return plain, False
        if plain in LINK_LISTS:
            target, label = LINK_LISTS[plain]
            return plain, [self._linked(plain, target, label, text, "name") for text in str(value).split(",")]
        if plain == "expected_revenue":
            if not re.fullmatch(r"-?\d+(\.\d*)?", str(value)):
                raise LoadRefused({plain: f"'{value}' does not seem to be a number for field 'Expected Revenue'"})
            return plain, float(value)
        if plain not in LINKS:
            return plain, value
        target, label = LINKS[plain]
        return plain, self._linked(plain, target, label, str(value), "id" if name.endswith("/.id") else "name")

    def _linked(self, field: str, target: str, label: str, value: str, column: str) -> int:
        """By its database id, or by its name among those that are not archived."""
        records = [record for record in self.records.tables[target].values() if str(record[column]) == value]
        records = [record for record in records if column == "id" or record.get("active", True)]
        if not records:
            how = "database id" if column == "id" else "name"
            raise LoadRefused({field: f"No matching record found for {how} '{value}' in field '{label}'"})
        return int(records[0]["id"])

    def message_post(self, model: str, ids: list[int], body: str = "", body_is_html: bool = False) -> list[int]:
        self.records.get(model, ids[0])
        values = {"model": model, "res_id": ids[0], "message_type": "notification", "author_id": 2}
        html = body if body_is_html else f"<span>{escape(body)}</span>"
        return [self.records.create("mail.message", values | {"body": html})]

    def activity_schedule(
        self,
        model: str,
        ids: list[int],
        act_type_xmlid: str,
        date_deadline: str,
        summary: str,
        note: str,
        user_id: int,
    ) -> list[int]:
        self.records.get(model, ids[0])
        values = {"res_model": model, "res_id": ids[0], "summary": summary, "note": note}
        return [self.records.create("mail.activity", values | {"date_deadline": date_deadline, "user_id": user_id})]

    def get_credits_url(self, model: str, service_name: str, account_token: str) -> str:
        return f"https://iap.example.com/iap/1/credit?dbuuid={self.uuid}&service_name={service_name}&hashed=1"

    def context_get(self, model: str) -> Record:
        return {"lang": "en_US", "tz": False, "uid": 2}

    def has_group(self, model: str, ids: list[int], group_ext_id: str) -> bool:
        return not self.own_documents_only

    def fields_get(self, model: str, attributes: list[str], allfields: list[str] | None = None) -> dict[str, Record]:
        computed = ("phone_sanitized", "won_status")
        fields = {
            name: {
                "string": name.replace("_", " ").capitalize(),
                "type": "many2one" if name in LINKS else "many2many" if name in LINK_LISTS else "char",
                "readonly": name in computed,
            }
            for name in self.records.fields(model)
            if allfields is None or name in allfields
        }
        return {name: {key: field[key] for key in attributes} for name, field in fields.items()}

    def get_param(self, model: str, key: str) -> Any:
        return self.uuid if key == "database.uuid" else False

    def merge_opportunity(self, model: str, ids: list[int]) -> list[int]:
        """Of leads that are as likely to be won the oldest stays; the notes of the others go there, and what it has not."""
        master, *others = sorted(ids)
        for number in others:
            lead = self.records.get(model, number)
            for note in self.records.tables["mail.message"].values():
                if (note["model"], note["res_id"]) == (model, number):
                    note["res_id"] = master
            empty = {name: lead[name] for name in ("phone", "user_id") if not self.records.get(model, master)[name]}
            self.records.unlink(model, number)
            self.records.write(model, master, empty)
        return [master]

    def create(self, model: str, vals_list: list[Record]) -> list[int]:
        return [self.records.create(model, values) for values in vals_list]

    def write(self, model: str, ids: list[int], vals: Record) -> bool:
        for number in ids:
            self.records.write(model, number, vals)
        return True

    def unlink(self, model: str, ids: list[int]) -> bool:
        for number in ids:
            self.records.unlink(model, number)
        return True

    def action_set_lost(self, model: str, ids: list[int]) -> None:
        self.write(model, ids, {"active": False, "won_status": "lost"})

    def action_archive(self, model: str, ids: list[int]) -> bool:
        return self.write(model, ids, {"active": False})

    def action_unarchive(self, model: str, ids: list[int]) -> bool:
        return self.write(model, ids, {"active": True} | ({"won_status": "pending"} if model == "crm.lead" else {}))

    def action_set_won(self, model: str, ids: list[int]) -> bool:
        return self.write(model, ids, {"active": True, "won_status": "won", "stage_id": 4})


class LoadRefused(Exception):
    """`load` says this inside an answer of status 200."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors
        """Field to message: all that one row has."""
