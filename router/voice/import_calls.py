"""Brings the call history of another service over, so that rule 1 of R7 knows old customers from the first day (R13).

The calls stand here with the source that the other service named. Nobody is told about them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.sources import LONGEST_VALUE, named_source
from router.database import LONG_AGO, insert_new
from router.phones import BadPhone, Caller, read_phone
from router.scenarios.models import TrackingNumber
from router.scenarios.old_settings.table import Row, cell_error, plain, read_table
from router.server import Server
from router.voice.calls import CALL, IMPORTED, decide_later_calls
from router.voice.internal import kind_of, own_lines
from router.voice.models import EXTERNAL, Call
from router.voice.routing import route_of

NEEDED = ("number", "caller", "started_at")
OPTIONAL = ("source", "medium", "campaign")
MOST_ROWS = 200_000
MOST_BYTES = 32 * 1024 * 1024
AT_ONCE = 500
"""Rows of one transaction."""
WITHHELD = ("", "anonymous", "withheld", "unknown", "restricted", "private", "unavailable", "hidden")
NUMERALS = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M")


@dataclass(frozen=True, slots=True)
class OldCall:
    """A call as the other service knew it; without a source it only tells that the caller is not new."""

    number_id: int
    number: str
    caller: str
    started_at: datetime
    source: str
    medium: str
    campaign: str

    def sid(self, project_id: int) -> str:
        """The same for the same call, so that a second import finds it here."""
        facts = f"{project_id}|{self.number}|{self.caller}|{self.started_at.isoformat()}"
        return "import-" + hashlib.sha256(facts.encode()).hexdigest()[:40]


@dataclass
class OldCalls:
    """A file, read: its calls by time, a sentence for each line that cannot be used, and how many lines had no caller's number."""

    calls: list[OldCall] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    withheld: int = 0


class _BadLine(ValueError):
    pass


def read_old_calls(session: Session, project: Project, data: bytes, now: datetime) -> OldCalls:
    """
    Raises:
        UnreadableFile: nothing of it can be used.
    """
    rows = read_table(data, NEEDED, OPTIONAL, MOST_ROWS, MOST_BYTES)
    known = select(TrackingNumber.e164, TrackingNumber.id).where(TrackingNumber.project_id == project.id)
    numbers = {e164: number_id for e164, number_id in session.execute(known.order_by(TrackingNumber.id))}  # noqa: C416
    found = OldCalls()
    for row in rows:
        try:
            call = _call(row, project, numbers, now)
        except _BadLine as error:
            found.problems[row.line] = str(error)
            continue
        if call is None:
            found.withheld += 1
        else:
            found.calls.append(call)
    found.calls.sort(key=lambda one: one.started_at)
    return found


def _call(row: Row, project: Project, numbers: dict[str, int], now: datetime) -> OldCall | None:
    """None: the caller withheld his number."""
    cells = {name: plain(text) for name, text in row.cells.items()}
    for name, text in cells.items():
        if problem := cell_error(text):
            raise _BadLine(f"{name}: {problem}")
    number = _phone("number", cells["number"], project.country)
    if number not in numbers:
        raise _BadLine(f"number: {number} is not a number of this project. Bring the numbers over first.")
    started_at = _moment(cells["started_at"], project.timezone, now)
    if cells["caller"].casefold() in WITHHELD:
        return None
    caller = _phone("caller", cells["caller"], project.country)
    source, medium, campaign = (cells[name][:LONGEST_VALUE] for name in OPTIONAL)
    if (medium or campaign) and not source:
        raise _BadLine("source: it is empty, although a medium or a campaign is named.")
    return OldCall(numbers[number], number, caller, started_at, source, medium, campaign)


def _phone(column: str, text: str, country: str) -> str:
    """E.164; old exports leave the plus sign out."""
    for attempt in (text, f"+{text}"):
        try:
            return read_phone(attempt, country)
        except BadPhone:
            continue
    raise _BadLine(f"{column}: “{text[:40]}” is not a phone number. Write it with its country code, like +14155552671.")


def _moment(text: str, zone: str, now: datetime) -> datetime:
    try:
        moment = _parsed(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _BadLine(
            f"started_at: “{text[:40]}” is not a time. Write it like 2026-11-23 14:05:00 or 2026-11-23T14:05:00Z."
        ) from None
    if moment > now:
        raise _BadLine(f"started_at: {text[:40]} is in the future.")
    if moment < LONG_AGO:
        raise _BadLine(f"started_at: {text[:40]} is too long ago.")
    return moment


def _parsed(text: str) -> datetime:
    for form in NUMERALS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller gives it the project's zone
        except ValueError:
            continue
    return datetime.fromisoformat(text)


def write_old_calls(server: Server, project: Project, calls: Sequence[OldCall], now: datetime) -> int:
    """Writes those that are not here yet, some hundred at a time; returns how many were new. Broken off, it can be repeated."""
    written = 0
    for some in _portions(calls):
        with server.database.writing() as session:
            written += write_some(server, session, project, some, now)
    return written


def _portions(calls: Sequence[OldCall]) -> Iterator[Sequence[OldCall]]:
    for first in range(0, len(calls), AT_ONCE):
        yield calls[first : first + AT_ONCE]


def write_some(server: Server, session: Session, project: Project, calls: Sequence[OldCall], now: datetime) -> int:
    spans = _known_spans(session, calls)
    rows = _rows(project, calls, {pair: first for pair, (first, _) in spans.items()})
    inserted = insert_new(session, CALL, unique=["sid"]).values(rows).returning(CALL.c.sid)
    new = set(session.scalars(inserted))
    later = {
        (one.number_id, one.caller): one.started_at
        for one in reversed(calls)
        if one.sid(project.id) in new and spans.get((one.number_id, one.caller), (now, LONG_AGO))[1] >= one.started_at
    }
    for (number_id, caller), since in later.items():
        if route := route_of(session, number_id):
            decide_later_calls(server, session, route, Caller(caller, caller), since, now, tell=False)
    return len(new)


def _known_spans(session: Session, calls: Iterable[OldCall]) -> dict[tuple[int, str], tuple[datetime, datetime]]:
    """The first and the last call that is here of each number and caller."""
    pairs = {(one.number_id, one.caller) for one in calls}
    found = session.execute(
        select(Call.number_id, Call.caller, func.min(Call.started_at), func.max(Call.started_at))
        .where(Call.number_id.in_({pair[0] for pair in pairs}), Call.caller.in_({pair[1] for pair in pairs}))
        .where(Call.kind == EXTERNAL)
        .group_by(Call.number_id, Call.caller)
    )
    return {(number_id, caller or ""): (first, last) for number_id, caller, first, last in found}


def _rows(
    project: Project, calls: Iterable[OldCall], first_known: dict[tuple[int, str], datetime]
) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    first_known = dict(first_known)
    lines = own_lines(project.fallback_destination, project.own_numbers, project.destination_numbers)
    for one in calls:
        pair = (one.number_id, one.caller)
        kind = kind_of(Caller(one.caller, one.caller), lines)
        first_call = kind == EXTERNAL and one.started_at <= first_known.setdefault(pair, one.started_at)
        row = _row(project, one, first_call) | {"kind": kind}
        rows.setdefault(row["sid"], row)
    return list(rows.values())


def _row(project: Project, call: OldCall, first_call: bool) -> dict[str, Any]:
    source = named_source(call.source, call.medium, call.campaign) if call.source else None
    return {
        "sid": call.sid(project.id),
        "project_id": project.id,
        "number_id": call.number_id,
        "number": call.number,
        "scenario_id": None,
        "scenario_enabled": False,
        "flow": {"destinations": []},
        "caller": call.caller,
        "caller_raw": call.caller,
        "started_at": call.started_at,
        "last_event_at": call.started_at,
        "ended_at": call.started_at,
        "status": "unknown",
        "first_call": first_call,
        "destination": "",
        "recording_sid": "",
        "recording_url": "",
        "visit_id": None,
        "rule": IMPORTED,
        "confidence": None,
        "source_confidence": None,
        "candidates": [],
        "decision": {"steps": [{"rule": IMPORTED, "applies": True}]},
        "source": source.as_dict() if source else None,
        "source_key": source.key if source else None,
        "fan_out_due": "",
    }
