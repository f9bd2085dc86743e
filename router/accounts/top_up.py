"""Entries that the operator writes into a ledger: top-ups and corrections (R4)."""

import secrets
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from router.accounts import audit, ledger
from router.accounts.access import Actor
from router.accounts.models import LedgerEntry, Project
from router.money import say_change, say_money
from router.settings import Settings
from router.web import Problem

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

    amount_minor: Annotated[
        int, Field(strict=True, ge=-ledger.LARGEST_MINOR, le=ledger.LARGEST_MINOR), AfterValidator(_amount)
    ]
    note: Annotated[str, AfterValidator(_one_line)] = Field(default="", max_length=ledger.NOTE_LENGTH)
    reason: Annotated[str | None, AfterValidator(_reason)] = Field(default=None, max_length=ledger.REASON_LENGTH)


def change_balance(
    session: Session, settings: Settings, project: Project, actor: Actor, values: EntryValues, now: datetime
) -> tuple[LedgerEntry, bool]:
    """Tops up a balance, or corrects it by a negative amount; the entry, and whether it is new: False when its reason counted before.

    Raises:
        Problem: 409 with `missing_minor` when the balance would fall below zero; 422 when it would be absurdly large.
    """
    kind = "top-up" if values.amount_minor > 0 else "correction"
    reason = values.reason or f"{kind}:{secrets.token_hex(8)}"
    announces = ledger.price_of(settings, project) > 0
    entry = ledger.Post(values.amount_minor, reason, actor.name, values.note, announces=announces)
    try:
        row = ledger.post(session, project.id, entry, now)
    except ledger.BalanceTooLow as error:
        raise _too_low(project, error.missing_minor) from None
    except ledger.BalanceTooLarge:
        raise Problem(422, "The balance would be larger than anybody's. Check the amount.", "amount_minor") from None
    if row is None:
        before = ledger.find_entry(session, project.id, reason)
        if before is None:
            raise LookupError(f"nothing was posted for {reason!r}, and nothing was there")
        return before, False
    said = say_change(row.amount_minor, project.currency)
    detail = {"amount_minor": row.amount_minor, "reason": reason, "note": values.note}
    audit.record(session, actor, now, f"balance {kind}", said, project.id, **detail)
    return row, True


def _too_low(project: Project, missing_minor: int) -> Problem:
    missing = say_money(missing_minor, project.currency)
    sentence = f"The balance cannot fall below zero: {missing} too much would be taken away."
    return Problem(409, sentence, "amount_minor", missing_minor=missing_minor)
