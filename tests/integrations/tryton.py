"""A Tryton that a test talks to: a stand-in here, or the real one when `make test-crm` has started it.

The stand-in keeps records of the models that the connector uses, and takes and refuses what Tryton 8.2 was seen to take and refuse
through its REST API (https://docs.tryton.org/latest/server/topics/rest.html): its own sentences as JSON with 400, Werkzeug's pages for
401, 403, 404 and for whatever its program did not expect (an unknown field, a text for a number) as 500. All records of a request are
made, or none; notes are found at named records alone; a record's link is followed by `name.` in a request for `name.other`.

`make test-crm` sets TRYTON_URL, TRYTON_DATABASE and TRYTON_KEYS, a JSON object: `calltracking` (works with opportunities), `anna` (a
seller), `none` (no rights), `other` (works in another company)."""

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from http import HTTPStatus
from typing import Any

REAL = {name: os.environ.get(f"TRYTON_{name}", "") for name in ("URL", "DATABASE", "KEYS")}
KEYS = {name: f"key-of-{name}" for name in ("calltracking", "anna", "none", "other")}
GARDEN, OTHER = 1, 2
"""Companies."""
CHAR, MANY, NUMBER, DAY, FLAG = "char", "one2many", "integer", "date", "boolean"
Records = dict[int, dict[str, Any]]
MODELS: dict[str, dict[str, str]] = {
    "sale.opportunity": {
        **dict.fromkeys(("number", "reference", "description"), CHAR),
        "comment": "text",
        "amount": "numeric",
        "state": "selection",
        "conversion_probability": "float",
        "party": "party.party",
        "employee": "company.employee",
        "company": "company.company",
    },
    "party.party": {"name": CHAR, "active": FLAG, "contact_mechanisms": MANY, "addresses": MANY},
    "party.contact_mechanism": {
        "type": "selection",
        "value": CHAR,
        "value_compact": CHAR,
        "comment": "text",
        "active": FLAG,
        "party": "party.party",
    },
    "party.address": {"party": "party.party", "country": "country.country"},
    "country.country": {"code": CHAR},
    "company.company": {"party": "party.party"},
    "company.employee": {
        "party": "party.party",
        "company": "company.company",
        "start_date": DAY,
        "end_date": DAY,
    },
    "res.user": {**dict.fromkeys(("name", "login", "email"), CHAR), "employees": "many2many"},
    "ir.note": {"resource": "reference", "message": "text"},
    "ir.model": {},
}
TARGETS = {"contact_mechanisms": "party.contact_mechanism", "addresses": "party.address"}
LABELS = {"conversion_probability": "Conversion Probability", "type": "Type", "message": "Message"}
EVERYWHERE = ("id", "rec_name", "create_date", "write_date", "create_uid")
STATES = {"lead": ("opportunity", "lost", "cancelled"), "lost": ("lead", "opportunity")}
"""By method: from which states of an opportunity it leads there."""


def moment(microsecond: int) -> dict[str, Any]:
    parts = {"year": 2026, "month": 11, "day": 23, "hour": 8, "minute": 9, "second": 10}
    return {"__class__": "datetime", **parts, "microsecond": microsecond}


MODEL_NAMES = {
    "sale.opportunity": "Sale Opportunity",
    "party.contact_mechanism": "Party Contact Mechanism",
    "ir.note": "Note",
}


class Refused(Exception):
    def __init__(self, status: int, words: str = "", is_page: bool = False) -> None:
        super().__init__(words)
        self.status, self.words = status, words
        self.is_page = is_page or not words


class TrytonFake:
    """One database, as a WSGI application."""

    def __init__(self, database: str = "crm") -> None:
        self.database = database
        self.keys = {key: name for name, key in KEYS.items()}
        self.records: dict[str, Records] = {model: {} for model in MODELS}
        self.changes = 271828
        self.history: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        """Of opportunities, by number: since which moment they are like this."""
        self._add("ir.model")
        parties = {
            name: self._add("party.party", name=name)
            for name in ("Garden GmbH", "Other AG", "Anna Sellers", "Ben Sellers")
        }
        germany = self._add("country.country", code="DE")
        self._add("party.address", party=parties["Garden GmbH"], country=germany)
        for name in ("Garden GmbH", "Other AG"):
            self._add("company.company", party=parties[name])
        for name in ("Anna Sellers", "Ben Sellers"):
            self._add("company.employee", party=parties[name], company=GARDEN)
        for login, employees in (("calltracking", []), ("anna", [1]), ("ben", [2])):
            self._add("res.user", name=login.title(), login=login, email=f"{login}@example.com", employees=employees)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        try:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
            status, document = 200, self.answer(environ, json.loads(body))
        except Refused as refused:
            if refused.is_page:
                status, words = refused.status, HTTPStatus(refused.status).phrase
                page = (
                    f"<!doctype html>\n<html lang=en>\n<title>{status} {words}</title>\n<h1>{words}</h1>\n"
                    f"<p>{refused.words or HTTPStatus(status).description or words}</p>\n"
                )
                start(f"{status} {words}", [("Content-Type", "text/html; charset=utf-8")])
                return [page.encode()]
            status = refused.status
            document = {"status": status, "message": refused.words, "description": ""}
        start(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "application/json")])
        return [json.dumps(document).encode()]

    def answer(self, environ: dict[str, Any], arguments: dict[str, Any]) -> Any:
        path = re.fullmatch(r"/([^/]+)/rest/model/([a-z._]+)(?:/(\d+))?/([a-z_]+)", environ["PATH_INFO"])
        if path is None or path.group(1) != self.database or environ["REQUEST_METHOD"] != "POST":
            raise Refused(404)
        _, model, number, method = path.groups()
        kind, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        user = self.keys.get(key) if kind.casefold() == "bearer" else None
        if user is None:
            raise Refused(401)
        header = environ.get("HTTP_X_TRYTON_CONTEXT") or base64.urlsafe_b64encode(b"{}").decode()
        context = json.loads(base64.urlsafe_b64decode(header))
        if (model, method) == ("res.user", "get_preferences"):
            company = OTHER if user == "other" else GARDEN
            return {"company": company, "companies": [company], "employees": [], "language": "en"}
        if model not in MODELS:
            raise Refused(500, f"&#39;{model}&#39;", is_page=True)
        writes = method in ("create", "write", *STATES)
        if (
            user == "none"
            and (model == "sale.opportunity" or (writes and model != "ir.note"))
            and method != "fields_get"
        ):
            raise Refused(403)
        if number is not None and int(number) not in self.records[model]:
            raise Refused(404)
        before = deepcopy(self.records)
        try:
            return self._call(context, model, int(number or 0), method, arguments)
        except Refused:
            self.records = before
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.records = before
            raise Refused(500, str(error).replace("'", "&#39;"), is_page=True) from None

    def _call(self, context: dict[str, Any], model: str, number: int, method: str, arguments: dict[str, Any]) -> Any:
        if method == "fields_get":
            types = {name: kind if "." not in kind else "many2one" for name, kind in MODELS[model].items()}
            return {
                name: {"type": kind, "string": label(name), "readonly": name in ("number", "state")}
                for name, kind in types.items()
            }
        if method == "search_read":
            return self._search(context, model, **arguments)
        if method == "create":
            return [self._create(context, model, values) for values in arguments["vlist"]]
        record = self.records[model][number]
        if method == "write":
            if model == "sale.opportunity" and record["state"] not in ("lead", "opportunity"):
                raise Refused(403)
            record |= {name: MODELS[model][name] and value for name, value in arguments["values"].items()}
            self._validate(model, number)
            self._changed(model, number)
        elif model == "sale.opportunity" and method in STATES:
            if record["state"] not in STATES[method]:
                raise Refused(400, f'You can not call "{method}" on "{record["number"]}" of "Sale Opportunity".')
            record["state"] = method
            self._changed(model, number)
        else:
            raise Refused(403)
        return {"__name__": model, "id": number, "rec_name": self._name(model, number)}

    def _add(self, model: str, **values: Any) -> int:
        number = len(self.records[model]) + 1
        made = {"active": True, "create_date": moment(self.changes), "write_date": None, "create_uid": 1}
        self.records[model][number] = dict.fromkeys(MODELS[model]) | made | values
        self._remember(model, number)
        return number

    def _changed(self, model: str, number: int) -> None:
        self.changes += 1
        self.records[model][number]["write_date"] = moment(self.changes)
        self._remember(model, number)

    def _remember(self, model: str, number: int) -> None:
        if model == "sale.opportunity":
            self.history.setdefault(number, []).append((self.changes, dict(self.records[model][number])))
        self.changes += 1

    def _create(self, context: dict[str, Any], model: str, values: dict[str, Any]) -> int:
        given = set(values)
        nested = {name: values[name] for name in values if name in TARGETS}
        for name, value in values.items():
            kind = MODELS[model][name]
            if value is not None and (kind in (CHAR, "text", "selection") and not isinstance(value, str)):
                raise AttributeError(f"'{type(value).__name__}' object has no attribute 'strip'")
            if value is not None and "." in kind:
                int(value)
        if model == "sale.opportunity":
            values = {
                "number": str(len(self.records[model]) + 1),
                "company": context.get("company"),
                "state": "lead",
            } | values
            if values["company"] not in context.get("companies", ()):
                raise Refused(403)
        number = self._add(model, **{name: value for name, value in values.items() if name not in nested})
        if model == "party.contact_mechanism":
            self.records[model][number]["value_compact"] = values["value"]
        for name, commands in nested.items():
            ((_, rows),) = commands
            for row in rows:
                self._create(context, TARGETS[name], row | {"party": number})
        self._validate(model, number)
        if model == "sale.opportunity" and given & {"number", "state"}:  # nobody may write them
            raise Refused(403)
        return number

    def _validate(self, model: str, number: int) -> None:
        record = self.records[model][number]

        def refuse(name: str, why: str) -> None:
            said = f'for field "{label(name)}" in record "{self._name(model, number)}" of "{MODEL_NAMES[model]}"'
            starts = "A value is required" if not why else f'The value "{record[name]}"'
            raise Refused(400, f"{starts} {said}{why or '.'}")

        if model == "ir.note":
            kind, _, at = str(record["resource"] or "").partition(",")
            if not at.isdecimal() or int(at) not in self.records.get(kind, {}):
                refuse("resource", "")
        if model == "party.contact_mechanism" and record["type"] not in ("phone", "mobile", "fax", "email", "other"):
            refuse("type", " is not one of the allowed options.")
        if model == "party.contact_mechanism" and not record["value"]:
            refuse("value", "")
        if model == "sale.opportunity":
            employee = record["employee"]
            company = self.records["company.employee"].get(employee, {}).get("company")
            if employee is not None and company != record["company"]:
                refuse("employee", " is not valid according to its domain.")
            if record["state"] not in ("lead", "lost", "cancelled") and employee is None:
                refuse("employee", "")
            if record["state"] not in ("lead", "opportunity", "converted", "won", "lost", "cancelled"):
                refuse("state", " is not one of the allowed options.")

    def _name(self, model: str, number: int) -> str:
        record = self.records[model][number]
        party = self.records["party.party"].get(record.get("party") or 0, {})
        if record.get("reference"):
            return f"{record['number']} [{record['reference']}]"
        return str(record.get("number") or record.get("name") or party.get("name") or number)

    def _search(
        self,
        context: dict[str, Any],
        model: str,
        domain: list[Any],
        fields_names: list[str],
        offset: int = 0,
        limit: int | None = None,
        order: list[list[str]] | None = None,
    ) -> list[dict[str, Any]]:
        if model == "ir.note" and not any(term[0] == "resource" and term[1] in ("=", "in") for term in domain):
            raise Refused(403)
        if "_datetime" in context:
            return self._then(context, domain, fields_names)
        named = [str(term[0]) for term in terms(domain)]
        for name in (*named, *fields_names):
            if name.split(".")[0] not in {*MODELS[model], *EVERYWHERE}:
                raise KeyError(name)
        found = [
            number
            for number, record in self.records[model].items()
            if (model != "sale.opportunity" or record["company"] in context.get("companies", ()))
            and (record["active"] or "active" in named)
            and self._holds(model, number, domain)
        ]
        if order and order[0][1] == "DESC":
            found.reverse()
        return [self._read(model, number, fields_names) for number in found[offset:][:limit]]

    def _then(self, context: dict[str, Any], domain: list[Any], names: list[str]) -> list[dict[str, Any]]:
        """What an opportunity was at a moment."""
        ((_, _, number),) = domain
        then = [values for since, values in self.history[number] if since <= context["_datetime"]["microsecond"]]
        return [{"id": number} | {name: then[-1][name] for name in names}] if then else []

    def _read(self, model: str, number: int, names: list[str]) -> dict[str, Any]:
        record: dict[str, Any] = {"id": number}
        for name in names:
            first, _, rest = name.partition(".")
            if not rest:
                record[first] = self._value(model, number, first)
                continue
            value, target = self._value(model, number, first), TARGETS.get(first) or MODELS[model][first]
            inner = record.setdefault(f"{first}.", [{} for _ in value] if isinstance(value, list) else {})
            if value is None:
                record[f"{first}."] = None
            elif isinstance(value, list):
                for one, at in zip(inner, value, strict=True):
                    one.update(self._read(target, at, [rest]))
            else:
                inner.update(self._read(target, value, [rest]))
        return record

    def _value(self, model: str, number: int, name: str) -> Any:
        if name == "id":
            return number
        if name == "rec_name":
            return self._name(model, number)
        if name in TARGETS:
            owned = self.records[TARGETS[name]].items()
            return [at for at, record in owned if record["party"] == number]
        return self.records[model][number][name]

    def _holds(self, model: str, number: int, domain: list[Any]) -> bool:
        if domain and domain[0] == "OR":
            return any(self._holds(model, number, [term]) for term in domain[1:])
        return all(
            self._holds(model, number, term) if is_group(term) else self._is(model, number, *term) for term in domain
        )

    def _is(self, model: str, number: int, name: str, operator: str, wanted: Any) -> bool:
        if name == "create_uid.applications.state":
            return True
        value = self._value(model, number, name)
        if operator in (">=", "!="):
            return bool(value != wanted if operator == "!=" else moment_of(value) >= moment_of(wanted))
        if isinstance(value, list):
            return bool(set(value) & set(wanted))
        if operator.removeprefix("not ") == "like":
            parts = re.split(r"(\\.|%|_)", wanted)
            pattern = "".join({"%": ".*", "_": "."}.get(part, re.escape(part.removeprefix("\\"))) for part in parts)
            return bool(value is not None and re.fullmatch(pattern, value, re.DOTALL)) != operator.startswith("not")
        held = value in wanted if operator.endswith("in") else value == wanted
        return bool(held) != operator.startswith("not")


def moment_of(value: dict[str, Any]) -> tuple[int, ...]:
    return tuple(value[part] for part in ("year", "month", "day", "hour", "minute", "second", "microsecond"))


def is_group(term: Any) -> bool:
    return bool(term) and (term[0] == "OR" or isinstance(term[0], list))


def terms(domain: list[Any]) -> Iterator[list[Any]]:
    for term in domain:
        if term != "OR":
            yield from terms(term) if is_group(term) else (term,)


def label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " ").title())
