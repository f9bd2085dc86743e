"""R7: a visit that comes back directly keeps its last known marketing source for the project's days, counted from the evidence."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import select, update

from router.accounts.models import Project
from router.attribution.models import Visit
from router.db import Database
from router.server import Server
from tests.attribution.asking import view
from tests.counting import count_statements
from tests.factories import NOON, make_project, make_scenario
from tests.people import Cast, bearer

AD = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring&utm_term=bike&gclid=one"
HOME = "https://shop.example/"


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), 3)
    return server


def visit_of(database: Database, number: int) -> Visit:
    with database.reading() as session:
        return session.scalars(select(Visit).where(Visit.number == number)).one()


def comes(client: FlaskClient, visitor: str | None, page: str = HOME, **body: Any) -> tuple[int, str]:
    answer = view(client, page, visitor=visitor, **body).get_json()
    return answer["visit"], answer["visitor"]


def test_r7_a_direct_return_keeps_source_and_click_ids_until_the_evidence_is_30_days_old(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    first, visitor = comes(client, None, AD)
    clock.shift(timedelta(days=20))
    second, _ = comes(client, visitor)
    clock.shift(timedelta(days=10, seconds=-1))
    third, _ = comes(client, visitor)
    clock.shift(timedelta(seconds=1801))
    fourth, _ = comes(client, visitor)
    visits = [visit_of(shop.database, number) for number in (first, second, third, fourth)]
    assert len({first, second, third, fourth}) == 4
    assert [one.source for one in visits] == ["google", "google", "google", "direct"]
    assert [one.source_at for one in visits] == [None, NOON, NOON, None]
    kept = visits[2]
    assert (kept.channel, kept.campaign, kept.term) == ("paid_search", "spring", "bike")
    assert (kept.source_key, kept.click_ids) == (visits[0].source_key, {"gclid": "one"})
    assert (kept.page, kept.referrer) == (HOME, "")
    assert visits[3].click_ids == {}


def test_r7_a_source_that_a_visit_only_keeps_is_new_evidence_when_it_is_seen_again(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    first, visitor = comes(client, None, AD)
    clock.shift(timedelta(days=20))
    back, _ = comes(client, visitor)
    assert comes(client, visitor, HOME + "prices") == (back, visitor)
    clicked, _ = comes(client, visitor, AD)
    assert comes(client, visitor, AD) == (clicked, visitor)
    assert (first, back, clicked) == (10001, 10002, 10003)
    assert visit_of(shop.database, clicked).source_at is None
    clock.shift(timedelta(days=29))
    again, _ = comes(client, visitor)
    assert visit_of(shop.database, again).source == "google", "the days count from the newest evidence"


def test_r7_new_evidence_replaces_the_kept_source(shop: Server, client: FlaskClient, clock: Any) -> None:
    _, visitor = comes(client, None, AD)
    clock.shift(timedelta(days=1))
    number, _ = comes(client, visitor, referrer="https://www.bing.com/")
    found = visit_of(shop.database, number)
    assert (found.channel, found.source, found.click_ids, found.source_at) == ("organic_search", "bing", {}, None)


@pytest.mark.parametrize(("days", "pause", "source"), [(0, 1, "direct"), (365, 364, "google"), (7, 7, "direct")])
def test_r7_how_long_is_the_projects_setting(
    shop: Server, client: FlaskClient, clock: Any, days: int, pause: int, source: str
) -> None:
    with shop.database.writing() as session:
        session.execute(update(Project).values(source_days=days))
    _, visitor = comes(client, None, AD)
    clock.shift(timedelta(days=pause))
    number, _ = comes(client, visitor)
    assert visit_of(shop.database, number).source == source


def test_r7_another_visitor_and_one_who_never_had_a_source_are_direct(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    comes(client, None, AD)
    number, visitor = comes(client, None)
    clock.shift(timedelta(hours=1))
    again, _ = comes(client, visitor)
    assert [visit_of(shop.database, one).source for one in (number, again)] == ["direct", "direct"]


def test_programs_set_the_days_and_see_when_there_was_evidence(
    server: Server, client: FlaskClient, cast: Cast, clock: time_machine.Traveller
) -> None:
    address, alice = f"/api/v1/projects/{cast.project.id}", bearer(cast.alice_token)
    for days, status in ((366, 422), (-1, 422), (1.5, 422), (7, 200)):
        answer = client.patch(address, json={"version": 1, "source_days": days}, headers=alice)
        assert (answer.status_code, answer.get_json().get("field")) == (
            status,
            "source_days" if status == 422 else None,
        )
    assert client.get(address, headers=alice).get_json()["source_days"] == 7
    page, site = "https://shop.example.com/", {"Origin": "https://shop.example.com"}
    tag = f"/tag/{cast.project.key}/visits"
    first = client.post(tag, json={"page": f"{page}?utm_source=mail"}, headers=site).get_json()
    clock.shift(timedelta(days=6))
    second = client.post(tag, json={"page": page, "visitor": first["visitor"]}, headers=site).get_json()
    seen = client.get(f"{address}/visits/{second['visit']}", headers=alice).get_json()
    assert seen["source"]["source"] == "mail"
    assert (seen["source_at"], seen["started_at"]) == ("2026-11-23T12:00:00.000Z", "2026-11-29T12:00:00.000Z")


def test_programs_see_network_and_click_id_of_whatever_is_told_in_query_or_fragment(
    server: Server, client: FlaskClient, cast: Cast
) -> None:
    page, site = "https://shop.example.com/", {"Origin": "https://shop.example.com"}
    for told, source, click_ids in (
        ({"page": f"{page}?ScCid=7B3a"}, "snapchat/paid_social", {"sccid": "7B3a"}),
        ({"page": f"{page}#/landing?gclid=Cj0"}, "google/cpc", {"gclid": "Cj0"}),
        ({"page": page, "click_ids": {"ScCid": "7B3a"}}, "snapchat/paid_social", {"sccid": "7B3a"}),
        ({"page": f"{page}?dclid=CJ", "consent": "limited"}, "google/cpm", {}),
        ({"page": f"{page}#/landing?li_fat_id=x", "consent": "limited"}, "linkedin/paid_social", {}),
    ):
        answer = client.post(f"/tag/{cast.project.key}/visits", json=told, headers=site).get_json()
        address = f"/api/v1/projects/{cast.project.id}/visits/{answer['visit']}"
        seen = client.get(address, headers=bearer(cast.alice_token)).get_json()
        assert (f"{seen['source']['source']}/{seen['source']['medium']}", seen["click_ids"]) == (source, click_ids)
        assert "consent" not in told or seen["landing_page"] == page, "nothing of it stays in an address"


def test_r6_page_views_take_as_few_statements_as_ever(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller, database_kind: str
) -> None:
    def statements(pause: timedelta, visitor: str | None, page: str) -> tuple[int, str]:
        clock.shift(pause)
        with count_statements(shop.database) as heard:
            _, who = comes(client, visitor, page)
        return len(heard), who

    comes(client, None, AD)
    of_new, visitor = statements(timedelta(0), None, AD)
    of_next, _ = statements(timedelta(seconds=10), visitor, HOME)
    of_return, _ = statements(timedelta(days=1), visitor, HOME)
    most = {"sqlite": (7, 6, 8), "postgresql": (5, 5, 6)}[database_kind]
    assert (of_new, of_next, of_return) == most
