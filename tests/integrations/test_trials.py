"""A receiver is tried out before its settings are saved, and a webhook's secret is changed without a message that does not verify."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from router.accounts.models import AuditEntry, Project
from router.db import Database
from router.integrations.models import Delivery, Integration
from router.integrations.trials import EXAMPLE
from router.integrations.webhook import new_secret
from router.scenarios.models import Scenario
from router.voice.calls import call_documents
from tests.factories import CALLER, lease_decision, make_call, make_scenario, make_visit
from tests.integrations.conftest import make_webhook
from tests.integrations.odoo import LOOPBACK
from tests.integrations.receiver import WEBHOOK_SECRET, Receiver, Request
from tests.people import NOW, Cast, bearer, sign_in

pytestmark = pytest.mark.one_database
Try = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _may_reach_the_loopback(app: Flask) -> None:
    server = app.extensions["router"]
    server.settings = server.settings.model_copy(update={"allow_private": LOOPBACK})
    server.now = lambda: NOW


@pytest.fixture
def attempt(client: FlaskClient, cast: Cast) -> Try:
    def ask(slot: str, settings: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
        path = f"/api/v1/projects/{cast.project.id}/integrations/test"
        body = {"slot": slot, "settings": settings} | more
        answer = client.post(path, json=body, headers=bearer(cast.alice_token))
        assert answer.status_code == status, answer.text
        document: dict[str, Any] = answer.json  # type: ignore[assignment] # it is JSON
        return document

    return ask


def test_a_webhook_gets_a_message_that_says_that_it_is_a_test(
    attempt: Try, database: Database, cast: Cast, inbox: Receiver
) -> None:
    with database.writing() as session:
        scenario = make_scenario(session, session.get_one(Project, cast.project.id), 0, title="Site")
        visit = make_visit(session, session.get_one(Project, cast.project.id), 10234)
        make_call(session, scenario, ended_at=NOW, **lease_decision(visit))
    found = attempt("webhook_end", {"url": inbox.url + "/hook", "secret": WEBHOOK_SECRET})
    assert (found["good"], found["status"], found["answer"]) == (True, 200, "ok")
    assert found["milliseconds"] >= 0
    (request,) = inbox.requests
    with time_machine.travel(NOW, tick=False):
        body = Webhook(WEBHOOK_SECRET).verify(request.body, dict(request.headers))
    assert (body["test"], body["type"], body["data"]["caller"], body["data"]["visit"]) == (
        True,
        "call.ended",
        CALLER,
        10234,
    )
    assert request.headers["webhook-id"].startswith("test_")
    with database.reading() as session:
        assert session.scalars(select(Delivery)).all() == []
        assert session.scalars(select(Integration)).all() == []


@pytest.mark.parametrize("name", ["own", "callrail", "roistat"])
def test_without_any_call_it_is_about_an_example(attempt: Try, inbox: Receiver, name: str) -> None:
    attempt("webhook_start", {"url": inbox.url, "format": name})
    body = inbox.requests[0].json
    assert body["test"] is True
    assert EXAMPLE["caller"].removeprefix("+") in json.dumps(body)


def test_the_example_has_the_members_of_a_call(app: Flask, database: Database, cast: Cast) -> None:
    with database.writing() as session:
        scenario = make_scenario(session, session.get_one(Project, cast.project.id), 0)
        (document,) = call_documents(app.extensions["router"], session, [make_call(session, scenario)])
    assert EXAMPLE.keys() | {"started_at"} == document.keys() | {"deliveries"}


def test_what_the_receiver_says_is_told(attempt: Try, inbox: Receiver) -> None:
    inbox.answer = lambda request: (500, {}, f"no {WEBHOOK_SECRET}".encode())
    found = attempt("webhook_end", {"url": inbox.url, "secret": WEBHOOK_SECRET})
    assert (found["good"], found["status"], found["answer"]) == (False, 500, "no [secret]")
    assert found["words"] == "The receiver answered 500. no [secret]"
    found = attempt("webhook_end", {"url": "http://127.0.0.1:9/"})
    assert (found["good"], found["status"]) == (False, None)


def test_settings_that_cannot_be_used_are_refused_before_anything_is_sent(attempt: Try, inbox: Receiver) -> None:
    problem = attempt("webhook_end", {"url": "https://10.0.0.1/", "secret": "weak"}, 422)
    assert problem["errors"].keys() == {"integrations.webhook_end.url", "integrations.webhook_end.secret"}
    assert attempt("sms", {}, 422)["field"] == "slot"
    attempt("crm", {"kind": "odoo", "url": inbox.url, "database": "main", "key": "k3y", "manager": "anna"}, 404)
    assert attempt("webhook_end", "no", 422)["field"] == "settings"  # type: ignore[arg-type] # as a program may
    attempt("webhook_end", {"url": inbox.url}, 422, scenario="7")
    attempt("webhook_end", {"url": inbox.url}, 404, scenario=999)


def validating(messages: list[dict[str, str]]) -> Callable[[Request], tuple[int, dict[str, str], bytes]]:
    return lambda request: (200, {}, json.dumps({"validationMessages": messages}).encode())


def test_google_is_asked_whether_it_takes_such_an_event(attempt: Try, inbox: Receiver) -> None:
    inbox.answer = validating([])
    settings = {"measurement_id": "G-ABC1234567", "api_secret": "s3cret", "endpoint": f"{inbox.url}/mp/collect"}
    found = attempt("ga4", settings)
    assert found["good"]
    assert "does not check the API secret and the measurement ID" in found["words"]
    (request,) = inbox.requests
    assert request.path == "/debug/mp/collect?measurement_id=G-ABC1234567&api_secret=s3cret"
    assert request.json["validation_behavior"] == "ENFORCE_RECOMMENDATIONS"
    assert request.json["events"][0]["name"] == "Call"
    described = {"fieldPath": "events", "description": "Event name is s3cret.", "validationCode": "NAME_RESERVED"}
    inbox.answer = validating([described])
    found = attempt("ga4", settings | {"event": "My_call"})
    assert not found["good"]
    assert "“events” has a name that Google keeps for itself" in found["words"]
    assert "s3cret" not in found["answer"]
    inbox.answer = lambda request: (404, {}, b"<html>")
    assert "has no validation of events" in attempt("ga4", settings)["words"]


def test_a_viewer_sends_no_tests(client: FlaskClient, cast: Cast, inbox: Receiver) -> None:
    path = f"/api/v1/projects/{cast.project.id}/integrations/test"
    body = {"slot": "webhook_end", "settings": {"url": inbox.url}}
    assert client.post(path, json=body, headers=bearer(cast.bob_token)).status_code == 403
    assert client.post(path, json=body, headers=bearer(cast.charlie_token)).status_code == 404
    assert inbox.requests == []


@pytest.fixture
def stored(app: Flask, database: Database, cast: Cast, inbox: Receiver) -> int:
    """The id of a scenario with a webhook."""
    with database.writing() as session:
        scenario = make_scenario(session, session.get_one(Project, cast.project.id), 0, title="Site")
        make_webhook(session, session.get_one(Scenario, scenario.id), app.extensions["router"].keys, inbox.url)
        return scenario.id


def test_a_stored_secret_signs_the_test_of_its_scenario(attempt: Try, inbox: Receiver, stored: int) -> None:
    attempt("webhook_end", {"url": inbox.url}, scenario=stored)
    (request,) = inbox.requests
    with time_machine.travel(NOW, tick=False):
        Webhook(WEBHOOK_SECRET).verify(request.body, dict(request.headers))


def test_a_secret_is_changed_and_both_sign_for_a_day(
    client: FlaskClient, app: Flask, database: Database, cast: Cast, stored: int
) -> None:
    path = f"/api/v1/projects/{cast.project.id}/scenarios/{stored}/integrations/webhook_end/rotate-secret"
    answer: Any = client.post(path, headers=bearer(cast.alice_token)).json
    assert answer["earlier_until"] == "2026-11-24T12:00:00.000Z"
    keys = app.extensions["router"].keys
    with database.reading() as session:
        row = session.scalars(select(Integration)).one()
        assert (keys.unseal(row.sealed), keys.unseal(row.sealed_before)) == (answer["secret"], WEBHOOK_SECRET)
        assert row.earlier_until == NOW + timedelta(hours=24)
        assert answer["secret"] not in row.sealed
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "secret rotated")).one()
        assert answer["secret"] not in str(entry.detail)
    form = {"do": "part.integrations.webhook_end.rotate", "integrations.webhook_end.url": "https://hooks.example.com"}
    page = sign_in(client, cast.alice).post(f"/scenarios/{stored}/integrations", data=form).text
    assert "For 24 hours" in page
    with database.reading() as session:
        row = session.scalars(select(Integration)).one()
        assert keys.unseal(row.sealed) in page
        assert keys.unseal(row.sealed_before) == answer["secret"]


def test_the_wizard_tries_out_and_shows_what_is_typed(
    client: FlaskClient, database: Database, cast: Cast, stored: int, inbox: Receiver
) -> None:
    alice, step = sign_in(client, cast.alice), f"/scenarios/{stored}/integrations"
    prefix = "integrations.webhook_end"

    def press(button: str, **typed: Any) -> str:
        form = {f"{prefix}.url": inbox.url} | {f"{prefix}.{name}": value for name, value in typed.items()}
        return alice.post(step, data={"do": f"part.{prefix}.{button}"} | form).text

    inbox.answer = lambda request: (200, {}, b"thank <you>")
    page = press("test")
    assert "The receiver took it and answered 200." in page
    assert "thank &lt;you&gt;" in page
    (request,) = inbox.requests
    with time_machine.travel(NOW, tick=False):
        Webhook(WEBHOOK_SECRET).verify(request.body, dict(request.headers))
    inbox.answer = lambda request: (500, {}, b"")
    assert 'role="alert">The receiver answered 500.' in press("test")
    page = press("preview", format="template", template="who = {caller} {status}")
    assert "&#34;who&#34;: &#34;+14155550123 answered&#34;" in page
    assert "who = {caller} {status}" in page, "what was typed stays"
    page = press("preview", format="template", template="who = {nobody}")
    assert "There is nothing named {nobody}" in page
    assert len(inbox.requests) == 2
    assert "This is required." in press("test", url="")
    assert alice.post(step, data={"do": "part.integrations.ga4.preview"}).status_code in (404, 422)
    with database.reading() as session:
        assert session.scalars(select(Integration.config)).one() == {"url": inbox.url}, "nothing was stored"


def test_what_has_no_secret_of_ours_cannot_be_changed(
    client: FlaskClient, database: Database, cast: Cast, stored: int
) -> None:
    base = f"/api/v1/projects/{cast.project.id}/scenarios/{stored}/integrations"
    headers = bearer(cast.alice_token)
    assert client.post(f"{base}/webhook_start/rotate-secret", headers=headers).status_code == 404
    assert client.post(f"{base}/webhook_end/rotate-secret", headers=bearer(cast.bob_token)).status_code == 403
    assert client.post(f"{base}/webhook_end/rotate-secret", headers=bearer(cast.charlie_token)).status_code == 404
    with database.writing() as session:
        session.scalars(select(Integration)).one().kind = "odoo"
    assert client.post(f"{base}/webhook_end/rotate-secret", headers=headers).status_code == 409


def test_a_secret_that_is_typed_ends_the_overlap(
    client: FlaskClient, database: Database, cast: Cast, stored: int, inbox: Receiver
) -> None:
    scenario = f"/api/v1/projects/{cast.project.id}/scenarios/{stored}"
    headers = bearer(cast.alice_token)
    client.post(f"{scenario}/integrations/webhook_end/rotate-secret", headers=headers)
    version = client.get(scenario, headers=headers).json["version"]  # type: ignore[index] # it is JSON
    settings = {"webhook_end": {"url": inbox.url, "secret": new_secret()}}
    answer = client.patch(scenario, json={"version": version, "integrations": settings}, headers=headers)
    assert answer.status_code == 200, answer.text
    with database.reading() as session:
        assert session.scalars(select(Integration.sealed_before)).one() == ""
