"""Whose deal or contact it is in a HubSpot.

HubSpot's search compares digits of its own reading of phone numbers, without the country code; `match` judges what it finds by the text
that stands there. The search does not know what was made some seconds ago, so the deal that stood for this caller before is read itself,
with its contacts.

https://developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Caller, Found, RecordGone
from router.integrations.crm.matching import FoundContact, FoundLead, Match, match, national_digits
from router.integrations.hubspot.client import HubSpotClient
from router.lib.phones import spellings_of_line

PHONES = ("phone", "mobilephone")
READ_BY_HUBSPOT = ("hs_searchable_calculated_phone_number", "hs_searchable_calculated_mobile_number")
MOST_GROUPS = 5
LAST_DIGITS = 7
MOST_CONTACTS = 10
OF_DEAL = ("hs_is_closed", "hs_is_closed_won", "createdate")


class HubSpotSearch:
    """The look-ups for one caller."""

    def __init__(self, client: HubSpotClient, caller: Caller) -> None:
        self.client = client
        self.caller = caller
        more = str(client.access.config.get("phone_fields") or "").replace(",", " ").split()
        self.phone_fields: tuple[str, ...] = tuple(dict.fromkeys((*PHONES, *more)))

    def parts(self) -> Iterator[Found]:
        """The known deal, its contacts with their deals, then contacts by their phone numbers."""
        contacts: list[FoundContact] = []
        if self.caller.known:
            try:
                known = self.client.object("deals", self.caller.known, OF_DEAL)
                yield Found([found_lead(known)])
                of_known = self.client.associated("deals", [known["id"]], "contacts")
                contacts = [FoundContact(contact) for contact in of_known[str(known["id"])]]
            except RecordGone:
                pass
        if contacts:
            yield Found(self._deals(contacts), contacts)
        known_ids = {contact.id for contact in contacts}
        try:
            found = self._contacts()
        except DeliveryError as error:
            if not error.permanent or self.phone_fields == PHONES:
                raise
            # one of the named properties is there no more: no lead is lost for it
            self.phone_fields = PHONES
            found = self._contacts()
        by_number = [contact for contact in found if contact.id not in known_ids]
        by_number.sort(key=lambda contact: (contact.match, int(contact.id)))
        yield Found(self._deals(by_number[:MOST_CONTACTS]), by_number)

    def _contacts(self) -> list[FoundContact]:
        endings = {f"*{national_digits(line)[-LAST_DIGITS:]}" for line in spellings_of_line(self.caller.e164)}
        groups = [
            [{"propertyName": name, "operator": "CONTAINS_TOKEN", "value": ending}]
            for ending in sorted(endings)
            for name in (*READ_BY_HUBSPOT, *self.phone_fields)
        ]
        found: dict[str, FoundContact] = {}
        for first in range(0, len(groups), MOST_GROUPS):
            part = groups[first : first + MOST_GROUPS]
            for record in self.client.search("contacts", part, [*self.phone_fields, "hs_country_region_code"]):
                how = self._match(record["properties"])
                if how is not None:
                    found[str(record["id"])] = FoundContact(str(record["id"]), how)
        return list(found.values())

    def _match(self, properties: dict[str, Any]) -> Match | None:
        countries = [str(properties.get("hs_country_region_code") or ""), self.caller.country or ""]
        texts = [str(properties[name]) for name in self.phone_fields if properties.get(name)]
        found = [how for text in texts if (how := match(text, self.caller.e164, countries)) is not None]
        return min(found, default=None)

    def _deals(self, contacts: Sequence[FoundContact]) -> list[FoundLead]:
        """Of these contacts, as sure as the surest of them."""
        how: dict[str, Match] = {}
        by_contact = self.client.associated("contacts", [contact.id for contact in contacts], "deals")
        for contact in contacts:
            for deal in by_contact[str(contact.id)]:
                how[deal] = min(how.get(deal, contact.match), contact.match)
        deals = self.client.objects("deals", list(how), OF_DEAL) if how else []
        return [found_lead(deal, how[str(deal["id"])]) for deal in deals]


def found_lead(deal: dict[str, Any], how: Match = Match.KNOWN) -> FoundLead:
    """A lost deal is one that sellers do not see among their open ones."""
    properties = deal["properties"]
    is_closed, is_won = (properties.get(name) == "true" for name in OF_DEAL[:2])
    made = str(properties.get("createdate") or "")
    order = datetime.fromisoformat(made).timestamp() if made else 0.0
    return FoundLead(str(deal["id"]), not is_closed, how, is_hidden=is_closed and not is_won, order=order)
