"""Text messages to tracking numbers: each is written, mailed and told once, however often the carrier brings it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from router.accounts.cli import CONSOLE
from router.accounts.models import Mail, Person, Project
from router.integrations.models import Delivery, DeliveryAttempt, DeliveryState, Integration
from router.integrations.text_messages import announce_messages
from router.integrations.worker import DeliveryWorker
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import store_flow
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.applier import journal_folder
from router.voice.forgetting import forget_caller
from router.voice.journal import Position, read_entries
from router.voice.messages import MOST_RECIPIENTS
from router.voice.models import Call, TextMessage
from router.voice.records import read_call
from router.voice.text_messages import apply_texts, delete_old_messages
from tests.factories import (
    COMPANY_LINE,
    NOON,
    make_blocked_caller,
    make_integration,
    make_scenario,
    make_token,
)
from tests.people import bearer, sign_in
from tests.voice.carrier import ANNA, CarrierClient
from tests.voice.shops import COLLEAGUE, NUMBER, OTHER, make_shop

HOOK = "https://hooks.example.com/calls"


@pytest.fixture
def shop(server: Server, clock: Any) -> Server:
    with server.database.writing() as session:
        project, main = make_shop(session)
        make_integration(session, main, "webhook_start", "webhook", config={"url": HOOK})
        make_integration(session, main, "webhook_end", "webhook", config={"url": HOOK})
        make_integration(session, main, "crm", "odoo")
        make_scenario(session, project, [OTHER], title="Off", enabled=False, destinations=[COMPANY_LINE])
    return server


def text(
    sid: str = "SM1", sender: str = ANNA, to: str = NUMBER, body: str = "Do you open on Sunday?", **more: str
) -> Any:
    return {"MessageSid": sid, "SmsSid": sid, "AccountSid": "AC1", "From": sender, "To": to, "Body": body} | more


def rows(server: Server, model: Any) -> list[Any]:
    with server.database.reading() as session:
        return list(session.scalars(select(model).order_by(model.id)))


def test_a_message_is_written_mailed_and_told_once_although_the_carrier_repeats(
    shop: Server, carrier: CarrierClient
) -> None:
    for _ in range(3):
        answer = carrier.post("/voice/sms", **text())
        assert (answer.status_code, answer.mimetype) == (200, "text/xml")
        assert "<Response" in answer.text
        announce_messages(shop, NOON)
    assert carrier.get("/voice/sms", **text()).status_code == 200
    assert announce_messages(shop, NOON) == 0
    (message,) = rows(shop, TextMessage)
    assert (message.sender, message.number, message.body, message.kind) == (
        ANNA,
        NUMBER,
        "Do you open on Sunday?",
        "external",
    )
    (mail,) = rows(shop, Mail)
    assert mail.subject == "Text message from +1 415-555-0177"
    assert "Do you open on Sunday?" in mail.body
    (delivery,) = rows(shop, Delivery)  # both webhooks have one address
    assert (delivery.event, delivery.text_message_id, delivery.state) == ("sms.received", message.id, "pending")
    assert rows(shop, Call) == []


@pytest.mark.one_database
def test_it_is_mailed_to_those_who_get_the_voicemails_of_the_scenario(shop: Server, carrier: CarrierClient) -> None:
    sales = {"type": "voicemail", "mail_to": ["sales@shop.example.com", "anna@shop.example.com"]}
    workshop = {"type": "voicemail", "mail_to": ["anna@shop.example.com"]}
    menu = {"type": "menu", "prompt": {"text": "1 or 2."}, "keys": {"1": [sales], "2": [workshop]}}

    def recipients(sid: str, *steps: dict[str, Any], to: str = NUMBER) -> list[str]:
        with shop.database.writing() as session:
            scenario = session.get_one(Scenario, 1)
            store_flow(session, scenario, FlowSchema.model_validate({"steps": list(steps)}).document(), NOON)
        carrier.post("/voice/sms", **text(sid, to=to))
        for _ in range(2):
            announce_messages(shop, NOON)
        return [mail.recipient for mail in rows(shop, Mail) if mail.key.split(":")[2] == sid]

    office = rows(shop, Project)[0].email
    assert recipients("SM1", menu) == ["sales@shop.example.com", "anna@shop.example.com"]
    assert recipients("SM2", menu, {"type": "voicemail"})[2:] == [office]
    assert recipients("SM3", {"type": "hang_up"}) == recipients("SM4", menu, to=OTHER) == [office]
    many = [{"type": "menu", "prompt": {"text": "?"}, "keys": {key: [_mailing(key)] for key in "12"}}]
    assert len(recipients("SM5", *many)) == MOST_RECIPIENTS
    assert delete_old_messages(shop, NOON + timedelta(days=366)) == 5
    assert rows(shop, Mail) == [], "all e-mails about them"


def _mailing(key: str) -> dict[str, Any]:
    return {"type": "voicemail", "mail_to": [f"{key}-{place}@shop.example.com" for place in range(9)]}


def test_the_webhook_gets_the_message_signed(shop: Server, carrier: CarrierClient) -> None:
    carrier.post("/voice/sms", **text(NumMedia="2", MediaUrl0="https://api.twilio.com/m/1", MediaUrl1="javascript:1"))
    announce_messages(shop, NOON)
    with shop.database.writing() as session:
        session.execute(update(Integration).where(Integration.slot == "webhook_start").values(config={"url": "x"}))

    sent: list[Any] = []

    class Sender:
        def deliver(self, message: Any) -> dict[str, Any]:
            sent.append(message)
            return {"status": 200}

    assert DeliveryWorker(shop, senders={"webhook": Sender()}).run_once(shop.now()) == 1
    assert sent[0].event == "sms.received"
    assert json.loads(json.dumps(sent[0].call)) == {
        "id": 1,
        "sid": "SM1",
        "kind": "external",
        "received_at": "2026-11-23T12:00:00.000Z",
        "sender": ANNA,
        "sender_name": None,
        "number": NUMBER,
        "scenario": 1,
        "body": "Do you open on Sunday?",
        "media": ["https://api.twilio.com/m/1"],
    }
    assert [delivery.state for delivery in rows(shop, Delivery)] == [DeliveryState.DONE]


@pytest.mark.parametrize(
    ("form", "status", "written"),
    [
        (text(body=""), 200, 1),
        (text(body="x" * 5000), 200, 1),
        (text(body="a\0b"), 200, 1),
        (text(sender="MyBank"), 200, 1),
        (text(sender="32665"), 200, 1),
        (text(to="+12125559999"), 200, 0),
        (text(sid=""), 204, 0),
        ({"From": ANNA, "To": NUMBER, "Body": "no id"}, 204, 0),
    ],
)
def test_whatever_comes_is_answered(shop: Server, carrier: CarrierClient, form: Any, status: int, written: int) -> None:
    assert carrier.post("/voice/sms", **form).status_code == status
    assert carrier.post("/voice/sms", sign=False, **text("SM9")).status_code == 403
    announce_messages(shop, NOON)
    messages = rows(shop, TextMessage)
    assert len(messages) == len(rows(shop, Mail)) == written
    assert all(len(message.body) <= 1600 and "\0" not in message.body for message in messages)


@pytest.mark.parametrize(
    ("sender", "to", "columns", "kind", "mails", "deliveries"),
    [
        (ANNA, NUMBER, {}, "blocked", 0, []),
        (ANNA, NUMBER, {"tell_blocked": "webhooks"}, "blocked", 0, ["pending"]),
        (COLLEAGUE, NUMBER, {}, "internal", 1, []),
        (COLLEAGUE, NUMBER, {"tell_internal": "webhooks"}, "internal", 1, ["pending"]),
        ("+14155550188", OTHER, {}, "external", 1, []),
    ],
)
def test_r10_blocked_senders_are_not_mailed_and_internal_ones_not_told(
    shop: Server, carrier: CarrierClient, sender: str, to: str, columns: Any, kind: str, mails: int, deliveries: Any
) -> None:
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        make_blocked_caller(session, project, ANNA)
        session.execute(update(Project).values(**columns, list_version=1))
    carrier.post("/voice/sms", **text(sender=sender, to=to))
    announce_messages(shop, NOON)
    assert [message.kind for message in rows(shop, TextMessage)] == [kind]
    assert len(rows(shop, Mail)) == mails
    assert [delivery.state for delivery in rows(shop, Delivery)] == deliveries


def test_people_and_programs_read_them(shop: Server, carrier: CarrierClient, client: FlaskClient) -> None:
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        token, person = make_token(session, project)[1], session.scalars(select(Person)).one()
        make_blocked_caller(session, project, "+14155550188")
        project.list_version += 1
    sign_in(client, person)
    assert "will stand here" in client.get("/calls/messages").text
    carrier.post("/voice/sms", **text(body="<b>Sunday?</b>"))
    carrier.post("/voice/sms", **text("SM2", "+14155550188", body="Cheap watches"))
    page = client.get("/calls/messages").text
    assert "&lt;b&gt;Sunday?&lt;/b&gt;" in page
    assert "Cheap watches" not in page
    assert "Cheap watches" in client.get("/calls/messages?kind=blocked").text
    there = f"/api/v1/projects/{project.id}/messages"
    listed = client.get(there, headers=bearer(token)).get_json()
    assert [message["sid"] for message in listed["items"]] == ["SM1"]
    announce_messages(shop, NOON)
    assert "Text message" in client.get("/deliveries").text


def test_r14_what_a_forgotten_caller_wrote_goes_and_what_comes_late_is_not_written(
    shop: Server, carrier: CarrierClient
) -> None:
    carrier.post("/voice/sms", **text())
    carrier.post("/voice/sms", **text("SM2", "+14155550188", body=f"Call Anna at {ANNA} please"))
    announce_messages(shop, NOON)
    assert len(rows(shop, Mail)) == 2
    with shop.database.writing() as session:
        answered = f"Unknown sender {ANNA}"
        delivery = session.scalars(select(Delivery).order_by(Delivery.id)).first()
        assert delivery is not None
        attempt = {"at": NOON, "milliseconds": 1, "status": 422, "outcome": "dead", "message": answered}
        session.add(DeliveryAttempt(delivery_id=delivery.id, **attempt))
    entries = read_entries(journal_folder(shop), Position(), 10)
    with shop.database.writing() as session:
        forget_caller(shop, session, session.scalars(select(Project)).one(), ANNA, CONSOLE, NOON)
    (left,) = rows(shop, TextMessage)
    assert (left.sid, ANNA in left.body) == ("SM2", False)
    assert ["Anna" in mail.body and ANNA not in mail.body for mail in rows(shop, Mail)] == [True]
    assert [ANNA in attempt.message for attempt in rows(shop, DeliveryAttempt)] == [False]
    from router.voice.forgotten import with_forgotten

    with shop.database.writing() as session:
        records = with_forgotten(shop, session, [entry.record for entry in entries if entry.record])
        assert ANNA not in json.dumps(records[0])
        apply_texts(session, records)
    assert [message.sid for message in rows(shop, TextMessage)] == ["SM2"]
    assert read_call(records[0]["call"]).caller.e164 is None


def test_r14_messages_are_kept_as_long_as_the_project_wants(shop: Server, carrier: CarrierClient) -> None:
    carrier.post("/voice/sms", **text())
    assert delete_old_messages(shop, NOON + timedelta(days=364)) == 0
    with shop.database.writing() as session:
        session.execute(update(Project).values(message_days=0))
    assert delete_old_messages(shop, NOON + timedelta(days=9000)) == 0
    with shop.database.writing() as session:
        session.execute(update(Project).values(message_days=30))
    assert delete_old_messages(shop, NOON + timedelta(days=31)) == 1
    assert rows(shop, TextMessage) == []
