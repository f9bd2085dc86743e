"""People and their roles in projects."""

import secrets
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.models import Membership, Person


def create_person(
    session: Session, email: str, password_hash: str, now: datetime, name: str = "", is_operator: bool = False
) -> Person:
    """A new person; `email` is case-folded and belongs to nobody yet, `password_hash` is made before the transaction."""
    person = Person(
        email=email,
        name=name,
        password_hash=password_hash,
        is_operator=is_operator,
        session_stamp=secrets.token_hex(16),
        created_at=now,
    )
    session.add(person)
    session.flush()
    return person


def person_with(session: Session, email: str) -> Person | None:
    return session.scalar(select(Person).where(Person.email == email.strip().casefold()))


def change_password(session: Session, person_id: int, password_hash: str, stamp: str) -> None:
    """Sets a password; a new `stamp` ends all sessions that do not know it."""
    session.execute(
        update(Person).where(Person.id == person_id).values(password_hash=password_hash, session_stamp=stamp)
    )


def set_role(session: Session, project_id: int, person_id: int, role: str) -> None:
    """Makes a person a member of a project, or changes the role of one."""
    membership = membership_of(session, project_id, person_id)
    if membership is None:
        session.add(Membership(project_id=project_id, person_id=person_id, role=role))
    else:
        membership.role = role
    session.flush()


def membership_of(session: Session, project_id: int, person_id: int) -> Membership | None:
    return session.scalar(
        select(Membership).where(Membership.project_id == project_id, Membership.person_id == person_id)
    )
