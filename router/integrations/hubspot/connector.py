"""A HubSpot for the shared saga: a contact with a deal by a key of their own, calls as HubSpot's calls, missed ones as tasks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import (
    Access,
    Account,
    CallEntry,
    Caller,
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
from router.integrations.crm.matching import RecordId
from router.integrations.hubspot import check
from router.integrations.hubspot.client import KEY, HubSpotClient, plain
from router.integrations.hubspot.search import HubSpotSearch
from router.lib.http_client import Outgoing

BODIES = {"calls": "hs_call_body", "notes": "hs_note_body", "tasks": "hs_task_body"}
STATUSES = {
    "answered": "COMPLETED",
    "voicemail": "COMPLETED",
    "busy": "BUSY",
    "failed": "FAILED",
    "blocked": "CANCELED",
}
"""Of a call, by how it ended; all others are NO_ANSWER."""
DISPOSITIONS = {
    "answered": "f240bbac-87c9-4f6e-bf70-924b57d47db7",
    "voicemail": "b2cf5968-551e-4856-9783-52b3da59a7d0",
    "busy": "9d9162e7-6cf3-4944-bf63-4dff82258764",
    "missed": "73a0d17f-1163-4015-bdd5-ec830791da20",
    "abandoned": "73a0d17f-1163-4015-bdd5-ec830791da20",
}
"""HubSpot's own outcomes: Connected, Left voicemail, Busy, No answer.
https://developers.hubspot.com/docs/api-reference/latest/crm/activities/calls/guide"""
MOST_MOVED = 20


class HubSpotConnector(Connector):
    product = "HubSpot"
    lead = "deals"
    contact = "contacts"
    responsible = "hubspot_owner_id"
    needed = ("dealname", "pipeline", "dealstage", "hubspot_owner_id", KEY)
    makes_contacts = True
    changes_calls = True

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = HubSpotClient(outgoing, access)

    def setting_of(self, name: str) -> str:
        return {"dealstage": "stage"}.get(name, name)

    def account(self) -> Account:
        return check.account(self.client)

    def choices(self) -> Choices:
        return check.choices(self.client)

    def check(self, lead: NewLead) -> list[str]:
        values, left_out = self.lead_values(lead)
        return [f"{words}." for words in left_out.values()] + check.problems(self.client, values)

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        return check.make_fields(self.client, fields)

    def person(self, name: str) -> Person | str:
        """By e-mail, id or full name."""
        wanted = name.casefold()
        for owner in check.owners(self.client):
            if wanted in (text.casefold() for text in check.names_of(owner)):
                return Person(str(owner["id"]), check.names_of(owner)[-1], name)
        return f"HubSpot has no active user “{name}”"

    def find(self, caller: Caller) -> Iterator[Found]:
        return HubSpotSearch(self.client, caller).parts()

    def moved(self, mark: str) -> Record | None:
        """The search knows single words: the call's id, or the caller's number."""
        word = re.findall(r"\S*\d\S*", mark)[:1]
        if not word:
            return None
        name = "hs_call_from_number" if word[0].startswith("+") else BODIES["calls"]
        operator = "EQ" if word[0].startswith("+") else "CONTAINS_TOKEN"
        filters = [{"propertyName": name, "operator": operator, "value": word[0]}]
        calls = [
            call
            for call in self.client.search("calls", [filters], [BODIES["calls"], "hs_timestamp"])
            if plain(mark) in plain(call["properties"].get(BODIES["calls"]))
        ]
        calls.sort(key=lambda call: str(call["properties"].get("hs_timestamp")), reverse=True)
        for call in calls[:MOST_MOVED]:
            for kind in (self.lead, self.contact):
                if records := self.client.associated("calls", [call["id"]], kind)[str(call["id"])]:
                    return Record(kind, records[0])
        return None

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step in ("contact", "lead"):
            return self._by_key(self.contact if step == "contact" else self.lead, key)
        return self._entry(record, "calls" if step == "call" else "tasks", mark) if record else None

    def _by_key(self, kind: str, key: str) -> str | None:
        try:
            return str(self.client.object(kind, key, by=KEY)["id"])
        except RecordGone:
            return None
        except DeliveryError as error:
            # before the first call there is no such property
            if error.status == 400 and self.client.make_key(kind):
                return None
            raise

    def _create(self, kind: str, key: str, values: Mapping[str, Any], to: Sequence[tuple[str, Any]]) -> str:
        try:
            return self.client.create(kind, {**values, KEY: key}, to)
        except DeliveryError as error:
            is_key = isinstance(error, FieldsRefused) and KEY in error.fields
            if error.status not in (400, 409) or (isinstance(error, FieldsRefused) and not is_key):
                raise
            # it is there, or the property is not
            if (there := self._by_key(kind, key)) is not None:
                return there
            if not is_key:
                raise
            self.client.make_key(kind)
            return self.client.create(kind, {**values, KEY: key}, to)

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        values = {"phone": caller.e164, "firstname": "Caller", "lastname": caller.e164, "lifecyclestage": "lead"}
        if responsible is not None:
            values[self.responsible] = str(responsible.id)
        while True:
            try:
                return self._create(self.contact, key, values, ())
            except FieldsRefused as refused:
                left = {name: value for name, value in values.items() if name not in refused.fields}
                if "phone" not in left or left == values:
                    raise
                values = left

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        pipeline, stage, left_out = check.place(self.client)
        values: dict[str, Any] = {"dealname": lead.title, "description": "\n".join(lead.description)}
        values |= {"pipeline": pipeline, "dealstage": stage} | dict(lead.fields)
        values[self.responsible] = lead.responsible.id if lead.responsible else None
        if lead.contact is not None:
            values["contact"] = lead.contact
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        properties = {name: value for name, value in values.items() if name != "contact" and value is not None}
        to = [(self.contact, values["contact"])] if values.get("contact") else []
        return self._create(self.lead, key, properties, to)

    def owner(self, record: Record) -> RecordId | None:
        return self.read(record, [self.responsible])[self.responsible] or None

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        properties = self.client.object(record.kind, record.id, names)["properties"]
        return {name: properties.get(name) or "" for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        self.client.change(record.kind, record.id, values)

    def reopen(self, record: Record) -> None:
        now = self.read(record, ["pipeline", "hs_is_closed"])
        if now["hs_is_closed"] != "true":
            return
        stage = check.open_stage(self.client, now["pipeline"])
        if stage is not None:
            self.client.change(record.kind, record.id, {"dealstage": stage})

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        to: list[tuple[str, Any]] = [(record.kind, record.id)]
        owner = self.owner(record)
        if record.kind == self.lead:
            contacts = self.client.associated(self.lead, [record.id], self.contact)
            to += [(self.contact, contact) for contact in contacts[str(record.id)]]
        properties = {
            "hs_timestamp": entry.started_at,
            "hs_call_title": f"Call from {entry.caller or 'a withheld number'}",
            "hs_call_direction": "INBOUND",
            "hs_call_from_number": entry.caller,
            "hs_call_to_number": entry.number,
            "hs_call_disposition": DISPOSITIONS.get(entry.outcome),
            "hubspot_owner_id": owner,
            "hs_call_body": entry.html,
            **_facts(entry),
        }
        return self._at_record(lambda: self.client.create("calls", _known(properties), to), record)

    def change_call(self, record: Record, call: RecordId, entry: CallEntry) -> None:
        """The facts are HubSpot's from us; the words and the outcome are people's as well: words are added, and an outcome that somebody
        chose stays."""
        names = ("hs_call_body", "hs_call_disposition", "hs_call_status")
        now = self.client.object("calls", call, names)["properties"]
        properties: dict[str, Any] = dict(_facts(entry))
        body = str(now.get("hs_call_body") or "")
        if plain(entry.html) not in plain(body):
            properties["hs_call_body"] = f"{body}<p>Corrected:</p>{entry.html}"
        chosen = now.get("hs_call_disposition") or ""
        ours = {DISPOSITIONS.get(how, "") for how in (*DISPOSITIONS, "") if _status(how) == now.get("hs_call_status")}
        if (not chosen or chosen in ours) and entry.outcome in DISPOSITIONS:
            properties["hs_call_disposition"] = DISPOSITIONS[entry.outcome]
        self.client.change("calls", call, _known(properties))

    def add_note(self, record: Record, html: str) -> RecordId:
        properties = {"hs_note_body": html, "hs_timestamp": self.access.now.isoformat()}
        return self._at_record(lambda: self.client.create("notes", properties, [(record.kind, record.id)]), record)

    def note(self, record: Record, mark: str) -> RecordId | None:
        return self._entry(record, "notes", mark)

    def add_task(self, record: Record, task: Task) -> RecordId:
        properties = {
            "hs_timestamp": self.access.now.isoformat(),
            "hs_task_subject": task.title,
            "hs_task_body": task.html,
            "hs_task_status": "NOT_STARTED",
            "hs_task_type": "CALL",
            "hs_task_priority": "HIGH",
            "hubspot_owner_id": task.owner,
        }
        return self._at_record(lambda: self.client.create("tasks", properties, [(record.kind, record.id)]), record)

    def _entry(self, record: Record, kind: str, mark: str) -> str | None:
        """The first one at this record whose words have the mark; associations are read as they are, without the search."""
        entries = self.client.associated(record.kind, [record.id], kind)[str(record.id)]
        found = self.client.objects(kind, entries, [BODIES[kind]]) if entries else []
        with_mark = [one["id"] for one in found if plain(mark) in plain(one["properties"].get(BODIES[kind]))]
        return str(min(with_mark, key=int)) if with_mark else None

    def _at_record(self, make: Any, record: Record) -> RecordId:
        try:
            made: str = make()
        except DeliveryError as error:
            if error.permanent and not isinstance(error, RecordGone):
                self.owner(record)  # RecordGone: that is why
            raise
        return made


def _status(outcome: str) -> str:
    return STATUSES.get(outcome, "NO_ANSWER")


def _facts(entry: CallEntry) -> dict[str, Any]:
    return {
        "hs_call_status": _status(entry.outcome),
        "hs_call_duration": entry.duration * 1000,
        "hs_call_recording_url": entry.recording,
    }


def _known(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if value not in (None, "")}
