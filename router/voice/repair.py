"""What an operator does about journals (R12): records that were set aside are applied again or dropped, and a machine that is lost for
good is waited for no more. And about a database that was put back to a state before."""

import json
from datetime import datetime

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.lib.texts import plain_text
from router.server import Server
from router.voice.applier import OF_EITHER, OF_THE_DATABASE, apply_records
from router.voice.clocks import by_database
from router.voice.events import SILENT_MACHINE, write_and_announce
from router.voice.journal import VERSION
from router.voice.models import JournalPosition, RoutingVersion, SetAsideRecord
from router.voice.snapshot import read_snapshot

log = structlog.get_logger(__name__)


class RepairRefused(Exception):
    """Nothing was changed; the message is for the operator."""


def retry_set_aside(server: Server, now: datetime) -> tuple[int, int]:
    """Applies the records that were set aside again, in their order, and removes those that succeed. Returns how many did, and how many
    stay."""
    with server.database.reading() as session:
        ids = session.scalars(select(SetAsideRecord.id).order_by(SetAsideRecord.id)).all()
    applied = 0
    for row_id in ids:

        def work(session: Session, announcing: bool, row_id: int = row_id) -> bool:
            row = session.get(SetAsideRecord, row_id, with_for_update=True)
            if row is None:
                return False
            try:
                kept = json.loads(row.record)
                is_ours = kept["version"] <= VERSION
            except (ValueError, KeyError, TypeError):
                is_ours = False
            if not is_ours:  # damaged, or of a later program
                raise ValueError(row.reason.removeprefix("ValueError: "))
            apply_records(server, session, [kept], now, announcing)
            session.delete(row)
            return True

        try:
            applied += write_and_announce(server, work)
        except Exception as error:
            if isinstance(error, OF_THE_DATABASE) and not isinstance(error, OF_EITHER):
                raise
            log.warning("set_aside_again", id=row_id, reason=str(error)[:300])
            reason = plain_text(f"{type(error).__name__}: {error}"[:1000])
            with server.database.writing() as session:
                session.execute(update(SetAsideRecord).where(SetAsideRecord.id == row_id).values(reason=reason))
    return applied, len(ids) - applied


def drop_set_aside(server: Server, row_id: int, actor: Actor, now: datetime) -> None:
    """
    Raises:
        RepairRefused: there is no such record.
    """
    with server.database.writing() as session:
        row = session.get(SetAsideRecord, row_id)
        if row is None:
            raise RepairRefused(f"There is no record {row_id} that was set aside.")
        subject = row.call_sid or f"{row.machine} {row.position}"
        record(session, actor, now, "set-aside record dropped", subject, None, reason=row.reason[:300])
        session.delete(row)


def forget_machine(server: Server, name: str, actor: Actor, now: datetime) -> JournalPosition:
    """Declares a machine lost for good: nothing waits for its records any more. Returns what was known of it.

    Args:
        name: its host, or the beginning of its id.

    Raises:
        RepairRefused: there is none or more than one of that name, it is at work, or it has ended with nothing left.
    """
    with server.database.writing() as session:
        named = or_(JournalPosition.host == name, JournalPosition.machine.startswith(name, autoescape=True))
        found = session.scalars(select(JournalPosition).where(named).order_by(JournalPosition.machine)).all()
        left = [machine for machine in found if not machine.is_stopped]
        if not found:
            raise RepairRefused(f"No machine is called {name}.")
        if not left:
            raise RepairRefused(f"{found[0].host} has ended with nothing left to apply: nobody waits for it.")
        if len(left) > 1:
            ids = ", ".join(machine.machine for machine in left)
            raise RepairRefused(f"More than one machine is called {name}: name one of {ids}.")
        (machine,) = left
        if by_database(session, now) - machine.seen_at < SILENT_MACHINE:
            raise RepairRefused(f"The applier of {machine.host} is at work: it was heard of a moment ago.")
        machine.is_stopped, machine.is_waiting = True, False
        seen_at = machine.seen_at.isoformat()
        record(session, actor, now, "machine forgotten", machine.host, None, machine=machine.machine, seen_at=seen_at)
        return machine


FAR_AHEAD = 1_000_000
"""Other machines may have seen later versions of the state that is lost, but not so many."""


def accept_restored(server: Server, actor: Actor, now: datetime) -> int:
    """The database was put back by a backup, and that is meant: its state gets a version that all machines follow, later than any they have
    seen. Returns it.

    Raises:
        RepairRefused: this machine has seen nothing later, or it is another installation's database.
    """
    seen = read_snapshot(server.settings.data_dir / "routing", server.keys)
    with server.database.writing() as session:
        present = session.scalars(select(RoutingVersion).with_for_update()).one()
        if seen is None or seen.installation != present.installation:
            raise RepairRefused("This machine has no snapshot of this database: do it on one that refuses to follow.")
        if seen.version <= present.version:
            raise RepairRefused(f"The database is at version {present.version}, and no later one was seen here.")
        version = seen.version + FAR_AHEAD
        session.execute(update(RoutingVersion).values(version=version))
        record(session, actor, now, "restored database accepted", f"version {present.version}", None, seen=seen.version)
        return version
