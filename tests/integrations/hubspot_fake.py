"""A small HubSpot: objects, their associations, properties, pipelines, owners and the search, in HubSpot's forms and with its refusals.

Made from its documentation, not from the product:
https://developers.hubspot.com/docs/api-reference/latest/crm/using-object-apis
https://developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm
https://developers.hubspot.com/docs/api-reference/latest/crm/properties/guide
https://developers.hubspot.com/docs/api-reference/2026-03/crm/associations/associate-records/batch/get-associations
https://developers.hubspot.com/docs/api-reference/latest/crm/activities/calls/guide
https://developers.hubspot.com/docs/api-reference/error-handling"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from router.lib.http_client import Answer

VERSION = "2026-09"
TYPES = {
    ("deals", "contacts"): 3,
    ("calls", "contacts"): 194,
    ("calls", "deals"): 206,
    ("notes", "contacts"): 202,
    ("notes", "deals"): 214,
    ("tasks", "contacts"): 204,
    ("tasks", "deals"): 216,
}
CALL_STATUSES = {
    *("BUSY", "CALLING_CRM_USER", "CANCELED", "COMPLETED", "CONNECTING"),
    *("FAILED", "IN_PROGRESS", "MISSED", "NO_ANSWER", "QUEUED", "RINGING"),
}
PROPERTIES = {
    "contacts": "phone mobilephone firstname lastname email lifecyclestage hubspot_owner_id hs_country_region_code",
    "deals": "dealname pipeline dealstage description hubspot_owner_id amount",
    "calls": "hs_timestamp hs_call_title hs_call_body hs_call_direction hs_call_duration hs_call_from_number hs_call_to_number"
    " hs_call_recording_url hs_call_status hs_call_disposition hubspot_owner_id",
    "notes": "hs_timestamp hs_note_body hubspot_owner_id",
    "tasks": "hs_timestamp hs_task_subject hs_task_body hs_task_status hs_task_type hs_task_priority hubspot_owner_id",
}
READ_ONLY = {"hs_object_id", "createdate", "hs_is_closed", "hs_is_closed_won"}
NEEDED = {"calls": ["hs_timestamp"], "notes": ["hs_timestamp"], "tasks": ["hs_timestamp"], "deals": ["dealname"]}
NUMBERS = {"hs_call_duration", "amount"}


class Refused(Exception):
    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"status": "error", "category": category, "message": message, "correlationId": "c0ffee", **more}


def invalid(problems: list[tuple[str, str, str]]) -> Refused:
    """Properties, each with code and words."""
    errors = [{"message": words, "code": code, "context": {"propertyName": [name]}} for name, code, words in problems]
    said = json.dumps(
        [{"isValid": False, "message": words, "error": code, "name": name} for name, code, words in problems]
    )
    return Refused(400, "VALIDATION_ERROR", f"Property values were not valid: {said}", errors=errors)


class HubSpotFake:
    """One account."""

    portal = 4711
    owners = (
        {"id": "501", "email": "anna@garden.example", "firstName": "Anna", "lastName": "Kern", "archived": False},
        {"id": "502", "email": "bert@garden.example", "firstName": "Bert", "lastName": "Moos", "archived": False},
    )

    def __init__(self, key: str = "pat-the-key") -> None:
        self.key = key
        self.scopes = {
            f"{what}.{how}" for what in ("contacts", "deals", "schemas", "owners") for how in ("read", "write")
        }
        self.records: dict[str, dict[int, dict[str, str]]] = {kind: {} for kind in PROPERTIES}
        self.links: set[tuple[str, int, str, int]] = set()
        self.unique: dict[str, set[str]] = {kind: set() for kind in PROPERTIES}
        self.properties = {kind: dict.fromkeys(names.split(), "") for kind, names in PROPERTIES.items()}
        self.indexed: dict[str, set[int]] = {kind: set() for kind in PROPERTIES}
        self.rules: dict[str, str] = {}
        """Validation rules of an administrator: properties of deals, each with the words of its refusal."""
        self.stages = {
            "default": [("new", False, 0.1), ("talking", False, 0.5), ("won", True, 1.0), ("lost", True, 0.0)]
        }
        self.ids = count(1001)
        self.lists_errors = True
        """Else they stand in the message alone, as HubSpot has it at some places."""
        self.unknown_property = 400
        """Status of a look-up by a property that is not there."""
        self.asked: list[tuple[str, str]] = []

    def index(self) -> None:
        """What was made until now is found by the search from now on."""
        self.indexed = {kind: set(records) for kind, records in self.records.items()}

    def __call__(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((method, parts.path))
        try:
            if headers.get("Authorization") != f"Bearer {self.key}":
                raise Refused(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
            status, document = self.answer(method, unquote(parts.path), query, json.loads(content) if content else None)
        except Refused as refused:
            status, document = refused.status, refused.document
            if not self.lists_errors:
                document.pop("errors", None)
        body = b"" if document is None else json.dumps(document).encode()
        return Answer(status, {"content-type": "application/json;charset=utf-8"}, body, complete=True)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        routes: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
            ("GET", rf"/account-info/{VERSION}/details", self.details),
            ("GET", rf"/crm/owners/{VERSION}", self.list_owners),
            ("GET", rf"/crm/pipelines/{VERSION}/deals", self.list_pipelines),
            ("GET", rf"/crm/properties/{VERSION}/(\w+)", self.list_properties),
            ("POST", rf"/crm/properties/{VERSION}/(\w+)", self.add_property),
            ("GET", rf"/crm/properties/{VERSION}/(\w+)/(\w+)", self.get_property),
            ("POST", rf"/crm/objects/{VERSION}/(\w+)/search", self.search),
            ("POST", rf"/crm/objects/{VERSION}/(\w+)/batch/read", self.batch_read),
            ("POST", rf"/crm/associations/{VERSION}/(\w+)/(\w+)/batch/read", self.batch_associations),
            ("GET", rf"/crm/objects/{VERSION}/(\w+)", self.list_objects),
            ("POST", rf"/crm/objects/{VERSION}/(\w+)", self.create),
            ("GET", rf"/crm/objects/{VERSION}/(\w+)/([^/]+)", self.get),
            ("PATCH", rf"/crm/objects/{VERSION}/(\w+)/(\d+)", self.patch),
            ("DELETE", rf"/crm/objects/{VERSION}/(\w+)/(\d+)", self.delete),
        ]
        for wanted, pattern, handle in routes:
            if wanted == method and (found := re.fullmatch(pattern, path)):
                return handle(query, body, *found.groups())
        raise Refused(404, "OBJECT_NOT_FOUND", f"No route {method} {path}")

    def allow(self, kind: str, how: str) -> None:
        scope = f"{'deals' if kind == 'deals' else 'contacts'}.{how}"
        if scope not in self.scopes:
            needed = [{"message": "required", "context": {"requiredGranularScopes": [f"crm.objects.{scope}"]}}]
            raise Refused(403, "MISSING_SCOPES", "This key hasn't been granted all required scopes.", errors=needed)

    # what describes the account

    def details(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        return 200, {"portalId": self.portal, "accountType": "STANDARD", "timeZone": "Europe/Berlin"}

    def list_owners(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        return 200, {"results": [one for one in self.owners if query.get("email", one["email"]) == one["email"]]}

    def list_pipelines(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        results = [
            {
                "id": pipeline,
                "label": f"{pipeline.title()} pipeline",
                "displayOrder": 0,
                "stages": [
                    {
                        "id": name,
                        "label": name.title(),
                        "displayOrder": place,
                        "metadata": {"isClosed": str(is_closed).lower(), "probability": str(probability)},
                    }
                    for place, (name, is_closed, probability) in enumerate(stages)
                ],
            }
            for pipeline, stages in self.stages.items()
        ]
        return 200, {"results": results}

    def list_properties(self, query: dict[str, str], body: Any, kind: str) -> tuple[int, Any]:
        return 200, {"results": [self.described(kind, name) for name in self.properties[kind]]}

    def described(self, kind: str, name: str) -> dict[str, Any]:
        unique = name in self.unique[kind]
        shown = {"name": name, "label": self.properties[kind][name] or name, "type": "string", "fieldType": "text"}
        return shown | {"hasUniqueValue": unique, "modificationMetadata": {"readOnlyValue": False}}

    def get_property(self, query: dict[str, str], body: Any, kind: str, name: str) -> tuple[int, Any]:
        if name not in self.properties[kind]:
            raise Refused(404, "OBJECT_NOT_FOUND", f"Property {name} does not exist")
        return 200, self.described(kind, name)

    def add_property(self, query: dict[str, str], body: Any, kind: str) -> tuple[int, Any]:
        if "schemas.write" not in self.scopes:
            raise Refused(403, "MISSING_SCOPES", "This key hasn't been granted all required scopes.")
        if not {"name", "label", "type", "fieldType", "groupName"} <= body.keys():
            raise Refused(400, "VALIDATION_ERROR", "Some required fields were not set")
        assert body["groupName"] == {"contacts": "contactinformation", "deals": "dealinformation"}[kind]
        if body["name"] in self.properties[kind]:
            raise Refused(409, "OBJECT_ALREADY_EXISTS", f"A property named '{body['name']}' already exists.")
        self.properties[kind][body["name"]] = body["label"]
        if body.get("hasUniqueValue"):
            self.unique[kind].add(body["name"])
        return 201, self.described(kind, body["name"])

    # records

    def shown(self, kind: str, number: int, names: list[str]) -> dict[str, Any]:
        record = self.records[kind][number]
        properties: dict[str, Any] = {name: record.get(name) for name in names if name in self.properties[kind]}
        if kind == "deals":
            stage = next(s for s in self.stages[record["pipeline"]] if s[0] == record["dealstage"])
            computed = {"hs_is_closed": stage[1], "hs_is_closed_won": stage[1] and stage[2] == 1.0}
            properties |= {name: str(value).lower() for name, value in computed.items() if name in names}
        properties |= {"createdate": record["createdate"], "hs_object_id": str(number)}
        return {"id": str(number), "properties": properties, "archived": False}

    def check(self, kind: str, properties: dict[str, Any], number: int | None) -> None:
        problems = []
        for name, value in properties.items():
            if name in READ_ONLY:
                problems.append((name, "READ_ONLY_VALUE", f'"{name}" is a read only property'))
            elif name not in self.properties[kind]:
                problems.append((name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
            elif name == "hubspot_owner_id" and value and value not in [owner["id"] for owner in self.owners]:
                problems.append((name, "INVALID_OWNER_ID", f"Owner {value} does not exist"))
            elif name in NUMBERS and value and not re.fullmatch(r"-?\d+(\.\d+)?", value):
                problems.append((name, "INVALID_LONG", f"{value} was not a valid long."))
            elif name == "hs_call_status" and value not in CALL_STATUSES:
                problems.append((name, "INVALID_OPTION", f"{value} was not one of the allowed options"))
            elif kind == "deals" and name in self.rules and value:
                problems.append((name, "VALIDATION_RULE", self.rules[name]))
            elif name in self.unique[kind] and any(
                one.get(name) == value and at != number for at, one in self.records[kind].items()
            ):
                problems.append((name, "CONFLICTING_UNIQUE_VALUE", f"{value} already has that value."))
        if kind == "deals" and "pipeline" in properties:
            stages = self.stages.get(properties["pipeline"])
            if stages is None or properties.get("dealstage") not in [stage[0] for stage in stages]:
                problems.append(("dealstage", "INVALID_OPTION", "is not a stage of the pipeline"))
        if number is None:
            problems += [
                (name, "MISSING_REQUIRED", f"{name} is required")
                for name in NEEDED.get(kind, ())
                if not properties.get(name)
            ]
        if problems:
            raise invalid(problems)

    def create(self, query: dict[str, str], body: Any, kind: str) -> tuple[int, Any]:
        self.allow(kind, "write")
        if not body.keys() <= {"properties", "associations"}:
            raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: unrecognized field")
        properties = body["properties"]
        if not all(type(value) is str for value in properties.values()):
            raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: properties are texts")
        self.check(kind, properties, None)
        links = []
        for one in body.get("associations", ()):
            (way,) = one["types"]
            other = next(to for (of, to), number in TYPES.items() if (of, number) == (kind, way["associationTypeId"]))
            if way["associationCategory"] != "HUBSPOT_DEFINED" or int(one["to"]["id"]) not in self.records[other]:
                raise Refused(404, "OBJECT_NOT_FOUND", f"{other} {one['to']['id']} does not exist")
            links.append((other, int(one["to"]["id"])))
        number = next(self.ids)
        day = f"2026-11-{1 + number % 28:02d}T10:00:00.000Z"
        given = {"pipeline": "default", "dealstage": "new"} if kind == "deals" else {}
        self.records[kind][number] = {**given, **properties, "createdate": day}
        self.links |= {(kind, number, other, to) for other, to in links}
        return 201, self.shown(kind, number, list(properties))

    def found(self, kind: str, record: str, by: str = "") -> int:
        if by:
            if by not in self.unique[kind]:
                raise Refused(self.unknown_property, "VALIDATION_ERROR", f"{by} is not a unique property of {kind}")
            numbers = [number for number, one in self.records[kind].items() if one.get(by) == record]
        else:
            numbers = [int(record)] if record.isdigit() and int(record) in self.records[kind] else []
        if not numbers:
            raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")
        return numbers[0]

    def get(self, query: dict[str, str], body: Any, kind: str, record: str) -> tuple[int, Any]:
        self.allow(kind, "read")
        return 200, self.shown(
            kind, self.found(kind, record, query.get("idProperty", "")), query.get("properties", "").split(",")
        )

    def list_objects(self, query: dict[str, str], body: Any, kind: str) -> tuple[int, Any]:
        self.allow(kind, "read")
        return 200, {"results": [self.shown(kind, number, []) for number in list(self.records[kind])[:1]]}

    def patch(self, query: dict[str, str], body: Any, kind: str, record: str) -> tuple[int, Any]:
        self.allow(kind, "write")
        number = self.found(kind, record)
        now = self.records[kind][number]
        both: dict[str, str] = (
            {name: now[name] for name in ("pipeline", "dealstage") if name in now} if kind == "deals" else {}
        )
        self.check(kind, {**both, **body["properties"]}, number)
        now.update(body["properties"])
        return 200, self.shown(kind, number, list(body["properties"]))

    def delete(self, query: dict[str, str], body: Any, kind: str, record: str) -> tuple[int, Any]:
        self.allow(kind, "write")
        self.records[kind].pop(int(record), None)
        return 204, None

    def batch_read(self, query: dict[str, str], body: Any, kind: str) -> tuple[int, Any]:
        self.allow(kind, "read")
        wanted = [int(one["id"]) for one in body["inputs"]]
        there = [number for number in wanted if number in self.records[kind]]
        results = [self.shown(kind, number, body["properties"]) for number in there]
        return 200 if len(there) == len(wanted) else 207, {"status": "COMPLETE", "results": results}

    def batch_associations(self, query: dict[str, str], body: Any, kind: str, to: str) -> tuple[int, Any]:
        self.allow(kind, "read")
        results, errors = [], []
        for one in body["inputs"]:
            links = [other for of, a, at, other in self.links if (of, a, at) == (kind, int(one["id"]), to)]
            links += [a for of, a, at, other in self.links if (at, other, of) == (kind, int(one["id"]), to)]
            links = sorted(other for other in links if other in self.records[to])
            if links:
                ways = [{"category": "HUBSPOT_DEFINED", "typeId": 1, "label": None}]
                tos = [{"toObjectId": other, "associationTypes": ways} for other in links]
                results.append({"from": {"id": one["id"]}, "to": tos})
            else:
                errors.append({"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND", "status": "error"})
        return 207 if errors else 200, {"status": "COMPLETE", "results": results, "errors": errors}

    def search(self, query: dict[str, str], body: Any, kind: str) -> tuple[int, Any]:
        self.allow(kind, "read")
        groups = body["filterGroups"]
        if len(groups) > 5 or body.get("limit", 10) > 200:
            raise Refused(400, "VALIDATION_ERROR", "too many filter groups")
        for name in {one["propertyName"] for group in groups for one in group["filters"]}:
            if name not in self.properties[kind] and not name.startswith("hs_searchable_calculated"):
                raise Refused(400, "VALIDATION_ERROR", f"There was a problem with the request: unknown property {name}")
        found = [
            number
            for number in self.indexed[kind] & self.records[kind].keys()
            if any(all(self.meets(self.records[kind][number], one) for one in group["filters"]) for group in groups)
        ]
        results = [self.shown(kind, number, body["properties"]) for number in sorted(found, reverse=True)]
        first = int(body.get("after", 0))
        page = {"total": len(results), "results": results[first : first + body["limit"]]}
        if len(results) > first + body["limit"]:
            page["paging"] = {"next": {"after": str(first + body["limit"])}}
        return 200, page

    def meets(self, record: dict[str, str], one: dict[str, str]) -> bool:
        name = one["propertyName"]
        value = record.get(name.replace("hs_searchable_calculated_phone_number", "phone"), "")
        if name.startswith("hs_searchable_calculated"):
            value = re.sub(r"\D", "", record.get("phone" if "mobile" not in name else "mobilephone", ""))[-10:]
        if one["operator"] == "EQ":
            return value == one["value"]
        assert one["operator"] == "CONTAINS_TOKEN"
        pattern = re.escape(one["value"]).replace(r"\*", ".*")
        return any(re.fullmatch(pattern, token, re.IGNORECASE) for token in re.findall(r"\+?\w+", value))
