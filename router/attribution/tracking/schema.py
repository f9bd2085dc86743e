"""What pages post: page views and heartbeats, and which pages may. Everything in it is hostile: types are checked, lengths cut, junk in
optional parts is dropped."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import func, select

from router.attribution.models import RefusedOrigin
from router.attribution.tracking.parameters import CLICK_IDS
from router.attribution.tracking.sources import LONGEST_CLICK_ID
from router.db import dialect_insert
from router.server import Server
from router.web.errors import Problem

MOST_REFUSED_ORIGINS = 20
DEFAULT_PORTS = {"http": 80, "https": 443}


def host_and_port(address: str) -> tuple[str, int | None] | None:
    """Of an origin or an address: its host, case-folded, and its port where it is not the scheme's own; None for anything else."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return None
    return parts.hostname.rstrip("."), None if port == DEFAULT_PORTS[parts.scheme] else port


def belongs(site: Iterable[str], host: str, port: int | None = None) -> bool:
    """Whether a host is the site's own. Patterns: `example.com` (its www too), `*.example.com` (every sub-domain), each with `:port`
    when it is only that port."""
    for pattern in site:
        name, _, only_port = pattern.casefold().partition(":")
        is_below = name.startswith("*.") and host.endswith(name[1:]) and len(host) >= len(name)
        if (is_below or host in (name, f"www.{name}")) and only_port in ("", str(port or "")):
            return True
    return False


def is_own_host(site: Iterable[str], host: str, page_host: str) -> bool:
    """Whether a referrer's host is the site's own: no evidence of where the visitor came from. Sub-domains of the site count."""
    names = [pattern.casefold().partition(":")[0].removeprefix("*.").removeprefix("www.") for pattern in site]
    return host == page_host or any(host == name or host.endswith(f".{name}") for name in names)


def refuse_origin(server: Server, project_id: int, origin: str, now: datetime) -> NoReturn:
    """
    Raises:
        Problem: 403, always. The origin is remembered at most once a minute, and the admin sees it with *Allow*; a flood of inventions
            leaves at most 20 of them.
    """
    if host_and_port(origin) and server.refused_origin_rate.allows(f"{project_id} {origin}"):
        with server.database.writing() as session:
            refused = session.scalar(select(func.count()).where(RefusedOrigin.project_id == project_id)) or 0
            if refused < MOST_REFUSED_ORIGINS:
                new = dialect_insert(session, RefusedOrigin)
                new = new.values(project_id=project_id, origin=origin[:300], last_at=now)
                unique = ["project_id", "origin"]
                session.execute(new.on_conflict_do_update(index_elements=unique, set_={"last_at": now}))
    raise Problem(403, "Pages of this site may not ask for numbers; an admin can allow it in the project's settings.")


T = TypeVar("T")

LONGEST_ADDRESS = 2000
MOST_SCENARIOS = 100
GA_CLIENT_ID = re.compile(
    r"(?:GA[0-9]+\.[0-9-]+\.)?(?P<numbers>[0-9]{1,20}\.[0-9]{1,20})"
    r"|amp-[\w-]{10,100}"
    r"|(?:FPID[0-9]\.[0-9]\.)?[A-Za-z0-9+/=_%-]{10,80}\.[0-9]{9,11}",
    re.ASCII,
)
"""A client id of Google Analytics: two numbers, also as the cookie `_ga` has them (`GA1.1.123.456`); of an AMP page; or of a server-side
container (FPID), also as its cookie."""
GA_SESSION_ID = re.compile(
    r"(?:GS1\.[0-9]+\.(?=[0-9])|GS2\.(?:.*[.$])?s)?(?P<number>[1-9][0-9]{0,15})(?:[.$].{0,200})?", re.ASCII
)
"""A number, also as a cookie `_ga_…` has it: `GS1.1.1795416000.3.1…`, `GS2.1.s1795416000$o3$g1…`"""
GA_STREAM = re.compile(r"G-[A-Z0-9]{1,20}")
MOST_STREAMS = 5

MOST_FIELDS = 20
LONGEST_FIELD = 200
FIELD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")

Prefixes = tuple[str, ...]
"""Beginnings of numbers, digits with the country code. A number has to begin with any of them; without prefixes every number does."""
Groups = Mapping[str, Prefixes]
"""The prefixes of each class suffix; the empty suffix, which comes last, stands for all elements whose suffix is not bound."""

UNBOUND = ""
ANY_NUMBER: Groups = {UNBOUND: ()}
MOST_PREFIXES = 20
LONGEST_PREFIX = 15
LONGEST_PREFIXES = 200
SUFFIX = re.compile(r"[\w-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What an open page says of itself."""

    page: str = ""
    """Its address; heartbeats tell it with consent only, as the evidence of where the visit came from."""
    page_host: str = ""
    referrer: str = ""
    ga: Mapping[str, str] = field(default_factory=dict)
    click_ids: Mapping[str, str] = field(default_factory=dict)
    groups: Groups = field(default_factory=lambda: ANY_NUMBER)
    params: Mapping[str, str] = field(default_factory=dict)
    """The site's own fields."""
    limited: bool | None = None
    """Without consent: neither cookie nor click ids. None: the page says nothing, and the visit's consent stays as it is."""
    shown: frozenset[int] | None = None
    """The scenarios whose number stands on the page so far; None: the page says nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView(Heartbeat):
    page_port: int | None = None
    visitor: str | None = None
    scenarios: list[int] | None = None
    """The page wants numbers of these only; None: of all scenarios."""
    is_test: bool = False
    """It asks what would be shown: no visit begins, and no number is leased."""
    address: str = ""
    """The browser's, shortened."""
    region: str = ""


def read_page_view(body: Mapping[str, Any], address: str = "", region: str = "") -> PageView:
    """
    Args:
        address: of the browser, whole.

    Raises:
        Problem: 422 naming the field.
    """
    page, host, port = _page(body)
    click_ids = {
        name.casefold(): value for name, value in (_posted(body, "click_ids", dict, "an object") or {}).items()
    }
    return PageView(
        page=page,
        page_host=host,
        page_port=port,
        referrer=_text(body, "referrer") or "",
        visitor=_text(body, "visitor"),
        scenarios=_scenarios(body, "scenarios"),
        ga=read_ga(body),
        click_ids={
            name: value[:LONGEST_CLICK_ID]
            for name in CLICK_IDS
            if isinstance(value := click_ids.get(name), str) and value
        },
        groups=read_groups(body),
        params=read_params(body),
        limited=_limited(body) or False,
        is_test=_posted(body, "test", bool, "true or false") or False,
        address=shortened(address),
        region=region,
    )


def read_heartbeat(body: Mapping[str, Any]) -> Heartbeat:
    """
    Raises:
        Problem: 422 naming the field.
    """
    page, host, _ = ("", "", None) if body.get("page") is None else _page(body)
    shown = _scenarios(body, "shown")
    return Heartbeat(
        page=page,
        page_host=host,
        referrer=_text(body, "referrer") or "",
        ga=read_ga(body),
        groups=read_groups(body),
        params=read_params(body),
        limited=_limited(body),
        shown=None if shown is None else frozenset(shown),
    )


def _page(body: Mapping[str, Any]) -> tuple[str, str, int | None]:
    """Its address, with host and port."""
    page = _text(body, "page") or ""
    host = host_and_port(page)
    if host is None:
        raise Problem(422, "The page has to be an http or https address.", "page")
    return page, *host


def _limited(body: Mapping[str, Any]) -> bool | None:
    """Whether the page says that it may neither keep a cookie nor tell click ids; None when it says nothing."""
    consent = _text(body, "consent")
    if consent not in (None, "full", "limited"):
        raise Problem(422, "consent has to be full or limited.", "consent")
    return None if consent is None else consent == "limited"


def read_ga(body: Mapping[str, Any]) -> dict[str, str]:
    """What Google Analytics calls the browser: client_id; the session of each stream, by its measurement id; and session_id, that of the
    first one. Values of another form are dropped, since cookies hold anything."""
    ga = _posted(body, "ga", dict, "an object") or {}
    found: dict[str, str] = {}
    if client := GA_CLIENT_ID.fullmatch(str(ga.get("client_id") or "")):
        found["client_id"] = client["numbers"] or client[0]
    sessions = {name: GA_SESSION_ID.fullmatch(str(value or "")[:300]) for name, value in ga.items()}
    streams = {name: number["number"] for name, number in sessions.items() if number and GA_STREAM.fullmatch(name)}
    session = sessions.get("session_id")
    if session or streams:
        found["session_id"] = session["number"] if session else next(iter(streams.values()))
    return found | dict(islice(streams.items(), MOST_STREAMS))


def read_groups(body: Mapping[str, Any]) -> Groups:
    """Of `prefixes: [{prefix, suffix}]`; what does not fit is dropped, since page variables hold anything.

    Raises:
        Problem: 422, it is no list.
    """
    posted = _posted(body, "prefixes", list, "a list of {prefix, suffix}") or []
    bound: list[tuple[str, str]] = []
    for entry in posted[:MOST_PREFIXES]:
        entry = entry if isinstance(entry, dict) else {}
        suffix = UNBOUND if entry.get("suffix") is None else entry["suffix"]
        has_suffix = isinstance(suffix, str) and SUFFIX.fullmatch(suffix)
        if not has_suffix or not isinstance(entry.get("prefix"), str | int):
            continue
        for text in str(entry["prefix"])[:LONGEST_PREFIXES].split(","):  # one entry may name several prefixes
            if prefix := re.sub("[^0-9]", "", text)[:LONGEST_PREFIX]:
                bound.append((suffix, prefix))
    groups: dict[str, Prefixes] = {}
    for suffix, prefix in bound[:MOST_PREFIXES]:
        groups[suffix] = (*groups.get(suffix, ()), prefix)
    unbound = groups.pop(UNBOUND, ())
    return {**groups, UNBOUND: unbound}


def read_params(body: Mapping[str, Any]) -> dict[str, str]:
    """Of `params: {name: text}`; what does not fit is dropped, since pages put anything there.

    Raises:
        Problem: 422, it is no object.
    """
    posted = _posted(body, "params", dict, "an object of names and texts") or {}
    params: dict[str, str] = {}
    for name, value in posted.items():
        if len(params) == MOST_FIELDS or not FIELD_NAME.fullmatch(name):
            continue
        if isinstance(value, bool):
            params[name] = "true" if value else "false"
        elif isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
            params[name] = str(value)[:LONGEST_FIELD]
    return params


def _posted(body: Mapping[str, Any], field: str, kind: type[T], what: str) -> T | None:
    """A member of the body; null is the same as absent. Refused is one of another kind than `what` says."""
    value = body.get(field)
    if value is None or isinstance(value, kind):
        return value
    raise Problem(422, f"{field} has to be {what}.", field)


def _text(body: Mapping[str, Any], field: str) -> str | None:
    return _posted(body, field, str, "text")


def _scenarios(body: Mapping[str, Any], field: str) -> list[int] | None:
    """A list of scenario ids; None when the page says nothing."""
    ids = _posted(body, field, list, "a list of scenario ids")
    if ids and (len(ids) > MOST_SCENARIOS or not all(type(number) is int for number in ids)):
        raise Problem(422, f"{field} has to be a list of scenario ids.", field)
    return ids


def shortened(address: str) -> str:
    """An address without the part that names one person's line (R14): /24 of IPv4, /48 of IPv6; empty when it is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False).network_address)
