"""The first use of a server."""

from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import Person, ServerFact
from router.accounts.set_up import setup_link
from router.server import Server
from tests.people import NOW, PASSWORD

OPERATOR = {"email": "Olivia@example.net", "name": "Olivia", "password": PASSWORD}


def path_of(server: Server) -> str:
    link = setup_link(server, NOW)
    assert link is not None
    assert link.startswith("https://calls.example.net/set-up/")
    return link.removeprefix("https://calls.example.net")


def test_the_link_makes_the_operator_and_is_gone(client: FlaskClient, server: Server) -> None:
    path = path_of(server)
    assert "Who operates this server?" in client.get(path).text
    assert client.post(path, data=OPERATOR).status_code == 302
    assert client.get("/projects").status_code == 200, "the operator is signed in"
    with server.database.reading() as session:
        person = session.scalars(select(Person)).one()
        assert (person.email, person.name, person.is_operator) == ("olivia@example.net", "Olivia", True)
        assert session.get(ServerFact, "set_up_link") is None
    assert client.get(path).status_code == 404
    assert client.post(path, data=OPERATOR | {"email": "mallory@example.net"}).status_code == 404
    assert setup_link(server, NOW + timedelta(days=1)) is None


def test_the_link_is_kept_as_a_digest_and_a_newer_one_ends_it(client: FlaskClient, server: Server) -> None:
    older = path_of(server)
    newer = path_of(server)
    with server.database.reading() as session:
        kept = session.get_one(ServerFact, "set_up_link").value
    assert newer.removeprefix("/set-up/") not in kept
    assert client.get(older).status_code == 404
    assert client.get(newer).status_code == 200


def test_a_wrong_link_and_bad_values_make_nobody(app: Flask, client: FlaskClient, server: Server) -> None:
    path = path_of(server)
    assert client.get("/set-up/wrong").status_code == 404
    assert client.post("/set-up/wrong", data=OPERATOR).status_code == 404
    for bad in ({"email": "nobody"}, {"password": "short"}, {"email": ""}):
        assert client.post(path, data=OPERATOR | bad).status_code == 422
    with server.database.reading() as session:
        assert session.scalars(select(Person)).all() == []
