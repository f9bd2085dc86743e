"""R1 on the page: who gets a number of which scenario, a dynamic or a static one."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, func, select, update

from router.attribution.models import Lease, PoolNumber, Visit
from router.db import Database
from router.reports.accuracy.jobs import refresh_accuracy
from router.reports.counters import ColumnKeeper
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from tests.factories import NOON, make_number, make_project, make_scenario

SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}
GOOGLE = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring"
BING = "https://shop.example/prices?utm_source=bing&utm_medium=cpc"
STATIC = "+12125559001"
BILLBOARD = "+12125559002"


def shop(server: Server, **scenario: Any) -> int:
    """A shop with one scenario of three dynamic numbers, and two static ones."""
    with server.database.writing() as session:
        project = make_project(session)
        made = make_scenario(session, project, 3, **scenario)
        make_number(session, project, STATIC, made, {"source": "google", "medium": "", "campaign": ""})
        make_number(session, project, BILLBOARD, made, {"source": "offline", "medium": "offline", "campaign": ""})
        return made.id


def set_up(server: Server, scenario_id: int, **values: Any) -> None:
    with server.database.writing() as session:
        session.execute(update(Scenario).where(Scenario.id == scenario_id).values(**values))


def view(client: FlaskClient, page: str = GOOGLE, visitor: str | None = None) -> dict[str, Any]:
    body = {"page": page, "referrer": "", "visitor": visitor}
    answer = client.post("/tag/k-shop/visits", json=body, headers=SITE)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.get_json()
    return found


def alive(client: FlaskClient, visit: dict[str, Any]) -> Any:
    answer = client.post(f"/tag/k-shop/visits/{visit['token']}/alive", headers=SITE)
    return answer.status_code, answer.get_json(silent=True)


def shown(visit: dict[str, Any]) -> list[str]:
    return [number["e164"] for number in visit["numbers"]]


def leases(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count(Lease.id))) or 0


@pytest.mark.parametrize(
    ("terms", "google", "bing"),
    [
        ({"only_sources": ["google/cpc"]}, True, False),
        ({"excluded_sources": ["google"]}, False, True),
        ({"only_landing_pages": ["/prices"]}, False, True),
        ({"excluded_landing_pages": ["/prices"]}, True, False),
        ({"excluded_landing_pages": ["/?*campaign=spring"]}, False, True),
    ],
)
def test_r1_only_visits_that_the_terms_allow_get_a_number(
    server: Server, client: FlaskClient, terms: dict[str, Any], google: bool, bing: bool
) -> None:
    shop(server, terms=terms)
    assert bool(shown(view(client, GOOGLE))) is google
    assert bool(shown(view(client, BING))) is bing
    assert leases(server.database) == 1


def test_r1_the_visits_first_page_decides_on_every_later_page(server: Server, client: FlaskClient) -> None:
    shop(server, terms={"only_landing_pages": ["/prices"]})
    first = view(client, BING)
    assert shown(first)
    assert shown(view(client, "https://shop.example/about", first["visitor"])) == shown(first)
    outside = view(client, "https://shop.example/about")
    assert shown(outside) == []
    assert shown(view(client, "https://shop.example/prices", outside["visitor"])) == []
    assert alive(client, outside) == (204, None)


def test_r1_one_visitor_gets_a_number_of_each_scenario_whose_terms_allow_it(
    server: Server, client: FlaskClient
) -> None:
    with server.database.writing() as session:
        project = make_project(session)
        google, everybody, bing = (
            make_scenario(session, project, 1, terms=terms).id
            for terms in ({"only_sources": ["google"]}, {}, {"only_sources": ["bing"]})
        )
    assert [number["scenario"] for number in view(client)["numbers"]] == [google, everybody]
    assert [number["scenario"] for number in view(client, BING)["numbers"]] == [everybody, bing]


def test_r8_excluded_visits_and_static_numbers_do_not_count(server: Server, client: FlaskClient, clock: Any) -> None:
    channels = [{"match": {"source": "bing"}, "kind": "static", "number": STATIC}]
    scenario_id = shop(server, terms={"excluded_sources": ["google"]}, channels=channels)
    for _ in range(3):
        view(client, GOOGLE)
        view(client, BING)
    for _ in range(4):
        view(client, "https://shop.example/")
    clock.shift(timedelta(minutes=10))
    ColumnKeeper().refresh(server, server.now())
    refresh_accuracy(server, server.now())
    with server.database.reading() as session:
        assert session.scalar(select(func.count(Visit.id))) == 10
        assert session.scalar(select(Scenario.accuracy).where(Scenario.id == scenario_id)) == 50


def test_r1_a_channel_shows_its_static_number_to_everybody_at_once_without_a_lease(
    server: Server, client: FlaskClient, clock: Any
) -> None:
    channels = [
        {"match": {}, "kind": "static", "number": BILLBOARD},
        {"match": {"source": "google", "campaign": "autumn"}, "kind": "dynamic"},
        {"match": {"source": "Goo*"}, "kind": "static", "number": STATIC},
    ]
    shop(server, channels=channels)
    first = view(client)
    assert shown(first) == shown(view(client)) == [STATIC]
    clock.shift(timedelta(minutes=29))
    assert alive(client, first) == (204, None)
    assert view(client, "https://shop.example/about", first["visitor"]) == first
    assert leases(server.database) == 0
    for page in (BING, GOOGLE.replace("spring", "autumn")):
        assert shown(view(client, page))[0] not in (STATIC, BILLBOARD)


def test_r1_a_static_number_that_left_its_scenario_is_not_shown(server: Server, client: FlaskClient) -> None:
    shop(server, channels=[{"match": {"source": "google"}, "kind": "static", "number": STATIC}])
    for gone in ({"static_source": None}, {"scenario_id": None}, {"released_at": NOON}):
        with server.database.writing() as session:
            kept = {"static_source": {"source": "google"}, "released_at": None}
            session.execute(update(TrackingNumber).where(TrackingNumber.e164 == STATIC).values(**kept | gone))
        found = shown(view(client))
        assert len(found) == 1
        assert found != [STATIC]


def test_r6_a_page_keeps_its_number_when_the_terms_change_until_it_asks_anew(
    server: Server, client: FlaskClient, clock: Any
) -> None:
    scenario_id = shop(server)
    visit = view(client)
    set_up(server, scenario_id, terms={"excluded_sources": ["*"]})
    clock.shift(timedelta(seconds=45))
    assert alive(client, visit) == (204, None)
    with server.database.reading() as session:
        held = session.scalars(select(PoolNumber).where(PoolNumber.e164 == shown(visit)[0])).one()
        assert held.last_sign_at == server.now()
    assert shown(view(client, "https://shop.example/b", visit["visitor"])) == []
    assert alive(client, visit) == (204, None)


def test_r6_a_page_whose_channel_becomes_static_gets_that_number_when_it_asks_anew(
    server: Server, client: FlaskClient, clock: Any
) -> None:
    scenario_id = shop(server)
    visit = view(client)
    set_up(server, scenario_id, channels=[{"match": {"source": "google"}, "kind": "static", "number": STATIC}])
    assert alive(client, visit) == (204, None)
    assert shown(view(client, "https://shop.example/b", visit["visitor"])) == [STATIC]
    set_up(server, scenario_id, channels=[])
    assert shown(view(client, "https://shop.example/c", visit["visitor"])) == shown(visit)


def test_terms_and_channels_cost_no_statement(server: Server, client: FlaskClient) -> None:
    scenario_id = shop(server)

    def statements(page: str, visitor: str | None = None) -> int:
        found: list[str] = []

        def seen(*arguments: Any) -> None:
            found.append(str(arguments[2]))

        event.listen(server.database.engine, "before_cursor_execute", seen)
        view(client, page, visitor)
        event.remove(server.database.engine, "before_cursor_execute", seen)
        return len(found)

    visitor = view(client)["visitor"]
    before = statements(GOOGLE), statements(GOOGLE, visitor)
    set_up(
        server,
        scenario_id,
        terms={"only_sources": ["google"], "excluded_landing_pages": ["/jobs/*"]},
        channels=[{"match": {"source": "bing"}, "kind": "static", "number": STATIC}],
    )
    assert (statements(GOOGLE), statements(GOOGLE, visitor)) == before
    assert statements(BING) < before[0], "it is not for him, or a static number: nothing is lent"
