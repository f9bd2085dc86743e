"""Whose lead, contact or opportunity it is in a Salesforce.

SOQL finds phone fields that hold the number in a usual form, and knows at once what was made; SOSL knows numbers in any form, but lags.
`match` judges what both find. A converted lead stands for its opportunity, else for its contact.

https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_sosl_in.htm"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from router.integrations.crm.connector import Caller, FieldsRefused, Found
from router.integrations.crm.matching import FoundContact, FoundLead, Match, match, national_digits
from router.integrations.salesforce.client import SalesforceClient, quoted, sobject_of
from router.lib.phones import national, spellings_of_line

PHONES = {"Lead": ("Phone", "MobilePhone"), "Contact": ("Phone", "MobilePhone", "HomePhone", "OtherPhone")}
OF_LEAD = ("Id", "Status", "IsConverted", "ConvertedContactId", "ConvertedOpportunityId", "CreatedDate")
OF_OPPORTUNITY = ("Id", "IsClosed", "IsWon", "CreatedDate")
MOST = 50


class SalesforceSearch:
    """The look-ups for one caller."""

    def __init__(self, client: SalesforceClient, caller: Caller) -> None:
        self.client = client
        self.caller = caller
        config = client.access.config
        more = tuple(str(config.get("phone_fields") or "").replace(",", " ").split())
        self.phones = {"Lead": (*PHONES["Lead"], *more), "Contact": PHONES["Contact"]}
        self.lost = {name.strip().casefold() for name in str(config.get("lost") or "").split(",")}

    def parts(self) -> Iterator[Found]:
        usual = sorted({form for line in spellings_of_line(self.caller.e164) for form in forms(line)})
        try:
            leads = self._leads(f"({self._any('Lead', usual)}{self._known()})", Match.KNOWN)
        except FieldsRefused as refused:
            there = tuple(name for name in self.phones["Lead"] if name not in refused.fields or name in PHONES["Lead"])
            if there == self.phones["Lead"]:
                raise
            # one of the named fields is there no more: no lead is lost for it
            self.phones["Lead"] = there
            yield from self.parts()
            return
        known = self.caller.known or ""
        if sobject_of(known) == "Opportunity":
            leads[0].extend(self._opportunities(f"Id = {quoted(known)}", Match.KNOWN))
        yield Found(*leads)
        contacts = [*leads[1], *self._contacts(self._any("Contact", usual))]
        yield Found(self._of_contacts(contacts), contacts)
        terms = {digits for line in spellings_of_line(self.caller.e164) for digits in (line[1:], national_digits(line))}
        terms |= {f"0{national_digits(self.caller.e164)}"}
        returning = ", ".join(
            f"{name}({', '.join(dict.fromkeys(('Id', *self.phones[name])))} LIMIT {MOST})" for name in self.phones
        )
        found = self.client.search(f"FIND {{{' OR '.join(sorted(terms))}}} IN PHONE FIELDS RETURNING {returning}")
        yield from self._judged(found)

    def _judged(self, found: Sequence[dict[str, Any]]) -> Iterator[Found]:
        how = {str(record["Id"]): certain for record in found if (certain := self._match(record)) is not None}
        of_leads = [record for record in how if sobject_of(record) == "Lead"]
        contacts = [FoundContact(record, how[record]) for record in how if sobject_of(record) == "Contact"]
        leads: list[FoundLead] = []
        for certain in sorted({how[record] for record in of_leads}):
            ids = ", ".join(quoted(record) for record in of_leads if how[record] == certain)
            more, of_converted = self._leads(f"Id IN ({ids})", certain)
            leads += more
            contacts += of_converted
        yield Found([*leads, *self._of_contacts(contacts)], contacts)

    def _any(self, sobject: str, usual: Sequence[str]) -> str:
        values = ", ".join(quoted(form) for form in usual)
        return " OR ".join(f"{name} IN ({values})" for name in self.phones[sobject])

    def _known(self) -> str:
        known = self.caller.known or ""
        return f" OR Id = {quoted(known)}" if known.startswith("00Q") else ""

    def _leads(self, where: str, how: Match) -> tuple[list[FoundLead], list[FoundContact]]:
        """Leads, the opportunities of converted ones, and the contacts of converted ones without."""
        leads, contacts, opportunities = [], [], []
        for lead in self.client.select("Lead", OF_LEAD, where, "CreatedDate DESC", MOST):
            if not lead["IsConverted"]:
                is_lost = str(lead["Status"]).casefold() in self.lost
                order = moment(lead["CreatedDate"])
                leads.append(FoundLead(str(lead["Id"]), not is_lost, how, is_hidden=is_lost, order=order))
            elif lead["ConvertedOpportunityId"]:
                opportunities.append(quoted(str(lead["ConvertedOpportunityId"])))
            elif lead["ConvertedContactId"]:
                contacts.append(FoundContact(str(lead["ConvertedContactId"]), how))
        if opportunities:
            leads += self._opportunities(f"Id IN ({', '.join(opportunities)})", how)
        return leads, contacts

    def _opportunities(self, where: str, how: Match) -> list[FoundLead]:
        found = self.client.select("Opportunity", OF_OPPORTUNITY, where, limit=MOST)
        return [found_opportunity(one, how) for one in found]

    def _contacts(self, where: str) -> list[FoundContact]:
        found = self.client.select("Contact", ["Id"], where, "CreatedDate", MOST)
        return [FoundContact(str(one["Id"])) for one in found]

    def _of_contacts(self, contacts: Sequence[FoundContact]) -> list[FoundLead]:
        if not contacts:
            return []
        ids = ", ".join(quoted(str(contact.id)) for contact in contacts[:MOST])
        fields = ["ContactId", *(f"Opportunity.{name}" for name in OF_OPPORTUNITY)]
        roles = self.client.select("OpportunityContactRole", fields, f"ContactId IN ({ids})", limit=MOST)
        how = {str(contact.id): contact.match for contact in contacts}
        return [found_opportunity(role["Opportunity"], how.get(str(role["ContactId"]), Match.KNOWN)) for role in roles]

    def _match(self, record: dict[str, Any]) -> Match | None:
        names = self.phones[sobject_of(record["Id"])]
        texts = [str(record[name]) for name in names if record.get(name)]
        homes = [self.caller.country or ""]
        found = [how for text in texts if (how := match(text, self.caller.e164, homes)) is not None]
        return min(found, default=None)


def forms(e164: str) -> set[str]:
    """The usual ways to write a number alone, all of them unmistakable."""
    return {e164, e164[1:], f"00{e164[1:]}"} | ({national(e164)} if e164.startswith("+1") else set())


def found_opportunity(one: dict[str, Any], how: Match) -> FoundLead:
    is_lost = bool(one["IsClosed"]) and not one["IsWon"]
    return FoundLead(str(one["Id"]), not one["IsClosed"], how, is_hidden=is_lost, order=moment(one["CreatedDate"]))


def moment(text: Any) -> float:
    return datetime.fromisoformat(str(text)).timestamp() if text else 0.0
