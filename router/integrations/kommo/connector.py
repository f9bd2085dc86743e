"""A Kommo for the shared saga. A caller is a contact with a lead; a call is a note of type call_in, which carries our key, beside a note
with its words; a missed one leaves a task.

A lead carries the key of its call in the field *Call id*, by which Kommo's search finds it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from html import unescape
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import (
    OWN_FIELDS,
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
from router.integrations.crm.matching import FoundContact, FoundLead, Match, RecordId, match, national_digits
from router.integrations.kommo.client import PAGE, KommoClient
from router.lib.formats import parse_int
from router.lib.http_client import Outgoing

LEADS, CONTACTS = "leads", "contacts"
WON, LOST = 142, 143
"""Stages that every pipeline has."""
UNSORTED = 1
"""The type of the stage of incoming leads, into which nothing can be moved."""
KEY_CODE = "CALLTRACK_CALL_ID"
KEY_LABEL = next(field.label for field in OWN_FIELDS if field.name == "call_id")
UTM = {name: f"UTM_{name.upper()}" for name in ("source", "medium", "campaign", "term", "content")}
"""Codes of Kommo's own fields."""
STANDARD = ("name", "pipeline_id", "status_id", "responsible_user_id")
CALL_TASK = 1
SOURCE = "Call tracking"


class KommoConnector(Connector):
    product = "Kommo"
    lead = LEADS
    contact = CONTACTS
    responsible = "responsible_user_id"
    needed = ("name", "contact")
    makes_contacts = True
    changes_calls = True

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = KommoClient(outgoing, access)
        self._searched: dict[str, list[tuple[FoundContact, list[int]]]] = {}

    def setting_of(self, name: str) -> str:
        return {"pipeline_id": "pipeline", "status_id": "stage"}.get(name, name)

    # Check connection

    def account(self) -> Account:
        account = self.client.record("/api/v4/account")
        return Account(str(account["id"]), str(account.get("name") or account["id"]))

    def choices(self) -> Choices:
        return Choices(
            people=tuple(
                Choice(str(user["email"]), f"{user['name']} ({user['email']})", (str(user["id"]), str(user["name"])))
                for user in self._users
                if _is_active(user)
            ),
            pipelines=tuple(Choice(str(pipeline["id"]), str(pipeline["name"])) for pipeline in self._pipelines),
            stages=tuple(
                Choice(str(stage["id"]), str(stage["name"]), within=str(pipeline["id"]))
                for pipeline in self._pipelines
                for stage in pipeline["_embedded"]["statuses"]
                if stage.get("type") != UNSORTED
            ),
            fields=tuple(
                Choice(str(field["id"]), str(field["name"]))
                for field in self._fields
                if field["type"] in ("text", "textarea", "numeric", "url", "date")
            ),
        )

    def check(self, lead: NewLead) -> list[str]:
        """What can be told without making anything."""
        list(self._persons(str(lead.phone), None))
        _, left_out = self.lead_values(lead)
        found = [f"{name}: {words}" for name, words in left_out.items()]
        if self._key_field is None:
            found.append(
                f"Leads have no field “{KEY_LABEL}”, by which a repeat finds the lead of a call: press Make fields in the CRM. Until then"
                " the id stands at the end of the lead’s name."
            )
        return found

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        there = {str(field.get("code")): str(field["id"]) for field in self._fields}
        made = {}
        for field in fields:
            code = f"CALLTRACK_{field.name.upper()}"
            if code not in there:
                record = {"name": field.label, "type": "text", "code": code}
                there[code] = str(self.client.add("/api/v4/leads/custom_fields", "custom_fields", record))
            made[field.name] = there[code]
        return made

    @cached_property
    def _users(self) -> list[dict[str, Any]]:
        return list(self.client.all("/api/v4/users", "users"))

    @cached_property
    def _pipelines(self) -> list[dict[str, Any]]:
        """Not in pages. The main one first."""
        answer = self.client.ask("GET", "/api/v4/leads/pipelines")
        pipelines = [
            pipeline for pipeline in self.client.embedded(answer, "pipelines") if not pipeline.get("is_archive")
        ]
        return sorted(pipelines, key=lambda pipeline: not pipeline.get("is_main"))

    @cached_property
    def _fields(self) -> list[dict[str, Any]]:
        return list(self.client.all("/api/v4/leads/custom_fields", "custom_fields"))

    @property
    def _key_field(self) -> str | None:
        return next((str(field["id"]) for field in self._fields if field.get("code") == KEY_CODE), None)

    # the steps

    def person(self, name: str) -> Person | str:
        """By id, e-mail or name."""
        wanted = name.strip().casefold()
        same = [
            user
            for user in self._users
            if wanted in (str(user.get(at) or "").casefold() for at in ("id", "email", "name"))
        ]
        active = [user for user in same if _is_active(user)]
        if not same:
            return f"Kommo has no user “{name}”"
        if not active:
            return f"the Kommo user “{name}” is deactivated"
        if len(active) > 1:
            return f"Kommo has several users “{name}”: name one by the e-mail address"
        return Person(int(active[0]["id"]), str(active[0]["name"]), name)

    def find(self, caller: Caller) -> Iterator[Found]:
        if caller.known and parse_int(caller.known):
            known = []
            with suppress(RecordGone):
                known.append(_found(self.client.record(f"/api/v4/leads/{caller.known}"), Match.KNOWN))
            yield Found(known)
        people = self._persons(caller.e164, caller.country)
        ways = {number: contact.match for contact, leads in reversed(people) for number in leads}
        numbers, found = list(ways), []
        for at in range(0, len(numbers), PAGE):
            wanted = {f"filter[id][{place}]": number for place, number in enumerate(numbers[at : at + PAGE])}
            records = self.client.all("/api/v4/leads", LEADS, wanted)
            found += [_found(lead, ways[int(lead["id"])]) for lead in records if not lead.get("is_deleted")]
        yield Found(found, [contact for contact, _ in people])

    def _persons(self, e164: str, country: str | None) -> list[tuple[FoundContact, list[int]]]:
        """With the numbers of their leads; the surest first, then the oldest."""
        if e164 in self._searched:
            return self._searched[e164]
        people: dict[int, tuple[FoundContact, list[int]]] = {}
        for term in dict.fromkeys((e164.lstrip("+"), national_digits(e164))):
            for contact in self.client.all("/api/v4/contacts", CONTACTS, {"query": term, "with": "leads"}):
                texts = [str(value) for value in _values(contact).get("PHONE", ())]
                ways = [how for text in texts if (how := match(text, e164, [country or ""])) is not None]
                if ways:
                    leads = [int(lead["id"]) for lead in contact.get("_embedded", {}).get("leads") or ()]
                    people[int(contact["id"])] = (FoundContact(int(contact["id"]), min(ways)), leads)
        self._searched[e164] = sorted(people.values(), key=lambda found: (found[0].match, found[0].id))
        return self._searched[e164]

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step == "lead":
            for lead in self.client.all("/api/v4/leads", LEADS, {"query": key}):
                if key in _values(lead).get(KEY_CODE, ()) or str(lead.get("name")).endswith(_ending(key)):
                    return int(lead["id"])
        if record is None:
            return None
        if step == "call":
            notes = self._notes(record, "call_in")
            return next((int(note["id"]) for note in notes if (note.get("params") or {}).get("uniq") == key), None)
        wanted = {"filter[entity_type]": record.kind, "filter[entity_id]": int(record.id)}
        tasks = self.client.all("/api/v4/tasks", "tasks", wanted)
        return next((int(task["id"]) for task in tasks if mark in str(task.get("text"))), None)

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        # his calls are entered one after the other: one that is there is ours, of an attempt without an answer, or a colleague's
        if there := self._persons(caller.e164, caller.country):
            return there[0][0].id
        phone = {"field_code": "PHONE", "values": [{"value": caller.e164, "enum_code": "WORK"}]}
        contact: dict[str, Any] = {"name": caller.e164, "custom_fields_values": [phone]}
        if responsible:
            contact["responsible_user_id"] = int(responsible.id)
        return self.client.add("/api/v4/contacts", CONTACTS, contact)

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        values: dict[str, Any] = {"name": lead.fields.get("name") or lead.title}
        left_out: dict[str, str] = {}
        pipelines = self._pipelines if self.config.get("pipeline") or self.config.get("stage") else []
        if named := str(self.config.get("pipeline") or "").strip().casefold():
            pipelines = [one for one in pipelines if named in (str(one["id"]), str(one["name"]).casefold())]
            if pipelines:
                values["pipeline_id"] = int(pipelines[0]["id"])
            else:
                left_out["pipeline_id"] = f"Kommo has no pipeline “{self.config['pipeline']}”"
        if named := str(self.config.get("stage") or "").strip().casefold():
            stages = [stage for one in pipelines for stage in one["_embedded"]["statuses"]]
            same = [one for one in stages if named in (str(one["id"]), str(one["name"]).casefold())]
            if same:
                values["status_id"] = int(same[0]["id"])
                values["pipeline_id"] = int(same[0]["pipeline_id"])
            else:
                left_out["status_id"] = f"Kommo has no stage “{self.config['stage']}”"
        values |= {UTM[name]: text for name, text in lead.source.items() if name in UTM}
        values |= {name: text for name, text in lead.fields.items() if name != "name" and text}
        if self._key_field is not None:
            values[self._key_field] = lead.key
        else:
            values["name"] += _ending(lead.key)
        values[self.responsible] = int(lead.responsible.id) if lead.responsible else None
        if lead.contact is not None:
            values["contact"] = int(lead.contact)
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        own = _own_names(values)
        record = _record_of(values, own)
        if values.get("contact") is not None:
            record["_embedded"] = {"contacts": [{"id": values["contact"], "is_main": True}]}
        try:
            return self.client.add("/api/v4/leads", LEADS, record)
        except DeliveryError as error:
            raise self._refused(error, values, own) from None

    def owner(self, record: Record) -> RecordId | None:
        return self._record(record).get("responsible_user_id") or None

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        lead = self.client.record(f"/api/v4/{record.kind}/{int(record.id)}", {"with": "contacts"})
        own = _values(lead)
        contacts = [contact["id"] for contact in lead.get("_embedded", {}).get("contacts") or ()]
        found = {name: lead.get(name) if name in STANDARD else next(iter(own.get(name, ())), None) for name in names}
        return found | ({"contact": contacts} if "contact" in names else {})

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        own = _own_names(values)
        try:
            self.client.ask("PATCH", f"/api/v4/leads/{int(record.id)}", body=_record_of(values, own))
        except DeliveryError as error:
            raise self._refused(error, values, own) from None

    def _refused(self, error: DeliveryError, values: Mapping[str, Any], own: Sequence[str]) -> DeliveryError:
        """FieldsRefused: of those that Kommo names by their place, or of all that a lead can do without when it names none."""
        if not error.permanent:
            return error
        named = []
        for path in re.findall(r'"path"\s*:\s*"([^"]+)"', error.answer):
            place = re.search(r"custom_fields_values\.(\d+)", path)
            if place and int(place.group(1)) < len(own):
                named.append(own[int(place.group(1))])
            named += [name for name in STANDARD if path.rpartition(".")[2] == name and name in values]
        blamed = named or [name for name in values if name not in self.needed and values[name] is not None]
        return FieldsRefused(str(error), dict.fromkeys(blamed, str(error)), error.status) if blamed else error

    def reopen(self, record: Record) -> None:
        lead = self._record(record)
        if lead.get("status_id") != LOST:
            return
        stages = [
            int(stage["id"])
            for pipeline in self._pipelines
            if pipeline["id"] == lead["pipeline_id"]
            for stage in pipeline["_embedded"]["statuses"]
            if stage.get("type") != UNSORTED and stage["id"] not in (WON, LOST)
        ]
        if stages:
            body = {"status_id": stages[0], "pipeline_id": lead["pipeline_id"]}
            self.client.ask("PATCH", f"/api/v4/leads/{int(record.id)}", body=body)

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        """The words first, looked for by their mark: the call's note, which is the step, comes last."""
        self._record(record)
        if self.note(record, entry.mark) is None:
            self.add_note(record, entry.html)
        return self._add_note(record, "call_in", _params(entry))

    def change_call(self, record: Record, call: RecordId, entry: CallEntry) -> None:
        """The words of before stay: the new ones are a note beside them."""
        body = {"note_type": "call_in", "params": _params(entry)}
        self.client.ask("PATCH", f"/api/v4/{record.kind}/{int(record.id)}/notes/{int(call)}", body=body)
        if self.note(record, entry.html) is None:
            self.add_note(record, f"<p>Corrected:</p>{entry.html}")

    def add_note(self, record: Record, html: str) -> RecordId:
        return self._add_note(record, "common", {"text": _text(html)})

    def note(self, record: Record, mark: str) -> RecordId | None:
        wanted = _flat(_text(mark))
        notes = self._notes(record, "common")
        return next(
            (int(note["id"]) for note in notes if wanted in _flat((note.get("params") or {}).get("text"))), None
        )

    def _notes(self, record: Record, kind: str) -> Iterator[dict[str, Any]]:
        """The newest first."""
        query = {"filter[note_type]": kind, "order[id]": "desc"}
        return self.client.all(f"/api/v4/{record.kind}/{int(record.id)}/notes", "notes", query)

    def _add_note(self, record: Record, kind: str, params: Mapping[str, Any]) -> int:
        note = {"note_type": kind, "params": params}
        return self.client.add(f"/api/v4/{record.kind}/{int(record.id)}/notes", "notes", note)

    def add_task(self, record: Record, task: Task) -> RecordId:
        record_ends = datetime.fromisoformat(f"{task.due}T23:59:00").replace(tzinfo=UTC)
        body = {
            "text": f"{task.title}\n{_text(task.html)}",
            "complete_till": int(record_ends.timestamp()),
            "task_type_id": CALL_TASK,
            "entity_type": record.kind,
            "entity_id": int(record.id),
            "responsible_user_id": int(task.owner),
        }
        return self.client.add("/api/v4/tasks", "tasks", body)

    def _record(self, record: Record) -> dict[str, Any]:
        return self.client.record(f"/api/v4/{record.kind}/{int(record.id)}")


def _params(entry: CallEntry) -> dict[str, Any]:
    params = {"uniq": entry.key, "duration": entry.duration, "source": SOURCE, "phone": entry.caller or "withheld"}
    return params | ({"link": entry.recording} if entry.recording else {})


def _own_names(values: Mapping[str, Any]) -> list[str]:
    return [name for name in values if name not in STANDARD and name != "contact"]


def _record_of(values: Mapping[str, Any], own: Sequence[str]) -> dict[str, Any]:
    record = {name: values[name] for name in STANDARD if values.get(name) is not None}
    fields = [
        {"field_id": int(name)} | {"values": [{"value": values[name]}]}
        if name.isdecimal()
        else {"field_code": name, "values": [{"value": values[name]}]}
        for name in own
    ]
    return record | ({"custom_fields_values": fields} if fields else {})


def _values(record: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What stands in its fields, by their ids and by their codes."""
    found: dict[str, list[Any]] = {}
    for field in record.get("custom_fields_values") or ():
        values = [value.get("value") for value in field.get("values") or ()]
        found[str(field.get("field_id"))] = values
        if field.get("field_code"):
            found[str(field["field_code"])] = values
    return found


def _found(lead: Mapping[str, Any], how: Match) -> FoundLead:
    status = lead.get("status_id")
    return FoundLead(int(lead["id"]), status not in (WON, LOST), how, status == LOST, int(lead["id"]))


def _is_active(user: Mapping[str, Any]) -> bool:
    return bool((user.get("rights") or {}).get("is_active", True))


def _ending(key: str) -> str:
    return f" ({key})"


def _text(html: str) -> str:
    """Our notes as lines of plain text, addresses written out."""
    text = re.sub(r'<a href="([^"]*)">(.*?)</a>', r"\2: \1", html).replace("<br>", "\n").replace("</p><p>", "\n")
    return unescape(re.sub(r"<[^>]*>", "", text))


def _flat(text: Any) -> str:
    return " ".join(str(text or "").split())
