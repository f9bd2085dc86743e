"""An Odoo for the shared saga: leads by external id, entries of calls as notes, missed calls as activities."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
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
from router.integrations.odoo import check
from router.integrations.odoo.client import LEAD, PARTNER, WITH_ARCHIVED, OdooClient, exactly
from router.integrations.odoo.search import OdooSearch
from router.lib.formats import parse_int
from router.lib.http_client import Outgoing

MODULE = "calltrack"
UTM = {"source_id": "utm.source", "medium_id": "utm.medium", "campaign_id": "utm.campaign"}
SETTINGS = {"team_id": "team", "stage_id": "stage"}
"""Values of a lead that a setting names, by id or by name."""
MOST_NAMESAKES = 20
CALL_ACTIVITY = "mail.mail_activity_data_call"


class OdooConnector(Connector):
    product = "Odoo"
    lead = LEAD
    contact = PARTNER
    responsible = "user_id"
    needed = ("name", "phone", "user_id")

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = OdooClient(outgoing, access)

    def setting_of(self, name: str) -> str:
        return SETTINGS.get(name, name)

    def account(self) -> Account:
        return check.account(self.client)

    def choices(self) -> Choices:
        return check.choices(self.client)

    def check(self, lead: NewLead) -> list[str]:
        values, left_out = self.lead_values(lead)
        return [f"{name}: {words}" for name, words in left_out.items()] + check.problems(self.client, columns(values))

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        return check.make_fields(self.client, fields)

    def person(self, name: str) -> Person | str:
        """By id, login or e-mail."""
        terms: list[Any] = [["login", "=ilike", exactly(name)], ["email", "=ilike", exactly(name)]]
        number = parse_int(name, greatest=2**31 - 1)
        if number is not None:
            terms.insert(0, ["id", "=", number])
        users = self.client.search(
            "res.users",
            ["|"] * (len(terms) - 1) + terms,
            ["login", "name", "active", "share"],
            order="id",
            limit=MOST_NAMESAKES,
            context=WITH_ARCHIVED,
        )
        users.sort(key=lambda user: (user["id"] != number, str(user["login"]).casefold() != name.casefold()))
        for user in users:
            if user["active"] and not user["share"]:
                return Person(int(user["id"]), str(user["name"]), name)
        if not users:
            return f"Odoo has no user “{name}”"
        if not any(user["active"] for user in users):
            return f"“{name}” is archived in Odoo"
        return f"“{name}” is no internal user of Odoo any more"

    def find(self, caller: Caller) -> Iterator[Found]:
        return OdooSearch(self.client, caller).parts()

    def moved(self, mark: str) -> Record | None:
        domain = [["model", "in", [LEAD, PARTNER]], ["body", "ilike", exactly(escape(mark))]]
        entries = self.client.search("mail.message", domain, ["model", "res_id"], order="id desc", limit=1)
        return Record(str(entries[0]["model"]), int(entries[0]["res_id"])) if entries else None

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step == "lead":
            return self.client.loaded(LEAD, external_id(key))
        if record is None:
            return None
        if step == "call":
            return self.note(record, escape(mark))
        domain = [["res_model", "=", record.kind], ["res_id", "=", int(record.id)]]
        domain.append(["note", "ilike", exactly(escape(mark))])
        found = self.client.search("mail.activity", domain, ["id"], order="id", limit=1, context=WITH_ARCHIVED)
        return int(found[0]["id"]) if found else None

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        description = "<br>".join(escape(line) for line in lead.description)
        values: dict[str, Any] = {"phone": lead.phone or "", "description": description, "name": lead.title}
        left_out: dict[str, str] = {}
        for name, setting in SETTINGS.items():
            if named := str(self.config.get(setting) or ""):
                values[name] = parse_int(named) or named
        for name, text in lead.fields.items():
            values[name] = escape(text).replace("\n", "<br>") if name == "description" else text
        for name, model in UTM.items():
            source = lead.source.get(name.removesuffix("_id"), "")
            if not source:
                continue
            try:  # the record of this name, in any case, an archived one too; made when it is new
                domain = [["name", "=ilike", exactly(source)]]
                records = self.client.search(model, domain, ["id"], order="id", limit=1, context=WITH_ARCHIVED)
                key = f"{MODULE}.{model.replace('.', '_')}_{digest(source.casefold())}"
                values[name] = int(records[0]["id"]) if records else self.client.load(model, key, {"name": source})
            except DeliveryError as error:
                if not error.permanent and error.status != 403:
                    raise
                words = "; ".join(error.fields.values()) if isinstance(error, FieldsRefused) else str(error)
                left_out[name] = f"“{source}”: {words}"
        # empty, not absent: Odoo would take the key's owner
        values[self.responsible] = lead.responsible.id if lead.responsible else None
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        try:
            return self.client.load(LEAD, external_id(key), columns(values))
        except FieldsRefused:
            raise
        except DeliveryError as error:
            if error.status == 200 and error.permanent and values.get(self.responsible) is not None:
                # this key may not make leads of somebody else; better one of nobody than none
                raise FieldsRefused(str(error), {self.responsible: str(error)}, error.status) from None
            raise

    def owner(self, record: Record) -> RecordId | None:
        owner = self.read(record, ["user_id"])["user_id"]
        return owner or None

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        domain = [["id", "=", int(record.id)]]
        found = self.client.search(record.kind, domain, list(names), limit=1, context=WITH_ARCHIVED)
        if not found:
            raise RecordGone("Odoo has no such record any more.", status=404)
        return {name: _plain(found[0].get(name)) for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        self.client.load(LEAD, int(record.id), columns(values))

    def reopen(self, record: Record) -> None:
        self.client.call(record.kind, "action_unarchive", ids=[int(record.id)])

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        return self.add_note(record, entry.html)

    def add_note(self, record: Record, html: str) -> RecordId:
        return self.client.made(record.kind, "message_post", ids=[int(record.id)], body=html, body_is_html=True)

    def note(self, record: Record, mark: str) -> RecordId | None:
        here: list[Any] = [["model", "=", record.kind], ["res_id", "=", int(record.id)]]
        found = self.client.search(
            "mail.message", [*here, ["body", "ilike", exactly(mark)]], ["id"], order="id", limit=1
        )
        return int(found[0]["id"]) if found else None

    def add_task(self, record: Record, task: Task) -> RecordId:
        return self.client.made(
            record.kind,
            "activity_schedule",
            ids=[int(record.id)],
            act_type_xmlid=CALL_ACTIVITY,
            date_deadline=task.due,
            summary=task.title,
            note=task.html,
            user_id=int(task.owner),
        )


def external_id(key: str) -> str:
    """It may hold no dots and no spaces."""
    return f"{MODULE}.lead_{key if key.isalnum() else digest(key)}"


def columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """For `load`: a number names a record by its id, a text by its name, and None empties it."""
    return {
        f"{name}/.id" if value is None or isinstance(value, int) else name: "" if value is None else value
        for name, value in values.items()
    }


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _plain(value: Any) -> Any:
    """A link comes as its id and the name of its record, which may be changed without the lead."""
    return value[0] if isinstance(value, list) and len(value) == 2 and isinstance(value[0], int) else value
