"""Webhooks: an address of the customer's own hears of a call when it begins, is answered, ends, is recorded or changes. The messages are
those of Standard Webhooks 1.0: signed, with the same id over all attempts."""

import base64
import json
import secrets
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from router.integrations.base import (
    Address,
    DeliveryError,
    Message,
    Secret,
    Slot,
    Trial,
    Vendor,
    accepted,
    excerpt,
    not_delivered,
    trial_of,
)
from router.integrations.webhook.formats import CHOICES, as_text, document_of, flat, unknown_in
from router.lib.http_client import Outgoing, OutgoingError
from router.lib.portable_json import portable_json
from router.lib.signatures import PREFIX, secret_bytes, sign

GONE = 410
LONGEST_SAID = 400
REPEATED = ("call.updated", "call.recorded")
EVENTS = {
    "call.started": "a call comes in",
    "call.answered": "it is answered",
    "call.ended": "it is over",
    "call.recorded": "its recording can be heard",
    "call.updated": "something about it changes later",
}
"""What an address may choose, as people are told."""
EventName = Literal["call.started", "call.answered", "call.ended", "call.recorded", "call.updated"]
MOST_LINES, LONGEST_LINE = 60, 2000


class WebhookSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        """A POST with the document as JSON, or a GET with its flat members in the query; signed is the body, or the query as it stands."""
        url, document = str(message.config["url"]), document_of(message)
        is_get = message.config.get("method") == "GET"
        if is_get:
            query = urlencode({name: as_text(value) for name, value in flat(document).items()})
            parts = urlsplit(url)
            query = "&".join(filter(None, (parts.query, query)))
            url, body, signed = urlunsplit(parts._replace(query=query)), b"", query.encode()
        else:
            signed = body = portable_json(document)
        sent_at = int(message.now.timestamp())
        headers = sign(message.secret, _id_of(message), sent_at, signed, message.earlier_secret)
        if not is_get:
            headers["Content-Type"] = "application/json"
        try:
            answer = self.outgoing.request("GET" if is_get else "POST", url, body, headers, message.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        said = excerpt(answer, message.secret)
        refusal = f"The receiver answered {answer.status}. {said[:LONGEST_SAID]}".strip()
        if answer.status == GONE:
            raise DeliveryError(refusal, status=answer.status, gone=True, answer=said)
        return accepted(answer, message, refusal, permanent=False)


def _id_of(message: Message) -> str:
    """Of an event that a call may have several times each has an id of its own, so that no receiver takes it for a repeat."""
    return f"{message.id}.{int(message.event_at.timestamp() * 1000)}" if message.event in REPEATED else message.id


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def try_out(outgoing: Outgoing, message: Message) -> Trial:
    """Sends a message that says that it is a test."""
    return trial_of(lambda: WebhookSender(outgoing).deliver(message), "The receiver took it and answered {status}.")


def show(message: Message) -> str:
    """The body, or what a GET has in its address."""
    document = document_of(message)
    if message.config.get("method") == "GET":
        return "\n".join(f"{name}={as_text(value)}" for name, value in flat(document).items())
    return json.dumps(json.loads(portable_json(document)), ensure_ascii=False, indent=2)


class WebhookSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    groups: ClassVar[dict[str, tuple[str, ...]]] = {"How it is told": ("method", "format", "template")}
    """The headings of the form, each with its settings."""

    url: Address = Field(title="Address", examples=["https://example.com/calls"])
    secret: Secret | None = Field(None, title="Secret", description="Empty: one is made and shown once.")
    events: list[EventName] = Field(
        default_factory=list, max_length=len(EVENTS), title="Told when", json_schema_extra={"choices": dict(EVENTS)}
    )
    method: Literal["POST", "GET"] = Field(
        "POST",
        title="Sent as",
        json_schema_extra={"choices": {"POST": "POST, with JSON", "GET": "GET, with everything in the address"}},
    )
    format: Literal["own", "callrail", "roistat", "template"] = Field(
        "own", title="Names of the fields", json_schema_extra={"choices": dict(CHOICES)}
    )
    template: dict[str, str] = Field(
        default_factory=dict,
        max_length=MOST_LINES,
        title="Template",
        validate_default=True,
        description="One field in each line: name = {caller} from {source.campaign}. Names in braces are those of this server's own"
        " format, with a full stop for members of members, and those of a CRM's fields.",
    )

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

    @field_validator("events")
    @classmethod
    def _once(cls, value: list[EventName]) -> list[EventName]:
        return [name for name in EVENTS if name in value]

    @field_validator("template")
    @classmethod
    def _lines(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if not value and info.data.get("format") == "template":
            raise ValueError("Write what the template sends, one field in each line: name = {caller}.")
        for name, text in value.items():
            if not name or len(name) > 100 or not name.isprintable():
                raise ValueError(f"“{name[:60]}” is no name of a field.")
            if (unknown := unknown_in(text)) is not None:
                raise ValueError(f"There is nothing named {{{unknown[:60]}}} (in “{name[:60]}”).")
            if len(text) > LONGEST_LINE:
                raise ValueError(f"“{name[:60]}” is longer than {LONGEST_LINE} characters.")
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
    chosen_events=tuple(EVENTS),
    settings=WebhookSettings,
    sealed="secret",
    make_secret=new_secret,
    sender=WebhookSender,
    try_out=try_out,
    shows=show,
    takes_internal_calls=True,
)
