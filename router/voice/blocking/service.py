"""A project's block list: entries are added, removed and taken back, each with the audit trail, and routing follows at once. And what the
worker guesses: a caller who calls again and again and says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts import audit
from router.accounts.audit import Actor, Change
from router.accounts.mail import write_mail
from router.accounts.models import Project, raise_list_version
from router.db import insert_new
from router.lib.formats import format_count
from router.lib.phones import BadPhone, international, line_of, spellings_of_line
from router.server import Server
from router.voice.blocking.rules import MOST_ENTRIES, MOST_PATTERNS, parse_pattern, shown_pattern
from router.voice.models import EXTERNAL, BlockedCaller, Call, Status
from router.voice.routing import own_lines
from router.web.errors import Problem

log = structlog.get_logger(__name__)

WORKER = Actor("worker")
REASON_LENGTH = 200


def entries_of(session: Session, project_id: int) -> Sequence[BlockedCaller]:
    """Newest first."""
    listed = select(BlockedCaller).where(BlockedCaller.project_id == project_id)
    return session.scalars(listed.order_by(BlockedCaller.id.desc())).all()


def block_caller(change: Change, typed: str, reason: str) -> BlockedCaller:
    """Puts a number or a pattern on the list. A guess that was taken back counts again, as a person's entry.

    Raises:
        Problem: 422, it is neither, or one of the company's own telephones, or the list is full; 409, it is there.
    """
    session, project = change.session, change.project
    try:
        pattern = parse_pattern(typed, project.country)
    except BadPhone as error:
        raise Problem(422, str(error), "pattern") from None
    lines = own_lines(project.fallback_destination, project.own_numbers, project.destination_numbers)
    if line_of(pattern) in lines:
        raise Problem(
            422, "This is one of the company's own telephones: calls from them are always put through.", "pattern"
        )
    raise_list_version(session, project.id)
    listed = entries_of(session, project.id)
    same = next((entry for entry in listed if line_of(entry.pattern) == line_of(pattern)), None)
    reason = " ".join(reason.replace("\0", "").split())[:REASON_LENGTH]
    if same is not None and same.taken_back_at is None:
        raise Problem(409, f"{shown_pattern(same.pattern)} is on the list already.", "pattern")
    if same is None:
        if len(listed) >= MOST_ENTRIES:
            raise Problem(
                422, f"The list holds {MOST_ENTRIES} entries at most: remove some that you do not need.", "pattern"
            )
        if "*" in pattern and sum("*" in entry.pattern for entry in listed) >= MOST_PATTERNS:
            raise Problem(422, f"The list holds {MOST_PATTERNS} patterns at most.", "pattern")
        same = BlockedCaller(project_id=project.id, pattern=pattern)
        session.add(same)
    same.reason, same.is_guess, same.taken_back_at = reason, False, None
    same.created_at, same.created_by = change.now, change.actor.name
    session.flush()
    change.record("caller blocked", shown_pattern(same.pattern), reason=reason)
    return same


def unblock_caller(change: Change, entry_id: int) -> BlockedCaller:
    """Takes an entry from the list. A guess is taken back: it stays as what is not guessed again. Who does that twice removes it.

    Raises:
        Problem: 404, the project has no such entry.
    """
    entry = change.session.get(BlockedCaller, entry_id, with_for_update=True)
    if entry is None or entry.project_id != change.project.id:
        raise Problem(404, "There is no such entry on the list.")
    if entry.is_guess and entry.taken_back_at is None:
        entry.taken_back_at = change.now
        change.record("blocked caller taken back", shown_pattern(entry.pattern), reason=entry.reason)
    else:
        change.session.delete(entry)
        change.record("caller unblocked", shown_pattern(entry.pattern), reason=entry.reason)
    change.session.flush()
    raise_list_version(change.session, change.project.id)
    return entry


WINDOW = timedelta(hours=1)
"""In which the calls of one caller are counted."""
FEWEST_CALLS = 10
LONGEST_SILENCE = timedelta(seconds=5)
"""A talk that is not longer is none; nobody says what he wants in it."""
SHORTEST_RING = timedelta(seconds=3)
"""Who hangs up sooner did not wait for an answer."""
MOST_PAST_CALLS = 200


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of one caller that has ended."""

    started_at: datetime
    status: str
    kind: str = EXTERNAL
    talk_seconds: int | None = 0
    ring_seconds: int | None = 0
    has_source: bool = False

    @property
    def is_silent(self) -> bool:
        """Nobody can have been talked to, and not because the company was busy or away: who does not get through calls again."""
        if self.status == Status.ANSWERED:
            return self.talk_seconds is not None and self.talk_seconds <= LONGEST_SILENCE.total_seconds()
        if self.status == Status.ABANDONED:
            return self.ring_seconds is not None and self.ring_seconds <= SHORTEST_RING.total_seconds()
        return False


def guess_robocaller(calls: Sequence[PastCall], now: datetime) -> str:
    """Why the caller of these calls is no person, in words; empty: he may well be one.

    He is none when he called ten times within an hour, and all his calls to the project were silent. Who ever talked, did not get through,
    or has an earlier call that repeat calls are credited to (R7) may be a customer.
    """
    if any(call.kind != EXTERNAL or not call.is_silent for call in calls):
        return ""
    if any(call.has_source and call.started_at <= now - WINDOW for call in calls):
        return ""
    recent = sorted(call.started_at for call in calls if now - WINDOW < call.started_at <= now)
    if len(recent) < FEWEST_CALLS:
        return ""
    minutes = max(1, round((recent[-1] - recent[0]).total_seconds() / 60))
    longest = max(call.talk_seconds or 0 for call in calls)
    return f"{format_count(len(recent), 'call')} within {format_count(minutes, 'minute')}, none of which was longer than {longest} s"


def guess_robocalls(server: Server, now: datetime) -> int:
    """Puts callers who are no people on the lists of the projects that want it; returns how many."""
    with server.database.reading() as session:
        recent = (
            select(Call.project_id, Call.caller)
            .join(Project, Project.id == Call.project_id)
            .where(Project.block_robocalls, Call.started_at > now - WINDOW, Call.caller.is_not(None))
            .where(
                Call.kind == EXTERNAL, Call.ended_at.is_not(None), Call.status.in_([Status.ANSWERED, Status.ABANDONED])
            )
            .group_by(Call.project_id, Call.caller)
            .having(func.count() >= FEWEST_CALLS)
        )
        guesses = []
        for project_id, caller in session.execute(recent).all():
            if caller is None:
                continue
            past = select(Call).where(Call.project_id == project_id, Call.caller.in_(spellings_of_line(caller)))
            calls = [
                PastCall(
                    call.started_at,
                    call.status,
                    call.kind,
                    call.talk_seconds,
                    call.ring_seconds,
                    call.source is not None,
                )
                for call in session.scalars(past.order_by(Call.id.desc()).limit(MOST_PAST_CALLS))
            ]
            if reason := guess_robocaller(calls, now):
                guesses.append((project_id, caller, reason))
    return sum(_block_guessed(server, project_id, caller, reason, now) for project_id, caller, reason in guesses)


def _block_guessed(server: Server, project_id: int, caller: str, reason: str, now: datetime) -> bool:
    """False: it is one of the company's own telephones, on the list, or was taken back before."""
    with server.database.writing() as session:
        raise_list_version(session, project_id)
        project = session.get_one(Project, project_id)
        lines = own_lines(project.fallback_destination, project.own_numbers, project.destination_numbers)
        listed = {line_of(entry.pattern) for entry in entries_of(session, project_id)}
        if line_of(caller) in lines | listed or len(listed) >= MOST_ENTRIES:
            session.rollback()
            return False
        row = insert_new(session, BlockedCaller, unique=["project_id", "pattern"]).values(
            project_id=project_id,
            pattern=caller,
            reason=reason[:REASON_LENGTH],
            is_guess=True,
            created_at=now,
            created_by=WORKER.name,
        )
        entry_id = session.scalar(row.returning(BlockedCaller.id))
        if entry_id is None:
            return False
        audit.record(session, WORKER, now, "caller blocked", shown_pattern(caller), project_id, reason=reason)
        number = international(caller)
        write_mail(
            session,
            project,
            f"robocall:{entry_id}",
            f"{number} is blocked: it calls and says nothing",
            f"{number} made {reason}. No call of this number had a talk, so it is taken for a machine: it is not put through any more.\n\n"
            f"If this is a mistake, take it back at {server.settings.base_url}/settings/blocked, and it is never guessed again."
            " There you can also switch this off.",
            now,
        )
    log.info("robocaller_blocked", project=project_id, entry=entry_id)
    return True
