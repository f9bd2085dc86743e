"""People and projects for tests: Alice owns, Bob views on her team, Charlie has another project, Olivia operates the server."""

from dataclasses import dataclass, field
from typing import Any

from flask.testing import FlaskClient

from router.accounts.models import Person, Project
from router.db import Database
from tests.factories import NOON, make_member, make_person, make_project, make_token

NOW = NOON

PROJECT_VALUES: dict[str, Any] = {
    "name": "Alice's Shop",
    "site": "shop.example.com",
    "country": "US",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
    "email": "office@shop.example.com",
    "fallback_destination": "+14155550100",
}
"""Alice's project as somebody types it."""
ALICES_SHOP = PROJECT_VALUES | {"site": ["shop.example.com"]}


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


def create_cast(database: Database) -> Cast:
    with database.writing() as session:
        project = make_project(session, **ALICES_SHOP)
        other = make_project(session, **(ALICES_SHOP | {"name": "Charlie's Garage", "site": ["garage.example.org"]}))
        alice, bob, charlie = (make_person(session, f"{who}@example.com") for who in ("alice", "bob", "charlie"))
        olivia = make_person(session, "olivia@example.net", is_operator=True)
        make_member(session, project, alice)
        make_member(session, project, bob, "viewer")
        make_member(session, other, charlie)
        return Cast(
            project,
            other,
            alice,
            bob,
            charlie,
            olivia,
            alice_token=make_token(session, project)[1],
            bob_token=make_token(session, project, "viewer")[1],
            charlie_token=make_token(session, other)[1],
            operator_token=make_token(session)[1],
            ids={"project_id": project.id},
        )


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
