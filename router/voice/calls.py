"""Inbound calls: each is written once with its attribution (R7), decided again when an earlier call becomes known late, announced to the
receivers of call events in the same transaction, and told to programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from blinker import Signal
from sqlalchemy import Executable, select
from sqlalchemy.orm import Session

from router.attribution.decision import (
    FIRST_CALL,
    LAST_NON_DIRECT,
    USUAL_REACH,
    Decision,
    EarlierCall,
    Question,
    Reach,
    decide,
    many_weighed_candidates,
    reach_of,
    reach_then,
)
from router.attribution.models import Visit
from router.carriers.base import InboundCall
from router.db import insert_new, table_of
from router.lib.phones import Caller, Redactor, line_of, spellings_of_line
from router.server import Server
from router.statements import Statement, given
from router.voice.earlier_calls import OF_FORGOTTEN, OF_KNOWN, values_of_line
from router.voice.models import EXTERNAL, Call, CallEvent, Status, caller_forgotten
from router.voice.recordings import main_recording, recording_document, recordings_of
from router.voice.routing import Route, kept_flow, kind_of, route_of
from router.web.errors import iso as iso

call_started = Signal("A call came in and is being forwarded.")
call_answered = Signal("Somebody of the company answered a call; sent once for each call.")
call_ended = Signal("A call ended; sent once for each call.")
call_recorded = Signal("A recording of a call can be heard.")
call_updated = Signal(
    "Something about an ended call changed: a recording came, a corrected duration or status, another attribution."
)
CALL_EVENTS = {
    "started": call_started,
    "answered": call_answered,
    "ended": call_ended,
    "updated": call_updated,
    "recorded": call_recorded,
}
calls_announced = Signal(
    "All events of calls that belong to one piece of work were sent: receivers write what they have kept of them."
)


class ReceiverFailed(Exception):
    """A receiver of a call event raised: the call's facts are committed all the same, marked *fan-out due*."""


def announce(server: Server, session: Session, news: Iterable[tuple[str, Call]], now: datetime) -> None:
    """Sends events of calls, by their names in CALL_EVENTS, to the receivers of call events, which write in the transaction of the events.

    Raises:
        ReceiverFailed: the transaction is spoilt; it has to be repeated without announcing.
    """
    event = ""
    try:
        for event, call in news:
            CALL_EVENTS[event].send(server, session=session, event=f"call.{event}", call=call, now=now)
        calls_announced.send(server, session=session)
        session.flush()
    except Exception as error:
        raise ReceiverFailed(event) from error


UNKNOWN_AT_FIRST = (
    *("answered_at", "ended_at", "ring_seconds", "talk_seconds", "recording_seconds"),
    *("inbound_price_micros", "outbound_price_micros", "price_currency"),
)

LATE = timedelta(seconds=2)
"""A call that became known longer than this after it began may precede calls that were decided already."""

IMPORTED = "imported"
"""The rule of a call that was brought over: it keeps the source that another service named."""

CORRECTED = "corrected"
"""The kind of the event that keeps what a call's source was before it was decided again."""

CALL = table_of(Call)
_call = CALL.c


_WRITTEN: dict[str, Any] = {
    column.name: column.type for column in CALL.c if column.name not in ("id", *UNKNOWN_AT_FIRST)
}


@Statement
def _INSERT(dialect: str) -> Executable:
    rows = given(dialect, _WRITTEN)
    select_rows = select(*(rows[name] for name in _WRITTEN))
    return cast(
        "Executable",
        insert_new(dialect, CALL, unique=["sid"])
        .from_select(list(_WRITTEN), select_rows)
        .returning(_call.id, _call.sid),
    )


def name_of(caller: Caller) -> str:
    """The same for calls of one caller: his line, or the forgetting that stands for it; empty for a withheld number."""
    return line_of(caller.e164) if caller.e164 else f"forgotten {caller.forgotten}" if caller.forgotten else ""


def caller_of(call: Call) -> Caller:
    return Caller(call.caller, call.caller_raw, call.forgotten_id)


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that came in, as it is to be written. Its route has the flow that the caller was given."""

    route: Route
    call: InboundCall
    started_at: datetime
    kind: str
    """External, internal or blocked, as it was when the call came."""

    @property
    def line(self) -> tuple[int, str] | None:
        """The number and the caller's line: calls that have them in common see each other. None: the number is withheld."""
        caller = self.call.caller
        return None if caller.withheld else (self.route.number_id, name_of(caller))

    @property
    def order(self) -> tuple[datetime, str]:
        return self.started_at, self.call.sid


def mark_due(call: Call, event: str) -> None:
    """The worker announces the event of this call again, once."""
    due = call.fan_out_due.split(",") if call.fan_out_due else []
    if event not in due:
        call.fan_out_due = ",".join([*due, event])


HELD = "held"
"""Among the events that are due: the end of a call whose caller has given up as far as is known. Another machine's journal, or the carrier,
may be about to tell how a forwarding ended."""


def hold_end(call: Call, *, is_held: bool) -> None:
    """Notes whether the end of a call is held."""
    due = [event for event in call.fan_out_due.split(",") if event not in ("", HELD)]
    call.fan_out_due = ",".join([*due, HELD] if is_held else due)


def is_end_held(call: Call) -> bool:
    return HELD in call.fan_out_due.split(",")


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
    """Writes one call as `record_calls` does; `kind` None: as it is now. Returns its id; None when it is there already."""
    new = NewCall(route, inbound, started_at, kind or kind_of(inbound.caller, route.own_lines))
    return record_calls(server, session, [new], now, announcing).get(inbound.sid)


def record_calls(
    server: Server, session: Session, news: Sequence[NewCall], now: datetime, announcing: bool
) -> dict[str, int]:
    """Writes calls with their attribution, in this order, and announces them. Returns the ids of those that were not there, by the
    carrier's ids.

    Args:
        announcing: False when a receiver failed before: the event is marked *fan-out due* instead.

    Raises:
        ReceiverFailed: a receiver of the event failed; repeat with `announcing=False`.
    """
    ids: dict[str, int] = {}
    written: list[tuple[NewCall, dict[str, Any]]] = []
    rest = list(news)
    while rest:
        # calls of one caller to one number see the ones before
        turn = list({new.line or new.call.sid: new for new in reversed(rest)}.values())[::-1]
        taken = {id(new) for new in turn}
        rest = [new for new in rest if id(new) not in taken]
        asked = [(new.route, new.call.caller, new.started_at, new.call.sid, new.kind) for new in turn]
        decided = many_decided_values(session, asked, reach_of(server.settings))
        values = [
            _of_route(new.route, new.kind)
            | {
                "sid": new.call.sid,
                "caller": new.call.caller.e164,
                "caller_raw": new.call.caller.raw,
                "forgotten_id": new.call.caller.forgotten,
                "started_at": new.started_at,
                "last_event_at": now,
                "status": Status.IN_PROGRESS,
                "destination": "",
                "recording_sid": "",
                "recording_url": "",
                "counted": False,
                "fan_out_due": "" if announcing else "started",
            }
            | attribution
            for new, attribution in zip(turn, decided, strict=True)
        ]
        stored = {row.sid: row.id for row in _INSERT.together(session, values)}
        for new, row in zip(turn, values, strict=True):
            if new.call.sid in stored.keys() - ids.keys():
                ids[new.call.sid] = stored[new.call.sid]
                written.append((new, row))
    if announcing:
        # as receivers read a new call; an object of the ORM would cost as much as all that they do
        begun = (
            SimpleNamespace(id=ids[new.call.sid], **row, **dict.fromkeys(UNKNOWN_AT_FIRST)) for new, row in written
        )
        announce(server, session, (("started", cast("Call", call)) for call in begun), now)
    for new in _with_later_calls(session, [new for new, _ in written], now):
        decide_later_calls(server, session, new.route, new.call.caller, new.started_at, now, announcing=announcing)
    return ids


def _with_later_calls(session: Session, news: Sequence[NewCall], now: datetime) -> list[NewCall]:
    """Those after which a call of the same caller to the same number was decided already: their first requests were applied in another
    order. One statement for those that have just come in, and one for each that became known late."""
    fresh = [new for new in news if new.call.caller.e164 and now - new.started_at <= LATE]
    late = [new for new in news if new.call.caller.e164 and now - new.started_at > LATE]
    forgotten = [new for new in news if new.call.caller.forgotten]
    later: dict[Any, tuple[datetime, str]] = {}
    if fresh:
        recent = select(_call.number_id, _call.caller, _call.started_at, _call.sid).where(
            _call.project_id.in_({new.route.project_id for new in fresh}),
            _call.started_at >= min(new.started_at for new in fresh),
            _call.caller.is_not(None),
            _call.kind == EXTERNAL,
        )
        for row in session.execute(recent):
            line = row.number_id, line_of(row.caller)
            later[line] = max(later.get(line, (row.started_at, row.sid)), (row.started_at, row.sid))
    for asked, of in ((late, OF_KNOWN), (forgotten, OF_FORGOTTEN)):
        lasts = []
        if asked:
            values = [values_of_line(new.route, new.call.caller) | {"since": new.started_at} for new in asked]
            lasts = of.last.many(session, values)
        for new, rows in zip(asked, lasts, strict=True):
            if rows:
                later[new.line] = (rows[0].started_at, rows[0].sid)
    return [new for new in news if new.line in later and later[new.line] > new.order]


def correct_inbound(
    server: Server, session: Session, call: Call, new: NewCall, now: datetime, announcing: bool = True
) -> None:
    """The first request of a call that was written without it: start, number, flow and attribution are what that request says. The caller's
    later calls are decided again; that this one changed is still to be announced.

    Raises:
        ReceiverFailed: a receiver of a later call's event failed; repeat with `announcing=False`.
    """
    since, caller_before = min(call.started_at, new.started_at), caller_of(call)
    route_before = route_of(session, call.number_id)
    caller, route = new.call.caller, new.route
    values = _of_route(route, new.kind) | {
        "caller": caller.e164,
        "caller_raw": caller.raw,
        "forgotten_id": caller.forgotten,
        "started_at": new.started_at,
        "counted": False,
    }
    reach = reach_of(server.settings)
    values |= decided_values(session, route, reach, caller, new.started_at, call.sid, new.kind)
    if caller.forgotten is not None and caller_before.e164:  # it was taken for a call of after the forgetting
        told: dict[str, Any] = {"project_id": call.project_id, "redactor": Redactor(caller_before.e164)}
        told |= {"call_ids": [call.id], "forgotten_id": caller.forgotten}
        caller_forgotten.send(server, session=session, **told)
    for name, value in values.items():
        setattr(call, name, value)
    session.flush()
    decide_later_calls(server, session, route, caller, since, now, announcing=announcing)
    if route_before and (name_of(caller_before), route_before.number_id) != (name_of(caller), route.number_id):
        decide_later_calls(server, session, route_before, caller_before, since, now, announcing=announcing)


def _of_route(route: Route, kind: str) -> dict[str, Any]:
    """The columns of a call that its route fills."""
    return {
        "project_id": route.project_id,
        "kind": kind,
        "number_id": route.number_id,
        "number": route.number,
        "scenario_id": route.scenario_id,
        "scenario_enabled": route.scenario_enabled,
        "flow": kept_flow(route.flow, route.flow_id),
    }


def attribute(
    session: Session, route: Route, caller: Caller, at: datetime, sid: str = "", reach: Reach = USUAL_REACH
) -> tuple[Decision, bool]:
    """The decision of R7 about a call at a moment, and whether the caller had called the number before.

    Args:
        sid: orders the calls of one moment.
        reach: which leases of the number are candidates.
    """
    return _attribute_many(session, [(route, caller, at, sid)], reach)[0]


def _attribute_many(
    session: Session, asked: Sequence[tuple[Route, Caller, datetime, str]], reach: Reach
) -> list[tuple[Decision, bool]]:
    """The same for calls of which none is an earlier one of another."""
    earlier: list[EarlierCall | None] = [None] * len(asked)
    for of, is_forgotten, last in (
        (OF_KNOWN, False, True),
        (OF_KNOWN, False, False),
        (OF_FORGOTTEN, True, True),
        (OF_FORGOTTEN, True, False),
    ):
        # the earlier call that the project's repeat credit asks for; a withheld caller has none
        places = [
            place
            for place, (route, caller, *_) in enumerate(asked)
            if (caller.forgotten is not None if is_forgotten else caller.e164 is not None)
            and (route.repeat_credit == LAST_NON_DIRECT) is last
        ]
        if not places:
            continue
        statement = of.last_non_direct if last else of.first
        values = []
        for place in places:
            route, caller, at, sid = asked[place]
            values.append(values_of_line(route, caller) | {"before": at, "sid": sid})
        for place, rows in zip(places, statement.many(session, values), strict=True):
            earlier[place] = rows[0] if rows else None
    leased = [place for place, (route, *_) in enumerate(asked) if not route.overflow]
    questions = [
        Question(route.number_id, route.hold, at, reach) for route, _, at, _ in (asked[place] for place in leased)
    ]
    weighed = dict(zip(leased, many_weighed_candidates(session, questions), strict=True))
    decisions = []
    for place, (route, *_) in enumerate(asked):
        candidates, sources = weighed.get(place, ((), {}))
        before = earlier[place]
        decision = decide(
            before, route.static_source, candidates, sources, route.repeat_credit, overflow=route.overflow
        )
        decisions.append((decision, before is not None))
    return decisions


def decide_later_calls(
    server: Server,
    session: Session,
    route: Route,
    caller: Caller,
    since: datetime,
    now: datetime,
    *,
    tell: bool = True,
    announcing: bool = True,
) -> None:
    """Decides again the calls of a caller to a number that began at that moment or later, by time, so that each sees the result of the
    calls before. Each is decided by what held when it came: a later choice of the project never changes an older call.

    Args:
        tell: whether a changed result updates what receivers were told.
        announcing: False when a receiver failed before: the event is marked *fan-out due* instead.

    Raises:
        ReceiverFailed: a receiver of the event failed; repeat with `announcing=False`.
    """
    if caller.withheld:
        return
    later = select(Call).where(
        Call.number_id == route.number_id,
        Call.caller.in_(spellings_of_line(caller.e164)) if caller.e164 else Call.forgotten_id == caller.forgotten,
        Call.started_at >= since,
        Call.kind == EXTERNAL,
    )
    for call in session.scalars(later.order_by(Call.started_at, Call.sid)):
        decide_again(server, session, route, caller, call, now, tell=tell, announcing=announcing)


def decide_again(
    server: Server,
    session: Session,
    route: Route,
    caller: Caller,
    call: Call,
    now: datetime,
    *,
    tell: bool = True,
    announcing: bool = True,
) -> None:
    """Decides one call again, as `decide_later_calls` does."""
    then = call.decision.get("given")
    if then is None:
        route_then = replace(route, repeat_credit=FIRST_CALL)
    else:
        route_then = replace(
            route,
            repeat_credit=then["repeat_credit"],
            static_source=then["static_source"],
            hold=timedelta(seconds=then["hold_seconds"]),
            overflow=then.get("overflow", route.overflow),
        )
    reach = reach_then(call.decision)
    values = decided_values(session, route_then, reach, caller, call.started_at, call.sid, call.kind)
    if then is not None:  # as it stands, so that nothing but another result is a change
        values["decision"]["given"] = then
    if call.rule == IMPORTED:
        values = {"first_call": values["first_call"]}
    if all(getattr(call, name) == value for name, value in values.items()):
        return
    if values.get("source_key", call.source_key) != call.source_key:  # the call's page tells what its source was before
        correction = {
            "call_sid": call.sid,
            "key": f"{CORRECTED} {now.isoformat()}",
            "kind": CORRECTED,
            "at": now,
            "facts": {"source": call.source, "rule": call.rule, "source_confidence": call.source_confidence},
        }
        session.execute(insert_new(session, CallEvent, unique=["call_sid", "key"]).values(correction))
    for name, value in (values | {"counted": False}).items():
        setattr(call, name, value)
    session.flush()
    if not tell or call.ended_at is None or is_end_held(call) or call.rule == IMPORTED:
        return
    if announcing:
        announce(server, session, [("updated", call)], now)
    else:
        mark_due(call, "updated")


def decided_values(
    session: Session, route: Route, reach: Reach, caller: Caller, at: datetime, sid: str, kind: str = EXTERNAL
) -> dict[str, Any]:
    """The columns of a call that its attribution fills, with the state of number, project and settings for a later decision.

    An internal or blocked call is decided like the first call of a stranger: it tells what such a call would count for.
    """
    return many_decided_values(session, [(route, caller, at, sid, kind)], reach)[0]


def many_decided_values(
    session: Session, asked: Sequence[tuple[Route, Caller, datetime, str, str]], reach: Reach
) -> list[dict[str, Any]]:
    """The same for calls of which none is an earlier one of another."""
    callers = [caller if kind == EXTERNAL else Caller(None, caller.raw) for _, caller, _, _, kind in asked]
    questions = [(route, caller, at, sid) for caller, (route, _, at, sid, _) in zip(callers, asked, strict=True)]
    rows = []
    for (decision, repeat), (route, *_, kind), caller in zip(
        _attribute_many(session, questions, reach), asked, callers, strict=True
    ):
        values = decision.values() | {"first_call": not repeat and not caller.withheld}
        if kind != EXTERNAL:
            values["decision"]["steps"][0]["because"] = kind
        values["decision"]["given"] = {
            "repeat_credit": route.repeat_credit,
            "static_source": dict(route.static_source) if route.static_source is not None else None,
            "hold_seconds": int(route.hold.total_seconds()),
            "overflow": route.overflow,
            **reach.kept(),
        }
        rows.append(values)
    return rows


def call_documents(server: Server, session: Session, calls: Iterable[Call]) -> list[dict[str, Any]]:
    """One document for each call, in the same order, without `deliveries`. Three statements at most.

    What comes from its visit is as the visit is now: fields that its pages told after the call began are among `params`, and click ids
    whose consent was withdrawn are not there any more.
    """
    calls = list(calls)
    ids = {call.visit_id for call in calls if call.visit_id is not None}
    visits = {visit.id: visit for visit in session.scalars(select(Visit).where(Visit.id.in_(ids)))} if ids else {}
    recorded = recordings_of(session, calls)
    documents = []
    for call in calls:
        visit = visits.get(call.visit_id or 0)
        main = main_recording(recorded[call.sid])
        recordings = [recording_document(server, call, recording) for recording in recorded[call.sid]]
        document = {
            "id": call.id,
            "sid": call.sid,
            "kind": call.kind,
            "blocked": call.flow.get("blocked"),
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
            "recording": recording_document(server, call, main) if main else None,
            "recordings": recordings,
        }
        documents.append(document)
    return documents
