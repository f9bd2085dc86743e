"""Refusals as application/problem+json, with a sentence for each field, JSON bodies with a limit, and the addresses of clients."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import structlog
from flask import Request, Response
from werkzeug.routing import IntegerConverter, Map

from router.config import Networks
from router.lib.formats import GREATEST_ID

BODY_LIMIT = 64 * 1024
log = structlog.get_logger(__name__)


def iso(moment: datetime) -> str:
    """`2026-11-23T12:00:00.000Z`"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class IdConverter(IntegerConverter):
    """`<int:...>` in our addresses: an id that a database can look for; any other number is no address."""

    regex = r"\d{1,19}"

    def __init__(self, url_map: Map, fixed_digits: int = 0, min: int | None = None, max: int = GREATEST_ID) -> None:
        super().__init__(url_map, fixed_digits, min, max)


class Problem(Exception):
    """A refusal that the client can read: a sentence that says what to do and, for 422, the field."""

    def __init__(self, status: int, detail: str, field: str | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.more = more

    def response(self) -> Response:
        body = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Refused"),
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        return Response(json.dumps(body | self.more), self.status, mimetype="application/problem+json")


class Refused(Problem):
    """Nothing was stored. `errors` maps a dotted field (`flow.destinations.0.to`) to a sentence that says what to do; the first one is told
    as detail and field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        field, sentence = next(iter(errors.items()))
        super().__init__(422, sentence, field, errors=dict(errors))
        self.errors = dict(errors)


TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Cannot be used",
    429: "Too many requests",
    500: "Our mistake",
    502: "Refused elsewhere",
    503: "Not available now",
}


def read_json(request: Request, may_be_absent: bool = False) -> dict[str, Any]:
    """The JSON object in a request's body, whatever its Content-Type says; without a body an empty one, where that may be.

    Raises:
        Problem: 413 above 64 kB; 400 when it is no JSON object in UTF-8, or holds a NUL (which PostgreSQL cannot store).
    """
    if (request.content_length or 0) > BODY_LIMIT:
        raise Problem(413, "The body is larger than 64 kB.")
    raw = request.stream.read(BODY_LIMIT + 1)
    if len(raw) > BODY_LIMIT:
        raise Problem(413, "The body is larger than 64 kB.")
    if may_be_absent and not raw.strip():
        return {}

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        body: Any = json.loads(raw.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON in UTF-8.") from None
    if not isinstance(body, dict):
        raise Problem(400, "The body has to be a JSON object.")
    if b"\\u0000" in raw or b"\\ud" in raw.lower():
        body = _clean(body)
    return dict(body)


def _clean(value: Any) -> Any:
    """Without NUL and lone surrogates, which no database stores."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


UNKNOWN = "unknown"
PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
HOP = re.compile(
    rf"\[(?P<six>[0-9A-Fa-f:.]+)(?P<zone>%[^\]]+)?\]{PORT}|(?P<four>[0-9.]+){PORT}|(?P<bare>[0-9A-Fa-f:.]+)(?P<link>%.+)?"
)
"""An element of X-Forwarded-For without its quotes; ports as in RFC 7239, numbers or hidden ones."""

_told: set[str] = set()
"""Proxies of which the log says that they leave their clients unknown: once each."""


def client_address(request: Request, trusted: Networks) -> str:
    """The client's address: the peer, or what the nearest untrusted hop of X-Forwarded-For says when the peer is a trusted proxy.

    `unknown`, or `unknown via 10.0.0.7`, when that cannot be read: such a client lies in no network, and is never taken for the proxy.
    """
    hops, proxy = [request.remote_addr or ""], ""
    if (forwarded := request.headers.get("X-Forwarded-For")) is not None:
        hops += reversed(
            forwarded.split(",")
        )  # heeding no quotes: a stranger's open one must not swallow what the proxy adds
    for hop in hops:
        address = parse_hop(hop)
        if address is None:
            if proxy not in _told:
                _told.add(proxy)
                log.warning("client_unknown", proxy=proxy, said=hop[:60], advice="let the proxy name its clients")
            return f"{UNKNOWN} via {proxy}" if proxy else UNKNOWN
        proxy = str(address)
        if not any(address in network for network in trusted):
            break
    return proxy


def parse_hop(text: str) -> IPv4Address | IPv6Address | None:
    """Whom an element of X-Forwarded-For names, in the forms that proxies write: `203.0.113.9`, `203.0.113.9:51234`, `2001:db8::1`,
    `[2001:db8::1]:443`, the same in quotes, `fe80::1%eth0`. None: nobody can tell (`unknown`, `_hidden`, `unix:`, nothing, nonsense)."""
    text = text.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    hop = HOP.fullmatch(text)
    if hop is None:
        return None
    try:
        address = ip_address(hop["six"] or hop["four"] or hop["bare"])
    except ValueError:
        return None
    is_misread = (hop["six"] and address.version != 6) or ((hop["zone"] or hop["link"]) and not address.is_link_local)
    if is_misread or address.is_unspecified:
        return None
    # An IPv4 client of a socket that listens on both is written `::ffff:203.0.113.9`; it is that IPv4 client.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def is_unknown(client: str) -> bool:
    return client.startswith(UNKNOWN)


def client_group(address: str) -> str:
    """Whom a rate limit counts as one: an IPv4 address, an IPv6 /64, or all whom one proxy leaves unknown."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return ":".join(parsed.exploded.split(":")[:4]) + "::/64"
    return str(parsed)


LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def within(address: str, networks: Networks) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
