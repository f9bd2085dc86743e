"""Settings, Install: the line for the web master, two lights, and the sites that asked in vain."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import Project
from router.attribution.models import RefusedOrigin
from router.attribution.tracking.crawlers import STAFF
from router.db import Database
from router.server import Server
from tests.factories import make_call, make_visit
from tests.pages import words_of
from tests.people import NOW, Cast, sign_in

pytestmark = pytest.mark.one_database

NUMBER = "+12125550100"


def test_it_shows_the_line_and_the_two_sources_of_a_csp(client: FlaskClient, cast: Cast) -> None:
    page = sign_in(client, cast.alice).get("/settings/install").text
    line = f"&lt;script async src=&#34;https://calls.example.net/tag/{cast.project.key}.js&#34;&gt;&lt;/script&gt;"
    assert line in page
    assert "script-src https://calls.example.net;" in page
    assert "connect-src https://calls.example.net;" in page


def test_everything_to_copy_has_the_projects_own_address(client: FlaskClient, cast: Cast, database: Database) -> None:
    def addresses() -> tuple[int, int]:
        page = sign_in(client, cast.alice).get("/settings/install").text
        return tuple(page.count(f"{one}/tag/{cast.project.key}") for one in ("calls.example.net", "www.example.com/c"))

    assert addresses() == (6, 0)
    with database.writing() as session:
        session.get_one(Project, cast.project.id).tag_address = "https://www.example.com/c"
    assert addresses()[0] == 0
    page = sign_in(client, cast.alice).get("/settings/install").text
    assert "script-src https://www.example.com;" in page
    assert f"https://www.example.com/c/tag/{cast.project.key}/amp?page=SOURCE_URL&amp;amp;referrer=" in page
    assert "location /calls/tag/ {\n    proxy_pass https://calls.example.net/tag/;" in page
    assert "https://shop.example.com/?router_test=1" in page


def test_what_the_project_chose_about_consent_is_said(client: FlaskClient, cast: Cast, database: Database) -> None:
    with database.writing() as session:
        session.get_one(Project, cast.project.id).consent = "none"
    page = sign_in(client, cast.alice).get("/settings/install").text
    assert "Until a visitor has agreed, pages keep their own number." in page
    assert "typeof tag.consent === &#34;function&#34; ? tag.consent(level) : tag.consent = level;" in page


def test_views_of_staff_stand_apart_from_crawlers(server: Server, client: FlaskClient, cast: Cast) -> None:
    assert "of your own people" not in sign_in(client, cast.alice).get("/settings/install").text
    for _ in range(12):
        server.crawler_counts.count(cast.project.key, STAFF, server.now())
    page = words_of(sign_in(client, cast.alice).get("/settings/install"))
    assert "last 7 days: 0 page views got the page’s own number." in page
    assert "So did 12 page views of your own people." in page


def test_the_lights_turn_green_at_the_first_visit_and_the_first_call(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    alice = sign_in(client, cast.alice)
    assert alice.get("/settings/install").text.count("waiting") == 2
    with database.writing() as session:
        make_visit(session, cast.project, 10001, NOW)
    page = alice.get("/settings/install").text
    assert "first visit seen" in page
    assert "first call seen" not in page
    with database.writing() as session:
        make_call(session, cast.project, NUMBER, NOW, caller="+14155550123")
    assert "The tag works, and calls arrive." in alice.get("/settings/install").text


def test_a_site_that_asked_is_allowed_with_one_click(client: FlaskClient, cast: Cast, database: Database) -> None:
    with database.writing() as session:
        session.add(RefusedOrigin(project_id=cast.project.id, origin="https://staging.example:8443", last_at=NOW))
    with database.reading() as session:
        origin_id = session.scalars(
            select(RefusedOrigin.id).where(RefusedOrigin.origin == "https://staging.example:8443")
        ).one()
    assert sign_in(client, cast.bob).post(f"/settings/install/allow/{origin_id}").status_code in (302, 403)
    alice = sign_in(client, cast.alice)
    assert "Pages of 1 other site asked for tracking numbers and got none." in alice.get("/settings/install").text
    alice.post(f"/settings/install/allow/{origin_id}")
    with database.reading() as session:
        assert "staging.example:8443" in session.get_one(Project, cast.project.id).site
    assert alice.post(f"/settings/install/allow/{origin_id}").status_code == 404
