"""Heartbeats that were refused because the database was away. A page that says it is open is a fact for whoever hears it: it is kept as a
record, and written with its time when the database is back, before the calls that came after it.

Kept is what the server itself has received at that time, never what a page says later of the past. Only of projects that this process has
served before, as it can tell then, without the database, which ids are ours.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from router.attribution.models import Visit
from router.attribution.tracking.page_views import evidence_of
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import PageView
from router.attribution.tracking.visitors import is_our_visitor, read_visit_token, record_tap
from router.attribution.tracking.visits import KnownVisit, find_visit, record_presence
from router.lib.phones import E164
from router.server import Server

AWAY = (OperationalError, InterfaceError, InternalError, ProgrammingError, PoolTimeout)
"""The database's own errors: it is away, read-only, locked, of an old schema."""

REFUSED = "heartbeat"
"""The kind of these records: `{kind, at, project, visit}` with `left` and the number of a `tap`, or of a page view `{kind, at, project,
visitor, source, gap}`: the source's key where the page tells one that would begin another visit, and the project's gap in seconds."""


@contextmanager
def kept_if_refused(
    server: Server,
    key: str,
    token: str = "",
    *,
    left: bool = False,
    tap: object = None,
    view: PageView | None = None,
    allowed: Callable[[TagProject], bool] | None = None,
) -> Iterator[None]:
    """What a page says, by its visit's token or by the visitor of its page view, is kept where the database takes nothing.

    Args:
        allowed: whether the page may speak to this project; None: any page may.
    """
    at = server.now()
    try:
        yield
    except AWAY:
        project = server.tag_projects.get(key)
        if project is None or server.keep_refused is None or (allowed is not None and not allowed(project)):
            raise
        said: dict[str, Any] = {"kind": REFUSED, "at": at.isoformat(), "project": project.id}
        if view is None:
            said |= {"visit": read_visit_token(server.keys, project.id, token), "left": left}
            if isinstance(tap, str) and E164.fullmatch(tap):
                said["tap"] = tap
        elif view.visitor and is_our_visitor(server.keys, project.id, view.visitor):
            evidence = evidence_of(view, project)
            began = evidence.source.key if evidence.found and evidence.begins_visit else None
            said |= {"visitor": view.visitor, "source": began, "gap": project.gap.total_seconds()}
        if said.get("visit") or said.get("visitor"):
            server.keep_refused(server, said)
        raise


def write_refused(session: Session, said: Mapping[str, Any]) -> KnownVisit | None:
    """Writes what a page said, at its time. Returns its visit; None: there is none any more, or the page view began another one."""
    at, project_id = datetime.fromisoformat(said["at"]), said["project"]
    if "visit" in said:
        visit = find_visit(session, project_id, said["visit"])
    else:  # the visit that a page view at this moment continued
        latest = (
            select(Visit.id)
            .where(Visit.project_id == project_id, Visit.visitor == said["visitor"], Visit.started_at <= at)
            .order_by(Visit.started_at.desc(), Visit.id.desc())
        )
        visit_id = session.scalar(latest.limit(1))
        visit = find_visit(session, project_id, visit_id) if visit_id is not None else None
        if visit is None or (at - visit.last_sign_at).total_seconds() >= said["gap"]:
            return None
        if said["source"] is not None and (visit.keeps_source or said["source"] != visit.source_key):
            return None
    if visit is None:
        return None
    record_presence(session, visit, at, left=said.get("left", False))
    if "tap" in said:
        record_tap(session, project_id, visit.id, said["tap"], at)
    return visit
