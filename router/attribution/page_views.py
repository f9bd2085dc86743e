"""Reads what the tag posts. Everything in it is hostile: types are checked, lengths cut, junk in optional parts is dropped."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from router.attribution.origins import host_and_port, is_own_host
from router.attribution.prefixes import Groups, read_groups
from router.attribution.sources import CLICK_IDS, LONGEST_CLICK_ID, read_evidence
from router.attribution.visits import PageView
from router.web import Problem

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

    def for_site(self, site: Iterable[str], address: str, region: str = "") -> PageView:
        """The page view with its evidence, which depends on what the site's own hosts are. The visitor's address is shortened."""
        site = list(site)
        evidence = read_evidence(
            self.page, self.referrer, self.click_ids, lambda host: is_own_host(site, host, self.page_host)
        )
        page, referrer = self.page[:LONGEST_ADDRESS], self.referrer[:LONGEST_ADDRESS]
        return PageView(page, referrer, evidence, self.ga, shortened(address), region, self.groups)


def read_posted_view(body: Mapping[str, Any]) -> PostedView:
    """
    Raises:
        Problem: 422 naming the field.
    """
    page = _text(body, "page") or ""
    host = host_and_port(page)
    if host is None:
        raise Problem(422, "The page has to be an http or https address.", "page")
    return PostedView(
        page=page,
        page_host=host[0],
        page_port=host[1],
        referrer=_text(body, "referrer") or "",
        visitor=_text(body, "visitor"),
        scenarios=read_scenarios(body, "scenarios"),
        ga=read_ga(body),
        click_ids=_click_ids(body),
        groups=read_groups(body),
    )


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
    posted = _members(body, "click_ids")
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
