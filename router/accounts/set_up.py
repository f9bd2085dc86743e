"""The first use of a server: a one-time link, printed in the console, makes the operator."""

import secrets
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.accounts.models import Person, ServerFact
from router.accounts.people import create_person
from router.accounts.tokens import digest_of
from router.server import Server

FACT = "set_up_link"


def setup_link(server: Server, now: datetime) -> str | None:
    """A new address of the set-up page; the one before ends. None when somebody can sign in already."""
    with server.database.writing() as session:
        if _anybody(session):
            return None
        token = secrets.token_urlsafe(24)
        session.merge(ServerFact(name=FACT, value=digest_of(token), changed_at=now))
    return f"{server.settings.base_url}/set-up/{token}"


def link_holds(session: Session, token: str) -> bool:
    fact = session.get(ServerFact, FACT)
    return fact is not None and secrets.compare_digest(fact.value, digest_of(token)) and not _anybody(session)


def use_link(session: Session, token: str, email: str, name: str, password_hash: str, now: datetime) -> Person | None:
    """The operator, made by the one who takes the link first; None for everybody after him."""
    taken = session.scalar(
        delete(ServerFact)
        .where(ServerFact.name == FACT, ServerFact.value == digest_of(token))
        .returning(ServerFact.name)
        .execution_options(synchronize_session=False)
    )
    if taken is None or _anybody(session):
        return None
    return create_person(session, email, password_hash, now, name, is_operator=True)


def _anybody(session: Session) -> bool:
    return session.scalar(select(Person.id).limit(1)) is not None
