"""Conversions of advertisers: files in the vendors' columns, whose lines stay the same, for who knows the secret; and Meta's events."""

import csv
import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from router.accounts.models import Project
from router.db import Database
from router.integrations.conversions import why_not
from router.integrations.conversions.files import RATE
from router.integrations.models import Delivery
from router.integrations.outbox import fan_out
from router.scenarios.models import Scenario
from router.voice.models import Call
from router.web.network import RateLimit
from tests.factories import CALLER, make_call, make_integration, make_visit
from tests.integrations.conftest import LOOPBACK, Office
from tests.integrations.receiver import Receiver, Request
from tests.people import NOW, Cast, bearer

GCLID, MSCLKID, FBCLID = (
    "Cj0KCQiA.x-y_z~1",
    "f894f652ea334e739002f7167ab8f8e3",
    "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB",
)
CLICKS = {"gclid": GCLID, "msclkid": MSCLKID, "fbclid": FBCLID}


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.integrations.conversions.files.RATE", RateLimit("1000/minute"))


def call_of_click(
    session: Any, scenario: Scenario, at: datetime = NOW, visit: dict[str, Any] | None = None, **more: Any
) -> int:
    """An answered call whose visit came by all the advertisements."""
    project = session.get_one(Project, scenario.project_id)
    row = make_visit(session, project, **({"click_ids": CLICKS} | (visit or {})))
    fields = {"visit_id": row.id, "rule": "lease", "confidence": 0.9} | more
    return make_call(session, scenario, started_at=at, **fields).id


def lines(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))


class Desk:
    """A scenario whose conversions are fetched."""

    def __init__(self, app: Flask, client: FlaskClient, database: Database, cast: Cast) -> None:
        self.server, self.client, self.database, self.cast = app.extensions["router"], client, database, cast
        self.server.now = lambda: NOW
        self.headers, self.base = bearer(cast.alice_token), f"/api/v1/projects/{cast.project.id}/scenarios"

    def save(self, integrations: dict[str, Any]) -> dict[str, Any]:
        body = {"title": "Site", "integrations": integrations}
        answer = self.client.post(self.base, json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json  # type: ignore[assignment] # it is JSON
        self.scenario_id = document["id"]
        return document

    def fetch(self, address: str, status: int = 200, **more: Any) -> Any:
        answer = self.client.get(address, **more)
        assert answer.status_code == status, answer.text
        return answer


@pytest.fixture
def desk(app: Flask, client: FlaskClient, database: Database, cast: Cast) -> Desk:
    return Desk(app, client, database, cast)


def address_in(document: Any, kind: str) -> str:
    """What is shown once: the address without its host."""
    found = [text for text in strings(document) if f"/{kind}/" in text]
    (address,) = found
    return "/conversions/" + address.partition("/conversions/")[2]


def strings(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [text for each in document.values() for text in strings(each)]
    if isinstance(document, list):
        return [text for each in document for text in strings(each)]
    return [document] if isinstance(document, str) else []


@pytest.mark.one_database
def test_google_and_microsoft_find_their_columns(desk: Desk) -> None:
    google = {"name": "Phone call, Berlin", "value": "25", "currency": "EUR", "consent": "granted"}
    document = desk.save({"google_ads": google, "microsoft_ads": {"name": "Call"}})
    with desk.database.writing() as session:
        scenario = session.get_one(Scenario, desk.scenario_id)
        call_of_click(session, scenario, NOW - timedelta(days=1))
    answer = desk.fetch(address_in(document, "google_ads"))
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("text/csv", "no-store")
    assert lines(answer.text) == [
        ["Parameters:TimeZone=+0000", *[""] * 6],
        [
            *("Google Click ID", "Conversion Name", "Conversion Time", "Conversion Value", "Conversion Currency"),
            *("Ad User Data", "Ad Personalization"),
        ],
        [GCLID, "Phone call, Berlin", "2026-11-22 12:00:00", "25.00", "EUR", "GRANTED", "GRANTED"],
    ]
    again = desk.fetch(address_in(document, "google_ads"))
    assert again.text == answer.text, "what is read twice is known by it"
    assert lines(desk.fetch(address_in(document, "microsoft_ads")).text) == [
        ["Parameters:TimeZone=+0000", *[""] * 4],
        ["Microsoft Click ID", "Conversion Name", "Conversion Time", "Conversion Value", "Conversion Currency"],
        [MSCLKID, "Call", "2026-11-22 12:00:00", "", ""],
    ]


def test_only_calls_that_count_are_in_the_file(desk: Desk) -> None:
    document = desk.save({"google_ads": {"name": "Call", "least_seconds": 60, "first_only": True, "days": 7}})
    with desk.database.writing() as session:
        scenario = session.get_one(Scenario, desk.scenario_id)
        call_of_click(session, scenario, NOW - timedelta(days=8))
        call_of_click(session, scenario, visit={"click_ids": {}})
        call_of_click(session, scenario, visit={"click_ids": {"gclid": "=cmd|' /C calc'!A0"}})
        call_of_click(session, scenario, visit={"limited": True})
        call_of_click(session, scenario, status="missed", talk_seconds=None)
        call_of_click(session, scenario, talk_seconds=59)
        call_of_click(session, scenario, first_call=False)
        call_of_click(session, scenario, confidence=0.4)
        call_of_click(session, scenario, kind="internal")
        call_of_click(session, scenario, kind="blocked")
        call_of_click(session, scenario, forgotten_id=7)
        call_of_click(session, scenario, ended_at=None)
        call_of_click(session, scenario, NOW - timedelta(hours=1), talk_seconds=60)
    found = lines(desk.fetch(address_in(document, "google_ads")).text)
    assert [line[2] for line in found[2:]] == ["2026-11-23 11:00:00"]


@pytest.mark.one_database
def test_the_address_opens_for_its_secret_alone(desk: Desk) -> None:
    document = desk.save({"google_ads": {"name": "Call"}, "microsoft_ads": {"name": "Call"}})
    address = address_in(document, "google_ads")
    path, _, secret = address.removesuffix(".csv").rpartition("/")
    desk.fetch(f"{path}/{secret[:-1]}.csv", 404)
    desk.fetch(f"{path}/{'x' * 43}.csv", 404)
    desk.fetch(address.replace("google_ads", "microsoft_ads"), 404)
    desk.fetch(address.replace(f"/{desk.scenario_id}/", "/999/"), 404)
    asked = desk.fetch(f"{path}.csv", 401)
    assert asked.headers["WWW-Authenticate"].startswith("Basic")
    desk.fetch(f"{path}.csv", 401, auth=("google", "wrong"))
    assert desk.fetch(f"{path}.csv", auth=("google", secret)).mimetype == "text/csv"
    shown = desk.client.get(f"{desk.base}/{desk.scenario_id}", headers=desk.headers).text
    assert secret not in shown, "it is shown once"

    rotated: Any = desk.client.post(
        f"{desk.base}/{desk.scenario_id}/integrations/google_ads/rotate-secret", headers=desk.headers
    ).json
    new = "/conversions/" + rotated["secret"].partition("/conversions/")[2]
    assert new != address
    desk.fetch(address)
    desk.fetch(new)
    desk.server.now = lambda: NOW + timedelta(hours=25)
    desk.fetch(address, 404)
    desk.fetch(new)


@pytest.mark.one_database
def test_who_asks_too_often_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.integrations.conversions.files.RATE", RateLimit("2/minute"))
    assert RATE.allows("somebody"), "the product has a limit of its own"
    for expected in (404, 404, 429):
        desk.fetch("/conversions/1/google_ads/guess.csv", expected)


@given(st.sampled_from(["answered", "missed"]), st.integers(0, 200), st.booleans(), st.floats(0, 1))
def test_a_call_counts_only_by_every_condition(status: str, seconds: int, first: bool, confidence: float) -> None:
    config = {"answered_only": True, "least_seconds": 60, "first_only": True, "least_sure": 50}
    counts = not why_not(config, status, seconds, first, confidence)
    assert counts == (status == "answered" and seconds >= 60 and first and confidence * 100 >= 50)


def test_settings_name_what_is_wrong(desk: Desk) -> None:
    for settings, field in [
        ({"name": "=HYPERLINK(1)"}, "name"),
        ({"name": "Call", "value": "5"}, "currency"),
        ({"name": "Call", "days": 91}, "days"),
        ({"name": "Call", "password": "short"}, "password"),
    ]:
        body = {"title": "Site", "integrations": {"google_ads": settings}}
        answer = desk.client.post(desk.base, json=body, headers=desk.headers)
        assert f"integrations.google_ads.{field}" in answer.json["errors"]  # type: ignore[index] # it is JSON


class Graph:
    """Meta's Conversions API as it is documented."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        self.tested: list[Any] = []
        self.fails: list[tuple[int, dict[str, Any]]] = []

    def __call__(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if self.fails:
            status, error = self.fails.pop(0)
            return status, {}, json.dumps({"error": error}).encode()
        if request.path != "/v25.0/1234567890/events?access_token=t0ken":
            return 400, {}, json.dumps({"error": {"message": "Invalid OAuth access token", "code": 190}}).encode()
        (event,) = request.json["data"]
        age = NOW.timestamp() - event["event_time"]
        wrong = [
            not 0 <= age <= 7 * 86400,
            event["action_source"] != "phone_call",
            not event["user_data"],
            any(len(digest) != 64 for digest in event["user_data"].get("ph", [])),
            "fbc" in event["user_data"] and not event["user_data"]["fbc"].startswith("fb.1."),
        ]
        if any(wrong):
            return 400, {}, json.dumps({"error": {"message": "Invalid parameter", "code": 100}}).encode()
        if "test_event_code" in request.json:
            self.tested.append(event)
        else:
            self.events[event["event_id"]] = event
        return 200, {}, b'{"events_received": 1, "messages": [], "fbtrace_id": "A1"}'


def meta(office: Office, inbox: Receiver, token: str = "t0ken", **config: Any) -> None:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        common = {"dataset": "1234567890", "event": "Contact", "endpoint": f"{inbox.url}/v25.0", "least_sure": 50}
        sealed = office.server.keys.seal(token)
        make_integration(session, scenario, "meta", "meta", config=common | config, sealed=sealed, receiver="meta:1:x")


def told(office: Office, *, turns: int = 1, **more: Any) -> Delivery:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        call = session.get_one(Call, call_of_click(session, scenario, **more))
        fan_out(session, call, "call.ended", NOW)
    office.server.now = lambda: NOW
    worker = office.worker()
    for turn in range(turns):
        worker.run_once(NOW + timedelta(minutes=turn))
    with office.database.reading() as session:
        return session.scalars(select(Delivery).order_by(Delivery.id.desc()).limit(1)).one()


def test_meta_gets_an_event_of_the_click_and_the_number(office: Office, inbox: Receiver) -> None:
    inbox.answer = graph = Graph()
    graph.fails = [(400, {"message": "User request limit reached", "code": 17})]
    meta(office, inbox, by_number=True, value="12.50", currency="EUR")
    delivery = told(office, turns=2)
    assert delivery.state == "done"
    (event,) = graph.events.values()
    assert (event["event_name"], event["event_time"]) == ("Contact", int(NOW.timestamp()))
    assert event["event_id"] == delivery.message_id
    assert event["user_data"]["ph"] == [hashlib.sha256(CALLER.removeprefix("+").encode()).hexdigest()]
    assert event["user_data"]["fbc"].endswith(f".{FBCLID}")
    assert event["custom_data"] == {"value": 12.5, "currency": "EUR"}
    assert CALLER not in json.dumps(event)


def test_meta_gets_no_number_unless_it_is_switched_on_and_no_click_that_is_a_guess(
    office: Office, inbox: Receiver
) -> None:
    inbox.answer = graph = Graph()
    meta(office, inbox)
    assert told(office).state == "done"
    assert [list(event["user_data"]) for event in graph.events.values()] == [["fbc"]]
    assert told(office, confidence=0.3).reason == "not sure enough whose visit it was"
    assert told(office, visit={"click_ids": {}}).reason == "no click of Meta is known of the visit"
    assert told(office, status="missed").reason == "nobody answered"
    assert told(office, at=NOW - timedelta(days=8)).state == "expired"
    assert len(graph.events) == 1


def test_a_token_that_expired_costs_no_event(office: Office, inbox: Receiver) -> None:
    inbox.answer = Graph()
    meta(office, inbox, token="old")
    assert told(office).state == "pending"


@pytest.mark.one_database
def test_a_test_of_meta_counts_nothing(desk: Desk, inbox: Receiver) -> None:
    inbox.answer = graph = Graph()
    desk.server.settings = desk.server.settings.model_copy(update={"allow_private": LOOPBACK})
    settings = {"dataset": "1234567890", "access_token": "t0ken", "endpoint": f"{inbox.url}/v25.0"}

    def attempt(**more: Any) -> Any:
        path = f"/api/v1/projects/{desk.cast.project.id}/integrations/test"
        return desk.client.post(path, json={"slot": "meta", "settings": settings | more}, headers=desk.headers).json

    assert "Type the test code" in attempt()["words"]
    assert attempt(test_code="TEST1")["good"]
    assert (len(graph.tested), graph.events) == (1, {})
    assert attempt(test_code="TEST1", access_token="no")["words"] == "Meta answered 400. Invalid OAuth access token"


@pytest.mark.one_database
def test_what_is_left_empty_in_the_form_is_as_it_was_meant(desk: Desk) -> None:
    (part,) = (part for part in desk.server.scenario_parts if part.name == "integrations")
    typed = part.read_form(MultiDict({"integrations.google_ads.name": "Call"}), None)
    member = part.member(typed)["google_ads"]
    assert (member["days"], member["least_sure"], member["least_seconds"]) == (14, 50, 0)
