"""`?router_test=1`: a page shows what a visitor would see. Nobody is lent anything, and nothing is written."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from router.accounts.models import Project
from router.server import Server
from tests.attribution.asking import SITE, sign, view
from tests.attribution.tracking.test_crawlers import BOT
from tests.factories import NOON, make_number, make_project, make_scenario
from tests.faults.test_fuzz import rows

POOL = ["+12125551003", "+12125551001", "+12125551002"]
HOME = "https://shop.example/"


@pytest.fixture
def shop(server: Server) -> dict[str, int]:
    static = {"source": "mail", "medium": "*", "campaign": "*"}
    channel = {"match": {"source": "mail"}, "kind": "static", "number": "+12125559000"}
    with server.database.writing() as session:
        project = make_project(session)
        made = {
            "main": make_scenario(session, project, POOL, tagging={"selectors": [".phone"]}, channels=[channel]),
            "google": make_scenario(session, project, 2, terms={"only_sources": ["google"]}),
            "off": make_scenario(session, project, 2, enabled=False),
            "empty": make_scenario(session, project, 0),
        }
        make_number(session, project, "+12125559000", made["main"], static)
        return {name: scenario.id for name, scenario in made.items()}


def shown(client: FlaskClient, page: str, **body: Any) -> dict[int, str]:
    answer = view(client, page, test=True, **body)
    assert answer.status_code == 201
    told = answer.get_json()
    plan = (told["visit"], told["visitor"], told["token"], told["alive_every"], told["hold"])
    assert plan == (None, "test", "test", 600, 86400)
    return {one["scenario"]: one["e164"] for one in told["numbers"]}


def test_a_trial_shows_the_first_number_of_each_pool_or_the_channels_own_and_writes_nothing(
    shop: dict[str, int], server: Server, client: FlaskClient
) -> None:
    before = rows(server.database)
    for _ in range(2):
        assert shown(client, HOME) == {shop["main"]: POOL[0]}, "always the number that was added first"
        assert set(shown(client, f"{HOME}?gclid=x")) == {shop["main"], shop["google"]}
        assert shown(client, f"{HOME}?utm_source=mail", params={"a": "b"}) == {shop["main"]: "+12125559000"}
        assert shown(client, f"{HOME}?gclid=x", scenarios=[shop["google"], shop["off"]]).keys() == {shop["google"]}
    assert rows(server.database) == before
    assert sign(client, "test").status_code == 404
    assert [one["selectors"] for one in view(client, HOME, test=True).get_json()["numbers"]] == [[".phone"]]
    assert view(client, HOME, test=False).get_json()["visit"] == 10001


def test_r13_a_trial_shows_the_free_numbers_of_a_project_without_scenarios(server: Server, client: FlaskClient) -> None:
    with server.database.writing() as session:
        project = make_project(session)
        for e164 in ("+12125550001", "+74951230001"):
            make_number(session, project, e164)
    asked = {"prefixes": [{"prefix": "7495", "suffix": "msk"}]}
    numbers = view(client, HOME, test=True, **asked).get_json()["numbers"]
    assert {one["e164"]: one["suffixes"] for one in numbers} == {"+74951230001": ["msk", ""]}
    assert [one["e164"] for one in view(client, HOME, test=True).get_json()["numbers"]] == ["+12125550001"]


def test_a_trial_is_refused_where_a_page_view_is(shop: dict[str, int], server: Server, client: FlaskClient) -> None:
    assert view(client, HOME, headers=SITE | {"Origin": "https://evil.example"}, test=True).status_code == 403
    assert view(client, HOME, headers=SITE | BOT, test=True).status_code == 204
    answer = view(client, HOME, test="yes")
    assert (answer.status_code, answer.get_json()["field"]) == (422, "test")
    assert client.post("/tag/k-nobody/visits", json={"page": HOME, "test": True}, headers=SITE).status_code == 404
    with server.database.writing() as session:
        session.execute(update(Project).values(suspended_at=NOON))
    assert view(client, HOME, test=True).status_code == 204
