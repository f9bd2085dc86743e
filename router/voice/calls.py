"""Writing calls: an inbound call with its attribution, once; and deciding later calls again when one becomes known late.

A call as programs see it: the shape of the API and of webhooks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Executable, Select, bindparam, case, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.decide.candidates import USUAL_REACH, Reach, reach_of, reach_then, weighed_candidates
from router.attribution.decide.decision import FIRST_CALL, LAST_NON_DIRECT, Decision, EarlierCall, decide
from router.attribution.models import Visit
from router.attribution.tracking.sources import DIRECT
from router.carriers.base import InboundCall
from router.db import insert_new, table_of
from router.lib.phones import MOST_SPELLINGS, Caller, same_line, spellings_of_line
from router.server import Server
from router.statements import Statement
from router.voice.internal import announcement, kind_of
from router.voice.models import EXTERNAL, INTERNAL, Call, CallEvent
from router.voice.routing import Route, destinations_of
from router.voice.signals import CallFacts, announce
from router.web.errors import iso as iso

UNKNOWN_AT_FIRST = ("answered_at", "ended_at", "ring_seconds", "talk_seconds", "recording_seconds")

LATE = timedelta(seconds=2)
"""A call that became known longer than this after it began may come before others that were decided already."""

IMPORTED = "imported"
"""The rule of a call that was brought over: it keeps the source that another service named."""

CORRECTED = "corrected"
"""The kind of the event that keeps what a call's source was before it was decided again."""

CALL = table_of(Call)
_call = CALL.c


WHO = [f"who{index}" for index in range(MOST_SPELLINGS)]


@dataclass(frozen=True, slots=True)
class KnownCall:
    """What the answer to the carrier needs of a call that is written."""

    id: int
    flow: Mapping[str, Any]


def _earlier(*order: Any) -> Select[Any]:
    """The calls of a caller, in any spelling of his line, to a number that began before another; the first in this order. Internal calls
    are nobody's earlier ones."""
    wanted = ("id", "started_at", "visit_id", "source", "source_key", "confidence", "source_confidence")
    before: Any = bindparam("before")
    sid: Any = bindparam("sid")
    return (
        select(*(_call[name] for name in wanted))
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
_FIRST = Statement(lambda _: _earlier(_call.started_at, _call.sid))
_LAST_NON_DIRECT = Statement(lambda _: _earlier(_NON_DIRECT_FIRST, _call.started_at.desc(), _call.sid.desc()))
_BY_SID = Statement(lambda _: select(_call.id, _call.flow).where(_call.sid == bindparam("sid")))


@Statement
def _INSERT(dialect: str) -> Executable:
    given: dict[str, Any] = {
        one.name: bindparam(one.name) for one in CALL.c if one.name not in ("id", *UNKNOWN_AT_FIRST)
    }
    statement: Executable = insert_new(dialect, CALL, unique=["sid"]).values(given).returning(_call.id)
    return statement


def record_inbound(
    server: Server,
    session: Session,
    route: Route,
    inbound: InboundCall,
    started_at: datetime,
    now: datetime,
    tell: bool,
    *,
    answering: bool = True,
) -> KnownCall:
    """Writes the call with its attribution and announces it; a repeated request finds the call that is there.

    Args:
        tell: False when a receiver failed before: the event is marked *fan-out due* instead.
        answering: False when the call is over already: an internal one heard no announcement.

    Raises:
        ReceiverFailed: a floor above failed; repeat with `tell=False`.
    """
    kind = kind_of(inbound.caller, route.own_lines)
    values = _values(route, inbound, started_at, now) | {"kind": kind}
    values |= _decided(session, route, reach_of(server.settings), inbound.caller, started_at, inbound.sid, kind)
    if kind == INTERNAL and answering:
        values["flow"] = route.flow | {"announcement": _announcement(route, inbound.caller, values)}
    values["fan_out_due"] = "" if tell else "started"
    row = _INSERT.first(session, values)
    if row is None:
        return find_call(session, inbound.sid) or KnownCall(0, values["flow"])
    call_id = row[0]
    if tell:
        announce(server, session, "started", facts_of(call_id, values), now)
    if now - started_at > LATE:
        decide_later_calls(server, session, route, inbound.caller, started_at, now)
    return KnownCall(call_id, values["flow"])


def find_call(session: Session, sid: str) -> KnownCall | None:
    row = _BY_SID.first(session, {"sid": sid})
    return KnownCall(*row) if row else None


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
    """The earlier call that the project's repeat credit asks for; a withheld caller never has one."""
    if caller.e164 is None:
        return None
    statement = _LAST_NON_DIRECT if route.repeat_credit == LAST_NON_DIRECT else _FIRST
    spellings = spellings_of_line(caller.e164)
    who = dict(zip(WHO, spellings + spellings[:1] * (MOST_SPELLINGS - len(spellings)), strict=True))
    row = statement.first(session, {"number": route.number_id, "before": before, "sid": sid, **who})
    return EarlierCall(*row) if row else None


def decide_later_calls(
    server: Server, session: Session, route: Route, caller: Caller, since: datetime, now: datetime, *, tell: bool = True
) -> None:
    """Calls of the same caller to the same number that began at that moment or later are decided again, by time, so that each sees what
    those before it came to; a changed result updates what was sent, unless nobody is to be told."""
    if caller.e164 is None:
        return
    later = select(Call).where(
        Call.number_id == route.number_id,
        Call.caller.in_(spellings_of_line(caller.e164)),
        Call.started_at >= since,
        Call.kind == EXTERNAL,
    )
    for call in session.scalars(later.order_by(Call.started_at, Call.sid)):
        values = _decided_again(session, route, call, caller)
        if call.rule == IMPORTED:
            values = {"first_call": values["first_call"]}
        if all(getattr(call, name) == value for name, value in values.items()):
            continue
        _keep_what_it_was(session, call, values, now)
        session.execute(update(CALL).where(_call.id == call.id).values(values | {"counted": False}))
        if tell and call.ended_at is not None and call.rule != IMPORTED:
            announce(server, session, "updated", facts_of(call.id, values_of(call)), now)


def _keep_what_it_was(session: Session, call: Call, values: Mapping[str, Any], now: datetime) -> None:
    """Its page tells that the call was said to come from elsewhere before."""
    if values.get("source_key", call.source_key) == call.source_key:
        return
    facts = {"source": call.source, "rule": call.rule, "source_confidence": call.source_confidence}
    event = {
        "call_sid": call.sid,
        "key": f"{CORRECTED} {now.isoformat()}",
        "kind": CORRECTED,
        "at": now,
        "facts": facts,
    }
    session.execute(insert_new(session, CallEvent, unique=["call_sid", "key"]).values(event))


def _decided(
    session: Session, route: Route, reach: Reach, caller: Caller, at: datetime, sid: str, kind: str = EXTERNAL
) -> dict[str, Any]:
    """A call's columns that are decided. What number, project and settings were like then is kept for a later decision.

    An internal call is decided as if somebody called who never did before, which is what it is to show.
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


def _decided_again(session: Session, route: Route, call: Call, caller: Caller) -> dict[str, Any]:
    """By what held when the call came; what was kept of that stays as it is, so that nothing but another result is a change."""
    reach = reach_then(call.decision)
    values = _decided(session, _as_it_was(route, call), reach, caller, call.started_at, call.sid)
    if "given" in call.decision:
        values["decision"]["given"] = call.decision["given"]
    return values


def _as_it_was(route: Route, call: Call) -> Route:
    """The route of a number with what was chosen for it when a call came: a later choice never changes an older call."""
    given = call.decision.get("given")
    if given is None:
        return replace(route, repeat_credit=FIRST_CALL)
    return replace(
        route,
        repeat_credit=given["repeat_credit"],
        static_source=given["static_source"],
        hold=timedelta(seconds=given["hold_seconds"]),
        overflow=given.get("overflow", route.overflow),
    )


def _announcement(route: Route, caller: Caller, values: Mapping[str, Any]) -> str:
    others = destinations_of(route.flow, route.number, caller.e164)
    is_line = any(same_line(one.get("to"), caller.e164) for one in route.flow["destinations"])
    return announcement(
        route.scenario_title, route.scenario_enabled, values, values["started_at"], bool(others), is_line
    )


def facts_of(call_id: int, values: Mapping[str, Any]) -> CallFacts:
    return CallFacts(
        id=call_id,
        sid=values["sid"],
        project_id=values["project_id"],
        scenario_id=values["scenario_id"],
        scenario_enabled=values["scenario_enabled"],
        kind=values["kind"],
        caller=values["caller"],
        started_at=values["started_at"],
        ended_at=values.get("ended_at"),
    )


def values_of(call: Call) -> dict[str, Any]:
    return {column.name: getattr(call, column.name) for column in CALL.columns}


def _values(route: Route, inbound: InboundCall, started_at: datetime, now: datetime) -> dict[str, Any]:
    return {
        "sid": inbound.sid,
        "project_id": route.project_id,
        "number_id": route.number_id,
        "number": route.number,
        "scenario_id": route.scenario_id,
        "scenario_enabled": route.scenario_enabled,
        "flow": route.flow,
        "caller": inbound.caller.e164,
        "caller_raw": inbound.caller.raw,
        "started_at": started_at,
        "last_event_at": now,
        "status": "in_progress",
        "destination": "",
        "recording_sid": "",
        "recording_url": "",
        "counted": False,
    }


def call_documents(session: Session, calls: Iterable[Call]) -> list[dict[str, Any]]:
    """One document for each call, in the same order, without `deliveries` (those belong to the floor above). Two statements at most.

    What comes from its visit is as the visit is now: fields that its pages told after the call began are among `params`, and click ids
    whose consent was withdrawn are not there any more.
    """
    calls = list(calls)
    wanted = {call.visit_id for call in calls if call.visit_id is not None}
    visits = {visit.id: visit for visit in session.scalars(select(Visit).where(Visit.id.in_(wanted)))} if wanted else {}
    return [_document(call, visits.get(call.visit_id or 0)) for call in calls]


def _document(call: Call, visit: Visit | None) -> dict[str, Any]:
    return {
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
            "candidates": [{"visit": one["visit"], "probability": one["probability"]} for one in call.candidates],
        },
        "click_ids": visit.click_ids if visit else {},
        "ga": visit.ga if visit else {},
        "params": visit.params if visit else {},
        "recording": call.recording_url or None,
    }
