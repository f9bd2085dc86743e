"""Only the carrier itself is believed, behind every kind of proxy (https://www.twilio.com/docs/usage/webhooks/webhooks-security)."""

import base64
import hashlib
import hmac
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, Request, request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from router.carriers import carrier_of, carrier_tokens
from router.carriers.twilio.webhooks import Twilio, signed_url
from router.config import Settings, SettingsError
from router.db import Database
from router.lib.crypto import load_keys
from router.server import Server

TOKEN = "12345"
VECTOR = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675310",
    "Digits": "1234",
    "From": "+14158675310",
    "To": "+18005551212",
}
VECTOR_SIGNATURE = "L/OH5YylLD5NRKLltdqwSvS0BnU="


def sign(url: str, values: Any, token: str = TOKEN) -> str:
    """Twilio's algorithm, written down from its documentation."""
    pairs = sorted(set(MultiDict(values).items(multi=True)))
    text = url + "".join(name + value for name, value in pairs)
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("carrier-test")
    with app.app_context():
        yield app


def asked(app: Flask, carrier: Twilio, path: str, signature: str | None, **options: Any) -> bool:
    """What the carrier says about a request that arrives at `path`."""
    headers = {"X-Twilio-Signature": signature} if signature is not None else {}
    headers |= options.pop("headers", {})
    options.setdefault("method", "POST")
    with app.test_request_context(path, headers=headers, **options):
        current: Request = request
        return carrier.verify(current)


def test_the_published_vector_verifies(app: Flask) -> None:
    carrier = Twilio("https://example.com", [TOKEN])
    assert asked(app, carrier, "/myapp.php?foo=1&bar=2", VECTOR_SIGNATURE, data=VECTOR)


@pytest.mark.parametrize(
    ("path", "changes", "token"),
    [
        ("/myapp.php?foo=1&bar=3", {}, TOKEN),
        ("/myapp.php", {}, TOKEN),
        ("/myapp.php?foo=1&bar=2", {"Digits": "1235"}, TOKEN),
        ("/myapp.php?foo=1&bar=2", {"Extra": "1"}, TOKEN),
        ("/myapp.php?foo=1&bar=2", {}, "54321"),
    ],
)
def test_anything_changed_is_refused(app: Flask, path: str, changes: dict[str, str], token: str) -> None:
    carrier = Twilio("https://example.com", [token])
    assert not asked(app, carrier, path, VECTOR_SIGNATURE, data=VECTOR | changes)


@pytest.mark.parametrize("signature", [None, "", "x", "ü", VECTOR_SIGNATURE[:-1], VECTOR_SIGNATURE + "=", "\t"])
def test_a_missing_or_junk_signature_is_refused_without_an_error(app: Flask, signature: str | None) -> None:
    carrier = Twilio("https://example.com", [TOKEN])
    assert not asked(app, carrier, "/myapp.php?foo=1&bar=2", signature, data=VECTOR)


def test_an_empty_token_verifies_nothing(app: Flask) -> None:
    """Whoever signs with the empty key knows no secret."""
    signature = sign("https://example.com/voice/inbound", VECTOR, token="")
    assert not asked(app, Twilio("https://example.com", [""]), "/voice/inbound", signature, data=VECTOR)
    assert not asked(app, Twilio("https://example.com", []), "/voice/inbound", signature, data=VECTOR)


def test_the_old_and_the_new_token_count_while_it_is_rotated(app: Flask) -> None:
    carrier = Twilio("https://example.com", ["new", "old"])
    for token in ("new", "old"):
        signature = sign("https://example.com/voice/inbound", VECTOR, token)
        assert asked(app, carrier, "/voice/inbound", signature, data=VECTOR)
    assert not asked(app, carrier, "/voice/inbound", sign("https://example.com/voice/inbound", VECTOR, "older"))


def test_behind_a_tls_proxy_the_public_address_counts_and_not_the_host_header(app: Flask) -> None:
    carrier = Twilio("https://calls.example.com", [TOKEN])
    signature = sign("https://calls.example.com/voice/inbound", VECTOR)
    inside = {"Host": "10.0.0.7:8000", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    assert asked(app, carrier, "/voice/inbound", signature, data=VECTOR, headers=inside)
    other = sign("https://evil.example/voice/inbound", VECTOR)
    assert not asked(app, carrier, "/voice/inbound", other, data=VECTOR, headers={"Host": "evil.example"})


@pytest.mark.parametrize("signed_port", ["", ":443"])
def test_twilio_may_sign_with_or_without_the_usual_port(app: Flask, signed_port: str) -> None:
    signature = sign(f"https://calls.example.com{signed_port}/voice/inbound", VECTOR)
    assert asked(app, Twilio("https://calls.example.com", [TOKEN]), "/voice/inbound", signature, data=VECTOR)


@pytest.mark.parametrize("signed_port", ["", ":8443"])
def test_twilio_may_drop_an_odd_port_of_our_address(app: Flask, signed_port: str) -> None:
    signature = sign(f"https://calls.example.com{signed_port}/voice/inbound", VECTOR)
    assert asked(app, Twilio("https://calls.example.com:8443", [TOKEN]), "/voice/inbound", signature, data=VECTOR)


def test_an_impossible_port_in_our_address_refuses_instead_of_failing(app: Flask) -> None:
    carrier = Twilio("https://calls.example.com:99999", [TOKEN])
    assert not asked(app, carrier, "/voice/inbound", sign("https://calls.example.com/voice/inbound", VECTOR))


def test_repeated_names_and_untrimmed_values_are_signed_as_they_are(app: Flask) -> None:
    values = MultiDict([("CallSid", "CA1"), ("Digits", "2"), ("Digits", "1"), ("Digits", "2"), ("Name", " a  ")])
    signature = sign("https://example.com/voice/inbound", values)
    assert asked(app, Twilio("https://example.com", [TOKEN]), "/voice/inbound", signature, data=values)


def test_the_path_is_taken_byte_for_byte_and_not_as_decoded(app: Flask) -> None:
    path = "/v/%2B1510?z=a%2Fb&y=%C3%A9"
    signature = sign(f"https://example.com{path}", VECTOR)
    assert asked(app, Twilio("https://example.com", [TOKEN]), path, signature, data=VECTOR)


def test_the_values_of_a_get_are_in_its_address(app: Flask) -> None:
    path = "/voice/inbound?CallSid=CA1&From=%2B14155552671"
    signature = sign(f"https://example.com{path}", {})
    assert asked(app, Twilio("https://example.com", [TOKEN]), path, signature, method="GET")


GET_VECTOR = "/voice/inbound?" + urlencode(VECTOR)
GET_VECTOR_SIGNATURE = "vSt/vP/oubG4nJqH/q4U5Gznak0="
"""The published vector's values in an address, signed once with the documented algorithm and written down."""


def test_the_vector_by_get_verifies_over_the_address_alone(app: Flask) -> None:
    carrier = Twilio("https://example.com", [TOKEN])
    assert asked(app, carrier, GET_VECTOR, GET_VECTOR_SIGNATURE, method="GET")
    assert not asked(app, carrier, GET_VECTOR.replace("1234", "1235"), GET_VECTOR_SIGNATURE, method="GET")
    assert not asked(app, carrier, GET_VECTOR + "&Extra=1", GET_VECTOR_SIGNATURE, method="GET")
    over_form = sign("https://example.com/voice/inbound", VECTOR)
    assert not asked(app, carrier, GET_VECTOR, over_form, method="GET")


@pytest.mark.parametrize("signed_port", ["", ":8443"])
@pytest.mark.parametrize("mark", ["", "?"])
@pytest.mark.parametrize("came", ["", "?"])
def test_a_question_mark_with_nothing_behind_it_may_be_signed_or_not(
    app: Flask, signed_port: str, mark: str, came: str
) -> None:
    """Proxies add it and take it away."""
    signature = sign(f"https://example.com{signed_port}/voice/inbound{mark}", VECTOR)
    carrier = Twilio("https://example.com:8443", [TOKEN])
    environ = {"RAW_URI": f"/voice/inbound{came}"}
    assert asked(app, carrier, "/voice/inbound", signature, data=VECTOR, environ_overrides=environ)
    other = {"RAW_URI": f"/voice/status{came}"}
    assert not asked(app, carrier, "/voice/status", signature, data=VECTOR, environ_overrides=other)


@pytest.mark.parametrize("query", ["a=O'Brien+%26+Co", "a=%27%2B49%27", "b=2&a=1&b=2", "a=%FF", "a", "=", "a=1&&b=2"])
def test_an_address_with_values_is_signed_byte_for_byte(app: Flask, query: str) -> None:
    signature = sign(f"https://example.com/voice/inbound?{query}", {})
    carrier, environ = Twilio("https://example.com", [TOKEN]), {"RAW_URI": f"/voice/inbound?{query}"}
    options: dict[str, Any] = {"method": "GET", "environ_overrides": environ}
    assert asked(app, carrier, f"/voice/inbound?{query}", signature, **options)


def said(app: Flask, path: str, **options: Any) -> dict[str, str]:
    with app.test_request_context(path, **options):
        return dict(Twilio("https://example.com", [TOKEN]).form_of(request))


def test_a_get_says_what_its_address_says_whatever_is_in_its_body(app: Flask) -> None:
    body = {"data": {"From": "+1", "Digits": "9"}, "method": "GET"}
    assert said(app, "/voice/inbound?CallSid=CA1&From=%2B14155552671", **body) == {
        "CallSid": "CA1",
        "From": "+14155552671",
    }


def test_a_post_says_what_its_form_says_whatever_is_in_its_address(app: Flask) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form = {"data": {"From": "+1"}, "method": "POST", "content_type": kind}
        assert said(app, "/voice/inbound?CallSid=CA1&From=%2B2", **form) == {"From": "+1"}


def test_a_form_in_parts_verifies_and_a_file_among_them_says_nothing(app: Flask) -> None:
    signature = sign("https://example.com/voice/inbound", VECTOR)
    parts = VECTOR | {"From2": (io.BytesIO(b"+1"), "from.txt")}
    options = {"data": parts, "content_type": "multipart/form-data", "method": "POST"}
    assert asked(app, Twilio("https://example.com", [TOKEN]), "/voice/inbound", signature, **options)
    parts["From2"] = (io.BytesIO(b"+1"), "from.txt")
    assert said(app, "/voice/inbound", **options) == VECTOR


def test_of_a_repeated_name_the_last_value_counts(app: Flask) -> None:
    """What Twilio says comes behind what was configured in an address."""
    assert said(app, "/voice/inbound?To=mine&CallSid=CA1&To=%2B3") == {"To": "+3", "CallSid": "CA1"}
    twice = MultiDict([("To", "mine"), ("To", "+3")])
    assert said(app, "/voice/inbound", data=twice, method="POST") == {"To": "+3"}


@given(
    st.lists(st.tuples(st.sampled_from(["CallSid", "From", "To", "x"]), st.text(max_size=6)), max_size=5),
    st.lists(st.tuples(st.sampled_from(["CallSid", "From", "To", "x"]), st.text(max_size=6)), max_size=5),
)
def test_what_a_request_says_is_covered_by_its_signature(
    query: list[tuple[str, str]], form: list[tuple[str, str]]
) -> None:
    """Whatever stands where: each value that counts is in the signed text, and nothing else counts."""
    app, carrier = Flask("carrier-test"), Twilio("https://example.com", [TOKEN])
    target = "/voice/inbound" + (f"?{urlencode(query, errors='surrogatepass')}" if query else "")
    for method in ("GET", "POST"):
        with app.test_request_context(target, method=method, data=MultiDict(form)):
            covered = MultiDict(query) if method == "GET" else MultiDict(form)
            signature = sign(f"https://example.com{target}", {} if method == "GET" else covered)
            request.environ["HTTP_X_TWILIO_SIGNATURE"] = signature
            assert carrier.verify(request)
            assert carrier.form_of(request) == dict(covered.items(multi=True))


def test_a_body_that_the_signature_would_not_cover_is_refused(app: Flask) -> None:
    signature = sign("https://example.com/voice/inbound", {})
    for body in ({"json": {"CallSid": "CA1"}}, {"data": b"CallSid=CA1", "content_type": "text/plain"}):
        assert not asked(app, Twilio("https://example.com", [TOKEN]), "/voice/inbound", signature, **body)


def test_an_oversized_body_is_refused_without_an_error(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 1000
    values = {"CallSid": "CA1", "Junk": "x" * 2000}
    signature = sign("https://example.com/voice/inbound", values)
    assert not asked(app, Twilio("https://example.com", [TOKEN]), "/voice/inbound", signature, data=values)


def test_invalid_utf_8_is_refused_without_an_error(app: Flask) -> None:
    options = {"data": b"CallSid=%ff%fe&\xff=1", "content_type": "application/x-www-form-urlencoded"}
    assert not asked(app, Twilio("https://example.com", [TOKEN]), "/voice/inbound", VECTOR_SIGNATURE, **options)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"RAW_URI": "/a%2Fb?x=1"}, "https://h/a%2Fb?x=1"),
        ({"REQUEST_URI": "/a?x"}, "https://h/a?x"),
        ({"RAW_URI": "http://inside:1/a?x=1"}, "https://h/a?x=1"),
        ({"RAW_URI": "/a?next=http://b/c"}, "https://h/a?next=http://b/c"),
        ({"RAW_URI": "http://inside"}, "https://h/"),
        ({}, "https://h/full"),
    ],
)
def test_the_signed_address_is_put_together_from_our_own_and_the_raw_path(environ: dict[str, str], url: str) -> None:
    assert signed_url("https://h", environ, "/full?") == url


def server_with(tmp_path: Path, **values: Any) -> Server:
    settings = Settings(data_dir=tmp_path, secret_key="s" * 32, **values)
    database = Database(f"sqlite:///{tmp_path}/unused.db", pool_size=1)
    database.dispose()
    return Server(settings, database, load_keys(settings))


def test_the_simulator_signs_with_a_random_token_kept_in_the_data_folder(tmp_path: Path, app: Flask) -> None:
    server = server_with(tmp_path)
    (token,) = carrier_tokens(server.settings)
    assert len(token) >= 32
    assert carrier_tokens(server.settings) == [token]
    carrier = carrier_of(server)
    assert (carrier.name, carrier) == ("simulator", carrier_of(server))
    with app.test_request_context("/voice/inbound", method="POST", data=VECTOR) as context:
        signature = sign("http://127.0.0.1:8000/voice/inbound", VECTOR, token)
        context.request.environ["HTTP_X_TWILIO_SIGNATURE"] = signature
        assert carrier.verify(context.request)


def test_the_simulator_signs_with_the_auth_token_when_there_is_one(tmp_path: Path) -> None:
    assert carrier_tokens(server_with(tmp_path, twilio_auth_token="one, two").settings) == ["one", "two"]


def test_twilio_without_a_token_is_refused_with_the_name_of_the_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN"):
        carrier_of(server_with(tmp_path, carrier="twilio", twilio_auth_token=" , "))
