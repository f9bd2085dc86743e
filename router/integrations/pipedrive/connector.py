"""A Pipedrive for the shared saga. A caller is a person with a deal, a call is a finished activity of type call, a missed one leaves an
open activity.

Pipedrive takes no key of ours with a new record. So a deal carries its call's id in the field *Call id*, by which its search finds it;
persons are found by their number, activities by the mark in their note."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from html import escape, unescape
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
from router.integrations.pipedrive.client import PipedriveClient
from router.lib.formats import parse_int
from router.lib.http_client import Outgoing
from router.lib.phones import national

DEAL, PERSON = "deal", "person"
KEY_FIELD = next(field.label for field in OWN_FIELDS if field.name == "call_id")
OWN_NAME = re.compile("[0-9a-f]{40}")
"""Of a field that somebody added, as the API names it."""
TYPES = ("varchar", "varchar_auto", "text", "double", "date", "phone", "enum")
"""Of fields that a template can fill."""
TO_DO = "To do: "
"""Tells a task from the call that it is about: both have the call's mark, and people finish tasks."""
MOST_PEOPLE = 300


class PipedriveConnector(Connector):
    product = "Pipedrive"
    lead = DEAL
    contact = PERSON
    responsible = "owner_id"
    needed = ("title", "person_id")
    makes_contacts = True
    changes_calls = True

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = PipedriveClient(outgoing, access)
        self._searched: dict[str, list[FoundContact]] = {}

    def setting_of(self, name: str) -> str:
        return name.removesuffix("_id")

    # Check connection

    def account(self) -> Account:
        me = self.client.get("/v1/users/me")
        return Account(
            str(me["company_id"]), str(me.get("company_name") or me.get("company_domain") or me["company_id"])
        )

    def choices(self) -> Choices:
        pipelines = list(self.client.pages("/api/v2/pipelines"))
        try:
            users = self._users()
        except DeliveryError as error:
            if error.status != 200:
                raise
            users = []  # so many that their list, which has no pages, is longer than an answer that is read
        return Choices(
            people=tuple(
                Choice(str(user["email"]), f"{user['name']} ({user['email']})", (str(user["id"]), str(user["name"])))
                for user in users
                if user.get("active_flag")
            )[:MOST_PEOPLE],
            pipelines=tuple(Choice(str(pipeline["id"]), str(pipeline["name"])) for pipeline in pipelines),
            stages=tuple(
                Choice(str(stage["id"]), str(stage["name"]), within=str(stage["pipeline_id"])) for stage in self._stages
            ),
            fields=tuple(
                Choice(code, str(field["field_name"]))
                for code, field in self._fields.items()
                if OWN_NAME.fullmatch(code) and field["field_type"] in TYPES
            ),
        )

    def check(self, lead: NewLead) -> list[str]:
        """What can be told without making anything: a deal that was deleted again would stay in its bin for 30 days."""
        found = []
        looks = {
            "persons": ("/api/v2/persons/search", {"term": national_digits(str(lead.phone)), "fields": "phone"}),
            "deals": ("/api/v2/deals", {}),
            "activities": ("/api/v2/activities", {}),
        }
        for what, (path, query) in looks.items():
            try:
                self.client.get(path, {**query, "limit": 1})
            except DeliveryError as error:
                if error.status != 403:
                    raise
                found.append(f"This token may not read {what}.")
        values, left_out = self.lead_values(lead)
        found += [f"{name}: {words}" for name, words in left_out.items()]
        found += [
            f"Deals have no field “{name}” in Pipedrive."
            for name in values
            if OWN_NAME.fullmatch(name) and name not in self._fields
        ]
        if self._key_field is None:
            found.append(
                f"Deals have no field “{KEY_FIELD}” (one line of text), by which a repeat finds the deal of a call: press Make fields in"
                " the CRM. Until then the id stands at the end of the deal’s title."
            )
        return found

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        made = {}
        there = {str(field["field_name"]): code for code, field in self._fields.items() if OWN_NAME.fullmatch(code)}
        for field in fields:
            code = there.get(field.label)
            if code is None:
                body = {"field_name": field.label, "field_type": "varchar"}
                code = str(self.client.post("/api/v2/dealFields", body)["field_code"])
            made[field.name] = code
        return made

    def _users(self, **query: Any) -> list[dict[str, Any]]:
        """All, or those that Pipedrive finds."""
        return list(self.client.get("/v1/users/find" if query else "/v1/users", query) or [])

    @cached_property
    def _stages(self) -> list[dict[str, Any]]:
        return list(self.client.pages("/api/v2/stages"))

    @cached_property
    def _fields(self) -> dict[str, dict[str, Any]]:
        return {str(field["field_code"]): field for field in self.client.pages("/api/v2/dealFields", page=40)}

    @property
    def _key_field(self) -> str | None:
        labels = ((code, field) for code, field in self._fields.items() if OWN_NAME.fullmatch(code))
        return next((code for code, field in labels if field["field_name"] == KEY_FIELD), None)

    # the steps

    def person(self, name: str) -> Person | str:
        """By id, e-mail or name."""
        wanted = name.strip().casefold()
        number = parse_int(wanted)
        if number is not None:
            try:
                found = [self.client.get(f"/v1/users/{number}")]
            except DeliveryError as error:
                if error.status != 404:
                    raise
                found = []
        else:
            users = self._users(term=wanted, search_by_email=1) if "@" in wanted else self._users(term=wanted)
            found = [
                user for user in users if wanted in (str(user.get(name) or "").casefold() for name in ("email", "name"))
            ]
        if len(found) > 1:
            return f"Pipedrive has several users “{name}”: name one by the e-mail address"
        if not found:
            return f"Pipedrive has no user “{name}”"
        if not found[0].get("active_flag"):
            return f"the Pipedrive user “{name}” is deactivated"
        return Person(int(found[0]["id"]), str(found[0]["name"]), name)

    def find(self, caller: Caller) -> Iterator[Found]:
        if caller.known and parse_int(caller.known):
            known = []
            with suppress(RecordGone):
                known.append(_found(self.client.record(f"/api/v2/deals/{caller.known}"), Match.KNOWN))
            yield Found(known)
        contacts = self._persons(caller)
        leads = []
        for contact in contacts:
            for archive in ("", "/archived"):
                deals = self.client.pages(f"/api/v2/deals{archive}", {"person_id": contact.id})
                leads += [_found(deal, contact.match) for deal in deals if not deal.get("is_deleted")]
        yield Found(leads, contacts)

    def _persons(self, caller: Caller) -> list[FoundContact]:
        """The surest first, then the oldest, so that all calls of a caller stand at one."""
        if caller.e164 in self._searched:
            return self._searched[caller.e164]
        persons: dict[int, Match] = {}
        # the digits alone, and as people of the caller's country write them: what Pipedrive's search makes of spaces is not documented
        for term in dict.fromkeys((national_digits(caller.e164), national(caller.e164))):
            for result in self.client.pages("/api/v2/persons/search", {"term": term, "fields": "phone"}):
                person = result["item"]
                texts = [str(phone) for phone in person.get("phones") or ()]
                ways = [how for text in texts if (how := match(text, caller.e164, [caller.country or ""])) is not None]
                if ways:
                    persons[int(person["id"])] = min(ways)
        ranked = sorted((how, number) for number, how in persons.items())
        self._searched[caller.e164] = [FoundContact(number, how) for how, number in ranked]
        return self._searched[caller.e164]

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step == "lead":
            found = self.client.pages("/api/v2/deals/search", {"term": key, "fields": "custom_fields,title"})
            items = (result["item"] for result in found)
            return next(
                (
                    int(deal["id"])
                    for deal in items
                    if key in deal.get("custom_fields", ()) or str(deal.get("title", "")).endswith(_ending(key))
                ),
                None,
            )
        if step == "contact":
            return None  # found by its number: `create_contact`
        if record is None:
            return None
        for activity in self._activities(record):
            note = _plain(activity.get("note"))
            if mark in note and note.startswith(TO_DO) == (step == "task"):
                return int(activity["id"])
        return None

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        # his calls are entered one after the other: one that is there is ours, of an attempt without an answer, or a colleague's
        if there := self._persons(caller):
            return there[0].id
        body: dict[str, Any] = {
            "name": caller.e164,
            "phones": [{"value": caller.e164, "primary": True, "label": "work"}],
        }
        if responsible:
            body["owner_id"] = int(responsible.id)
        return self.client.add("/api/v2/persons", body)

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        values: dict[str, Any] = {"title": lead.title}
        left_out: dict[str, str] = {}
        for setting, choices in (("pipeline", self._named_pipelines), ("stage", self._named_stages)):
            named = str(self.config.get(setting) or "").strip()
            if not named:
                continue
            number = parse_int(named) or choices().get(named.casefold())
            if number is None:
                left_out[f"{setting}_id"] = f"Pipedrive has no {setting} “{named}”"
            else:
                values[f"{setting}_id"] = number
        for name, text in lead.fields.items():
            if name == "name":
                name = "title"
            values[name] = text or (lead.title if name == "title" else None)
        if self._key_field is not None:
            values[self._key_field] = lead.key
        else:
            values["title"] += _ending(lead.key)
        values[self.responsible] = int(lead.responsible.id) if lead.responsible else None
        if lead.contact is not None:
            values["person_id"] = int(lead.contact)
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        return self.client.made(self._writing(self.client.post, "/api/v2/deals", values))

    def owner(self, record: Record) -> RecordId | None:
        owner = self._record(record).get("owner_id")
        return int(owner) if owner else None

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        deal = self._record(record)
        own = deal.get("custom_fields") or {}
        return {name: own.get(name) if OWN_NAME.fullmatch(name) else deal.get(name) for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        self._writing(self.client.patch, f"/api/v2/deals/{record.id}", values)

    def reopen(self, record: Record) -> None:
        deal = self._record(record)
        wanted: dict[str, Any] = {"status": "open"} if deal.get("status") == "lost" else {}
        if deal.get("is_archived"):
            wanted |= {"is_archived": False}
        if wanted:
            self.client.patch(f"/api/v2/deals/{record.id}", wanted)

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        started = entry.started_at
        body = _activity_of(entry) | {
            "type": "call",
            "done": True,
            "due_date": started[:10],
            "due_time": started[11:16],
            "note": entry.html,
        }
        if entry.responsible:
            body["owner_id"] = int(entry.responsible.id)
        return self._add_activity(record, body)

    def change_call(self, record: Record, call: RecordId, entry: CallEntry) -> None:
        """What stands in the note stays below what is true now: somebody may have written into it."""
        there = self.client.record(f"/api/v2/activities/{call}")
        note = str(there.get("note") or "")
        if _plain(entry.html) not in _plain(note):
            note = f"<p>Corrected:</p>{entry.html}{note}"
        self.client.patch(f"/api/v2/activities/{call}", _activity_of(entry) | {"note": note})

    def add_note(self, record: Record, html: str) -> RecordId:
        self._record(record)
        return self.client.add("/v1/notes", {"content": html, f"{record.kind}_id": int(record.id)})

    def note(self, record: Record, mark: str) -> RecordId | None:
        found = self.client.get("/v1/notes", {f"{record.kind}_id": int(record.id), "limit": 50})
        return next((int(note["id"]) for note in found or () if mark in str(note.get("content"))), None)

    def add_task(self, record: Record, task: Task) -> RecordId:
        body = {
            "subject": task.title,
            "type": "call",
            "done": False,
            "due_date": task.due,
            "owner_id": int(task.owner),
            "note": f"<p>{TO_DO}{escape(task.title)}</p>{task.html}",
        }
        return self._add_activity(record, body)

    def _add_activity(self, record: Record, body: dict[str, Any]) -> RecordId:
        found = self._record(record)
        person = int(record.id) if record.kind == PERSON else found.get("person_id")
        at: dict[str, Any] = {"deal_id": int(record.id)} if record.kind == DEAL else {}
        if person:
            at["participants"] = [{"person_id": person, "primary": True}]
        return self.client.add("/api/v2/activities", body | at)

    def _activities(self, record: Record) -> Iterator[dict[str, Any]]:
        """Of this deal or person, the newest first."""
        query = {f"{record.kind}_id": int(record.id), "sort_by": "add_time", "sort_direction": "desc"}
        return self.client.pages("/api/v2/activities", query)

    def _record(self, record: Record) -> dict[str, Any]:
        return self.client.record(f"/api/v2/{record.kind}s/{int(record.id)}")

    def _writing(self, send: Callable[[str, dict[str, Any]], Any], path: str, values: Mapping[str, Any]) -> Any:
        """Makes or changes a deal.

        Raises:
            FieldsRefused: of those that Pipedrive names, or of all that a deal can do without when it names none.
        """
        own = {name: value for name, value in values.items() if OWN_NAME.fullmatch(name)}
        body = {name: value for name, value in values.items() if name not in own and value is not None}
        try:
            return send(path, body | ({"custom_fields": own} if own else {}))
        except DeliveryError as error:
            text, owner = str(error), self.responsible
            if error.status == 403 and values.get(owner) is not None and "imit reached" not in text:
                # this token may not give deals to others; better one of its own user than none
                raise FieldsRefused(text, {owner: text}, 403) from None
            if not error.permanent:
                raise
            named = [name for name in values if name in text]
            blamed = named or [name for name in values if name not in self.needed and values[name] is not None]
            if not blamed:
                raise
            raise FieldsRefused(text, dict.fromkeys(blamed, text), error.status) from None

    def _named_pipelines(self) -> dict[str, int]:
        return {str(one["name"]).casefold(): int(one["id"]) for one in self.client.pages("/api/v2/pipelines")}

    def _named_stages(self) -> dict[str, int]:
        return {str(stage["name"]).casefold(): int(stage["id"]) for stage in reversed(self._stages)}


def _plain(html: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", str(html or ""))).split())


def _ending(key: str) -> str:
    return f" ({key})"


def _activity_of(entry: CallEntry) -> dict[str, Any]:
    minutes, seconds = divmod(entry.duration, 60)
    # Pipedrive counts in minutes; the seconds stand in the note
    minutes += seconds > 0
    duration = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return {"subject": f"Call from {entry.caller or 'a withheld number'}: {entry.outcome}", "duration": duration}


def _found(deal: Mapping[str, Any], how: Match) -> FoundLead:
    is_hidden = deal.get("status") == "lost" or bool(deal.get("is_archived"))
    return FoundLead(int(deal["id"]), deal.get("status") == "open" and not is_hidden, how, is_hidden, int(deal["id"]))
