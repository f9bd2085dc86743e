"""Odoo as a CRM, version 19 and later: a lead by external id for a new customer, a note for each call (R10).

A delivery is done in steps, each remembered before the next: what to add to, the lead, the note. A repeat resumes after the last
step. `load` is an upsert by our external id, and a note is looked for before it is posted, so that no step happens twice."""

import hashlib
import re
from datetime import timedelta
from html import escape
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from router.integrations import crm
from router.integrations.base import Address, DeliveryError, Message, Secret, Skipped, Vendor
from router.integrations.odoo.client import (
    LEAD,
    WITH_ARCHIVED,
    FieldsRefused,
    OdooClient,
    OdooSearch,
    RecordGone,
    exactly,
)
from router.lib.http_client import Outgoing

MODULE = "calltrack"
TITLE = "Call from {phone}"
NO_CUSTOMER = "the caller withheld the number, so there is no customer to name"
UTM = {"source_id": "utm.source", "medium_id": "utm.medium", "campaign_id": "utm.campaign"}
NEEDED = ("name", "phone", "user_id")
MATCHES = {
    crm.Match.KNOWN: "its phone number",
    crm.Match.TYPED: "a number in the text of its phone field",
    crm.Match.EXTENSION: "a number with an extension, of the same line",
    crm.Match.ABROAD: "a number without a country code, read as the caller's country writes it",
}
"""How the record was found, as people are told."""


class OdooSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        if not message.call["caller"]:
            raise Skipped(NO_CUSTOMER)
        client = OdooClient(self.outgoing, message)
        if message.event == "call.updated":
            # a recording that came late, and a corrected end or source (R7), each a note on the lead that is there; never another lead
            page, lead = crm.recording_page(message), OdooSearch(client, message).known
            if lead is None:
                raise Skipped("the CRM has no lead of this caller")
            notes = {crm.essence(message): crm.correction_note(message)}
            if page:
                notes[escape(page)] = crm.recording_note(message)
            try:
                missing = [body for mark, body in notes.items() if _found_note(client, LEAD, lead, mark) is None]
                posted = [_post_note(client, LEAD, lead, body) for body in missing]
            except RecordGone:
                raise Skipped("the lead was deleted in Odoo") from None
            if not posted:
                raise Skipped("nothing that the CRM shows has changed")
            return {"status": 200, "notes": posted}
        steps = message.reference
        if not steps.get("record"):
            known = None if steps.get("creating") else OdooSearch(client, message).record_to_add_to()
            if known is None:
                # decided before anything is sent: our own lead must not look like an older one
                message.remember({"creating": True})
                steps = _create(client, message)
            else:
                steps = {"model": known.model, "record": known.id, "match": MATCHES[known.match]}
                if known.model == LEAD:
                    steps["lead_id"] = known.id
            message.remember(steps)
        model, record = str(steps["model"]), int(steps["record"])
        try:
            note = _found_note(client, model, record, crm.MARK + message.call["sid"])
            if note is None:
                note = _post_note(client, model, record, crm.call_note(message))
        except RecordGone:
            message.remember(dict.fromkeys(("model", "record", "match", "creating", "warning")))
            raise DeliveryError("The lead was deleted in Odoo meanwhile.", status=404) from None
        warning = {"warning": steps["warning"]} if steps.get("warning") else {}
        return {"status": 200, "model": model, "record": record, "note_id": note} | warning


def _create(client: OdooClient, message: Message) -> dict[str, Any]:
    """Makes the lead. What it names and Odoo does not have (any more) is left out and told: a lead is worth more."""
    person, gone = OdooSearch(client, message).responsible_user()
    templates: dict[str, str] = {"name": TITLE, **(message.config.get("fields") or {})}
    values: dict[str, Any] = {"phone": message.call["caller"], "description": crm.description(message)}
    for name, template in templates.items():
        text = crm.fill(template, message.placeholders)
        values[name] = escape(text).replace("\n", "<br>") if name == "description" else text
    values["name"] = values["name"].strip() or f"Call from {message.call['caller']}"
    left_out: dict[str, str] = {}
    for field, model in UTM.items():
        source = str((message.call["source"] or {}).get(field.removesuffix("_id")) or "")
        if not source:
            continue
        try:  # the record of this name, in any case, an archived one too; made when it is new
            records = client.search(
                model, [["name", "=ilike", exactly(source)]], ["id"], order="id", limit=1, context=WITH_ARCHIVED
            )
            key = f"{MODULE}.{model.replace('.', '_')}_{_digest(source.casefold())}"
            values[f"{field}/.id"] = int(records[0]["id"]) if records else client.load(model, key, {"name": source})
        except FieldsRefused as error:
            left_out[field] = f"“{source}”: {'; '.join(error.fields.values())}"
    sid = message.call["sid"]
    external_id = f"{MODULE}.lead_{sid if sid.isalnum() else _digest(sid)}"  # it may hold no dots and no spaces
    values["user_id/.id"] = person.id if person else ""  # empty, not absent: Odoo would take the key's owner
    while True:
        try:
            lead = client.load(LEAD, external_id, values)
            break
        except FieldsRefused as refused:
            if person is not None and "user_id" in refused.fields:
                gone.append((person.named, f"“{person.named}” cannot be responsible in Odoo"))
                person, values["user_id/.id"] = None, ""
                continue
            columns = {column.removesuffix("/.id"): column for column in values}
            optional = [name for name in refused.fields if name in columns and name not in NEEDED]
            if not optional:
                raise
            for name in optional:
                del values[columns[name]]
                left_out[name] = refused.fields[name]
    owner = person.name if person else "nobody"
    missing = [{"what": "manager", "name": name, "why": f"{why}: the lead belongs to {owner}"} for name, why in gone]
    missing += [
        {"what": name, "name": templates.get(name, ""), "why": f"The lead was made without {name}: {words}"}
        for name, words in left_out.items()
    ]
    return {
        "model": LEAD,
        "record": lead,
        "lead_id": lead,
        "missing": [item for item in missing if item["name"] and not crm.PLACE.search(item["name"])],
        "warning": "; ".join(item["why"] for item in missing) or None,
    }


def _found_note(client: OdooClient, model: str, record: int, mark: str) -> int | None:
    """The note that carries the mark: it is looked for before a note is posted, so that none stands there twice."""
    domain = [["model", "=", model], ["res_id", "=", record], ["body", "ilike", exactly(mark)]]
    notes = client.search("mail.message", domain, ["id"], order="id", limit=1)
    return int(notes[0]["id"]) if notes else None


def _post_note(client: OdooClient, model: str, record: int, body: str) -> int:
    posted = client.call(model, "message_post", ids=[record], body=body, body_is_html=True)
    return int(posted[0] if isinstance(posted, list) else posted)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class OdooSettings(crm.CrmSettings):
    reserved_fields = frozenset(("id", "phone", "user_id", "source_id", "medium_id", "campaign_id"))

    url: Address = Field(title="Address", examples=["https://crm.example.com"])
    database: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        title="Database"
    )
    key: Secret | None = Field(
        None, title="API key", description="Made in the preferences of an Odoo user who may work with leads."
    )
    manager: crm.Manager = Field(
        "",
        title="Responsible for new leads",
        description="Login or e-mail of an Odoo user. Empty, or nobody of this name there: the lead belongs to nobody yet.",
    )

    @field_validator("url")
    @classmethod
    def _root(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("database")
    @classmethod
    def _header(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.\-]{1,200}", value, re.ASCII):
            raise ValueError("A database's name has letters, digits, dots, dashes and underscores.")
        return value

    @field_validator("key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("An API key has no such signs.")
        return value


ODOO = Vendor(
    kind="odoo",
    name="Odoo",
    product="Odoo 19 or later",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=OdooSettings,
    sealed="key",
    account="database",
    sender=OdooSender,
    ordered_by_caller=True,
    settles_after=timedelta(seconds=120),
    repeated="The lead and the note are looked for first: what is still there is not made again, what somebody deleted there is.",
)
