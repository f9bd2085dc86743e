"""The ledger of a project: an append-only list of entries whose sum is the balance (R4). Nothing else writes either."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.letters import used_up
from router.accounts.mail import write_mail
from router.accounts.models import LedgerEntry, Project
from router.settings import Settings

LARGEST_MINOR = 10**15
"""An entry or a balance beyond is a mistake."""
BOUGHT, RENEWED = "Bought", "Renewed"
"""Notes of rents."""
REASON_LENGTH, NOTE_LENGTH, ACTOR_LENGTH = 120, 300, 254


@dataclass(frozen=True, slots=True)
class Post:
    """One change of a balance: `amount_minor` is negative for a charge; `reason` counts once in its project."""

    amount_minor: int
    reason: str
    actor: str
    note: str = ""
    number: str = ""
    scenario_id: int | None = None
    announces: bool = True
    """Whether the project's address is told when it takes the balance to zero."""


class BalanceTooLow(Exception):
    """The balance does not cover a charge. Nothing was written; `missing_minor` would have to be added first."""

    def __init__(self, missing_minor: int) -> None:
        super().__init__(f"{missing_minor} minor units are missing")
        self.missing_minor = missing_minor


class BalanceTooLarge(Exception):
    """The balance would go beyond LARGEST_MINOR. Nothing was written."""


def price_of(settings: Settings, project: Project) -> int:
    """What one number costs this project for 7 days, in minor units of its currency."""
    return settings.number_price if project.number_price_minor is None else project.number_price_minor


def lock_balance(session: Session, project_id: int) -> int:
    """The balance in minor units; the project's row stays locked to the end of the transaction, so that charges take turns."""
    locked = select(Project.balance_minor).where(Project.id == project_id).with_for_update(key_share=True)
    return session.execute(locked).scalar_one()


def post(session: Session, project_id: int, entry: Post, now: datetime) -> LedgerEntry | None:
    """Writes an entry and moves the balance with it; None when there is nothing to write: an amount of zero, or a reason that
    counted before, whatever the amount. A charge that takes the balance to zero writes its e-mail as well (R4).

    Raises:
        BalanceTooLow: a charge would take the balance below zero.
        BalanceTooLarge: it would go beyond LARGEST_MINOR.
    """
    if len(entry.reason) > REASON_LENGTH:
        raise ValueError(f"a reason has at most {REASON_LENGTH} signs: {entry.reason!r}")
    balance = lock_balance(session, project_id)
    if entry.amount_minor == 0 or find_entry(session, project_id, entry.reason) is not None:
        return None
    after = balance + entry.amount_minor
    if after < 0 and entry.amount_minor < 0:
        raise BalanceTooLow(-after)
    if max(abs(entry.amount_minor), after) > LARGEST_MINOR:
        raise BalanceTooLarge
    row = _write(session, project_id, entry, after, now)
    if after == 0 and entry.announces:
        _tell_used_up(session, row, now)
    return row


def charge_all(session: Session, project_id: int, entries: Sequence[Post], now: datetime) -> None:
    """Writes many charges at once, with as many statements as one has; those whose reason counted before are left out.

    Raises:
        BalanceTooLow: the balance does not cover all of them. Nothing was written.
    """
    balance = lock_balance(session, project_id)
    reasons = [entry.reason for entry in entries]
    known = select(LedgerEntry.reason).where(LedgerEntry.project_id == project_id, LedgerEntry.reason.in_(reasons))
    counted = set(session.scalars(known))
    rows: list[LedgerEntry] = []
    for entry in entries:
        if entry.reason in counted:
            continue
        balance += entry.amount_minor
        rows.append(_row(project_id, entry, balance, now))
    if rows and balance < 0:
        raise BalanceTooLow(-balance)
    session.add_all(rows)
    _move(session, project_id, balance)
    if rows and balance == 0:
        _tell_used_up(session, rows[-1], now)


def _write(session: Session, project_id: int, entry: Post, after: int, now: datetime) -> LedgerEntry:
    row = _row(project_id, entry, after, now)
    session.add(row)
    _move(session, project_id, after)
    return row


def _move(session: Session, project_id: int, balance: int) -> None:
    moved = update(Project).where(Project.id == project_id).values(balance_minor=balance)
    session.execute(moved.execution_options(synchronize_session="fetch"))
    session.flush()


def _row(project_id: int, entry: Post, after: int, now: datetime) -> LedgerEntry:
    return LedgerEntry(
        project_id=project_id,
        at=now,
        amount_minor=entry.amount_minor,
        balance_minor=after,
        reason=entry.reason,
        note=entry.note[:NOTE_LENGTH],
        actor=entry.actor[:ACTOR_LENGTH],
        number=entry.number,
        scenario_id=entry.scenario_id,
    )


def _tell_used_up(session: Session, entry: LedgerEntry, now: datetime) -> None:
    """The balance was positive before this entry, so there is one e-mail for each time that it is used up."""
    project = session.get_one(Project, entry.project_id)
    letter = used_up(project)
    write_mail(session, project, f"zero:{entry.id}", letter.subject, letter.body, now)


def find_entry(session: Session, project_id: int, reason: str) -> LedgerEntry | None:
    """The entry that counted for this reason."""
    return session.scalar(select(LedgerEntry).where(LedgerEntry.project_id == project_id, LedgerEntry.reason == reason))


def has_entries(session: Session, project_id: int) -> bool:
    """Whether anything was ever charged or topped up."""
    return session.scalar(select(LedgerEntry.id).where(LedgerEntry.project_id == project_id).limit(1)) is not None
