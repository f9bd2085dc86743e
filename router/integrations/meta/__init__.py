"""Meta: a call counts as an event of the Conversions API
(https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/server-event)."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import Field, field_validator

from router.integrations.base import (
    Address,
    DeliveryError,
    Expired,
    Message,
    Secret,
    Skipped,
    Slot,
    Trial,
    Vendor,
    excerpt,
    may_succeed_later,
    not_delivered,
    trial_of,
)
from router.integrations.conversions import CLICK_ID, ConversionSettings, Text, why_not, worth
from router.lib.http_client import Outgoing, OutgoingError
from router.web.errors import iso

LIFETIME = timedelta(days=7)
KEY_REFUSED = (102, 190, 10, 200)
"""The token has expired, is wrong, or lacks the right."""
LATER = (1, 2, 4, 17, 32, 341, 613)
"""Meta's own trouble, and its limits of use (https://developers.facebook.com/docs/graph-api/guides/error-handling)."""


class MetaSettings(ConversionSettings):
    dataset: Text = Field(
        title="Dataset (pixel) ID", examples=["1234567890123456"], description="Events Manager, Settings."
    )
    access_token: Secret | None = Field(
        None, title="Access token", description="Events Manager, Settings, Conversions API, Generate access token."
    )
    event: Text = Field(
        "Contact", title="Event name", description="A standard event as Contact or Lead, or a name of yours."
    )
    by_number: bool = Field(
        False,
        title="Also by the caller's number",
        description="Sent as its SHA-256 digest, so that Meta finds people without a click too. Switch it on only where callers"
        " agreed to it.",
    )
    test_code: Text = Field(
        "", title="Test code", examples=["TEST12345"], description="Events Manager, Test events. Only for Send a test."
    )
    endpoint: Address = Field(
        "https://graph.facebook.com/v25.0", title="Endpoint", description="Only for another version."
    )

    @field_validator("dataset")
    @classmethod
    def _digits(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{5,25}", value):
            raise ValueError("The id of a dataset (pixel) has only digits: see Events Manager, Settings.")
        return value

    @field_validator("event")
    @classmethod
    def _name(cls, value: str) -> str:
        if not value or len(value) > 50 or not value.isprintable():
            raise ValueError("A name of at most 50 letters, as Contact.")
        return value


class MetaSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        return self.send(message, {"data": [event_of(message)]})

    def send(self, message: Message, body: dict[str, Any]) -> dict[str, Any]:
        config = message.config
        query = urlencode({"access_token": message.secret})
        url = f"{str(config['endpoint']).rstrip('/')}/{config['dataset']}/events?{query}"
        try:
            answer = self.outgoing.post_json(url, body, {}, message.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        said: Any = None
        with suppress(ValueError):
            said = answer.json()
        said = said if isinstance(said, dict) else {}
        text = excerpt(answer, message.secret)
        if answer.status == 200 and said.get("events_received") == 1:
            return {"status": 200, "answer": text, "trace": str(said.get("fbtrace_id") or "")[:100]}
        fault = said.get("error")
        fault = fault if isinstance(fault, dict) else {}
        code = fault.get("code")
        refused = code in KEY_REFUSED
        later = (
            may_succeed_later(answer.status)
            or answer.status == 200
            or code in LATER
            or fault.get("is_transient") is True
        )
        words = str(fault.get("error_user_msg") or fault.get("message") or "")[:300]
        raise DeliveryError(
            f"Meta answered {answer.status}. {words}".strip(),
            permanent=not (later or refused),
            status=answer.status,
            refused_account=refused,
            ambiguous=answer.status >= 500,
            answer=text,
        )


def event_of(message: Message) -> dict[str, Any]:
    """
    Raises:
        Skipped: the call does not count by the settings, or Meta could find nobody by it.
        Expired: it is older than Meta takes.
    """
    call, config = message.call, message.config
    at = datetime.fromisoformat(str(call["started_at"]))
    if message.now > at + LIFETIME:
        raise Expired("too late for Meta: more than 7 days after the call")
    confidence = (call.get("attribution") or {}).get("confidence")
    user, has_click = user_of(message)
    check = config if has_click else dict(config) | {"least_sure": 0}
    if reason := why_not(check, str(call["status"]), call["duration"], bool(call["first_call"]), confidence):
        raise Skipped(reason)
    if not user:
        raise Skipped("no click of Meta is known of the visit")
    event: dict[str, Any] = {
        "event_name": config["event"],
        "event_time": int(at.timestamp()),
        "event_id": message.id,
        "action_source": "phone_call",
        "user_data": user,
    }
    value, currency = worth(config)
    if value:
        event["custom_data"] = {"value": float(value), "currency": currency}
    return event


def user_of(message: Message) -> tuple[dict[str, Any], bool]:
    """By what Meta finds the person, and whether a click is among it. What the number's digest says is sure, whoever the visitor was."""
    call: Mapping[str, Any] = message.call
    user: dict[str, Any] = {}
    confidence = (call.get("attribution") or {}).get("confidence") or 0.0
    click = str((call.get("click_ids") or {}).get("fbclid") or "")
    is_sure = confidence * 100 >= int(message.config.get("least_sure") or 0)
    by_number = bool(message.config.get("by_number") and call.get("caller"))
    if CLICK_ID.fullmatch(click) and (is_sure or not by_number):
        seen = message.visit_last_sign or datetime.fromisoformat(str(call["started_at"]))
        user["fbc"] = f"fb.1.{int(seen.timestamp() * 1000)}.{click}"
    if by_number:
        user["ph"] = [hashlib.sha256(str(call["caller"]).removeprefix("+").encode()).hexdigest()]
    return user, "fbc" in user


def try_out(outgoing: Outgoing, message: Message) -> Trial:
    """Sends an event to the tool for test events, where it counts nothing."""
    code = str(message.config.get("test_code") or "")
    if not code:
        return Trial(
            False,
            "Type the test code of Events Manager, Test events: with it the event is shown there and counts nothing.",
        )
    call = dict(message.call) | {
        "started_at": iso(message.now),
        "status": "answered",
        "duration": 3600,
        "first_call": True,
    }
    call["click_ids"] = {"fbclid": "IwAR0testtesttesttesttest"}
    call["attribution"] = dict(call["attribution"]) | {"confidence": 1.0}
    body = {"data": [event_of(replace(message, call=call))], "test_event_code": code}
    words = "Meta took it. It stands in Events Manager, Test events."
    return trial_of(lambda: MetaSender(outgoing).send(message, body), words)


META_SLOT = Slot(
    name="meta",
    title="Meta",
    heading="Conversions of Meta (Facebook, Instagram)",
    preview="Meta counts an event of the dataset {address}",
)
META = Vendor(
    kind="meta",
    name="Meta",
    events={META_SLOT: ("call.ended",)},
    settings=MetaSettings,
    sealed="access_token",
    address="endpoint",
    account="dataset",
    decides="dataset",
    sender=MetaSender,
    try_out=try_out,
    lifetime=LIFETIME,
    repeated="Meta gets the same event with the same id, by which it knows it for 48 hours.",
)
