"""A PostgreSQL that is frozen in the middle of everything: nobody waits for it for long, and it is used again when it goes on."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from router import hanging as module
from router.app import create_app
from router.attribution.tracking.refused import REFUSED
from router.config import Settings
from router.db import Database
from router.hanging import HangGuard
from router.voice.applier import journal_folder
from router.voice.journal import Position, read_entries
from tests.factories import make_project, make_scenario
from tests.voice.journals import SITE, visit
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOOK_SECONDS", 0.05), ("DOUBTED_AFTER", 0.2), ("CONNECT_SECONDS", 1)):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def own(database_url: str) -> Iterator[Database]:
    """With an engine that no other test has."""
    own = Database(database_url)
    yield own
    own.dispose()


@contextmanager
def frozen(database: Database) -> Iterator[None]:
    """All processes of the cluster."""
    with database.reading() as session:
        folder = session.execute(text("SHOW data_directory")).scalar_one()
    postmaster = int(Path(folder, "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    processes = [postmaster, *map(int, children)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@pytest.fixture
def watching() -> Iterator[Callable[[Database], HangGuard]]:
    guards: list[HangGuard] = []

    def watch(database: Database) -> HangGuard:
        guards.append(HangGuard(database))
        guards[-1].start()
        return guards[-1]

    yield watch
    for guard in guards:
        guard.stop()


def ask(database: Database, statement: str = "SELECT 1") -> None:
    with database.reading() as session:
        session.execute(text(statement))


def test_r12_whoever_waits_for_a_frozen_database_is_told_and_nobody_else_begins_to(
    own: Database, watching: Callable[[Database], HangGuard]
) -> None:
    ask(own)
    guard = watching(own)
    with frozen(own):
        with pytest.raises(OperationalError):
            ask(own)
        assert guard.hangs
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(OperationalError, match="the database hangs"):
                ask(own)
        assert time.monotonic() - began < 10, "one connection each would take 20 s"
    eventually(lambda: not guard.hangs)
    ask(own)


def test_r12_a_statement_that_merely_takes_long_is_left_alone(own: Database) -> None:
    guard = HangGuard(own)
    slow = threading.Thread(target=ask, args=(own, "SELECT pg_sleep(0.6)"))
    slow.start()
    time.sleep(0.3)
    guard.look()
    assert not guard.hangs
    ask(own)
    slow.join()
    assert not guard._used, "each connection is given back"


def test_r7_a_heartbeat_in_a_frozen_database_is_kept(
    settings: Settings, watching: Callable[[Database], HangGuard]
) -> None:
    app = create_app(settings)
    server = app.extensions["router"]
    with server.database.writing() as session:
        make_scenario(session, make_project(session))
    client = app.test_client()
    token = visit(client, "utm_source=google")["token"]
    watching(server.database)
    with frozen(server.database):
        for _ in range(3):
            assert client.post(f"/tag/k-shop/visits/{token}/alive", json={}, headers=SITE).status_code == 503
    kept = [entry.record for entry in read_entries(journal_folder(server), Position(), 9)]
    assert [record and record["kind"] for record in kept] == [REFUSED] * 3
    server.database.dispose()
