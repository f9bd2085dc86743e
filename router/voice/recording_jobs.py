"""What the worker does with recordings: it fetches them from the carrier, deletes them there once they are kept here, deletes them here
when their time is over, and finds those that the carrier never told of.

A file is whole and of the right size in the store before the carrier is asked to delete its own; each step is one turn of a job, and may be
repeated at any point."""

import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count, takewhile
from typing import Any

import structlog
from sqlalchemy import ColumnElement, case, select
from sqlalchemy.orm import Session

from router.accounts.models import Project, read_fact, remember_fact
from router.carriers import shop_of
from router.carriers.accounts import shop_at, shop_of_project, shops_of_projects
from router.carriers.base import NotForUs, NumberShop, Recording, ShopError
from router.config import SettingsError
from router.db import wait_for_turns
from router.jobs import Claim, Jobs, backoff, work_side_by_side
from router.lib.file_store import StoreError, check_room, incoming, private_folder, store_named, store_of
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.calls import announce, mark_due
from router.voice.events import CALLS_TURN, machine_is_waiting, store_events, update_calls, write_and_announce
from router.voice.messages import mail_message
from router.voice.models import Call, CallRecording, RecordingState
from router.voice.recordings import GOING, LEASE, recording_event, remove_recordings

log = structlog.get_logger(__name__)

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400))
"""After each failed try to fetch a recording; the try after the last pause is the last one."""
MAILED_ANYWAY, MAILED_ANYWAY_AFTER = 4, timedelta(minutes=2)
"""After so many failed tries, or so long without a place to keep it, a message is mailed without its file: whoever waits for it learns of
it within minutes."""
STORE_PAUSE, LONGEST_STORE_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
"""Between two tries while our own disk or store takes no file. They never end: the carrier has the recording."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(days=1)
"""Between two tries to delete one, which never end."""
MESSAGE_LEASE = timedelta(minutes=1)
AT_ONCE = 4
CHECKED_BYTES = 8 * 1024 * 1024
"""After so many bytes the room on the disk is looked at again."""

RECORDINGS = Jobs(
    CallRecording,
    CallRecording.next_at.is_not(None),
    LEASE,
    due_at=CallRecording.next_at,
    fence=(CallRecording.next_at, CallRecording.state),
)
"""`attempts` rises when a recording is claimed, so that one which kills its worker comes to an end as well."""


class TriedTooOften(Exception):
    """Nobody tries it any more."""


def advance_recordings(server: Server, now: datetime) -> int:
    """Does what is due with recordings, some side by side; returns with how many."""
    with server.database.reading() as session:
        due = RECORDINGS.due_ids(session, now, AT_ONCE)
    if not due:
        return 0
    claims = []
    with server.database.writing() as session:
        for recording_id in due:
            values = {"attempts": CallRecording.attempts + 1, "next_at": _end_of_lease(now)}
            claim = RECORDINGS.claim(session, recording_id, now, **values)
            if claim is not None:
                claims.append(claim)
    work_side_by_side(claims, lambda claim: _advance(server, claim), "recording")
    return len(claims)


def _end_of_lease(now: datetime) -> ColumnElement[datetime]:
    """Somebody waits for a message: it is tried again soon after its worker has died, and each time later, in case it only takes long."""
    leases = takewhile(lambda lease: lease < LEASE, (MESSAGE_LEASE * 2**attempt for attempt in count()))
    soon = [(CallRecording.is_message & (CallRecording.attempts == n), now + lease) for n, lease in enumerate(leases)]
    return case(*soon, else_=now + LEASE)


def _advance(server: Server, claim: Claim[CallRecording]) -> None:
    recording, settings = claim.job, server.settings
    try:
        match recording.state:
            case RecordingState.WAITING:
                _fetch(server, claim)
            case RecordingState.KEPT:
                shop_of_call(server, recording.project_id, recording.call_sid).delete_recording(recording.sid)
                _finish(server, claim, {"is_at_carrier": False, "next_at": None, "attempts": 0, "reason": ""})
            case RecordingState.REMOVING:  # here first: what the carrier has is out of everybody's sight
                store = store_named(settings, recording.store) if recording.store else store_of(settings)
                store.remove(recording.file)
                if recording.is_at_carrier:
                    shop_of_call(server, recording.project_id, recording.call_sid).delete_recording(recording.sid)
                gone = {"is_at_carrier": False, "next_at": None, "size": None, "store": ""}
                _finish(server, claim, gone | {"state": RecordingState.REMOVED})
    except (ShopError, SettingsError, TriedTooOften) as error:
        _try_later(server, claim, str(error))
    except (StoreError, OSError) as error:
        words = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        _try_later(server, claim, words, is_ours=True)


def _try_later(server: Server, claim: Claim[CallRecording], words: str, *, is_ours: bool = False) -> None:
    """`is_ours`: the fault is the store's, which says nothing of the recording: no try is counted."""
    why = f"{words[:298].rstrip('.')}."
    attempts, now = claim.job.attempts, server.now()
    log.warning(
        "recording_failed", id=claim.id, call=claim.job.call_sid, state=claim.job.state, attempt=attempts, why=why
    )

    def work(session: Session, announcing: bool) -> None:
        recording = RECORDINGS.held(session, claim)
        if recording is None:
            return
        recording.reason = why
        if recording.state != RecordingState.WAITING:
            recording.next_at = now + backoff(attempts, FIRST_PAUSE, LONGEST_PAUSE)
            return
        waits = now - recording.told_at
        if is_ours:
            recording.attempts = attempts - 1
            recording.next_at = now + min(max(waits / 4, STORE_PAUSE), LONGEST_STORE_PAUSE)
        elif attempts <= len(PAUSES):
            recording.next_at = now + PAUSES[attempts - 1]
        else:
            recording.state, recording.next_at = RecordingState.FAILED, None
        if recording.is_message and (waits >= MAILED_ANYWAY_AFTER if is_ours else attempts >= MAILED_ANYWAY):
            mail_message(server, session, recording, now)
        if recording.state == RecordingState.FAILED:
            _tell(server, session, recording, now, announcing)

    write_and_announce(server, work)


def _fetch(server: Server, claim: Claim[CallRecording]) -> None:
    recording = claim.job
    if recording.attempts > len(PAUSES) + 1:
        raise TriedTooOften("It was tried too often without an end.")
    shop = shop_of_call(server, recording.project_id, recording.call_sid)
    store, part = store_of(server.settings), incoming(server.settings) / f"{recording.file}.{secrets.token_hex(4)}"
    private_folder(part.parent)
    check_room(part.parent)
    size = 0
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:

            def take(piece: bytes) -> None:
                nonlocal size
                if (size + len(piece)) // CHECKED_BYTES != size // CHECKED_BYTES:
                    check_room(part.parent)
                size += file.write(piece)

            content_type = shop.fetch_recording(recording.sid, recording.channels, take)
            file.flush()
            os.fsync(file.fileno())
        kept = store.put(recording.file, part)
    finally:
        part.unlink(missing_ok=True)
    if kept != size:
        raise StoreError(f"Of {size} bytes {kept} were kept.")
    now = server.now()

    def finish(session: Session, announcing: bool) -> None:
        held = RECORDINGS.held(session, claim)
        if held is None:
            other = session.get(CallRecording, claim.id)
            if other is None or other.state in GOING:  # nobody else may have put the same file there
                store.remove(recording.file)
            return
        held.state, held.reason, held.attempts, held.next_at = RecordingState.KEPT, "", 0, now
        held.store, held.content_type, held.size, held.kept_at = store.name, content_type, size, now
        session.flush()
        if held.is_message:
            mail_message(server, session, held, now)
        _tell(server, session, held, now, announcing)

    write_and_announce(server, finish)


def shop_of_call(server: Server, project_id: int, call_sid: str) -> NumberShop:
    """The carrier's side at the account that has a call: where the number is that was called.

    Raises:
        ShopError, SettingsError: this account cannot be used.
    """
    called = select(TrackingNumber.carrier_account, TrackingNumber.owned_elsewhere).join(
        Call, Call.number_id == TrackingNumber.id
    )
    with server.database.reading() as session:
        number = session.execute(called.where(Call.sid == call_sid)).first()
    if number is None or (number.owned_elsewhere and not number.carrier_account):
        return shop_of_project(server, project_id)
    return shop_at(server, project_id, number.carrier_account)


def _tell(server: Server, session: Session, recording: CallRecording, now: datetime, announcing: bool) -> None:
    """Receivers learn that a recording can be heard, and what became of a recording of an ended call; one that goes on tells of it at its
    end.

    Raises:
        ReceiverFailed: a receiver failed; repeat with `announcing=False`.
    """
    call = session.scalar(select(Call).where(Call.sid == recording.call_sid).with_for_update())
    if call is None:
        return
    recorded = ["recorded"] if recording.state == RecordingState.KEPT else []
    news = recorded + (["updated"] if call.ended_at is not None else [])
    session.flush()
    if announcing:
        announce(server, session, [(event, call) for event in news], now)
    else:
        for event in news:
            mark_due(call, event)


def _finish(server: Server, claim: Claim[CallRecording], values: Mapping[str, Any]) -> None:
    with server.database.writing() as session:
        recording = RECORDINGS.held(session, claim)
        if recording is not None:
            for name, value in values.items():
                setattr(recording, name, value)


def expire_recordings(server: Server, now: datetime) -> int:
    """Removes the recordings whose project's time is over (R14), and those of projects that are not there any more; and what is left of
    files whose fetching was interrupted. Returns how many are removed."""
    removed = 0
    with server.database.reading() as session:
        days = {row.id: row.recording_days for row in session.execute(select(Project.id, Project.recording_days))}
        present = set(
            session.scalars(select(CallRecording.project_id).where(CallRecording.state != "removed").distinct())
        )
    for project_id in present:
        old = CallRecording.project_id == project_id
        reason = "The project was removed."
        if project_id in days:
            if not days[project_id]:
                continue
            old &= CallRecording.told_at <= now - timedelta(days=days[project_id])
            reason = f"Kept for {days[project_id]} days, as the project's settings say."
        with server.database.writing() as session:
            removed += remove_recordings(session, old, reason, now)
    for part in incoming(server.settings).glob("*"):
        if part.stat().st_mtime < time.time() - LEASE.total_seconds():
            part.unlink(missing_ok=True)
    return removed


LOOKED = "recordings_looked_for"
REACH = timedelta(hours=6)
"""How far each look goes back: recordings may last for hours, and become known late."""
LONGEST_GAP = timedelta(days=7)
TOLD_WITHIN = timedelta(minutes=15)
"""The longest message takes ten minutes; with what the carrier tells of one comes to whom it is mailed."""


def look_for_recordings(server: Server, now: datetime) -> int:
    """Notes recordings of known calls that the carrier has and never told of; returns how many. A message that is not heard is a lead.
    None while a machine has records that were not applied: what the carrier told may be one of them."""
    with server.database.reading() as session:
        if machine_is_waiting(session, now):
            return 0
        last = read_fact(session, LOOKED)
    since = max(datetime.fromisoformat(last) if last else now, now - LONGEST_GAP) - REACH
    listed, is_whole = _listed(server, since, now - TOLD_WITHIN)
    noted = 0
    for first in range(0, len(listed), 100):
        part = listed[first : first + 100]
        by_sid = {recording.recording_sid: recording for _, recording in part}
        owners = {recording.recording_sid: project_id for project_id, recording in part}
        with server.database.reading() as session:
            known = set(session.scalars(select(CallRecording.sid).where(CallRecording.sid.in_(by_sid))))
            sids = {recording.call_sid for recording in by_sid.values()}
            calls = {
                row.sid: row.project_id
                for row in session.execute(select(Call.sid, Call.project_id).where(Call.sid.in_(sids)))
            }
        for recording in by_sid.values():
            if recording.recording_sid in known or recording.call_sid not in calls:
                continue
            if owners[recording.recording_sid] not in (None, calls[recording.call_sid]):
                continue

            def note(session: Session, announcing: bool, recording: Recording = recording) -> None:
                wait_for_turns(session, CALLS_TURN, [recording.call_sid])
                key, event = recording_event(recording, now)
                store_events(session, [(recording.call_sid, key, event)])
                update_calls(server, session, {recording.call_sid: None}, now, announcing)

            write_and_announce(server, note)
            log.warning("recording_noted_late", call=recording.call_sid)
            noted += 1
    if is_whole:
        with server.database.writing() as session:
            remember_fact(session, LOOKED, now.isoformat(), now)
    return noted


Listed = list[tuple[int | None, Recording]]


def _listed(server: Server, since: datetime, until: datetime) -> tuple[Listed, bool]:
    """The recordings at all accounts, each with the project of its account (None: the server's), and whether none is missing because an
    account did not answer; the next turn looks as far back then."""
    listed: Listed = []
    is_whole = True
    shops: list[tuple[int | None, NumberShop]] = [
        (account.project_id, shop) for account, shop in shops_of_projects(server)
    ]
    with suppress(SettingsError):  # the server has no account
        shops.insert(0, (None, shop_of(server)))
    for project_id, shop in shops:
        try:
            listed += [(project_id, recording) for recording in shop.recordings_between(since, until)]
        except NotForUs:  # it may not list them
            continue
        except ShopError as error:
            log.warning("recordings_not_listed", project=project_id, why=str(error))
            is_whole = False
    return listed, is_whole
