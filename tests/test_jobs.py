"""Whatever the table: a job is done by one holder at a time, and what a dead holder left is done by another one."""

import json
import os
import random
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from router import worker
from router.accounts.mail import MAILS
from router.accounts.models import Mail, Project
from router.attribution.models import PoolPlan
from router.attribution.planner.jobs import PLANS
from router.db import Database
from router.integrations.models import Delivery
from router.integrations.queue import DELIVERIES
from router.jobs import Claim, Jobs, backoff, backoff_by_age, requested_pause, work_side_by_side
from router.scenarios.models import NumberOrder, TrackingNumber
from router.scenarios.numbers.purchase import ORDERS
from router.scenarios.numbers.release import RELEASES
from router.server import Server
from router.worker import ClockWatch
from tests.factories import (
    NOON,
    make_batch,
    make_call,
    make_delivery,
    make_integration,
    make_mail,
    make_number,
    make_order,
    make_project,
    make_scenario,
)

SECOND = timedelta(seconds=1)


def add_mail(session: Session, project: Project, index: int) -> None:
    make_mail(session, project, f"test:{index}")


def add_order(session: Session, project: Project, index: int) -> None:
    make_order(session, make_batch(session, project), f"+1212555{index:04}")


def add_release(session: Session, project: Project, index: int) -> None:
    leaving: dict[str, Any] = {"owned_elsewhere": False, "releasing_at": NOON, "carrier_next_at": NOON}
    make_number(session, project, f"+1212555{index:04}", **leaving)


def add_plan(session: Session, project: Project, index: int) -> None:
    scenario = make_scenario(session, project, 0)
    session.add(PoolPlan(scenario_id=scenario.id, asked_at=NOON, inputs={}, points=[]))


def add_delivery(session: Session, project: Project, index: int) -> None:
    integration = make_integration(session, make_scenario(session, project, 0))
    waiting: dict[str, Any] = {"state": "pending", "attempts": 0, "done_at": None, "receiver": "d"}
    make_delivery(session, make_call(session, project), integration, **waiting)


TABLES: dict[str, tuple[Jobs[Any], Callable[[Session, Project, int], None]]] = {
    "mails": (MAILS, add_mail),
    "orders": (ORDERS, add_order),
    "releases": (RELEASES, add_release),
    "plans": (PLANS, add_plan),
    "deliveries": (DELIVERIES, add_delivery),
}


RENEWED = [name for name, (jobs, _) in TABLES.items() if jobs is not DELIVERIES]
"""An attempt to deliver is never longer than its lease."""


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def jobs(table: str) -> Jobs[Any]:
    return TABLES[table][0]


@pytest.fixture
def fill(database: Database, table: str) -> Callable[[int], None]:
    def add(amount: int) -> None:
        with database.writing() as session:
            project = make_project(session)
            for index in range(amount):
                TABLES[table][1](session, project, index)

    return add


def claim_all(database: Database, jobs: Jobs[Any], now: datetime, limit: int = 100) -> list[Claim[Any]]:
    with database.writing() as session:
        ids = jobs.due_ids(session, now, limit)
        return [claim for job_id in ids if (claim := claim_one(session, jobs, job_id, now))]


def claim_one(session: Session, jobs: Jobs[Any], job_id: int, now: datetime) -> Claim[Any] | None:
    owner = {"lease_owner": secrets.token_hex(8), "state": "leased"} if jobs is DELIVERIES else {}
    return jobs.claim(session, job_id, now, **owner)


def holds(database: Database, jobs: Jobs[Any], claim: Claim[Any]) -> bool:
    with database.writing() as session:
        return jobs.held(session, claim) is not None


def test_a_claimed_job_is_lent_to_nobody_else_until_its_lease_ends(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None]
) -> None:
    fill(3)
    if jobs is not PLANS:  # a plan is due as soon as it was asked for
        assert claim_all(database, jobs, NOON - SECOND) == []
    first = claim_all(database, jobs, NOON)
    assert len(first) == 3
    assert claim_all(database, jobs, NOON + jobs.lease - SECOND) == []
    assert all(holds(database, jobs, claim) for claim in first)
    second = claim_all(database, jobs, NOON + jobs.lease)
    assert {claim.id for claim in second} == {claim.id for claim in first}
    assert not any(holds(database, jobs, claim) for claim in first), "the fence keeps out whoever was only slow"
    assert all(holds(database, jobs, claim) for claim in second)


@pytest.mark.parametrize("table", RENEWED, indirect=True)
def test_a_renewed_lease_counts_from_now_and_the_claim_before_it_is_void(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None]
) -> None:
    fill(1)
    (claim,) = claim_all(database, jobs, NOON)
    with database.writing() as session:
        job = jobs.held(session, claim)
        assert job is not None
        renewed = jobs.renew(job, NOON + 10 * SECOND)
    assert claim_all(database, jobs, NOON + jobs.lease + 9 * SECOND) == []
    assert not holds(database, jobs, claim)
    assert holds(database, jobs, renewed)


def test_many_who_claim_at_once_never_get_the_same_job(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None]
) -> None:
    fill(24)

    def claim_some(_: int) -> list[int]:
        claims = []
        for _turn in range(6):
            with database.writing() as session:
                if jobs is DELIVERIES:
                    ids = random.sample(list(jobs.due_ids(session, NOON, 24)) or [0], 1)
                    found = [claim_one(session, jobs, job_id, NOON) for job_id in ids]
                    claims += [claim.id for claim in found if claim]
                else:
                    claims += [claim.id for claim in jobs.claim_due(session, NOON, 2)]
        return claims

    with ThreadPoolExecutor(6) as threads:
        taken = Counter(job_id for ids in threads.map(claim_some, range(6)) for job_id in ids)
    assert taken
    assert set(taken.values()) == {1}
    rest = [claim.id for claim in claim_all(database, jobs, NOON)]
    assert len(taken) + len(rest) == 24, "none was passed over for good"


def test_of_many_who_are_slow_only_the_last_holder_writes(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None]
) -> None:
    """Each claims at a later moment and comes to write at any time; threads take all of it in any order."""
    fill(2)
    rounds = [claim_all(database, jobs, NOON + turn * jobs.lease) for turn in range(5)]
    claims = [claim for claims in rounds for claim in claims]
    random.Random(7).shuffle(claims)
    with ThreadPoolExecutor(5) as threads:
        held = list(threads.map(lambda claim: holds(database, jobs, claim), claims))
    wrote = [claim for claim, was_held in zip(claims, held, strict=True) if was_held]
    assert sorted(claim.id for claim in wrote) == sorted(claim.id for claim in rounds[-1])
    assert {claim.fence for claim in wrote} == {claim.fence for claim in rounds[-1]}


def test_a_finished_job_is_neither_due_nor_held(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None]
) -> None:
    fill(1)
    (claim,) = claim_all(database, jobs, NOON)
    with database.writing() as session:
        job = jobs.held(session, claim)
        assert job is not None
        match job:
            case Mail():
                job.sent_at = NOON
            case NumberOrder():
                job.state = "bought"
            case TrackingNumber():
                job.released_at = NOON
            case PoolPlan():
                job.made_at = NOON
            case Delivery():
                job.state = "done"
    assert not holds(database, jobs, claim)
    assert claim_all(database, jobs, NOON + 2 * jobs.lease) == []


def die_while_claiming(url: str, jobs: Jobs[Any], commits: bool) -> list[int]:
    """A child process claims everything that is due, and is killed after its commit or before it; returns what it had claimed."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            with Database(url).writing() as session:
                claims = [claim_one(session, jobs, job_id, NOON) for job_id in jobs.due_ids(session, NOON, 9)]
                said = json.dumps([claim.id for claim in claims if claim])
                if not commits:
                    os.write(writable, said.encode())
                    signal.pause()
            os.write(writable, said.encode())
            signal.pause()
        finally:
            os._exit(1)
    os.close(writable)
    ids: list[int] = json.loads(os.read(readable, 1000))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(readable)
    return ids


@pytest.mark.parametrize("commits", [True, False])
def test_what_a_killed_process_had_claimed_is_done_by_another_one(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None], commits: bool
) -> None:
    """Killed after its claim it keeps the jobs until its lease ends; killed in the middle of claiming it has none of them."""
    fill(2)
    ids = die_while_claiming(database.url, jobs, commits)
    assert len(ids) == 2
    if commits:
        assert claim_all(database, jobs, NOON + jobs.lease - SECOND) == []
    claims = claim_all(database, jobs, NOON + jobs.lease if commits else NOON)
    assert {claim.id for claim in claims} == set(ids)
    assert all(holds(database, jobs, claim) for claim in claims)


@pytest.mark.parametrize("table", ["mails"])
def test_a_job_that_fails_stops_none_beside_it(
    database: Database, jobs: Jobs[Any], fill: Callable[[int], None]
) -> None:
    fill(4)
    claims = claim_all(database, jobs, NOON)
    done: list[int] = []

    def work(claim: Claim[Any]) -> None:
        if claim.id == claims[0].id:
            raise RuntimeError("no")
        time.sleep(0.01)
        done.append(claim.id)

    work_side_by_side(claims, work, "test")
    assert sorted(done) == sorted(claim.id for claim in claims[1:])
    work_side_by_side([], work, "test")


@given(attempt=st.integers(0, 10**6), first=st.floats(0.1, 600), longest=st.floats(0.1, 10**5))
def test_a_pause_doubles_up_to_the_longest(attempt: int, first: float, longest: float) -> None:
    shortest, most = timedelta(seconds=first), timedelta(seconds=longest)
    pause = backoff(attempt, shortest, most)
    assert min(shortest, most) <= pause <= most
    assert backoff(attempt + 1, shortest, most) in (pause, 2 * pause, most)


@given(age=st.floats(-100, 10**7), seconds=st.one_of(st.none(), st.floats(-10, 10**9)))
def test_a_pause_by_age_is_half_of_it_and_a_requested_one_is_believed_within_reason(
    age: float, seconds: float | None
) -> None:
    first, longest = timedelta(seconds=5), timedelta(hours=1)
    pause = backoff_by_age(timedelta(seconds=age), first, longest)
    assert first <= pause <= longest
    assert pause in (first, longest, timedelta(seconds=age) / 2)
    requested = requested_pause(seconds, longest)
    assert timedelta(0) <= requested <= longest
    assert requested in (timedelta(0), longest, timedelta(seconds=seconds or 0))


BACK = NOON - timedelta(minutes=10)


def test_messages_that_were_due_are_due_when_the_clock_was_set_back(server: Server) -> None:
    with server.database.writing() as session:
        project = make_project(session)
        for index in range(3):
            add_delivery(session, project, index)
        first, second, third = session.scalars(select(Delivery).order_by(Delivery.id))
        second.next_at = NOON + SECOND
    lent = claim_all(server.database, DELIVERIES, NOON, limit=1)
    assert [claim.id for claim in lent] == [first.id]
    watch = ClockWatch()
    for moment in (NOON - timedelta(minutes=1), NOON, NOON - SECOND, NOON, BACK):
        with server.database.reading() as session:
            assert not DELIVERIES.due_ids(session, BACK, 10)
        watch.look(server, moment)
    with server.database.reading() as session:
        assert DELIVERIES.due_ids(session, BACK, 10) == [third.id]
    assert holds(server.database, DELIVERIES, lent[0])


def test_a_clock_that_is_set_back_holds_no_periodic_job_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, moments, done = threading.Event(), iter([NOON, BACK, BACK, BACK + timedelta(minutes=5)]), []
    monkeypatch.setattr(worker, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(server, "now", lambda: next(moments))

    def do(_: Server, now: datetime) -> None:
        done.append(now)
        if len(done) == 3:
            stop.set()

    worker.keep_doing(server, [worker.PeriodicJob("test", timedelta(minutes=5), do)], stop)
    assert done == [NOON, BACK, BACK + timedelta(minutes=5)]
