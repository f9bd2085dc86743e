"""What the journal keeps of a carrier's request (R12): all that is needed to write its call or its event later, as if at once.

Every record has a `kind`, the moment `at` of the request by the machine's clock, the `sid` of its call, and `clock_offset`: by how many
seconds that clock was ahead of the database's, null when that was not known. *inbound* and *fallback* have
the `call` as the carrier told it, the `route` that led it, and the `flow` that was given; the others have an event's `key`, its time
`event_at` and its `facts`, and where the request tells them, the `call` and what it `began` with. A *text* is a message to a number, with
what was written beside who wrote to whom. `signed_for` names the projects whose own account has signed the request
(`claims.py`). Heartbeats that the database refused
stand among them and are no carrier's (`attribution/tracking/refused.py`).
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from router.carriers.base import InboundCall, InboundText
from router.lib.phones import Caller
from router.scenarios.flows import is_full
from router.voice.answers import Begun
from router.voice.given import Given
from router.voice.routing import Route, read_route, route_values
from router.voice.state import Event

Record = Mapping[str, Any]

CALL_FIELDS = [field.name for field in fields(InboundCall)]

INBOUND, FALLBACK, TEXT = "inbound", "fallback", "text"


def inbound_record(
    call: InboundCall,
    route: Route | None,
    begun: Begun,
    kind: str,
    now: datetime,
    *,
    is_fallback: bool = False,
    given: Given | None = None,
) -> Record:
    """A call that came in, and the flow that it was given.

    Args:
        route: None: the number is unknown here.
        kind: of the call, external or internal.
        is_fallback: it was led by the simplest answer, because the carrier could not use another; it may be known already.
        given: what the answer led to; of destinations in turn it is known that the first one rings.
    """
    flow = begun.kept_flow()
    if given is not None and (is_full(begun.flow) or given["leads"] != "ring"):
        flow["given"] = given
    return {
        "kind": FALLBACK if is_fallback else INBOUND,
        "at": now.isoformat(),
        "sid": call.sid,
        "call": call_values(call),
        "call_kind": kind,
        "route": route_values(route) if route else None,
        "flow": flow,
        "start": begun.started_at.isoformat(),
    }


def text_record(text: InboundText, route: Route | None, kind: str, now: datetime) -> Record:
    """A text message that came in. `route`: None: the number is unknown here."""
    return {
        "kind": TEXT,
        "at": now.isoformat(),
        "sid": text.call.sid,
        "call": call_values(text.call),
        "call_kind": kind,
        "route": route_values(route) if route else None,
        "flow": {"destinations": []},
        "text": {"body": text.body, "media": list(text.media)},
    }


def event_record(
    sid: str, key: str, event: Event, now: datetime, call: InboundCall | None = None, begun: Begun | None = None
) -> Record:
    """Something that happened in a call. `key` is the same for repetitions of the same request."""
    return {
        "kind": event.kind,
        "at": now.isoformat(),
        "sid": sid,
        "key": key,
        "event_at": event.at.isoformat(),
        "facts": dict(event.facts),
        "call": call_values(call) if call else None,
        "began": {"start": begun.started_at.isoformat(), "flow": begun.kept_flow()} if begun else None,
    }


def call_values(call: InboundCall) -> dict[str, Any]:
    """What `read_call` reads, as `asdict` would tell it, in a fifth of the time."""
    caller = {"e164": call.caller.e164, "raw": call.caller.raw}
    return {name: getattr(call, name) for name in CALL_FIELDS} | {"caller": caller}


def read_call(document: Mapping[str, Any], forgotten: int | None = None) -> InboundCall:
    """
    Args:
        forgotten: the forgetting that erased its caller.

    Raises:
        KeyError, TypeError: it is no call.
    """
    caller = Caller(document["caller"]["e164"], document["caller"]["raw"], forgotten)
    return InboundCall(
        **{
            **document,
            "caller": caller,
            "other_readings": tuple(document["other_readings"]),
            "readings_anywhere": tuple(document["readings_anywhere"]),
        }
    )


def moment_of(record: Record) -> datetime:
    """When the call began that a record is about, as far as it tells, else when it was written."""
    began = record.get("began") or {}
    return datetime.fromisoformat(record.get("start") or began.get("start") or record["at"])


def read_route_of(record: Record) -> Route | None:
    """The route that led an inbound call, with the flow that was given."""
    return read_route(record["route"], record["flow"]) if record["route"] else None


def read_event(record: Record) -> Event:
    return Event(record["kind"], datetime.fromisoformat(record["event_at"]), record["facts"])
