"""A shop whose journal is applied when a test says so. Modules with a shop of their own have other fixtures of these names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient

from router.server import Server
from router.voice.applier import journal_folder
from router.voice.journal import Journal
from tests.factories import COMPANY_LINE, NOON, make_project, make_scenario
from tests.voice.carrier import CarrierClient
from tests.voice.journals import NUMBER, SECOND_LINE, Heard, Machines


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def shop(server: Server, clock: Any) -> Server:
    """Its journal is applied when a test says so."""
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=[COMPANY_LINE, SECOND_LINE])
    server.journal = Journal(journal_folder(server))
    return server


@pytest.fixture
def carrier(client: FlaskClient, shop: Server) -> CarrierClient:
    return CarrierClient(client, shop)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def machines(shop: Server, tmp_path: Path) -> Machines:
    return Machines(shop, tmp_path)
