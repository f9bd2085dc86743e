"""Signing in and out, and guessers who are slowed down."""

from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from router.accounts import passwords
from router.web.forms import local_path
from tests.factories import PASSWORD
from tests.people import NOW, Cast, sign_in

pytestmark = pytest.mark.one_database


def attempt(client: FlaskClient, email: str, password: str, address: str = "127.0.0.1") -> int:
    data = {"email": email, "password": password}
    return client.post("/sign-in", data=data, headers={"X-Forwarded-For": address}).status_code


def test_the_right_password_opens_the_page_that_was_asked_for(client: FlaskClient, cast: Cast) -> None:
    asked = client.get("/projects?x=1")
    assert asked.status_code == 302
    answer = client.post(asked.location, data={"email": " Alice@Example.com", "password": PASSWORD})
    assert (answer.status_code, answer.location) == (302, "/projects?x=1")
    assert "Alice&#39;s Shop" in client.get("/projects").text


def test_nobody_is_led_to_another_site_by_a_link_to_the_sign_in_page(client: FlaskClient, cast: Cast) -> None:
    for evil in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
    ):
        answer = client.post(
            "/sign-in", query_string={"next": evil}, data={"email": "alice@example.com", "password": PASSWORD}
        )
        assert answer.location == "/"
        assert local_path(evil) is None


def test_a_wrong_password_and_an_unknown_person_look_the_same(client: FlaskClient, cast: Cast) -> None:
    for email, password in (("alice@example.com", "wrong"), ("nobody@example.com", PASSWORD), ("", ""), ("a\0", "b\0")):
        answer = client.post("/sign-in", data={"email": email, "password": password})
        assert answer.status_code == 422
        assert "The e-mail address or the password is wrong." in answer.text
        assert client.get("/projects").status_code == 302


def test_a_guesser_waits_after_five_wrong_passwords_and_not_for_ever(app: Flask, cast: Cast) -> None:
    guesser, server = app.test_client(), app.extensions["router"]
    server.now = lambda: NOW
    assert [attempt(guesser, "alice@example.com", "guess") for _ in range(6)] == [422] * 5 + [429]
    assert attempt(guesser, "alice@example.com", PASSWORD) == 429
    server.now = lambda: NOW + passwords.WINDOW + timedelta(seconds=1)
    assert attempt(guesser, "alice@example.com", PASSWORD) == 302


def test_guessers_from_many_addresses_do_not_lock_the_owners_browser_out(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "LIMIT_EMAIL", 3)
    owner = app.test_client()
    assert attempt(owner, "alice@example.com", PASSWORD) == 302
    for number in range(3):
        attempt(app.test_client(), "alice@example.com", "guess", f"203.0.113.{number}")
    assert attempt(app.test_client(), "alice@example.com", PASSWORD, "198.51.100.7") == 429
    assert attempt(owner, "alice@example.com", PASSWORD, "198.51.100.7") == 302


def test_one_address_cannot_try_many_people(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "LIMIT_ADDRESS", 4)
    client = app.test_client()
    assert [attempt(client, f"person{number}@example.com", "guess") for number in range(5)] == [422] * 4 + [429]


@pytest.mark.parametrize("written", ["203.0.113.{}", "203.0.113.{}:51234", '"[2001:db8:0:{}::1]:443"'])
def test_clients_behind_a_proxy_that_writes_ports_are_told_apart(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(passwords, "LIMIT_ADDRESS", 3)
    client = app.test_client()
    for number in range(5):
        assert attempt(client, f"person{number}@example.com", "guess", written.format(number)) == 422
    assert attempt(app.test_client(), "alice@example.com", PASSWORD, written.format(9)) == 302


@pytest.mark.parametrize("hidden", ["unknown", "_hidden:80", ""])
def test_strangers_whom_a_proxy_hides_are_slowed_down_and_lock_nobody_out_who_signed_in_before(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    """Neither at their own browsers behind the same proxy, nor anybody elsewhere."""
    monkeypatch.setattr(passwords, "LIMIT_ADDRESS", 7)
    owner, guesser = app.test_client(), app.test_client()
    assert attempt(owner, "alice@example.com", PASSWORD, hidden) == 302
    assert [attempt(guesser, "alice@example.com", "guess", hidden) for _ in range(6)] == [422] * 5 + [429]
    spread = [attempt(guesser, f"person{number}@example.com", "guess", hidden) for number in range(4)]
    assert spread == [422, 422, 429, 429]
    assert attempt(app.test_client(), "bob@example.com", PASSWORD, hidden) == 429
    assert attempt(app.test_client(), "bob@example.com", PASSWORD, "198.51.100.7") == 302
    assert attempt(app.test_client(), "bob@example.com", PASSWORD, "127.0.0.1") == 302
    assert attempt(owner, "alice@example.com", PASSWORD, hidden) == 302
    assert [attempt(owner, "alice@example.com", "guess", hidden) for _ in range(6)] == [422] * 5 + [429]


def test_who_signs_out_is_out(client: FlaskClient, cast: Cast) -> None:
    sign_in(client, cast.alice)
    assert client.get("/projects").status_code == 200
    client.post("/sign-out")
    assert client.get("/projects").status_code == 302


def test_forms_without_a_token_are_refused(app: Flask, cast: Cast) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    client = app.test_client()
    answer = client.post("/sign-in", data={"email": "alice@example.com", "password": PASSWORD})
    assert answer.status_code == 400
    assert "<h1>Bad request</h1>" in answer.text


def test_pages_forbid_scripts_of_others_and_frames(client: FlaskClient, cast: Cast) -> None:
    headers = client.get("/sign-in").headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; img-src 'self' data:;")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_the_session_cookie_is_for_this_site_and_encrypted_connections(client: FlaskClient, cast: Cast) -> None:
    answer = client.post("/sign-in", data={"email": "alice@example.com", "password": PASSWORD})
    cookie = next(value for value in answer.headers.getlist("Set-Cookie") if value.startswith("router_session="))
    assert "HttpOnly" in cookie
    assert "Secure" in cookie
    assert "SameSite=Lax" in cookie
