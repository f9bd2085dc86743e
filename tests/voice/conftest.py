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
from tests.factories import NOON
from tests.voice.carrier import CarrierClient
from tests.voice.journals import Heard, Machines


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def shop(shop_with_two_lines: int, server: Server, clock: Any) -> Server:
    """Its journal is applied when a test says so."""
    server.journal = Journal(journal_folder(server), 2**20)
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
