"""Heartbeats that the database refused (R7): they stand in the machine's journal among the calls, in the order in which they came, so that
a call of an outage is decided as it would have been without it. What another machine's journal tells late decides calls again."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease
from router.attribution.tracking.refused import write_refused
from router.server import Server
from router.voice.calls import caller_of, decide_again, decide_later_calls, name_of
from router.voice.models import EXTERNAL, Call
from router.voice.records import Record
from router.voice.routing import route_of


def apply_refused(session: Session, records: Sequence[Record]) -> list[Call]:
    """Writes heartbeats at their times. Returns the calls that came after them to numbers of their visits and are decided already, by
    time."""
    visits, projects = set(), set()
    for record in records:
        if visit := write_refused(session, record):
            visits.add(visit.id)
            projects.add(visit.project_id)
    if not visits:
        return []
    leased = exists().where(Lease.visit_id.in_(visits), Lease.number_id == Call.number_id)
    since = min(datetime.fromisoformat(record["at"]) for record in records)
    later = select(Call).where(Call.project_id.in_(projects), Call.started_at >= since, leased)
    return list(session.scalars(later.order_by(Call.started_at, Call.sid)))


def turns_of(call: Call) -> set[str]:
    """Whom a call is told of when it is decided again, as `apply_records` names them."""
    caller = caller_of(call)
    return {call.sid} if caller.withheld else {call.sid, f"{call.number_id} {name_of(caller)}"}


def decide_with_refused(
    server: Server, session: Session, calls: Sequence[Call], now: datetime, announcing: bool
) -> None:
    """
    Raises:
        ReceiverFailed: a receiver of a call's event failed; repeat with `announcing=False`.
    """
    for call in calls:
        session.expire(call)  # it was read before its turn came
    for call in calls:
        route = route_of(session, call.number_id)
        if route is None:
            continue
        caller = caller_of(call)
        if call.kind == EXTERNAL and not caller.withheld:  # with the calls that see its result
            decide_later_calls(server, session, route, caller, call.started_at, now, announcing=announcing)
        else:
            decide_again(server, session, route, caller, call, now, announcing=announcing)
