"""What web pages ask: a number for a page view, and heartbeats; and a number for an AMP page, where no tag may run and no heartbeats are
sent: `<amp-call-tracking>` keeps the page's own number unless it gets one. Public, limited by origin and by rate."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import idna
from flask import Blueprint, Response, g, jsonify, request
from sqlalchemy.orm import Session

from router.attribution.tracking.crawlers import RENDERED, CrawlerCounts, Crowds, is_crawler, turned_away
from router.attribution.tracking.page_views import (
    PageNumber,
    PageNumbers,
    keep_page,
    numbers_on_trial,
    ping,
    view_page,
    with_project,
)
from router.attribution.tracking.projects import TagProject, find_tag_project
from router.attribution.tracking.refused import kept_if_refused
from router.attribution.tracking.schema import (
    Heartbeat,
    PageView,
    belongs,
    host_and_port,
    read_heartbeat,
    read_page_view,
    refuse_origin,
)
from router.attribution.tracking.visitors import (
    is_our_visitor,
    read_visit_token,
    record_tap,
    region_of,
    visit_token,
    visitor_for,
    welcome_first_party,
)
from router.lib.phones import display, forms, page_rules, parts, spellings
from router.scenarios.models import DEFAULT_HOLD_SECONDS
from router.server import Server, current_server
from router.web.access import Audience, guard
from router.web.errors import Problem, client_address, client_group, read_json
from router.web.network import RateLimit

ALIVE_EVERY = 45
"""Seconds between two heartbeats of an open page; half of the hold where that is shorter."""

NO_VISIT = "There is no such visit; ask for numbers anew."

hooks = guard(Blueprint("tag_hooks", __name__, url_prefix="/tag"), Audience.PUBLIC)

TRIAL = {"visit": None, "visitor": "test", "token": "test", "alive_every": 600, "hold": 86400}
"""The visit of a page that is only tried out."""

HEARTBEATS_OF_A_VISIT = "120/minute"
"""Heartbeats, leaving and taps of all its tabs together."""


def make_limits(server: Server) -> None:
    server.heartbeat_rate = RateLimit(HEARTBEATS_OF_A_VISIT)
    server.visit_rate = RateLimit(server.settings.visit_rate)
    server.refused_origin_rate = RateLimit("1/minute")
    server.crowds = Crowds(server.settings.crawl_rate)
    server.crawler_counts = CrawlerCounts()


@hooks.post("/<key>/visits", provide_automatic_options=False)
def post_page_view(key: str) -> Response:
    """One page view: 201 with the visit and its numbers; 204 for crawlers, who get the page's own number."""
    server = current_server()
    now = server.now()
    if is_crawler(request.headers.get("User-Agent", "")) or RENDERED in request.headers:
        server.crawler_counts.count(key, "user_agent", now)
        return _answer(None)
    address = _client(server)
    if not server.visit_rate.allows(client_group(address)):
        raise Problem(429, "Too many page views from one address; try again in a minute.")
    body = read_json(request)
    view = read_page_view(body, address, region_of(server, address))
    if view.is_test:
        return _on_trial(server, key, view)

    def work(session: Session, project: TagProject | None) -> tuple[TagProject, bool, PageNumbers | None]:
        project = _known(project)
        if not _is_allowed(server, project, view):
            return project, False, None
        is_known = view.visitor is not None and is_our_visitor(server.keys, project.id, view.visitor)
        if project.suspended or turned_away(server, project, address, now, is_known=is_known):
            return project, True, None
        return project, True, view_page(session, server.keys, project, view, now)

    with kept_if_refused(server, key, view=view, allowed=lambda project: _is_allowed(server, project, view)):
        project, allowed, shown = with_project(server.database, key, work)
    if not allowed:
        refuse_origin(server, project.id, request.headers.get("Origin", ""), now)
    if shown is None:
        return _answer(None)
    if not view.limited:
        g.visitor_to_keep = shown.visit.visitor
    holds = (number.scenario.hold_seconds for number in shown.numbers if number.scenario)
    hold = min(holds, default=DEFAULT_HOLD_SECONDS)
    document = {
        "visit": shown.visit.number,
        "visitor": shown.visit.visitor,
        "token": visit_token(server.keys, project.id, shown.visit.id),
        "alive_every": min(ALIVE_EVERY, hold // 2),
        "numbers": _numbers(project, shown.numbers),
        "rules": page_rules(project.country),  # what is no number to be replaced, on pages of the project's country
    }
    if hold != DEFAULT_HOLD_SECONDS:  # which api.js knows
        document["hold"] = hold  # for how many seconds the page may show the numbers without an answer
    return _answer(document, 201)


def _on_trial(server: Server, key: str, view: PageView) -> Response:
    """What the page would show a visitor who came so. Nobody is leased anything, and no heartbeat is wanted."""
    with server.database.reading() as session:
        project = _known(find_tag_project(session, key))
        allowed = _is_allowed(server, project, view)
        numbers = numbers_on_trial(session, project, view, server.now()) if allowed else []
    if not allowed:
        refuse_origin(server, project.id, request.headers.get("Origin", ""), server.now())
    if project.suspended:
        return _answer(None)
    return _answer(TRIAL | {"numbers": _numbers(project, numbers), "rules": page_rules(project.country)}, 201)


@hooks.post("/<key>/visits/<token>/alive", provide_automatic_options=False)
def post_heartbeat(key: str, token: str) -> Response:
    """204, or 200 with the numbers that the page has to change, and the scenarios that have none for it any more."""
    server = current_server()
    _limit_heartbeats(server, token)
    body = read_json(request) if request.content_length else {}
    heartbeat = read_heartbeat(body)

    def work(session: Session, project: TagProject | None) -> tuple[TagProject, PageNumbers | None]:
        project = _known(project)
        visit_id = read_visit_token(server.keys, project.id, token)
        if visit_id is None:
            return project, None
        return project, keep_page(session, project, visit_id, heartbeat, server.now())

    with kept_if_refused(server, key, token):
        project, shown = with_project(server.database, key, work)
    if shown is None:
        raise Problem(404, NO_VISIT)
    server.crowds.shows_life(project.key, _client(server), server.now())
    if body.get("consent") == "full":
        g.visitor_to_keep = shown.visit.visitor
    if not shown.numbers and not shown.withdrawn:
        return _answer(None)
    withdrawn = {"withdrawn": shown.withdrawn} if shown.withdrawn else {}
    return _answer({"numbers": _numbers(project, shown.numbers)} | withdrawn)


@hooks.post("/<key>/visits/<token>/left", provide_automatic_options=False)
def post_leaving(key: str, token: str) -> Response:
    server = current_server()
    _limit_heartbeats(server, token)
    heartbeat = read_heartbeat(read_json(request) if request.content_length else {})
    with kept_if_refused(server, key, token, left=True), server.database.writing() as session:
        _ping(server, session, key, token, heartbeat, left=True)
    return _answer(None)


@hooks.post("/<key>/visits/<token>/tap", provide_automatic_options=False)
def post_tap(key: str, token: str) -> Response:
    """The visitor is about to call a number: a fact, and a heartbeat."""
    server = current_server()
    _limit_heartbeats(server, token)
    body = read_json(request)
    with kept_if_refused(server, key, token, tap=body.get("e164")), server.database.writing() as session:
        project, visit_id = _ping(server, session, key, token, Heartbeat(), left=False)
        record_tap(session, project.id, visit_id, body.get("e164"), server.now())
    server.crowds.shows_life(project.key, _client(server), server.now())
    return _answer(None)


def _limit_heartbeats(server: Server, token: str) -> None:
    if not server.heartbeat_rate.allows(token[:64]):
        raise Problem(429, "Too many signs of one visit; try again in a minute.")


def _ping(
    server: Server, session: Session, key: str, token: str, heartbeat: Heartbeat, *, left: bool
) -> tuple[TagProject, int]:
    project = _known(find_tag_project(session, key))
    visit_id = read_visit_token(server.keys, project.id, token)
    if visit_id is None or not ping(session, project, visit_id, heartbeat, server.now(), left=left):
        raise Problem(404, NO_VISIT)
    return project, visit_id


@hooks.route("/<key>/visits", methods=["OPTIONS"])
@hooks.route("/<key>/visits/<token>/<sign>", methods=["OPTIONS"])
def preflight(key: str, token: str = "", sign: str = "") -> Response:
    """The tag needs none; a page's own script that posts JSON does."""
    response, server = _answer(None), current_server()
    with server.database.reading() as session:
        g.tag_project = find_tag_project(session, key)
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Content-Type"
    response.headers["Access-Control-Max-Age"] = "86400"
    return response


@hooks.after_request
def write_crawler_counts(response: Response) -> Response:
    """Once the answer has gone out: no page waits for it."""
    server = current_server()
    if (counts := server.crawler_counts).due(server.now()):
        response.call_on_close(lambda: counts.write(server.database, server.now()))
    return response


@hooks.after_request
def allow_origin(response: Response) -> Response:
    """Names the exact origin; what a page must not have was refused before. Credentials only for pages that are one site with the tag's own
    address, and for AMP, which always asks with them, although nothing here makes use of them."""
    response.headers["Cache-Control"] = "no-store"
    origin = request.headers.get("Origin")
    if not origin or response.status_code == 403 or not host_and_port(origin):
        return response
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin"
    if request.endpoint == f"{hooks.name}.{number_for_amp.__name__}":
        response.headers["Access-Control-Allow-Credentials"] = "true"
    else:
        welcome_first_party(response, g.get("tag_project"), origin, g.get("visitor_to_keep"))
    return response


def _known(project: TagProject | None) -> TagProject:
    if project is None:
        raise Problem(404, "There is no project with this key.")
    g.tag_project = current_server().tag_projects[project.key] = project
    return project


def _client(server: Server) -> str:
    return client_address(request, server.settings.trusted_proxies)


def _is_allowed(server: Server, project: TagProject, view: PageView) -> bool:
    """Browsers name the origin; where nothing does, the page's own address has to be the site's."""
    origin = request.headers.get("Origin")
    host = host_and_port(origin) if origin is not None else (view.page_host, view.page_port)
    if host is None:
        return False
    return belongs(project.site, *host) or host == host_and_port(server.settings.base_url)


def _numbers(project: TagProject, numbers: Iterable[PageNumber]) -> list[dict[str, Any]]:
    """`display`: where a text has no number. `written`: which texts can be one, and what stands in their place then. `spellings`: the
    digits of every usual way to write the numbers in `replace`.

    Of free numbers `suffixes`: in which classes the number is shown (R13), the empty one in those that the page has not bound; `parts`:
    what the classes for a part of a number show.
    """
    documents = []
    for number in numbers:
        tagging = number.scenario.tagging if number.scenario else {}
        form, replaced = str(tagging.get("format") or ""), tagging.get("replace") or []
        document = {
            "scenario": number.scenario.id if number.scenario else None,
            "e164": number.e164,
            "display": _display(number.e164, form, project.country),
            "written": _forms(number.e164, project.country, form),
            "selectors": tagging.get("selectors") or [],
            "replace": replaced,
            "spellings": _spellings(tuple(replaced), project.country),
        }
        if number.scenario is None:
            document |= {"suffixes": number.suffixes, "parts": _parts(number.e164)}
        documents.append(document)
    return documents


_parts = lru_cache(maxsize=20_000)(parts)
_forms = lru_cache(maxsize=20_000)(forms)
_display = lru_cache(maxsize=20_000)(display)
_spellings = lru_cache(maxsize=2_000)(spellings)


def _answer(document: Any, status: int = 200) -> Response:
    if document is None:
        return Response(status=204)
    return Response(
        json.dumps(document, ensure_ascii=False, separators=(",", ":")), status, mimetype="application/json"
    )


AMP_CACHES = (".cdn.ampproject.org", ".www.bing-amp.com")
"""Below each, one host for every host whose pages are copied (CORS in AMP)."""
CLIENT = re.compile(r"[A-Za-z0-9_.-]{16,200}")
"""What AMP's CLIENT_ID gives; not the word itself, which stays where AMP does not fill it in."""
SCENARIO = re.compile(r"[0-9]{1,9}")


@hooks.get("/<key>/amp")
def number_for_amp(key: str) -> Response:
    """200 with a number of the scenario that was asked for, else of the first scenario that has one for this visit; 404 where the page
    keeps its own. The same client goes on with the same visit; without consent nobody is known again."""
    server, now = current_server(), current_server().now()
    own_number = Problem(404, "There is no number for this page view: the page keeps its own.")
    if is_crawler(request.headers.get("User-Agent", "")) or RENDERED in request.headers:
        server.crawler_counts.count(key, "user_agent", now)
        raise own_number
    address = _client(server)
    scenario, client = request.args.get("scenario", ""), request.args.get("client", "")
    if scenario and not SCENARIO.fullmatch(scenario):
        raise Problem(422, "scenario has to be a scenario's id.", "scenario")
    region = region_of(server, address)
    if not server.visit_rate.allows(client_group(address)):
        raise Problem(429, "Too many page views from one address; try again in a minute.")
    query: dict[str, Any] = {name: request.args.get(name) for name in ("page", "referrer")}
    posted = read_page_view(query)

    def work(session: Session, project: TagProject | None) -> tuple[TagProject, bool, PageNumber | None]:
        project = _known(project)
        if not _may_ask_by_amp(project, posted):
            return project, False, None
        if project.suspended or turned_away(server, project, address, now, is_known=False):
            return project, True, None
        consent = request.args.get("consent")
        if consent not in ("none", "limited", "full"):
            # nobody has chosen on the page: what the project allows before, unless Global Privacy Control refuses it there
            refused = project.gpc_refuses and request.headers.get("Sec-GPC") == "1"
            consent = "limited" if refused and project.consent == "full" else project.consent
        if consent == "none":
            return project, True, None
        view = read_page_view(query | {"consent": consent}, address, region)
        visitor = None
        if CLIENT.fullmatch(client) and consent == "full":
            visitor = visitor_for(server.keys, project.id, f"amp {client}")
        asked = project.only([int(scenario)] if scenario else None)
        lists = [None] if project.free_pool and not scenario else [[shown.id] for shown in asked]
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


def _may_ask_by_amp(project: TagProject, posted: PageView) -> bool:
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
