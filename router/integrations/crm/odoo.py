"""Odoo 19: a lead by external id for a new customer, a note for each call (R10).

A delivery is done in steps, each remembered before the next: what to add to, the lead, the note. A repeat resumes after the last
one. `load` is an upsert by our external id, and a note is looked for before it is posted, so that no step happens twice.
"""

import hashlib
from html import escape
from typing import Any

from router.integrations.contract import DeliveryError, Message, Skipped
from router.integrations.crm.leads import FoundLead, lead_to_add_to
from router.integrations.crm.notes import MARK, call_note, correction_note, description, essence, recording_note
from router.integrations.crm.odoo_client import OdooClient, RecordGone, exactly
from router.integrations.placeholders import fill
from router.outgoing import Outgoing

MODULE = "calltrack"
LEAD, PARTNER = "crm.lead", "res.partner"
TITLE = "Call from {phone}"
UTM = {"source_id": "utm.source", "medium_id": "utm.medium", "campaign_id": "utm.campaign"}


class OdooSender:
    """Brings calls into the CRM of an Odoo."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        if not message.call["caller"]:
            raise Skipped("the caller withheld the number, so there is no customer to name")
        config = message.config
        client = OdooClient(
            self.outgoing, config["url"], config["database"], message.secret, message.deadline, message.now
        )
        if message.event == "call.updated":
            return _add_changes(client, message)
        return _add_call(client, message)


def _add_call(client: OdooClient, message: Message) -> dict[str, Any]:
    model, record = _remembered(message) or _choose(client, message)
    try:
        note = _note(client, model, record, MARK + message.call["sid"], call_note(message))
    except RecordGone:
        message.remember({"model": None, "record": None, "creating": None})
        raise DeliveryError("The lead was deleted in Odoo meanwhile.", status=404) from None
    return {"status": 200, "model": model, "record": record, "note_id": note}


def _remembered(message: Message) -> tuple[str, int] | None:
    model, record = message.reference.get("model"), message.reference.get("record")
    return (str(model), int(record)) if model and record else None


def _choose(client: OdooClient, message: Message) -> tuple[str, int]:
    """The record that this call is added to; made now when R10 asks for a lead."""
    choice = "create" if message.reference.get("creating") else _decide(client, message)
    if isinstance(choice, FoundLead):
        return _remember(message, LEAD, choice.id)
    if choice == "customer":
        return _remember(message, PARTNER, _customers(client, message)[0]["id"])
    message.remember(
        {"creating": True}
    )  # decided before anything is sent: our own lead must not look like an older one
    return _remember(message, LEAD, _create(client, message))


def _remember(message: Message, model: str, record: int) -> tuple[str, int]:
    steps: dict[str, Any] = {"model": model, "record": record}
    message.remember(steps | ({"lead_id": record} if model == LEAD else {}))
    return model, record


def _decide(client: OdooClient, message: Message) -> FoundLead | str:
    leads = _leads(client, message)
    return lead_to_add_to(
        leads,
        _known(message),
        is_customer=not leads and bool(_customers(client, message)),
        only_new_customers=bool(message.config.get("only_new_customers", True)),
        not_while_open=bool(message.config.get("not_while_open", True)),
    )


def _leads(client: OdooClient, message: Message) -> list[FoundLead]:
    """Leads and deals of the caller's number, lost and won ones too, newest first; and the one we know, whatever its number now."""
    domain: list[Any] = [["phone_sanitized", "=", message.call["caller"]]]
    if _known(message) is not None:
        domain = ["|", ["id", "=", _known(message)], *domain]
    found = client.search(
        LEAD,
        domain,
        ["id", "active", "won_status"],
        order="id desc",
        limit=50,
        context={"active_test": False},
    )
    return [FoundLead(lead["id"], bool(lead["active"]) and lead["won_status"] == "pending") for lead in found]


def _customers(client: OdooClient, message: Message) -> list[dict[str, Any]]:
    domain = [["phone_sanitized", "=", message.call["caller"]]]
    return client.search(PARTNER, domain, ["id"], order="id", limit=1)


def _known(message: Message) -> int | None:
    known = message.known_lead or ""
    return int(known) if known.isdigit() else None


def _create(client: OdooClient, message: Message) -> int:
    templates: dict[str, str] = {"name": TITLE, **(message.config.get("fields") or {})}
    values: dict[str, Any] = {"phone": message.call["caller"], "description": description(message)}
    for name, template in templates.items():
        text = fill(template, message.placeholders)
        values[name] = escape(text).replace("\n", "<br>") if name == "description" else text
    values["name"] = values["name"].strip() or f"Call from {message.call['caller']}"
    values["user_id/.id"] = _manager(client, message) or ""  # empty, not absent: Odoo would take the key's owner
    for field, model in UTM.items():
        if record := _utm(client, model, str((message.call["source"] or {}).get(field.removesuffix("_id")) or "")):
            values[f"{field}/.id"] = record
    return client.load(LEAD, f"{MODULE}.lead_{_external(message.call['sid'])}", values)


def _manager(client: OdooClient, message: Message) -> int | None:
    """The user who is responsible, named by id, login or e-mail; nobody when Odoo has no such user: a lead is worth more."""
    manager = str(message.config.get("manager") or "").strip()
    if not manager:
        return None
    named: list[Any] = ["|", ["login", "=ilike", exactly(manager)], ["email", "=ilike", exactly(manager)]]
    found = client.search(
        "res.users", [["id", "=", int(manager)]] if manager.isdigit() else named, ["id"], order="id", limit=1
    )
    if not found:
        message.remember({"warning": f"Odoo has no user “{manager}”: the lead belongs to nobody"})
    return int(found[0]["id"]) if found else None


def _utm(client: OdooClient, model: str, name: str) -> int | None:
    """The record of a marketing source by its name, in any case; made when it is new."""
    if not name:
        return None
    found = client.search(model, [["name", "=ilike", exactly(name)]], ["id"], order="id", limit=1)
    if found:
        return int(found[0]["id"])
    return client.load(model, f"{MODULE}.{model.replace('.', '_')}_{_digest(name.casefold())}", {"name": name})


def _note(client: OdooClient, model: str, record: int, mark: str, body: str) -> int:
    """Posts a note once: one that carries the mark already is that note."""
    return _found_note(client, model, record, mark) or _post_note(client, model, record, body)


def _found_note(client: OdooClient, model: str, record: int, mark: str) -> int | None:
    wanted = [["model", "=", model], ["res_id", "=", record], ["body", "ilike", exactly(mark)]]
    found = client.search("mail.message", wanted, ["id"], order="id", limit=1)
    return int(found[0]["id"]) if found else None


def _post_note(client: OdooClient, model: str, record: int, body: str) -> int:
    posted = client.call(model, "message_post", ids=[record], body=body, body_is_html=True)
    return int(posted[0] if isinstance(posted, list) else posted)


def _add_changes(client: OdooClient, message: Message) -> dict[str, Any]:
    """A recording that came late, and a corrected end or source (R7), each a note on the lead that is there; never another lead."""
    recording, record = message.call["recording"], _known(message)
    if record is None:
        raise Skipped("the CRM has no lead of this caller")
    notes = {essence(message): correction_note(message)}
    if recording:
        notes[escape(str(recording))] = recording_note(message)
    try:
        missing = [body for mark, body in notes.items() if _found_note(client, LEAD, record, mark) is None]
        posted = [_post_note(client, LEAD, record, body) for body in missing]
    except RecordGone:
        raise Skipped("the lead was deleted in Odoo") from None
    if not posted:
        raise Skipped("nothing that the CRM shows has changed")
    return {"status": 200, "notes": posted}


def _external(sid: str) -> str:
    """External ids hold no dots and no spaces."""
    return sid if sid.isalnum() else _digest(sid)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
