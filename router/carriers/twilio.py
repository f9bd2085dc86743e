"""Twilio, and every carrier that signs and posts as Twilio does (the simulator among them)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Request
from twilio.request_validator import (  # type: ignore[import-untyped]  # twilio ships no types
    RequestValidator,
    add_port,
    compare,
    remove_port,
)
from werkzeug.exceptions import HTTPException

from router.carriers import twilio_form
from router.carriers.base import CallStatus, DialResult, Form, InboundCall, LegEvent, Recording

FORM = ("application/x-www-form-urlencoded", "multipart/form-data")


class Twilio:
    """`tokens` are the account's auth tokens: the present one, and the next one while it is being rotated."""

    def __init__(self, base_url: str, tokens: list[str], name: str = "twilio") -> None:
        self.name = name
        self._base_url = base_url
        self._validators: list[Any] = [RequestValidator(token) for token in tokens if token]

    def verify(self, request: Request) -> bool:
        signature = request.headers.get("X-Twilio-Signature", "")
        if not signature or not self._validators:
            return False
        try:
            url = signed_url(self._base_url, request.environ, request.full_path)
            values = _signed_values(request)
            return any(_is_signed(validator, url, values, signature) for validator in self._validators)
        except (TypeError, ValueError, HTTPException):  # odd ports and types, bodies beyond the limit: not from Twilio
            return False

    def form_of(self, request: Request) -> Form:
        """A GET's values stand in its address alone, a POST's in its body alone.

        Of a repeated name the last value counts: what Twilio says comes behind the values that were configured in an address.
        """
        values = request.args if request.method == "GET" else request.form
        return dict(values.items(multi=True))

    def read_inbound(self, form: Form) -> InboundCall:
        return twilio_form.read_inbound(form)

    def read_leg_event(self, form: Form) -> LegEvent:
        return twilio_form.read_leg_event(form)

    def read_dial_result(self, form: Form) -> DialResult:
        return twilio_form.read_dial_result(form)

    def read_status(self, form: Form) -> CallStatus:
        return twilio_form.read_status(form)

    def read_recording(self, form: Form) -> Recording:
        return twilio_form.read_recording(form)


def signed_url(base_url: str, environ: Mapping[str, Any], full_path: str) -> str:
    """The address as the carrier signed it: our public one from the settings, never from a header, and the path byte for byte."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or full_path.rstrip("?"))
    if not raw.startswith("/"):  # a request target in absolute form
        parts = urlsplit(raw)
        raw = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return base_url + raw


def _is_signed(validator: Any, url: str, values: Any, signature: str) -> bool:
    """A `?` behind which nothing stands may have been signed or not: proxies add it and take it away."""
    bare = url.removesuffix("?")
    if validator.validate(bare, values, signature):
        return True
    asked = [f"{port(urlsplit(bare))}?" for port in (remove_port, add_port)] if "?" not in bare else []
    return any(compare(validator.compute_signature(one, values), signature) for one in asked)


def _signed_values(request: Request) -> Any:
    """The whole form with repeated names and untrimmed values; a GET's values are in its address.

    Raises:
        ValueError: a body that is no form, which this signature would not cover.
    """
    if request.method != "POST":
        return {}
    if request.content_length and request.mimetype not in FORM:
        raise ValueError("the body is not a form")
    return request.form
