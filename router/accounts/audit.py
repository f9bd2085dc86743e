"""The audit trail: every change that an admin makes."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import AuditEntry
from router.web.access import Actor


def record(
    session: Session, actor: Actor, now: datetime, action: str, subject: str, project_id: int | None, **detail: Any
) -> None:
    """Writes one entry in the transaction of the change itself. `detail` holds no secrets."""
    session.add(
        AuditEntry(project_id=project_id, actor=actor.name, at=now, action=action, subject=subject[:200], detail=detail)
    )
