"""Both databases for every test that asks for `database`: SQLite in a temporary folder, and a PostgreSQL that the run starts itself."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import time_machine
from flask import Flask
from flask.testing import FlaskClient

import tests.attribution.planner.furniture
import tests.integrations.furniture  # noqa: F401 - what it furnishes
from router.app import create_app
from router.config import Settings
from router.db import Database, migrate
from router.lib.crypto import KeyRing, load_keys
from router.operations import configure_logs
from router.server import Server
from tests import furnishing  # noqa: F401 - fills the project that the walk over all addresses visits
from tests.people import Cast, create_cast
from tests.postgres import EmptyDatabases, postgres_cluster
from tests.properties import load_profile
from tests.warm import keep_what_is_compiled
from tests.world import NOON

load_profile()
keep_what_is_compiled()
configure_logs("warning")  # as in production: structlog's own default draws every traceback for seconds

SECRET = "test-secret-key-0123456789"

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)  # its own tracebacks show every local variable, which takes seconds


def pytest_collection_finish() -> None:
    """What is there before the first test stays: the garbage collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[EmptyDatabases]:
    """A running PostgreSQL of this test process."""
    with postgres_cluster() as url:
        databases = EmptyDatabases(url)
        yield databases
        databases.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}", pool_size=1)
    migrate(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a migrated, empty database of this test's own."""
    if database_kind == "sqlite":
        path = tmp_path / "data" / "router.db"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    databases: EmptyDatabases = request.getfixturevalue("postgres_databases")
    address = databases.take()
    yield address
    databases.give_back(address)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        secret_key=SECRET,
        public_url="https://calls.example.net",
        fallback_destination="+14155550199",
        twilio_auth_token="test-twilio-token",
        visit_rate="off",
    )


@pytest.fixture
def keys(settings: Settings) -> KeyRing:
    return load_keys(settings)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The whole web application on this test's database; its forms need no CSRF token."""
    app = create_app(settings)
    app.config.update(TESTING=True, WTF_CSRF_ENABLED=False)
    yield app
    server: Server = app.extensions["router"]
    server.database.dispose()


@pytest.fixture
def server(app: Flask) -> Server:
    found: Server = app.extensions["router"]
    return found


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still at noon, until the test moves it on."""
    with time_machine.travel(NOON, tick=False) as coordinates:
        yield coordinates


@pytest.fixture
def cast(database: Database) -> Cast:
    """Alice, Bob, Charlie, Olivia, their projects and tokens."""
    return create_cast(database)


@pytest.fixture(autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own ROUTER_* variables must not change what a test sees."""
    found = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("ROUTER_", "TWILIO_"))}
    yield
    os.environ.update(found)
