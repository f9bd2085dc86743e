"""Who acts, and the audit trail: every change that an admin makes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import AuditEntry, Project
from router.server import Server, current_server

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


@dataclass(frozen=True)
class Change:
    """A change of a project: who makes it and when, in a transaction that stores all of it or nothing."""

    session: Session
    server: Server
    project: Project
    actor: Actor
    now: datetime

    def record(self, action: str, subject: str, **detail: Any) -> None:
        """Writes one entry of the audit trail. `detail` holds no secrets."""
        record(self.session, self.actor, self.now, action, subject, self.project.id, **detail)


@contextmanager
def changing() -> Iterator[Change]:
    """A change of this request's project by the person or program that sent it."""
    from router.web.access import current_actor, current_project  # commands without a request do not load it

    server = current_server()
    with server.database.writing() as session:
        yield Change(session, server, current_project(), current_actor(), server.now())
