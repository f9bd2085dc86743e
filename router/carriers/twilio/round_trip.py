"""The round trip of a signature: this installation asks itself through its public address, signed as the carrier signs, and is told
what the server saw of the request. Nothing else comes of it: no call, no record. Who asks is known by our secret key, whatever became of
the rest."""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Flask, Response, request

from router.carriers import carrier_of, carrier_tokens
from router.carriers.twilio.webhooks import signature_of, signed_url
from router.lib.crypto import KeyRing
from router.server import Server, current_server

if TYPE_CHECKING:
    from router.lib.http_client import Answer, Outgoing

PATH = "/voice/check"
"""No route: a proxy that takes the header away makes no call of it."""
HEADER = "X-Router-Check"
ASKED, TOLD = "round trip", "round trip answer"
MAC_BYTES = 16
FORM = {"Empty": "", "From": "+14155550100", "Words": "a b+c&d=%41 é"}


@dataclass(frozen=True)
class Verdict:
    words: str
    is_accepted: bool = False


def connect_round_trip(app: Flask) -> None:
    app.before_request(_tell_what_was_seen)


def _tell_what_was_seen() -> Response | None:
    """Wherever a proxy led the request to."""
    if HEADER not in request.headers:
        return None
    server = current_server()
    nonce, _, mac = request.headers[HEADER].partition(".")
    if not _is_by_us(server.keys, ASKED, nonce, mac):
        return None
    seen = {
        "accepted": carrier_of(server).verify(request),
        "address": signed_url(server.settings.base_url, request.environ, request.full_path),
        "method": request.method,
        "came_to": f"{request.scheme}://{request.host}",
        "form": _digest(request.form.items(multi=True)),
        "by": _mac(server.keys, TOLD, nonce),
    }
    return Response(json.dumps(seen), mimetype="application/json", headers={"Cache-Control": "no-store"})


def ask_round_trip(server: Server, http: "Outgoing") -> Verdict:
    """
    Raises:
        OutgoingError: no answer came.
    """
    url, nonce = f"{server.settings.base_url}{PATH}?step=1", secrets.token_hex(16)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": signature_of(carrier_tokens(server.settings)[0], url, FORM),
        HEADER: f"{nonce}.{_mac(server.keys, ASKED, nonce)}",
    }
    answer = http.post(url, urlencode(FORM).encode(), headers)
    if 300 <= answer.status < 400:
        return Verdict(
            f"refused: {url} answers {answer.status} and leads elsewhere, where the carrier's POST arrives as a GET: set "
            "ROUTER_PUBLIC_URL to the address that answers by itself"
        )
    seen = _read(answer)
    if not _is_by_us(server.keys, TOLD, nonce, str(seen.get("by") or "")):
        return Verdict(
            f"{url} answers {answer.status}, and not as this installation does: another server is there, it runs with another "
            f"ROUTER_SECRET_KEY or is older, or the proxy drops the header {HEADER}"
        )
    if seen.get("accepted") is True:
        return Verdict(f"a request that was signed for {url} is accepted", True)
    saw = f"refused: signed was POST {url}, the server saw {seen.get('method')} {seen.get('address')}, sent to {seen.get('came_to')}"
    return Verdict(f"{saw}: {_advice(url, seen)}")


def _advice(url: str, seen: dict[str, Any]) -> str:
    if seen.get("address") != url:
        return (
            "let the proxy pass path and query on as they are; start the server anew if it runs with another "
            "ROUTER_PUBLIC_URL than this command"
        )
    if seen.get("method") != "POST" or seen.get("form") != _digest(FORM.items()):
        return "let the proxy pass method and body on as they are"
    return "start the server anew, it runs with another TWILIO_AUTH_TOKEN than this command"


def _digest(values: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(sorted(values)).encode()).hexdigest()


def _mac(keys: KeyRing, purpose: str, nonce: str) -> str:
    return keys.sign(purpose, nonce.encode(), MAC_BYTES).hex()


def _is_by_us(keys: KeyRing, purpose: str, nonce: str, mac: str) -> bool:
    try:
        signed = bytes.fromhex(mac)
    except ValueError:
        return False
    return len(signed) == MAC_BYTES and keys.verify(purpose, nonce.encode("utf-8", "replace"), signed)


def _read(answer: "Answer") -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
