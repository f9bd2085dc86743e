"""R11: which refusals concern a whole account at Odoo, and which one lead alone."""

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Access
from router.integrations.models import Delivery, Integration, ReceiverHealth
from router.integrations.odoo.client import OdooClient
from router.integrations.outbox import fan_out
from router.integrations.queue import PAUSES
from router.lib.http_client import Outgoing
from router.scenarios.models import Scenario
from tests.factories import make_call, make_integration
from tests.integrations.conftest import Office
from tests.integrations.odoo import LOOPBACK, Crm, new_number
from tests.integrations.receiver import Request, receiver
from tests.people import NOW

HTML = b"<html><h1>403 Forbidden</h1>"


def test_a_lead_that_a_firewall_refuses_holds_up_no_other_callers_leads(office: Office, crm: Crm) -> None:
    """A visit with `?utm_campaign=<script>`: the firewall before Odoo answers 403 to its lead, and to no other."""

    def firewall(request: Request) -> tuple[int, Mapping[str, str], bytes]:
        if b"<script>" in request.body:
            return 403, {"Content-Type": "text/html"}, HTML
        answer = Outgoing(LOOPBACK, total_seconds=15).post(crm.url + request.path, request.body, request.headers)
        return answer.status, {"Content-Type": "application/json"}, answer.body

    source = {"channel": "paid", "source": "google", "medium": "cpc", "campaign": "<script>"}
    other_callers = [new_number() for _ in range(6)]
    with receiver(firewall) as inbox:
        with office.database.writing() as session:
            scenario = session.get_one(Scenario, office.scenario_id)
            fields = {"contact_name": "{utmCampaign}"}
            config = {"url": inbox.url, "database": crm.database, "fields": fields}
            sealed = office.server.keys.seal(crm.key)
            make_integration(session, scenario, "crm", "odoo", sealed=sealed, config=config)
            bad = make_call(session, scenario, caller=crm.caller, source=source, ended_at=NOW)
            fan_out(session, bad, "call.ended", NOW)
        worker, now = office.worker(), NOW
        for turn, pause in enumerate(PAUSES):
            now += pause * 1.2
            with office.database.writing() as session:
                scenario = session.get_one(Scenario, office.scenario_id)
                for caller in other_callers[turn : turn + 1]:
                    fan_out(session, make_call(session, scenario, caller=caller, ended_at=now), "call.ended", now)
            worker.run_once(now)
            with office.database.reading() as session:
                states = session.scalars(select(Delivery.state).where(Delivery.call_id != bad.id)).all()
                assert set(states) <= {"done"}, "another caller's lead waited"
            now += timedelta(minutes=31)
    with office.database.reading() as session:
        delivery = session.scalars(select(Delivery).where(Delivery.call_id == bad.id)).one()
    assert (delivery.state, delivery.attempts) == ("dead", len(PAUSES))
    assert "403" in delivery.reason


def test_a_campaign_that_a_firewall_refuses_is_left_out_and_told(crm: Crm) -> None:
    def firewall(request: Request) -> tuple[int, Mapping[str, str], bytes]:
        if b"<script>" in request.body:
            return 403, {"Content-Type": "text/html"}, HTML
        answer = Outgoing(LOOPBACK, total_seconds=15).post(crm.url + request.path, request.body, request.headers)
        return answer.status, {"Content-Type": "application/json"}, answer.body

    source = {"source": "google", "medium": "cpc", "campaign": "<script>"}
    with receiver(firewall) as inbox:
        answer, _ = crm.send(crm.message(call={"source": source}, config={"url": inbox.url}))
    assert "without campaign_id" in answer["warning"]
    assert crm.lead(answer["record"])["campaign_id"] is False


MODEL = (
    "You are not allowed to create 'Lead' (crm.lead) records.\n\nThis operation is allowed for the following groups:\n"
    "\t- Sales/User: Own Documents Only\n\nContact your administrator to request access if necessary."
)
FIELD = 'You do not have enough rights to access the field "phone" on Lead (crm.lead). Please contact your system administrator.'
RECORD = (
    "Uh-oh! Looks like you have stumbled upon some top-secret records.\n\nSorry, Anna (id=7) doesn't have 'write' access"
    " to:\n- Lead (crm.lead)\n\nIf you really, really need access, perhaps you can win over your friendly administrator"
)
ACCESS = "odoo.exceptions.AccessError"
NOT_FOUND = "werkzeug.exceptions.NotFound"


@pytest.mark.parametrize(
    ("status", "body", "concerns_the_account", "permanent"),
    [
        (401, {"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"}, True, False),
        (401, None, True, False),
        (403, {"name": ACCESS, "message": MODEL}, True, False),
        (403, {"name": ACCESS, "message": FIELD}, True, False),
        (403, {"name": "odoo.exceptions.AccessDenied", "message": "Access Denied"}, True, False),
        (404, {"name": NOT_FOUND, "message": "the model 'crm.lead' does not exist"}, True, False),
        (403, {"name": ACCESS, "message": RECORD}, False, False),
        (402, None, False, False),
        (403, None, False, False),
        (403, {"error": "blocked"}, False, False),
        (403, {"name": None, "message": MODEL}, False, False),
        (404, None, False, False),
        (406, None, False, False),
        (413, None, False, False),
        (400, {"name": "werkzeug.exceptions.BadRequest", "message": "could not parse"}, False, True),
        (422, {"name": "odoo.exceptions.ValidationError", "message": "No"}, False, True),
    ],
)
def test_only_odoos_own_words_about_key_and_model_concern_the_account(
    status: int, body: Any, concerns_the_account: bool, permanent: bool
) -> None:
    content = HTML if body is None else json.dumps(body).encode()
    with receiver(lambda request: (status, {}, content)) as inbox:
        message = Crm(inbox.url, "db", "the-key", "").message(deadline=time.monotonic() + 5)
        with pytest.raises(DeliveryError) as refused:
            OdooClient(Outgoing(LOOPBACK), Access.of(message)).search("crm.lead", [], ["id"])
    assert (refused.value.refused_account, refused.value.permanent) == (concerns_the_account, permanent)


def test_a_refused_key_loses_no_lead(office: Office, crm: Crm) -> None:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        config = {"url": crm.url, "database": crm.database}
        make_integration(session, scenario, "crm", "odoo", sealed=office.server.keys.seal("expired"), config=config)
        fan_out(
            session,
            make_call(session, scenario, caller=crm.caller, ended_at=NOW, sid=f"CA{crm.caller[1:]}"),
            "call.ended",
            NOW,
        )
    worker, now = office.worker(), NOW
    for _ in range(len(PAUSES) + 2):
        worker.run_once(now)
        now += timedelta(minutes=31)
    with office.database.writing() as session:
        delivery = session.scalars(select(Delivery)).one()
        assert (delivery.state, delivery.attempts) == ("pending", 0)
        assert session.scalars(select(ReceiverHealth.open_until)).one() is not None
        session.scalars(select(Integration)).one().sealed = office.server.keys.seal(crm.key)
    worker.run_once(now)
    assert len(crm.leads()) == 1
