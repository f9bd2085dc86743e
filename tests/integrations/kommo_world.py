"""A Kommo that remembers, after its documentation: https://developers.kommo.com/reference/kommo-api-reference and
https://www.amocrm.ru/developers/content/crm_platform/ (leads-api, contacts-api, events-and-notes, tasks-api, custom-fields)."""

import re
from typing import Any, ClassVar

from router.integrations.kommo import KommoSender
from tests.integrations.crm_world import Lead
from tests.integrations.json_fake import JsonFake, JsonWorld, Refused, said

TOKEN = "eyJ0eXAiOiJKV1QifQ.long-lived.signature"
ADMIN, SELLER, GONE = 501, 502, 503
PHONE_FIELD = 900
LEAD: dict[str, type] = {"name": str, "price": int, "status_id": int, "pipeline_id": int, "responsible_user_id": int}
LEAD |= {"custom_fields_values": list, "_embedded": dict}
CONTACT: dict[str, type] = {"name": str, "responsible_user_id": int, "custom_fields_values": list}
TASK: dict[str, type] = {"text": str, "complete_till": int, "task_type_id": int, "entity_type": str, "entity_id": int}
TASK |= {"responsible_user_id": int}
CALL: dict[str, type] = {"uniq": str, "duration": int, "source": str, "link": str, "phone": str}
LARGEST_PAGE = 250


def problem(status: int, title: str, detail: str, *errors: tuple[str, str, str]) -> Refused:
    document: dict[str, Any] = {
        "title": title,
        "type": "https://httpstatus.es/" + str(status),
        "status": status,
        "detail": detail,
    }
    if errors:
        named = [{"code": code, "path": path, "detail": words} for code, path, words in errors]
        document = {"validation-errors": [{"request_id": "0", "errors": named}]} | document
    return Refused(status, document)


def invalid(code: str, path: str, words: str) -> Refused:
    return problem(400, "Bad Request", "Request validation failed", (code, path, words))


class KommoFake(JsonFake):
    routes = (
        ("GET", "/api/v4/account", "account"),
        ("GET", "/api/v4/users", "users"),
        ("GET", "/api/v4/leads/pipelines", "pipelines"),
        ("GET", "/api/v4/leads/custom_fields", "fields"),
        ("POST", "/api/v4/leads/custom_fields", "add_field"),
        ("GET", "/api/v4/(leads|contacts)", "some"),
        ("POST", "/api/v4/(leads|contacts)", "add"),
        ("GET", r"/api/v4/(leads|contacts)/(\d+)", "one"),
        ("PATCH", r"/api/v4/(leads)/(\d+)", "change"),
        ("GET", r"/api/v4/(leads|contacts)/(\d+)/notes", "notes"),
        ("POST", r"/api/v4/(leads|contacts)/(\d+)/notes", "add_note"),
        ("PATCH", r"/api/v4/(leads|contacts)/(\d+)/notes/(\d+)", "change_note"),
        ("GET", "/api/v4/tasks", "tasks"),
        ("POST", "/api/v4/tasks", "add_task"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.may_add_fields = True
        for number, name, is_active in (
            (ADMIN, "Anna Admin", True),
            (SELLER, "Ben Seller", True),
            (GONE, "Gerd Gone", False),
        ):
            email = f"{name.split()[0].lower()}@example.com"
            user = {"id": number, "name": name, "email": email, "rights": {"is_active": is_active}}
            self.table("users")[number] = user
        for code in ("UTM_SOURCE", "UTM_MEDIUM", "UTM_CAMPAIGN", "UTM_TERM", "UTM_CONTENT"):
            number = self.next_id()
            self.table("fields")[number] = {"id": number, "name": code.lower(), "type": "tracking_data", "code": code}
        self.stages = {10: ((1, 11, "Incoming leads"), (0, 12, "First contact"), (0, 142, "Won"), (0, 143, "Lost"))}
        self.stages[20] = (
            (1, 21, "Incoming leads"),
            (0, 22, "New"),
            (0, 23, "Offer"),
            (0, 142, "Won"),
            (0, 143, "Lost"),
        )

    def check_key(self, path: str, headers: Any) -> None:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            raise problem(401, "Unauthorized", "Authentication failed")

    def unknown_path(self) -> Refused:
        return problem(404, "Not Found", "Not Found")

    def page(self, name: str, records: list[Any], query: dict[str, str]) -> tuple[int, Any]:
        limit, page = int(query.get("limit", 50)), int(query.get("page", 1))
        if not 1 <= limit <= LARGEST_PAGE:
            raise problem(400, "Bad Request", "Limit is invalid")
        part = records[(page - 1) * limit : page * limit]
        return (200, {"_page": page, "_links": {}, "_embedded": {name: part}}) if part else (204, None)

    def account(self, query: Any, body: Any) -> tuple[int, Any]:
        return 200, {"id": 31415926, "name": "Example Roses", "subdomain": "roses", "country": "DE"}

    def users(self, query: Any, body: Any) -> tuple[int, Any]:
        return self.page("users", list(self.table("users").values()), query)

    def pipelines(self, query: Any, body: Any) -> tuple[int, Any]:
        named = {10: "Service", 20: "Sales"}
        found = []
        for number, stages in self.stages.items():
            statuses = [{"id": id, "name": name, "type": kind, "pipeline_id": number} for kind, id, name in stages]
            pipeline = {"id": number, "name": named[number], "is_main": number == 20, "is_archive": False}
            found.append(pipeline | {"_embedded": {"statuses": statuses}})
        return 200, {"_total_items": 2, "_embedded": {"pipelines": found}}

    def fields(self, query: Any, body: Any) -> tuple[int, Any]:
        return self.page("custom_fields", list(self.table("fields").values()), query)

    def add_field(self, query: Any, body: Any) -> tuple[int, Any]:
        if not self.may_add_fields:
            raise problem(403, "Forbidden", "Not enough rights")
        (field,) = body
        assert field.keys() == {"name", "type", "code"}
        if field["code"] in [one["code"] for one in self.table("fields").values()]:
            raise invalid("NotUnique", "code", "This value is already used.")
        number = self.next_id()
        self.table("fields")[number] = {"id": number} | field
        return 201, {"_embedded": {"custom_fields": [self.table("fields")[number]]}}

    def some(self, kind: str, query: Any, body: Any) -> tuple[int, Any]:
        if "query" in query:
            term = re.sub(r"\s", "", query["query"]).lower()
            records = [one for one in self.indexed.get(kind, {}).values() if term in self.searched(one)]
        else:
            wanted = {int(value) for name, value in query.items() if name.startswith("filter[id]")}
            records = [one for one in self.table(kind).values() if one["id"] in wanted]
        return self.page(kind, [self.shown(kind, one) for one in records], query)

    def searched(self, record: dict[str, Any]) -> str:
        texts = [str(value["value"]) for field in record["custom_fields_values"] or () for value in field["values"]]
        return (
            "\n".join([record["name"], *texts, *(re.sub(r"\D", "", text) for text in texts)]).replace(" ", "").lower()
        )

    def shown(self, kind: str, record: dict[str, Any]) -> dict[str, Any]:
        if kind == "leads":
            return record
        leads = [lead for lead in self.table("leads").values() if {"id": record["id"]} in lead["_embedded"]["contacts"]]
        return record | {"_embedded": {"leads": [{"id": lead["id"]} for lead in leads]}}

    def one(self, kind: str, number: str, query: Any, body: Any) -> tuple[int, Any]:
        found = self.table(kind).get(int(number))
        return (200, self.shown(kind, found)) if found else (204, None)

    def add(self, kind: str, query: Any, body: Any) -> tuple[int, Any]:
        (given,) = body
        number = self.next_id()
        record = {"id": number, "name": f"#{number}", "responsible_user_id": ADMIN, "is_deleted": False}
        record |= self.valid(kind, given)
        if kind == "leads":
            status = given.get("status_id", {10: 12, 20: 22}[given.get("pipeline_id", 20)])
            contacts = [{"id": one["id"]} for one in given.get("_embedded", {}).get("contacts", ())]
            for one in contacts:
                if one["id"] not in self.table("contacts"):
                    raise invalid(
                        "NotSupportedChoice", "_embedded.contacts.0.id", "The value you selected is not valid."
                    )
            record |= {
                "status_id": status,
                "pipeline_id": given.get("pipeline_id", 20),
                "_embedded": {"contacts": contacts},
            }
        self.table(kind)[number] = record
        return 200, {"_embedded": {kind: [{"id": number, "request_id": "0"}]}}

    def change(self, kind: str, number: str, query: Any, body: Any) -> tuple[int, Any]:
        if int(number) not in self.table(kind):
            raise problem(404, "Not Found", "Lead not found")
        record, given = self.table(kind)[int(number)], self.valid(kind, body)
        fields = {field["field_id"]: field for field in record["custom_fields_values"] or ()}
        fields |= {field["field_id"]: field for field in given["custom_fields_values"] or ()}
        record.update(given | {"custom_fields_values": list(fields.values())})
        return 200, {"id": int(number), "updated_at": 1}

    def valid(self, kind: str, given: Any) -> dict[str, Any]:
        known = {"leads": LEAD, "contacts": CONTACT}[kind]
        for name, value in given.items():
            if name not in known:
                raise invalid("NotSupported", name, "This field is not supported.")
            if type(value) is not known[name]:
                raise invalid("InvalidType", name, f"This value should be of type {known[name].__name__}.")
        owner = given.get("responsible_user_id", ADMIN)
        if not self.table("users").get(owner, {}).get("rights", {}).get("is_active"):
            raise invalid("NotSupportedChoice", "responsible_user_id", "The value you selected is not a valid choice.")
        stages = [stage[1] for stage in self.stages.get(given.get("pipeline_id", 20), ())]
        if not stages or given.get("status_id", stages[0]) not in stages:
            raise invalid("NotSupportedChoice", "status_id", "The value you selected is not a valid choice.")
        fields = []
        for place, field in enumerate(given.get("custom_fields_values", ())):
            there = {"id": PHONE_FIELD, "code": "PHONE"} if kind == "contacts" else self.field_of(field)
            if there is None:
                raise invalid(
                    "NotSupportedChoice", f"custom_fields_values.{place}.field_id", "The field was not found."
                )
            fields.append({"field_id": there["id"], "field_code": there["code"], "values": field["values"]})
        return {name: value for name, value in given.items() if name != "_embedded"} | {
            "custom_fields_values": fields or None
        }

    def field_of(self, field: Any) -> Any:
        named = (field.get("field_id"), field.get("field_code"))
        return next(
            (one for one in self.table("fields").values() if named in ((one["id"], None), (None, one["code"]))), None
        )

    def notes(self, kind: str, number: str, query: Any, body: Any) -> tuple[int, Any]:
        found = [
            note
            for note in reversed(self.table("notes").values())
            if note["at"] == (kind, int(number)) and note["note_type"] == query["filter[note_type]"]
        ]
        return self.page("notes", found, query)

    def add_note(self, kind: str, number: str, query: Any, body: Any) -> tuple[int, Any]:
        (note,) = body
        if int(number) not in self.table(kind):
            raise problem(404, "Not Found", "Entity not found")
        self.check_note(note)
        made = self.next_id()
        self.table("notes")[made] = {"id": made, "at": (kind, int(number))} | note
        return 200, {"_embedded": {"notes": [{"id": made, "entity_id": int(number), "request_id": "0"}]}}

    def change_note(self, kind: str, number: str, note: str, query: Any, body: Any) -> tuple[int, Any]:
        self.check_note(body)
        there = self.table("notes")[int(note)]
        assert (there["at"], there["note_type"]) == ((kind, int(number)), body["note_type"])
        there["params"] = body["params"]
        return 200, {"id": int(note)}

    def check_note(self, note: Any) -> None:
        params = {"common": {"text": str}, "call_in": CALL}[note["note_type"]]
        for name, value in note["params"].items():
            if type(value) is not params.get(name):
                raise invalid("NotSupported", f"params.{name}", "This value is not valid.")
        for name in params.keys() - {"link"}:
            if name not in note["params"]:
                raise invalid("FieldMissing", f"params.{name}", "This field is missing.")

    def tasks(self, query: Any, body: Any) -> tuple[int, Any]:
        at = (query["filter[entity_type]"], int(query["filter[entity_id]"]))
        found = [task for task in self.table("tasks").values() if (task["entity_type"], task["entity_id"]) == at]
        return self.page("tasks", found, query)

    def add_task(self, query: Any, body: Any) -> tuple[int, Any]:
        (task,) = body
        assert {name: type(value) for name, value in task.items()} == TASK
        if task["entity_id"] not in self.table(task["entity_type"]):
            raise invalid("NotSupportedChoice", "entity_id", "The entity was not found.")
        number = self.next_id()
        self.table("tasks")[number] = {"id": number, "is_completed": False} | task
        return 200, {"_embedded": {"tasks": [{"id": number, "request_id": "0"}]}}


class KommoWorld(JsonWorld):
    sender = KommoSender
    makes_contacts = True
    own_faults: ClassVar = {
        "revoked_token": said(401, {"title": "Unauthorized", "status": 401, "detail": "Authentication failed"}),
        "not_paid": said(402, {"title": "Payment Required", "status": 402, "detail": "Account is not paid"}),
        "busy_in_its_words": said(429, {"title": "Too many requests", "status": 429, "detail": "Slow down"}),
        "without_embedded": said(200, {"_links": {}}),
    }

    def __init__(self) -> None:
        self.fake: KommoFake = KommoFake()
        self.config = {"url": "https://roses.kommo.com", "pipeline": "Sales", "stage": "Offer"}
        self.secret = TOKEN
        self.manager = "ben@example.com"
        super().__init__()
        self.fake.add_field({}, [{"name": "Call id", "type": "text", "code": "CALLTRACK_CALL_ID"}])

    def forget(self) -> None:
        for name in ("leads", "contacts", "notes", "tasks"):
            self.fake.table(name).clear()

    def leads(self) -> list[Lead]:
        found = []
        for lead in self.fake.table("leads").values():
            calls = len(self.notes(lead["id"], "call_in"))
            words = [text for text in self.words(lead["id"]) if "Corrected:" not in text]
            entries = max(calls, len(words)) if calls and words else 0  # a call has its words once
            tasks = [task for task in self.fake.table("tasks").values() if task["entity_id"] == lead["id"]]
            found.append(Lead(lead["id"], lead["responsible_user_id"], entries, len(tasks), lead["status_id"] == 23))
        return found

    def notes(self, lead: Any, kind: str) -> list[Any]:
        notes = self.fake.table("notes").values()
        return [note["params"] for note in notes if note["at"] == ("leads", lead) and note["note_type"] == kind]

    def words(self, lead: Any) -> list[str]:
        return [params["text"] for params in self.notes(lead, "common")]

    def contacts(self) -> int:
        return len(self.fake.table("contacts"))

    def edit(self, lead: Any) -> None:
        record = self.fake.table("leads")[lead]
        record.update(name="Roses for Frau Kern", responsible_user_id=ADMIN)
        for field in record["custom_fields_values"]:
            if field["field_code"] != "CALLTRACK_CALL_ID":
                field["values"] = [{"value": "theirs"}]

    def is_edited(self, lead: Any) -> bool:
        record = self.fake.table("leads")[lead]
        own = [field["values"][0]["value"] for field in record["custom_fields_values"] if "UTM" in field["field_code"]]
        return (record["name"], record["responsible_user_id"]) == ("Roses for Frau Kern", ADMIN) and set(own) <= {
            "theirs"
        }

    def corrections(self, lead: Any) -> int:
        return len([text for text in self.words(lead) if "Corrected:" in text])
