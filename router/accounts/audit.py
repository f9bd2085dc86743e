"""Who acts, and the audit trail: every change that an admin makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import AuditEntry

RANK = {"person": 0, "viewer": 1, "admin": 2, "owner": 3, "operator": 4}


@dataclass(frozen=True)
class Actor:
    """Who acts: a person or a program, with a role in each project."""

    name: str
    """For the audit trail: an e-mail address, or `token NAME`."""
    person_id: int | None = None
    token_id: int | None = None
    is_operator: bool = False
    roles: Mapping[int, str] = field(default_factory=dict)

    def rank_in(self, project_id: int | None) -> int:
        if self.is_operator:
            return RANK["operator"]
        return RANK.get(self.roles.get(project_id or 0, ""), 0)

    def may(self, role: str, project_id: int | None) -> bool:
        return self.rank_in(project_id) >= RANK[role]


def record(
    session: Session, actor: Actor, now: datetime, action: str, subject: str, project_id: int | None, **detail: Any
) -> None:
    """Writes one entry in the transaction of the change itself. `detail` holds no secrets."""
    session.add(
        AuditEntry(project_id=project_id, actor=actor.name, at=now, action=action, subject=subject[:200], detail=detail)
    )
