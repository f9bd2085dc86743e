"""Whose lead or contact it is in an Odoo: by Odoo's own reading of phone fields and by what people typed there.

Odoo 19 reads a field as one number (`phone_sanitized`): two numbers, a name behind it or a missing country make it nothing, or another
number. So a second search goes by the digits alone, whatever stands between them, and `match` judges what it finds."""

import re
from collections.abc import Iterator
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Caller, Found
from router.integrations.crm.matching import FoundContact, FoundLead, Match, digit_rows, match
from router.integrations.odoo.client import LEAD, PARTNER, WITH_ARCHIVED, OdooClient
from router.lib.formats import parse_int
from router.lib.phones import spellings_of_line

MOST_LEADS = 50
PAGE, MOST_PAGES = 40, 5
"""Candidates of a search by digits; a page of them fits into an answer that `Outgoing` reads."""
LONGEST_TEXT = 100


class OdooSearch:
    """The look-ups for one caller."""

    def __init__(self, client: OdooClient, caller: Caller) -> None:
        self.client = client
        self.caller = caller
        more = str(client.access.config.get("phone_fields") or "").replace(",", " ").split()
        self.phone_fields = list(dict.fromkeys(("phone", *more)))
        self._companies: dict[int, str] | None = None

    def parts(self) -> Iterator[Found]:
        """Leads by Odoo's reading, contacts, then leads by their text."""
        numbers = list(spellings_of_line(self.caller.e164))
        # leads and deals, lost and won ones too, newest first; and the known lead, whatever its number is now
        terms: list[Any] = [["phone_sanitized", "in", numbers], ["partner_id.phone_sanitized", "in", numbers]]
        if (known := parse_int(self.caller.known or "")) is not None:
            terms.append(["id", "=", known])
        fields = ["id", "active", "won_status"]
        by_number = self.client.search(
            LEAD, _any_of(terms), fields, order="id desc", limit=MOST_LEADS, context=WITH_ARCHIVED
        )
        yield Found([_lead(record, Match.KNOWN) for record in by_number])
        # not the archived contacts, whose notes nobody reads; the oldest first, so that all notes of a caller stand on one contact
        domain = [["phone_sanitized", "in", numbers]]
        by_number = self.client.search(PARTNER, domain, ["id"], order="id", limit=MOST_LEADS)
        contacts = [FoundContact(record["id"]) for record in by_number]
        if not contacts:
            contacts = [
                FoundContact(record["id"], how)
                for record in self._pages(PARTNER, [], ["country_code", "company_id"], order="id")
                if (how := self._match(record, record["country_code"]))
            ]
            contacts.sort(key=lambda contact: (contact.match, contact.id))
        yield Found(self._leads_by_text(contacts), contacts)

    def _leads_by_text(self, contacts: list[FoundContact]) -> list[FoundLead]:
        """Also the leads of those of these contacts that were found by their text."""
        by_contact = {contact.id: contact.match for contact in contacts if contact.match != Match.KNOWN}
        terms = [["partner_id", "in", list(by_contact)]] if by_contact else []
        fields = ["country_id", "company_id", "partner_id", "active", "won_status"]
        candidates = list(self._pages(LEAD, terms, fields, order="id desc", context=WITH_ARCHIVED))
        countries = sorted({lead["country_id"][0] for lead in candidates if lead["country_id"]})
        named = self._readable("res.country", [["id", "in", countries]], ["code"]) if countries else []
        codes = {country["id"]: str(country["code"]) for country in named}
        leads = []
        for lead in candidates:
            country = codes.get(lead["country_id"][0]) if lead["country_id"] else None
            of_contact = by_contact.get(lead["partner_id"][0]) if lead["partner_id"] else None
            if (how := of_contact or self._match(lead, country)) is not None:
                leads.append(_lead(lead, how))
        return leads

    def _pages(self, model: str, terms: list[Any], fields: list[str], **more: Any) -> Iterator[dict[str, Any]]:
        """The records whose text has the caller's digits in this order, and those of `terms`; at most PAGE * MOST_PAGES."""
        by_digits = [
            ("&", "!", [name, "=like", "_" * (LONGEST_TEXT + 1) + "%"], *_any_of(rows))
            for name in self.phone_fields
            if (rows := [[name, "=like", f"%{'%'.join(row)}%"] for row in digit_rows(self.caller.e164)])
        ]
        domain = _any_of([*terms, *by_digits])
        for page in range(MOST_PAGES):
            try:
                records = self.client.search(
                    model, domain, [*self.phone_fields, *fields], limit=PAGE, offset=page * PAGE, **more
                )
            except DeliveryError as error:
                absent = [name for name in self.phone_fields[1:] if re.search(rf"\b{name}\b", str(error))]
                if absent and error.permanent and "nvalid field" in str(error):
                    # one of the named fields is there no more, or only on contacts or leads: no lead is lost for it
                    whole = self.phone_fields
                    self.phone_fields = [name for name in whole if name not in absent]
                    yield from self._pages(model, terms, fields, **more)
                    self.phone_fields = whole
                    return
                raise
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
        countries = [str(country or ""), *of_company, self.caller.country or ""]
        texts = [str(record[name]) for name in self.phone_fields if record.get(name)]
        found = [how for text in texts if (how := match(text, self.caller.e164, countries)) is not None]
        return min(found, default=None)

    def _readable(self, model: str, domain: list[Any], fields: list[str]) -> list[dict[str, Any]]:
        """Records that help to read a number; none when this key may not see them."""
        try:
            return self.client.search(model, domain, fields, order="id")
        except DeliveryError as error:
            if error.status == 403:
                return []
            raise


def _lead(record: dict[str, Any], how: Match) -> FoundLead:
    is_active = bool(record["active"])
    is_open = is_active and record["won_status"] == "pending"
    return FoundLead(record["id"], is_open, how, is_hidden=not is_active, order=record["id"])


def _any_of(terms: list[Any]) -> list[Any]:
    """A domain of these terms joined by *or*; a tuple is a term of several parts."""
    parts = [part for term in terms for part in (term if isinstance(term, tuple) else (term,))]
    return ["|"] * (len(terms) - 1) + parts
