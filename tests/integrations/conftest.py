"""A server with one project, one scenario and one call, whose outgoing requests may reach the loopback."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy.orm import Session

from router.config import Settings
from router.db import Database
from router.integrations.models import Integration
from router.integrations.worker import DeliveryWorker
from router.lib.crypto import KeyRing
from router.lib.http_client import Outgoing
from router.scenarios.models import Scenario
from router.server import Server
from tests.factories import make_integration, make_project, make_scenario
from tests.integrations.odoo import LOOPBACK, crm, stand_in  # noqa: F401 - fixtures
from tests.integrations.receiver import WEBHOOK_SECRET, Receiver, receiver


@dataclass
class Office:
    """Alice's project with what its deliveries need."""

    server: Server
    project_id: int
    scenario_id: int

    @property
    def database(self) -> Database:
        return self.server.database

    def worker(self, **more: Any) -> DeliveryWorker:
        """`more` is for its `Outgoing`."""
        outgoing = Outgoing(LOOPBACK, **{"total_seconds": 20.0, **more})
        return DeliveryWorker(self.server, outgoing=outgoing, threads=8, chance=lambda: 0.5)


def make_webhook(session: Session, scenario: Scenario, keys: KeyRing, url: str) -> Integration:
    """A webhook at the end of calls, signed with WEBHOOK_SECRET."""
    return make_integration(session, scenario, sealed=keys.seal(WEBHOOK_SECRET), config={"url": url})


@pytest.fixture
def office(settings: Settings, database: Database, keys: KeyRing) -> Office:
    server = Server(settings, database, keys)
    with database.writing() as session:
        project = make_project(session, name="Alice’s Garden", email="alice@garden.example")
        scenario = make_scenario(session, project, 0, title="Site")
        return Office(server, project.id, scenario.id)


@pytest.fixture
def inbox() -> Iterator[Receiver]:
    with receiver() as state:
        yield state


@pytest.fixture
def webhook(office: Office, inbox: Receiver) -> Integration:
    """A webhook at the end of calls that goes to the inbox."""
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        return make_webhook(session, scenario, office.server.keys, inbox.url + "/hook")
