"""A Pipedrive that remembers, after its documentation:
https://developers.pipedrive.com/docs/api/v1/Persons#searchPersons, …/Deals#addDeal, …/Deals#searchDeals, …/Activities#addActivity,
…/DealFields#addDealField, …/Users#findUsersByName, …/Notes#addNote (the pages show version 2 where there is one);
errors: https://pipedrive.readme.io/docs/core-api-concepts-responses; limits: …/docs/core-api-concepts-rate-limiting."""

import hashlib
import re
from typing import Any, ClassVar

from router.integrations.pipedrive import PipedriveSender
from tests.integrations.crm_world import Lead
from tests.integrations.json_fake import JsonFake, JsonWorld, Refused, said

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ADMIN, SELLER, GONE = 11, 12, 13
DEAL = {
    "title": str,
    "owner_id": int,
    "person_id": int,
    "org_id": int,
    "pipeline_id": int,
    "stage_id": int,
    "value": float,
}
DEAL |= {"currency": str, "status": str, "is_archived": bool, "custom_fields": dict, "expected_close_date": str}
PERSON: dict[str, type] = {"name": str, "owner_id": int, "phones": list, "emails": list, "custom_fields": dict}
ACTIVITY: dict[str, type] = {
    "subject": str,
    "type": str,
    "owner_id": int,
    "deal_id": int,
    "lead_id": str,
    "org_id": int,
}
ACTIVITY |= {"due_date": str, "due_time": str, "duration": str, "done": bool, "participants": list, "note": str}
FORMS = {
    "due_date": r"\d{4}-\d\d-\d\d",
    "due_time": r"\d\d:\d\d(:\d\d)?",
    "duration": r"\d\d:\d\d(:\d\d)?",
    "status": "open|won|lost",
}
LONGEST_PAGE = 500


def error(status: int, words: str, **more: str) -> Refused:
    info = "Please check developers.pipedrive.com for more information about Pipedrive API."
    document = {"success": False, "error": words, "error_info": info, "data": None, "additional_data": None} | more
    return Refused(status, document)


class PipedriveFake(JsonFake):
    routes = (
        ("GET", "/v1/users/me", "me"),
        ("GET", "/v1/users/find", "find_users"),
        ("GET", r"/v1/users/(\d+)", "user"),
        ("GET", "/v1/users", "users"),
        ("GET", "/v1/notes", "notes"),
        ("POST", "/v1/notes", "add_note"),
        ("GET", "/api/v2/pipelines", "pipelines"),
        ("GET", "/api/v2/stages", "stages"),
        ("GET", "/api/v2/dealFields", "deal_fields"),
        ("POST", "/api/v2/dealFields", "add_deal_field"),
        ("GET", "/api/v2/(persons|deals)/search", "search"),
        ("GET", "/api/v2/deals(/archived)?", "deals"),
        ("GET", "/api/v2/activities", "activities"),
        ("GET", r"/api/v2/(persons|deals|activities)/(\d+)", "one"),
        ("POST", "/api/v2/(persons|deals|activities)", "add"),
        ("PATCH", r"/api/v2/(persons|deals|activities)/(\d+)", "change"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.may_add_fields = True
        people = ((ADMIN, "Anna Admin", True), (SELLER, "Ben Seller", True), (GONE, "Gerd Gone", False))
        for number, name, is_active in people:
            email = f"{name.split()[0].lower()}@example.com"
            user = {"id": number, "name": name, "email": email, "active_flag": is_active, "is_you": number == ADMIN}
            self.table("users")[number] = user
        self.fixed = {"pipelines": [{"id": 1, "name": "Sales"}, {"id": 2, "name": "Service"}]}
        self.fixed["stages"] = [
            {"id": 1, "name": "Lead In", "pipeline_id": 1},
            {"id": 2, "name": "Contact Made", "pipeline_id": 1},
            {"id": 6, "name": "New", "pipeline_id": 2},
        ]
        for code, name in (("title", "Title"), ("value", "Value"), ("owner_id", "Owner")):
            self.table("fields")[code] = {"field_code": code, "field_name": name, "field_type": "varchar"}

    def check_key(self, path: str, headers: Any) -> None:
        if headers.get("x-api-token") != TOKEN:
            raise Refused(401, {"success": False, "error": "unauthorized access", "errorCode": 401, "error_info": ""})

    def unknown_path(self) -> Refused:
        return error(404, "Unknown method .")

    def page(self, records: list[Any], query: dict[str, str]) -> tuple[int, Any]:
        limit, start = int(query.get("limit", 100)), int(query.get("cursor", 0))
        if not 1 <= limit <= LONGEST_PAGE:
            raise error(400, "limit must be between 1 and 500")
        following = str(start + limit) if len(records) > start + limit else None
        found = {"success": True, "data": records[start : start + limit]}
        return 200, found | {"additional_data": {"next_cursor": following}}

    def me(self, query: Any, body: Any) -> tuple[int, Any]:
        company = {"company_id": 77001, "company_name": "Example Roses", "company_domain": "exampleroses"}
        return 200, {"success": True, "data": self.table("users")[ADMIN] | company}

    def users(self, query: Any, body: Any) -> tuple[int, Any]:
        return 200, {"success": True, "data": list(self.table("users").values())}

    def user(self, number: str, query: Any, body: Any) -> tuple[int, Any]:
        if int(number) not in self.table("users"):
            raise error(404, "User not found")
        return 200, {"success": True, "data": self.table("users")[int(number)]}

    def find_users(self, query: Any, body: Any) -> tuple[int, Any]:
        column = "email" if query.get("search_by_email") == "1" else "name"
        found = [user for user in self.table("users").values() if query["term"].lower() in user[column].lower()]
        return 200, {"success": True, "data": found or None}

    def pipelines(self, query: Any, body: Any) -> tuple[int, Any]:
        return self.page(self.fixed["pipelines"], query)

    def stages(self, query: Any, body: Any) -> tuple[int, Any]:
        return self.page(self.fixed["stages"], query)

    def deal_fields(self, query: Any, body: Any) -> tuple[int, Any]:
        return self.page(list(self.table("fields").values()), query)

    def add_deal_field(self, query: Any, body: Any) -> tuple[int, Any]:
        if not self.may_add_fields:
            raise error(403, "You do not have permissions to add fields")
        assert body.keys() == {"field_name", "field_type"}
        code = hashlib.sha1(f"{body['field_name']}{self.next_id()}".encode()).hexdigest()
        self.table("fields")[code] = field = {"field_code": code, **body}
        return 201, {"success": True, "data": field}

    def search(self, kind: str, query: Any, body: Any) -> tuple[int, Any]:
        term = query["term"].lower()
        assert len(term) >= 2
        assert set(query) <= {"term", "fields", "exact_match", "limit", "cursor", "status"}
        items = []
        for record in self.indexed.get(kind, {}).values():
            own = [str(value) for value in record.get("custom_fields", {}).values() if value is not None]
            if kind == "persons":
                phones = [phone["value"] for phone in record["phones"]]
                texts = [*phones, *(re.sub(r"\D", "", phone) for phone in phones)]
                item = {"id": record["id"], "type": "person", "name": record["name"], "phones": phones}
            else:
                texts = [*own, record["title"]]
                item = {"id": record["id"], "type": "deal", "title": record["title"], "custom_fields": own}
            if any(term in text.lower() for text in texts):
                items.append({"result_score": 0.5, "item": item})
        status, found = self.page(items, query)
        return status, found | {"data": {"items": found["data"]}}

    def deals(self, archive: str | None, query: Any, body: Any) -> tuple[int, Any]:
        assert set(query) <= {"person_id", "limit", "cursor", "status", "sort_by", "sort_direction"}
        person = int(query.get("person_id", 0))
        records = [deal for deal in self.table("deals").values() if deal["is_archived"] == bool(archive)]
        return self.page([deal for deal in records if not person or deal.get("person_id") == person], query)

    def activities(self, query: Any, body: Any) -> tuple[int, Any]:
        assert set(query) <= {"person_id", "deal_id", "limit", "cursor", "sort_by", "sort_direction"}
        records = list(reversed(self.table("activities").values()))
        for name in ("person_id", "deal_id"):
            if name in query:
                records = [record for record in records if record.get(name) == int(query[name])]
        return self.page(records, query)

    def one(self, kind: str, number: str, query: Any, body: Any) -> tuple[int, Any]:
        if int(number) not in self.table(kind):
            raise error(404, f"{kind[:-1].title()} not found")
        return 200, {"success": True, "data": self.table(kind)[int(number)]}

    def add(self, kind: str, query: Any, body: Any) -> tuple[int, Any]:
        self.validate(kind, body)
        if kind == "deals" and "title" not in body:
            raise error(400, "Validation failed: title: Required")
        number = self.next_id()
        record: dict[str, Any] = {"id": number, "owner_id": ADMIN, "is_deleted": False} | body
        if kind == "deals":
            stage = body.get("stage_id", 6 if body.get("pipeline_id") == 2 else 1)
            record = {"status": "open", "is_archived": False, "stage_id": stage, "pipeline_id": 1} | record
            record["custom_fields"] = dict.fromkeys(self.own_codes()) | body.get("custom_fields", {})
        if kind == "activities" and body.get("participants"):
            record["person_id"] = body["participants"][0]["person_id"]
        self.table(kind)[number] = record
        return 201, {"success": True, "data": record}

    def change(self, kind: str, number: str, query: Any, body: Any) -> tuple[int, Any]:
        _, found = self.one(kind, number, query, None)
        self.validate(kind, body)
        record = found["data"]
        own = record.get("custom_fields", {}) | body.get("custom_fields", {})
        record.update(body | ({"custom_fields": own} if kind == "deals" else {}))
        return 200, {"success": True, "data": record}

    def validate(self, kind: str, body: Any) -> None:
        known = {"deals": DEAL, "persons": PERSON, "activities": ACTIVITY}[kind]
        for name, value in body.items():
            if name not in known:
                raise error(400, f"Validation failed: {name}: Unrecognized key", code="ERR_SCHEMA_VALIDATION_FAILED")
            if type(value) is not known[name] or (name in FORMS and not re.fullmatch(FORMS[name], str(value))):
                raise error(400, f"Validation failed: {name}: Invalid value", code="ERR_SCHEMA_VALIDATION_FAILED")
        for name in body.get("custom_fields", {}):
            if name not in self.own_codes():
                raise error(400, f"Validation failed: custom_fields.{name}: Unrecognized key")
        if not self.table("users").get(body.get("owner_id", ADMIN), {}).get("active_flag"):
            raise error(400, "Validation failed: owner_id: User not found")
        for name, there in (("person_id", "persons"), ("deal_id", "deals")):
            if name in body and body[name] not in self.table(there):
                raise error(400, f"Validation failed: {name}: not found")
        for name, fixed in (("pipeline_id", "pipelines"), ("stage_id", "stages")):
            if name in body and body[name] not in [one["id"] for one in self.fixed[fixed]]:
                raise error(400, f"{fixed[:-1].title()} not found")

    def own_codes(self) -> list[str]:
        return [code for code in self.table("fields") if len(code) == 40]

    def notes(self, query: Any, body: Any) -> tuple[int, Any]:
        (name,) = query.keys() & {"deal_id", "person_id"}
        found = [note for note in self.table("notes").values() if note.get(name) == int(query[name])]
        return 200, {"success": True, "data": found or None}

    def add_note(self, query: Any, body: Any) -> tuple[int, Any]:
        assert body["content"]
        assert body.keys() & {"deal_id", "person_id"}
        number = self.next_id()
        self.table("notes")[number] = {"id": number} | body
        return 201, {"success": True, "data": self.table("notes")[number]}


class PipedriveWorld(JsonWorld):
    sender = PipedriveSender
    makes_contacts = True
    own_faults: ClassVar = {
        "revoked_token": said(401, {"success": False, "error": "unauthorized access", "errorCode": 401}),
        "burst": said(429, {"success": False, "error": "Rate limit exceeded"}, **{"x-ratelimit-reset": "2"}),
        "not_a_success": said(200, {"success": False, "error": "Requested service is not available", "data": None}),
    }

    def __init__(self) -> None:
        self.fake: PipedriveFake = PipedriveFake()
        self.config = {"url": "https://exampleroses.pipedrive.com", "pipeline": "Sales", "stage": "2"}
        self.secret = TOKEN
        self.manager = "ben@example.com"
        super().__init__()
        self.fake.add_deal_field({}, {"field_name": "Call id", "field_type": "varchar"})

    def forget(self) -> None:
        for name in ("persons", "deals", "activities", "notes"):
            self.fake.table(name).clear()

    def leads(self) -> list[Lead]:
        return [
            Lead(
                deal["id"],
                deal["owner_id"],
                len(self._activities(deal["id"], is_task=False)),
                len(self._activities(deal["id"], is_task=True)),
                deal["status"] == "open",
            )
            for deal in self.fake.table("deals").values()
        ]

    def _activities(self, deal: Any, is_task: bool) -> list[Any]:
        at = [activity for activity in self.fake.table("activities").values() if activity["deal_id"] == deal]
        return [activity for activity in at if activity["done"] is not is_task]

    def contacts(self) -> int:
        return len(self.fake.table("persons"))

    def edit(self, lead: Any) -> None:
        self.fake.table("deals")[lead].update(title="Roses for Frau Kern", owner_id=ADMIN, stage_id=1)
        for activity in self._activities(lead, is_task=False):
            activity["note"] += "<p>wants red ones</p>"

    def is_edited(self, lead: Any) -> bool:
        deal = self.fake.table("deals")[lead]
        notes = [activity["note"] for activity in self._activities(lead, is_task=False)]
        is_kept = (deal["title"], deal["owner_id"], deal["stage_id"]) == ("Roses for Frau Kern", ADMIN, 1)
        return is_kept and len(notes) == 1

    def corrections(self, lead: Any) -> int:
        (call,) = self._activities(lead, is_task=False)
        return int(call["note"].count("Corrected:"))
