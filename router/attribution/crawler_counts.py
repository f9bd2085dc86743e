"""Counts page views of crawlers, and of the project's own people, by project, day and what gave them away. They are gathered in the
memory of the process and written at most every ten seconds, after an answer has gone out: nobody's page waits for them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import CrawlerDay
from router.database import Database, dialect_insert
from router.server import Server

log = structlog.get_logger()

STAFF = "staff"
"""No crawlers, but people whose visits do not count either: from addresses that the project names."""
KINDS = ("user_agent", "behaviour", STAFF)
WRITTEN_EVERY = timedelta(seconds=10)
MOST_WAITING = 2_000
"""Different counts that wait to be written; more of them are no project's keys, and are lost."""

REGISTRY = "crawler_counts"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is counted: the project's public key as the page named it, the minute, and `user_agent`, `behaviour` or `staff`."""

    key: str
    minute: datetime
    kind: str


class CrawlerCounts:
    """The counts of one process that are not written yet."""

    def __init__(self) -> None:
        self._waiting: Counter[Seen] = Counter()
        self._written_at: datetime | None = None
        self._lock = Lock()

    def count(self, key: str, kind: str, now: datetime) -> None:
        seen = Seen(key[:32], now.replace(second=0, microsecond=0), kind)
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
                _add(session, waiting)
        except SQLAlchemyError as error:
            log.warning("crawlers_not_counted", error=type(error).__name__)
            with self._lock:
                self._waiting += waiting


def counts_of(server: Server) -> CrawlerCounts:
    counts: CrawlerCounts = server.registries[REGISTRY]
    return counts


def write_counts(server: Server) -> None:
    """Writes now what this process has counted: before it is shown, and when the process ends."""
    counts_of(server).write(server.database, server.now())


def _add(session: Session, waiting: Mapping[Seen, int]) -> None:
    keys = {seen.key for seen in waiting}
    projects = select(Project.key, Project.id, Project.timezone).where(Project.key.in_(keys))
    known = {key: (project_id, ZoneInfo(timezone)) for key, project_id, timezone in session.execute(projects)}
    days: Counter[tuple[int, str, str]] = Counter()
    for seen, views in waiting.items():
        if seen.key in known:
            project_id, timezone = known[seen.key]
            days[project_id, seen.minute.astimezone(timezone).date().isoformat(), seen.kind] += views
    for (project_id, day, kind), views in sorted(
        days.items()
    ):  # always in this order, so that processes never wait for one another
        new = dialect_insert(session, CrawlerDay).values(project_id=project_id, day=day, kind=kind, views=views)
        more = {"views": CrawlerDay.views + new.excluded.views}
        session.execute(new.on_conflict_do_update(index_elements=["project_id", "day", "kind"], set_=more))


def crawler_views(session: Session, project: Project, now: datetime, days: int = 7) -> dict[str, int]:
    """Page views without a visit today and in the days before, by kind."""
    first = now.astimezone(ZoneInfo(project.timezone)).date() - timedelta(days=days - 1)
    rows = session.execute(
        select(CrawlerDay.kind, func.sum(CrawlerDay.views))
        .where(CrawlerDay.project_id == project.id, CrawlerDay.day >= first.isoformat())
        .group_by(CrawlerDay.kind)
    )
    return dict.fromkeys(KINDS, 0) | {kind: int(views) for kind, views in rows}
