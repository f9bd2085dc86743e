"""A project's own people look at its pages as if nothing were there: no visit, no lease, no figure."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.attribution.models import CrawlerDay, Lease, Visit
from router.attribution.tracking.crawlers import write_counts
from router.server import Server
from tests.attribution.asking import SITE, view
from tests.counting import count_statements
from tests.factories import make_project, make_scenario


@pytest.fixture
def shop(server: Server) -> Server:
    staff = ["203.0.113.7", "198.51.100.0/24", "2001:db8::/48"]
    with server.database.writing() as session:
        make_scenario(session, make_project(session, staff_addresses=staff), 3)
    return server


def status_from(client: FlaskClient, address: str, **body: Any) -> int:
    return view(client, headers=SITE | {"X-Forwarded-For": address}, **body).status_code


@pytest.mark.parametrize("address", ["203.0.113.7", "198.51.100.200", "2001:db8::5", "::ffff:203.0.113.7"])
def test_staff_get_the_pages_own_number_and_are_counted_apart(
    shop: Server, client: FlaskClient, clock: Any, address: str
) -> None:
    with count_statements(shop.database) as heard:
        assert status_from(client, address) == 204
    assert len([one for one in heard if one.startswith("SELECT")]) == 1
    write_counts(shop)
    with shop.database.reading() as session:
        assert session.scalars(select(Visit)).all() == session.scalars(select(Lease)).all() == []
        assert [(one.kind, one.views) for one in session.scalars(select(CrawlerDay))] == [("staff", 1)]


@pytest.mark.parametrize("address", ["203.0.113.8", "198.51.101.1", "2001:db8:1::5"])
def test_neighbours_are_visitors(shop: Server, client: FlaskClient, address: str) -> None:
    assert status_from(client, address) == 201


def test_a_stranger_who_claims_a_staff_address_from_elsewhere_is_a_visitor(shop: Server, client: FlaskClient) -> None:
    headers = SITE | {"X-Forwarded-For": "203.0.113.7"}
    peer = {"REMOTE_ADDR": "192.0.2.1"}
    answer = client.post(
        "/tag/k-shop/visits", json={"page": "https://shop.example/"}, headers=headers, environ_base=peer
    )
    assert answer.status_code == 201


def test_staff_may_test(shop: Server, client: FlaskClient) -> None:
    assert status_from(client, "203.0.113.7", test=True) == 201
