"""Both databases for every test that asks for `database`: SQLite in a temporary folder, and a PostgreSQL that the run starts itself."""

import gc
import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import structlog
import time_machine
from _pytest.runner import runtestprotocol
from flask import Flask
from flask.testing import FlaskClient

from router.carriers.base import Plan
from router.carriers.twilio import webhooks
from router.carriers.twilio.twiml import render
from router.config import Settings
from router.db import Database, migrate
from router.lib.crypto import KeyRing, load_keys
from router.operations import configure_logs
from router.server import Server
from router.voice import clocks
from tests.application import Applications, Engines
from tests.browser import pictures
from tests.carriers.twiml_checker import BadDocument, check_document
from tests.contents import content_for, make_content
from tests.factories import NOON
from tests.people import Cast
from tests.postgres import EmptyDatabases, postgres_cluster
from tests.properties import KINDS, PROFILE, load_profile
from tests.secret import SECRET

load_profile()
configure_logs("warning")  # as in production: structlog's own default draws every traceback for seconds
logging.getLogger("werkzeug").setLevel(logging.WARNING)  # which tells of each request otherwise

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)  # its own tracebacks show every local variable, which takes seconds


TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="keep a screenshot of each page in artefacts/pages")


def pytest_configure(config: pytest.Config) -> None:
    pictures.wanted = config.getoption("--pictures")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Whatever is made while tests are collected stays: there is no garbage to look for. Of two processes that collect all, one begins at
    the end, so that each finds half of the tests compiled by the other."""
    gc.disable()
    try:
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" and session.config.args == session.config.getini("testpaths"):
            for path in sorted(TESTS.rglob("test_*.py"), reverse=True):
                with suppress(Exception):  # pytest says itself what cannot be collected
                    import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What is there before the first test stays: the garbage collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A process of xdist's reports of a test its call, and what did not pass before and after it: each report costs as much as a small
    test, there and where it arrives."""
    if (
        "PYTEST_XDIST_WORKER" not in os.environ
        or item.config.getoption("durations")
        or item.config.getoption("xmlpath")
    ):
        return None
    for report in runtestprotocol(item, nextitem=nextitem, log=False):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


_folders = count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own. pytest's own fixture looks through those of all tests before for the next number, each time."""
    path = tmp_path_factory.getbasetemp() / f"test-{next(_folders)}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[EmptyDatabases]:
    """A running PostgreSQL of this test process."""
    with postgres_cluster() as url:
        databases = EmptyDatabases(url)
        yield databases
        databases.close()


class SQLiteTemplates:
    """Files with a migrated database: an empty one, and one with each content of tests/contents.py."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._values: dict[str | None, bytes] = {}

    def take(self, content: str | None) -> tuple[Path, bytes]:
        """A file to copy, and the pickled values of its content."""
        template = self._folder / f"{content or 'empty'}.db"
        if content not in self._values:
            if content:
                shutil.copy(self.take(None)[0], template)
            database = Database(f"sqlite:///{template}", pool_size=1)
            if not content:
                migrate(database)
            self._values[content] = pickle.dumps(make_content(content, database) if content else {})
            with database.engine.connect() as connection:
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            database.dispose()
        return template, self._values[content]


@pytest.fixture(scope="session")
def sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> SQLiteTemplates:
    return SQLiteTemplates(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def sqlite_template(sqlite_templates: SQLiteTemplates) -> Path:
    """The file with an empty database."""
    return sqlite_templates.take(None)[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that asks for a database runs on both kinds, unless it names one itself. Pages and their API (`one_database`) run on one
    of them, by turns: what they ask of the database is asked on both by the tests of the rules below them, and every page is opened on
    both by tests/faults/test_hostile_pages.py."""
    names = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "database_kind" not in metafunc.fixturenames or any("database_kind" in name for name in names):
        return
    kinds = KINDS
    if metafunc.definition.get_closest_marker("one_database") and PROFILE == "quick":
        kinds = (KINDS[crc32(metafunc.function.__name__.encode()) % 2],)
    metafunc.parametrize("database_kind", kinds, indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    engines = Engines(tmp_path_factory.mktemp("engines"))
    yield engines
    engines.close()


@dataclass
class Begin:
    """A test's own database and what is in it before the test."""

    url: str
    values: bytes


@pytest.fixture
def beginning(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[Begin]:
    """A migrated database, empty but for the content that the test asks for."""
    content = content_for(request.fixturenames)
    if database_kind == "sqlite":
        path = tmp_path / "data" / "router.db"
        path.parent.mkdir(exist_ok=True)
        templates: SQLiteTemplates = request.getfixturevalue("sqlite_templates")
        template, values = templates.take(content)
        shutil.copy(template, path)
        begin = Begin(f"sqlite:///{path}", values)
        engines.use(begin.url)
        yield begin
        engines.leave(begin.url)
        return
    databases: EmptyDatabases = request.getfixturevalue("postgres_databases")
    begin = Begin(*databases.take(content))
    engines.use(begin.url)
    yield begin
    engines.leave(begin.url)
    if not databases.give_back(begin.url):
        engines.forget(begin.url)


@pytest.fixture
def database_url(beginning: Begin) -> str:
    """Address of the test's own database."""
    return beginning.url


@pytest.fixture
def database(database_url: str, engines: Engines) -> Database:
    return engines.open(database_url)


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


@pytest.fixture(scope="session")
def applications(engines: Engines) -> Applications:
    return Applications(engines)


@pytest.fixture
def app(settings: Settings, applications: Applications) -> Iterator[Flask]:
    """The whole web application on this test's database; its forms need no CSRF token."""
    with applications.with_settings(settings) as app:
        yield app


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
def contents(beginning: Begin) -> dict[str, Any]:
    """What the fixtures of the database's content give."""
    values: dict[str, Any] = pickle.loads(beginning.values)
    return values


@pytest.fixture
def shop_with_two_lines(contents: dict[str, Any]) -> int:
    """A project whose number rings two lines is in the database before all else: its id."""
    project_id: int = contents["shop_with_two_lines"]
    return project_id


@pytest.fixture
def cast(contents: dict[str, Any]) -> Cast:
    """Alice, Bob, Charlie, Olivia, their projects and tokens: they are in the database before all else."""
    cast: Cast = contents["cast"]
    return cast


@pytest.fixture
def furnished_cast(contents: dict[str, Any]) -> Cast:
    """The same people; Alice's project has one object of each kind, whose ids are in `ids`."""
    cast: Cast = contents["furnished_cast"]
    return cast


UNPLAYABLE: list[str] = []


def render_checked(plan: Plan) -> str:
    """A document for the carrier. One that it could not play is noted: the product answers with another one when making one fails."""
    document = render(plan)
    try:
        check_document(document)
    except BadDocument as error:
        UNPLAYABLE.append(f"{error}: {document}")
    return document


webhooks.render = render_checked  # type: ignore[attr-defined]  # which it imports


@pytest.fixture(autouse=True)
def _playable_documents() -> Iterator[None]:
    """Every document that a test makes the product answer with can be played."""
    UNPLAYABLE.clear()
    yield
    assert UNPLAYABLE == []


@pytest.fixture(autouse=True)
def _one_clock() -> Iterator[None]:
    """The time of tests stands still, PostgreSQL's does not: it has the clock of the test, unless a test asks for its own."""
    found, clocks.database_time = clocks.database_time, lambda session: None
    yield
    clocks.database_time = found


@pytest.fixture(autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own ROUTER_* variables must not change what a test sees."""
    found = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("ROUTER_", "TWILIO_"))}
    yield
    os.environ.update(found)
