"""R14: a limited visit names nobody; consent given later completes the same visit, and consent withdrawn erases what it should not keep."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from router.attribution.models import Visit
from router.attribution.tracking.parameters import IDENTIFIERS, without_identifiers
from router.attribution.tracking.sources import read_evidence
from router.attribution.tracking.visits import find_visit, follow_consent, record_presence
from router.db import Database
from router.server import Server
from tests.attribution.asking import sign, view
from tests.counting import count_statements
from tests.factories import NOON, make_project, make_scenario
from tests.properties import examples

SECRET = "Cj0KCQ"
AD = f"https://shop.example/a?gclid={SECRET}&size=7"
WITHHELD = "https://shop.example/a?gclid=-&size=7"
CAME = f"https://www.google.com/?_gl={SECRET}&q=x"
GA = {"client_id": "123.456", "session_id": "789"}
CLICKS = {"gclid": SECRET}


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), 3, terms={"only_sources": ["google/cpc"]})
    return server


def stored(database: Database, number: int) -> Visit:
    with database.reading() as session:
        return session.scalars(select(Visit).where(Visit.number == number)).one()


def names_nobody(visit: Visit) -> bool:
    kept = f"{visit.page} {visit.referrer} {visit.click_ids} {visit.ga}"
    return visit.limited and not visit.click_ids and not visit.ga and SECRET not in kept


@pytest.mark.parametrize(
    ("page", "more"),
    [
        (WITHHELD, {}),
        (AD, {"ga": GA}),
        (AD, {"click_ids": {"gclid": SECRET}}),
        ("https://shop.example/a?size=7", {"click_ids": {"gclid": "-"}}),
    ],
)
def test_r14_a_limited_visit_keeps_its_source_and_its_number_and_names_nobody(
    shop: Server, client: FlaskClient, page: str, more: dict[str, Any]
) -> None:
    given = view(client, page, consent="limited", referrer=CAME, **more).get_json()
    assert len(given["numbers"]) == 1
    visit = stored(shop.database, given["visit"])
    assert names_nobody(visit)
    assert (visit.channel, visit.source, visit.medium) == ("paid_search", "google", "cpc")
    assert (visit.page, visit.referrer) == ("https://shop.example/a?size=7", "https://www.google.com/?q=x")
    sign(client, given["token"], ga=GA)
    assert names_nobody(stored(shop.database, given["visit"])), (
        "a sign of life without consent tells nothing of analytics"
    )


def test_r14_a_withheld_click_id_is_no_click_id_even_with_consent(shop: Server, client: FlaskClient) -> None:
    visit = stored(shop.database, view(client, WITHHELD, click_ids={"fbclid": "-"}).get_json()["visit"])
    assert (visit.limited, visit.source, visit.click_ids) == (False, "google", {})


def test_r14_a_limited_visit_takes_over_a_source_without_its_click_ids(shop: Server, client: FlaskClient) -> None:
    first = view(client, AD).get_json()
    with shop.database.writing() as session:
        session.execute(Visit.__table__.update().values(last_sign_at=NOON, started_at=NOON, span_started_at=NOON))  # type: ignore[attr-defined]  # mypy sees a FromClause
    later = view(client, "https://shop.example/", visitor=first["visitor"], consent="limited").get_json()
    visit = stored(shop.database, later["visit"])
    assert later["visit"] != first["visit"]
    assert (visit.source, visit.medium) == ("google", "cpc")
    assert names_nobody(visit)
    sign(client, later["token"], consent="full", page=AD)
    assert stored(shop.database, later["visit"]).click_ids == {}, "a click of its own is another visit's"


@pytest.mark.parametrize("how", ["sign", "view"])
def test_r14_consent_given_later_completes_the_same_visit(shop: Server, client: FlaskClient, how: str) -> None:
    first = view(client, WITHHELD, consent="limited").get_json()
    if how == "sign":
        assert sign(client, first["token"], consent="full", page=AD, ga=GA).status_code == 204
    again = view(client, AD, visitor=first["visitor"], ga=GA).get_json()
    assert again == first, "its number, its token and its visit number stay"
    visit = stored(shop.database, first["visit"])
    assert (visit.limited, visit.click_ids, visit.ga) == (False, CLICKS, GA)
    assert (visit.source, visit.medium) == ("google", "cpc")


def test_r14_consent_never_takes_the_click_ids_of_another_source(shop: Server, client: FlaskClient) -> None:
    first = view(client, WITHHELD, consent="limited").get_json()
    sign(client, first["token"], consent="full", page="https://shop.example/?utm_source=mail&gclid=other")
    visit = stored(shop.database, first["visit"])
    assert (visit.limited, visit.click_ids, visit.source) == (False, {}, "google")


@pytest.mark.parametrize("how", ["sign", "view"])
def test_r14_consent_withdrawn_erases_what_named_the_visitor(shop: Server, client: FlaskClient, how: str) -> None:
    first = view(client, AD, referrer=CAME, ga=GA).get_json()
    assert stored(shop.database, first["visit"]).click_ids == CLICKS
    if how == "sign":
        assert sign(client, first["token"], consent="limited", ga=GA).status_code == 204
    else:
        assert view(client, WITHHELD, visitor=first["visitor"], consent="limited", ga=GA).get_json() == first
    visit = stored(shop.database, first["visit"])
    assert names_nobody(visit)
    assert (visit.page, visit.referrer) == ("https://shop.example/a?size=7", "https://www.google.com/?q=x")


Step = tuple[str, dict[str, Any]]
STEPS: list[Step] = [
    ("view", {"page": WITHHELD, "consent": "limited", "ga": GA}),
    ("view", {"page": AD, "consent": "limited", "referrer": CAME}),
    ("view", {"page": "https://shop.example/b", "consent": "limited"}),
    ("alive", {"consent": "limited", "page": AD, "ga": GA}),
    ("view", {"page": AD, "ga": GA}),
    ("alive", {"consent": "full", "page": AD, "referrer": CAME}),
    ("alive", {"consent": "full", "page": AD, "ga": GA}),
    ("alive", {"ga": GA}),
    ("left", {}),
]


@settings(max_examples=examples(25), derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begins=st.sampled_from(STEPS[:2] + STEPS[4:5]), steps=st.lists(st.sampled_from(STEPS), max_size=7))
def test_r14_whatever_comes_in_whatever_order_the_visit_stays_and_a_limited_one_names_nobody(
    shop: Server, client: FlaskClient, begins: Step, steps: list[Step]
) -> None:
    first = view(client, **begins[1]).get_json()
    limited = begins[1].get("consent") == "limited"
    for kind, body in steps:
        if kind == "view":
            assert view(client, visitor=first["visitor"], **body).get_json() == first
        else:
            assert sign(client, first["token"], kind, **body).status_code == 204
        limited = body.get("consent", "full" if kind == "view" else limited) in (True, "limited")
        visit = stored(shop.database, first["visit"])
        assert visit.limited is limited
        assert names_nobody(visit) or not limited
        assert visit.source_key == read_evidence(AD, "", {}, lambda host: False).source.key
        assert limited or not steps or visit.click_ids == CLICKS, "whose consent is known, with the page that it is for"


def test_r14_a_process_that_read_the_visit_before_consent_was_withdrawn_brings_nothing_back(
    shop: Server, client: FlaskClient
) -> None:
    first = view(client, AD).get_json()
    with shop.database.reading() as session:
        visit = stored(shop.database, first["visit"])
        stale = find_visit(session, visit.project_id, visit.id)
    assert stale
    sign(client, first["token"], consent="limited")
    evidence = read_evidence(AD, "", {}, lambda host: False)
    for seen in (stale, type(stale)(**{name: getattr(stale, name) for name in stale.__slots__} | {"click_ids": {}})):
        with shop.database.writing() as session:
            follow_consent(session, seen, False, evidence)
            record_presence(session, seen, seen.last_sign_at, GA)
    assert names_nobody(stored(shop.database, first["visit"]))


def test_r14_only_news_about_consent_is_written(shop: Server, client: FlaskClient) -> None:
    def statements(ask: Callable[[], Any]) -> int:
        with count_statements(shop.database) as heard:
            ask()
        return len(heard)

    first = view(client, AD).get_json()
    plain = statements(lambda: sign(client, first["token"]))
    assert statements(lambda: sign(client, first["token"], consent="full", page=AD)) == plain
    assert statements(lambda: sign(client, first["token"], consent="limited")) == plain + 1
    assert statements(lambda: sign(client, first["token"], consent="limited")) == plain


@pytest.mark.parametrize(
    ("body", "field"),
    [({"consent": "none"}, "consent"), ({"consent": True}, "consent"), ({"consent": "full", "page": "x"}, "page")],
)
def test_consent_is_full_or_limited_and_nothing_else(
    shop: Server, client: FlaskClient, body: dict[str, Any], field: str
) -> None:
    first = view(client, AD).get_json()
    for answer in (sign(client, first["token"], **body), view(client, **{"page": AD} | body)):
        assert (answer.status_code, answer.get_json()["field"]) == (422, field)
    assert stored(shop.database, first["visit"]).click_ids == CLICKS


NAMES = st.sampled_from(sorted(IDENTIFIERS))
OTHERS = st.sampled_from(["utm_source", "utm_term", "q", "page", "mc_cid", "gad_source", "not_gclid", "gclid_"])
PARTS = st.tuples(NAMES | OTHERS, st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(quote))


@settings(max_examples=examples(60))
@given(st.lists(PARTS, max_size=6), st.randoms(use_true_random=False))
def test_r14_no_identifier_is_left_in_an_address_and_nothing_else_is_taken(
    parts: list[tuple[str, str]], random: Any
) -> None:
    spelled = [(random.choice([name, name.upper(), f"%{ord(name[0]):02x}{name[1:]}"]), text) for name, text in parts]
    page = "https://shop.example/a" + ("?" if parts else "") + "&".join(f"{name}={text}" for name, text in spelled)
    wanted = [
        f"{name}={text}" for (name, text), (known, _) in zip(spelled, parts, strict=True) if known not in IDENTIFIERS
    ]
    assert without_identifiers(page + "#gclid=x") == "https://shop.example/a" + ("?" if wanted else "") + "&".join(
        wanted
    )
    nested = "https://shop.example/in?next=" + quote(quote(page, safe=""), safe="")
    expected = nested if len(wanted) == len(parts) else "https://shop.example/in"
    assert without_identifiers(nested) == expected, "an address within another one"


@settings(max_examples=examples(60))
@given(st.text())
def test_no_address_breaks_the_search_for_identifiers(address: str) -> None:
    for one in (address, f"https://shop.example/?{address}", f"https://shop.example/?gclid={address}"):
        left = without_identifiers(one)
        assert without_identifiers(left) == left
        assert len(left) <= len(one)
        assert "gclid" not in dict(parse_qsl(urlsplit(left).query if "[" not in left else ""))
