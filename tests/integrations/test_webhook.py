"""Webhooks: an independent implementation of Standard Webhooks verifies what we sign; the shape is the API's."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from router.accounts.models import Project
from router.integrations.models import Delivery, DeliveryAttempt, Integration, ReceiverHealth
from router.integrations.outbox import fan_out, replay
from router.integrations.webhook import new_secret, secret_bytes, sign
from router.scenarios.models import Scenario
from tests.factories import CALLER, lease_decision, make_call, make_visit
from tests.integrations.conftest import Office
from tests.integrations.receiver import WEBHOOK_SECRET, Receiver
from tests.people import NOW


def end_call(office: Office, **more: Any) -> None:
    with office.database.writing() as session:
        project = session.get_one(Project, office.project_id)
        scenario = session.get_one(Scenario, office.scenario_id)
        fields = {"ended_at": NOW} | lease_decision(make_visit(session, project, 10234)) | more
        call = make_call(session, scenario, **fields)
        fan_out(session, call, "call.ended", NOW)


def only_delivery(office: Office) -> Delivery:
    with office.database.reading() as session:
        return session.scalars(select(Delivery)).one()


def verified(body: bytes, headers: dict[str, str], secret: str = WEBHOOK_SECRET) -> Any:
    """What the independent library reads at the time of these tests."""
    with time_machine.travel(NOW, tick=False):
        return Webhook(secret).verify(body, headers)


def test_the_receiver_gets_the_call_with_its_source_signed(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    end_call(office)
    assert office.worker().run_once(NOW) == 1
    (request,) = inbox.requests
    body = verified(request.body, dict(request.headers))
    assert (body["type"], body["timestamp"]) == ("call.ended", "2026-11-23T12:00:00.000Z")
    data = body["data"]
    assert set(data) == {
        *("id", "sid", "kind", "started_at", "caller", "number", "scenario", "destination", "status", "first_call"),
        *("ring_seconds", "duration", "visit", "landing_page", "referrer", "source", "attribution", "click_ids", "ga"),
        *("params", "recording", "recordings", "deliveries", "blocked"),
    }
    assert (data["caller"], data["visit"], data["source"]["campaign"]) == (CALLER, 10234, "spring")
    assert [(one["slot"], one["state"]) for one in data["deliveries"]] == [("webhook_end", "leased")]
    delivery = only_delivery(office)
    assert (delivery.state, delivery.message_id) == ("done", request.headers["webhook-id"])


def test_a_signature_does_not_verify_under_another_secret(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    end_call(office)
    office.worker().run_once(NOW)
    with pytest.raises(WebhookVerificationError):
        verified(inbox.requests[0].body, dict(inbox.requests[0].headers), new_secret())


def test_the_id_stays_the_same_over_attempts_and_replays(office: Office, webhook: Integration, inbox: Receiver) -> None:
    statuses = iter([500, 200, 200])
    inbox.answer = lambda request: (next(statuses), {}, b"")
    end_call(office)
    worker = office.worker()
    worker.run_once(NOW)
    assert only_delivery(office).state == "pending"
    worker.run_once(NOW + timedelta(seconds=6))
    delivery = only_delivery(office)
    assert delivery.state == "done"
    with office.database.writing() as session:
        replay(session, office.project_id, delivery.id, NOW)
    worker.run_once(NOW + timedelta(minutes=1))
    assert len({request.headers["webhook-id"] for request in inbox.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in inbox.requests}) == 3


def test_a_receiver_that_is_gone_is_switched_off_at_once(office: Office, webhook: Integration, inbox: Receiver) -> None:
    inbox.answer = lambda request: (410, {}, b"no more")
    end_call(office)
    worker = office.worker()
    worker.run_once(NOW)
    delivery = only_delivery(office)
    assert (delivery.state, delivery.reason) == ("pending", "The receiver answered 410. no more")
    with office.database.reading() as session:
        assert session.scalars(select(ReceiverHealth.switched_off_at)).one() == NOW
    worker.run_once(NOW + timedelta(days=1))
    assert len(inbox.requests) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
def test_anything_but_2xx_is_tried_again(office: Office, webhook: Integration, inbox: Receiver, status: int) -> None:
    inbox.answer = lambda request: (status, {"Location": "http://127.0.0.1:1/"}, b"")
    end_call(office)
    office.worker().run_once(NOW)
    assert (only_delivery(office).state, only_delivery(office).attempts) == ("pending", 1)


@pytest.mark.parametrize("wish", ["120", "Mon, 23 Nov 2026 12:02:00 GMT"])
def test_retry_after_is_honoured(office: Office, webhook: Integration, inbox: Receiver, wish: str) -> None:
    inbox.answer = lambda request: (503, {"Retry-After": wish}, b"")
    end_call(office)
    office.worker().run_once(NOW)
    assert only_delivery(office).next_at == NOW + timedelta(minutes=2)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("wish", ["soon", "-5", "999999999999999999999", "", "Mon, 99 Nov 2026"])
def test_a_nonsensical_retry_after_breaks_nothing(
    office: Office, webhook: Integration, inbox: Receiver, wish: str
) -> None:
    inbox.answer = lambda request: (429, {"Retry-After": wish}, b"")
    end_call(office)
    office.worker().run_once(NOW)
    assert NOW < only_delivery(office).next_at <= NOW + timedelta(hours=24)


def test_a_receiver_that_sends_our_secret_back_does_not_put_it_on_the_page(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    inbox.answer = lambda request: (500, {}, f"oops {WEBHOOK_SECRET}".encode())
    end_call(office)
    office.worker().run_once(NOW)
    with office.database.reading() as session:
        attempt = session.scalars(select(DeliveryAttempt)).one()
    assert "oops" in attempt.message
    assert WEBHOOK_SECRET not in attempt.message + only_delivery(office).reason


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_with_control_characters_is_kept_without_them(
    office: Office, webhook: Integration, inbox: Receiver, packed: bool
) -> None:
    said = b"No\0t \x1b[31mnow\x85\xff."
    more = {"Content-Encoding": "gzip"} if packed else {}
    inbox.answer = lambda request: (500, more, gzip.compress(said) if packed else said)
    end_call(office)
    office.worker().run_once(NOW)
    delivery = only_delivery(office)
    with office.database.reading() as session:
        attempt = session.scalars(select(DeliveryAttempt)).one()
    assert (delivery.state, delivery.attempts, attempt.status) == ("pending", 1, 500)
    assert attempt.message == delivery.reason == "The receiver answered 500. Not [31mnow\ufffd\ufffd."


def test_a_webhook_to_a_private_address_is_dead_and_nothing_is_sent(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    with office.database.writing() as session:
        session.get_one(Integration, webhook.id).config = {"url": "https://10.0.0.1/hook"}
    end_call(office)
    office.worker().run_once(NOW)
    assert only_delivery(office).state == "dead"
    assert "not a public address" in only_delivery(office).reason


def test_a_webhook_that_was_removed_meanwhile_gets_nothing(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    end_call(office)
    with office.database.writing() as session:
        session.get_one(Integration, webhook.id).removed_at = NOW
    office.worker().run_once(NOW)
    assert inbox.requests == []
    assert only_delivery(office).state == "skipped"


@pytest.mark.parametrize("secret", ["", "abc", "whsec_", "whsec_!!", "whsec_c2hvcnQ=", "whsec_" + "QUFB" * 30])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError):
        secret_bytes(secret)


def test_the_exact_bytes_are_signed_also_beyond_ascii() -> None:
    secret = new_secret()
    body = json.dumps({"type": "é “ü” \U0001f4de"}, ensure_ascii=False).encode()
    headers = sign(secret, "msg_1", int(NOW.timestamp()), body)
    assert verified(body, headers, secret)["type"].startswith("é")
