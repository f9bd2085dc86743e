"""A small Odoo of our own, for the demo and for tests: the part of JSON-2 and of the CRM that a connector uses.

Kept true to the real Odoo 19 by one set of tests that runs against both. It is a WSGI application and keeps all in memory.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from router.demo.odoo_domain import OdooError, Record
from router.demo.odoo_records import COUNTRIES, FIELDS, LINK_LISTS, LINKS, Records

BODY_LIMIT = 1_000_000


class OdooFake:
    """One database of one Odoo with one user, `admin`, and the key of another, `calltracking`. `country` is its company's."""

    def __init__(self, database: str = "demo", key: str = "demo-key", country: str = "US") -> None:
        self.database = database
        self.key = key
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

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            status, body = 200, self._handle(environ)
        except OdooError as error:
            status, body = error.status, _error_body(error)
        if body is None and status == 404:
            return _respond(start_response, 404, "text/html; charset=utf-8", b"<!DOCTYPE html><h1>Not Found</h1>")
        return _respond(start_response, status, "application/json; charset=utf-8", json.dumps(body).encode())

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        """A method, as its people would use it in the browser."""
        with self._turn:
            self.requests.append((model, method))
            return self._method(model, method)(model, **arguments)

    def leads(self) -> list[Record]:
        """All leads, with their notes as `notes`, for a page that shows what arrived."""
        with self._turn:
            notes = list(self.records.tables["mail.message"].values())
            return [
                dict(self._read(lead, "crm.lead", list(FIELDS["crm.lead"])))
                | {"notes": [n["body"] for n in notes if (n["model"], n["res_id"]) == ("crm.lead", lead["id"])]}
                for lead in self.records.tables["crm.lead"].values()
            ]

    def _handle(self, environ: dict[str, Any]) -> Any:
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
            return self.call(parts[2], parts[3], **arguments)
        except TypeError as error:
            raise OdooError(500, "builtins.TypeError", str(error)) from None

    def _method(self, model: str, method: str) -> Callable[..., Any]:
        not_found = "werkzeug.exceptions.NotFound"
        if model not in FIELDS:
            raise OdooError(404, not_found, f"the model '{model}' does not exist")
        found: Callable[..., Any] | None = METHODS.get(method)
        if found is None:
            raise OdooError(404, not_found, f"The method '{model}.{method}' does not exist")
        return lambda *args, **arguments: found(self, *args, **arguments)

    def _search_read(
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
            if name != "id" and name not in FIELDS[model]:
                raise OdooError(500, "builtins.ValueError", f"Invalid field '{name}' on '{model}'")
        found = self.records.search(model, domain or [], not (context or {}).get("active_test", True))
        found.sort(key=lambda record: record["id"], reverse=order.endswith("desc"))
        return [
            self._read(record, model, names) for record in found[offset : None if limit is None else offset + limit]
        ]

    def _read(self, record: Record, model: str, names: list[str]) -> Record:
        shown = {name: self._shown(name, record[name]) for name in names}
        return {"id": record["id"]} | shown

    def _shown(self, name: str, value: Any) -> Any:
        if name not in LINKS or not value:
            return value
        return [value, self.records.get(LINKS[name][0], value)["name"]]

    def _load(self, model: str, fields: list[str], data: list[list[Any]], context: Record | None = None) -> Record:
        ids, messages = [], []
        for row in data:
            try:
                ids.append(self._load_row(model, dict(zip(fields, row, strict=True))))
            except LoadRefused as refused:
                place = {"rows": {"from": 0, "to": 0}, "type": "error", "record": 0}
                messages += [place | {"field": field, "message": words} for field, words in refused.errors.items()]
        return {"ids": False if messages else ids, "messages": messages, "nextrow": 0}

    def _load_row(self, model: str, row: Record) -> int:
        external = str(row.pop("id"))
        values: Record = {}
        errors: dict[str, str] = {}
        for name, value in row.items():
            try:
                values |= dict([self._loaded(model, name, value)])
            except LoadRefused as refused:
                errors |= refused.errors
        if errors:
            raise LoadRefused(errors)
        if " " in external:
            raise LoadRefused({"id": 'violates check constraint "ir_model_data_name_nospaces"'})
        known = self.records.external.get(external)
        if not values.get("name", known and "kept"):
            raise LoadRefused({"name": "Missing required value for the field 'Opportunity' (name)."})
        if known is not None:
            self.records.write(model, known[1], values)
            return known[1]
        if model == "crm.lead":
            values.setdefault("user_id", 2)
        number = self.records.create(model, values)
        self.records.external[external] = (model, number)
        return number

    def _loaded(self, model: str, name: str, value: Any) -> tuple[str, Any]:
        plain = name.removesuffix("/.id")
        if plain not in FIELDS[model]:
            raise OdooError(500, "builtins.ValueError", f"Invalid field name '{name}'")
        if value in ("", False):
            return plain, False
        if plain in LINK_LISTS:
            target, label = LINK_LISTS[plain]
            return plain, [self._linked(plain, target, label, one, "name") for one in str(value).split(",")]
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
        found = [one for one in self.records.tables[target].values() if str(one[column]) == value]
        found = [one for one in found if column == "id" or one.get("active", True)]
        if not found:
            how = "database id" if column == "id" else "name"
            raise LoadRefused({field: f"No matching record found for {how} '{value}' in field '{label}'"})
        return int(found[0]["id"])

    def _message_post(self, model: str, ids: list[int], body: str = "", body_is_html: bool = False) -> list[int]:
        self.records.get(model, ids[0])
        values = {"model": model, "res_id": ids[0], "message_type": "notification", "author_id": 2}
        html = body if body_is_html else f"<span>{escape(body)}</span>"
        return [self.records.create("mail.message", values | {"body": html})]

    def _create(self, model: str, vals_list: list[Record]) -> list[int]:
        return [self.records.create(model, values) for values in vals_list]

    def _write(self, model: str, ids: list[int], vals: Record) -> bool:
        for number in ids:
            self.records.write(model, number, vals)
        return True

    def _unlink(self, model: str, ids: list[int]) -> bool:
        for number in ids:
            self.records.unlink(model, number)
        return True

    def _set_lost(self, model: str, ids: list[int]) -> None:
        self._write(model, ids, {"active": False, "won_status": "lost"})

    def _set_won(self, model: str, ids: list[int]) -> bool:
        return self._write(model, ids, {"active": True, "won_status": "won", "stage_id": 4})


class LoadRefused(Exception):
    """`load` says this inside an answer of status 200."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors
        """Field to message: all that one row has."""


METHODS: dict[str, Callable[..., Any]] = {
    "search_read": OdooFake._search_read,
    "load": OdooFake._load,
    "message_post": OdooFake._message_post,
    "create": OdooFake._create,
    "write": OdooFake._write,
    "unlink": OdooFake._unlink,
    "action_set_lost": OdooFake._set_lost,
    "action_set_won": OdooFake._set_won,
}


def _error_body(error: OdooError) -> Record | None:
    if not error.name:
        return None
    return {"name": error.name, "message": str(error), "arguments": [str(error)], "context": {}, "debug": ""}


def _respond(start_response: Callable[..., Any], status: int, content_type: str, body: bytes) -> list[bytes]:
    start_response(f"{status} Status", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
