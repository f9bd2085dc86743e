"""What a project says about its tag: consent, the site's own address for it, whose visits are no visits, and which hosts no source."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from router.accounts.domains import is_same_site, registrable_domain
from router.accounts.hosts import MOST_HOSTS, BadHost, read_host
from router.settings import Networks, Settings
from router.web import within

PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
MOST_STAFF = 100
WIDEST = {4: 8, 6: 32}

Consent = Literal["none", "limited", "full"]


def read_tag_address(text: str, inside: Networks = ()) -> str:
    """`https://Calls.example.com/` gives `https://calls.example.com`; empty stays empty.

    Args:
        inside: private networks (ROUTER_ALLOW_PRIVATE) whose addresses may be http.

    Raises:
        ValueError: it is no address that a page can load a script from.
    """
    text = text.strip().rstrip("/")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host = read_host(f"{parts.scheme}://{parts.netloc}")
    except (BadHost, ValueError):
        raise _refusal(text) from None
    if not _is_plain(parts) or "*" in host or len(text) > 200:
        raise _refusal(text)
    if parts.scheme == "http" and not _may_be_open(parts.hostname or "", inside):
        raise ValueError("Begin it with https:// because browsers keep no secure cookie otherwise.")
    return f"{parts.scheme}://{host}{parts.path}"


def _is_plain(parts: SplitResult) -> bool:
    bare = not (parts.query or parts.fragment) and PATH.fullmatch(parts.path) is not None
    return bare and parts.scheme in ("http", "https") and not {".", ".."} & set(parts.path.split("/"))


def _may_be_open(host: str, inside: Networks) -> bool:
    return host == "localhost" or within(host, inside) or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(text: str) -> ValueError:
    return ValueError(
        f"“{text[:80]}” is not an address like https://calls.example.com or https://www.example.com/calls."
    )


def is_of_site(tag_address: str, site: Iterable[str]) -> bool:
    """Whether the tag's own address has the registrable domain of one of the site's hosts: else its cookie is a foreign one."""
    host = _name(urlsplit(tag_address).netloc)
    return any(is_same_site(host, _name(one.removeprefix("*."))) for one in site)


def _name(netloc: str) -> str:
    return urlsplit(f"//{netloc}").hostname or ""


def read_staff(typed: str | Iterable[str]) -> list[str]:
    """Addresses and networks in their short form, each once: `203.0.113.7`, `198.51.100.0/24`, `2001:db8::/48`.

    Raises:
        ValueError: one of them is none, or so wide that it takes in half a country; or there are too many.
    """
    parts = re.split(r"[\s,;]+", typed) if isinstance(typed, str) else [one.strip() for one in typed]
    found = list(dict.fromkeys(_network(part) for part in parts if part))
    if len(found) > MOST_STAFF:
        raise ValueError(f"Name at most {MOST_STAFF} addresses and networks.")
    return found


def _network(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"“{text[:60]}” is neither an address like 203.0.113.7 nor a network like 198.51.100.0/24."
        ) from None
    if network.prefixlen < WIDEST[network.version]:
        raise ValueError(f"“{text[:60]}” is too wide: name a network of /{WIDEST[network.version]} or smaller.")
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def known_here(settings: Settings) -> dict[str, Networks]:
    """What `parse` has to tell the validators about this server."""
    return {"inside": settings.allow_private}


def _address(value: object, info: ValidationInfo) -> str:
    if value is not None and not isinstance(value, str):
        raise ValueError("Give an address as text.")
    return read_tag_address(value or "", (info.context or {}).get("inside", ()))


def _staff(value: object) -> list[str]:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise ValueError("Give a list of addresses and networks.")
    return read_staff(value)


def read_unwanted_referrals(typed: str | Iterable[str]) -> list[str]:
    """Hosts and patterns of hosts, each once, without a port: `https://Pay.Example.com/checkout` gives `pay.example.com`.

    Raises:
        ValueError: one of them is no host, or takes in all sites of an ending (`*.com`); or there are too many.
    """
    parts = re.split(r"[\s,;]+", typed) if isinstance(typed, str) else [one.strip() for one in typed]
    found = list(dict.fromkeys(_unwanted_host(part) for part in parts if part))
    if len(found) > MOST_HOSTS:
        raise ValueError(f"Name at most {MOST_HOSTS} hosts.")
    return found


def _unwanted_host(text: str) -> str:
    host = re.sub(r":\d+$", "", read_host(text))
    if host.startswith("*.") and registrable_domain(host[2:]) is None:
        raise ValueError(f"“{host[:60]}” is too wide: name a domain, like *.example.com.")
    return host


def _unwanted_referrals(value: object) -> list[str]:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise ValueError("Give a list of hosts.")
    return read_unwanted_referrals(value)


TagAddress = Annotated[str, BeforeValidator(_address), Field(max_length=200)]
Staff = Annotated[
    list[str],
    BeforeValidator(_staff),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
UnwantedReferrals = Annotated[
    list[str],
    BeforeValidator(_unwanted_referrals),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]


class TagValues(BaseModel):
    """What is typed in about the tag."""

    model_config = ConfigDict(extra="forbid")

    consent: Consent = "full"
    """What the tag may do before a visitor has chosen: none (no number), limited (a number without cookie and click ids), or full."""
    gpc_refuses: bool = Field(default=False, strict=True)
    """A browser that sends Global Privacy Control counts as a visitor who refused."""
    tag_address: TagAddress = ""
    """Where the site itself serves the tag: `https://calls.example.com` or `https://www.example.com/calls`; empty: this server does."""
    staff_addresses: Staff = Field(default_factory=list)
    """Addresses and networks whose visitors keep the page's number and are in no figures."""
    ignore_automation: bool = Field(default=False, strict=True)
    """Browsers that a program drives count as crawlers."""
    unwanted_referrals: UnwantedReferrals = Field(default_factory=list)
    """Hosts (`pay.example.com` and its www, `*.example.com`) that are no marketing source, whoever comes from there."""


@lru_cache(maxsize=1024)
def _networks(staff: tuple[str, ...]) -> Networks:
    return tuple(ip_network(one) for one in staff)


def is_staff(staff: tuple[str, ...], address: str) -> bool:
    """Whether a visitor's address is one of those that a project keeps out of its figures."""
    return bool(staff) and within(address, _networks(staff))
