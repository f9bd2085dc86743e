"""What an address may choose: its events, the names of the fields, POST or GET; and a secret that is being changed."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import time_machine
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from router.accounts.models import Project
from router.integrations.models import Delivery, DeliveryAttempt, Integration
from router.integrations.outbox import fan_out
from router.integrations.webhook import EVENTS, WebhookSettings, new_secret
from router.integrations.webhook.formats import MEMBERS, unknown_in
from router.scenarios.models import Scenario
from router.voice.calls import CALL_EVENTS
from router.voice.models import Call
from router.web.api import parse
from router.web.errors import Problem
from tests.factories import CALLER, lease_decision, make_call, make_visit
from tests.integrations.conftest import Office
from tests.integrations.receiver import WEBHOOK_SECRET, Receiver, Request
from tests.people import NOW


def choose(office: Office, **more: Any) -> None:
    """As the form stores it."""
    with office.database.writing() as session:
        row = session.scalars(select(Integration)).one()
        row.config = row.config | more
        row.events = f",{','.join(more['events'])}," if more.get("events") else ""


def a_call(office: Office, *events: str, **more: Any) -> int:
    with office.database.writing() as session:
        project = session.get_one(Project, office.project_id)
        fields = {"ended_at": NOW} | lease_decision(make_visit(session, project, more.pop("visit", 10234))) | more
        call = make_call(session, session.get_one(Scenario, office.scenario_id), **fields)
        for event in events or ("call.ended",):
            fan_out(session, call, event, NOW)
        return call.id


def sent(office: Office, inbox: Receiver) -> Request:
    office.worker().run_once(NOW)
    (request,) = inbox.requests
    return request


def test_an_address_gets_the_events_that_it_chose(office: Office, webhook: Integration, inbox: Receiver) -> None:
    a_call(office, *EVENTS)
    office.worker().run_once(NOW)
    assert [request.json["type"] for request in inbox.requests] == ["call.ended"]
    inbox.requests.clear()
    choose(office, events=["call.answered", "call.recorded", "call.updated"])
    a_call(office, *EVENTS, visit=10235)
    office.worker().run_once(NOW)
    assert {request.json["type"] for request in inbox.requests} == {"call.answered", "call.recorded", "call.updated"}
    assert set(EVENTS) == {f"call.{name}" for name in CALL_EVENTS}


def test_a_call_that_changes_twice_is_told_twice_with_another_id(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    choose(office, events=["call.updated"])
    call_id = a_call(office, "call.updated")
    worker = office.worker()
    worker.run_once(NOW)
    later = NOW + timedelta(minutes=5)
    with office.database.writing() as session:
        fan_out(session, session.get_one(Call, call_id), "call.updated", later)
    worker.run_once(later)
    first, second = inbox.requests
    assert first.headers["webhook-id"] != second.headers["webhook-id"]
    assert [request.json["timestamp"] for request in inbox.requests] == [
        "2026-11-23T12:00:00.000Z",
        "2026-11-23T12:05:00.000Z",
    ]


def test_roistats_names(office: Office, webhook: Integration, inbox: Receiver) -> None:
    choose(office, format="roistat")
    a_call(office, talk_seconds=63)
    body = sent(office, inbox).json
    assert (body["caller"], body["callee"]) == (CALLER.removeprefix("+"), body["callee"].removeprefix("+"))
    assert (body["visit_id"], body["utm_campaign"], body["status"], body["duration"]) == (
        "10234",
        "spring",
        "ANSWER",
        63,
    )
    assert body["date"] == "2026-11-23 07:00:00"
    assert body["marker"] == "google_cpc_spring"
    assert {"order_id", "custom_fields", "first_visit", "roistat_param_5", "link", "file_id"} <= body.keys()


def test_callrails_names(office: Office, webhook: Integration, inbox: Receiver) -> None:
    choose(office, format="callrail")
    a_call(office, talk_seconds=63)
    body = sent(office, inbox).json
    expected = {
        "type": "postcall",
        "answered": True,
        "call_type": "answered",
        "duration": "63",
        "customer_phone_number": CALLER,
        "callernum": CALLER,
        "direction": "inbound",
        "utm_campaign": "spring",
        "medium": "cpc",
        "gclid": "Cj0KCQ",
    }
    assert {name: body.get(name) for name in expected} == expected
    assert None not in body.values()


def test_a_template_names_its_fields_itself(office: Office, webhook: Integration, inbox: Receiver) -> None:
    template = {
        "who": "{caller} after {duration} s",
        "from": "{source.source}/{utmCampaign}",
        "own": "{param.order}",
        "{odd}": "{first_call}",
    }
    choose(office, format="template", template=template)
    a_call(office, talk_seconds=63)
    assert sent(office, inbox).json == {
        "who": f"{CALLER} after 63 s",
        "from": "google/spring",
        "own": "",
        "{odd}": "true",
    }


@pytest.mark.parametrize("name", ["own", "callrail", "roistat", "template"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_call_of_which_little_is_known_has_a_message_in_each_format(
    office: Office, webhook: Integration, inbox: Receiver, name: str
) -> None:
    template = {member: f"{{{member}}}" for member in MEMBERS}
    choose(office, format=name, template=template)
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        bare = {"caller": None, "visit_id": None, "source": None, "destination": "", "talk_seconds": None}
        call = make_call(session, scenario, ended_at=NOW, status="abandoned", answered_at=None, **bare)
        fan_out(session, call, "call.ended", NOW)
    body = sent(office, inbox).json
    assert "null" not in str(body).replace("None", "")
    with office.database.reading() as session:
        assert session.scalars(select(Delivery.state)).one() == "done"


def test_a_get_brings_everything_in_its_query_signed(office: Office, webhook: Integration, inbox: Receiver) -> None:
    choose(office, method="GET", url=f"{inbox.url}/hook?token=a%20b")
    a_call(office, talk_seconds=63)
    request = sent(office, inbox)
    assert (request.method, request.body) == ("GET", b"")
    query = urlsplit(request.path).query
    values = dict(parse_qsl(query, keep_blank_values=True))
    assert (values["token"], values["type"], values["data.caller"]) == ("a b", "call.ended", CALLER)
    assert values["data.source.campaign"] == "spring"
    with time_machine.travel(NOW, tick=False):  # it reads the signed text as JSON, which a query is not
        with pytest.raises(ValueError, match="Expecting value"):
            Webhook(WEBHOOK_SECRET).verify(query, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(WEBHOOK_SECRET).verify(query + "&x=1", dict(request.headers))


def test_while_a_secret_is_changed_both_sign_for_a_day(office: Office, webhook: Integration, inbox: Receiver) -> None:
    fresh = new_secret()
    with office.database.writing() as session:
        row = session.scalars(select(Integration)).one()
        row.sealed_before, row.sealed = row.sealed, office.server.keys.seal(fresh)
        row.earlier_until = NOW + timedelta(hours=24)
    a_call(office)
    request = sent(office, inbox)
    with time_machine.travel(NOW, tick=False):
        for secret in (WEBHOOK_SECRET, fresh):
            Webhook(secret).verify(request.body, dict(request.headers))
    inbox.requests.clear()
    a_call(office, visit=10235)
    office.worker().run_once(later := NOW + timedelta(hours=24))
    (request,) = inbox.requests
    with time_machine.travel(later, tick=False):
        Webhook(fresh).verify(request.body, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(WEBHOOK_SECRET).verify(request.body, dict(request.headers))


def test_what_it_answered_is_kept_without_the_secret(office: Office, webhook: Integration, inbox: Receiver) -> None:
    inbox.answer = lambda request: (200, {}, f"thanks {WEBHOOK_SECRET} ".encode() + b"x" * 5000)
    a_call(office)
    sent(office, inbox)
    with office.database.reading() as session:
        attempt = session.scalars(select(DeliveryAttempt)).one()
        assert session.scalars(select(Delivery.reference)).one() == {}
    assert attempt.answer.startswith("thanks [secret] xxx")
    assert len(attempt.answer) == 2000


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"events": ["call.began"]}, "events.0", ""),
        ({"format": "template"}, "template", "Write what the template sends"),
        ({"template": {"a": "{nobody}"}}, "template", "There is nothing named {nobody}"),
        ({"template": {"": "x"}}, "template", "no name of a field"),
        ({"method": "PUT"}, "method", ""),
    ],
)
def test_what_cannot_be_sent_is_refused(typed: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Problem) as refused:
        parse(WebhookSettings, {"url": "https://example.com"} | typed)
    assert (refused.value.field, words in refused.value.detail) == (field, True)


def test_events_are_kept_once_in_the_order_of_a_call() -> None:
    chosen = ["call.updated", "call.started", "call.updated"]
    assert parse(WebhookSettings, {"url": "https://x.example", "events": chosen}).events == [
        "call.started",
        "call.updated",
    ]


def test_a_template_may_name_all_members_and_the_places_of_crm_fields() -> None:
    assert unknown_in("".join(f"{{{name}}}" for name in (*MEMBERS, "utmSource", "gclid", "param.order"))) is None
    assert unknown_in("{source}{source.campaign}{call.sid}") == "call.sid"
