"""The first use of a server."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.members import setup_link, use_link
from router.accounts.models import Person, ServerFact
from router.db import Database
from router.server import Server
from tests.factories import PASSWORD
from tests.people import NOW

pytestmark = pytest.mark.one_database

OPERATOR = {"email": "Olivia@example.net", "name": "Olivia", "password": PASSWORD}


@pytest.fixture(autouse=True)
def _now(server: Server) -> None:
    server.now = lambda: NOW


def path_of(server: Server, now: datetime = NOW) -> str:
    link = setup_link(server, now)
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
        assert kept_of(session) == []
    assert client.get(path).status_code == 404
    assert client.post(path, data=OPERATOR | {"email": "mallory@example.net"}).status_code == 404
    assert setup_link(server, NOW + timedelta(days=1)) is None


def kept_of(session: Session) -> list[ServerFact]:
    return list(session.scalars(select(ServerFact).where(ServerFact.name.startswith("set_up_link"))))


def test_the_links_of_two_starts_are_good_until_one_of_them_is_used(client: FlaskClient, server: Server) -> None:
    older, newer = path_of(server, NOW - timedelta(hours=23)), path_of(server)
    assert older != newer
    assert [client.get(path).status_code for path in (older, newer)] == [200, 200]
    assert client.post(older, data=OPERATOR).status_code == 302
    others = another_browser(client)
    for path in (older, newer):
        assert others.get(path).status_code == 404
        assert others.post(path, data=OPERATOR | {"email": "mallory@example.net"}).status_code == 404


def another_browser(client: FlaskClient) -> FlaskClient:
    """Not signed in."""
    return client.application.test_client()


def test_a_link_is_good_for_24_hours(client: FlaskClient, server: Server) -> None:
    path = path_of(server)
    server.now = lambda: NOW + timedelta(hours=24) - timedelta(seconds=1)
    assert client.get(path).status_code == 200
    server.now = lambda: NOW + timedelta(hours=24)
    assert "older than 24 hours" in client.get(path).text
    assert client.post(path, data=OPERATOR).status_code == 404
    path_of(server, server.now())
    with server.database.reading() as session:
        assert [one.changed_at for one in kept_of(session)] == [server.now()], "what is of no use is not kept"


def test_of_a_link_only_its_digest_is_kept(server: Server) -> None:
    token = path_of(server).removeprefix("/set-up/")
    with server.database.reading() as session:
        [kept] = kept_of(session)
    assert token not in kept.name + kept.value
    assert not kept.value.startswith(token[:8])


def test_many_machines_that_start_at_once_print_links_that_work(server: Server, client: FlaskClient) -> None:
    machines = [Server(server.settings, Database(server.database.url, pool_size=1), server.keys) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        links = list(threads.map(lambda machine: setup_link(machine, NOW), machines))
    for machine in machines:
        machine.database.dispose()
    assert len(set(links)) == 4
    for link in links:
        assert link is not None
        assert client.get(link.removeprefix("https://calls.example.net")).status_code == 200


def test_of_many_who_use_different_links_at_once_one_becomes_the_operator(server: Server) -> None:
    tokens = [path_of(server).removeprefix("/set-up/") for _ in range(6)]
    start = Barrier(len(tokens))

    def use(token: str) -> bool:
        start.wait()
        with server.database.writing() as session:
            return use_link(session, token, f"{token[:6]}@example.net", "", "hash", NOW) is not None

    with ThreadPoolExecutor(len(tokens)) as threads:
        assert sorted(threads.map(use, tokens)) == [False] * 5 + [True]
    with server.database.reading() as session:
        assert len(session.scalars(select(Person)).all()) == 1
        assert kept_of(session) == []


def test_a_wrong_link_and_bad_values_make_nobody(app: Flask, client: FlaskClient, server: Server) -> None:
    path = path_of(server)
    assert client.get("/set-up/wrong").status_code == 404
    assert client.post("/set-up/wrong", data=OPERATOR).status_code == 404
    for bad in ({"email": "nobody"}, {"password": "short"}, {"email": ""}):
        assert client.post(path, data=OPERATOR | bad).status_code == 422
    with server.database.reading() as session:
        assert session.scalars(select(Person)).all() == []
