"""The hosts of a project's web site, from whatever somebody pasted: an address, a host, a list."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import idna

HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:\d{1,5})?|\[[0-9a-f:.]{2,45}\](:\d{1,5})?")
MOST_HOSTS = 50


class BadHost(ValueError):
    """Not a host of a web site; the message is for the person who typed it."""


def read_hosts(text: str | Iterable[str]) -> list[str]:
    """Clean hosts in the order given, each once: `https://Shop.example.com/sale` gives `shop.example.com`.

    Raises:
        BadHost: one of them is no host, or there is none, or there are too many.
    """
    parts = re.split(r"[\s,]+", text) if isinstance(text, str) else [part.strip() for part in text]
    hosts = list(dict.fromkeys(read_host(part) for part in parts if part))
    if not hosts:
        raise BadHost("Name the host of the web site, like www.example.com.")
    if len(hosts) > MOST_HOSTS:
        raise BadHost(f"Name at most {MOST_HOSTS} hosts.")
    return hosts


def read_host(text: str) -> str:
    """
    Raises:
        BadHost: it is neither a host nor an address of a page.
    """
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        if parts.scheme not in ("", "http", "https") or parts.username is not None or not parts.hostname:
            raise ValueError
        port = f":{parts.port}" if parts.port else ""
        host = _ascii(parts.hostname) + ("" if _is_default(parts.scheme, parts.port) else port)
    except ValueError:
        raise _refusal(text) from None
    if not HOST.fullmatch(host):
        raise _refusal(text)
    return host


def _ascii(hostname: str) -> str:
    if ":" in hostname:
        return f"[{hostname}]"
    wild, bare = ("*.", hostname[2:]) if hostname.startswith("*.") else ("", hostname)
    bare = bare.rstrip(".").lower()
    try:
        return wild + (bare if bare.isascii() else idna.encode(bare, uts46=True).decode())
    except idna.IDNAError:
        raise ValueError(hostname) from None


def _is_default(scheme: str, port: int | None) -> bool:
    return (scheme, port) in (("http", 80), ("https", 443), ("", 443))


def _refusal(text: str) -> BadHost:
    return BadHost(f"“{text[:80]}” is not a host of a web site. Write it like www.example.com or *.example.com.")
