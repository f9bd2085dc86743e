"""A Bitrix24 for the shared saga. A caller is a lead (or a deal with a contact), a call is a comment of its timeline, a missed one leaves
an activity.

Telephony's own methods work for applications alone, not by a webhook. Leads and deals carry the key of their call in `originId`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.bitrix24.client import Bitrix24Client, bb_code, flat
from router.integrations.crm.connector import (
    Access,
    Account,
    CallEntry,
    Caller,
    Choice,
    Choices,
    Connector,
    FieldsRefused,
    Found,
    NewLead,
    OwnField,
    Person,
    Record,
    RecordGone,
    Task,
)
from router.integrations.crm.matching import FoundContact, FoundLead, Match, RecordId
from router.lib.formats import parse_int
from router.lib.http_client import Outgoing
from router.lib.phones import country_of, national, spellings_of_line

ORIGINATOR = "calltrack"
KINDS = {"L": (1, "lead"), "D": (2, "deal"), "C": (3, "contact"), "CO": (4, "company")}
"""Our ids are Bitrix24's short form (`D_15` is deal 15): to the number and the name of the type."""
SUCCESS, FAILURE = "S", "F"
"""Of stages (stageSemanticId); any other is open."""
UTM = {
    "source": "utmSource",
    "medium": "utmMedium",
    "campaign": "utmCampaign",
    "term": "utmTerm",
    "content": "utmContent",
}
MOST_NUMBERS = 20
NEWEST = 20
"""Comments that are looked at one by one, where the list of all is too long."""
RIGHTS = {"crm": "CRM (crm)", "user": "Users (user)"}


class Bitrix24Connector(Connector):
    product = "Bitrix24"
    lead = "lead"
    contact = "contact"
    responsible = "assignedById"
    needed = ("title", "fm", "contactId", "companyId", "originatorId", "originId")

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = Bitrix24Client(outgoing, access)
        self.letter = "D" if access.config.get("deals") else "L"
        self.makes_contacts = self.letter == "D"  # type: ignore[misc] # a portal has leads, or deals with contacts

    def setting_of(self, name: str) -> str:
        return {"categoryId": "pipeline", "stageId": "stage"}.get(name, name)

    # Check connection

    def account(self) -> Account:
        """The portal's host: its number is told to applications alone."""
        host = self.client.access.config["url"].split("://")[-1].rstrip("/").casefold()
        self.client.call("scope")
        return Account(host, host)

    def choices(self) -> Choices:
        users = list(self.client.pages("user.get", FILTER={"ACTIVE": True, "USER_TYPE": "employee"}))
        pipelines = [category for category in self._categories if self.letter == "D"]
        return Choices(
            people=tuple(
                Choice(
                    str(user.get("EMAIL") or user["ID"]),
                    f"{_full_name(user)} ({user['EMAIL']})" if user.get("EMAIL") else _full_name(user),
                    (str(user["ID"]), _full_name(user)),
                )
                for user in users
            ),
            pipelines=tuple(Choice(str(category["id"]), str(category["name"])) for category in pipelines),
            stages=tuple(
                Choice(str(stage["STATUS_ID"]), str(stage["NAME"]), within=within) for within, stage in self._stages
            ),
            fields=tuple(
                Choice(name, str(field.get("title") or name))
                for name, field in sorted(self._fields.items())
                if not field.get("isReadOnly")
                and field.get("type") in ("string", "text", "integer", "double", "date", "url")
            ),
        )

    @cached_property
    def _categories(self) -> list[dict[str, Any]]:
        return list(self.client.pages("crm.category.list", entityTypeId=2)) if self.letter == "D" else []

    @cached_property
    def _stages(self) -> list[tuple[str, dict[str, Any]]]:
        """Each with its pipeline."""
        lists = {"": "STATUS"} if self.letter == "L" else {}
        for category in self._categories:
            number = int(category["id"])
            lists[str(number)] = f"DEAL_STAGE_{number}" if number else "DEAL_STAGE"
        return [
            (within, stage)
            for within, name in lists.items()
            for stage in self.client.pages("crm.status.list", filter={"ENTITY_ID": name}, order={"SORT": "ASC"})
        ]

    @cached_property
    def _fields(self) -> dict[str, dict[str, Any]]:
        found = self.client.call("crm.item.fields", entityTypeId=KINDS[self.letter][0], useOriginalUfNames="Y")
        fields: dict[str, dict[str, Any]] = found["fields"]
        return fields

    def check(self, lead: NewLead) -> list[str]:
        rights = [str(name) for name in self.client.call("scope")]
        found = [f"The webhook lacks the right {words}." for name, words in RIGHTS.items() if name not in rights]
        if found:
            return found
        has_leads = int(self.client.call("crm.settings.mode.get")) == 1
        if self.letter == "L" and not has_leads:
            found.append("This Bitrix24 works in its simple mode, without leads: choose deals with contacts.")
        for letter in {self.letter, "C"}:
            self.client.call("crm.item.list", entityTypeId=KINDS[letter][0], select=["id"], filter={"id": 0})
        _, left_out = self.lead_values(lead)
        return found + [f"{name}: {words}" for name, words in left_out.items()]

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        kind = KINDS[self.letter][1]
        made = {}
        for field in fields:
            name = f"UF_CRM_CALLTRACK_{field.name.upper()}"
            if not self.client.call(f"crm.{kind}.userfield.list", filter={"FIELD_NAME": name}):
                labels = dict.fromkeys(("LABEL", "EDIT_FORM_LABEL", "LIST_COLUMN_LABEL"), field.label)
                described = {"FIELD_NAME": name, "USER_TYPE_ID": "string", **labels}
                self.client.call(f"crm.{kind}.userfield.add", fields=described)
            made[field.name] = name
        return made

    # the steps

    def person(self, name: str) -> Person | str:
        """By id, e-mail or full name."""
        number = parse_int(name.strip())
        asked = {"ID": number} if number is not None else {"EMAIL": name} if "@" in name else {"NAME_SEARCH": name}
        users = [
            user
            for user in self.client.pages("user.get", FILTER=asked)
            if "NAME_SEARCH" not in asked or _full_name(user).casefold() == name.strip().casefold()
        ]
        if not users:
            return f"Bitrix24 has no user “{name}”"
        active = [user for user in users if user.get("ACTIVE") in (True, "Y")]
        if not active:
            return f"the Bitrix24 user “{name}” was dismissed"
        if len(active) > 1:
            return f"Bitrix24 has several users “{name}”: name one by the e-mail address"
        return Person(int(active[0]["ID"]), _full_name(active[0]), name)

    def find(self, caller: Caller) -> Iterator[Found]:
        if caller.known and caller.known.partition("_")[0] in ("L", "D"):
            letter, _, number = caller.known.partition("_")
            yield Found(self._leads(letter, {"id": parse_int(number) or 0}, Match.KNOWN))
        same: dict[str, list[int]] = {}
        how = Match.KNOWN
        for match, numbers in _spellings(caller).items():
            found = self.client.call("crm.duplicate.findbycomm", type="PHONE", values=numbers) or {}
            same, how = {kind: [int(number) for number in ids] for kind, ids in dict(found).items()}, match
            if any(same.values()):
                break
        contacts, companies = same.get("CONTACT", []), same.get("COMPANY", [])
        of_people: dict[str, Any] = {}
        for name, ids in (("@contactId", contacts), ("@companyId", companies)):
            if ids:
                of_people[str(len(of_people))] = {name: ids}
        leads: list[FoundLead] = []
        if same.get("LEAD"):
            leads += self._leads("L", {"@id": same["LEAD"]}, how)
        for letter in ("L", "D") if of_people else ():
            leads += self._leads(letter, {"0": {"logic": "OR", **of_people}}, how)
        people = [FoundContact(f"C_{number}", how) for number in sorted(contacts)]
        yield Found(leads, people + [FoundContact(f"CO_{number}", how) for number in sorted(companies)])

    def _leads(self, letter: str, wanted: dict[str, Any], how: Match) -> list[FoundLead]:
        records = self.client.pages(
            "crm.item.list",
            entityTypeId=KINDS[letter][0],
            filter=wanted,
            select=["id", "stageSemanticId", "createdTime"],
            order={"id": "DESC"},
        )
        return [
            FoundLead(
                f"{letter}_{record['id']}",
                record.get("stageSemanticId") not in (SUCCESS, FAILURE),
                how,
                record.get("stageSemanticId") == FAILURE,
                datetime.fromisoformat(record["createdTime"]).timestamp(),
            )
            for record in records
        ]

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step in ("lead", "contact"):
            letter = "C" if step == "contact" else self.letter
            ours = {"=originatorId": ORIGINATOR, "=originId": key}
            found = self.client.call("crm.item.list", entityTypeId=KINDS[letter][0], filter=ours, select=["id"])
            return next((f"{letter}_{item['id']}" for item in found["items"]), None)
        if record is None:
            return None
        if step == "call":
            return self.note(record, mark)
        kind, number = _kind(record)
        at = {"OWNER_TYPE_ID": KINDS[kind][0], "OWNER_ID": number, "PROVIDER_ID": "CRM_TODO"}
        activities = self.client.pages(
            "crm.activity.list", filter=at, select=["ID", "DESCRIPTION"], order={"ID": "DESC"}
        )
        return next((int(one["ID"]) for one in activities if mark in flat(one.get("DESCRIPTION"))), None)

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        fields: dict[str, Any] = {"name": caller.e164, "fm": _phone(caller.e164)}
        fields |= {"originatorId": ORIGINATOR, "originId": key}
        if responsible:
            fields["assignedById"] = int(responsible.id)
        return f"C_{self._add('C', fields)}"

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        values: dict[str, Any] = {"title": lead.title, "comments": "\n".join(lead.description), "sourceId": "CALL"}
        values |= {"originatorId": ORIGINATOR, "originId": lead.key}
        left_out: dict[str, str] = {}
        if self.letter == "L" and lead.phone:
            values["fm"] = _phone(lead.phone)
        if lead.contact is not None:
            letter, _, number_of_it = str(lead.contact).partition("_")
            values["companyId" if letter == "CO" else "contactId"] = int(number_of_it)
        within = ""
        if self.letter == "D" and (named := str(self.config.get("pipeline") or "").strip()):
            there = {str(one["name"]).casefold(): int(one["id"]) for one in self._categories}
            number = parse_int(named)
            number = there.get(named.casefold()) if number is None else number
            if number is None:
                left_out["categoryId"] = f"Bitrix24 has no pipeline “{named}”"
            else:
                values["categoryId"], within = number, str(number)
        if named := str(self.config.get("stage") or "").strip():
            # a stage of another pipeline has the same name: its id tells them apart
            stages = [stage for at, stage in self._stages if within in ("", at)]
            same = (one for one in stages if named.casefold() in (one["STATUS_ID"].casefold(), one["NAME"].casefold()))
            if (stage := next(same, None)) is None:
                left_out["stageId"] = f"Bitrix24 has no stage “{named}”"
            else:
                values["stageId"] = str(stage["STATUS_ID"])
        values |= {UTM[name]: text for name, text in lead.source.items() if name in UTM}
        # Bitrix24 takes a lead with a field that it does not have, and says nothing
        unknown = [name for name in lead.fields if name != "name" and name not in self._fields] if lead.fields else []
        left_out |= dict.fromkeys(unknown, "Bitrix24 has no such field")
        for name, text in lead.fields.items():
            if name == "name":
                values["title"] = text or lead.title
            elif name not in unknown:
                values[name] = text
        if lead.responsible:
            values[self.responsible] = int(lead.responsible.id)
        else:
            values[self.responsible] = None
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        return f"{self.letter}_{self._writing(values, lambda fields: self._add(self.letter, fields))}"

    def _add(self, letter: str, fields: Mapping[str, Any]) -> int:
        arguments = {"entityTypeId": KINDS[letter][0], "fields": fields, "useOriginalUfNames": "Y"}
        made = self.client.call("crm.item.add", **arguments)
        return self.client.made(made.get("item") if isinstance(made, dict) else None)

    def owner(self, record: Record) -> RecordId | None:
        return self._item(record).get("assignedById") or None

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        item = self._item(record)
        return {name: _plain(item.get(name)) for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        self._writing(values, lambda fields: self._update(record, fields))

    def _update(self, record: Record, fields: Mapping[str, Any]) -> int:
        kind, number = _kind(record)
        arguments = {"entityTypeId": KINDS[kind][0], "id": number, "fields": fields, "useOriginalUfNames": "Y"}
        self.client.call("crm.item.update", **arguments)
        return number

    def reopen(self, record: Record) -> None:
        item = self._item(record)
        if item.get("stageSemanticId") == FAILURE:
            category = int(item.get("categoryId") or 0)
            self._update(record, {"stageId": f"C{category}:NEW" if category else "NEW"})

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        return self.add_note(record, entry.html)

    def add_note(self, record: Record, html: str) -> RecordId:
        kind, number = _kind(record)
        at = {"ENTITY_ID": number, "ENTITY_TYPE": KINDS[kind][1]}
        self._item(record)  # a comment at a record that was deleted would be taken
        return self.client.made(self.client.call("crm.timeline.comment.add", fields={**at, "COMMENT": bb_code(html)}))

    def note(self, record: Record, mark: str) -> RecordId | None:
        wanted = flat(bb_code(mark))
        return next((int(one["ID"]) for one in self._comments(record) if wanted in flat(one.get("COMMENT"))), None)

    def _comments(self, record: Record) -> Iterator[dict[str, Any]]:
        kind, number = _kind(record)
        method, at = "crm.timeline.comment.list", {"ENTITY_ID": number, "ENTITY_TYPE": KINDS[kind][1]}
        newest_first = {"ID": "DESC"}
        try:
            found = list(self.client.pages(method, filter=at, select=["ID", "COMMENT"], order=newest_first))
        except DeliveryError as error:
            if error.status != 200:
                raise
            # longer than an answer that is read; ours, if it is there, is one of the newest
            numbers = self.client.call(method, filter=at, select=["ID"], order=newest_first)[:NEWEST]
            found = [self.client.call("crm.timeline.comment.get", id=int(one["ID"])) for one in numbers]
        yield from found

    def add_task(self, record: Record, task: Task) -> RecordId:
        kind, number = _kind(record)
        made = self.client.call(
            "crm.activity.todo.add",
            ownerTypeId=KINDS[kind][0],
            ownerId=number,
            deadline=f"{task.due}T18:00:00",
            title=task.title,
            description=bb_code(task.html),
            responsibleId=int(task.owner),
        )
        return self.client.made(made)

    def _item(self, record: Record) -> dict[str, Any]:
        kind, number = _kind(record)
        found = self.client.call("crm.item.get", entityTypeId=KINDS[kind][0], id=number, useOriginalUfNames="Y")
        if not isinstance(found, dict) or not found.get("item"):
            raise RecordGone("Bitrix24 has no such record any more.", status=404)
        item: dict[str, Any] = found["item"]
        return item

    def _writing(self, values: Mapping[str, Any], send: Any) -> int:
        """
        Raises:
            FieldsRefused: of those that Bitrix24 names, or of all that a lead can do without when it names none.
        """
        try:
            return int(send({name: value for name, value in values.items() if value is not None}))
        except DeliveryError as error:
            if not error.permanent:
                raise
            text = str(error)
            named = [name for name in values if name in text or _upper(name) in text]
            blamed = named or [name for name in values if name not in self.needed and values[name] is not None]
            if not blamed:
                raise
            raise FieldsRefused(text, dict.fromkeys(blamed, text), error.status) from None


def _kind(record: Record) -> tuple[str, int]:
    letter, _, number = str(record.id).partition("_")
    if letter not in KINDS or not number.isdecimal():
        raise RecordGone("This is no record of a Bitrix24.", status=404)
    return letter, int(number)


def _spellings(caller: Caller) -> dict[Match, list[str]]:
    """Bitrix24 compares digits. In the caller's own country people leave the country code out."""
    numbers = [number for line in spellings_of_line(caller.e164) for number in (line, line.lstrip("+"))]
    found = {Match.KNOWN: numbers[:MOST_NUMBERS]}
    if country_of(caller.e164) == caller.country:
        found[Match.TYPED] = [national(line) for line in spellings_of_line(caller.e164)][:MOST_NUMBERS]
    return found


def _phone(e164: str) -> list[dict[str, str]]:
    return [{"typeId": "PHONE", "valueType": "WORK", "value": e164}]


def _plain(value: Any) -> Any:
    """Phones without the numbers that Bitrix24 gave them."""
    if isinstance(value, list):
        return [{k: v for k, v in one.items() if k != "id"} if isinstance(one, dict) else one for one in value]
    return value


def _upper(name: str) -> str:
    """`ASSIGNED_BY_ID` of `assignedById`."""
    return "".join(f"_{sign}" if sign.isupper() else sign.upper() for sign in name)


def _full_name(user: Mapping[str, Any]) -> str:
    return " ".join(str(user[name]) for name in ("NAME", "LAST_NAME") if user.get(name)) or str(user["ID"])
