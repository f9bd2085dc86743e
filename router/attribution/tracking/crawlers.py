"""Crawlers get the page's own number: no visit, no lease.

Some call themselves crawlers: the list is the community's, from the package crawler-user-agents. It does not hold the services that render
pages for crawlers to read: what such a service is shown stands in search results for everybody, so they are known here. Browsers that a
program drives and that say nothing else may be a company's own tests: the project decides.

Others are known by what they do: an address from which far more visits of unknown visitors begin than people begin, and none shows life.
What must not happen is that people lose their number, so an address is judged mildly. Only visits without a visitor id of ours count: the
page views of an office's returning visitors never do, and are never refused. One second page view, heartbeat or tap of anybody at the
address acquits it, and later one for every 20 of its visits of the window before: of people at least a third give one within a minute, also
behind a mobile carrier's one address; of crawlers none. A refused address is let try again in each window with a tenth of the rate, so that
people who come after a crawler acquit themselves. Addresses of private networks are never judged: they are a proxy's that names no clients.
Nor are clients whom a proxy leaves unknown: all of them count as one.
A request without User-Agent or Accept-Language, which every browser sends, is no proof, since some proxies drop them: it counts as five.

Page views without a visit are counted by project, day and what gave them away. The counts are gathered in the memory of the process and
written at most every ten seconds, after an answer has gone out: nobody's page waits for them."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from ipaddress import ip_network
from threading import Lock
from typing import Any

import structlog
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from flask import Blueprint, request
from limits import parse
from pydantic import BaseModel
from sqlalchemy import case, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.accounts.projects import is_staff
from router.accounts.sessions import require_token
from router.attribution.models import CrawlerDay
from router.attribution.tracking.projects import TagProject
from router.db import Database, dialect_insert
from router.lib.formats import day_of, last_days
from router.server import Server, current_server
from router.web.access import Audience, current_project, guard
from router.web.api import described, page_by_keys, parse_limit
from router.web.errors import client_group, is_unknown, within

LONGEST_USER_AGENT = 1000
LIBRARIES, AUTOMATION = "http-library", "browser-automation"
NO_CRAWLERS = {LIBRARIES, AUTOMATION}
"""Kinds on that list which crawl nothing by themselves: a library runs no tag, and a company's own test browsers must see its numbers."""

RENDERERS = (
    "pre-?render|rendertron|react-?snap|seo4ajax|brombone|spiderable|snapsearch|seosnap|rendora|puppeteer-renderer"
    "|headless-render-api|page-?renderer|dynamic-?render|huckabuy"
)
"""What services and programs write into their user agent that render pages for crawlers: `… HeadlessChrome/… Prerender (+https://…)`."""

RENDERED = "X-Prerender"
"""The header that Prerender sends with all requests of a page that it renders, whatever its browser is called."""

DRIVEN = ("HeadlessEdg", "jsdom", "HappyDOM", "Cypress")
"""Browsers of programs, beside those of the list; Chrome without a window names itself in Sec-CH-UA even under another user agent."""


@cache
def _pattern(driven: bool) -> re.Pattern[str]:
    """Of browsers that a program drives, or of crawlers."""
    patterns = [*DRIVEN] if driven else [f"(?i:{RENDERERS})"]
    for entry in CRAWLER_USER_AGENTS_DATA:
        tags = entry.get("tags", ())
        if (AUTOMATION in tags) if driven else NO_CRAWLERS.isdisjoint(tags):
            patterns.append(entry["pattern"])
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


@lru_cache(maxsize=8192)
def _names_itself(agent: str, driven: bool) -> bool:
    return bool(agent) and _pattern(driven).search(agent[:LONGEST_USER_AGENT]) is not None


def is_crawler(user_agent: str) -> bool:
    """Whether a browser calls itself a crawler, or renders pages for crawlers; a browser without a user agent does not."""
    return _names_itself(user_agent, driven=False)


def is_automated(user_agent: str, client_hint: str = "") -> bool:
    """Whether a browser says that a program drives it. Browsers that hide it tell the tag (navigator.webdriver), which then asks nothing.

    Args:
        client_hint: Sec-CH-UA.
    """
    return _names_itself(user_agent, driven=True) or _names_itself(client_hint, driven=True)


BARE_REQUEST = 5
"""How many visits one without the headers of a browser counts as."""

VISITS_FOR_A_SIGN = 20
TRIES_PART = 10
MOST_CROWDS = 50_000
"""Addresses that are watched in one window; further ones are not, and may do as they like."""

INSIDE = tuple(
    ip_network(block)
    for block in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)


@dataclass(slots=True)
class Crowd:
    """What happened at one address in one window."""

    asked: int = 0
    """Visits of unknown visitors that wanted to begin, bare ones counted as several."""
    begun: int = 0
    signs: int = 0
    """Second page views, heartbeats and taps."""


NOBODY = Crowd()


class Crowds:
    """`Crowds("60/minute")`: the addresses of the last two windows, for each site, in the memory of one process; `off` admits everybody."""

    def __init__(self, rate: str) -> None:
        item = None if rate == "off" else parse(rate)
        self._most = item.amount if item else 0
        self._seconds = item.get_expiry() if item else 0
        self._window = 0
        self._now: dict[str, Crowd] = {}
        self._before: dict[str, Crowd] = {}
        self._lock = Lock()

    def admits(self, site: str, address: str, now: datetime, *, bare: bool = False) -> bool:
        """Whether a visit of an unknown visitor of a site may begin; `bare`: without the headers that every browser sends."""
        if not self._most:
            return True
        with self._lock:
            who = self._turn_to(site, address, now)
            if len(self._now) >= MOST_CROWDS and who not in self._now:
                return True
            crowd, before = self._now.setdefault(who, Crowd()), self._before.get(who, NOBODY)
            crowd.asked += BARE_REQUEST if bare else 1
            crawls = (
                max(crowd.asked, before.asked) > self._most
                and crowd.signs + before.signs < max(1, before.begun // VISITS_FOR_A_SIGN)
                and crowd.begun >= max(1, self._most // TRIES_PART)
            )
            if crawls and not (is_unknown(address) or within(address, INSIDE)):
                return False
            crowd.begun += 1
            return True

    def shows_life(self, site: str, address: str, now: datetime) -> None:
        """Somebody at the address looks at a page for longer, or at a second one."""
        if not self._most:
            return
        with self._lock:
            who = self._turn_to(site, address, now)
            if who in self._now or who in self._before:
                self._now.setdefault(who, Crowd()).signs += 1

    def _turn_to(self, site: str, address: str, now: datetime) -> str:
        window = int(now.timestamp()) // self._seconds
        if window == self._window + 1:
            self._before, self._now, self._window = self._now, {}, window
        elif window > self._window or window < self._window - 1:
            self._before, self._now, self._window = {}, {}, window
        return f"{site} {client_group(address)}"


log = structlog.get_logger()

STAFF = "staff"
"""No crawlers, but people whose visits do not count either: from addresses that the project names."""
KINDS = ("user_agent", "behaviour", STAFF)
WRITTEN_EVERY = timedelta(seconds=10)
MOST_WAITING = 2_000
"""Different counts that wait to be written; more of them are no project's keys, and are lost."""


class CrawlerCounts:
    """The counts of one process that are not written yet: by the project's public key as the page named it, the minute, and the kind."""

    def __init__(self) -> None:
        self._waiting: Counter[tuple[str, datetime, str]] = Counter()
        self._written_at: datetime | None = None
        self._lock = Lock()

    def count(self, key: str, kind: str, now: datetime) -> None:
        seen = key[:32], now.replace(second=0, microsecond=0), kind
        with self._lock:
            if seen in self._waiting or len(self._waiting) < MOST_WAITING:
                self._waiting[seen] += 1

    def due(self, now: datetime) -> bool:
        """Whether something waits for long enough."""
        return bool(self._waiting) and (self._written_at is None or now - self._written_at >= WRITTEN_EVERY)

    def write(self, database: Database, now: datetime) -> None:
        """Writes what waits; what the database cannot take now waits on."""
        with self._lock:
            waiting, self._waiting, self._written_at = self._waiting, Counter(), now
        if not waiting:
            return
        try:
            with database.writing() as session:
                projects = select(Project.key, Project.id, Project.timezone)
                rows = session.execute(projects.where(Project.key.in_({key for key, _, _ in waiting})))
                known = {row.key: row for row in rows}
                days: Counter[tuple[int, str, str]] = Counter()
                for (key, minute, kind), views in waiting.items():
                    if project := known.get(key):
                        days[project.id, day_of(minute, project.timezone), kind] += views
                # always in this order, so that processes never wait for one another
                for (project_id, day, kind), views in sorted(days.items()):
                    values = {"project_id": project_id, "day": day, "kind": kind, "views": views}
                    new = dialect_insert(session, CrawlerDay).values(values)
                    more = {"views": CrawlerDay.views + new.excluded.views}
                    unique = ["project_id", "day", "kind"]
                    session.execute(new.on_conflict_do_update(index_elements=unique, set_=more))
        except SQLAlchemyError as error:
            log.warning("crawlers_not_counted", error=type(error).__name__)
            with self._lock:
                self._waiting += waiting


def turned_away(server: Server, project: TagProject, address: str, now: datetime, *, is_known: bool) -> bool:
    """Counts a page view that begins no visit: of the project's staff, or of a crawler.

    Args:
        is_known: a visitor whom we know, who is always welcome, and speaks for his address.
    """
    agent, crowds = request.headers.get("User-Agent", ""), server.crowds
    if is_staff(project.staff, address):
        kind = STAFF
    elif project.ignore_automation and is_automated(agent, request.headers.get("Sec-CH-UA", "")):
        kind = "user_agent"
    elif is_known:
        crowds.shows_life(project.key, address, now)
        return False
    elif crowds.admits(project.key, address, now, bare=not (agent and request.headers.get("Accept-Language"))):
        return False
    else:
        kind = "behaviour"
    server.crawler_counts.count(project.key, kind, now)
    return True


def write_counts(server: Server) -> None:
    """Writes now what this process has counted: before it is shown, and when the process ends."""
    server.crawler_counts.write(server.database, server.now())


def crawler_views(session: Session, project: Project, now: datetime, days: int = 7) -> dict[str, int]:
    """Page views without a visit today and in the days before, by kind."""
    first = last_days(now, project.timezone, days)[0]
    rows = session.execute(
        select(CrawlerDay.kind, func.sum(CrawlerDay.views))
        .where(CrawlerDay.project_id == project.id, CrawlerDay.day >= first)
        .group_by(CrawlerDay.kind)
    )
    return dict.fromkeys(KINDS, 0) | {kind: int(views) for kind, views in rows}


crawler_api = guard(
    Blueprint("crawler_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)


class CrawlerDayDocument(BaseModel):
    """Page views without a visit on a day of the project's time zone: of crawlers, by what gave them away (their user agent, or their
    behaviour), and of people from the project's staff addresses."""

    day: str
    user_agent: int
    behaviour: int
    staff: int


@crawler_api.get("/crawlers")
@described(answer=CrawlerDayDocument, is_list=True)
def list_crawler_days(project_id: int) -> dict[str, Any]:
    """Days on which crawlers or staff viewed pages, newest first; they get the page's own number, no visit and no lease."""
    server, args = current_server(), request.args
    kinds = [func.sum(case((CrawlerDay.kind == kind, CrawlerDay.views), else_=0)).label(kind) for kind in KINDS]
    days = select(CrawlerDay.day, *kinds).where(CrawlerDay.project_id == current_project().id).group_by(CrawlerDay.day)
    write_counts(server)
    with server.database.reading() as session:
        limit = parse_limit(args.get("limit", ""))
        rows, following = page_by_keys(session, days, [(CrawlerDay.day, True)], args.get("next", ""), limit)
    return {"items": [{name: getattr(row, name) for name in ("day", *KINDS)} for row in rows], "next": following}
