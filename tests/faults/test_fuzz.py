"""Bad input: every address of the product with everything that comes to mind. Never a 500, and a refused request leaves no row."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Executable, text
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from router.attribution.tracking.visitors import visit_token
from router.db import Base, Database
from router.server import Server
from tests.factories import make_project, make_scenario
from tests.people import Cast, sign_in
from tests.properties import examples
from tests.voice.carrier import BASE

NUMBER = "+12125551000"
LONG = "x" * 10_000
NASTY = (
    "", " ", "\0", "a\0b", "\ud83d", "\U0001f600", "\u202e", "null", "NaN", "-1", "0", "9" * 25, "1e400", "true", "[]", "{}",
    "'; DROP TABLE call; --", "<script>alert(1)</script>", "{{7*7}}", "%s%n", "../../etc/passwd", "javascript:alert(1)",
    "//evil.example", "https://[::1", "https://shop.example:99999/", "https://shop.example/?utm_source=%ED%A0%80%00%FF",
    "https://shop.example/?utm_source=" + LONG, "+12125551000", "+266696687", "anonymous", LONG, "\r\nSet-Cookie: a=b",
    "Fri, 31 Dec 9999 23:59:59 +0000", "١٢٣", "https://shop.example/",
)  # fmt: skip
WORDS = st.sampled_from(NASTY) | st.text(max_size=8)
NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, 1.5, -0.0, 1e308]) | st.integers()
LEAVES = WORDS | NUMBERS | st.none() | st.booleans()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
NAMES = """
    page referrer visitor scenarios shown ga click_ids name site country timezone currency email fallback_destination version title
    enabled numbers static flow tagging aim exhausted integrations e164 role password next state limit on to scenario status
    period q use number format from until channel rule caller call destinations selectors replace project origin debug since
    consent params test shown prefixes
"""
FIELDS = st.sampled_from(NAMES.split())
BODIES = st.dictionaries(FIELDS | WORDS, VALUES, max_size=6)
CARRIER_FIELDS = (
    *("CallSid", "ParentCallSid", "From", "To", "CallStatus", "DialCallStatus", "DialBridged", "DialCallSid"),
    *("DialCallDuration", "CallDuration", "Timestamp", "RecordingSid", "RecordingUrl", "RecordingStatus"),
    *("RecordingDuration", "SequenceNumber", "AccountSid", "ErrorCode"),
)
FORMS = st.dictionaries(
    FIELDS | st.sampled_from(CARRIER_FIELDS),
    WORDS | st.sampled_from(["CA1", "CL1", "ringing", "completed", "no-answer", "true", NUMBER]),
    max_size=8,
)
RAW = st.sampled_from(
    [b"", b"\xff\xfe", b"[", b"[1]", b"null", b'"x"', b"[" * 20_000, b'{"a":' * 5_000, b"\0", b"9" * 5_000, b'{"page": NaN}',
     b'{"page": "\\ud83d"}', b'{"page": 1e400}', b'{"\\u0000": 1}', b"x" * 70_000, b"a=" + b"%00" * 100, b"a=%ff%fe",
     b'{"page": "https://shop.example/\\u0000\\udfff"}']
)  # fmt: skip
TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "junk",
)
UNCOUNTED = {"refused_origin", "sign_in_attempt"}


@pytest.fixture
def world(server: Server, furnished_cast: Cast, database: Database) -> dict[str, Any]:
    """Ids that exist, in our project and in others'."""
    with database.writing() as session:
        scenario = make_scenario(session, make_project(session), [NUMBER])
    return furnished_cast.ids | {
        "key": "k-shop",
        "token": visit_token(server.keys, 1, 1),
        "call_sid": "CA1",
        "scenario_id": scenario.id,
        "token_text": furnished_cast.alice_token,
    }


@cache
def row_counts() -> Executable:
    """The name of each table with its number of rows, in one statement."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in UNCOUNTED]
    counts = (f"SELECT '{table.name}', COUNT(*) FROM \"{table.name}\"" for table in tables)
    return text(" UNION ALL ".join(counts))


def rows(database: Database) -> dict[str, int]:
    with database.reading() as session:
        return {row[0]: row[1] for row in session.execute(row_counts())}


@st.composite
def requests(draw: st.DrawFn, rules: list[Any], known: dict[str, Any]) -> dict[str, Any]:
    rule = draw(st.sampled_from(rules))
    path = ""
    for part in rule._trace:
        if not part[0]:
            path += part[1]
        elif draw(st.integers(0, 3)):
            path += str(known.get(part[1], 1))
        else:
            path += quote(draw(WORDS | NUMBERS.map(str)).encode("utf-8", "surrogatepass"), safe="")
    path = path.removeprefix("|").replace("|", "") or "/"
    asks = FORMS if rule.rule.startswith("/voice") else st.dictionaries(FIELDS, WORDS, max_size=2)
    query = urlencode(draw(asks), errors="surrogatepass")
    headers = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "Origin": st.sampled_from(["https://shop.example", "https://evil.example", "null", "https://[", LONG]),
                "User-Agent": st.sampled_from(["Mozilla/5.0", "Googlebot/2.1", LONG, ""]),
                "X-Forwarded-For": st.sampled_from(
                    ["203.0.113.9:80", '"[2001:db8::1]:443"', "junk", "1, 2, 3", "::1", "2001:db8::1%eth0", ",", LONG]
                ),
                "Authorization": st.sampled_from(
                    ["Bearer", f"Bearer {known['token_text']}", "Basic Zm9v", "Bearer \xff"]
                ),
                "Cookie": st.sampled_from(["router_session=junk", "router_session=.a.b", "router_known=zz"]),
            },
        )
    )
    kind = draw(st.sampled_from(["json", "form", "raw"]))
    if kind == "json":
        body = json.dumps(draw(BODIES)).encode()
    elif kind == "form":
        body = urlencode(draw(FORMS), errors="surrogatepass").encode()
    else:
        body = draw(RAW)
    content_type = "application/x-www-form-urlencoded" if kind == "form" else draw(st.sampled_from(TYPES))
    method = draw(st.sampled_from(sorted(rule.methods - {"HEAD"})))
    return {
        "path": path, "query_string": query, "method": method, "headers": headers, "content_type": content_type,
        "data": None if method == "GET" else body, "signed": draw(st.booleans()), "chunked": draw(st.integers(0, 9)) == 0,
    }  # fmt: skip


def ask(client: FlaskClient, server: Server, given: dict[str, Any]) -> TestResponse:
    given = dict(given)
    if given.pop("signed") and given["path"].startswith("/voice/"):
        given |= signed(server, given)
    if given.pop("chunked"):
        given["environ_overrides"] = {
            "CONTENT_LENGTH": "",
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
        }
    return client.open(given.pop("path"), **given)


def signed(server: Server, given: dict[str, Any]) -> dict[str, Any]:
    """The carrier's own request with the same body, if it is a form."""
    from werkzeug.test import EnvironBuilder
    from werkzeug.wrappers import Request

    kept = {name: given[name] for name in ("path", "query_string", "method", "content_type", "data")}
    builder = EnvironBuilder(**kept)
    environ = builder.get_environ()
    builder.close()
    target = environ["RAW_URI"] if "RAW_URI" in environ else environ["REQUEST_URI"]
    form = Request(environ).form
    signature = RequestValidator(server.settings.twilio_auth_token).compute_signature(BASE + target, form)
    return {"headers": given["headers"] | {"X-Twilio-Signature": signature}}


@pytest.fixture
def visitors(app: Flask, server: Server, cast: Cast) -> Iterator[list[FlaskClient]]:
    """Somebody unknown, and Alice, who signed in."""
    return [app.test_client(), sign_in(app.test_client(), cast.alice, cast.project)]


def test_no_request_brings_a_500_and_a_refused_one_leaves_no_row(
    app: Flask, server: Server, world: dict[str, Any], visitors: list[FlaskClient], database: Database
) -> None:
    rules = [
        rule for rule in app.url_map.iter_rules() if rule.endpoint != "static" and "bootstrap" not in rule.endpoint
    ]
    hot = [rule for rule in rules if rule.rule.startswith(("/tag", "/voice", "/api", "/sign-in", "/set-up"))]

    @settings(
        max_examples=examples(250 if database.is_sqlite else 100),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(requests(rules + hot * 3, world), st.sampled_from(visitors))
    def send(request: dict[str, Any], client: FlaskClient) -> None:
        before = rows(database)
        answer = ask(client, server, request)
        assert answer.status_code < 500 or request["path"] == "/readyz", answer.text
        if answer.mimetype == "text/xml":
            assert ElementTree.fromstring(answer.data).tag == "Response", (
                "callers hear nothing of an unreadable document"
            )
        if answer.status_code >= 400:
            assert rows(database) == before

    send()
