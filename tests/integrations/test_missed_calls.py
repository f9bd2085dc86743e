"""A missed call is told at once, by e-mail and in chats: once, to those who want to know, and not after its caller was forgotten."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import Mail
from router.db import Database
from router.integrations.missed.service import note_missed, tell_missed
from router.integrations.models import Delivery, MissedCallNotice
from router.integrations.slack import SLACK_SLOT
from router.integrations.telegram import TELEGRAM_SLOT
from router.scenarios.models import Scenario
from router.voice.models import Call
from tests.factories import CALLER, GOOGLE, make_call, make_integration
from tests.integrations.conftest import LOOPBACK, Office
from tests.integrations.receiver import Receiver, Request
from tests.people import NOW, Cast, bearer, sign_in

MAIL_CONFIG = {"by_mail": True, "recipients": "", "quiet_from": "", "quiet_until": ""}
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


def wants_mail(office: Office, **config: Any) -> None:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        make_integration(session, scenario, "missed_mail", "missed_mail", config=MAIL_CONFIG | config)


def missed(office: Office, at: Any = NOW, noted: Any = None, **more: Any) -> int:
    with office.database.writing() as session:
        fields = {"status": "missed", "talk_seconds": None, "answered_at": None, "ended_at": at} | more
        call = make_call(session, session.get_one(Scenario, office.scenario_id), started_at=at, **fields)
        for _ in range(2):  # the end of a call may be announced again
            note_missed(office.server, session=session, event="call.ended", call=call, now=noted or at)
        return call.id


def mails(database: Database) -> list[Mail]:
    with database.reading() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


def test_an_email_tells_who_when_and_from_where(office: Office) -> None:
    wants_mail(office, recipients="anna@garden.example, bob@garden.example")
    with office.database.writing() as session:
        make_call(session, session.get_one(Scenario, office.scenario_id), started_at=NOW - timedelta(days=2))
    call_id = missed(office, source=GOOGLE, source_confidence=0.91, ring_seconds=21)
    assert tell_missed(office.server, NOW) == 1
    assert tell_missed(office.server, NOW) == 0
    first, second = mails(office.database)[-2:]
    assert [mail.recipient for mail in mails(office.database)] == ["anna@garden.example", "bob@garden.example"]
    assert (first.subject, first.body) == (second.subject, second.body)
    assert first.subject == "Missed call from +1 415-555-2671"
    assert f"Call back: tel:{CALLER}\n" in first.body
    assert "When: today 07:00, nobody answered after 21 s\n" in first.body
    assert "Came from: google / cpc / spring (91 % sure)\n" in first.body
    assert "Has called: 2 times in 30 days" in first.body
    assert f"/calls/in/{office.project_id}/{call_id}\n" in first.body


def test_nobody_is_told_of_other_calls(office: Office) -> None:
    wants_mail(office)
    missed(office, status="answered")
    missed(office, kind="internal")
    missed(office, kind="blocked")
    missed(office, scenario_enabled=False)
    missed(office, NOW - timedelta(days=3), noted=NOW)
    mended = missed(office)
    with office.database.writing() as session:
        session.get_one(Call, mended).status = "answered"
    gone = missed(office)
    with office.database.writing() as session:
        call = session.get_one(Call, gone)
        call.forgotten_id, call.caller = 7, None
    assert tell_missed(office.server, NOW) == 0
    assert mails(office.database) == []
    with office.database.reading() as session:
        assert session.scalars(select(MissedCallNotice).where(MissedCallNotice.told_at.is_(None))).all() == []


def test_a_robocaller_fills_no_inbox(office: Office) -> None:
    wants_mail(office)
    for minute in range(30):
        now = NOW + timedelta(minutes=minute)
        missed(office, now)
        tell_missed(office.server, now)
    tell_missed(office.server, NOW + timedelta(minutes=40))
    subjects = [mail.subject for mail in mails(office.database)]
    who = "from +1 415-555-2671"
    assert subjects == [
        f"Missed call {who}",
        f"10 missed calls {who}",
        f"10 missed calls {who}",
        f"9 missed calls {who}",
    ]
    assert "The first: today 07:01" in mails(office.database)[1].body


def test_a_crowd_is_one_email_that_lists_all(office: Office) -> None:
    wants_mail(office)
    for place in range(200):
        missed(office, NOW, caller=f"+1415555{place:04}")
    tell_missed(office.server, NOW)
    (mail,) = mails(office.database)
    assert mail.subject == "200 missed calls from 200 callers"
    assert mail.recipient == "alice@garden.example"
    assert "The last: +1 415-555-0199\nCall back: tel:+14155550199" in mail.body


def test_in_quiet_hours_it_waits(office: Office) -> None:
    wants_mail(office, quiet_from="06:00", quiet_until="08:30")  # it is 07:00 in New York
    missed(office)
    missed(office, caller="+14155552672")
    assert tell_missed(office.server, NOW) == 0
    assert tell_missed(office.server, NOW + timedelta(minutes=90)) == 2


class Chat:
    """Telegram's Bot API and Slack's incoming webhooks, as far as they are documented: each refuses what the real one does."""

    def __init__(self) -> None:
        self.posts: list[Any] = []
        self.busy = 0

    def __call__(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path.startswith("/bot"):
            return self.telegram(request)
        return self.slack(request)

    def telegram(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        def refused(code: int, words: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
            return code, {}, json.dumps({"ok": False, "error_code": code, "description": words} | more).encode()

        if request.path != f"/bot{TOKEN}/sendMessage":
            return refused(401, "Unauthorized")
        body = request.json
        if self.busy:
            self.busy -= 1
            return refused(429, "Too Many Requests: retry after 7", parameters={"retry_after": 7})
        if str(body.get("chat_id")) != "-1001":
            return refused(400, "Bad Request: chat not found")
        if not body.get("text") or len(body["text"]) > 4096:
            return refused(400, "Bad Request: message text is empty")
        self.posts.append(body)
        return 200, {}, json.dumps({"ok": True, "result": {"message_id": len(self.posts)}}).encode()

    def slack(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path != "/services/T0/B0/s3cret":
            return 404, {}, b"no_service"
        if self.busy:
            self.busy -= 1
            return 429, {"Retry-After": "7"}, b"rate_limited"
        if not isinstance(request.json.get("text"), str):
            return 400, {}, b"no_text"
        self.posts.append(request.json)
        return 200, {}, b"ok"


def config_of(kind: str, inbox: Receiver) -> tuple[str, dict[str, Any], str]:
    """Its slot, its settings and its secret."""
    if kind == "telegram":
        return TELEGRAM_SLOT.name, {"chat": "-1001", "server": inbox.url}, TOKEN
    return SLACK_SLOT.name, {"channel": "#sales"}, f"{inbox.url}/services/T0/B0/s3cret"


@pytest.mark.parametrize("kind", ["telegram", "slack"])
def test_a_chat_gets_it_through_the_outbox(office: Office, inbox: Receiver, kind: str) -> None:
    inbox.answer = chat = Chat()
    chat.busy = 1
    slot, config, secret = config_of(kind, inbox)
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        sealed = office.server.keys.seal(secret)
        make_integration(session, scenario, slot, kind, config=config, sealed=sealed, receiver=f"{kind}:1:x")
    call_id = missed(office, source=GOOGLE | {"campaign": "<!channel> & <script>"})
    assert tell_missed(office.server, NOW) == 1
    office.server.now = lambda: NOW
    worker = office.worker()
    worker.run_once(NOW)
    assert chat.posts == []
    worker.run_once(NOW + timedelta(minutes=1))
    (post,) = chat.posts
    text = post["text"]
    assert text.startswith("*Missed call from" if kind == "slack" else "Missed call from +1 415-555-2671\n")
    assert f"/calls/in/{office.project_id}/{call_id}" in text
    if kind == "slack":
        assert "<tel:+14155552671|+1 415-555-2671>" in text
        assert "&lt;!channel&gt; &amp; &lt;script&gt;" in text, (
            "nobody is called by what an advertisement's address says"
        )
    else:
        assert f"Call back: {CALLER}\n" in text
        assert "<!channel> & <script>" in text, "Telegram gets plain text"
    with office.database.reading() as session:
        delivery = session.scalars(select(Delivery)).one()
        assert (delivery.event, delivery.state) == ("call.missed", "done")
        assert CALLER not in json.dumps(delivery.reference["notice"])


@pytest.mark.parametrize("kind", ["telegram", "slack"])
def test_a_revoked_key_is_told_of_and_costs_no_message(office: Office, inbox: Receiver, kind: str) -> None:
    inbox.answer = Chat()
    slot, config, secret = config_of(kind, inbox)
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        sealed = office.server.keys.seal(secret.replace("A", "B").replace("s3cret", "old"))
        make_integration(session, scenario, slot, kind, config=config, sealed=sealed, receiver=f"{kind}:1:x")
    missed(office)
    tell_missed(office.server, NOW)
    office.worker().run_once(NOW)
    with office.database.reading() as session:
        delivery = session.scalars(select(Delivery)).one()
        assert delivery.state == "pending"
    assert ["refuses the key" in mail.subject for mail in mails(office.database)] == [True]


@pytest.mark.one_database
def test_settings_are_saved_tested_and_shown_without_their_secrets(
    app: Flask, client: FlaskClient, database: Database, cast: Cast, inbox: Receiver
) -> None:
    inbox.answer = chat = Chat()
    server = app.extensions["router"]
    server.settings = server.settings.model_copy(
        update={"allow_private": LOOPBACK, "mail_url": "smtp://mail.example.com"}
    )
    server.now = lambda: NOW
    base, headers = f"/api/v1/projects/{cast.project.id}", bearer(cast.alice_token)

    def attempt(slot: str, settings: dict[str, Any]) -> Any:
        return client.post(f"{base}/integrations/test", json={"slot": slot, "settings": settings}, headers=headers).json

    slack = {"channel": "#sales", "webhook": f"{inbox.url}/services/T0/B0/s3cret"}
    telegram = {"chat": "-1001", "token": TOKEN, "server": inbox.url}
    assert attempt("missed_slack", slack)["good"]
    assert attempt("missed_telegram", telegram)["good"]
    assert all(post["text"].startswith("This is a test: nobody called.") for post in chat.posts)
    assert len(chat.posts) == 2
    found = attempt("missed_telegram", telegram | {"chat": "-9"})
    assert (found["good"], found["words"]) == (False, "Telegram answered 400. Bad Request: chat not found")
    assert attempt("missed_mail", {"by_mail": True, "recipients": "anna@example.com"})["good"]
    (mail,) = mails(database)
    assert (mail.recipient, mail.subject) == ("anna@example.com", "Test: Missed call from +1 415-555-0123")

    wrong = {"by_mail": True, "recipients": "anna, b@c.de", "quiet_from": "25:00"}
    assert attempt("missed_mail", wrong)["errors"].keys() == {
        "integrations.missed_mail.recipients",
        "integrations.missed_mail.quiet_from",
    }
    halved = attempt("missed_mail", {"by_mail": True, "quiet_from": "22:00"})
    assert halved["errors"] == {"integrations.missed_mail.quiet_until": "Quiet hours have a beginning and an end."}
    assert attempt("missed_telegram", {"chat": "sales", "token": "x"})["errors"].keys() == {
        "integrations.missed_telegram.chat",
        "integrations.missed_telegram.token",
    }

    integrations = {"missed_slack": slack, "missed_telegram": telegram, "missed_mail": {"by_mail": True}}
    body = {"title": "Site", "integrations": integrations}
    stored = client.post(f"{base}/scenarios", json=body, headers=headers)
    assert stored.status_code == 201, stored.text
    shown = stored.json["integrations"]  # type: ignore[index] # it is JSON
    assert shown["missed_slack"] == {"channel": "#sales", "quiet_from": "", "quiet_until": ""}
    assert "token" not in shown["missed_telegram"]
    page = sign_in(client, cast.alice).get("/deliveries").text
    assert "Slack, #sales" in page
