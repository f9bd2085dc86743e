"""Which numbers were called lately (R4, R9): those keep ringing. Internal calls do not count."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.voice.models import EXTERNAL, Call


def called_numbers(session: Session, number_ids: Iterable[int], since: datetime) -> set[int]:
    """Those with a call that began since then; one statement. The column `last_call_at` may be a worker's turn behind."""
    called = select(Call.number_id).where(Call.number_id.in_(list(number_ids)), Call.started_at >= since)
    return set(session.scalars(called.where(Call.kind == EXTERNAL).distinct()))
