"""What web pages ask of the tag's endpoints, over the real application on both databases."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from router.attribution.models import Lease, RefusedOrigin, Visit
from router.db import Database
from router.server import Server
from tests.application import Applications
from tests.attribution.asking import SITE, sign, view
from tests.factories import make_project, make_scenario


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(
            session,
            make_project(session),
            3,
            tagging={"selectors": [".phone"], "replace": ["(415) 555-2671"], "format": "(XXX) XXX-XXXX"},
        )
    return server


def count(database: Database, model: Any) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_a_first_page_view_gets_a_visit_number_and_a_tracking_number(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    answer = view(client)
    assert answer.status_code == 201
    body = answer.get_json()
    assert body["visit"] == 10001
    assert body["alive_every"] == 45
    assert len(body["numbers"]) == 1
    number = body["numbers"][0]
    assert number["e164"].startswith("+1212555")
    assert number["display"] == f"(212) 555-{number['e164'][-4:]}"
    assert number["selectors"] == [".phone"]
    assert number["replace"] == ["(415) 555-2671"]
    assert {"+14155552671", "14155552671", "4155552671"} <= set(number["spellings"])
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    with shop.database.reading() as session:
        visit = session.scalars(select(Visit)).one()
        assert (visit.channel, visit.source, visit.medium, visit.campaign) == ("paid_search", "google", "cpc", "spring")


def test_an_answer_has_all_that_a_tag_has_to_know_of_numbers_also_an_older_one_that_is_cached(
    server: Server, client: FlaskClient, clock: Any
) -> None:
    """For five minutes an older tag may get it: without `forms` it writes `display` everywhere, which can be dialled."""
    with server.database.writing() as session:
        project = make_project(session, country="DE")
        tagging = {"selectors": [".phone"], "replace": ["0711 / 123456"]}
        make_scenario(session, project, ["+493090182011"], tagging=tagging)
        make_scenario(session, project, ["+4313456789"], tagging=tagging | {"format": "0X XX XX XXX"})
    body = view(client).get_json()
    assert set(body["rules"]) == {"number", "never", "before", "after", "inline", "other"}
    german, austrian = body["numbers"]
    assert german["display"] == "030 90182011"
    assert austrian["display"] == "+43 1 3456789", "a format for numbers of the country"
    assert {"0711123456", "+490711123456", "0049711123456"} <= set(german["spellings"])
    assert [
        next(shown for pattern, shown, *_ in german["written"] if re.fullmatch(pattern, f"{digits}\n{digits}"))
        for digits in ("0711123456", "0049711123456")
    ] == ["030 90182011", "0049 30 90182011"]
    assert {shown for _, shown, *_ in austrian["written"]} == {"+43 1 3456789"}
    assert not any("forms" in number for number in body["numbers"])


def test_a_visit_that_goes_on_answers_the_same_visit_token_and_numbers(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    clock.shift(timedelta(minutes=10))
    second = view(client, "https://shop.example/prices", visitor=first["visitor"]).get_json()
    assert second == first
    reload = view(client, visitor=first["visitor"]).get_json()
    assert reload == first
    assert count(shop.database, Visit) == 1
    assert count(shop.database, Lease) == 1


def test_new_evidence_begins_another_visit_that_keeps_the_visitors_number(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    clock.shift(timedelta(minutes=1))
    again = view(client, "https://shop.example/?utm_source=mail", visitor=first["visitor"]).get_json()
    assert again["visit"] == 10002
    assert again["numbers"] == first["numbers"]
    clicked = view(client, "https://shop.example/?utm_source=mail&gclid=abc", visitor=first["visitor"]).get_json()
    assert clicked["visit"] == 10003
    referred = view(
        client, "https://shop.example/", visitor=first["visitor"], referrer="https://news.example/a"
    ).get_json()
    assert referred["visit"] == 10004
    inside = view(
        client, "https://shop.example/b", visitor=first["visitor"], referrer="https://www.shop.example/"
    ).get_json()
    assert inside["visit"] == 10004


def test_a_pause_of_half_an_hour_begins_another_visit(shop: Server, client: FlaskClient, clock: Any) -> None:
    first = view(client).get_json()
    clock.shift(timedelta(minutes=29, seconds=59))
    assert view(client, "https://shop.example/b", visitor=first["visitor"]).get_json()["visit"] == 10001
    clock.shift(timedelta(minutes=30))
    assert view(client, "https://shop.example/b", visitor=first["visitor"]).get_json()["visit"] == 10002


def test_signs_of_life_keep_the_number_for_hours(shop: Server, client: FlaskClient, clock: Any) -> None:
    first = view(client).get_json()
    for minute in range(180):
        clock.shift(timedelta(minutes=1))
        assert sign(client, first["token"]).status_code == 204
        if minute % 10 == 0:
            view(client, "https://shop.example/?utm_source=other")
    assert view(client, "https://shop.example/c", visitor=first["visitor"]).get_json() == first


def test_a_page_that_wakes_after_its_number_was_given_away_gets_another(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    clock.shift(timedelta(minutes=20))
    others = [view(client, "https://shop.example/?utm_source=other").get_json() for _ in range(3)]
    assert first["numbers"][0]["e164"] in [other["numbers"][0]["e164"] for other in others]
    clock.shift(timedelta(minutes=5))
    answer = sign(client, first["token"])
    assert answer.status_code == 200
    assert len(answer.get_json()["numbers"]) == 1
    clock.shift(timedelta(seconds=45))
    assert sign(client, first["token"]).status_code == 204


def test_analytics_ids_that_appear_late_are_filled_in_and_renewed(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    sign(client, first["token"], ga={"client_id": "123.456"})
    sign(client, first["token"], ga={"session_id": "789", "G-ABC": "789"})
    clock.shift(timedelta(minutes=31))
    sign(client, first["token"], ga={"client_id": "GA1.1.999.999", "G-ABC": "GS2.1.s1700$o2", "G-": "1", "G-D": "x"})
    with shop.database.reading() as session:
        assert session.scalars(select(Visit.ga)).one() == {
            "client_id": "999.999",
            "session_id": "1700",
            "G-ABC": "1700",
        }


@pytest.mark.parametrize("client_id", ["ab.cd", "amp-", "GA1.1.", "\u0661.\u0662", "1.2.3", "1" * 21 + ".2", "12"])
def test_an_analytics_id_that_google_would_not_take_is_not_kept_and_leaves_room_for_one(
    shop: Server, client: FlaskClient, client_id: str
) -> None:
    first = view(client, ga={"client_id": client_id, "session_id": "0"}).get_json()
    with shop.database.reading() as session:
        assert session.scalars(select(Visit.ga)).one() == {}
    sign(client, first["token"], ga={"client_id": "123.456"})
    with shop.database.reading() as session:
        assert session.scalars(select(Visit.ga)).one() == {"client_id": "123.456"}


def test_an_unknown_token_is_404_and_a_foreign_visitor_id_is_replaced(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    assert sign(client, "nonsense").status_code == 404
    with shop.database.writing() as session:
        make_scenario(session, make_project(session, key="k-other", site=["other.example"]), ["+12125559999"])
    foreign = client.post(
        "/tag/k-other/visits", json={"page": "https://other.example/"}, headers={"Origin": "https://other.example"}
    ).get_json()
    assert sign(client, foreign["token"]).status_code == 404
    mine = view(client, visitor=foreign["visitor"]).get_json()
    assert mine["visitor"] != foreign["visitor"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://shop.example", 201),
        ("https://www.shop.example", 201),
        ("http://shop.example", 201),
        ("https://calls.example.net", 201),
        ("https://sub.shop.example", 403),
        ("https://shop.example.evil.net", 403),
        ("https://evilshop.example", 403),
        ("null", 403),
        ("nonsense", 403),
    ],
)
def test_only_the_sites_own_pages_get_numbers(
    shop: Server, client: FlaskClient, clock: Any, origin: str, status: int
) -> None:
    answer = view(client, headers={"Origin": origin})
    assert answer.status_code == status
    assert count(shop.database, Visit) == (status == 201)
    seen = status == 403 and origin.startswith("http")
    assert count(shop.database, RefusedOrigin) == seen


def test_crawlers_get_the_pages_own_number(shop: Server, client: FlaskClient, clock: Any) -> None:
    bot = SITE | {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
    assert view(client, headers=bot).status_code == 204
    assert count(shop.database, Visit) == 0


def test_an_exhausted_pool_shares_and_says_so(shop: Server, client: FlaskClient, clock: Any) -> None:
    given = [view(client).get_json()["numbers"][0]["e164"] for _ in range(4)]
    assert len(set(given)) == 3
    with shop.database.reading() as session:
        shared = session.execute(select(Lease.number_id, Lease.shared)).all()
    assert sum(flag for _, flag in shared) == 2
    assert len({number for number, flag in shared if flag}) == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"not json", 400, None),
        (b"[1]", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"page": 5}', 422, "page"),
        (b'{"page": "javascript:alert(1)"}', 422, "page"),
        (b'{"page": "https://shop.example/", "ga": 5}', 422, "ga"),
        (b'{"page": "https://shop.example/", "scenarios": ["x"]}', 422, "scenarios"),
        (b'{"page": "https://shop.example/", "visitor": {}}', 422, "visitor"),
        (b'{"page": "https://shop.example/' + b"a" * 70_000 + b'"}', 413, None),
    ],
)
def test_bad_bodies_get_a_clear_error_and_leave_nothing(
    shop: Server, client: FlaskClient, body: bytes, status: int, field: str | None
) -> None:
    answer = client.post("/tag/k-shop/visits", data=body, headers=SITE, content_type="text/plain")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.get_json().get("field") == field
    assert count(shop.database, Visit) == 0


def test_very_long_utm_values_are_cut_not_refused(shop: Server, client: FlaskClient) -> None:
    assert view(client, "https://shop.example/?utm_source=" + "x" * 10_000).status_code == 201


def test_more_visitors_behind_one_trusted_proxy_than_one_address_may_have_in_a_minute_are_all_served(
    shop: Server, applications: Applications, settings: Any
) -> None:
    with limited(applications, settings, "60/minute") as client:
        statuses = {
            view(client, headers=SITE | {"X-Forwarded-For": f"203.0.{i // 25}.{i % 25}"}).status_code for i in range(70)
        }
    assert statuses == {201}


def test_visitors_whom_a_proxy_hides_get_their_numbers_and_share_one_limit(
    shop: Server, applications: Applications, settings: Any, clock: Any
) -> None:
    """Which is nobody else's, not even the proxy's own."""
    with limited(applications, settings, "5/minute") as client:
        hidden = ["unknown", "_a", "_b:80", "", "unix:", "unknown"]
        statuses = [view(client, headers=SITE | {"X-Forwarded-For": one}).status_code for one in hidden]
        assert statuses == [201] * 5 + [429]
        assert view(client, headers=SITE | {"X-Forwarded-For": "198.51.100.8:80"}).status_code == 201
        assert view(client, headers=SITE).status_code == 201
    with shop.database.reading() as session:
        assert [visit.address for visit in session.scalars(select(Visit).order_by(Visit.id))][:6] == [""] * 5 + [
            "198.51.100.0"
        ]


def test_one_address_may_view_only_so_many_pages_in_a_minute(
    shop: Server, applications: Applications, settings: Any, clock: Any
) -> None:
    with limited(applications, settings, "5/minute") as client:
        statuses = [view(client, headers=SITE | {"X-Forwarded-For": "198.51.100.7"}).status_code for _ in range(6)]
        assert statuses == [201] * 5 + [429]
        assert view(client, headers=SITE | {"X-Forwarded-For": "198.51.100.8"}).status_code == 201


def test_one_visit_may_give_only_so_many_signs_in_a_minute(shop: Server, client: FlaskClient, clock: Any) -> None:
    """Who has its token could fill the tables with taps and spans."""
    token = view(client).get_json()["token"]
    other = view(client).get_json()["token"]
    statuses = [sign(client, token, "left").status_code for _ in range(121)]
    assert statuses == [204] * 120 + [429]
    assert sign(client, token, "tap", e164="+12125550000").status_code == 429
    assert sign(client, token).status_code == 429
    assert sign(client, other).status_code == 204
    clock.shift(timedelta(minutes=1))
    assert sign(client, token).status_code in (200, 204)


@contextmanager
def limited(applications: Applications, settings: Any, rate: str) -> Iterator[FlaskClient]:
    with applications.with_settings(settings.model_copy(update={"visit_rate": rate})) as app:
        yield app.test_client()
