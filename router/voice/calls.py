"""Inbound calls: each is written once with its attribution (R7), decided again when an earlier call becomes known late, announced to the
receivers of call events in the same transaction, and told to programs."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from blinker import Signal
from sqlalchemy import Select, bindparam, case, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.decision import (
    FIRST_CALL,
    LAST_NON_DIRECT,
    USUAL_REACH,
    Decision,
    EarlierCall,
    Reach,
    decide,
    reach_of,
    reach_then,
    weighed_candidates,
)
from router.attribution.models import Visit
from router.attribution.tracking.sources import DIRECT
from router.carriers.base import InboundCall
from router.db import Statement, insert_new, table_of
from router.lib.phones import MOST_SPELLINGS, Caller, spellings_of_line
from router.server import Server
from router.voice.models import EXTERNAL, INTERNAL, Call, CallEvent, Status
from router.voice.routing import Route, kind_of, route_of
from router.web.errors import iso as iso

call_started = Signal("A call came in and is being forwarded.")
call_ended = Signal("A call ended; sent once for each call.")
call_updated = Signal(
    "Something about an ended call changed: a recording, a corrected duration or status, another attribution."
)
CALL_EVENTS = {"started": call_started, "ended": call_ended, "updated": call_updated}


class ReceiverFailed(Exception):
    """A receiver of a call event raised: the call's facts are committed all the same, marked *fan-out due*."""


def announce(server: Server, session: Session, event: str, call: Call, now: datetime) -> None:
    """Sends `started`, `ended` or `updated` to the receivers of call events, which write in the transaction of the event itself.

    Raises:
        ReceiverFailed: the transaction is spoilt; it has to be repeated without announcing.
    """
    try:
        CALL_EVENTS[event].send(server, session=session, event=f"call.{event}", call=call, now=now)
        session.flush()
    except Exception as error:
        raise ReceiverFailed(event) from error


UNKNOWN_AT_FIRST = ("answered_at", "ended_at", "ring_seconds", "talk_seconds", "recording_seconds")

LATE = timedelta(seconds=2)
"""A call that became known longer than this after it began may precede calls that were decided already."""

IMPORTED = "imported"
"""The rule of a call that was brought over: it keeps the source that another service named."""

CORRECTED = "corrected"
"""The kind of the event that keeps what a call's source was before it was decided again."""

CALL = table_of(Call)
_call = CALL.c


WHO = [f"who{index}" for index in range(MOST_SPELLINGS)]


def _earlier(*order: Any) -> Select[Any]:
    """The first in this order of a caller's calls, in any spelling of the line, to a number before another call. Internal calls are left
    out."""
    before: Any = bindparam("before")
    sid: Any = bindparam("sid")
    return (
        select(
            _call.id.label("call_id"),
            _call.started_at,
            _call.visit_id,
            _call.source,
            _call.source_key,
            _call.confidence,
            _call.source_confidence,
        )
        .where(
            _call.number_id == bindparam("number"),
            _call.caller.in_([bindparam(name) for name in WHO]),
            _call.started_at <= before,
            or_(_call.started_at < before, _call.sid < sid),
            _call.kind == EXTERNAL,
        )
        .order_by(*order)
        .limit(1)
    )


_NON_DIRECT_FIRST = case(
    (_call.source.is_(None), 2), (_call.source["channel"].as_string() == DIRECT.channel, 1), else_=0
)
_FIRST = Statement(lambda _: _earlier(_call.started_at, _call.sid), EarlierCall)
_LAST_NON_DIRECT = Statement(
    lambda _: _earlier(_NON_DIRECT_FIRST, _call.started_at.desc(), _call.sid.desc()), EarlierCall
)


_WRITTEN: dict[str, Any] = {
    column.name: bindparam(column.name) for column in CALL.c if column.name not in ("id", *UNKNOWN_AT_FIRST)
}
_INSERT = Statement(lambda dialect: insert_new(dialect, CALL, unique=["sid"]).values(_WRITTEN).returning(_call.id))


def record_inbound(
    server: Server,
    session: Session,
    route: Route,
    inbound: InboundCall,
    started_at: datetime,
    now: datetime,
    announcing: bool,
    kind: str | None = None,
) -> int | None:
    """Writes the call with its attribution and announces it. Returns its id; None when it is there already.

    Args:
        route: with the flow that the caller was given.
        announcing: False when a receiver failed before: the event is marked *fan-out due* instead.
        kind: external or internal, as it was when the call came; None: as it is now.

    Raises:
        ReceiverFailed: a receiver of the event failed; repeat with `announcing=False`.
    """
    values = _of_route(route, kind or kind_of(inbound.caller, route.own_lines)) | {
        "sid": inbound.sid,
        "caller": inbound.caller.e164,
        "caller_raw": inbound.caller.raw,
        "started_at": started_at,
        "last_event_at": now,
        "status": Status.IN_PROGRESS,
        "destination": "",
        "recording_sid": "",
        "recording_url": "",
        "counted": False,
        "fan_out_due": "" if announcing else "started",
    }
    reach = reach_of(server.settings)
    values |= decided_values(session, route, reach, inbound.caller, started_at, inbound.sid, values["kind"])
    row = _INSERT.first(session, values)
    if row is None:
        return None
    if announcing:
        announce(server, session, "started", Call(id=row.id, **values), now)
    if now - started_at > LATE:
        decide_later_calls(server, session, route, inbound.caller, started_at, now)
    return cast(int, row.id)


def correct_inbound(
    server: Server,
    session: Session,
    call: Call,
    route: Route,
    inbound: InboundCall,
    started_at: datetime,
    now: datetime,
    kind: str,
) -> None:
    """The first request of a call that was written without it: start, number, flow and attribution are what that request says. The caller's
    later calls are decided again; that this one changed is still to be announced."""
    since, caller_before = min(call.started_at, started_at), Caller(call.caller, call.caller_raw)
    route_before = route_of(session, call.number_id)
    values = _of_route(route, kind) | {
        "caller": inbound.caller.e164,
        "caller_raw": inbound.caller.raw,
        "started_at": started_at,
        "counted": False,
    }
    values |= decided_values(session, route, reach_of(server.settings), inbound.caller, started_at, inbound.sid, kind)
    for name, value in values.items():
        setattr(call, name, value)
    session.flush()
    decide_later_calls(server, session, route, inbound.caller, since, now)
    if route_before and (caller_before.e164, route_before.number_id) != (inbound.caller.e164, route.number_id):
        decide_later_calls(server, session, route_before, caller_before, since, now)


def _of_route(route: Route, kind: str) -> dict[str, Any]:
    """The columns of a call that its route fills."""
    return {
        "project_id": route.project_id,
        "kind": kind,
        "number_id": route.number_id,
        "number": route.number,
        "scenario_id": route.scenario_id,
        "scenario_enabled": route.scenario_enabled,
        "flow": route.flow,
    }


def attribute(
    session: Session, route: Route, caller: Caller, at: datetime, sid: str = "", reach: Reach = USUAL_REACH
) -> tuple[Decision, bool]:
    """The decision of R7 about a call at a moment, and whether the caller had called the number before.

    Args:
        sid: orders the calls of one moment.
        reach: which leases of the number are candidates.
    """
    earlier = earlier_call(session, route, caller, at, sid)
    if route.overflow:
        return decide(earlier, route.static_source, (), {}, route.repeat_credit, overflow=True), earlier is not None
    weighed, sources = weighed_candidates(session, route.number_id, route.hold, at, reach)
    return decide(earlier, route.static_source, weighed, sources, route.repeat_credit), earlier is not None


def earlier_call(session: Session, route: Route, caller: Caller, before: datetime, sid: str = "") -> EarlierCall | None:
    """The earlier call that the project's repeat credit asks for; a withheld caller has no earlier call."""
    if caller.e164 is None:
        return None
    statement = _LAST_NON_DIRECT if route.repeat_credit == LAST_NON_DIRECT else _FIRST
    spellings = spellings_of_line(caller.e164)
    who = dict(zip(WHO, spellings + spellings[:1] * (MOST_SPELLINGS - len(spellings)), strict=True))
    values = {"number": route.number_id, "before": before, "sid": sid, **who}
    return cast("EarlierCall | None", statement.first(session, values))


def decide_later_calls(
    server: Server, session: Session, route: Route, caller: Caller, since: datetime, now: datetime, *, tell: bool = True
) -> None:
    """Decides again the calls of a caller to a number that began at that moment or later, by time, so that each sees the result of the
    calls before. Each is decided by what held when it came: a later choice of the project never changes an older call.

    Args:
        tell: whether a changed result updates what receivers were told.
    """
    if caller.e164 is None:
        return
    later = select(Call).where(
        Call.number_id == route.number_id,
        Call.caller.in_(spellings_of_line(caller.e164)),
        Call.started_at >= since,
        Call.kind == EXTERNAL,
    )
    for call in session.scalars(later.order_by(Call.started_at, Call.sid)):
        given = call.decision.get("given")
        if given is None:
            route_then = replace(route, repeat_credit=FIRST_CALL)
        else:
            route_then = replace(
                route,
                repeat_credit=given["repeat_credit"],
                static_source=given["static_source"],
                hold=timedelta(seconds=given["hold_seconds"]),
                overflow=given.get("overflow", route.overflow),
            )
        values = decided_values(session, route_then, reach_then(call.decision), caller, call.started_at, call.sid)
        if given is not None:  # as it stands, so that nothing but another result is a change
            values["decision"]["given"] = given
        if call.rule == IMPORTED:
            values = {"first_call": values["first_call"]}
        if all(getattr(call, name) == value for name, value in values.items()):
            continue
        if (
            values.get("source_key", call.source_key) != call.source_key
        ):  # the call's page tells what its source was before
            correction = {
                "call_sid": call.sid,
                "key": f"{CORRECTED} {now.isoformat()}",
                "kind": CORRECTED,
                "at": now,
                "facts": {"source": call.source, "rule": call.rule, "source_confidence": call.source_confidence},
            }
            session.execute(insert_new(session, CallEvent, unique=["call_sid", "key"]).values(correction))
        session.execute(update(CALL).where(_call.id == call.id).values(values | {"counted": False}))
        if tell and call.ended_at is not None and call.rule != IMPORTED:
            announce(server, session, "updated", call, now)


def decided_values(
    session: Session, route: Route, reach: Reach, caller: Caller, at: datetime, sid: str, kind: str = EXTERNAL
) -> dict[str, Any]:
    """The columns of a call that its attribution fills, with the state of number, project and settings for a later decision.

    An internal call is decided like the first call of a stranger, because its announcement says what such a call would count for.
    """
    if kind == INTERNAL:
        caller = Caller(None, caller.raw)
    decision, repeat = attribute(session, route, caller, at, sid, reach)
    values = decision.values() | {"first_call": not repeat and not caller.withheld}
    if kind == INTERNAL:
        values["decision"]["steps"][0]["because"] = INTERNAL
    values["decision"]["given"] = {
        "repeat_credit": route.repeat_credit,
        "static_source": dict(route.static_source) if route.static_source is not None else None,
        "hold_seconds": int(route.hold.total_seconds()),
        "overflow": route.overflow,
        **reach.kept(),
    }
    return values


def call_documents(session: Session, calls: Iterable[Call]) -> list[dict[str, Any]]:
    """One document for each call, in the same order, without `deliveries`. Two statements at most.

    What comes from its visit is as the visit is now: fields that its pages told after the call began are among `params`, and click ids
    whose consent was withdrawn are not there any more.
    """
    calls = list(calls)
    ids = {call.visit_id for call in calls if call.visit_id is not None}
    visits = {visit.id: visit for visit in session.scalars(select(Visit).where(Visit.id.in_(ids)))} if ids else {}
    documents = []
    for call in calls:
        visit = visits.get(call.visit_id or 0)
        document = {
            "id": call.id,
            "sid": call.sid,
            "kind": call.kind,
            "started_at": iso(call.started_at),
            "caller": call.caller,
            "number": call.number,
            "scenario": call.scenario_id,
            "destination": call.destination or None,
            "status": call.status,
            "first_call": call.first_call,
            "ring_seconds": call.ring_seconds,
            "duration": call.talk_seconds,
            "visit": visit.number if visit else None,
            "landing_page": visit.page if visit else None,
            "referrer": visit.referrer or None if visit else None,
            "source": call.source,
            "attribution": {
                "rule": call.rule,
                "confidence": call.confidence,
                "source_confidence": call.source_confidence,
                "candidates": [
                    {"visit": candidate["visit"], "probability": candidate["probability"]}
                    for candidate in call.candidates
                ],
            },
            "click_ids": visit.click_ids if visit else {},
            "ga": visit.ga if visit else {},
            "params": visit.params if visit else {},
            "recording": call.recording_url or None,
        }
        documents.append(document)
    return documents
