"""Webhooks: an address of the customer's own hears of a call at its start, at its end, or both. The messages are those of
Standard Webhooks 1.0: signed, with the same id over all attempts."""

import base64
import secrets
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from router.integrations.base import Address, Message, Secret, Slot, Vendor, accepted, excerpt, not_delivered
from router.lib.http_client import Outgoing, OutgoingError
from router.lib.portable_json import portable_json
from router.lib.signatures import PREFIX, secret_bytes, sign
from router.web.errors import iso

GONE = 410


class WebhookSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        event = {"type": message.event, "timestamp": iso(message.event_at), "data": message.call}
        body = portable_json(event)
        headers = sign(message.secret, message.id, int(message.now.timestamp()), body)
        headers["Content-Type"] = "application/json"
        try:
            answer = self.outgoing.post(str(message.config["url"]), body, headers, message.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        refusal = f"The receiver answered {answer.status}. {excerpt(answer, message.secret)}".strip()
        return accepted(answer, message, refusal, permanent=answer.status == GONE)


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class WebhookSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    url: Address = Field(title="Address", examples=["https://example.com/calls"])
    secret: Secret | None = Field(None, title="Secret", description="Empty: one is made and shown once.")

    @field_validator("secret")
    @classmethod
    def _strong(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                secret_bytes(value)
            except ValueError as error:
                raise ValueError(
                    f"The secret {error}. Leave it out and one is made: whsec_ and the base64 of 24 to 64 bytes."
                ) from None
        return value


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
