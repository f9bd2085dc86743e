"""Reads what the tag posts. Everything in it is hostile: types are checked, lengths cut, junk in optional parts is dropped.

Which web pages may ask for numbers: the site's own hosts, and the server's own."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any, NoReturn
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.attribution.clicks import CLICK_IDS
from router.attribution.models import RefusedOrigin
from router.attribution.pool.leases import Groups, read_groups
from router.attribution.tracking.consent import Told, without_identifiers
from router.attribution.tracking.own_fields import read_params
from router.attribution.tracking.sources import LONGEST_CLICK_ID, Evidence, read_evidence
from router.attribution.tracking.visits import PageView
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
    return any(_matches(pattern, host, port) for pattern in site)


def _matches(pattern: str, host: str, port: int | None) -> bool:
    name, _, wanted_port = pattern.casefold().partition(":")
    if wanted_port and str(port or "") != wanted_port:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host in (name, f"www.{name}")


def is_own_host(site: Iterable[str], host: str, page_host: str) -> bool:
    """Whether a referrer's host is the site's own: no evidence of where the visitor came from. Sub-domains of the site count."""
    names = [pattern.casefold().partition(":")[0].removeprefix("*.").removeprefix("www.") for pattern in site]
    return host == page_host or any(host == name or host.endswith(f".{name}") for name in names)


def refuse_origin(server: Server, project_id: int, origin: str, now: datetime) -> NoReturn:
    """
    Raises:
        Problem: 403, always; the origin is remembered at most once a minute.
    """
    if host_and_port(origin) and server.registries["refused_origin_rate"].allows(f"{project_id} {origin}"):
        with server.database.writing() as session:
            remember_refused(session, project_id, origin, now)
    raise Problem(403, "Pages of this site may not ask for numbers; an admin can allow it in the project's settings.")


def remember_refused(session: Session, project_id: int, origin: str, now: datetime) -> None:
    """The admin sees the host with *Allow*; a flood of inventions leaves at most 20 rows."""
    known = session.scalar(select(func.count()).where(RefusedOrigin.project_id == project_id)) or 0
    table = dialect_insert(session, RefusedOrigin).values(project_id=project_id, origin=origin[:300], last_at=now)
    if known >= MOST_REFUSED_ORIGINS:
        return
    session.execute(table.on_conflict_do_update(index_elements=["project_id", "origin"], set_={"last_at": now}))


LONGEST_ADDRESS = 2000
MOST_SCENARIOS = 100
CLIENT_ID = re.compile(r"[0-9A-Za-z_\-]{1,40}\.[0-9A-Za-z_\-]{1,40}")
SESSION_ID = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class PostedView:
    """A page view as it was posted, checked in itself but not yet against a project."""

    page: str
    page_host: str
    page_port: int | None
    referrer: str
    visitor: str | None
    scenarios: list[int] | None
    ga: Mapping[str, str]
    click_ids: Mapping[str, str]
    groups: Groups
    params: Mapping[str, str]
    limited: bool
    is_test: bool
    """It asks what would be shown: no visit begins, and nothing is lent."""

    def for_site(
        self, site: Iterable[str], address: str, region: str = "", *, unwanted: Iterable[str] = (), country: str = ""
    ) -> PageView:
        """The page view with its evidence, which depends on what the site's own hosts are. The visitor's address is shortened, and a
        limited one names nobody (R14).

        Args:
            unwanted: hosts and patterns of hosts that the project names as no source.
            country: the project's.
        """
        found = _evidence(self, self.click_ids, site, unwanted, country)
        stored = without_identifiers if self.limited else str
        return PageView(
            page=stored(self.page)[:LONGEST_ADDRESS],
            referrer=stored(self.referrer)[:LONGEST_ADDRESS],
            evidence=replace(found, click_ids={}) if self.limited else found,
            ga={} if self.limited else self.ga,
            address=shortened(address),
            region=region,
            groups=self.groups,
            limited=self.limited,
            params=self.params,
        )


@dataclass(frozen=True, slots=True)
class PostedSign:
    """A sign of life as it was posted. Its page is only told with consent, whose evidence it is."""

    page: str
    page_host: str
    referrer: str
    ga: Mapping[str, str]
    groups: Groups
    params: Mapping[str, str]
    limited: bool | None

    def for_site(self, site: Iterable[str], *, unwanted: Iterable[str] = (), country: str = "") -> Told:
        tells = self.limited is False and self.page
        evidence = _evidence(self, {}, site, unwanted, country) if tells else None
        return Told(self.ga, self.params, self.limited, evidence)


def _evidence(
    seen: PostedView | PostedSign,
    click_ids: Mapping[str, str],
    site: Iterable[str],
    unwanted: Iterable[str],
    country: str,
) -> Evidence:
    own, unwanted = list(site), list(unwanted)

    def is_no_source(host: str) -> bool:
        return is_own_host(own, host, seen.page_host) or belongs(unwanted, host)

    return read_evidence(seen.page, seen.referrer, click_ids, is_no_source, country)


def read_posted_view(body: Mapping[str, Any]) -> PostedView:
    """
    Raises:
        Problem: 422 naming the field.
    """
    page, (host, port) = _page(body)
    return PostedView(
        page=page,
        page_host=host,
        page_port=port,
        referrer=_text(body, "referrer") or "",
        visitor=_text(body, "visitor"),
        scenarios=read_scenarios(body, "scenarios"),
        ga=read_ga(body),
        click_ids=_click_ids(body),
        groups=read_groups(body),
        params=read_params(body),
        limited=_limited(body) or False,
        is_test=_is_test(body),
    )


def read_posted_sign(body: Mapping[str, Any]) -> PostedSign:
    """
    Raises:
        Problem: 422 naming the field.
    """
    page, (host, _) = ("", ("", None)) if body.get("page") is None else _page(body)
    return PostedSign(
        page=page,
        page_host=host,
        referrer=_text(body, "referrer") or "",
        ga=read_ga(body),
        groups=read_groups(body),
        params=read_params(body),
        limited=_limited(body),
    )


def _page(body: Mapping[str, Any]) -> tuple[str, tuple[str, int | None]]:
    """Its address, with host and port."""
    page = _text(body, "page") or ""
    host = host_and_port(page)
    if host is None:
        raise Problem(422, "The page has to be an http or https address.", "page")
    return page, host


def _limited(body: Mapping[str, Any]) -> bool | None:
    """Whether the page says that it may neither keep a cookie nor tell click ids; None when it says nothing."""
    said = _text(body, "consent")
    if said not in (None, "full", "limited"):
        raise Problem(422, "consent has to be full or limited.", "consent")
    return None if said is None else said == "limited"


def _is_test(body: Mapping[str, Any]) -> bool:
    value = body.get("test")
    if not isinstance(value, bool | None):
        raise Problem(422, "test has to be true or false.", "test")
    return bool(value)


def read_ga(body: Mapping[str, Any]) -> dict[str, str]:
    """client_id and session_id of Google Analytics; values of another form are dropped, since cookies hold anything."""
    ga = _members(body, "ga")
    found: dict[str, str] = {}
    client, session = str(ga.get("client_id") or ""), str(ga.get("session_id") or "")
    if CLIENT_ID.fullmatch(client):
        found["client_id"] = client
    if SESSION_ID.fullmatch(session):
        found["session_id"] = session
    return found


def _click_ids(body: Mapping[str, Any]) -> dict[str, str]:
    posted = {name.casefold(): value for name, value in _members(body, "click_ids").items()}
    return {
        name: value[:LONGEST_CLICK_ID] for name in CLICK_IDS if isinstance(value := posted.get(name), str) and value
    }


def _text(body: Mapping[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is None or isinstance(value, str):
        return value
    raise Problem(422, f"{field} has to be text.", field)


def _members(body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Problem(422, f"{field} has to be an object.", field)
    return value


def read_scenarios(body: Mapping[str, Any], field: str) -> list[int] | None:
    """A list of scenario ids; None when the page says nothing."""
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MOST_SCENARIOS:
        raise Problem(422, f"{field} has to be a list of scenario ids.", field)
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        raise Problem(422, f"{field} has to be a list of scenario ids.", field)
    return value


def shortened(address: str) -> str:
    """An address without the part that names one person's line (R14): /24 of IPv4, /48 of IPv6; empty when it is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False).network_address)
