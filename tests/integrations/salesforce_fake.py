"""A small Salesforce: tokens, records, SOQL and SOSL as far as they are used, composite requests, the Tooling API's fields, and its errors.

Made from its documentation, not from the product:
https://developer.salesforce.com/docs/platform/api-rest/guide/errorcodes.html
https://developer.salesforce.com/docs/platform/api-rest/guide/dome-upsert.html
https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_composite.htm
https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_task.htm
https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select.htm"""

import copy
import json
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from router.lib.http_client import Answer

BASE = "/services/data/v65.0"
ORGANIZATION, ME, ANNA, BERT, GONE = "00Dgk0000001ABCEA2", "005me", "005anna", "005bert", "005gone"
PREFIXES = {
    "Lead": "00Q",
    "Contact": "003",
    "Opportunity": "006",
    "Task": "00T",
    "OpportunityContactRole": "00K",
    "PermissionSet": "0PS",
    "PermissionSetAssignment": "0Pa",
    "FieldPermissions": "01k",
}
FIELDS: dict[str, dict[str, Any]] = {
    "Lead": {
        **dict.fromkeys(("LastName", "FirstName", "Company", "Phone", "MobilePhone", "Description"), str),
        **dict.fromkeys(("LeadSource", "Status", "OwnerId"), str),
    },
    "Contact": dict.fromkeys(("LastName", "Phone", "MobilePhone", "HomePhone", "OtherPhone", "OwnerId"), str),
    "Opportunity": {
        **dict.fromkeys(("Name", "StageName", "CloseDate", "OwnerId"), str),
        "IsClosed": bool,
        "IsWon": bool,
    },
    "OpportunityContactRole": dict.fromkeys(("OpportunityId", "ContactId"), str),
    "Task": {
        **dict.fromkeys(("Subject", "Description", "TaskSubtype", "CallType", "CallDisposition", "CallObject"), str),
        **dict.fromkeys(("Status", "Priority", "ActivityDate", "OwnerId", "WhoId", "WhatId"), str),
        "CallDurationInSeconds": int,
    },
    "PermissionSet": dict.fromkeys(("Name", "Label"), str),
    "PermissionSetAssignment": dict.fromkeys(("AssigneeId", "PermissionSetId"), str),
    "FieldPermissions": {
        **dict.fromkeys(("ParentId", "SobjectType", "Field"), str),
        "PermissionsRead": bool,
        "PermissionsEdit": bool,
    },
}
READ_ONLY = ("Id", "CreatedDate", "IsConverted", "ConvertedContactId", "ConvertedOpportunityId")
REQUIRED = {"Lead": ("LastName", "Company"), "Contact": ("LastName",), "PermissionSet": ("Name", "Label")}
PICKLISTS = {
    ("Task", "CallType"): ("Internal", "Inbound", "Outbound"),
    ("Task", "TaskSubtype"): ("Task", "Call", "Email"),
}
PICKLISTS[("Task", "Priority")] = ("High", "Normal", "Low")
LENGTHS = {"LastName": 80, "Subject": 255, "CallObject": 255, "CallDisposition": 255}
STATUSES = ("Open - Not Contacted", "Working", "Closed - Converted", "Closed - Not Converted")


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str, *fields: str) -> None:
        super().__init__(message)
        self.status = status
        self.document: Any = [{"message": message, "errorCode": code, "fields": list(fields)}]


class SalesforceFake:
    """One organisation."""

    def __init__(self) -> None:
        self.secret, self.client_id = "the-consumer-secret", "3MVG9the.consumer.key"
        self.token = "00D!token.1"
        self.tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in PREFIXES}
        users = {
            ME: ("Call Tracking", True),
            ANNA: ("Anna Kern", True),
            BERT: ("Bert Moos", True),
            GONE: ("Gerd Alt", False),
        }
        self.tables["User"] = {
            number: {
                "Id": number,
                "Name": name,
                "Username": f"{name.split()[0].lower()}@garden.example",
                "Email": f"{name.split()[0].lower()}@mail.example",
                "IsActive": active,
                "UserType": "Standard",
                "CreatedDate": "2026-01-01T00:00:00.000+0000",
            }
            for number, (name, active) in users.items()
        }
        self.tables["LeadStatus"] = {
            name: {"ApiName": name, "MasterLabel": name, "IsDefault": at == 0, "IsConverted": at == 2, "SortOrder": at}
            for at, name in enumerate(STATUSES)
        }
        self.tables["OpportunityStage"] = {
            name: {"ApiName": name, "IsClosed": name != "Prospecting", "IsActive": True, "SortOrder": at}
            for at, name in enumerate(("Prospecting", "Closed Won", "Closed Lost"))
        }
        self.custom: dict[str, bool] = {}
        """Fields of leads, each with whether it is unique; `seen`: those that a permission lets this key see."""
        self.seen: set[str] = set()
        self.assigns, self.rule_assigns_to = False, ""
        """Whom the assignment rule of leads names, whatever owner they come with."""
        self.may_customize = True
        self.blocks_statuses = False
        self.indexed: dict[str, set[str]] = {}
        self.ids = count(1)
        self.asked: list[tuple[str, str]] = []

    def index(self) -> None:
        self.indexed = {name: set(records) for name, records in self.tables.items()}

    def __call__(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.asked.append((method, parts.path))
        try:
            if parts.path == "/services/oauth2/token":
                status, document = self.give_token(dict(parse_qsl(content.decode())))
            else:
                if headers.get("Authorization") != f"Bearer {self.token}":
                    raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
                self.assigns = headers.get("Sforce-Auto-Assign") != "FALSE"
                status, document = self.answer(method, parts.path, query, json.loads(content) if content else None)
        except Refused as refused:
            status, document = refused.status, refused.document
        body = b"" if document is None else json.dumps(document).encode()
        return Answer(status, {"content-type": "application/json;charset=UTF-8"}, body, complete=True)

    def give_token(self, form: dict[str, str]) -> tuple[int, Any]:
        if form != {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.secret}:
            return 400, {"error": "invalid_client", "error_description": "invalid client credentials"}
        identity = f"https://login.salesforce.com/id/{ORGANIZATION}/{ME}"
        return 200, {"access_token": self.token, "instance_url": "x", "id": identity, "token_type": "Bearer"}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        routes: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
            ("GET", f"{BASE}/query", self.query),
            ("GET", f"{BASE}/search", self.search),
            ("POST", f"{BASE}/composite", self.composite),
            ("POST", f"{BASE}/tooling/sobjects/CustomField", self.add_field),
            ("POST", rf"{BASE}/sobjects/(\w+)", self.create),
            ("GET", rf"{BASE}/sobjects/(\w+)/(\w+)", self.get),
            ("PATCH", rf"{BASE}/sobjects/(\w+)/(\w+)", self.patch),
        ]
        for wanted, pattern, handle in routes:
            if wanted == method and (found := re.fullmatch(pattern, path)):
                return handle(query, body, *found.groups())
        raise Refused(404, "NOT_FOUND", "The requested resource does not exist")

    # records

    def known(self, sobject: str, name: str) -> bool:
        if sobject not in FIELDS:
            return True
        return name in FIELDS[sobject] or name in READ_ONLY or (sobject == "Lead" and name in self.seen)

    def check(self, sobject: str, values: dict[str, Any], number: str | None) -> None:
        for name, value in values.items():
            if name in READ_ONLY:
                raise Refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE", f"Unable to create/update fields: {name}.", name)
            if not self.known(sobject, name):
                raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject}")
            kind = FIELDS[sobject].get(name, str)
            if value is not None and type(value) is not kind:
                raise Refused(
                    400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {kind.__name__} from {value!r}"
                )
            allowed = PICKLISTS.get((sobject, name))
            if self.blocks_statuses and (sobject, name) == ("Task", "Status"):
                allowed = ("Erledigt", "Offen")
            if allowed and value not in allowed:
                words = f"{name}: bad value for restricted picklist field: {value}"
                raise Refused(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", words, name)
            if value and len(str(value)) > LENGTHS.get(name, 32000):
                raise Refused(400, "STRING_TOO_LONG", f"{name}: data value too large", name)
            if name == "OwnerId" and not self.tables["User"].get(str(value), {}).get("IsActive"):
                raise Refused(400, "INACTIVE_OWNER_OR_USER", "operation performed with inactive user", "OwnerId")
            if name in ("WhoId", "WhatId"):
                table = {"00Q": "Lead", "003": "Contact", "006": "Opportunity"}[value[:3]]
                if value not in self.tables[table] or (name == "WhatId") != (table == "Opportunity"):
                    raise Refused(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", name)
            if sobject == "Lead" and self.custom.get(name):
                same = [at for at, one in self.tables["Lead"].items() if one.get(name) == value and at != number]
                if same:
                    words = f"duplicate value found: {name} duplicates value on record with id: {same[0]}"
                    raise Refused(400, "DUPLICATE_VALUE", words)
        lacking = [name for name in REQUIRED.get(sobject, ()) if number is None and not values.get(name)]
        if lacking:
            raise Refused(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: {lacking}", *lacking)

    def create(self, query: Any, body: dict[str, Any], sobject: str) -> tuple[int, Any]:
        self.check(sobject, body, None)
        if sobject.startswith(("Permission", "FieldPerm")):
            if not self.may_customize:
                raise Refused(
                    403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on cross-reference id"
                )
            if body in [{k: v for k, v in one.items() if k in body} for one in self.tables[sobject].values()]:
                raise Refused(400, "DUPLICATE_VALUE", "duplicate value found")
            if sobject == "FieldPermissions":
                self.seen.add(body["Field"].removeprefix("Lead."))
        at = next(self.ids)
        number = f"{PREFIXES[sobject]}{at:015d}"
        made = f"2026-11-{1 + at // 1440 % 28:02d}T{at // 60 % 24:02d}:{at % 60:02d}:00.000+0000"
        given: dict[str, Any] = {"OwnerId": ME}
        if sobject == "Lead" and self.assigns and self.rule_assigns_to:
            body = {**body, "OwnerId": self.rule_assigns_to}
        if sobject == "Lead":
            given |= {
                "Status": STATUSES[0],
                "IsConverted": False,
                "ConvertedContactId": None,
                "ConvertedOpportunityId": None,
            }
        self.tables[sobject][number] = {**given, **body, "Id": number, "CreatedDate": made}
        return 201, {"id": number, "success": True, "errors": []}

    def found(self, sobject: str, number: str) -> dict[str, Any]:
        if number not in self.tables.get(sobject, {}):
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        return self.tables[sobject][number]

    def get(self, query: dict[str, str], body: Any, sobject: str, number: str) -> tuple[int, Any]:
        return 200, self.shown(sobject, self.found(sobject, number), query["fields"].split(","))

    def shown(self, sobject: str, record: dict[str, Any], names: list[str]) -> dict[str, Any]:
        shown: dict[str, Any] = {"attributes": {"type": sobject}}
        for name in names:
            if name.startswith("Opportunity."):
                of = self.tables["Opportunity"][record["OpportunityId"]]
                shown.setdefault("Opportunity", {})[name.split(".")[1]] = of[name.split(".")[1]]
                continue
            if not self.known(sobject, name):
                raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on entity '{sobject}'.")
            shown[name] = record.get(name)
        return shown

    def patch(self, query: Any, body: dict[str, Any], sobject: str, number: str) -> tuple[int, Any]:
        record = self.found(sobject, number)
        if record.get("IsConverted"):
            raise Refused(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        self.check(sobject, body, number)
        record.update(body)
        return 204, None

    def composite(self, query: Any, body: dict[str, Any]) -> tuple[int, Any]:
        assert body["allOrNone"] is True
        before, answers, made = copy.deepcopy(self.tables), [], {}
        for part in body["compositeRequest"]:
            given = {
                name: re.sub(r"@\{(\w+)\.id\}", lambda of: made.get(of[1], "00Q"), v)
                for name, v in part["body"].items()
            }
            try:
                status, document = self.create({}, given, part["url"].rsplit("/", 1)[1])
                made[part["referenceId"]] = document["id"]
            except Refused as refused:
                status, document = refused.status, refused.document
            answers.append({"referenceId": part["referenceId"], "httpStatusCode": status, "body": document})
        if any(answer["httpStatusCode"] >= 400 for answer in answers):
            self.tables = before
            halted = [
                {
                    "errorCode": "PROCESSING_HALTED",
                    "message": "The transaction was rolled back since another operation failed.",
                }
            ]
            answers = [
                one if one["httpStatusCode"] >= 400 else {**one, "httpStatusCode": 400, "body": halted}
                for one in answers
            ]
        return 200, {"compositeResponse": answers}

    def add_field(self, query: Any, body: dict[str, Any]) -> tuple[int, Any]:
        sobject, name = body["FullName"].split(".")
        assert (sobject, name.endswith("__c")) == ("Lead", True)
        assert {"type", "label", "length"} <= body["Metadata"].keys()
        if not self.may_customize:
            raise Refused(403, "INSUFFICIENT_ACCESS", "insufficient access rights to make custom fields")
        if name in self.custom:
            raise Refused(400, "DUPLICATE_DEVELOPER_NAME", f"There is already a field named {name} on Lead.")
        self.custom[name] = bool(body["Metadata"].get("unique"))
        return 201, {"id": "00N000000000001", "success": True, "errors": []}

    # questions

    def rows(self, sobject: str) -> list[dict[str, Any]]:
        if sobject == "EntityParticle":
            return [
                {
                    "QualifiedApiName": name,
                    "Label": name,
                    "EntityDefinition.QualifiedApiName": "Lead",
                    "IsCreatable": True,
                }
                for name in (*FIELDS["Lead"], *self.seen)
            ]
        if sobject not in self.tables:
            raise Refused(400, "INVALID_TYPE", f"sObject type '{sobject}' is not supported.")
        return list(self.tables[sobject].values())

    def query(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        form = r"SELECT (.+?) FROM (\w+)(?: WHERE (.+?))?(?: ORDER BY (\w+)( DESC)?)? LIMIT (\d+)(?: OFFSET (\d+))?"
        found = re.fullmatch(form, query["q"])
        if found is None:
            raise Refused(400, "MALFORMED_QUERY", f"unexpected token: {query['q']}")
        names, sobject, where, order, is_descending, limit, offset = found.groups()
        test = self.condition(sobject, where) if where else lambda record: True
        records = [record for record in self.rows(sobject) if test(record)]
        if order:
            records.sort(key=lambda record: record[order], reverse=bool(is_descending))
        records = records[int(offset or 0) :][: int(limit)]
        shown = [self.shown(sobject, record, names.split(", ")) for record in records]
        for name in names.split(", "):
            if not shown and "." not in name and not self.known(sobject, name):
                raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on entity '{sobject}'.")
        return 200, {"totalSize": len(shown), "done": True, "records": shown}

    def condition(self, sobject: str, text: str) -> Callable[[dict[str, Any]], bool]:
        """AND binds after OR: parentheses are not told apart, which the queries of this connector do not need."""
        literal = r"'(?:\\.|[^'\\])*'|true|false"
        terms: list[Callable[[dict[str, Any]], bool]] = []
        for part in text.split(" AND "):
            choices = []
            for name, sign, value in re.findall(rf"([\w.]+) (=|IN) (\((?:(?:{literal}),? ?)+\)|{literal})", part):
                if "." not in name and not self.known(sobject, name):
                    raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on entity '{sobject}'.")
                assert (sign == "IN") == value.startswith("(")
                values = {
                    one if one in ("true", "false") else re.sub(r"\\(.)", r"\1", one[1:-1]).casefold()
                    for one in re.findall(literal, value)
                }
                choices.append((name, values))
            terms.append(
                lambda record, choices=choices: any(
                    str(record.get(n) or "").casefold() in v or (record.get(n) is True and "true" in v)
                    for n, v in choices
                )  # type: ignore[misc]  # a lambda's default has no type
            )
        return lambda record: all(term(record) for term in terms)

    def search(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        found = re.fullmatch(r"FIND \{(.+?)\} IN PHONE FIELDS RETURNING (.+)", query["q"])
        if found is None:
            raise Refused(400, "MALFORMED_SEARCH", "unexpected token")
        terms, results = found[1].split(" OR "), []
        for sobject, names in re.findall(r"(\w+)\((.+?) LIMIT \d+\)", found[2]):
            for number in sorted(self.indexed.get(sobject, set()) & self.tables[sobject].keys()):
                record = self.tables[sobject][number]
                digits = [re.sub(r"\D", "", str(record.get(name) or "")) for name in names.split(", ") if name != "Id"]
                if any(term and term in one for one in digits for term in terms):
                    results.append(self.shown(sobject, record, names.split(", ")))
        return 200, {"searchRecords": results}

    # what people do there

    def make(self, sobject: str, **values: Any) -> str:
        _, made = self.create({}, {}, sobject) if sobject == "OpportunityContactRole" else (0, None)
        if made is not None:
            self.tables[sobject][made["id"]].update(values)
            return str(made["id"])
        return str(self.create({}, values, sobject)[1]["id"])

    def convert(self, lead: str, *, with_opportunity: bool = True) -> tuple[str, str | None]:
        """Its activities go along."""
        contact = self.make("Contact", LastName="Kern", Phone=self.tables["Lead"][lead]["Phone"])
        opportunity = self.make("Opportunity", Name="Roses", IsClosed=False, IsWon=False) if with_opportunity else None
        now = {"IsConverted": True, "ConvertedContactId": contact, "ConvertedOpportunityId": opportunity}
        self.tables["Lead"][lead].update(now)
        for task in self.tables["Task"].values():
            if task.get("WhoId") == lead:
                task.update({"WhoId": contact, "WhatId": opportunity})
        return contact, opportunity
