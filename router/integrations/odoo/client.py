"""Odoo's own protocol, JSON-2 (Odoo 19 and later): one request, and what its answers mean. And what an Odoo has: the user who is
responsible for a lead; and of a caller leads, deals and contacts, by Odoo's own reading of their phone field and by what people typed
there.

Odoo 19 reads a field as one number (`phone_sanitized`): two numbers, a name behind it or a missing country make it nothing, or another
number. So a second search goes by the digits alone, whatever stands between them, and `match` judges what it finds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from router.integrations.base import DeliveryError, Message, excerpt, may_succeed_later, not_delivered, retry_after
from router.integrations.crm import FoundLead, Match, digit_rows, lead_to_add_to, match
from router.lib.formats import parse_int
from router.lib.http_client import Outgoing, OutgoingError
from router.lib.phones import spellings_of_line

REFUSED_ACCOUNT = ("odoo.exceptions.AccessDenied", "werkzeug.exceptions.NotFound")
"""Errors about the key, or about a model or method that this Odoo does not have: whatever lead is sent, they come again."""
REFUSED_MODEL = re.compile(r".*\([a-z0-9_]+(\.[a-z0-9_]+)*\)")
"""The first line of an AccessError about a model or a field of it, in every language: `… 'Lead' (crm.lead) records.` One about a record
names the model further down."""
PERMANENT_NAMES = ("builtins.", "odoo.exceptions.UserError", "odoo.exceptions.ValidationError")
"""Errors of status 500 that come back with the same message however often it is sent."""
PASSING = (
    *("could not serialize", "deadlock detected", "could not obtain lock", "duplicate key value"),
    "The name must be unique",
)
"""What `load` says when somebody else was writing at the same moment."""
INVALID_FIELD = re.compile(r"Invalid field name '(\w+)[/']")

LEAD, PARTNER = "crm.lead", "res.partner"
MOST_LEADS = 50
PAGE, MOST_PAGES = 40, 5
"""Candidates of a search by digits; a page of them fits into an answer that `Outgoing` reads."""
LONGEST_TEXT = 100
TOO_LONG = ["phone", "=like", "_" * (LONGEST_TEXT + 1) + "%"]
WITH_ARCHIVED = {"active_test": False}
"""Lost leads are archived ones."""
MOST_NAMESAKES = 20


class RecordGone(DeliveryError):
    """The record was deleted in Odoo."""


class FieldsRefused(DeliveryError):
    """`load` made no record because of some of its fields. `fields`: their names, each with Odoo's words."""

    def __init__(self, message: str, fields: dict[str, str], status: int | None) -> None:
        super().__init__(message, permanent=True, status=status)
        self.fields = fields


class OdooClient:
    """One database of one Odoo, for one delivery."""

    def __init__(self, outgoing: Outgoing, message: Message) -> None:
        self.outgoing = outgoing
        self.message = message
        self.url = message.config["url"].rstrip("/")
        self.headers = {"Authorization": f"bearer {message.secret}", "X-Odoo-Database": message.config["database"]}

    def search(self, model: str, domain: list[Any], fields: list[str], **more: Any) -> list[dict[str, Any]]:
        records = self.call(model, "search_read", domain=domain, fields=fields, **more)
        if not isinstance(records, list):
            raise DeliveryError("Odoo's answer has an unexpected form.", permanent=True)
        return records

    def load(self, model: str, external_id: str, values: dict[str, Any]) -> int:
        """Makes the record with this external id, or changes it when it is there: repeating is harmless.

        Raises:
            FieldsRefused: Odoo names the fields that it does not take; there is no record now.
            DeliveryError: anything else.
        """
        try:
            answer = self.call(model, "load", fields=["id", *values], data=[[external_id, *values.values()]])
        except DeliveryError as error:
            if error.permanent and (name := INVALID_FIELD.search(str(error))):
                raise FieldsRefused(str(error), {name.group(1): "there is no such field"}, error.status) from None
            raise
        ids = answer.get("ids") if isinstance(answer, dict) else None
        if isinstance(ids, list) and ids:
            return int(ids[0])
        messages = answer.get("messages", []) if isinstance(answer, dict) else []
        refusals = [
            (str(message.get("field") or ""), " ".join(str(message.get("message", "")).split())) for message in messages
        ]
        text = f"Odoo refused the record: {' '.join(words for _, words in refusals)[:400]}"
        if any(sign in text for sign in PASSING):
            raise DeliveryError(text, status=200)
        if refusals and all(name for name, _ in refusals):
            raise FieldsRefused(text, dict(refusals), 200)
        raise DeliveryError(text, permanent=True, status=200)

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        """
        Raises:
            DeliveryError: with Odoo's own words.
        """
        address = f"{self.url}/json/2/{model}/{method}"
        try:
            answer = self.outgoing.post_json(address, arguments, self.headers, self.message.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        try:
            body, is_readable = answer.json(), True
        except ValueError:
            body, is_readable = None, False
        if answer.status == 200 and is_readable:
            return body
        if answer.status == 200:
            raise DeliveryError("Odoo's answer could not be read.", status=200)
        # without a name it is not Odoo that speaks but something before it, which may have taken offence at this one lead
        name = str(body.get("name") or "") if is_readable and isinstance(body, dict) else ""
        secret = self.message.secret
        words = str(body.get("message", "")).replace(secret, "[secret]") if name else excerpt(answer, secret)
        text = f"Odoo answered {answer.status}: {' '.join(words.split())[:400]}"
        if name == "odoo.exceptions.MissingError":
            raise RecordGone(text, status=answer.status)
        is_model_refused = name == "odoo.exceptions.AccessError" and REFUSED_MODEL.match(words)
        if answer.status == 401 or name in REFUSED_ACCOUNT or is_model_refused:
            raise DeliveryError(text, status=answer.status, refused_account=True)
        is_final = bool(name) and answer.status != 403 and not may_succeed_later(answer.status)
        permanent = is_final or name.startswith(PERMANENT_NAMES)
        wait = retry_after(answer.headers, self.message.now)
        raise DeliveryError(text, permanent, wait, status=answer.status)


def exactly(text: str) -> str:
    """A value for `=ilike` that matches itself alone, in any case."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@dataclass(frozen=True)
class OdooUser:
    """Whom a lead may belong to. `named`: the user's login or e-mail as the settings have it."""

    id: int
    name: str
    named: str


@dataclass(frozen=True)
class Found:
    """The record that a call is added to."""

    model: str
    id: int
    match: Match


class OdooSearch:
    """The look-ups of one delivery."""

    def __init__(self, client: OdooClient, message: Message) -> None:
        self.client = client
        self.caller = str(message.call["caller"])
        self.known = parse_int(message.known_lead or "")
        """The lead that stands for this caller, from an earlier call."""
        self.message = message
        self.only_new_customers = bool(message.config.get("only_new_customers", True))
        self.not_while_open = bool(message.config.get("not_while_open", True))
        self._companies: dict[int, str] | None = None

    def record_to_add_to(self) -> Found | None:
        """None when R10 asks for a new lead.

        In this order: leads by Odoo's reading of their number or their contact's; contacts by Odoo's reading, else by their text; leads
        by their text or with one of these contacts. Nobody is searched for when nothing found could be added to, and not by text when
        an open lead was found before.
        """
        if not self.only_new_customers and not self.not_while_open:
            return None
        numbers = list(spellings_of_line(self.caller))
        # leads and deals, lost and won ones too, newest first; and the known lead, whatever its number is now
        terms: list[Any] = [["phone_sanitized", "in", numbers], ["partner_id.phone_sanitized", "in", numbers]]
        if self.known is not None:
            terms.append(["id", "=", self.known])
        fields = ["id", "active", "won_status"]
        by_number = self.client.search(
            LEAD, _any_of(terms), fields, order="id desc", limit=MOST_LEADS, context=WITH_ARCHIVED
        )
        leads = [FoundLead(lead["id"], _is_open(lead)) for lead in by_number]
        choice = self._choose(leads, is_customer=False)
        if isinstance(choice, FoundLead) and (choice.is_open or not self.not_while_open):
            return Found(LEAD, choice.id, choice.match)
        # not the archived contacts, whose notes nobody reads; the oldest first, so that all notes of a caller stand on one contact
        domain = [["phone_sanitized", "in", numbers]]
        by_number = self.client.search(PARTNER, domain, ["id"], order="id", limit=MOST_LEADS)
        contacts = [Found(PARTNER, contact["id"], Match.KNOWN) for contact in by_number]
        if not contacts:
            by_text = self._pages(PARTNER, [], ["phone", "country_code", "company_id"], order="id")
            contacts = [
                Found(PARTNER, contact["id"], how)
                for contact in by_text
                if (how := self._match(contact, contact["country_code"]))
            ]
            contacts.sort(key=lambda contact: (contact.match, contact.id))
        seen = {lead.id for lead in leads}
        leads += [lead for lead in self._leads_by_text(contacts) if lead.id not in seen]
        choice = self._choose(sorted(leads, key=lambda lead: -lead.id), is_customer=bool(contacts))
        if isinstance(choice, FoundLead):
            return Found(LEAD, choice.id, choice.match)
        return contacts[0] if choice == "customer" else None

    def _choose(self, leads: list[FoundLead], is_customer: bool) -> FoundLead | str:
        return lead_to_add_to(leads, self.known, is_customer, self.only_new_customers, self.not_while_open)

    def _leads_by_text(self, contacts: list[Found]) -> list[FoundLead]:
        """Also the leads of those of these contacts that were found by their text."""
        by_contact = {contact.id: contact.match for contact in contacts if contact.match != Match.KNOWN}
        terms = [["partner_id", "in", list(by_contact)]] if by_contact else []
        fields = ["phone", "country_id", "company_id", "partner_id", "active", "won_status"]
        candidates = list(self._pages(LEAD, terms, fields, order="id desc", context=WITH_ARCHIVED))
        countries = sorted({lead["country_id"][0] for lead in candidates if lead["country_id"]})
        named = self._readable("res.country", [["id", "in", countries]], ["code"]) if countries else []
        codes = {country["id"]: str(country["code"]) for country in named}
        leads = []
        for lead in candidates:
            country = codes.get(lead["country_id"][0]) if lead["country_id"] else None
            of_contact = by_contact.get(lead["partner_id"][0]) if lead["partner_id"] else None
            if (how := of_contact or self._match(lead, country)) is not None:
                leads.append(FoundLead(lead["id"], _is_open(lead), how))
        return leads

    def _pages(self, model: str, terms: list[Any], fields: list[str], **more: Any) -> Iterator[dict[str, Any]]:
        """The records whose text has the caller's digits in this order, and those of `terms`; at most PAGE * MOST_PAGES."""
        by_digits = [["phone", "=like", f"%{'%'.join(row)}%"] for row in digit_rows(self.caller)]
        domain = _any_of([*terms, ("&", "!", TOO_LONG, *_any_of(by_digits))])
        for page in range(MOST_PAGES):
            records = self.client.search(model, domain, fields, limit=PAGE, offset=page * PAGE, **more)
            yield from records
            if len(records) < PAGE:
                return

    def _match(self, record: dict[str, Any], country: Any) -> Match | None:
        if self._companies is None:
            readable = self._readable("res.company", [], ["country_code"])
            self._companies = {company["id"]: str(company["country_code"] or "") for company in readable}
        companies = self._companies
        company = record["company_id"][0] if record["company_id"] else None
        of_company = [companies[company]] if company in companies else list(companies.values())
        return match(
            str(record["phone"] or ""), self.caller, [str(country or ""), *of_company, self.message.country or ""]
        )

    def _readable(self, model: str, domain: list[Any], fields: list[str]) -> list[dict[str, Any]]:
        """Records that help to read a number; none when this key may not see them."""
        try:
            return self.client.search(model, domain, fields, order="id")
        except DeliveryError as error:
            if error.status == 403:
                return []
            raise

    def responsible_user(self) -> tuple[OdooUser | None, list[tuple[str, str]]]:
        """The first of the managers whom Odoo has, by id, login or e-mail; and those it does not have, each with the reason."""
        missing: list[tuple[str, str]] = []
        for name in dict.fromkeys(filter(None, (manager.strip() for manager in self.message.managers))):
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
                    return OdooUser(int(user["id"]), str(user["name"]), name), missing
            if not users:
                why = f"Odoo has no user “{name}”"
            elif not any(user["active"] for user in users):
                why = f"“{name}” is archived in Odoo"
            else:
                why = f"“{name}” is no internal user of Odoo any more"
            missing.append((name, why))
        return None, missing


def _is_open(lead: dict[str, Any]) -> bool:
    return bool(lead["active"]) and lead["won_status"] == "pending"


def _any_of(terms: list[Any]) -> list[Any]:
    """A domain of these terms joined by *or*; a tuple is a term of several parts."""
    parts = [part for term in terms for part in (term if isinstance(term, tuple) else (term,))]
    return ["|"] * (len(terms) - 1) + parts
