"""Forgotten callers (R14): whatever becomes known of their calls after they were forgotten is written without their number, as if it had
been known in time. A call that begins after the forgetting is a call as any.

Of a forgotten caller a keyed hash is left, and the moment. The calls until then name the forgetting where they named him, so that earlier
and repeat calls stay what they are, in whichever order they become known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from router.carriers.base import InboundCall
from router.db import table_of, wait_for_turn
from router.lib.crypto import KeyRing
from router.lib.phones import Caller, line_of
from router.server import Server
from router.statements import Statement
from router.voice.models import ForgottenCaller
from router.voice.records import Record, moment_of, read_call
from router.voice.routing import find_route_of_call

FORGETTING_TURN = 7305
"""Of `wait_for_turn`: whoever writes a caller's number shares it, whoever erases one is alone."""

FORGOTTEN = "forgotten"
"""What a record without its caller's number names the forgetting by."""

NOBODY = {"e164": None, "raw": ""}
"""The caller in a record, erased."""


def line_hashes(keys: KeyRing, project_id: int, e164: str) -> list[str]:
    """What is kept of a caller's line in a project, under each key, newest first."""
    message = f"{project_id} {line_of(e164)}".encode()
    return [mac.hex() for mac in keys.macs("forgotten caller", message, 32)]


_ROW = table_of(ForgottenCaller).c
_SINCE = Statement(
    select(_ROW.id, _ROW.project_id, _ROW.line_hash, _ROW.at)
    .where(_ROW.at >= bindparam("moment"))
    .order_by(_ROW.at, _ROW.id)
)


@dataclass(frozen=True)
class Forgettings:
    """The forgettings that may concern what is about to be written."""

    keys: KeyRing
    rows: Sequence[Any]
    """Of ForgottenCaller, the earliest first."""

    @classmethod
    def since(cls, server: Server, session: Session, moment: datetime) -> "Forgettings":
        """Those at a moment or later. Until the end of the transaction nobody is forgotten: ask before you wait for any other turn."""
        wait_for_turn(session, FORGETTING_TURN, 0, shared=True)
        return cls(server.keys, _SINCE.all(session, {"moment": moment}))

    def covers(self, project_id: int, e164: str | None, at: datetime) -> int | None:
        """The id of the forgetting that a caller's call of that moment falls under: the first one after it."""
        if e164 is None or not self.rows:
            return None
        hashes = line_hashes(self.keys, project_id, e164)
        for row in self.rows:
            if row.project_id == project_id and row.at >= at and row.line_hash in hashes:
                return int(row.id)
        return None

    def applied_to(self, call: InboundCall, project_id: int, started_at: datetime) -> InboundCall:
        """The call as it is written."""
        forgotten = self.covers(project_id, call.caller.e164, started_at)
        return call if forgotten is None else replace(call, caller=Caller(None, "", forgotten))


def with_forgotten(server: Server, session: Session, records: Sequence[Record]) -> Sequence[Record]:
    """Records of the journal, without the numbers of callers who were forgotten after they were written."""
    telling = [record for record in records if record.get("call")]
    if not telling:
        return records
    forgettings = Forgettings.since(server, session, min(map(moment_of, telling)))
    if not forgettings.rows:
        return records
    erased = []
    for record in records:
        project_id = project_of(session, record) if record.get("call") else None
        if project_id is not None:
            forgotten = forgettings.covers(project_id, record["call"]["caller"]["e164"], moment_of(record))
            record = record if forgotten is None else without_caller(record, forgotten)
        erased.append(record)
    return erased


def project_of(session: Session, record: Record) -> int | None:
    """The project whose number was dialled; None: a number that never was ours."""
    if record.get("route"):
        return int(record["route"]["project_id"])
    route = find_route_of_call(session, read_call(record["call"]))
    return route.project_id if route else None


def without_caller(record: Record, forgotten: int | None) -> Record:
    """A record that tells of its call, without the caller. `forgotten`: None: he was forgotten before it was known whose call it is."""
    kept = {**record, "call": {**record["call"], "caller": NOBODY}, FORGOTTEN: forgotten}
    return kept | {"text": {"body": "", "media": []}} if "text" in kept else kept
