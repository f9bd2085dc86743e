"""`router doctor`: what is wrong with this installation, as an operator wants to know it at night, and what can be done about journals."""

import math
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import click
from sqlalchemy import func, select, true
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from router.accounts.cli import CONSOLE, Opener, opened
from router.accounts.models import ANOTHER_KEY, KEY_FACT, read_fact
from router.carrier_checks import Finding, examine_carrier
from router.carriers.base import ShopError
from router.config import SettingsError
from router.db import schema_state
from router.lib.file_store import StoreError, store_of
from router.lib.formats import format_count
from router.lib.phones import masked
from router.lib.tls import fault_of
from router.scenarios.models import Sound
from router.server import Server
from router.voice.applier import journal_folder, machine_of, place_of
from router.voice.clocks import by_database, clock_fault
from router.voice.events import SILENT_MACHINE
from router.voice.journal import read_entries, resumed
from router.voice.models import JournalPosition, RecordingState, SetAsideRecord
from router.voice.reconciliation import reconcile
from router.voice.recordings import MOST_LATE, count_recordings, fetch_failed_again, late_recordings
from router.voice.repair import RepairRefused, accept_restored, drop_set_aside, forget_machine, retry_set_aside
from router.voice.snapshot import NEWEST, OLDER, Snapshot, SnapshotRefused, read_snapshot, refresh
from router.voice.sounds import lost_sounds
from router.worker import HEARTBEAT, worker_clock_fault, worker_silence

LEAST_FREE = 512 * 1024 * 1024
"""Bytes on the disk of the data folder, below which the journal is in danger."""
WAITS = timedelta(minutes=1)
"""A record that waits longer than this is not being applied."""
AT_ONCE = 1000
MOST_SHOWN = 20


def examine(server: Server, now: datetime) -> list[Finding]:
    """All that can be told; what the database would have to tell is left out while it is away."""
    snapshot = read_snapshot(server.settings.data_dir / "routing", server.keys)
    findings = _examine_here(server, snapshot, now)
    has_database = Finding("schema", "current") in findings
    return [*findings, *examine_carrier(server, snapshot, has_database)]


def _examine_here(server: Server, snapshot: Snapshot | None, now: datetime) -> list[Finding]:
    findings = [_disk(server)]
    if (ca_file := server.settings.ca_file) is not None:
        fault = fault_of(ca_file)
        advice = f"{fault}; until it can be, connections to what these authorities signed fail"
        findings.append(Finding("authorities", advice if fault else f"{ca_file} is believed too", fault is not None))
    try:
        state = schema_state(server.database)
    except SQLAlchemyError as error:
        reason = f"cannot be reached ({type(error).__name__}); calls are forwarded and kept in the journal"
        away = [Finding("database", reason, True), _routing(server, snapshot, now, ""), *_journal(server, None, now)]
        return [*findings, *away]
    findings.append(Finding("database", "reachable"))
    if state != "current":
        findings.append(Finding("schema", f"{state}: run router migrate", True))
        return [*findings, _routing(server, snapshot, now, ""), *_journal(server, None, now)]
    findings.append(Finding("schema", "current"))
    with server.database.reading() as session:
        is_another = read_fact(session, KEY_FACT) not in (None, *server.keys.fingerprints)
        findings.append(Finding("key", ANOTHER_KEY if is_another else "fits", is_another))
        seen, silence = read_fact(session, HEARTBEAT), worker_silence(session, now)
        heard = f"heard of {_ago(datetime.fromisoformat(seen), by_database(session, now))}" if seen else silence
        findings.append(Finding("worker", heard, bool(silence)))
        if fault := worker_clock_fault(session, now):
            findings.append(Finding("worker", fault, True))
        findings += _machines(session, now)
        findings += _journal(server, session, now)
        rows = session.scalars(select(SetAsideRecord).order_by(SetAsideRecord.id)).all()
        advice = "router doctor --retry applies them again, --drop ID removes one"
        words = f"{format_count(len(rows), 'record')} could not be applied; {advice}" if rows else "no record"
        findings.append(Finding("set aside", words, bool(rows)))
        for row in rows[:MOST_SHOWN]:
            call = f"call {row.call_sid}" if row.call_sid else "no call"
            words = f"{row.position} of {row.machine}, {call}: {masked(row.reason)[:300]}"
            findings.append(Finding(f"  {row.id}", words, True))
        findings += _recordings(server, session, now)
        findings += _sounds(server, session)
    fault = ""
    try:
        present = refresh(server.database, snapshot, now)
        if snapshot and present.version > snapshot.version:
            fault = f"the database is at version {present.version}"
        elif snapshot and present.goes_back(snapshot):
            fault = f"the database was put back, to another state at version {present.version}"
    except SnapshotRefused as error:
        return [*findings, Finding("routing", str(error), True)]
    return [*findings, _routing(server, snapshot, now, fault)]


def _disk(server: Server) -> Finding:
    folder = server.settings.data_dir
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Finding("data folder", f"{folder}: {error.strerror}", True)
    words = f"{folder}: {_size(usage.free)} of {_size(usage.total)} free"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("data folder", f"{words}; this user cannot write there", True)
    return Finding("data folder", words, usage.free < LEAST_FREE)


def _size(amount: int) -> str:
    return f"{amount / 1024**3:.1f} GiB"


def _machines(session: Session, now: datetime) -> Iterator[Finding]:
    """The appliers of all machines."""
    machines = session.scalars(select(JournalPosition).order_by(JournalPosition.host, JournalPosition.machine)).all()
    if not machines:
        yield Finding("applier", "none has been seen yet: start router serve")
    at = by_database(session, now)
    for machine in machines:
        subject = f"applier of {machine.host}"
        heard = f"heard of {_ago(machine.seen_at, at)} ({machine.machine})"
        if machine.is_stopped:
            yield Finding(subject, f"ended with nothing left to apply; {heard}")
        elif at - machine.seen_at > SILENT_MACHINE:
            lost = f"if the machine is lost for good: router doctor --forget-machine {machine.host}"
            yield Finding(subject, f"silent, {heard}: its records wait; {lost}", True)
        elif machine.is_waiting:
            yield Finding(subject, f"catching up, {heard}")
        else:
            yield Finding(subject, heard)
        if not machine.is_stopped and (words := clock_fault(machine.host, machine.clock_offset)):
            yield Finding("clock", words, True)


def _journal(server: Server, session: Session | None, now: datetime) -> Iterator[Finding]:
    """What stands in this machine's journal and was not applied; without a session all that stands there."""
    folder = journal_folder(server)
    if not (folder / "machine").exists():
        yield Finding("journal", "none on this machine")
        return
    amount, oldest = 0, ""
    try:
        known = session.get(JournalPosition, machine_of(folder)) if session else None
        place = resumed(folder, place_of(known))
        while entries := read_entries(folder, place, AT_ONCE):
            amount += len(entries)
            moments = [entry.record["at"] for entry in entries if entry.record and "at" in entry.record]
            oldest = oldest or next(iter(moments), "")
            place = entries[-1].end
    except OSError as error:
        yield Finding("journal", f"cannot be read: {error.strerror}; run this as the server's user", True)
        return
    records = format_count(amount, "record")
    since = f", the oldest from {_ago(datetime.fromisoformat(oldest), now)}" if oldest else ""
    if session is None:
        yield Finding("journal", f"{records} of the last hour and since{since}; how many wait is not known")
    elif not amount:
        yield Finding("journal", "all records are applied")
    else:
        waits = bool(oldest) and now - datetime.fromisoformat(oldest) > WAITS
        yield Finding("journal", f"{records} not applied{since}", waits)


def _recordings(server: Server, session: Session, now: datetime) -> Iterator[Finding]:
    """Where their files lie, and those that wait for the carrier or were given up; nothing where nothing is recorded."""
    counts = count_recordings(session)
    if counts or server.settings.s3_bucket:
        try:
            words, is_away = f"new ones {store_of(server.settings).check()}", False
        except StoreError as error:
            words, is_away = str(error), True
        kept = format_count(counts.get(RecordingState.KEPT, 0), "recording")
        yield Finding("recordings", f"{kept} kept; {words}", is_away)
    hosts = set(session.scalars(select(JournalPosition.host).where(~JournalPosition.is_stopped)))
    if counts and len(hosts) > 1 and not server.settings.s3_bucket:
        words = "there are several machines, and each hears what its own worker fetched: set ROUTER_S3_BUCKET"
        yield Finding("recordings", words, True)
    late = late_recordings(session, now)
    for state, what in LATE.items():
        if found := [recording for recording in late if recording.state == state]:
            first = found[0]
            example = f"the first is of call {first.call_sid}: {first.reason or 'no reason is known'}"
            amount = f"{MOST_LATE} or more" if len(found) >= MOST_LATE else str(len(found))
            yield Finding(f"  {state}", f"{amount} {what}; {example}", True)


def _sounds(server: Server, session: Session) -> Iterator[Finding]:
    """Those of call flows whose file this machine does not reach; nothing where there is none."""
    if not (amount := session.scalar(select(func.count()).where(Sound.retired_at.is_(None)))):
        return
    lost = lost_sounds(server, session)
    words = f"{format_count(amount, 'sound')} of call flows"
    if not lost:
        yield Finding("sounds", f"{words}, each is there")
        return
    first = f"the first is “{lost[0].name}” of project {lost[0].project_id}: upload it again under Settings, Sounds"
    yield Finding("sounds", f"{words}; of {len(lost)} the file is lost, and callers hear silence; {first}", True)


LATE = {
    RecordingState.FAILED: "could not be fetched; once the reason is gone: router doctor --fetch-recordings",
    RecordingState.WAITING: "wait to be fetched since an hour or longer",
    RecordingState.KEPT: "are kept, and could not be deleted at the carrier for hours",
    RecordingState.REMOVING: "could not be deleted for hours",
}


def _routing(server: Server, snapshot: Snapshot | None, now: datetime, fault: str) -> Finding:
    """The snapshot in the file of this machine."""
    folder = server.settings.data_dir / "routing"
    if snapshot is None:
        damaged = any((folder / name).exists() for name in (NEWEST, OLDER))
        words = "the snapshot's file cannot be read; the log says why" if damaged else "no snapshot on this machine"
        return Finding("routing", words, damaged)
    numbers = format_count(len(snapshot.routes), "number")
    words = f"version {snapshot.version} with {numbers}, made {_ago(snapshot.made_at, now)}"
    return Finding("routing", f"{words}; {fault}" if fault else words)


def _ago(at: datetime, now: datetime) -> str:
    seconds = int((now - at).total_seconds())
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{format_count(seconds // size, unit)} ago"
    return f"{format_count(max(seconds, 0), 'second')} ago"


@click.command("doctor")
@click.option("--retry", is_flag=True, help="Apply the records again that were set aside.")
@click.option("--drop", type=int, metavar="ID", help="Remove a record that was set aside and that nobody can mend.")
@click.option("--fetch-recordings", is_flag=True, help="Fetch the recordings again that were given up.")
@click.option("--forget-machine", metavar="NAME", help="A machine is lost for good: wait for its records no more.")
@click.option(
    "--accept-restore",
    is_flag=True,
    help="A backup was restored: let all machines follow this older state from now on.",
)
@click.pass_obj
def doctor(
    open_server: Opener,
    retry: bool,
    drop: int | None,
    fetch_recordings: bool,
    forget_machine: str | None,
    accept_restore: bool,
) -> None:
    """Say what is wrong with this installation; the exit status is 1 when something is."""
    try:
        if retry:
            with opened(open_server) as server:
                applied, left = retry_set_aside(server, server.now())
            click.echo(f"{format_count(applied, 'record')} applied, {left} could not be.")
            if left:
                raise click.exceptions.Exit(1)
        if drop is not None:
            with opened(open_server) as server:
                drop_set_aside(server, drop, CONSOLE, server.now())
            click.echo("Dropped. If it was about a call: router reconcile")
        if fetch_recordings:
            with opened(open_server) as server, server.database.writing() as session:
                amount = fetch_failed_again(session, true(), server.now())
            click.echo(f"The worker fetches {format_count(amount, 'recording')} again.")
        if forget_machine:
            _forget(open_server, forget_machine)
        if accept_restore:
            with opened(open_server) as server:
                version = accept_restored(server, CONSOLE, server.now())
            click.echo(f"The database is at version {version} now, which every machine follows within 2 s.")
    except RepairRefused as error:
        raise click.ClickException(str(error)) from None
    if retry or drop is not None or fetch_recordings or forget_machine or accept_restore:
        return
    server = open_server()
    try:
        findings = examine(server, server.now())
    finally:
        server.database.dispose()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        click.echo(f"{'!' if finding.is_wrong else ' '} {finding.subject:{width}}  {finding.words}")
    if any(finding.is_wrong for finding in findings):
        raise click.exceptions.Exit(1)


def _forget(open_server: Opener, name: str) -> None:
    """Says how many calls may be missing, as far as the carrier can be asked."""
    with opened(open_server) as server:
        now = server.now()
        machine = forget_machine(server, name, CONSOLE, now)
        since = machine.seen_at - timedelta(hours=1)
        hours = math.ceil((now - since).total_seconds() / 3600)
        click.echo(f"{machine.host} is forgotten; it was heard of last {_ago(machine.seen_at, now)}.")
        try:
            done = reconcile(server, since, now, dry_run=True)
        except (ShopError, SettingsError) as error:
            click.echo(f"How many calls are missing is not known. {error}")
        else:
            if done.is_waiting:
                click.echo("Another machine has records that were not applied, so nobody knows yet what is missing.")
            else:
                click.echo(f"Known to the carrier and missing here: {format_count(len(done.written), 'call')}.")
        click.echo(f"Bring them in with: router reconcile --since {hours}h")
