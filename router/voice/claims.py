"""Whose calls an account at the carrier may speak of. What a project's own account has signed counts for calls of that project alone,
whatever call it names; the server's account speaks of all.

A request that names no call of another project as far as its machine knows is kept with the projects whose account has signed it. Whoever
writes it compares: with the call that is there, else, of an event that is known before its call, as soon as there is one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.voice.models import Call, CallEvent, CallLeg, CallRecording
from router.voice.recordings import remove_recordings
from router.voice.records import Record, read_call
from router.voice.routing import find_route_of_call
from router.voice.state import Event

log = structlog.get_logger(__name__)

SIGNED_FOR = "signed_for"
"""Of a record, and of the facts of its event: ids of the projects whose account has signed the request; absent: the server's has."""
PENDING = "pending"
"""Of an event's facts: its call was not known when it was stored. Until it is, the event's key ends with the projects, so that nobody
takes the place of another project's event."""


class ForeignRequest(ValueError):
    """An account has signed what is about another project's call. Nothing of it is written."""


def check_claim(record: Record, project_id: int) -> None:
    """
    Raises:
        ForeignRequest: the record speaks of a call of this project, whose account has not signed it.
    """
    projects = record.get(SIGNED_FOR)
    if projects is not None and project_id not in projects:
        signed = ", ".join(map(str, projects))
        log.warning("foreign_request", call=record["sid"], kind=record["kind"], project=project_id, signed_for=projects)
        raise ForeignRequest(f"An account of project {signed} has signed it, and it is about project {project_id}.")


def with_claims(session: Session, records: Sequence[Record]) -> list[Record]:
    """Events as they are to be stored, with the projects that may speak so.

    Raises:
        ForeignRequest: the call of one of them is another project's.
    """
    claimed = {record["sid"] for record in records if SIGNED_FOR in record}
    if not claimed:
        return list(records)
    calls = select(Call.sid, Call.project_id).where(Call.sid.in_(claimed))
    owners: dict[str, int] = {row.sid: row.project_id for row in session.execute(calls)}
    found = []
    for record in records:
        if SIGNED_FOR not in record:
            found.append(record)
            continue
        owner, facts = owners.get(record["sid"]), {**record["facts"], SIGNED_FOR: record[SIGNED_FOR]}
        if owner is None and record["call"] and (route := find_route_of_call(session, read_call(record["call"]))):
            check_claim(record, route.project_id)
        if owner is None:
            ids = ",".join(map(str, record[SIGNED_FOR]))
            found.append({**record, "key": f"{record['key'][:120]}@{ids}"[:160], "facts": facts | {PENDING: True}})
        else:
            check_claim(record, owner)
            found.append({**record, "facts": facts})
    return found


def may_speak(facts: Mapping[str, Any], project_id: int) -> bool:
    """Whether an event can be one of a project's call."""
    return project_id in facts.get(SIGNED_FOR, (project_id,))


def settle_claims(session: Session, calls: Mapping[str, Call], events: dict[str, list[Event]], now: datetime) -> None:
    """The events of calls that are known now: what another project's account said of them is taken away, from the database too."""
    for sid, call in calls.items():
        if not any(_is_open(event.facts, call) for event in events[sid]):
            continue
        rows = session.scalars(
            select(CallEvent).where(CallEvent.call_sid == sid).order_by(CallEvent.at, CallEvent.id)
        ).all()
        if any(
            not may_speak(row.facts, call.project_id) for row in rows
        ):  # it was taken for another project's call until now
            session.execute(delete(CallLeg).where(CallLeg.call_sid == sid))
            theirs = (CallRecording.call_sid == sid) & (CallRecording.project_id != call.project_id)
            remove_recordings(session, theirs, "It is of no call of the project.", now)
        kept: dict[str, CallEvent] = {row.key: row for row in rows if not _is_open(row.facts, call)}
        for row in rows:
            if not _is_open(row.facts, call):
                continue
            key = row.key.rpartition("@")[0] if PENDING in row.facts else row.key
            is_foreign = not may_speak(row.facts, call.project_id)
            if is_foreign:
                projects = row.facts[SIGNED_FOR]
                log.warning("foreign_request", call=sid, kind=row.kind, project=call.project_id, signed_for=projects)
            if is_foreign or key in kept:
                session.delete(row)
                continue
            row.key, row.facts = key, {name: value for name, value in row.facts.items() if name != PENDING}
            kept[key] = row
        session.flush()
        events[sid] = [Event(row.kind, row.at, row.facts) for row in rows if row in kept.values()]


def _is_open(facts: Mapping[str, Any], call: Call) -> bool:
    """Whether it is still to be seen, or seen anew, if an event is the call's."""
    return PENDING in facts or not may_speak(facts, call.project_id)
