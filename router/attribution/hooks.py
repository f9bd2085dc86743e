"""What web pages ask: a number for a page view, and signs of life. Public, limited by origin and by rate."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from router import phones
from router.accounts.access import Audience, guard
from router.attribution.arrivals import (
    Arrival,
    mere_sign,
    page_viewed,
    sign_of_life,
    with_project,
)
from router.attribution.crawler_counts import REGISTRY as COUNTS
from router.attribution.crawler_counts import CrawlerCounts, counts_of
from router.attribution.crawlers import is_crawler
from router.attribution.crowds import Crowds
from router.attribution.origins import belongs, host_and_port, remember_refused
from router.attribution.page_views import PostedView, read_ga, read_posted_view
from router.attribution.prefixes import read_groups
from router.attribution.regions import region_of
from router.attribution.returns import NOTHING_SAID, Report, read_report
from router.attribution.script import HOLD_SECONDS
from router.attribution.spellings import spellings
from router.attribution.tag_projects import GivenNumber, TagProject, find_tag_project
from router.attribution.taps import read_tapped, record_tap
from router.attribution.tokens import is_our_visitor, read_visit_token, visit_token
from router.ratelimit import RateLimit
from router.server import Server, current_server
from router.web import Problem, client_address, client_group, read_json

ALIVE_EVERY = 45
"""Seconds between two signs of life of an open page; half of the hold where that is shorter."""

hooks = guard(Blueprint("tag_hooks", __name__, url_prefix="/tag"), Audience.PUBLIC)


SIGNS_OF_A_VISIT = "120/minute"
"""Signs of life, leaving and taps together; all its tabs send a few."""


def make_limits(server: Server) -> None:
    server.registries["sign_rate"] = RateLimit(SIGNS_OF_A_VISIT)
    server.registries["visit_rate"] = RateLimit(server.settings.visit_rate)
    server.registries["refused_origin_rate"] = RateLimit("1/minute")
    server.registries["crowds"] = Crowds(server.settings.crawl_rate)
    server.registries[COUNTS] = CrawlerCounts()


@hooks.post("/<key>/visits")
def view_page(key: str) -> Response:
    """One page view: 201 with the visit and its numbers; 204 for crawlers, who get the page's own number."""
    server = current_server()
    now = server.now()
    if is_crawler(request.headers.get("User-Agent", "")):
        counts_of(server).count(key, "user_agent", now)
        return _answer(None)
    address = _client(server)
    if not server.registries["visit_rate"].allows(client_group(address)):
        raise Problem(429, "Too many page views from one address; try again in a minute.")
    posted = read_posted_view(read_json(request))
    region = region_of(server, address)

    def work(session: Session, found: TagProject | None) -> tuple[TagProject, bool, Arrival | None]:
        project = _project(found)
        if not _is_allowed(server, project, posted):
            return project, False, None
        if project.suspended:
            return project, True, None
        if not _is_welcome(server, key, project, posted):
            counts_of(server).count(key, "behaviour", now)
            return project, True, None
        view = posted.for_site(project.site, address, region)
        return project, True, page_viewed(session, server.keys, project, view, posted.visitor, posted.scenarios, now)

    project, allowed, arrival = with_project(server.database, key, work)
    if not allowed:
        _refuse_origin(server, project)
    if arrival is None:
        return _answer(None)
    return _answer(_visit_document(server, project, arrival), 201)


@hooks.post("/<key>/visits/<token>/alive")
def page_is_open(key: str, token: str) -> Response:
    """A sign of life: 204, or 200 with the numbers that the page has to change, and the scenarios that have none for it any more."""
    server = current_server()
    _limit_signs(server, token)
    body = read_json(request) if request.content_length else {}
    ga, groups, report = read_ga(body), read_groups(body), read_report(body)

    def work(session: Session, found: TagProject | None) -> tuple[TagProject, Arrival | None]:
        project = _project(found)
        visit_id = _visit_id(server, project, token)
        return project, sign_of_life(session, project, visit_id, ga, server.now(), groups, report)

    project, arrival = with_project(server.database, key, work)
    if arrival is None:
        raise Problem(404, "There is no such visit; ask for numbers anew.")
    _show_life(server, key)
    if not arrival.numbers and not arrival.withdrawn:
        return _answer(None)
    withdrawn = {"withdrawn": arrival.withdrawn} if arrival.withdrawn else {}
    return _answer({"numbers": _numbers(project, arrival.numbers)} | withdrawn)


@hooks.post("/<key>/visits/<token>/left")
def page_is_left(key: str, token: str) -> Response:
    server = current_server()
    _limit_signs(server, token)
    report = read_report(read_json(request) if request.content_length else {})
    with server.database.writing() as session:
        _mere_sign(session, key, token, report, left=True)
    return _answer(None)


@hooks.post("/<key>/visits/<token>/tap")
def number_is_tapped(key: str, token: str) -> Response:
    """The visitor is about to call a number: a fact, and a sign of life."""
    server = current_server()
    _limit_signs(server, token)
    body = read_json(request)
    with server.database.writing() as session:
        project, visit_id = _mere_sign(session, key, token)
        record_tap(session, project.id, visit_id, read_tapped(body), server.now())
    _show_life(server, key)
    return _answer(None)


def _limit_signs(server: Server, token: str) -> None:
    if not server.registries["sign_rate"].allows(token[:64]):
        raise Problem(429, "Too many signs of one visit; try again in a minute.")


def _mere_sign(
    session: Session, key: str, token: str, report: Report = NOTHING_SAID, *, left: bool = False
) -> tuple[TagProject, int]:
    server = current_server()
    project = _project(find_tag_project(session, key))
    visit_id = _visit_id(server, project, token)
    if not mere_sign(session, project, visit_id, server.now(), report, left=left):
        raise Problem(404, "There is no such visit; ask for numbers anew.")
    return project, visit_id


@hooks.route("/<key>/visits", methods=["OPTIONS"])
@hooks.route("/<key>/visits/<token>/<sign>", methods=["OPTIONS"])
def preflight(key: str, token: str = "", sign: str = "") -> Response:
    """The tag needs none; a page's own script that posts JSON does."""
    response = _answer(None)
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Content-Type"
    response.headers["Access-Control-Max-Age"] = "86400"
    return response


@hooks.after_request
def write_crawler_counts(response: Response) -> Response:
    """Once the answer has gone out: no page waits for it."""
    server = current_server()
    if (counts := counts_of(server)).due(server.now()):
        response.call_on_close(lambda: counts.write(server.database, server.now()))
    return response


@hooks.after_request
def allow_origin(response: Response) -> Response:
    """Names the exact origin, allows no credentials. What a page must not have was refused before."""
    response.headers["Cache-Control"] = "no-store"
    origin = request.headers.get("Origin")
    if origin and response.status_code != 403 and host_and_port(origin):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
    return response


def _project(project: TagProject | None) -> TagProject:
    if project is None:
        raise Problem(404, "There is no project with this key.")
    return project


def _visit_id(server: Server, project: TagProject, token: str) -> int:
    visit_id = read_visit_token(server.keys, project.id, token)
    if visit_id is None:
        raise Problem(404, "There is no such visit; ask for numbers anew.")
    return visit_id


def _is_welcome(server: Server, key: str, project: TagProject, posted: PostedView) -> bool:
    """False: it behaves like a crawler. Known visitors are always welcome, and speak for their address."""
    if posted.visitor is not None and is_our_visitor(server.keys, project.id, posted.visitor):
        _show_life(server, key)
        return True
    bare = not (request.headers.get("User-Agent") and request.headers.get("Accept-Language"))
    return _crowds(server).admits(key, _client(server), server.now(), bare=bare)


def _show_life(server: Server, key: str) -> None:
    _crowds(server).shows_life(key, _client(server), server.now())


def _crowds(server: Server) -> Crowds:
    crowds: Crowds = server.registries["crowds"]
    return crowds


def _client(server: Server) -> str:
    return client_address(request, server.settings.trusted_proxies)


def _is_allowed(server: Server, project: TagProject, posted: PostedView) -> bool:
    """Browsers name the origin; where nothing does, the page's own address has to be the site's."""
    origin = request.headers.get("Origin")
    found = host_and_port(origin) if origin is not None else (posted.page_host, posted.page_port)
    if found is None:
        return False
    return belongs(project.site, *found) or found == host_and_port(server.settings.base_url)


def _refuse_origin(server: Server, project: TagProject) -> None:
    origin = request.headers.get("Origin", "")
    if host_and_port(origin) and server.registries["refused_origin_rate"].allows(f"{project.id} {origin}"):
        with server.database.writing() as session:
            remember_refused(session, project.id, origin, server.now())
    raise Problem(403, "Pages of this site may not ask for numbers; an admin can allow it in the project's settings.")


def _visit_document(server: Server, project: TagProject, arrival: Arrival) -> dict[str, Any]:
    """`hold`: for how many seconds the page may show the numbers without an answer; absent: as the tag has it."""
    hold = min((one.scenario.hold_seconds for one in arrival.numbers), default=HOLD_SECONDS)
    return {
        "visit": arrival.visit.number,
        "visitor": arrival.visit.visitor,
        "token": visit_token(server.keys, project.id, arrival.visit.id),
        "alive_every": min(ALIVE_EVERY, hold // 2),
        "numbers": _numbers(project, arrival.numbers),
    } | ({"hold": hold} if hold != HOLD_SECONDS else {})


def _numbers(project: TagProject, numbers: Iterable[GivenNumber]) -> list[dict[str, Any]]:
    return [_free_number(one) if one.scenario.is_free_pool else _number(one, project.country) for one in numbers]


def _free_number(given: GivenNumber) -> dict[str, Any]:
    """`suffixes`: in which classes the number is shown (R13), the empty one in those that the page has not bound; `parts`: what the
    classes for a part of a number show."""
    return {
        "scenario": None,
        "e164": given.e164,
        "display": _display(given.e164, ""),
        "keep_form": True,
        "selectors": [],
        "replace": [],
        "spellings": [],
        "suffixes": given.suffixes,
        "parts": _parts(given.e164),
    }


def _number(given: GivenNumber, country: str) -> dict[str, Any]:
    """`keep_form`: the tag uses the form of the number that it replaces, where there is one, instead of `display`. `spellings`: the digits
    of every usual way to write the numbers in `replace`."""
    tagging = given.scenario.tagging
    form = str(tagging.get("format") or "")
    return {
        "scenario": given.scenario.id,
        "e164": given.e164,
        "display": _display(given.e164, form),
        "keep_form": not form.strip(),
        "selectors": tagging.get("selectors") or [],
        "replace": tagging.get("replace") or [],
        "spellings": _spellings(tuple(tagging.get("replace") or ()), country),
    }


_parts = lru_cache(maxsize=20_000)(phones.parts)
_display = lru_cache(maxsize=20_000)(phones.display)
_spellings = lru_cache(maxsize=2_000)(spellings)


def _answer(document: Any, status: int = 200) -> Response:
    if document is None:
        return Response(status=204)
    return Response(json.dumps(document, separators=(",", ":")), status, mimetype="application/json")
