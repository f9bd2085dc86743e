"""Journals in tests: what carriers' requests write into them, on one machine and on two, and what is stored when they are applied."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select

from router.carriers.base import InboundCall
from router.lib.phones import read_caller
from router.server import Server
from router.voice.answers import Begun
from router.voice.applier import Applier, journal_folder
from router.voice.calls import call_ended, call_started, call_updated
from router.voice.journal import Journal, JournalError
from router.voice.models import EXTERNAL, Call
from router.voice.records import Record, event_record, inbound_record
from router.voice.routing import find_route
from router.voice.state import Event
from tests.factories import NUMBER
from tests.voice.carrier import ANNA, CarrierClient

SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}


class Heard:
    """What receivers of call events are told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        for signal in (call_started, call_ended, call_updated):
            signal.connect(self.hear)

    def hear(self, sender: Server, event: str, call: Call, **_: Any) -> None:
        self.events.append((call.sid, event.removeprefix("call.")))


def applier(server: Server, folder: Path | None = None) -> Applier:
    return Applier(server, folder or journal_folder(server), resident=False)


def calls(server: Server) -> dict[str, Call]:
    with server.database.reading() as session:
        return {call.sid: call for call in session.scalars(select(Call).order_by(Call.started_at))}


def count(server: Server, model: Any) -> int:
    with server.database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def whole_call(carrier: CarrierClient, clock: Any, sid: str = "CA1", caller: str = ANNA) -> None:
    """Forty-five seconds with the company after five of ringing."""
    carrier.dial(NUMBER, caller, sid=sid)
    carrier.leg("ringing", f"CL{sid}", sid=sid)
    clock.shift(timedelta(seconds=5))
    carrier.leg("in-progress", f"CL{sid}", sid=sid)
    clock.shift(timedelta(seconds=45))
    carrier.leg("completed", f"CL{sid}", sid=sid, CallDuration=45)
    carrier.action(NUMBER, 1, "completed", sid=sid, DialBridged="true", DialCallDuration=45, From=caller)
    carrier.status("completed", sid=sid, From=caller, To=NUMBER, CallDuration=45)


def visit(client: FlaskClient, query: str) -> Any:
    return client.post("/tag/k-shop/visits", json={"page": f"https://shop.example/?{query}"}, headers=SITE).get_json()


STORED = (
    "started_at", "answered_at", "ended_at", "status", "talk_seconds", "ring_seconds", "destination", "first_call", "rule", "confidence",
    "source_confidence", "source", "candidates", "decision", "flow", "kind", "number", "caller",
)  # fmt: skip


def stored(call: Call) -> dict[str, Any]:
    return {name: getattr(call, name) for name in STORED}


class NoDisk:
    def append(self, record: Record) -> None:
        raise JournalError("No space left on device")


def inbound_at(server: Server, sid: str, at: datetime, caller: str = ANNA) -> Record:
    with server.database.reading() as session:
        route = find_route(session, NUMBER)
    assert route is not None
    call = InboundCall(sid, "AC1", read_caller(caller), NUMBER, NUMBER)
    return inbound_record(call, route, Begun(at, route.flow, route.flow_id), EXTERNAL, at)


def status_at(sid: str, at: datetime, status: str = "completed", seconds: int | None = 30) -> Record:
    call = InboundCall(sid, "AC1", read_caller(ANNA), NUMBER, NUMBER)
    return event_record(sid, f"status:{status}", Event("status", at, {"status": status, "seconds": seconds}), at, call)


class Machines:
    """Two machines' journals beside one database."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folders = [folder / "one", folder / "two"]
        self.journals = [Journal(each, 2**20) for each in self.folders]
        self.appliers = [applier(server, each) for each in self.folders]

    def append(self, machine: int, record: Record) -> None:
        self.journals[machine].append(record)

    def apply(self, machine: int) -> None:
        self.appliers[machine].apply_all()
