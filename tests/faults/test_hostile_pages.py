"""What a hostile page could send to the tag's addresses: never a 500, a refusal is a sentence and writes nothing, and nothing is stored as
it should not be."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import String, func, select
from werkzeug.test import TestResponse

from router.attribution.models import Lease, PoolNumber, RefusedOrigin, Tap, Unserved, Visit, VisitSpan
from router.attribution.tracking.schema import LONGEST_ADDRESS, MOST_FIELDS
from router.db import Base, Database
from tests.factories import lease_decision, make_call, make_scenario
from tests.people import NOW, Cast, bearer, sign_in

HOME = "https://shop.example.com/"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'
LONG = "x" * 9_000
TEXTS = st.sampled_from([
    "", " ", "-", "null", "true", "0", "\0", "a\0b", "\ud83d", "x\udfff", "\U0001f600", "\u202egnp.exe", "\u0661\u0662",
    "\r\nSet-Cookie: a=b",
    "'; DROP TABLE visit; --", EVIL, "{{7*7}}", "{phone}", "%s%n", LONG, "9" * 300, "full", "limited", "none", "LIMITED", "test",
    "__proto__",
    "constructor", "toString", "+12125551000", "+12125559000", "+1", "7495", "spb", "a.b", "roistat_param1", "123.456", "GS1.1",
])  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 2, 2**31, 2**63 - 1, 2**63, -(2**70), 10**300, 1.5, -0.0, 1e308])
DEEP: Any = "x"
for _ in range(60):
    DEEP = [DEEP] if len(str(DEEP)) % 2 else {"a": DEEP}
LEAVES = TEXTS | NUMBERS | st.none() | st.booleans() | st.sampled_from([DEEP, [], {}, [{}], [None] * 3_000])
QUERIES = st.dictionaries(
    st.sampled_from(["utm_source", "utm_medium", "utm_campaign", "utm_term", "gclid", "FBCLID", "_gl", "x"]), TEXTS, max_size=4
)  # fmt: skip
PAGES = QUERIES.map(lambda query: HOME + "?" + urlencode(query, errors="surrogatepass")) | st.sampled_from([
    HOME, HOME + "?" + "&".join(f"p{index}=" for index in range(3_000)), HOME + "#" + EVIL, HOME + EVIL, f"{HOME}?utm_source={EVIL}",
    "https://[::1", "https://shop.example.com:99999/", "https://evil.example/", "javascript:alert(1)", "//shop.example.com",
    HOME + quote(EVIL) * 30, HOME + "?gclid=%",
])  # fmt: skip
MEMBERS = st.dictionaries(TEXTS, LEAVES, max_size=5)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "page": PAGES | QUERIES.map(lambda query: HOME + "?" + urlencode(query, errors="surrogatepass")),
    "referrer": PAGES,
    "visitor": TEXTS,
    "scenarios": st.lists(NUMBERS | TEXTS, max_size=4),
    "ga": st.fixed_dictionaries({}, optional={"client_id": LEAVES, "session_id": LEAVES}),
    "click_ids": st.dictionaries(st.sampled_from(["gclid", "fbclid", "__proto__"]), LEAVES, max_size=3),
    "prefixes": st.lists(st.dictionaries(st.sampled_from(["prefix", "suffix"]), LEAVES), max_size=3),
    "consent": st.sampled_from(["full", "limited", None]),
    "params": MEMBERS | st.just({f"n{index}": LONG[:500] for index in range(100)}),
    "test": st.booleans(),
    "shown": st.lists(NUMBERS | TEXTS, max_size=4),
    "e164": st.sampled_from(["+12125551000", "+12125559000"]),
}
GOOD = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), FIELDS[name]))
BAD = st.tuples(st.sampled_from(sorted(FIELDS)) | TEXTS, LEAVES)
PAIRS = st.lists(st.integers(0, 7).flatmap(lambda kind: GOOD if kind else BAD), max_size=6)
SIGNS = st.sampled_from(["", "", "/alive", "/alive", "/left", "/tap"])
NOT_JSON = st.sampled_from(
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b"[" * 20_000,
        b'{"page": NaN}',
        b'{"params": 1e999}',
        b"x" * 70_000,
        b"9" * 5_000,
    ]
)
NOT_A_TOKEN = ["test", "", "x", "A" * 20, "\u202e", "..", "%00", "a" * 500]


def body_of(pairs: list[tuple[str, Any]]) -> bytes:
    """JSON in which a name may come twice, as no honest page writes it."""
    return ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs) + "}").encode()


USUAL: list[tuple[str, Any]] = [("page", HOME), ("e164", "+12125551000")]
WITH_FIELDS = [*USUAL, ("consent", "limited"), ("params", {"note": EVIL})]
BEGINNINGS = st.sampled_from([USUAL, USUAL, WITH_FIELDS, WITH_FIELDS, []])
WRITTEN = st.tuples(BEGINNINGS, PAIRS).map(lambda parts: body_of(parts[0] + parts[1]))
BODIES = st.integers(0, 9).flatmap(lambda kind: WRITTEN if kind else NOT_JSON)


class Shop:
    """Alice's site, a visit of it, and one of Charlie's."""

    def __init__(self, app: Flask, cast: Cast, database: Database) -> None:
        self.client, self.cast, self.database = app.test_client(), cast, database
        self.address = f"/tag/{cast.project.key}/visits"
        self.asked = 0
        with database.writing() as session:
            made = make_scenario(session, cast.project, ["+12125551000", "+12125551001"])
            make_scenario(session, cast.other_project, ["+12125559000"])
            self.scenario = made.id
        self.mine = [self.first_visit(cast.project.key, "shop.example.com")]
        self.foreign = self.first_visit(cast.other_project.key, "garage.example.org")

    def first_visit(self, key: str, host: str) -> str:
        page = {"page": f"https://{host}/", "visitor": None}
        told: dict[str, Any] = self.client.post(
            f"/tag/{key}/visits", json=page, headers={"Origin": f"https://{host}"}
        ).get_json()
        return str(told["token"])

    def send(self, sign: str, token: int | str, body: bytes, query: str, origin: str | None) -> TestResponse:
        """From an address of its own each time: somebody else's flood is not what is asked here."""
        self.asked += 1
        token = (
            self.foreign
            if token == "foreign"
            else self.mine[token % len(self.mine)]
            if isinstance(token, int)
            else token
        )
        headers = {"X-Forwarded-For": f"203.0.{self.asked // 250}.{self.asked % 250 + 1}", "Accept-Language": "en"}
        if origin is not None:
            headers["Origin"] = origin
        path = self.address + (f"/{quote(token, safe='')}{sign}" if sign else "") + query
        answer = self.client.post(path, data=body, headers=headers, content_type="text/plain")
        if answer.status_code == 201 and (told := answer.get_json())["visit"]:
            self.mine.append(told["token"])
        return answer

    def state(self) -> list[Any]:
        """Everything that page views and signs of life write; refused origins are counted for the admin."""
        with self.database.reading() as session:
            tables = [one.__table__ for one in (Visit, VisitSpan, Lease, PoolNumber, Tap, Unserved)]
            return [sorted(map(repr, session.execute(select(table)))) for table in tables]

    def longest(self) -> Iterator[tuple[str, int, int]]:
        with self.database.reading() as session:
            for table in Base.metadata.sorted_tables:
                for column in table.columns:
                    if isinstance(column.type, String) and column.type.length:
                        yield (
                            f"{table}.{column.name}",
                            session.scalar(select(func.max(func.length(column)))) or 0,
                            column.type.length,
                        )


@pytest.fixture
def shop(app: Flask, cast: Cast, database: Database) -> Shop:
    return Shop(app, cast, database)


ASKED = st.sampled_from([*[""] * 8, "?", "?debug=1", "?x=%00", "?%ff=%ed%a0%80", "?" + LONG, "?test=1&consent=limited"])
TOKENS = st.sampled_from([*range(20), "foreign", "foreign", *NOT_A_TOKEN])
ORIGINS = st.sampled_from(
    ["https://shop.example.com"] * 9
    + ["https://evil.example", "null", LONG, EVIL, "https://[", "\u202e".encode().decode("latin-1")]
)


def test_nothing_that_a_page_sends_brings_a_500_or_writes_what_was_refused(shop: Shop, database: Database) -> None:
    answered: set[tuple[str, int]] = set()

    @settings(
        max_examples=180 if database.is_sqlite else 90, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(SIGNS, TOKENS, BODIES, ASKED, ORIGINS)
    def send(sign: str, token: int | str, body: bytes, query: str, origin: str) -> None:
        before = shop.state()
        answer = shop.send(sign, token, body, query, origin)
        answered.add((sign, answer.status_code))
        assert answer.status_code in (200, 201, 204) or 400 <= answer.status_code < 500, (body, answer.text)
        if answer.status_code >= 400:
            assert answer.mimetype == "application/problem+json"
            assert answer.get_json()["detail"].endswith(".")
            assert shop.state() == before, (sign, body, answer.text)
        if token == "foreign" and sign:
            assert answer.status_code >= 400

    send()
    refused = {("", 422), ("", 403), ("/alive", 404)}
    assert {("", 201), ("/alive", 204), ("/left", 204), ("/tap", 204)} | refused <= answered
    check_what_is_stored(shop)
    check_pages(shop)


def check_what_is_stored(shop: Shop) -> None:
    assert not [one for one in shop.longest() if one[1] > one[2]]
    with shop.database.reading() as session:
        visits = session.scalars(select(Visit)).all()
        assert session.scalar(select(func.count()).select_from(RefusedOrigin)) <= 20
    assert len(visits) > 10
    assert any(visit.params for visit in visits)
    assert any(visit.limited for visit in visits)
    for visit in visits:
        assert max(len(visit.page), len(visit.referrer)) <= LONGEST_ADDRESS
        assert len(visit.params) <= MOST_FIELDS
        assert all(
            isinstance(text, str) and len(text) <= 200 and len(name) <= 40 for name, text in visit.params.items()
        )
        assert all(len(text) <= 500 and text != "-" for text in visit.click_ids.values())
        assert not visit.limited or not (visit.click_ids or visit.ga or "gclid=" in visit.page.lower())
        assert "\0" not in f"{visit.page}{visit.referrer}{visit.source}{visit.params}"


def check_pages(shop: Shop) -> None:
    """The worst of the visits call, and people and programs look at them."""
    project = shop.cast.project
    with shop.database.writing() as session:
        mine = session.scalars(select(Visit).where(Visit.project_id == project.id))
        worst = [one for one in mine if "alert(1)" in f"{one.page}{one.referrer}{one.params}{one.source}"][:12]
        calls = [
            make_call(session, project, "+12125551000", NOW, sid=f"CA{one.id}", **lease_decision(one)).id
            for one in worst
        ]
        numbers = [visit.number for visit in worst]
    assert any("alert(1)" in str(visit.params) for visit in worst)
    alice = sign_in(shop.client, shop.cast.alice, project)
    for path in ["/calls", "/overview", "/reports", "/settings/install", *(f"/calls/{one}" for one in calls)]:
        page = alice.get(path)
        assert page.status_code == 200, path
        for harm in ("<script>alert", "<img src=x", "&gt;49", ">49<"):
            assert harm not in page.text, path
    for number in numbers:
        address = f"/api/v1/projects/{project.id}/visits/{number}"
        assert shop.client.get(address, headers=bearer(shop.cast.alice_token)).mimetype == "application/json"
