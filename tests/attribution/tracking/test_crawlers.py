"""Crawlers, by what they say and by what they do, get the page's own number, no visit and no lease, and are counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from router import gunicorn_config
from router.accounts.models import Project
from router.attribution.models import CrawlerDay, Lease, Visit
from router.attribution.tracking.crawlers import crawler_views, is_automated, is_crawler, write_counts
from router.db import Database
from router.server import Server
from tests.application import Applications
from tests.attribution.asking import SITE, view
from tests.counting import count_statements
from tests.factories import NOON, make_project, make_scenario
from tests.people import Cast, bearer, sign_in

BOT = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
FROM = {"X-Forwarded-For": "203.0.113.9", "Accept-Language": "en"}


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
HEADLESS = CHROME.replace("Chrome/", "HeadlessChrome/")
MOBILE = "Mozilla/5.0 (Linux; Android 11; Pixel 5) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
HINT = '"Chromium";v="142", "{}";v="142", "Not_A Brand";v="99"'

RENDERED = [
    f"{HEADLESS} Prerender (+https://github.com/prerender/prerender)",
    f"{MOBILE} Prerender (+https://github.com/prerender/prerender)",
    "Prerender (+https://github.com/prerender/prerender)",
    "Mozilla/5.0 (Macintosh) AppleWebKit/534.34 (KHTML, like Gecko) PhantomJS/1.9.8 Safari/534.34 Prerender (+https://github.com/prerender/prerender)",
    f"{CHROME} prerendercloud r",
    f"{CHROME} headless-render-api",
    f"{HEADLESS} Rendertron",
    f"{CHROME} rendertron/3.1.0",
    "ReactSnap",
    f"{CHROME} SEO4Ajax",
    f"{CHROME} BromBone",
    f"{CHROME} SnapSearch",
    f"{CHROME} Puppeteer-Renderer",
    f"{CHROME} Google-PageRenderer Google (+https://developers.google.com/+/web/snippet/)",
    f"{CHROME} Chrome-Lighthouse",
    f"{HEADLESS} (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
]
DRIVEN = [
    (HEADLESS, ""),
    (CHROME, HINT.format("HeadlessChrome")),
    (MOBILE, HINT.format("HeadlessChrome")),
    (CHROME.replace("Chrome/", "HeadlessEdg/"), ""),
    ("Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1", ""),
    (f"{CHROME} Playwright/1.55", ""),
    (f"{CHROME} Puppeteer/24", ""),
    (f"{CHROME} Cypress/15", ""),
    ("Mozilla/5.0 (linux) AppleWebKit/537.36 (KHTML, like Gecko) jsdom/26.1.0", ""),
]
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
PEOPLE = [
    (CHROME, HINT.format("Google Chrome")),
    (MOBILE, HINT.format("Google Chrome")),
    (f"{CHROME} Edg/142.0.0.0", HINT.format("Microsoft Edge")),
    (f"{IPHONE} Version/19.0 Mobile/15E148 Safari/604.1", ""),
    (f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/500.0]", ""),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", ""),
    ("", ""),
]


@pytest.mark.parametrize("user_agent", RENDERED)
def test_r6_what_renders_pages_for_crawlers_is_one(shop: Server, client: FlaskClient, user_agent: str) -> None:
    assert is_crawler(user_agent)
    assert view(client, headers=SITE | {"User-Agent": user_agent}).status_code == 204
    assert (rows(shop.database, Visit), rows(shop.database, Lease)) == (0, 0)


def test_r6_prerender_is_known_by_its_header_too(shop: Server, client: FlaskClient) -> None:
    assert view(client, headers=SITE | {"User-Agent": MOBILE, "X-Prerender": "1"}).status_code == 204
    assert rows(shop.database, Lease) == 0


@pytest.mark.parametrize(("user_agent", "hint"), DRIVEN)
def test_r6_a_browser_that_a_program_drives_is_a_visitor_until_the_project_says_otherwise(
    shop: Server, client: FlaskClient, clock: Any, user_agent: str, hint: str
) -> None:
    assert (is_automated(user_agent, hint), is_crawler(user_agent)) == (True, False)
    headers = SITE | {"User-Agent": user_agent, "Sec-CH-UA": hint}
    assert view(client, headers=headers).status_code == 201
    with shop.database.writing() as session:
        session.execute(update(Project).values(ignore_automation=True))
    assert view(client, headers=headers).status_code == 204
    assert view(client, headers=headers, test=True).status_code == 201, "whoever tries the tag sees where numbers stand"
    assert (rows(shop.database, Visit), rows(shop.database, Lease)) == (1, 1)
    write_counts(shop)
    assert counted(shop.database) == {("2026-11-23", "user_agent"): 1}


@pytest.mark.parametrize(("user_agent", "hint"), PEOPLE)
def test_r6_people_get_a_number_whatever_the_project_says_of_automation(
    shop: Server, client: FlaskClient, user_agent: str, hint: str
) -> None:
    assert (is_automated(user_agent, hint), is_crawler(user_agent)) == (False, False)
    with shop.database.writing() as session:
        session.execute(update(Project).values(ignore_automation=True))
    assert view(client, headers=SITE | {"User-Agent": user_agent, "Sec-CH-UA": hint}).status_code == 201


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_no_user_agent_breaks_the_lists(user_agent: str, hint: str) -> None:
    assert is_crawler(user_agent) in (True, False)
    assert is_automated(user_agent, hint) in (True, False)


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), 3)
    return server


@contextmanager
def judging(applications: Applications, settings: Any, rate: str) -> Iterator[tuple[FlaskClient, Server]]:
    with applications.with_settings(settings.model_copy(update={"crawl_rate": rate})) as app:
        yield app.test_client(), app.extensions["router"]


def counted(database: Database) -> dict[tuple[str, str], int]:
    with database.reading() as session:
        return {(one.day, one.kind): one.views for one in session.scalars(select(CrawlerDay))}


def rows(database: Database, model: Any) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_r6_a_crawler_by_its_name_takes_no_statement_and_is_counted_later(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    assert view(client, headers=SITE | BOT).status_code == 204  # the first one is written at once
    with count_statements(shop.database) as heard:
        for _ in range(5):
            assert view(client, headers=SITE | BOT).status_code == 204
    assert heard == []
    write_counts(shop)
    assert counted(shop.database) == {("2026-11-23", "user_agent"): 6}
    assert (rows(shop.database, Visit), rows(shop.database, Lease)) == (0, 0)


def test_r6_who_only_begins_visits_gets_the_pages_own_number_and_known_visitors_keep_theirs(
    shop: Server, applications: Applications, settings: Any, clock: time_machine.Traveller
) -> None:
    with judging(applications, settings, "5/minute") as (client, server):
        first = view(client, headers=SITE | FROM).get_json()
        statuses = [view(client, headers=SITE | FROM).status_code for _ in range(8)]
        assert statuses == [201] * 4 + [204] * 4
        assert view(client, headers=SITE | FROM | {"X-Forwarded-For": "203.0.113.10"}).status_code == 201
        assert rows(shop.database, Visit) == 6
        write_counts(server)
        assert counted(shop.database) == {("2026-11-23", "behaviour"): 4}
        again = view(client, headers=SITE | FROM, visitor=first["visitor"])
        assert (again.status_code, again.get_json()["visit"]) == (201, first["visit"])
        assert view(client, headers=SITE | FROM).status_code == 201, "somebody there looked at a second page"


def test_r6_an_office_whose_pages_stay_open_is_no_crawler(
    shop: Server, applications: Applications, settings: Any, clock: time_machine.Traveller
) -> None:
    with judging(applications, settings, "5/minute") as (client, _):
        for _ in range(5):
            seen = view(client, headers=SITE | FROM).get_json()
        address = f"/tag/k-shop/visits/{seen['token']}"
        assert client.post(f"{address}x/alive", headers=SITE | FROM).status_code == 404
        assert view(client, headers=SITE | FROM).status_code == 204, "an invented visit is no sign of life"
        clock.shift(timedelta(seconds=45))
        client.post(f"{address}/alive", headers=SITE | FROM)
        assert [view(client, headers=SITE | FROM).status_code for _ in range(20)] == [201] * 20


def test_days_are_the_projects_and_unknown_keys_leave_nothing(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    clock.move_to(NOON.replace(hour=4, minute=58))  # New York: the evening before
    for minutes in (0, 1, 1, 1):
        clock.shift(timedelta(minutes=minutes))
        view(client, headers=SITE | BOT)
    client.post("/tag/nobody/visits", json={"page": "https://shop.example/"}, headers=BOT)
    write_counts(shop)
    assert counted(shop.database) == {("2026-11-22", "user_agent"): 2, ("2026-11-23", "user_agent"): 2}


def test_counts_are_written_after_an_answer_but_not_more_often_than_every_ten_seconds(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    def seen_after(seconds: float) -> int:
        clock.shift(timedelta(seconds=seconds))
        view(client, headers=SITE | BOT).close()
        return sum(counted(shop.database).values())

    assert [seen_after(seconds) for seconds in (0, 1, 8, 1, 5, 5)] == [1, 1, 1, 4, 4, 6]
    clock.shift(timedelta(seconds=1))
    view(client, headers=SITE | BOT).close()
    clock.shift(timedelta(seconds=10))
    view(client).close()  # a person's page view takes the rest along
    assert sum(counted(shop.database).values()) == 7


def test_what_the_database_cannot_take_waits_and_a_worker_that_ends_writes_it(
    shop: Server, app: Any, client: FlaskClient, clock: Any
) -> None:
    shop.crawler_counts.count("k-shop", "behaviour", NOON)
    with shop.database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE crawler_day RENAME TO gone")
    write_counts(shop)
    with shop.database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE gone RENAME TO crawler_day")
    assert counted(shop.database) == {}
    gunicorn_config.worker_exit(None, SimpleNamespace(wsgi=app))
    assert counted(shop.database) == {("2026-11-23", "behaviour"): 1}


def test_admins_and_programs_see_how_many(server: Server, client: FlaskClient, cast: Cast, clock: Any) -> None:
    with server.database.writing() as session:
        for day, kind, views in (
            ("2026-11-16", "user_agent", 1000),
            ("2026-11-17", "user_agent", 300),
            ("2026-11-20", "behaviour", 11),
            ("2026-11-20", "user_agent", 5),
            ("2026-11-20", "staff", 2),
        ):
            session.add(CrawlerDay(project_id=cast.project.id, day=day, kind=kind, views=views))
        session.add(CrawlerDay(project_id=cast.other_project.id, day="2026-11-20", kind="user_agent", views=9))
    server.crawler_counts.count(cast.project.key, "user_agent", NOON)
    page = sign_in(client, cast.alice).get("/settings/install").text
    assert "Crawlers, last 7 days: 317 page views got" in page
    address, alice = f"/api/v1/projects/{cast.project.id}/crawlers", bearer(cast.alice_token)
    first = client.get(f"{address}?limit=2", headers=alice).get_json()
    assert first["items"] == [
        {"day": "2026-11-23", "user_agent": 1, "behaviour": 0, "staff": 0},
        {"day": "2026-11-20", "user_agent": 5, "behaviour": 11, "staff": 2},
    ]
    rest = client.get(f"{address}?next={first['next']}", headers=alice).get_json()
    assert ([one["day"] for one in rest["items"]], rest["next"]) == (["2026-11-17", "2026-11-16"], None)
    for junk in ("limit=0", "next=!", "next=OTk5OTk5OTk5OTk5"):
        assert client.get(f"{address}?{junk}", headers=alice).status_code == 422
    assert client.get(address, headers=bearer(cast.charlie_token)).status_code == 404
    with server.database.reading() as session:
        assert crawler_views(session, cast.project, NOON) == {"user_agent": 306, "behaviour": 11, "staff": 2}
