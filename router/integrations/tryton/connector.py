"""A Tryton for the shared saga: leads as opportunities in state *Lead*, callers as parties with a phone number, calls as notes.

Tryton has no external ids. So a lead has a reference of ours, which is looked for in its history where people have changed it; a contact
has the call's id in the comment of its phone number; an entry has it in its text. Notes hold plain text, and Tryton finds them at a known
record alone."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm import notes
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
from router.integrations.crm.matching import FoundContact, FoundLead, Match, RecordId, digit_rows, match
from router.integrations.tryton import check
from router.integrations.tryton.check import TEXTS
from router.integrations.tryton.client import LEAD, NOTE, PARTY, TrytonClient, exactly
from router.lib.http_client import Outgoing
from router.lib.phones import spellings_of_line

OPEN, HIDDEN = ("lead", "opportunity", "converted"), ("lost", "cancelled")
CHANGEABLE = ("lead", "opportunity")
MOST_LEADS = 50
TO_DO = "To do"
"""How a note begins that is a task."""
REFERENCE = "CALL-"
"""How references of ours begin."""
RENAMED_SINCE, MOST_RENAMED = timedelta(days=7), 20
"""How far back a lead is looked for whose reference people have changed: an attempt is repeated within days."""
CONTACT_MARK = "Made for the call "


class TrytonConnector(Connector):
    product = "Tryton"
    lead = LEAD
    contact = PARTY
    responsible = "employee"
    needed = ("party", "employee")
    makes_contacts = True

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = TrytonClient(outgoing, access)
        self.is_first = False
        """The caller is looked for, which is done before anything is made: there is no lead of an earlier attempt."""

    @cached_property
    def employees(self) -> list[check.Employee]:
        return check.employees(self.client)

    def account(self) -> Account:
        return check.account(self.client)

    def choices(self) -> Choices:
        return check.choices(self.client)

    def check(self, lead: NewLead) -> list[str]:
        values, left_out = self.lead_values(lead)
        return [f"{name}: {words}" for name, words in left_out.items()] + check.problems(self.client, values)

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        raise DeliveryError("Fields of Tryton come with its modules", permanent=True, status=400)

    def person(self, name: str) -> Person | str:
        """An employee, by number or name, or by login, e-mail or name of his user."""
        wanted = name.strip().casefold()
        today = self.access.now.date()
        gone = False
        for employee in self.employees:
            if wanted not in employee.names:
                continue
            if employee.is_there(today):
                return Person(employee.id, employee.name, name)
            gone = True
        return f"“{name}” works there no more, says Tryton" if gone else f"Tryton has no employee “{name}”"

    def find(self, caller: Caller) -> Iterator[Found]:
        """By the digits of phone numbers, which Tryton keeps as they were typed unless its server has the package phonenumbers."""
        self.is_first = True
        spellings = list(spellings_of_line(caller.e164))
        by_digits = [["value", "like", f"%{'%'.join(row)}%"] for row in digit_rows(caller.e164)]
        domain = [
            ["type", "not in", ["email", "website"]],
            ["OR", ["value_compact", "in", spellings], *by_digits],
        ]
        fields = ["value", "value_compact", "party", "party.active", "party.addresses.country.code"]
        home: list[str] | None = None
        parties: dict[int, tuple[Match, bool]] = {}
        for phone in self.client.pages("party.contact_mechanism", domain, fields):
            how: Match | None = Match.KNOWN if phone["value_compact"] in spellings else None
            if how is None:
                home = check.countries(self.client) if home is None else home
                countries = [*_countries(phone["party."]), *home, caller.country or ""]
                how = match(str(phone["value"]), caller.e164, countries)
            if how is not None:
                known, _ = parties.get(phone["party"], (how, True))
                parties[phone["party"]] = (min(how, known), bool(phone["party."]["active"]))
        terms: list[Any] = [["party", "in", list(parties)]]
        if (caller.known or "").isdecimal():
            terms.append(["id", "=", int(caller.known or 0)])
        leads = self.client.search(LEAD, ["OR", *terms], ["party", "state"], order=[["id", "DESC"]], limit=MOST_LEADS)
        yield Found(
            [
                FoundLead(
                    lead["id"],
                    lead["state"] in OPEN,
                    parties.get(lead["party"], (Match.KNOWN, True))[0],
                    is_hidden=lead["state"] in HIDDEN,
                    order=lead["id"],
                )
                for lead in leads
            ],
            [FoundContact(party, how) for party, (how, is_active) in sorted(parties.items()) if is_active],
        )

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step == "lead":
            made = self._first(LEAD, [["reference", "=", reference(key)]])
            return made if made is not None or self.is_first else self._renamed(reference(key))
        if step == "contact":
            domain = [["comment", "like", f"%{exactly(CONTACT_MARK + key)}%"]]
            phones = self.client.search("party.contact_mechanism", domain, ["party"], order=[["id", "ASC"]], limit=1)
            return int(phones[0]["party"]) if phones else None
        if record is None:
            return None
        here, to_do = ["resource", "=", resource(record)], f"{TO_DO}%"
        task = ["message", "like" if step == "task" else "not like", to_do]
        return self._first(NOTE, [here, task, ["message", "like", f"%{exactly(mark)}%"]])

    def _renamed(self, wanted: str) -> int | None:
        """The lead with this reference when it was made."""
        since = self.access.now - RENAMED_SINCE
        parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        moment = {"__class__": "datetime"} | {part: getattr(since, part) for part in parts}
        domain = [
            ["create_uid.applications.state", "=", "validated"],
            ["create_date", ">=", moment],
            ["write_date", "!=", None],
            ["OR", ["reference", "=", None], ["reference", "not like", f"{REFERENCE}%"]],
        ]
        changed = self.client.search(LEAD, domain, ["create_date"], order=[["id", "DESC"]], limit=MOST_RENAMED)
        for lead in changed:
            if self.client.at(lead["create_date"], LEAD, lead["id"], ["reference"]).get("reference") == wanted:
                return int(lead["id"])
        return None

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        phone = {"type": "phone", "value": caller.e164, "comment": CONTACT_MARK + key}
        return self.client.create(PARTY, {"name": f"Caller {caller.e164}", "contact_mechanisms": [["create", [phone]]]})

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        # `name`, as most CRMs call the title, which is one line of text here
        title = lead.fields.get("name") or lead.title
        values: dict[str, Any] = {"description": _line(title), "comment": "\n".join(lead.description)}
        left_out: dict[str, str] = {}
        for name, text in lead.fields.items():
            if name == "name":
                continue
            if name not in values and self.client.fields.get(name, {}).get("type") not in TEXTS:
                there = "is filled with no text" if name in self.client.fields else "there is no such field"
                left_out[name] = f"“{name}”: {there}"
                continue
            is_text = name == "comment" or self.client.fields.get(name, {}).get("type") == "text"
            values[name] = text if is_text else _line(text)
        if lead.contact is not None:
            values["party"] = int(lead.contact)
        # empty, not absent: Tryton would take the key's employee
        values[self.responsible] = lead.responsible.id if lead.responsible else None
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        try:
            return self.client.create(LEAD, {**values, "reference": reference(key), "company": self.client.company})
        except DeliveryError as error:
            raise self.client.fields_refused(error, values) from None

    def owner(self, record: Record) -> RecordId | None:
        if record.kind != LEAD:
            self.read(record, ["name"])
            return None
        owner: RecordId | None = self.read(record, ["employee"])["employee"]
        return owner

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        domain: list[Any] = [["id", "=", int(record.id)]]
        if record.kind == PARTY:
            domain.append(["active", "in", [True, False]])
        found = self.client.search(record.kind, domain, names, limit=1)
        if not found:
            raise RecordGone("Tryton has no such record any more.", status=404)
        return {name: found[0].get(name) for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        if self.read(record, ["state"])["state"] not in CHANGEABLE:
            words = "Tryton lets nobody change it in a lead that is converted, won, lost or cancelled"
            raise FieldsRefused(words, dict.fromkeys(values, words), None)
        try:
            self.client.call(record.kind, "write", int(record.id), values=dict(values))
        except DeliveryError as error:
            raise self.client.fields_refused(error, values) from None

    def reopen(self, record: Record) -> None:
        if self.read(record, ["state"])["state"] in HIDDEN:
            self.client.call(LEAD, "lead", int(record.id))

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        return self.add_note(record, entry.html)

    def add_note(self, record: Record, html: str) -> RecordId:
        return self._note(record, notes.as_text(html))

    def note(self, record: Record, mark: str) -> RecordId | None:
        words = exactly(notes.as_text(mark))
        return self._first(NOTE, [["resource", "=", resource(record)], ["message", "like", f"%{words}%"]])

    def add_task(self, record: Record, task: Task) -> RecordId:
        """Tryton keeps no tasks: a note that everybody who has not read it sees marked at the record."""
        names = [employee.name for employee in self.employees if employee.id == task.owner]
        owner = f" for {names[0]}" if names else ""
        return self._note(record, f"{TO_DO}{owner}, {task.due}: {task.title}\n{notes.as_text(task.html)}")

    def _note(self, record: Record, text: str) -> RecordId:
        try:
            return self.client.create(NOTE, {"resource": resource(record), "message": text})
        except DeliveryError as error:
            if error.status == 400:  # a record that is gone is no resource
                self.owner(record)
            raise

    def _first(self, model: str, domain: Sequence[Any]) -> int | None:
        found = self.client.search(model, domain, ["id"], order=[["id", "ASC"]], limit=1)
        return int(found[0]["id"]) if found else None


def reference(key: str) -> str:
    """Of the lead of a call."""
    return REFERENCE + hashlib.blake2b(key.encode(), digest_size=6).hexdigest().upper()


def resource(record: Record) -> str:
    return f"{record.kind},{record.id}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _countries(party: Mapping[str, Any]) -> list[str]:
    addresses = party.get("addresses.") or ()
    return [str(address["country."]["code"]) for address in addresses if address.get("country.")]
