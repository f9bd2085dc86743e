"""R14: what receivers are told of a forgotten caller's calls, and what is kept of it."""

import threading
from typing import Any

import pytest
from sqlalchemy import select

from router.accounts.audit import Actor
from router.accounts.models import Project
from router.integrations.base import Message
from router.integrations.forgetting import connect_forgetting
from router.integrations.models import DeliveryAttempt, Lead, ReceiverHealth
from router.integrations.outbox import fan_out, replay
from router.integrations.queue import Outcome, remember
from router.integrations.worker import DeliveryWorker
from router.scenarios.models import Scenario
from router.voice.forgetting import Erased, forget_caller
from router.voice.models import Call
from tests.factories import make_call
from tests.integrations.conftest import Office
from tests.integrations.outbox import DONE, add, claims, deliveries, end, ended_call
from tests.people import NOW

ANNA, BERT = "+14155550177", "+14155550188"
FORGOTTEN = "the caller was forgotten"


class Sender:
    """Keeps the messages that it is to deliver."""

    def __init__(self) -> None:
        self.callers: list[str | None] = []

    def deliver(self, message: Message) -> dict[str, Any]:
        self.callers.append(message.call["caller"])
        return {"status": 200}


@pytest.fixture
def sender() -> Sender:
    return Sender()


def forget(office: Office, caller: str = ANNA) -> Erased:
    connect_forgetting()
    with office.database.writing() as session:
        project = session.get_one(Project, office.project_id)
        return forget_caller(office.server, session, project, caller, Actor("alice@example.com"), NOW)


def send(office: Office, sender: Sender) -> None:
    DeliveryWorker(office.server, senders={"webhook": sender, "odoo": sender, "ga4": sender}, threads=2).run_once(NOW)


def test_r14_a_message_that_is_not_sent_yet_goes_without_the_number_and_makes_no_lead(
    office: Office, sender: Sender
) -> None:
    add(office, "webhook_end", "webhook")
    add(office, "crm", "odoo", "crm")
    ended_call(office, caller=ANNA)
    ended_call(office, caller=BERT)
    assert forget(office) == Erased(1, 1, 0), "only the CRM's names the caller"
    send(office, sender)
    assert sorted(sender.callers, key=str) == [BERT, BERT, None]
    states = {(each.receiver, each.call_id): (each.state, each.reason) for each in deliveries(office.database)}
    assert sorted(states.values()) == [("done", ""), ("done", ""), ("done", ""), ("skipped", FORGOTTEN)]
    assert [reason for (receiver, _), (_, reason) in states.items() if receiver == "crm"] == [FORGOTTEN, ""]


def test_r14_a_replay_makes_no_second_lead(office: Office, sender: Sender) -> None:
    add(office, "crm", "odoo", "crm")
    ended_call(office, caller=ANNA)
    send(office, sender)
    forget(office)
    with office.database.writing() as session:
        replay(session, office.project_id, deliveries(office.database)[0].id, NOW)
    send(office, sender)
    assert sender.callers == [ANNA]
    assert [(each.state, each.reason) for each in deliveries(office.database)] == [("skipped", FORGOTTEN)]


def test_r14_an_event_of_a_forgotten_callers_call_names_nobody(office: Office) -> None:
    add(office, "crm", "odoo", "crm")
    with office.database.writing() as session:
        call_id = make_call(session, session.get_one(Scenario, office.scenario_id), caller=ANNA).id
    forget(office)
    with office.database.writing() as session:
        call = session.get_one(Call, call_id)
        fan_out(session, call, "call.ended", NOW)
        assert call.forgotten_id is not None
        expected = f"crm|forgotten {call.forgotten_id}"
    assert [each.order_key for each in deliveries(office.database)] == [expected]


def test_r14_leads_and_answers_lose_the_number(office: Office) -> None:
    add(office, "crm", "odoo", "crm")
    ended_call(office, caller=ANNA)
    ended_call(office, caller=BERT)
    refused = Outcome("dead", "No user has the telephone +1 (415) 555-0177.", status=400)
    for _ in range(2):
        (one,) = claims(office.database)
        with office.database.writing() as session:
            assert remember(session, one, {"lead_id": 7, "warning": f"{ANNA} is odd"}, NOW)
        end(office.database, one, refused)
    with office.database.writing() as session:
        session.add(ReceiverHealth(receiver="crm", failures=1, last_error=f"{ANNA} is refused"))
    assert forget(office).messages == 1
    mine, others = deliveries(office.database)
    assert (mine.reason, mine.reference["warning"]) == ("No user has the telephone ….", "… is odd")
    assert mine.reference["lead_id"] == 7
    assert ANNA in others.reference["warning"]
    with office.database.reading() as session:
        assert session.scalars(select(Lead.caller)).all() == [BERT]
        texts = [*session.scalars(select(DeliveryAttempt.message)), *session.scalars(select(ReceiverHealth.last_error))]
    assert sorted(texts) == sorted(["No user has the telephone ….", refused.message, "… is refused"])


def test_r14_an_answer_that_comes_afterwards_brings_no_number_back(office: Office) -> None:
    add(office, "crm", "odoo", "crm")
    ended_call(office, caller=ANNA)
    (one,) = claims(office.database)
    forget(office)
    with office.database.writing() as session:
        assert remember(session, one, {"lead_id": 7}, NOW)
    assert end(office.database, one, Outcome("dead", f"{ANNA} is refused", status=400))
    with office.database.reading() as session:
        assert session.scalars(select(Lead)).all() == []
        assert ANNA not in session.scalars(select(DeliveryAttempt.message)).one()
    assert ANNA not in deliveries(office.database)[0].reason


def test_r14_a_lead_that_is_being_noted_is_forgotten_with_the_caller(office: Office) -> None:
    add(office, "crm", "odoo", "crm")
    ended_call(office, caller=ANNA)
    (one,) = claims(office.database)
    other = threading.Thread(target=forget, args=(office,))
    with office.database.writing() as session:
        assert remember(session, one, {"lead_id": 7}, NOW)
        other.start()
        other.join(1.0)
    other.join()
    with office.database.reading() as session:
        assert session.scalars(select(Call.caller)).all() == [None]
        assert session.scalars(select(Lead)).all() == []


def test_r14_what_was_sent_stays_sent(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office, caller=ANNA)
    (one,) = claims(office.database)
    end(office.database, one, DONE)
    forget(office)
    assert [each.state for each in deliveries(office.database)] == ["done"]
