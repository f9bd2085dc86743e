"""Takes in what the carrier says, one short transaction each. A floor above that fails never costs the call's facts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from router.carriers.base import CallStatus, InboundCall
from router.server import Server
from router.voice.calls import KnownCall, record_inbound
from router.voice.events import follow, keep_event
from router.voice.routing import Route, find_route_of_call
from router.voice.signals import ReceiverFailed
from router.voice.story import CALL_TERMINAL, Event

log = structlog.get_logger(__name__)

T = TypeVar("T")

LONGEST_CALL_SECONDS = 86_400
"""What carriers allow at most."""


def write_and_tell(server: Server, work: Callable[[Session, bool], T]) -> T:
    """Runs `work(session, announcing)` in a transaction; when a receiver fails, again without announcing (*fan-out due*)."""
    try:
        with server.database.writing() as session:
            return work(session, True)
    except ReceiverFailed:
        log.exception("fan_out_failed")
    with server.database.writing() as session:
        return work(session, False)


def receive_call(
    server: Server, call: InboundCall, now: datetime, started_at: datetime | None = None
) -> tuple[Route | None, KnownCall | None]:
    """The route of a call and the call as it is written; with `started_at` one that is over already. (None, None): the number is unknown
    here. (route, None): the route is good but the call could not be written, and was logged.

    Raises:
        Exception: whatever kept us from finding the route.
    """
    route: Route | None = None

    def work(session: Session, announcing: bool) -> KnownCall | None:
        nonlocal route
        route = find_route_of_call(session, call)
        if route is None:
            return None
        began = started_at or now
        return record_inbound(server, session, route, call, began, now, announcing, answering=started_at is None)

    try:
        known = write_and_tell(server, work)
    except Exception:
        if route is None:
            raise
        log.exception("call_not_written")
        return route, None
    return route, known


def receive_event(server: Server, call_sid: str, key: str, event: Event) -> bool:
    """Keeps an event once and brings its call up to it; False when the call is unknown here (the event is kept all the same)."""

    def work(session: Session, announcing: bool) -> bool:
        is_new = keep_event(session, call_sid, key, event)
        return not is_new or follow(server, session, call_sid, server.now(), announcing) is not None

    return write_and_tell(server, work)


def receive_late_call(server: Server, call: InboundCall, status: CallStatus) -> None:
    """A call that ended before we knew of it: it began as long ago as it lasted, and its events are there already."""
    if status.status not in CALL_TERMINAL:
        return
    now = server.now()
    lasted = timedelta(seconds=min(status.seconds or 0, LONGEST_CALL_SECONDS))
    started_at = min(now, (status.at or now) - lasted)
    if receive_call(server, call, now, started_at)[1] is not None:
        write_and_tell(server, lambda session, announcing: follow(server, session, call.sid, now, announcing))
