"""A number for an AMP page, where no tag may run: `<amp-call-tracking>` asks for it, and keeps the page's own number unless it gets one.

A page view like any other, with one number; AMP sends no heartbeats. The rules for who may ask are AMP's (CORS in AMP): a page of the
site, or its copy in an AMP cache, whose host is made of the site's."""

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import idna
from flask import Blueprint, Response, jsonify, request
from sqlalchemy.orm import Session

from router.attribution.tracking.crawlers import RENDERED, is_crawler, turned_away
from router.attribution.tracking.page_views import PageNumber, view_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.regions import region_of
from router.attribution.tracking.schema import PageView, belongs, host_and_port, read_page_view, refuse_origin
from router.attribution.tracking.visitors import visitor_for
from router.lib.phones import display
from router.server import current_server
from router.web.access import Audience, guard
from router.web.errors import Problem, client_address, client_group

AMP_CACHES = (".cdn.ampproject.org", ".www.bing-amp.com")
CLIENT = re.compile(r"[A-Za-z0-9_.-]{16,200}")
"""What AMP's CLIENT_ID gives; not the word itself, which stays where AMP does not fill it in."""
SCENARIO = re.compile(r"[0-9]{1,9}")

amp = guard(Blueprint("amp", __name__, url_prefix="/tag"), Audience.PUBLIC)


@amp.get("/<key>/amp")
def number_for_amp(key: str) -> Response:
    """200 with the number of the scenario that was asked for, else of the first one that has one for this visit; 404 where the page keeps
    its own. The same client goes on with the same visit; without consent nobody is known again."""
    server, now = current_server(), current_server().now()
    own_number = Problem(404, "There is no number for this page view: the page keeps its own.")
    if is_crawler(request.headers.get("User-Agent", "")) or RENDERED in request.headers:
        server.crawler_counts.count(key, "user_agent", now)
        raise own_number
    address = client_address(request, server.settings.trusted_proxies)
    scenario, client = request.args.get("scenario", ""), request.args.get("client", "")
    if scenario and not SCENARIO.fullmatch(scenario):
        raise Problem(422, "scenario has to be a scenario's id.", "scenario")
    region = region_of(server, address)
    if not server.visit_rate.allows(client_group(address)):
        raise Problem(429, "Too many page views from one address; try again in a minute.")
    query: dict[str, Any] = {name: request.args.get(name) for name in ("page", "referrer")}
    posted = read_page_view(query)

    def work(session: Session, project: TagProject | None) -> tuple[TagProject, bool, PageNumber | None]:
        if project is None:
            raise Problem(404, "There is no project with this key.")
        if not _is_allowed(project, posted):
            return project, False, None
        if project.suspended or turned_away(server, project, address, now, is_known=False):
            return project, True, None
        consent = _consent(project)
        if consent == "none":
            return project, True, None
        view = read_page_view(query | {"consent": consent}, address, region)
        visitor = None
        if CLIENT.fullmatch(client) and consent == "full":
            visitor = visitor_for(server.keys, project.id, f"amp {client}")
        lists: list[list[int] | None] = [[one.id] for one in project.only([int(scenario)] if scenario else None)]
        if project.free_pool and not scenario:
            lists = [None]
        for scenarios in lists:
            view = replace(view, visitor=visitor, scenarios=scenarios)
            shown = view_page(session, server.keys, project, view, now)
            if shown.numbers:
                return project, True, shown.numbers[0]
            visitor = shown.visit.visitor
        return project, True, None

    project, allowed, number = with_project(server.database, key, work)
    if not allowed:
        origin = request.headers.get("Origin", "")
        host = host_and_port(origin)
        is_cache = host is not None and f".{host[0]}".endswith(AMP_CACHES)
        # sites that ask are shown to the admin; AMP caches belong to no site
        refuse_origin(server, project.id, "" if is_cache else origin, now)
    if number is None:
        raise own_number
    form = str(number.scenario.tagging.get("format") or "") if number.scenario else ""
    return jsonify(phoneNumber=number.e164, formattedPhoneNumber=display(number.e164, form, project.country))


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


def _consent(project: TagProject) -> str:
    """What may be known of the visitor: what the page says that he chose, else what the project allows before; who sends Global Privacy
    Control has refused where the project says so."""
    consent = request.args.get("consent")
    if consent in ("none", "limited", "full"):
        return consent
    refused = project.gpc_refuses and request.headers.get("Sec-GPC") == "1"
    return "limited" if refused and project.consent == "full" else project.consent


def _is_allowed(project: TagProject, posted: PageView) -> bool:
    """The page is the site's, and the request comes from it or from its copy in an AMP cache. A browser leaves the origin out on a page of
    our own host only, and AMP says so then, which no other page can."""
    if not belongs(project.site, posted.page_host, posted.page_port):
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("AMP-Same-Origin") == "true"
    host = host_and_port(origin)
    return host is not None and (belongs(project.site, *host) or host[0] in copies_of(posted.page_host))


def copies_of(host: str) -> set[str]:
    """The hosts of AMP caches that show copies of a host's pages (AMP Cache URL format): `www-example-com.cdn.ampproject.org` of
    `www.example.com`. The label is written in Unicode, hyphens doubled, dots as hyphens, and guarded where that looks like Punycode; for
    hosts that make no such label it is their SHA-256 in base 32."""
    labels = {base64.b32encode(hashlib.sha256(host.encode()).digest()).decode().rstrip("=").lower()}
    try:
        label = (idna.decode(host) if "xn--" in host else host).replace("-", "--").replace(".", "-")
        label = f"0-{label}-0" if label[2:4] == "--" else label
        labels.add(label if label.isascii() else idna.alabel(label).decode())
    except UnicodeError:  # of which those of idna are
        pass
    return {label + cache for cache in AMP_CACHES for label in labels if label}
