"""The registry from kind to sender. A new CRM is one module in `crm/` and one line here."""

from collections.abc import Callable, Mapping

from router.integrations.base import Sender
from router.integrations.ga4 import Ga4Sender
from router.integrations.odoo.sender import OdooSender
from router.integrations.webhook import WebhookSender
from router.lib.http_client import Outgoing

SENDERS: Mapping[str, Callable[[Outgoing], Sender]] = {
    "webhook": WebhookSender,
    "ga4": Ga4Sender,
    "odoo": OdooSender,
}


def make_senders(outgoing: Outgoing) -> dict[str, Sender]:
    return {kind: make(outgoing) for kind, make in SENDERS.items()}
