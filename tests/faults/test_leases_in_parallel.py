"""R6: no free number is ever lent to two visitors, however many threads and processes serve them. Judged by the rows that stay."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Lease, PoolNumber, Unserved, Visit
from router.attribution.pool.numbers import follow_numbers
from router.attribution.tracking.page_views import PageNumbers, keep_page, view_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import Heartbeat, PageView, read_page_view
from router.db import Database
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from tests.contents import SECRET
from tests.factories import NOON, make_number, make_project, make_scenario

KEYS = KeyRing((SECRET,))
CLIENTS = 16
PROCESSES = 2
EXTRA = "+12135559001"
HOLD = timedelta(seconds=150)


def view(source: str, visitor: str | None = None) -> PageView:
    page = f"https://shop.example/?utm_source={source}"
    return read_page_view({"page": page, "visitor": visitor})


def arrive(database: Database, source: str, now: datetime, visitor: str | None = None) -> tuple[str, int, list[str]]:
    """A page view: visitor, visit and the numbers that the page shows."""

    def work(session: Session, project: TagProject | None) -> PageNumbers:
        assert project is not None
        return view_page(session, KEYS, project, view(source, visitor), now)

    arrival = with_project(database, "k-shop", work)
    return arrival.visit.visitor, arrival.visit.id, [number.e164 for number in arrival.numbers]


def stay(database: Database, visit_id: int, now: datetime) -> None:

    def work(session: Session, project: TagProject | None) -> PageNumbers | None:
        assert project is not None
        return keep_page(session, project, visit_id, Heartbeat(), now)

    assert with_project(database, "k-shop", work) is not None


def browse(database: Database, client: int, visits: int, now: datetime, policy: str = "share") -> None:
    """One client: new visitors, each of them coming back by another click on the same advertisement, and staying."""
    for turn in range(visits):
        source = f"s{client % 3}&gclid=first"
        visitor, visit_id, shown = arrive(database, source, now)
        assert shown or policy == "keep"
        if turn % 2:
            stay(database, visit_id, now)
            again, _, shown_again = arrive(database, source.replace("first", "again"), now, visitor)
            assert (again, shown_again) == (visitor, shown)


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
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda client: browse(database, client, visits, now, policy), range(CLIENTS)))


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


@contextmanager
def another_process(url: str, first_client: int) -> Iterator[subprocess.Popen[str]]:
    """It is ready when it has said so; then it browses at each line that it reads."""
    command = [sys.executable, "-m", "tests.faults.test_leases_in_parallel", url, str(first_client)]
    folder = Path(__file__).parents[2]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=folder) as process:
        yield process


def said_by(processes: Iterable[subprocess.Popen[str]]) -> list[str]:
    return [process.stdout.readline().strip() for process in processes if process.stdout]


def browse_in(processes: Iterable[subprocess.Popen[str]], visits: int, now: datetime, policy: str) -> None:
    """Eight clients in each process, all at once."""
    line = json.dumps({"visits": visits, "now": now.isoformat(), "policy": policy})
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    assert set(said_by(processes)) == {"done"}


def test_two_processes_of_eight_threads_share_nothing_while_a_number_is_free_or_where_none_may_be_shared(
    database: Database, database_url: str
) -> None:
    visits, numbers = 3, PROCESSES * 8 * 3
    fill(database, numbers)
    with another_process(database_url, 0) as one, another_process(database_url, 8) as other:
        processes = (one, other)
        assert set(said_by(processes)) == {"ready"}
        browse_in(processes, visits, NOON, "share")
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
        browse_in(processes, visits, later, "keep")
        assert_no_sharing(database, "keep", PROCESSES * 8 * visits, 40)


def _be_a_process(url: str, first_client: int) -> None:
    database = Database(url)
    with database.reading() as session:
        session.scalars(select(Project)).one()
    _say("ready")
    for line in sys.stdin:
        plan = json.loads(line)
        now = datetime.fromisoformat(plan["now"])
        with ThreadPoolExecutor(8) as clients:
            ours = range(first_client, first_client + 8)
            list(clients.map(lambda i: browse(database, i, plan["visits"], now, plan["policy"]), ours))  # noqa: B023
        _say("done")
    database.dispose()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _be_a_process(sys.argv[1], int(sys.argv[2]))
