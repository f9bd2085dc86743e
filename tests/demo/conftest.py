"""The demo's web application with its company, and the outside world beside it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from router.accounts.models import Project
from router.config import Settings
from router.db import Database
from router.demo.company import FILE, Places, found_company
from router.demo.outside import outside_world
from router.lib.crypto import KeyRing
from tests.application import Applications

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)


@pytest.fixture
def places(settings: Settings) -> Places:
    """As `router demo` leaves them in the data folder; the port is set when the outside world has one."""
    found = Places(0, "exchange-key", "crm-key", "whsec_" + "A" * 32)
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / FILE).write_text(json.dumps(asdict(found)))
    return found


@pytest.fixture
def company(database: Database, keys: KeyRing, places: Places) -> Project:
    with database.writing() as session:
        return found_company(session, keys, places, ["shop.example"], "hash", NOW).project


@pytest.fixture
def client(settings: Settings, applications: Applications, company: Project) -> Iterator[FlaskClient]:
    with applications.with_settings(settings.model_copy(update={"demo": True})) as app:
        yield app.test_client()


@pytest.fixture
def outside(settings: Settings, places: Places) -> Iterator[str]:
    """The address of a running outside world, whose carrier finds nobody at the web server's address."""
    world = outside_world(settings.model_copy(update={"public_url": "http://127.0.0.1:9"}), places)
    world.start()
    port = int(world.address.rpartition(":")[2])
    (settings.data_dir / FILE).write_text(json.dumps(asdict(places) | {"port": port}))
    yield world.address
    world.close()
