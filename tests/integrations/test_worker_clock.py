"""R11: a worker goes by the database's clock, and one whose own clock is wrong sends all the same and is named."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import ServerFact
from router.db import Database
from router.integrations.models import Delivery, Integration
from router.integrations.queue import LEASE, claim
from router.server import Server, utc_now
from router.voice import clocks
from router.worker import HEARTBEAT, Worker, worker_clock_fault, worker_silence
from tests.integrations.conftest import Office
from tests.integrations.receiver import Receiver
from tests.integrations.test_worker import add_calls, counted_states, wait_until

OnPostgres = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@pytest.fixture
def database_clock(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """By how much the database's clock differs from ours: its only entry."""
    ahead = [timedelta(0)]
    monkeypatch.setattr(clocks, "database_time", lambda session: utc_now() + ahead[0])
    return ahead


@OnPostgres
@pytest.mark.parametrize("seconds", [-61, -6, 6, 61])
def test_a_worker_whose_clock_is_wrong_is_named_until_it_is_right_and_sends_all_the_same(
    office: Office, webhook: Integration, inbox: Receiver, database_clock: list[timedelta], seconds: int
) -> None:
    database_clock[0] = timedelta(seconds=seconds)
    add_calls(office, 2)
    with office.database.writing() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.next_at -= timedelta(minutes=2)
    stop, worker = threading.Event(), office.worker()
    runner = threading.Thread(target=worker.run, args=(stop,))
    runner.start()
    try:
        wait_until(lambda: counted_states(office) == {"done": 2})
        assert f"{abs(seconds)}.0 s {'behind' if seconds > 0 else 'ahead of'} the database's" in fault(office.database)
        with office.database.reading() as session:
            assert all(
                delivery.done_at > utc_now() + database_clock[0] - timedelta(seconds=4)
                for delivery in session.scalars(select(Delivery))
            )
        database_clock[0] = timedelta(seconds=1)
        worker._clock._measured = None  # a minute has passed
        wait_until(lambda: not fault(office.database))
    finally:
        stop.set()
        runner.join()


def fault(database: Database) -> str:
    with database.reading() as session:
        return worker_clock_fault(session, utc_now())


@OnPostgres
def test_a_second_worker_whose_clock_is_a_minute_ahead_takes_no_lease_in_use(
    office: Office, webhook: Integration, inbox: Receiver, database_clock: list[timedelta]
) -> None:
    add_calls(office, 1)
    with office.database.writing() as session:
        (lent,) = claim(session, utc_now() + timedelta(seconds=1), 9, 9)
    ahead = Office(
        Server(
            office.server.settings,
            office.database,
            office.server.keys,
            now=lambda: utc_now() + LEASE + timedelta(seconds=4),
        ),
        office.project_id,
        office.scenario_id,
    )
    worker = ahead.worker()
    with ThreadPoolExecutor(1) as pool:
        worker._turn(pool)
    assert worker._clock.offset > LEASE
    assert worker._now() - utc_now() < timedelta(seconds=1), "by the database's clock"
    assert counted_states(office) == {"leased": 1}
    with office.database.reading() as session:
        assert session.scalars(select(Delivery.lease_owner)).one() == lent.fence[0]


@OnPostgres
def test_r12_readyz_and_the_heartbeat_go_by_the_databases_clock(
    server: Server, client: FlaskClient, database_clock: list[timedelta]
) -> None:
    database_clock[0] = timedelta(minutes=10)
    Worker(server)
    with server.database.writing() as session:
        at = utc_now() + database_clock[0]
        session.add(ServerFact(name=HEARTBEAT, value=at.isoformat(), changed_at=at))
    with server.database.reading() as session:
        assert worker_silence(session, utc_now()) == ""
    with server.database.writing() as session:
        session.add(ServerFact(name="worker_clock:tel-9", value="61.2", changed_at=at))
    told = client.get("/readyz").json
    assert told is not None
    assert told["worker"] == (
        "the clock of tel-9, where a worker is, is 61.2 s ahead of the database's: let NTP set both"
    )
    database_clock[0] += timedelta(minutes=4)
    with server.database.reading() as session:
        assert worker_clock_fault(session, utc_now()) == "", "it was not heard of for minutes"


def test_on_sqlite_the_clock_is_the_same(office: Office) -> None:
    if office.database.is_sqlite:
        worker = office.worker()
        worker._compare_clocks()
        assert worker._clock.offset == timedelta(0)
        with office.database.reading() as session:
            assert session.scalars(select(ServerFact)).all() == []


def test_the_heartbeat_is_kept(office: Office) -> None:
    from router.worker import quick_jobs

    heartbeat = next(job for job in quick_jobs() if job.name == "heartbeat")
    now = utc_now()
    heartbeat.do(office.server, now)
    with office.database.reading() as session:
        seen = session.scalars(select(ServerFact.value).where(ServerFact.name == HEARTBEAT)).one()
    assert datetime.fromisoformat(seen) == now
