"""One line in the registry puts a vendor into the wizard, the API, the outbox, the worker and the pages."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.db import Database
from router.integrations.models import Delivery, Integration, Lead
from router.integrations.outbox import fan_out
from router.integrations.vendors import VENDORS, slots, vendors_in
from router.integrations.worker import DeliveryWorker
from router.lib.http_client import Outgoing
from router.scenarios.models import Scenario
from tests.factories import CALLER, make_call
from tests.integrations.conftest import LOOPBACK
from tests.integrations.example_vendor import EXAMPLE
from tests.integrations.receiver import Receiver
from tests.people import NOW, Cast, bearer, sign_in
from tests.scenarios.wizard.test_wizard import begin


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VENDORS, EXAMPLE.kind, EXAMPLE)


def integrations_step(client: FlaskClient) -> str:
    """The address of the step in a new draft that has come so far."""
    base = begin(client)
    for step in ("numbers", "forwarding", "tagging", "channels"):
        client.post(f"{base}/{step}", data={"title": "Site", "do": "continue"})
    return f"{base}/integrations"


@pytest.mark.usefixtures("example")
def test_a_new_vendor_is_everywhere_by_one_line(
    app: Flask, client: FlaskClient, database: Database, cast: Cast, inbox: Receiver
) -> None:
    inbox.answer = lambda request: (201, {"X-Card": "77"}, b"{}")
    server = app.extensions["router"]
    server.settings = server.settings.model_copy(update={"allow_private": LOOPBACK})
    server.now = lambda: NOW
    alice = sign_in(client, cast.alice)
    step = integrations_step(alice)

    def typed(verb: str, **fields: str) -> Any:
        named = {f"integrations.crm.{name}": value for name, value in fields.items()}
        return alice.post(step, data={"title": "Site", "do": verb, "manager": "anna"} | named)

    shown = alice.get(step).text
    assert '<option value="example">Example, any version</option>' in shown
    assert "Made in the preferences of an Odoo user" in shown

    shown = typed("keep", kind="example").text
    assert '<option value="example" selected>' in shown
    for label in ("Address of the board", "Board", "As its address ends.", "Token", "Calls are urgent"):
        assert label in shown
    assert "A lead only for a new customer" in shown, "what every CRM has"
    assert "Made in the preferences of an Odoo user" not in shown

    refused = typed("save", kind="example", url=inbox.url, board="", token="t0ken").text
    assert 'id="integrations.crm.board-error"' in refused
    assert "t0ken" not in refused
    stored = typed("save", kind="example", url=inbox.url, board="calls", urgent="1", manager="bob")
    assert stored.status_code == 302, "the token was kept"

    place = inbox.url.removeprefix("http://")
    with database.writing() as session:
        scenario = session.scalars(select(Scenario).where(Scenario.title == "Site")).one()
        integration = session.scalars(select(Integration)).one()
        assert (integration.slot, integration.kind) == ("crm", "example")
        assert integration.receiver == f"example:{cast.project.id}:{place}/calls"
        assert server.keys.unseal(integration.sealed) == "t0ken"
        scenario.enabled = True
        call = make_call(session, scenario)
        fan_out(session, call, "call.ended", NOW)
        fan_out(session, call, "call.updated", NOW)
        call_id, scenario_id = call.id, scenario.id
    worker = DeliveryWorker(server, outgoing=Outgoing(LOOPBACK, total_seconds=20.0))
    assert worker.run_once(NOW) == 1, "it does not take call.updated"
    (request,) = inbox.requests
    assert (request.path, request.headers["authorization"]) == ("/calls", "Bearer t0ken")
    assert request.json == {"caller": CALLER, "urgent": True, "for": ["anna", "bob"]}
    with database.reading() as session:
        assert session.scalars(select(Delivery.order_key)).one() == f"{integration.receiver}|{CALLER}"
        assert session.scalars(select(Lead.external_id)).one() == "77"

    shown = alice.get("/deliveries").text
    assert f"Example CRM, {place}/calls</a>" in shown
    assert "Example CRM" in alice.get(f"/calls/{call_id}").text
    headers = bearer(cast.alice_token)
    document = client.get(f"/api/v1/projects/{cast.project.id}/scenarios/{scenario_id}", headers=headers).json
    assert document is not None
    crm = document["integrations"]["crm"]
    assert (crm["kind"], crm["board"], crm["urgent"], crm["manager"]) == ("example", "calls", True, "bob")
    assert "token" not in crm
    (delivery,) = client.get(f"/api/v1/projects/{cast.project.id}/deliveries", headers=headers).json["items"]  # type: ignore[index]  # None would fail the test
    assert (delivery["slot"], delivery["kind"], delivery["state"]) == ("crm", "example", "done")


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_secret_does_not_go_from_one_vendor_to_another(app: Flask, client: FlaskClient, cast: Cast) -> None:
    alice = sign_in(client, cast.alice)
    step = integrations_step(alice)
    prefix = "integrations.crm"
    crm = {f"{prefix}.kind": "odoo", f"{prefix}.url": "https://crm.example.com", f"{prefix}.key": "k3y"}
    assert "Typed, kept sealed" in alice.post(step, data={"do": "keep"} | crm).text
    crm |= {f"{prefix}.kind": "example", f"{prefix}.key": ""}
    assert "Typed, kept sealed" not in alice.post(step, data={"do": "keep"} | crm).text


def test_what_a_vendor_declares_is_among_its_settings() -> None:
    for kind, vendor in VENDORS.items():
        assert vendor.kind == kind
        named = {vendor.sealed, vendor.address, vendor.decides} - {""}
        assert named <= vendor.settings.model_fields.keys()
        assert vendor.address or vendor.account, "something has to name the receiver"
        assert not vendor.account or vendor.account in vendor.settings.model_fields
        assert all(info.title for info in vendor.settings.model_fields.values()), "the form needs labels"
    for slot in slots().values():
        assert slot.names_kind or len(vendors_in(slot)) == 1, "without a kind nobody knows which vendor is meant"
