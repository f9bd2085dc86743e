"""Calls and recordings as Twilio's REST side tells of them, read as its webhooks are
(https://www.twilio.com/docs/voice/api/call-resource, https://www.twilio.com/docs/voice/api/recording)."""

import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from router.carriers.base import BadCarrierRequest, CarrierCall, Recording
from router.carriers.twilio.webhooks import CALL_ENDED, read_inbound, read_moment, read_recording, read_status

AMOUNT = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,10})?")
CURRENCY = re.compile(r"[A-Z]{3}")
MICROS = 1_000_000


def read_carrier_call(record: Mapping[str, Any]) -> CarrierCall | None:
    """A Call resource; None: it is none, or in a state that nobody knows."""
    said = {name: value for name, value in record.items() if isinstance(value, str)}
    form = {
        "CallSid": said.get("sid", ""),
        "AccountSid": said.get("account_sid", ""),
        "From": said.get("from", ""),
        "To": said.get("to", ""),
        "ForwardedFrom": said.get("forwarded_from", ""),
        "CallStatus": said.get("status", ""),
        "CallDuration": said.get("duration", ""),
    }
    try:
        call, told = read_inbound(form), read_status(form)
    except BadCarrierRequest:
        return None
    moments = [read_moment(said.get(name, "")) for name in ("end_time", "date_updated", "start_time")]
    ended_at = next(filter(None, moments), None)
    parent_sid = said.get("parent_call_sid", "")
    amount, currency = said.get("price", ""), said.get("price_unit", "").upper()
    is_priced = AMOUNT.fullmatch(amount) and CURRENCY.fullmatch(currency)
    return CarrierCall(
        sid=call.sid,
        parent_sid=parent_sid,
        caller=call.caller.raw,
        to=call.to,
        forwarded_from=form["ForwardedFrom"],
        status=told.status,
        started_at=moments[-1],
        ended_at=ended_at if told.status in CALL_ENDED else None,
        seconds=told.seconds,
        price_micros=round(-Decimal(amount) * MICROS) if is_priced else None,  # what it takes is a negative amount
        currency=currency if is_priced else "",
        inbound=call if said.get("direction") == "inbound" and not parent_sid else None,
    )


def read_kept_recording(record: Mapping[str, Any], media: str) -> Recording | None:
    """A Recording resource, with the address that webhooks tell of it; None: it is none.

    Args:
        media: where the files of recordings lie, whichever host the resource names.
    """
    said = {name: value for name, value in record.items() if isinstance(value, str)}
    path = said.get("uri", "").removesuffix(".json")
    with suppress(ValueError):  # it is no address
        path = urlsplit(said.get("media_url", "")).path or path
    form = {
        "CallSid": said.get("call_sid", ""),
        "RecordingSid": said.get("sid", ""),
        "RecordingUrl": at_host(media, path) if path.startswith("/") else "",
        "RecordingStatus": said.get("status", ""),
        "RecordingDuration": said.get("duration", ""),
        "RecordingChannels": str(record.get("channels") or ""),
        "RecordingSource": said.get("source", ""),
    }
    try:
        return read_recording(form)
    except BadCarrierRequest:
        return None


def at_host(host: str, path: str) -> str:
    """The address of a path that a document of the host's names. Engines tell their own root (`/api/laml/2010-04-01/…`) in it, and have it
    in the address of the host too."""
    root = urlsplit(host).path
    return host.removesuffix(root) + path if root and path.startswith(f"{root}/") else host + path
