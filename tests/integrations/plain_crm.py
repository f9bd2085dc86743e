"""A CRM that nobody sells, as most are: a deal needs a person, an entered call can be changed, nothing has our keys by itself. What a
connector to such a one has to bring, a fake of it, and its world for the shared suite."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

from router.integrations.base import DeliveryError, not_delivered
from router.integrations.crm.connector import (
    Account,
    CallEntry,
    Caller,
    Choice,
    Choices,
    Connector,
    Found,
    NewLead,
    Person,
    Record,
    RecordGone,
    Task,
)
from router.integrations.crm.matching import FoundContact, FoundLead, RecordId
from router.integrations.crm.saga import CrmSender
from router.lib.http_client import Answer, OutgoingError
from tests.integrations.crm_world import Lead, World
from tests.integrations.odoo import new_number

SELLERS = {"anna": 1, "bob": 2}


class PlainCrm:
    """Tables in memory. `POST /<table>/find {where}`, `/create {values}`, `/<id>/change {values}`; each answers the records."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, dict[str, Any]]] = {
            name: {} for name in ("person", "deal", "call", "note", "task")
        }
        self.numbers = count(1)

    def __call__(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        _, _, _, table, *rest = url.split("/")
        body = json.loads(content)
        if headers.get("Authorization") != "Bearer k3y":
            return said(401, {"error": "unauthorized"})
        records = self.tables[table]
        if rest == ["find"]:
            found = [one for one in records.values() if all(one.get(name) == value for name, value in body.items())]
            return said(200, found)
        if rest == ["create"]:
            number = next(self.numbers)
            records[number] = {**body, "id": number}
            return said(200, [records[number]])
        number = int(rest[0])
        if number not in records:
            return said(404, {"error": "no such record"})
        records[number].update(body)
        return said(200, [records[number]])


def said(status: int, document: Any) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(document).encode(), complete=True)


class PlainConnector(Connector):
    product, lead, contact, responsible = "Plain", "deal", "person", "owner"
    needed = ("title", "person")
    makes_contacts, changes_calls = True, True

    def ask(self, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.access.secret}"}
        try:
            answer = self.outgoing.post_json(f"{self.config['url']}/{path}", body, headers, self.access.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        if answer.status == 404:
            raise RecordGone("There is no such record.", status=404)
        try:
            records = answer.json()
        except ValueError:
            records = None
        if answer.status != 200 or records is None:
            is_ours = answer.status == 401
            wait = float(answer.headers.get("retry-after", 0)) or None
            raise DeliveryError(
                f"Plain answered {answer.status}.",
                retry_after=wait,
                status=answer.status,
                refused_account=is_ours,
                ambiguous=answer.status >= 500,
            )
        found: list[dict[str, Any]] = records
        return found

    def make(self, table: str, **values: Any) -> RecordId:
        return int(self.ask(f"{table}/create", values)[0]["id"])

    def account(self) -> Account:
        return Account("plain-1", "Plain")

    def choices(self) -> Choices:
        return Choices(people=tuple(Choice(name, name.title()) for name in SELLERS))

    def check(self, lead: NewLead) -> list[str]:
        return []

    def person(self, name: str) -> Person | str:
        return Person(SELLERS[name], name.title(), name) if name in SELLERS else f"Plain has no user “{name}”"

    def find(self, caller: Caller) -> Iterator[Found]:
        persons = self.ask("person/find", {"phone": caller.e164})
        deals = [deal for person in persons for deal in self.ask("deal/find", {"person": person["id"]})]
        leads = [FoundLead(deal["id"], deal["state"] == "open", order=deal["id"]) for deal in deals]
        yield Found(leads, [FoundContact(person["id"]) for person in persons])

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        table = {"contact": "person", "lead": "deal"}.get(step, step)
        found = self.ask(f"{table}/find", {"key": key})
        return int(found[0]["id"]) if found else None

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        return self.make("person", key=key, phone=caller.e164, owner=responsible.id if responsible else None)

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        campaign = lead.source.get("campaign", "")
        owner = lead.responsible.id if lead.responsible else None
        return {"title": lead.title, "person": lead.contact, "campaign": campaign, "owner": owner, **lead.fields}, {}

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        return self.make("deal", key=key, state="open", **values)

    def owner(self, record: Record) -> RecordId | None:
        owner: RecordId | None = self.read(record, ["owner"])["owner"]
        return owner

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        found = self.ask(f"{record.kind}/find", {"id": record.id})
        if not found:
            raise RecordGone("There is no such record.", status=404)
        return {name: found[0].get(name) for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        self.ask(f"{record.kind}/{record.id}/change", values)

    def reopen(self, record: Record) -> None:
        self.change(record, {"state": "open"})

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        at = {"kind": record.kind, "record": record.id}
        return self.make("call", key=entry.key, outcome=entry.outcome, seconds=entry.duration, words=entry.html, **at)

    def change_call(self, record: Record, call: RecordId, entry: CallEntry) -> None:
        self.ask(f"call/{call}/change", {"outcome": entry.outcome, "seconds": entry.duration, "words": entry.html})

    def add_note(self, record: Record, html: str) -> RecordId:
        return self.make("note", kind=record.kind, record=record.id, words=html)

    def note(self, record: Record, mark: str) -> RecordId | None:
        notes = self.ask("note/find", {"kind": record.kind, "record": record.id})
        return next((note["id"] for note in notes if mark in note["words"]), None)

    def add_task(self, record: Record, task: Task) -> RecordId:
        return self.make("task", key=task.key, record=record.id, title=task.title, owner=task.owner, due=task.due)


class PlainSender(CrmSender):
    connector = PlainConnector
    settles_after = timedelta(seconds=60)


class PlainWorld(World):
    sender = PlainSender
    makes_contacts = True
    own_faults = {"expired_key": said(401, {"error": "unauthorized"})}  # noqa: RUF012 - as World declares it

    def __init__(self) -> None:
        super().__init__()
        self.crm = PlainCrm()
        self.transport = self.crm
        self.config, self.secret, self.manager = {"url": "http://127.0.0.1:9"}, "k3y", "anna"
        self.begin()

    def begin(self) -> None:
        self.caller = new_number()
        self.known, self.steps = None, {}

    def persons(self) -> list[int]:
        return [one["id"] for one in self.crm.tables["person"].values() if one["phone"] == self.caller]

    def leads(self) -> list[Lead]:
        persons, tables = self.persons(), self.crm.tables

        def of(table: str, deal: int) -> int:
            return sum(one["record"] == deal for one in tables[table].values())

        return [
            Lead(deal["id"], deal["owner"], of("call", deal["id"]), of("task", deal["id"]), deal["state"] == "open")
            for deal in tables["deal"].values()
            if deal["person"] in persons
        ]

    def contacts(self) -> int:
        return len(self.persons())

    def edit(self, lead: Any) -> None:
        self.crm.tables["deal"][lead].update(title="Roses", campaign="mine", owner=2)

    def is_edited(self, lead: Any) -> bool:
        deal = self.crm.tables["deal"][lead]
        return (deal["title"], deal["campaign"], deal["owner"]) == ("Roses", "mine", 2)

    def corrections(self, lead: Any) -> int:
        calls = [call for call in self.crm.tables["call"].values() if call["record"] == lead]
        return sum(call["outcome"] == "voicemail" for call in calls)
