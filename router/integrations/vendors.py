"""The vendors that can be told about calls: a line for each, whose declaration stands in the vendor's folder."""

from router.integrations.base import Slot, Vendor
from router.integrations.bitrix24 import BITRIX24
from router.integrations.conversions import GOOGLE_ADS, MICROSOFT_ADS
from router.integrations.ga4 import GA4
from router.integrations.hubspot import HUBSPOT
from router.integrations.kommo import KOMMO
from router.integrations.matomo import MATOMO
from router.integrations.meta import META
from router.integrations.metrica import METRICA
from router.integrations.missed import MISSED_MAIL
from router.integrations.odoo import ODOO
from router.integrations.pipedrive import PIPEDRIVE
from router.integrations.salesforce import SALESFORCE
from router.integrations.slack import SLACK
from router.integrations.telegram import TELEGRAM
from router.integrations.tryton import TRYTON
from router.integrations.webhook import WEBHOOK

VENDORS: dict[str, Vendor] = {
    WEBHOOK.kind: WEBHOOK,
    GA4.kind: GA4,
    MATOMO.kind: MATOMO,
    METRICA.kind: METRICA,
    GOOGLE_ADS.kind: GOOGLE_ADS,
    MICROSOFT_ADS.kind: MICROSOFT_ADS,
    META.kind: META,
    ODOO.kind: ODOO,
    PIPEDRIVE.kind: PIPEDRIVE,
    BITRIX24.kind: BITRIX24,
    KOMMO.kind: KOMMO,
    HUBSPOT.kind: HUBSPOT,
    SALESFORCE.kind: SALESFORCE,
    TRYTON.kind: TRYTON,
    MISSED_MAIL.kind: MISSED_MAIL,
    TELEGRAM.kind: TELEGRAM,
    SLACK.kind: SLACK,
}
"""By kind, in the order of the wizard."""


def slots() -> dict[str, Slot]:
    """By name, in the order of the wizard."""
    return {slot.name: slot for vendor in VENDORS.values() for slot in vendor.events}


def vendors_in(slot: Slot) -> dict[str, Vendor]:
    """The vendors that can fill a slot, by kind."""
    return {kind: vendor for kind, vendor in VENDORS.items() if slot in vendor.events}


def receivers_of(event: str) -> tuple[tuple[Slot, Vendor], ...]:
    """Who may get an event of a call, in which slot."""
    return tuple(
        (slot, vendor)
        for vendor in VENDORS.values()
        for slot, events in vendor.events.items()
        if event in events or event in vendor.chosen_events
    )


def vendor_name(kind: str) -> str:
    return VENDORS[kind].name if kind in VENDORS else kind


def receiver_name(receiver: str) -> str:
    """The one name by which pages call a receiver: `Odoo, crm.example.com/main` of `odoo:3:crm.example.com/main`."""
    kind, _, place = receiver.partition(":")
    return f"{vendor_name(kind)}, {place.partition(':')[2]}" if place else receiver
