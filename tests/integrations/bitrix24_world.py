"""A Bitrix24 that remembers, after its documentation: https://apidocs.bitrix24.com/api-reference/crm/universal/index.html (crm.item.*),
…/crm/duplicates/crm-duplicate-find-by-comm.html, …/crm/timeline/comments/index.html,
…/crm/timeline/activities/todo/crm-activity-todo-add.html, …/user/user-get.html, …/error-codes.html."""

import re
from typing import Any, ClassVar

from router.integrations.bitrix24 import Bitrix24Sender
from tests.integrations.crm_world import Lead
from tests.integrations.json_fake import JsonFake, JsonWorld, Refused, said

WEBHOOK = "1/abcdefgh12345678"
ADMIN, SELLER, GONE = 1, 7, 9
PAGE = 50
COMMON = {
    "title",
    "comments",
    "assignedById",
    "originatorId",
    "originId",
    "sourceId",
    "stageId",
    "contactId",
    "companyId",
}
COMMON |= {"utmSource", "utmMedium", "utmCampaign", "utmTerm", "utmContent"}
FIELDS = {1: COMMON | {"fm"}, 2: COMMON | {"categoryId"}, 3: {"name", "fm", "assignedById", "originatorId", "originId"}}
TEXT = {"title", "comments", "originatorId", "originId", "stageId", "sourceId", "name"}
OWNERS = {"lead": 1, "deal": 2, "contact": 3, "company": 4}


def error(status: int, code: str, words: str) -> Refused:
    return Refused(status, {"error": code, "error_description": words})


class Bitrix24Fake(JsonFake):
    routes = (("POST", rf"/rest/{WEBHOOK}/([a-z.]+)\.json", "method"),)

    def __init__(self) -> None:
        super().__init__()
        self.rights = ["crm", "user"]
        self.mode = 1
        self.may_add_fields = True
        self.own_fields: dict[int, set[str]] = {1: set(), 2: set()}
        for number, name, is_active in (
            (ADMIN, "Anna Admin", True),
            (SELLER, "Ben Seller", True),
            (GONE, "Gerd Gone", False),
        ):
            first, last = name.split()
            user = {"ID": str(number), "NAME": first, "LAST_NAME": last, "ACTIVE": is_active}
            self.table("users")[number] = user | {"EMAIL": f"{first.lower()}@example.com", "USER_TYPE": "employee"}
        names = {"NEW": "New", "IN_PROCESS": "In progress", "CONVERTED": "Done", "JUNK": "Junk"}
        self.stages = {"STATUS": names, "DEAL_STAGE": {"NEW": "New", "WON": "Won", "LOSE": "Lost"}}
        self.stages["DEAL_STAGE_5"] = {"C5:NEW": "New", "C5:WON": "Won", "C5:LOSE": "Lost"}

    def unknown_path(self) -> Refused:
        return error(401, "INVALID_CREDENTIALS", "Invalid request credentials")

    def method(self, name: str, query: Any, body: Any) -> tuple[int, Any]:
        answer = getattr(self, name.replace(".", "_"), None)
        if answer is None:
            raise error(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
        self.asked[-1] = ("POST", name, body)
        result = answer(**{"of_type" if key == "type" else key: value for key, value in (body or {}).items()})
        if isinstance(result, Page):
            more = {"next": result.start + PAGE} if len(result.records) > result.start + PAGE else {}
            part = result.records[result.start : result.start + PAGE]
            return 200, {"result": {result.name: part} if result.name else part, "total": len(result.records)} | more
        return 200, {"result": result, "time": {"start": 1.0}}

    def scope(self) -> Any:
        return self.rights

    def crm_settings_mode_get(self) -> Any:
        return self.mode

    def user_get(self, FILTER: Any, start: int = 0) -> Any:  # as the vendor writes it
        def fits(user: dict[str, Any]) -> bool:
            full = f"{user['NAME']} {user['LAST_NAME']}".lower()
            return all(
                value.lower() in full if name == "NAME_SEARCH" else str(user[name]).lower() == str(value).lower()
                for name, value in FILTER.items()
            )

        return Page([user for user in self.table("users").values() if fits(user)], start)

    def crm_category_list(self, entityTypeId: int, start: int = 0) -> Any:  # as the vendor writes it
        assert entityTypeId == 2
        return Page([{"id": 0, "name": "General"}, {"id": 5, "name": "Service"}], start, "categories")

    def crm_status_list(self, filter: Any, order: Any, start: int = 0) -> Any:
        named = self.stages[filter["ENTITY_ID"]]
        return Page([{"STATUS_ID": code, "NAME": name} for code, name in named.items()], start)

    def crm_item_fields(self, entityTypeId: int, useOriginalUfNames: str) -> Any:  # as the vendor writes it
        names = FIELDS[entityTypeId] | self.own_fields[entityTypeId]
        return {"fields": {name: {"type": "string", "isReadOnly": False, "title": name.title()} for name in names}}

    def userfield_list(self, kind: int, filter: Any) -> Any:
        return [{"FIELD_NAME": filter["FIELD_NAME"]}] if filter["FIELD_NAME"] in self.own_fields[kind] else []

    def userfield_add(self, kind: int, fields: Any) -> Any:
        if not self.may_add_fields:
            raise error(403, "ACCESS_DENIED", "Access denied.")
        assert fields["USER_TYPE_ID"] == "string"
        assert fields["FIELD_NAME"] not in self.own_fields[kind]
        self.own_fields[kind].add(fields["FIELD_NAME"])
        return self.next_id()

    def crm_lead_userfield_list(self, filter: Any) -> Any:
        return self.userfield_list(1, filter)

    def crm_lead_userfield_add(self, fields: Any) -> Any:
        return self.userfield_add(1, fields)

    def crm_deal_userfield_list(self, filter: Any) -> Any:
        return self.userfield_list(2, filter)

    def crm_deal_userfield_add(self, fields: Any) -> Any:
        return self.userfield_add(2, fields)

    def crm_duplicate_findbycomm(self, of_type: str, values: list[str]) -> Any:
        assert of_type == "PHONE"
        assert 1 <= len(values) <= 20
        digits = {re.sub(r"\D", "", value) for value in values}
        found: dict[str, list[int]] = {}
        for name, number in (("LEAD", 1), ("CONTACT", 3), ("COMPANY", 4)):
            for item in self.indexed.get(f"items {number}", {}).values():
                if digits & {re.sub(r"\D", "", phone["value"]) for phone in item.get("fm", ())}:
                    found.setdefault(name, []).append(item["id"])
        return found or []

    def semantics(self, item: dict[str, Any]) -> str:
        code = str(item.get("stageId", "NEW")).rpartition(":")[2]
        return {"CONVERTED": "S", "WON": "S", "JUNK": "F", "LOSE": "F"}.get(code, "P")

    def crm_item_list(
        self,
        entityTypeId: int,  # as the vendor writes it
        select: list[str],
        filter: Any,
        order: Any = None,
        start: int = 0,
    ) -> Any:
        def fits(item: dict[str, Any], wanted: dict[str, Any]) -> bool:
            tests = []
            for name, value in wanted.items():
                if name == "logic":
                    continue
                if isinstance(value, dict):
                    tests.append(fits(item, value))
                    continue
                sign, column = re.fullmatch(r"([@=]?)(\w+)", name).groups()  # type: ignore[union-attr] # a fault shows as one
                if column not in FIELDS.get(entityTypeId, ()) and column != "id":
                    raise error(400, "INVALID_ARG_VALUE", f"Invalid filter: field '{column}' is not allowed in filter")
                tests.append(item.get(column) in value if sign == "@" else item.get(column) == value)
            return any(tests) if wanted.get("logic") == "OR" else all(tests)

        found = [item for item in self.table(f"items {entityTypeId}").values() if fits(item, filter)]
        shown = [item | {"stageSemanticId": self.semantics(item)} for item in found]
        return Page([{name: item.get(name) for name in select} for item in shown], start, "items")

    def crm_item_get(self, entityTypeId: int, id: int, useOriginalUfNames: str) -> Any:  # as the vendor writes it
        if id not in self.table(f"items {entityTypeId}"):
            raise error(400, "NOT_FOUND", "Element not found")
        item = self.table(f"items {entityTypeId}")[id]
        return {"item": item | {"stageSemanticId": self.semantics(item)}}

    def crm_item_add(self, entityTypeId: int, fields: Any, useOriginalUfNames: str) -> Any:  # as the vendor writes it
        item = {"id": self.next_id(), "assignedById": ADMIN, "createdTime": "2026-11-23T15:00:00+03:00"}
        if entityTypeId == 2:
            category = fields.get("categoryId", 0)
            item |= {"categoryId": category, "stageId": f"C{category}:NEW" if category else "NEW"}
        item |= self.valid(entityTypeId, fields)
        if "fm" in fields:
            item["fm"] = [{"id": self.next_id(), **phone} for phone in fields["fm"]]
        self.table(f"items {entityTypeId}")[item["id"]] = item
        return {"item": item}

    def crm_item_update(
        self, entityTypeId: int, id: int, fields: Any, useOriginalUfNames: str
    ) -> Any:  # as the vendor writes it
        item = self.crm_item_get(entityTypeId, id, "Y")["item"]
        item |= self.valid(entityTypeId, fields)
        self.table(f"items {entityTypeId}")[id] = item
        return {"item": item}

    def valid(self, kind: int, fields: Any) -> dict[str, Any]:
        """What it does not know it leaves out without a word."""
        known = {
            name: value for name, value in fields.items() if name in FIELDS[kind] | self.own_fields.get(kind, set())
        }
        for name, value in known.items():
            if name in TEXT and not isinstance(value, str):
                raise error(400, "INVALID_ARG_VALUE", f"Invalid value for field {name}")
        owner = known.get("assignedById", ADMIN)
        if owner not in self.table("users") or not self.table("users")[owner]["ACTIVE"]:
            raise error(400, "CRM_FIELD_ERROR_VALUE_NOT_VALID", 'Invalid value for field "ASSIGNED_BY_ID"')
        for name, there in (("contactId", 3), ("companyId", 4)):
            if name in known and known[name] not in self.table(f"items {there}"):
                raise error(400, "CRM_FIELD_ERROR_VALUE_NOT_VALID", f"Invalid value for field {name}")
        category = known.get("categoryId", 0)
        lists = ["STATUS"] if kind == 1 else ["DEAL_STAGE", "DEAL_STAGE_5"]
        if "stageId" in known and not any(known["stageId"] in self.stages[name] for name in lists):
            raise error(400, "CRM_FIELD_ERROR_VALUE_NOT_VALID", 'Invalid value for field "STAGE_ID"')
        assert category in (0, 5)
        return known

    def crm_timeline_comment_add(self, fields: Any) -> Any:
        assert fields.keys() == {"ENTITY_ID", "ENTITY_TYPE", "COMMENT"}
        if not fields["COMMENT"] or fields["ENTITY_TYPE"] not in OWNERS:
            raise error(400, "", "The field COMMENT is required.")
        comment = {name: str(value) for name, value in fields.items()} | {"ID": str(self.next_id())}
        self.table("comments")[comment["ID"]] = comment
        return int(comment["ID"])

    def crm_timeline_comment_list(self, filter: Any, select: Any, order: Any, start: int = 0) -> Any:
        assert filter.keys() == {"ENTITY_ID", "ENTITY_TYPE"}
        at = (str(filter["ENTITY_ID"]), filter["ENTITY_TYPE"])
        found = [one for one in self.table("comments").values() if (one["ENTITY_ID"], one["ENTITY_TYPE"]) == at]
        return Page([{name: one[name] for name in select} for one in reversed(found)], start)

    def crm_timeline_comment_get(self, id: int) -> Any:
        return self.table("comments")[str(id)]

    def crm_activity_todo_add(
        self, ownerTypeId: int, ownerId: int, deadline: str, **more: Any
    ) -> Any:  # as the vendor writes it
        assert more.keys() <= {"title", "description", "responsibleId"}
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", deadline):
            raise error(400, "WRONG_DATETIME_FORMAT", "Wrong datetime format.")
        if ownerId not in self.table(f"items {ownerTypeId}"):
            raise error(400, "OWNER_NOT_FOUND", "Owner not found")
        number = self.next_id()
        activity = {"ID": str(number), "OWNER_TYPE_ID": ownerTypeId, "OWNER_ID": ownerId, "PROVIDER_ID": "CRM_TODO"}
        activity |= {
            "SUBJECT": more["title"],
            "DESCRIPTION": more["description"],
            "RESPONSIBLE_ID": more["responsibleId"],
        }
        self.table("activities")[number] = activity
        return {"id": number}

    def crm_activity_list(self, filter: Any, select: Any, order: Any, start: int = 0) -> Any:
        found = [
            one
            for one in self.table("activities").values()
            if all(one[name] == value for name, value in filter.items())
        ]
        return Page([{name: one[name] for name in select} for one in reversed(found)], start)


class Page:
    def __init__(self, records: list[Any], start: int, name: str = "") -> None:
        self.records, self.start, self.name = records, start, name


class Bitrix24World(JsonWorld):
    sender = Bitrix24Sender
    own_faults: ClassVar = {
        "revoked_webhook": said(
            401, {"error": "INVALID_CREDENTIALS", "error_description": "Invalid request credentials"}
        ),
        "too_many": said(503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"}),
        "too_long": said(
            429,
            {"error": "OPERATION_TIME_LIMIT", "error_description": "Method is blocked due to operation time limit."},
        ),
        "without_a_result": said(200, {"error": "ERROR_CORE", "error_description": "Internal error"}),
    }
    kind = 1

    def __init__(self) -> None:
        self.fake: Bitrix24Fake = Bitrix24Fake()
        self.config = {"url": "https://roses.bitrix24.com", "stage": "in progress"}
        self.secret = WEBHOOK
        self.manager = "ben@example.com"
        super().__init__()

    def forget(self) -> None:
        for name in ("items 1", "items 2", "items 3", "comments", "activities"):
            self.fake.table(name).clear()

    def leads(self) -> list[Lead]:
        return [
            Lead(
                item["id"],
                item["assignedById"],
                len([text for text in self.comments(item["id"]) if "Corrected:" not in text and "stays." not in text]),
                len([one for one in self.fake.table("activities").values() if one["OWNER_ID"] == item["id"]]),
                self.fake.semantics(item) == "P",
            )
            for kind in (1, 2)
            for item in self.fake.table(f"items {kind}").values()
        ]

    def comments(self, lead: Any) -> list[str]:
        return [one["COMMENT"] for one in self.fake.table("comments").values() if one["ENTITY_ID"] == str(lead)]

    def contacts(self) -> int:
        return len(self.fake.table("items 3"))

    def edit(self, lead: Any) -> None:
        theirs = {
            "title": "Roses for Frau Kern",
            "comments": "wants red ones",
            "assignedById": ADMIN,
            "utmCampaign": "none",
        }
        self.fake.table(f"items {self.kind}")[lead] |= theirs

    def is_edited(self, lead: Any) -> bool:
        item = self.fake.table(f"items {self.kind}")[lead]
        theirs = ("Roses for Frau Kern", "wants red ones", ADMIN, "none")
        return (item["title"], item["comments"], item["assignedById"], item["utmCampaign"]) == theirs

    def corrections(self, lead: Any) -> int:
        return len([text for text in self.comments(lead) if "Corrected:" in text])


class Bitrix24DealsWorld(Bitrix24World):
    """In the simple mode, without leads."""

    makes_contacts = True
    kind = 2

    def __init__(self) -> None:
        super().__init__()
        self.fake.mode = 2
        self.config |= {"deals": True, "pipeline": "Service", "stage": "New"}
