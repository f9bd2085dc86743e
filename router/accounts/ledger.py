"""The ledger of a project: an append-only list of entries whose sum is the balance (R4). Nothing else writes either.
The operator's own entries are top-ups and corrections."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.mail import used_up, write_mail
from router.accounts.models import LedgerEntry, Project
from router.config import Settings
from router.lib.formats import format_change, format_money
from router.web.errors import Problem

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
    """Writes an entry as `post_all` does; None when there is nothing to write."""
    rows = post_all(session, project_id, [entry], now)
    return rows[0] if rows else None


def post_all(session: Session, project_id: int, entries: Sequence[Post], now: datetime) -> list[LedgerEntry]:
    """Writes entries and moves the balance with them, with as many statements for many as for one. Entries of zero are left out, and those
    whose reason counted before, whatever the amount. What takes the balance to zero writes its e-mail as well (R4).

    Raises:
        BalanceTooLow: the balance does not cover all of them. Nothing was written.
        BalanceTooLarge: it would go beyond LARGEST_MINOR. Nothing was written.
    """
    if too_long := [entry.reason for entry in entries if len(entry.reason) > REASON_LENGTH]:
        raise ValueError(f"a reason has at most {REASON_LENGTH} signs: {too_long[0]!r}")
    balance = lock_balance(session, project_id)
    reasons = [entry.reason for entry in entries]
    known = select(LedgerEntry.reason).where(LedgerEntry.project_id == project_id, LedgerEntry.reason.in_(reasons))
    counted = set(session.scalars(known))
    new = [entry for entry in entries if entry.amount_minor and entry.reason not in counted]
    rows: list[LedgerEntry] = []
    for entry in new:
        balance += entry.amount_minor
        row = LedgerEntry(
            project_id=project_id,
            at=now,
            amount_minor=entry.amount_minor,
            balance_minor=balance,
            reason=entry.reason,
            note=entry.note[:NOTE_LENGTH],
            actor=entry.actor[:ACTOR_LENGTH],
            number=entry.number,
            scenario_id=entry.scenario_id,
        )
        rows.append(row)
    if not rows:
        return []
    if balance < 0:
        raise BalanceTooLow(-balance)
    if max(balance, *(abs(entry.amount_minor) for entry in new)) > LARGEST_MINOR:
        raise BalanceTooLarge
    session.add_all(rows)
    moved = update(Project).where(Project.id == project_id).values(balance_minor=balance)
    session.execute(moved.execution_options(synchronize_session="fetch"))
    session.flush()
    if (
        balance == 0 and new[-1].announces
    ):  # it was positive before, so there is one e-mail for each time that it is used up
        project = session.get_one(Project, project_id)
        letter = used_up(project)
        write_mail(session, project, f"zero:{rows[-1].id}", letter.subject, letter.body, now)
    return rows


def find_entry(session: Session, project_id: int, reason: str) -> LedgerEntry | None:
    return session.scalar(select(LedgerEntry).where(LedgerEntry.project_id == project_id, LedgerEntry.reason == reason))


def has_entries(session: Session, project_id: int) -> bool:
    return session.scalar(select(LedgerEntry.id).where(LedgerEntry.project_id == project_id).limit(1)) is not None


RESERVED = ("rent:", "refund:")
"""Reasons that only the server itself gives."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _reason(text: str | None) -> str | None:
    reason = _one_line(text or "")
    if reason.casefold().startswith(RESERVED):
        raise ValueError("A reason that begins with “rent:” or “refund:” is the server's own. Choose another one.")
    return reason or None


def _amount(minor: int) -> int:
    if minor == 0:
        raise ValueError("An amount of zero changes nothing.")
    return minor


class EntryValues(BaseModel):
    """What the operator gives for an entry. A reason that was given before counts once."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: Annotated[int, Field(strict=True, ge=-LARGEST_MINOR, le=LARGEST_MINOR), AfterValidator(_amount)]
    note: Annotated[str, AfterValidator(_one_line)] = Field(default="", max_length=NOTE_LENGTH)
    reason: Annotated[str | None, AfterValidator(_reason)] = Field(default=None, max_length=REASON_LENGTH)


def change_balance(change: Change, values: EntryValues) -> tuple[LedgerEntry, bool]:
    """Tops up a balance, or corrects it by a negative amount; the entry, and whether it is new: False when its reason counted before.

    Raises:
        Problem: 409 with `missing_minor` when the balance would fall below zero; 422 when it would be absurdly large.
    """
    session, project = change.session, change.project
    kind = "top-up" if values.amount_minor > 0 else "correction"
    reason = values.reason or f"{kind}:{secrets.token_hex(8)}"
    announces = price_of(change.server.settings, project) > 0
    entry = Post(values.amount_minor, reason, change.actor.name, values.note, announces=announces)
    try:
        row = post(session, project.id, entry, change.now)
    except BalanceTooLow as error:
        missing = format_money(error.missing_minor, project.currency)
        sentence = f"The balance cannot fall below zero: {missing} too much would be taken away."
        raise Problem(409, sentence, "amount_minor", missing_minor=error.missing_minor) from None
    except BalanceTooLarge:
        raise Problem(422, "The balance would be larger than anybody's. Check the amount.", "amount_minor") from None
    if row is None:
        before = find_entry(session, project.id, reason)
        if before is None:
            raise LookupError(f"nothing was posted for {reason!r}, and nothing was there")
        return before, False
    said = format_change(row.amount_minor, project.currency)
    change.record(f"balance {kind}", said, amount_minor=row.amount_minor, reason=reason, note=values.note)
    return row, True
