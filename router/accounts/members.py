"""People and their roles in projects, and the set-up link that makes the first operator.

Each start prints a set-up link, which is good for 24 hours. The links of all starts and machines end when the first person uses one.
"""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from router.accounts import passwords
from router.accounts.audit import Change, changing
from router.accounts.models import Membership, Person, ServerFact
from router.accounts.tokens import digest_of
from router.db import wait_for_turn
from router.server import Server
from router.web.errors import Problem

ROLES = ("owner", "admin", "viewer")
LONGEST_NAME = 120
TURN_OF_NEW_PEOPLE, TURN_OF_OWNERS = 7301, 7302


def clean_name(text: str) -> str:
    """A name on one line, without what no database stores."""
    return " ".join(text.replace("\0", "").split())[:LONGEST_NAME]


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
    """Makes a person a member of a project, or changes the role of one.

    Raises:
        Problem: 422 when there is no such role, 409 when the project would be left without an owner.
    """
    if role not in ROLES:
        raise Problem(422, "Choose owner, admin or viewer.", "role")
    membership = membership_of(session, project_id, person_id)
    if membership is None:
        session.add(Membership(project_id=project_id, person_id=person_id, role=role))
    else:
        if role != "owner":
            _keep_an_owner(session, membership)
        membership.role = role
    session.flush()


def add_member(email: str, name: str, role: str) -> tuple[Person, str]:
    """Gives the person with this e-mail address a role in the project of this request; returns also the password of somebody
    new, empty for a person who had one.

    Raises:
        Problem: as `set_role`.
    """
    password = passwords.random_password()
    password_hash = passwords.hash_password(password)
    with changing() as change:
        wait_for_turn(change.session, TURN_OF_NEW_PEOPLE, 0)
        known = person_with(change.session, email)
        person = known or create_person(change.session, email, password_hash, change.now, clean_name(name))
        set_role(change.session, change.project.id, person.id, role)
        change.record("person added", email, role=role)
    return person, "" if known else password


def change_role(change: Change, person_id: int, role: str) -> Person:
    """
    Raises:
        Problem: 404 when the person is no member, 422 and 409 as `set_role`.
    """
    person, _ = find_member(change.session, change.project.id, person_id)
    set_role(change.session, change.project.id, person_id, role)
    change.record("role changed", person.email, role=role)
    return person


def remove_member(change: Change, person_id: int) -> Person:
    """The person stays, with the roles in other projects.

    Raises:
        Problem: as `change_role`.
    """
    person, membership = find_member(change.session, change.project.id, person_id)
    _keep_an_owner(change.session, membership)
    change.session.delete(membership)
    change.session.flush()
    change.record("person removed", person.email)
    return person


def membership_of(session: Session, project_id: int, person_id: int) -> Membership | None:
    wait_for_turn(session, TURN_OF_OWNERS, project_id)
    return session.scalar(
        select(Membership).where(Membership.project_id == project_id, Membership.person_id == person_id)
    )


def find_member(session: Session, project_id: int, person_id: int) -> tuple[Person, Membership]:
    membership = membership_of(session, project_id, person_id)
    person = session.get(Person, person_id) if membership else None
    if person is None or membership is None:
        raise Problem(404, "There is no such person in this project.")
    return person, membership


def _keep_an_owner(session: Session, membership: Membership) -> None:
    owners = select(func.count()).where(Membership.project_id == membership.project_id, Membership.role == "owner")
    if membership.role == "owner" and (session.scalar(owners) or 0) < 2:
        raise Problem(409, "This is the only owner. Make somebody else an owner first.")


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
    """The operator, made by the first person who takes a link; None for everybody later, with whichever link."""
    wait_for_turn(session, SET_UP_TURN, 0)
    if not link_holds(session, token, now):
        return None
    session.execute(delete(ServerFact).where(_is_link))
    return create_person(session, email, password_hash, now, name, is_operator=True)


def _anybody(session: Session) -> bool:
    return session.scalar(select(Person.id).limit(1)) is not None
