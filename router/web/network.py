"""Hosts of web sites, their registrable domains by the Public Suffix List, and rate limits.

Rate limits count in the memory of one process, so that no request waits for a store.
"""

import re
import time
from collections.abc import Iterable
from functools import cache, lru_cache
from ipaddress import ip_address
from threading import Lock
from urllib.parse import urlsplit

import idna
from limits import parse_many
from publicsuffixlist import PublicSuffixList

HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:\d{1,5})?|\[[0-9a-f:.]{2,45}\](:\d{1,5})?")
MOST_HOSTS = 50


class BadHost(ValueError):
    """Not a host of a web site; the message is for the person who typed it."""


def parse_hosts(text: str | Iterable[str]) -> list[str]:
    """Clean hosts in the order given, each once: `https://Shop.example.com/sale` gives `shop.example.com`.

    Raises:
        BadHost: one of them is no host, or there is none, or there are too many.
    """
    parts = re.split(r"[\s,]+", text) if isinstance(text, str) else [part.strip() for part in text]
    hosts = list(dict.fromkeys(parse_host(part) for part in parts if part))
    if not hosts:
        raise BadHost("Name the host of the web site, like www.example.com.")
    if len(hosts) > MOST_HOSTS:
        raise BadHost(f"Name at most {MOST_HOSTS} hosts.")
    return hosts


def parse_host(text: str) -> str:
    """
    Raises:
        BadHost: it is neither a host nor an address of a page.
    """
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        if parts.scheme not in ("", "http", "https") or parts.username is not None or not parts.hostname:
            raise ValueError
        host = parts.hostname
        if ":" in host:
            host = f"[{host}]"
        else:
            wild, bare = "*." if host.startswith("*.") else "", host.removeprefix("*.").rstrip(".")
            host = wild + (bare if bare.isascii() else idna.encode(bare, uts46=True).decode())
        is_default = (parts.scheme, parts.port) in (("http", 80), ("https", 443), ("", 443))
        host += f":{parts.port}" if parts.port and not is_default else ""
    except ValueError:  # also what idna raises
        raise _refusal(text) from None
    if not HOST.fullmatch(host):
        raise _refusal(text)
    return host


def host_of(address: str) -> str:
    """The host of an http(s) address, case-folded, without its port; empty when there is none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").rstrip(".") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def host_of_pattern(pattern: str) -> str:
    """`example.com` for `*.example.com:8080`, as a project names its site."""
    return urlsplit(f"//{pattern.removeprefix('*.')}").hostname or ""


def _refusal(text: str) -> BadHost:
    return BadHost(f"“{text[:80]}” is not a host of a web site. Write it like www.example.com or *.example.com.")


@lru_cache(maxsize=4096)
def registrable_domain(host: str) -> str | None:
    """`example.co.uk` for `www.example.co.uk`; None where nobody registers: an address, `localhost`, a public suffix."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return _list().privatesuffix(host)
    return None


def is_same_site(host: str, other: str) -> bool:
    """Whether a cookie of one host's registrable domain is the other's as well; hosts without one are only the same as themselves."""
    domain = registrable_domain(host)
    return host == other or (domain is not None and domain == registrable_domain(other))


@cache
def _list() -> PublicSuffixList:
    return PublicSuffixList()


class FixedWindow:
    """Counts for each client in a window that begins with the client's first request and lasts so many seconds.

    `limits` has the same on its memory storage, which starts a thread after each request and lets it look through all clients.
    """

    def __init__(self, amount: int, seconds: int) -> None:
        self._amount, self._seconds = amount, seconds
        self._counts: dict[str, tuple[float, int]] = {}
        self._swept_at = 0.0
        self._lock = Lock()

    def admits(self, client: str) -> bool:
        """Counts one request of a client, and says whether it is within the amount."""
        now = time.time()
        with self._lock:
            ends_at, count = self._counts.get(client, (0.0, 0))
            if ends_at <= now:
                ends_at, count = now + self._seconds, 0
            self._counts[client] = ends_at, count + 1
            if abs(now - self._swept_at) > self._seconds:
                self._counts = {client: window for client, window in self._counts.items() if window[0] > now}
                self._swept_at = now
        return count < self._amount

    def __len__(self) -> int:
        """The clients that are in memory."""
        return len(self._counts)


class RateLimit:
    """`RateLimit("600/minute").allows("203.0.113.9")`; `off` allows everything."""

    def __init__(self, rate: str) -> None:
        items = [] if rate == "off" else parse_many(rate)
        self._windows = [FixedWindow(item.amount, item.get_expiry()) for item in items]

    def allows(self, client: str) -> bool:
        return all(window.admits(client) for window in self._windows)
