"""Webhooks: an address of the customer's own hears of a call at its start, at its end, or both."""

from router.integrations.base import Slot, Vendor
from router.integrations.webhook.sender import WebhookSender, new_secret
from router.integrations.webhook.settings import WebhookSettings

START = Slot(
    name="webhook_start",
    title="Webhook at the start",
    heading="Webhook at the start of a call",
    help="Gets a signed message (Standard Webhooks) as soon as a call comes in.",
    preview="It comes in: {address} gets a signed message",
)
END = Slot(
    name="webhook_end",
    title="Webhook at the end",
    heading="Webhook at the end of a call",
    help="Gets a signed message (Standard Webhooks) when a call is over.",
    preview="It ends: {address} gets a signed message",
)
WEBHOOK = Vendor(
    kind="webhook",
    name="Webhook",
    events={START: ("call.started",), END: ("call.ended",)},
    settings=WebhookSettings,
    sealed="secret",
    make_secret=new_secret,
    sender=WebhookSender,
    takes_internal_calls=True,
)
