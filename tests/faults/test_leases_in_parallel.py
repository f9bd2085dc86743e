"""R6: no free number is ever lent to two visitors, however many threads and processes serve them. Judged by the rows that stay."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from router.attribution.models import Lease, PoolNumber, Unserved, Visit
from router.attribution.pool.numbers import follow_numbers
from router.db import Database
from router.scenarios.models import Scenario
from tests.factories import NOON, make_number, make_project, make_scenario
from tests.faults.browsing import arrive, browse_at_once

CLIENTS = 16
"""Half of them in each of two processes."""
EXTRA = "+12135559001"
HOLD = timedelta(seconds=150)


def fill(database: Database, numbers: int, aim: str = "visit", policy: str = "share") -> None:
    with database.writing() as session:
        project = make_project(session)
        scenario = make_scenario(session, project, numbers, aim=aim, exhausted=policy)
        extra = make_number(session, project, EXTRA, scenario)
        extra.overflow = True
        follow_numbers(session, [extra.id])


@dataclass(frozen=True)
class Holding:
    """A lease with whose it is."""

    number: int
    turn: int
    visitor: str
    shared: bool
    started_at: datetime
    last_sign_at: datetime


def holdings(database: Database) -> list[Holding]:
    with database.reading() as session:
        rows = session.execute(
            select(Lease.number_id, Lease.turn, Visit.visitor, Lease.shared, Lease.started_at, Visit.last_sign_at)
            .join(Visit, Visit.id == Lease.visit_id)
            .order_by(Lease.number_id, Lease.turn)
        ).all()
    return [Holding(*row) for row in rows]


def together(held: Iterable[Holding]) -> Iterator[tuple[Holding, Holding]]:
    """The pairs of leases of one number whose visits of two visitors were active at the same time."""
    by_number: dict[int, list[Holding]] = defaultdict(list)
    for one in held:
        for other in by_number[one.number]:
            if other.visitor != one.visitor and one.started_at - other.last_sign_at <= HOLD:
                yield other, one
        by_number[one.number].append(one)


def in_parallel(database: Database, visits: int, now: datetime, policy: str = "share") -> None:
    browse_at_once(database, range(CLIENTS), visits, now, policy)


def unserved(database: Database) -> dict[str, set[str]]:
    """The visitors who were lent no number, by what they were shown instead."""
    found: dict[str, set[str]] = defaultdict(set)
    with database.reading() as session:
        rows = session.execute(select(Unserved.outcome, Visit.visitor).join(Visit, Visit.id == Unserved.visit_id))
        for outcome, visitor in rows:
            found[outcome].add(visitor)
    return found


def assert_no_sharing(database: Database, policy: str, visitors: int, numbers: int) -> None:
    """Each number has one visitor, and everybody else was counted."""
    held = holdings(database)
    assert not list(together(held))
    assert not [one for one in held if one.shared]
    served = {one.visitor for one in held}
    assert len(served) == len({one.number for one in held}) == numbers
    without = unserved(database)
    assert set(without) == {policy}
    assert len(without[policy]) == visitors - numbers
    assert not served & without[policy]


def test_sixteen_clients_get_sixteen_different_numbers_down_to_the_last_one(database: Database) -> None:
    visits = 5
    fill(database, CLIENTS * visits)
    in_parallel(database, visits, NOON)
    held = holdings(database)
    assert not list(together(held))
    assert not [one for one in held if one.shared]
    assert len({one.number for one in held}) == CLIENTS * visits
    assert len({one.visitor for one in held}) == CLIENTS * visits


def test_visits_share_only_when_every_number_is_active_and_are_marked(database: Database) -> None:
    visits, numbers = 5, 50
    fill(database, numbers)
    in_parallel(database, visits, NOON)
    held = holdings(database)
    assert len({one.visitor for one in held}) == CLIENTS * visits
    assert len({one.number for one in held}) == numbers
    pairs = list(together(held))
    assert pairs
    assert all(one.shared and other.shared for one, other in pairs)
    alone = Counter(one.number for one in first_of_each_visitor(held))
    assert sum(alone.values()) == CLIENTS * visits
    assert sum(count - 1 for count in alone.values()) == CLIENTS * visits - numbers
    assert {one.number for one in held if one.shared} == {number for number, count in alone.items() if count > 1}


def first_of_each_visitor(held: Iterable[Holding]) -> list[Holding]:
    found: dict[tuple[int, str], Holding] = {}
    for one in held:
        found.setdefault((one.number, one.visitor), one)
    return list(found.values())


def test_numbers_that_became_idle_are_lent_once_each_again(database: Database) -> None:
    visits = 3
    fill(database, CLIENTS * visits)
    in_parallel(database, visits, NOON)
    in_parallel(database, visits, NOON + timedelta(minutes=5))
    held = holdings(database)
    assert not list(together(held))
    assert not [one for one in held if one.shared]
    assert Counter(one.number for one in first_of_each_visitor(held)) == dict.fromkeys({one.number for one in held}, 2)


def test_the_lease_counter_of_a_number_misses_nobody(database: Database) -> None:
    fill(database, 10)
    in_parallel(database, 4, NOON)
    turns: dict[int, list[int]] = defaultdict(list)
    for one in holdings(database):
        turns[one.number].append(one.turn)
    assert all(later == earlier + 1 for one in turns.values() for earlier, later in pairwise(one))
    with database.reading() as session:
        counters = {row.number_id: row.turn for row in session.scalars(select(PoolNumber))}
    assert counters == {number: one[-1] for number, one in turns.items()}


def test_aim_source_under_many_clients_marks_every_shared_visit(database: Database) -> None:
    fill(database, 30, aim="source")
    in_parallel(database, 4, NOON)
    assert all(one.shared and other.shared for one, other in together(holdings(database)))


@pytest.mark.parametrize(("policy", "aim"), [("overflow", "source"), ("keep", "visit")])
def test_r6_who_must_not_share_is_lent_the_last_number_or_none(database: Database, policy: str, aim: str) -> None:
    visits, numbers = 4, 40
    fill(database, numbers, aim, policy)
    in_parallel(database, visits, NOON, policy)
    assert_no_sharing(database, policy, CLIENTS * visits, numbers)


@pytest.fixture(scope="module")
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process. It is ready when it has said so; then it browses at each line that it reads."""
    command = [sys.executable, "-m", "tests.faults.browsing"]
    folder = Path(__file__).parents[2]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=folder) as process:
        assert said_by(process) == "ready"
        yield process


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def browse_in_both(
    database: Database, other: subprocess.Popen[str], visits: int, now: datetime, policy: str = "share"
) -> None:
    """Eight clients in this process and eight in the other one, all at once."""
    assert other.stdin is not None
    plan = {"url": database.url, "visits": visits, "now": now.isoformat(), "policy": policy}
    other.stdin.write(json.dumps(plan) + "\n")
    other.stdin.flush()
    browse_at_once(database, range(CLIENTS // 2), visits, now, policy)
    assert said_by(other) == "done"


def test_two_processes_of_eight_threads_share_nothing_while_a_number_is_free_or_where_none_may_be_shared(
    database: Database, other: subprocess.Popen[str]
) -> None:
    visits, numbers = 3, CLIENTS * 3
    fill(database, numbers)
    browse_in_both(database, other, visits, NOON)
    held = holdings(database)
    assert len({one.visitor for one in held}) == len({one.number for one in held}) == numbers
    assert not [one for one in held if one.shared]
    arrive(database, "one too many", NOON)
    assert Counter(one.shared for one in holdings(database))[True] >= 2

    later = NOON + timedelta(hours=1)
    with database.writing() as session:
        session.execute(update(Scenario).values(exhausted="keep", aim="source"))
        session.execute(delete(PoolNumber).where(PoolNumber.number_id > min(one.number for one in held) + 39))
        session.execute(delete(Lease))
    browse_in_both(database, other, visits, later, "keep")
    assert_no_sharing(database, "keep", CLIENTS * visits, 40)
