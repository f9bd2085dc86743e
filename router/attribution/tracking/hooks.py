"""What web pages ask: a number for a page view, and signs of life. Public, limited by origin and by rate."""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, g, request
from sqlalchemy.orm import Session

from router.accounts.projects import is_staff
from router.attribution.pool.unplaced import NOTHING_SAID, Report, read_report
from router.attribution.tag.serve import HOLD_SECONDS
from router.attribution.tracking.consent import Told
from router.attribution.tracking.crawlers import REGISTRY as COUNTS
from router.attribution.tracking.crawlers import (
    RENDERED,
    STAFF,
    CrawlerCounts,
    Crowds,
    counts_of,
    is_automated,
    is_crawler,
)
from router.attribution.tracking.page_views import (
    Arrival,
    mere_sign,
    numbers_on_trial,
    page_viewed,
    sign_of_life,
    with_project,
)
from router.attribution.tracking.projects import GivenNumber, TagProject, find_tag_project
from router.attribution.tracking.regions import region_of
from router.attribution.tracking.schema import (
    PostedSign,
    PostedView,
    belongs,
    host_and_port,
    read_posted_sign,
    read_posted_view,
    refuse_origin,
)
from router.attribution.tracking.visitors import (
    is_our_visitor,
    may_keep_cookie,
    read_tapped,
    read_visit_token,
    record_tap,
    visit_token,
    welcome_first_party,
)
from router.attribution.tracking.visits import PageView
from router.lib.phones import display, forms, page_rules, parts, spellings
from router.server import Server, current_server
from router.web.access import Audience, guard
from router.web.errors import Problem, client_address, client_group, read_json
from router.web.network import RateLimit

ALIVE_EVERY = 45
"""Seconds between two signs of life of an open page; half of the hold where that is shorter."""

hooks = guard(Blueprint("tag_hooks", __name__, url_prefix="/tag"), Audience.PUBLIC)


TRIAL = {"visit": None, "visitor": "test", "token": "test", "alive_every": 600, "hold": 86400}
"""The visit of a page that is only tried out."""

SIGNS_OF_A_VISIT = "120/minute"
"""Signs of life, leaving and taps together; all its tabs send a few."""


def make_limits(server: Server) -> None:
    server.registries["sign_rate"] = RateLimit(SIGNS_OF_A_VISIT)
    server.registries["visit_rate"] = RateLimit(server.settings.visit_rate)
    server.registries["refused_origin_rate"] = RateLimit("1/minute")
    server.registries["crowds"] = Crowds(server.settings.crawl_rate)
    server.registries[COUNTS] = CrawlerCounts()


@hooks.post("/<key>/visits", provide_automatic_options=False)
def view_page(key: str) -> Response:
    """One page view: 201 with the visit and its numbers; 204 for crawlers, who get the page's own number."""
    server = current_server()
    now = server.now()
    if is_crawler(request.headers.get("User-Agent", "")) or RENDERED in request.headers:
        counts_of(server).count(key, "user_agent", now)
        return _answer(None)
    address = _client(server)
    if not server.registries["visit_rate"].allows(client_group(address)):
        raise Problem(429, "Too many page views from one address; try again in a minute.")
    body = read_json(request)
    posted = read_posted_view(body)
    region = region_of(server, address)
    if posted.is_test:
        return _on_trial(server, key, posted, address, region)
    project, arrival = _arrive(server, key, posted, address, region, now)
    if arrival is None:
        return _answer(None)
    if may_keep_cookie(body):
        g.visitor_to_keep = arrival.visit.visitor
    return _answer(_visit_document(server, project, arrival), 201)


def _arrive(
    server: Server, key: str, posted: PostedView, address: str, region: str, now: datetime
) -> tuple[TagProject, Arrival | None]:
    """The visit with its numbers; None: no visit begins."""

    def work(session: Session, found: TagProject | None) -> tuple[TagProject, bool, Arrival | None]:
        project = _project(found)
        if not _is_allowed(server, project, posted):
            return project, False, None
        if project.suspended:
            return project, True, None
        if kind := _turned_away(server, key, project, posted):
            counts_of(server).count(key, kind, now)
            return project, True, None
        view = _view(project, posted, address, region)
        return project, True, page_viewed(session, server.keys, project, view, posted.visitor, posted.scenarios, now)

    project, allowed, arrival = with_project(server.database, key, work)
    if not allowed:
        refuse_origin(server, project.id, request.headers.get("Origin", ""), now)
    return project, arrival


def _on_trial(server: Server, key: str, posted: PostedView, address: str, region: str) -> Response:
    """What the page would show a visitor who came so. Nobody is lent anything, and no sign of life is wanted."""
    with server.database.reading() as session:
        project = _project(find_tag_project(session, key))
        allowed = _is_allowed(server, project, posted)
        view = _view(project, posted, address, region)
        numbers = numbers_on_trial(session, project, view, posted.scenarios) if allowed else []
    if not allowed:
        refuse_origin(server, project.id, request.headers.get("Origin", ""), server.now())
    if project.suspended:
        return _answer(None)
    return _answer(TRIAL | _page(project, numbers), 201)


@hooks.post("/<key>/visits/<token>/alive", provide_automatic_options=False)
def page_is_open(key: str, token: str) -> Response:
    """A sign of life: 204, or 200 with the numbers that the page has to change, and the scenarios that have none for it any more."""
    server = current_server()
    _limit_signs(server, token)
    body = read_json(request) if request.content_length else {}
    posted, report = read_posted_sign(body), read_report(body)

    def work(session: Session, found: TagProject | None) -> tuple[TagProject, Arrival | None]:
        project = _project(found)
        told, visit_id = _told(project, posted), _visit_id(server, project, token)
        return project, sign_of_life(session, project, visit_id, told, server.now(), posted.groups, report)

    project, arrival = with_project(server.database, key, work)
    if arrival is None:
        raise Problem(404, "There is no such visit; ask for numbers anew.")
    _show_life(server, key)
    if body.get("consent") == "full":
        g.visitor_to_keep = arrival.visit.visitor
    if not arrival.numbers and not arrival.withdrawn:
        return _answer(None)
    withdrawn = {"withdrawn": arrival.withdrawn} if arrival.withdrawn else {}
    return _answer({"numbers": _numbers(project, arrival.numbers)} | withdrawn)


@hooks.post("/<key>/visits/<token>/left", provide_automatic_options=False)
def page_is_left(key: str, token: str) -> Response:
    server = current_server()
    _limit_signs(server, token)
    body = read_json(request) if request.content_length else {}
    posted, report = read_posted_sign(body), read_report(body)
    with server.database.writing() as session:
        _mere_sign(session, key, token, report, posted)
    return _answer(None)


@hooks.post("/<key>/visits/<token>/tap", provide_automatic_options=False)
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
    session: Session, key: str, token: str, report: Report = NOTHING_SAID, left: PostedSign | None = None
) -> tuple[TagProject, int]:
    server = current_server()
    project = _project(find_tag_project(session, key))
    visit_id = _visit_id(server, project, token)
    told = _told(project, left) if left else None
    if not mere_sign(session, project, visit_id, server.now(), report, told, left=left is not None):
        raise Problem(404, "There is no such visit; ask for numbers anew.")
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
    if (counts := counts_of(server)).due(server.now()):
        response.call_on_close(lambda: counts.write(server.database, server.now()))
    return response


@hooks.after_request
def allow_origin(response: Response) -> Response:
    """Names the exact origin; credentials only for pages that are one site with the tag's own address. What a page must not have was
    refused before."""
    response.headers["Cache-Control"] = "no-store"
    origin = request.headers.get("Origin")
    if origin and response.status_code != 403 and host_and_port(origin):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
        welcome_first_party(response, g.get("tag_project"), origin, g.get("visitor_to_keep"))
    return response


def _view(project: TagProject, posted: PostedView, address: str, region: str) -> PageView:
    return posted.for_site(project.site, address, region, unwanted=project.unwanted, country=project.country)


def _told(project: TagProject, posted: PostedSign) -> Told:
    return posted.for_site(project.site, unwanted=project.unwanted, country=project.country)


def _project(project: TagProject | None) -> TagProject:
    if project is None:
        raise Problem(404, "There is no project with this key.")
    g.tag_project = project
    return project


def _visit_id(server: Server, project: TagProject, token: str) -> int:
    visit_id = read_visit_token(server.keys, project.id, token)
    if visit_id is None:
        raise Problem(404, "There is no such visit; ask for numbers anew.")
    return visit_id


def _turned_away(server: Server, key: str, project: TagProject, posted: PostedView) -> str | None:
    """As what a page view is counted that begins no visit; None: it may begin one."""
    if is_staff(project.staff, _client(server)):
        return STAFF
    if project.ignore_automation and is_automated(
        request.headers.get("User-Agent", ""), request.headers.get("Sec-CH-UA", "")
    ):
        return "user_agent"
    return None if _is_welcome(server, key, project, posted) else "behaviour"


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


def _visit_document(server: Server, project: TagProject, arrival: Arrival) -> dict[str, Any]:
    """`hold`: for how many seconds the page may show the numbers without an answer; absent: as the tag has it."""
    hold = min((one.scenario.hold_seconds for one in arrival.numbers), default=HOLD_SECONDS)
    document = {
        "visit": arrival.visit.number,
        "visitor": arrival.visit.visitor,
        "token": visit_token(server.keys, project.id, arrival.visit.id),
        "alive_every": min(ALIVE_EVERY, hold // 2),
    }
    return document | _page(project, arrival.numbers) | ({"hold": hold} if hold != HOLD_SECONDS else {})


def _page(project: TagProject, numbers: Iterable[GivenNumber]) -> dict[str, Any]:
    """`rules`: what is no number to be replaced, on pages of the project's country."""
    return {"numbers": _numbers(project, numbers), "rules": page_rules(project.country)}


def _numbers(project: TagProject, numbers: Iterable[GivenNumber]) -> list[dict[str, Any]]:
    country = project.country
    return [_free_number(one, country) if one.scenario.is_free_pool else _number(one, country) for one in numbers]


def _free_number(given: GivenNumber, country: str) -> dict[str, Any]:
    """`suffixes`: in which classes the number is shown (R13), the empty one in those that the page has not bound; `parts`: what the
    classes for a part of a number show."""
    return {
        "scenario": None,
        "e164": given.e164,
        "display": _display(given.e164, "", country),
        "written": _forms(given.e164, country, ""),
        "selectors": [],
        "replace": [],
        "spellings": [],
        "suffixes": given.suffixes,
        "parts": _parts(given.e164),
    }


def _number(given: GivenNumber, country: str) -> dict[str, Any]:
    """`display`: where a text has no number. `written`: which texts can be one, and what stands in their place then. `spellings`: the
    digits of every usual way to write the numbers in `replace`."""
    tagging = given.scenario.tagging
    form = str(tagging.get("format") or "")
    return {
        "scenario": given.scenario.id,
        "e164": given.e164,
        "display": _display(given.e164, form, country),
        "written": _forms(given.e164, country, form),
        "selectors": tagging.get("selectors") or [],
        "replace": tagging.get("replace") or [],
        "spellings": _spellings(tuple(tagging.get("replace") or ()), country),
    }


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
