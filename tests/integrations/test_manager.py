"""R10: the responsible person of a lead is the scenario's manager, else the integration's; from the call to the CRM."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import pytest
from sqlalchemy import select

from router.demo.odoo import OdooFake
from router.integrations.models import Delivery
from router.integrations.outbox import fan_out
from router.scenarios.models import Scenario
from tests.factories import make_call, make_integration
from tests.integrations.conftest import Office
from tests.integrations.odoo import Crm, Quiet
from tests.people import NOW


@pytest.fixture
def crm() -> Iterator[Crm]:
    fake = OdooFake("crmtest", "the-key")
    with make_server("127.0.0.1", 0, fake, WSGIServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Crm(f"http://127.0.0.1:{server.server_address[1]}", "crmtest", "the-key", "the-key")
        server.shutdown()
        thread.join()


def responsible(office: Office, crm: Crm, of_scenario: str, of_integration: str) -> Any:
    """Who is responsible for the lead of a new caller, as the CRM says."""
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        scenario.manager = of_scenario
        config = {"url": crm.url, "database": crm.database, "manager": of_integration, "fields": {}}
        make_integration(session, scenario, "crm", "odoo", sealed=office.server.keys.seal(crm.key), config=config)
        fan_out(session, make_call(session, scenario, caller=crm.caller), "call.ended", NOW)
    worker = office.worker()
    worker.run_once(NOW + timedelta(seconds=5))
    with office.database.reading() as session:
        assert session.scalars(select(Delivery.state)).all() == ["done"]
    (lead,) = crm.leads()
    return lead["user_id"] and lead["user_id"][1]


@pytest.mark.parametrize(
    ("of_scenario", "of_integration", "expected"),
    [
        ("", "", False),
        ("", "admin", "Administrator"),
        ("admin", "nobody@example.com", "Administrator"),
        ("admin", "", "Administrator"),
        ("nobody@example.com", "admin", "Administrator"),
        ("nobody@example.com", "nobody@example.com", False),
        ("nobody@example.com", "somebody@example.com", False),
    ],
)
def test_r10_the_scenarios_manager_is_responsible_else_the_integrations_else_nobody(
    office: Office, crm: Crm, of_scenario: str, of_integration: str, expected: Any
) -> None:
    assert responsible(office, crm, of_scenario, of_integration) == expected
