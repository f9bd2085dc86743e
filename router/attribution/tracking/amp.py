"""A number for an AMP page, where no tag may run: `<amp-call-tracking>` asks for it, and keeps the page's own number unless it gets one.

A page view like any other, with one number; AMP sends no signs of life. The rules for who may ask are AMP's (CORS in AMP): a page of the
site, or its copy in an AMP cache, whose host is made of the site's."""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

import idna
from flask import Blueprint, Response, jsonify, request
from sqlalchemy.orm import Session

from router.accounts.projects import is_staff
from router.attribution.tracking.crawlers import RENDERED, STAFF, counts_of, is_automated, is_crawler
from router.attribution.tracking.page_views import page_viewed, with_project
from router.attribution.tracking.projects import GivenNumber, TagProject
from router.attribution.tracking.regions import region_of
from router.attribution.tracking.schema import PostedView, belongs, host_and_port, read_posted_view, refuse_origin
from router.attribution.tracking.visitors import visitor_for
from router.lib.phones import display
from router.server import Server, current_server
from router.web.access import Audience, guard
from router.web.errors import Problem, client_address, client_group

AMP_CACHES = (".cdn.ampproject.org", ".www.bing-amp.com")
CLIENT = re.compile(r"[A-Za-z0-9_.-]{16,200}")
"""What AMP's CLIENT_ID gives; not the word itself, which stays where AMP does not fill it in."""
SCENARIO = re.compile(r"[0-9]{1,9}")

amp = guard(Blueprint("amp", __name__, url_prefix="/tag"), Audience.PUBLIC)


@dataclass(frozen=True)
class Asker:
    """Who asks, beside what he says of his page."""

    address: str
    region: str
    is_bare: bool
    client: str
    scenario: int | None


@amp.get("/<key>/amp")
def number_for_amp(key: str) -> Response:
    """200 with the number of one scenario; 404 where the page keeps its own."""
    server, now = current_server(), current_server().now()
    if is_crawler(request.headers.get("User-Agent", "")) or RENDERED in request.headers:
        counts_of(server).count(key, "user_agent", now)
        raise _own_number()
    asker = _asker(server)
    if not server.registries["visit_rate"].allows(client_group(asker.address)):
        raise Problem(429, "Too many page views from one address; try again in a minute.")
    posted = _posted()

    def work(session: Session, found: TagProject | None) -> tuple[TagProject, bool, GivenNumber | None]:
        project = _project(found)
        allowed = _is_allowed(project, posted)
        welcome = allowed and _is_welcome(server, key, project, asker, now)
        return project, allowed, _number(session, server, project, asker, now) if welcome else None

    project, allowed, given = with_project(server.database, key, work)
    if not allowed:
        _refuse(server, project, now)
    if given is None:
        raise _own_number()
    form = str(given.scenario.tagging.get("format") or "")
    return jsonify(phoneNumber=given.e164, formattedPhoneNumber=display(given.e164, form, project.country))


@amp.after_request
def allow_origin(response: Response) -> Response:
    """AMP always asks with credentials, of which nothing here makes use."""
    response.headers["Cache-Control"] = "no-store"
    origin = request.headers.get("Origin")
    if origin and response.status_code != 403 and host_and_port(origin):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Vary"] = "Origin"
    return response


def _asker(server: Server) -> Asker:
    address = client_address(request, server.settings.trusted_proxies)
    bare = not (request.headers.get("User-Agent") and request.headers.get("Accept-Language"))
    client, scenario = request.args.get("client", ""), request.args.get("scenario", "")
    if scenario and not SCENARIO.fullmatch(scenario):
        raise Problem(422, "scenario has to be a scenario's id.", "scenario")
    known = client if CLIENT.fullmatch(client) else ""
    return Asker(address, region_of(server, address), bare, known, int(scenario) if scenario else None)


def _posted(consent: str | None = None) -> PostedView:
    """The query, read like what the tag would have posted.

    Raises:
        Problem: 422, it names no page.
    """
    return read_posted_view({"consent": consent} | {name: request.args.get(name) for name in ("page", "referrer")})


def _consent(project: TagProject) -> str:
    """What may be known of the visitor: what the page says that he chose, else what the project allows before; who sends Global Privacy
    Control has refused where the project says so."""
    said = request.args.get("consent")
    if said in ("none", "limited", "full"):
        return said
    refused = project.gpc_refuses and request.headers.get("Sec-GPC") == "1"
    return "limited" if refused and project.consent == "full" else project.consent


def _number(session: Session, server: Server, project: TagProject, asker: Asker, now: datetime) -> GivenNumber | None:
    """The number of the scenario that was asked for, else of the first one that has one for this visit. The same client goes on with the
    same visit; without consent nobody is known again."""
    if (consent := _consent(project)) == "none":
        return None
    view = _posted(consent).for_site(
        project.site, asker.address, asker.region, unwanted=project.unwanted, country=project.country
    )
    is_known = asker.client and consent == "full"
    visitor = visitor_for(server.keys, project.id, f"amp {asker.client}") if is_known else None
    for scenario in project.only(None if asker.scenario is None else [asker.scenario]):
        arrival = page_viewed(session, server.keys, project, view, visitor, [scenario.id], now)
        if arrival.numbers:
            return arrival.numbers[0]
        visitor = arrival.visit.visitor
    return None


def _is_allowed(project: TagProject, posted: PostedView) -> bool:
    """The page is the site's, and the request comes from it or from its copy in an AMP cache. A browser leaves the origin out on a page of
    our own host only, and AMP says so then, which no other page can."""
    if not belongs(project.site, posted.page_host, posted.page_port):
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("AMP-Same-Origin") == "true"
    found = host_and_port(origin)
    return found is not None and (belongs(project.site, *found) or found[0] in copies_of(posted.page_host))


def copies_of(host: str) -> set[str]:
    """The hosts of AMP caches that show copies of a host's pages: `www-example-com.cdn.ampproject.org` of `www.example.com`."""
    return {label + cache for cache in AMP_CACHES for label in (_label(host), _fallback_label(host)) if label}


def _label(host: str) -> str:
    """Written in Unicode, hyphens doubled, dots as hyphens, and guarded where that looks like Punycode (AMP Cache URL format)."""
    try:
        label = (idna.decode(host) if "xn--" in host else host).replace("-", "--").replace(".", "-")
        label = f"0-{label}-0" if label[2:4] == "--" else label
        return label if label.isascii() else idna.alabel(label).decode()
    except UnicodeError:  # of which those of idna are
        return ""


def _fallback_label(host: str) -> str:
    """For hosts that make no such label: their SHA-256 in base 32."""
    digest = hashlib.sha256(host.encode()).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def _refuse(server: Server, project: TagProject, now: datetime) -> None:
    """Sites that ask are shown to the admin; AMP caches belong to no site."""
    origin = request.headers.get("Origin", "")
    found = host_and_port(origin)
    is_cache = found is not None and f".{found[0]}".endswith(AMP_CACHES)
    refuse_origin(server, project.id, "" if is_cache else origin, now)


def _is_welcome(server: Server, key: str, project: TagProject, asker: Asker, now: datetime) -> bool:
    if project.suspended:
        return False
    if is_staff(project.staff, asker.address):
        counts_of(server).count(key, STAFF, now)
        return False
    if project.ignore_automation and is_automated(
        request.headers.get("User-Agent", ""), request.headers.get("Sec-CH-UA", "")
    ):
        counts_of(server).count(key, "user_agent", now)
        return False
    if server.registries["crowds"].admits(key, asker.address, now, bare=asker.is_bare):
        return True
    counts_of(server).count(key, "behaviour", now)
    return False


def _project(project: TagProject | None) -> TagProject:
    if project is None:
        raise Problem(404, "There is no project with this key.")
    return project


def _own_number() -> Problem:
    return Problem(404, "There is no number for this page view: the page keeps its own.")
