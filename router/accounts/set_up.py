"""The first use of a server: a link, printed in the console at each start, makes the operator. It is good for 24 hours and for one person,
and those of other starts and machines are as good, until one of them is used."""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.accounts.models import Person, ServerFact
from router.accounts.people import create_person
from router.accounts.tokens import digest_of
from router.database import wait_for_turn
from router.server import Server

FACT = "set_up_link"
"""Each link is a fact of its own, whose name begins so; kept is its digest."""
GOOD_FOR = timedelta(hours=24)
SET_UP_TURN = 3001

_is_link = ServerFact.name.startswith(FACT, autoescape=True)


def setup_link(server: Server, now: datetime) -> str | None:
    """A new address of the set-up page. None when somebody can sign in already."""
    with server.database.writing() as session:
        if _anybody(session):
            return None
        session.execute(delete(ServerFact).where(_is_link, ServerFact.changed_at <= now - GOOD_FOR))
        token = secrets.token_urlsafe(24)
        digest = digest_of(token)
        session.add(ServerFact(name=f"{FACT}:{digest[:32]}", value=digest, changed_at=now))
    return f"{server.settings.base_url}/set-up/{token}"


def link_holds(session: Session, token: str, now: datetime) -> bool:
    good = (_is_link, ServerFact.value == digest_of(token), ServerFact.changed_at > now - GOOD_FOR)
    return session.scalar(select(ServerFact.name).where(*good)) is not None and not _anybody(session)


def use_link(session: Session, token: str, email: str, name: str, password_hash: str, now: datetime) -> Person | None:
    """The operator, made by the one who takes a link first; None for everybody after him, with whichever link."""
    wait_for_turn(session, SET_UP_TURN, 0)
    if not link_holds(session, token, now):
        return None
    session.execute(delete(ServerFact).where(_is_link))
    return create_person(session, email, password_hash, now, name, is_operator=True)


def _anybody(session: Session) -> bool:
    return session.scalar(select(Person.id).limit(1)) is not None
