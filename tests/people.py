"""People and projects for tests: Alice owns, Bob views on her team, Charlie has another project, Olivia operates the server."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from router.accounts import members, projects, tokens
from router.accounts.models import Person, Project
from router.accounts.passwords import hash_password
from router.db import Database

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_password(PASSWORD)

PROJECT_VALUES: dict[str, Any] = {
    "name": "Alice's Shop",
    "site": "shop.example.com",
    "country": "US",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
    "email": "office@shop.example.com",
    "fallback_destination": "+14155550100",
}


def create_project(session: Session, now: datetime = NOW, **values: Any) -> Project:
    return projects.create_project(session, projects.ProjectValues(**(PROJECT_VALUES | values)), now)


def create_person(session: Session, email: str = "", now: datetime = NOW, **values: Any) -> Person:
    """Somebody whose password is PASSWORD."""
    email = email or f"{secrets.token_hex(4)}@example.com"
    values.setdefault("name", email.partition("@")[0].capitalize())
    return members.create_person(session, email, PASSWORD_HASH, now, **values)


def join(session: Session, person: Person, project: Project, role: str = "owner") -> None:
    members.set_role(session, project.id, person.id, role)


def create_token(session: Session, project: Project | None = None, role: str = "owner", now: datetime = NOW) -> str:
    """The text of a new API token; without a project an operator's."""
    return tokens.create_token(session, "test", now, project.id if project else None, role)[1]


@dataclass
class Cast:
    """The named actors and their projects, in the database."""

    project: Project
    """Alice's."""
    other_project: Project
    """Charlie's."""
    alice: Person
    bob: Person
    charlie: Person
    olivia: Person
    alice_token: str
    bob_token: str
    charlie_token: str
    operator_token: str
    ids: dict[str, Any] = field(default_factory=dict)
    """Values for URL converters, each an id of an object of Alice's project (`project_id` is one)."""


FURNISHERS: list[Callable[[Session, Cast], dict[str, Any]]] = []
"""Each makes objects in Alice's project and returns `{converter name: id}`, so that the walk over all addresses finds them.
Every part of the product adds its own with `@furnishes`, in a module that tests/conftest.py imports."""


def furnishes(make: Callable[[Session, Cast], dict[str, Any]]) -> Callable[[Session, Cast], dict[str, Any]]:
    FURNISHERS.append(make)
    return make


def create_cast(database: Database) -> Cast:
    with database.writing() as session:
        project = create_project(session)
        other = create_project(session, name="Charlie's Garage", site="garage.example.org")
        alice, bob, charlie = (create_person(session, f"{who}@example.com") for who in ("alice", "bob", "charlie"))
        olivia = create_person(session, "olivia@example.net", is_operator=True)
        join(session, alice, project, "owner")
        join(session, bob, project, "viewer")
        join(session, charlie, other, "owner")
        found = [create_token(session, *which) for which in ((project,), (project, "viewer"), (other,), ())]
        return Cast(project, other, alice, bob, charlie, olivia, *found, ids={"project_id": project.id})


def furnish(database: Database, cast: Cast) -> None:
    """Fills Alice's project with one object of each kind that the product has."""
    with database.writing() as session:
        for make in FURNISHERS:
            cast.ids.update(make(session, cast))


def sign_in(client: FlaskClient, person: Person, project: Project | None = None) -> FlaskClient:
    """The client acts as this person from now on, without the work of a password."""
    with client.session_transaction() as session:
        session.clear()
        session["person"], session["stamp"] = person.id, person.session_stamp
        if project is not None:
            session["project"] = project.id
    return client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@furnishes
def _a_person_and_a_token(session: Session, cast: Cast) -> dict[str, Any]:
    token, _ = tokens.create_token(session, "furniture", NOW, cast.project.id)
    return {"person_id": cast.bob.id, "token_id": token.id}
