"""*Forget this caller* (R14): erases a caller's number in a project, wherever it stands, and leaves a keyed hash. The calls stay, with
what was decided about them: they count, and nobody knows whose they are.

What the company typed about itself stays: its tracking numbers, destinations, own telephones and settings."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from sqlalchemy import ColumnElement, Text, cast, delete, or_, select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.cli import CONSOLE, Opener, opened, project_of
from router.accounts.models import AuditEntry, Mail, Project, raise_list_version
from router.attribution.models import Lease, Visit
from router.db import wait_for_turn
from router.lib.crypto import SealBroken
from router.lib.formats import format_count
from router.lib.phones import BadPhone, Redactor, read_caller, read_phone, same_line
from router.scenarios.importing.files import opened_file
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.calls import IMPORTED
from router.voice.forgotten import (
    FORGETTING_TURN,
    NOBODY,
    line_hashes,
    without_caller,
)
from router.voice.forgotten import project_of as project_of_record
from router.voice.models import (
    BlockedCaller,
    Call,
    CallEvent,
    CallLogFile,
    CallRecording,
    ForgottenCaller,
    SetAsideRecord,
    TextMessage,
    UnknownCall,
    caller_forgotten,
)
from router.voice.recordings import FORGOTTEN, remove_recordings
from router.voice.routing import own_lines
from router.voice.text_messages import delete_messages

AT_ONCE = 500
"""Rows of one statement."""

ERASED: dict[type[Any], tuple[str, ...]] = {
    AuditEntry: ("subject", "detail"),
    Mail: ("subject", "body"),
    Visit: (
        *("page", "referrer", "source", "medium", "campaign", "term", "content"),
        *("click_ids", "ga", "params"),
    ),
    Call: ("source", "candidates", "decision"),
    CallEvent: ("facts",),
    BlockedCaller: ("reason",),
    TextMessage: ("sender_raw", "body", "media"),
    UnknownCall: ("call",),
    SetAsideRecord: ("record", "reason"),
}
"""The columns in which a number is looked for as a part of their text. `call.caller` and `caller_raw` are emptied, and `integrations`
does the same with its own tables."""


class ForgettingRefused(Exception):
    """Nothing was changed; the message is for people."""


@dataclass(frozen=True, slots=True)
class Erased:
    """In how many calls, messages to receivers, and other records a number stood."""

    calls: int
    messages: int
    records: int
    recordings: int = 0
    """That are deleted."""


def forget_caller(
    server: Server, session: Session, project: Project, caller: str, actor: Actor, now: datetime
) -> Erased:
    """Erases a caller's number in a project, in every spelling of the line. Calls of his that began until now and become known later are
    written without it.

    Args:
        caller: E.164.

    Raises:
        ForgettingRefused: it is one of the company's own numbers.
    """
    ours = select(TrackingNumber.e164).where(TrackingNumber.project_id == project.id)
    if any(same_line(caller, number) for number in session.scalars(ours)):
        raise ForgettingRefused("This is one of the project's tracking numbers, not a caller's.")
    if Redactor(caller).line in own_lines(
        project.fallback_destination, project.own_numbers, project.destination_numbers
    ):
        raise ForgettingRefused("This is one of the company's own telephones: take it out of the settings first.")
    wait_for_turn(session, FORGETTING_TURN, 0)
    redactor = Redactor(caller)
    calls = _calls_of(session, project, redactor)
    forgotten = ForgottenCaller(
        project_id=project.id,
        line_hash=line_hashes(server.keys, project.id, caller)[0],
        at=max([now, *(call.started_at for call in calls)]),  # also by the clock of a machine that is ahead
        actor=actor.name,
    )
    session.add(forgotten)
    session.flush()
    call_ids = [call.id for call in calls]
    recordings = 0
    for some in _portions([call.sid for call in calls]):
        recordings += remove_recordings(session, CallRecording.call_sid.in_(some), FORGOTTEN, now)
    texts = delete_messages(session, project.id, TextMessage.sender.in_(redactor.spellings))
    told: dict[str, Any] = {"project_id": project.id, "redactor": redactor}
    told["call_ids"] = [*call_ids, *(-message_id for message_id in texts)]  # as deliveries name a text message
    messages = sum(
        count for _, count in caller_forgotten.send(server, session=session, forgotten_id=forgotten.id, **told)
    )
    for call in calls:
        call.caller, call.caller_raw, call.forgotten_id = None, "", forgotten.id
    session.flush()
    records = 0
    for some in _portions([call.sid for call in calls]):
        records += _redact(session, redactor, CallEvent, CallEvent.call_sid.in_(some))
    for some in _portions(call_ids):
        _redact(session, redactor, Call, Call.id.in_(some))
    for call in calls:  # the id of one that was brought over follows from its caller, and would tell him to somebody who tries all numbers
        if call.rule == IMPORTED:
            before, call.sid = call.sid, f"forgotten-{secrets.token_hex(20)}"
            session.execute(update(CallEvent).where(CallEvent.call_sid == before).values(call_sid=call.sid))
    session.flush()
    records += _erase_in_visits(session, redactor, project)
    records += _erase_waiting(session, redactor, project, forgotten.id)
    records += _erase_files(server, session, redactor, project)
    records += len(texts) + _redact(session, redactor, TextMessage, TextMessage.project_id == project.id)
    listed = delete(BlockedCaller).where(
        BlockedCaller.project_id == project.id, BlockedCaller.pattern.in_(redactor.spellings)
    )
    unlisted = session.execute(listed.returning(BlockedCaller.id)).all()
    if unlisted:
        raise_list_version(session, project.id)
    records += len(unlisted)
    for model in (AuditEntry, Mail):
        records += _redact(session, redactor, model, model.project_id == project.id)
    erased = Erased(len(calls), messages, records, recordings)
    counts = {"calls": erased.calls, "messages": erased.messages, "records": erased.records, "recordings": recordings}
    record(session, actor, now, "caller.forgotten", f"caller {forgotten.id}", project.id, **counts)
    return erased


def _calls_of(session: Session, project: Project, redactor: Redactor) -> Sequence[Call]:
    """The caller's calls, held until the end of the transaction, and those of which only what the carrier said has his number."""
    named = select(Call.id).where(Call.project_id == project.id, Call.caller.in_(redactor.spellings))
    said = select(Call.id, Call.caller_raw).where(
        Call.project_id == project.id,
        Call.caller.is_(None),
        Call.caller_raw != "",
        _may_have(redactor, [Call.caller_raw]),
    )
    ids = set(session.scalars(named))
    ids.update(row.id for row in session.execute(said) if redactor.text(row.caller_raw) != row.caller_raw)
    calls: list[Call] = []
    for some in _portions(sorted(ids)):
        held = select(Call).where(Call.id.in_(some)).order_by(Call.id)
        calls += session.scalars(held.with_for_update().execution_options(populate_existing=True))
    return calls


def _erase_in_visits(session: Session, redactor: Redactor, project: Project) -> int:
    """Pages tell what visitors typed, and calls keep the source of their visit: of whoever was shown the same numbers since."""
    visits = _having(session, redactor, Visit, Visit.project_id == project.id)
    if visits:
        ids, since = [visit.id for visit in visits], min(visit.started_at for visit in visits)
        numbers: set[int] = set()
        for some in _portions(ids):
            numbers.update(session.scalars(select(Lease.number_id).where(Lease.visit_id.in_(some))))
        _redact(session, redactor, Call, Call.number_id.in_(numbers), Call.started_at >= since)
    return _redact_rows(redactor, Visit, visits, session)


def _erase_waiting(session: Session, redactor: Redactor, project: Project, forgotten_id: int) -> int:
    """Calls of which only events are known, and records that were set aside."""
    erased = 0
    for unknown in _having(session, redactor, UnknownCall):
        kept, owner = _read(session, {"call": unknown.call})
        if owner not in (project.id, None):
            continue
        if kept is not None and owner and same_line(unknown.call["caller"]["e164"], redactor.line):
            unknown.call, unknown.forgotten_id = unknown.call | {"caller": NOBODY}, forgotten_id
            erased += 1
        erased += _redact_rows(redactor, UnknownCall, [unknown], session)
    for row in _having(session, redactor, SetAsideRecord):
        try:
            kept, owner = _read(session, json.loads(row.record))
        except ValueError:  # a line that was damaged
            kept, owner = None, None
        if owner not in (project.id, None):
            continue
        if kept is not None and same_line(kept["call"]["caller"]["e164"], redactor.line):
            row.record = json.dumps(without_caller(kept, forgotten_id if owner else None))
            erased += 1
            _redact_rows(redactor, SetAsideRecord, [row], session)
        else:
            erased += _redact_rows(redactor, SetAsideRecord, [row], session)
    session.flush()
    return erased


def _read(session: Session, kept: Any) -> tuple[Any, int | None]:
    """A record that tells of its call, and its project; None for what cannot be read, and for a number that is nobody's."""
    try:
        owner = project_of_record(session, kept)
        return (kept, owner) if isinstance(kept["call"]["caller"]["e164"], str) else (None, owner)
    except (ValueError, KeyError, TypeError):
        return None, None


def _erase_files(server: Server, session: Session, redactor: Redactor, project: Project) -> int:
    """A call log that waits to be brought over is thrown away when the number is in it; whoever sent it has it."""
    thrown = 0
    for kept in session.scalars(select(CallLogFile).where(CallLogFile.project_id == project.id)):
        try:
            text = opened_file(server.keys, kept.sealed).replace(b"\0", b"").decode("latin-1")  # UTF-16 too
        except SealBroken:
            continue
        if _differs(redactor, [text, kept.name]):
            session.delete(kept)
            thrown += 1
    session.flush()
    return thrown


def _portions(values: Sequence[Any]) -> Sequence[Sequence[Any]]:
    return [values[begin : begin + AT_ONCE] for begin in range(0, len(values), AT_ONCE)]


def _may_have(redactor: Redactor, columns: Sequence[Any]) -> ColumnElement[bool]:
    return or_(*(cast(column, Text).like(pattern) for column in columns for pattern in redactor.likes))


def _having(session: Session, redactor: Redactor, model: Any, *where: ColumnElement[bool]) -> Sequence[Any]:
    """The rows in one of whose columns the number stands, held until the end of the transaction."""
    columns = [getattr(model, name) for name in ERASED[model]]
    rows = session.scalars(select(model).where(*where, _may_have(redactor, columns)).with_for_update())
    return [row for row in rows if any(_differs(redactor, getattr(row, name)) for name in ERASED[model])]


def _differs(redactor: Redactor, value: Any) -> bool:
    return bool(redactor.value(value) != value)


def _redact_rows(redactor: Redactor, model: Any, rows: Sequence[Any], session: Session) -> int:
    changed = 0
    for row in rows:
        values = {name: redactor.value(getattr(row, name)) for name in ERASED[model]}
        if any(getattr(row, name) != value for name, value in values.items()):
            changed += 1
            for name, value in values.items():
                setattr(row, name, value)
    session.flush()
    return changed


def _redact(session: Session, redactor: Redactor, model: Any, *where: ColumnElement[bool]) -> int:
    return _redact_rows(redactor, model, _having(session, redactor, model, *where), session)


def read_number(text: str, country: str) -> str:
    """E.164 of a number as a person typed it, also of one with its plus that no numbering plan knows: carriers send such callers.

    Raises:
        BadPhone: the message says what to do.
    """
    try:
        return read_phone(text, country)
    except BadPhone:
        caller = read_caller(text, country or None) if text.strip().startswith("+") else None
        if caller is None or caller.e164 is None:
            raise
        return caller.e164


@click.command("forget-caller")
@click.argument("project", type=int)
@click.argument("number")
@click.pass_obj
def forget_caller_command(open_server: Opener, project: int, number: str) -> None:
    """Erase a caller's number in a project, in every spelling; his calls stay and count. PROJECT is the project's id."""
    with opened(open_server) as server, server.database.writing() as session:
        owner = project_of(session, project)
        try:
            erased = forget_caller(server, session, owner, read_number(number, owner.country), CONSOLE, server.now())
        except (BadPhone, ForgettingRefused) as error:
            raise click.ClickException(str(error)) from None
    calls, messages, records = (
        format_count(count, what)
        for count, what in ((erased.calls, "call"), (erased.messages, "message"), (erased.records, "other record"))
    )
    click.echo(f"Forgotten: the number was erased in {calls}, {messages} and {records}.")
    if erased.recordings:
        recordings = format_count(erased.recordings, "recording")
        click.echo(f"The worker deletes {recordings} here and at the carrier, within a quarter of an hour.")
    click.echo("The machines' journals drop what they hold of it an hour after it was applied.")
