"""R6: numbers that pages give back while others are lent them, by many threads at once. Judged by the rows that stay."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, Visit
from router.attribution.tracking.page_views import PageNumbers, keep_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import Heartbeat
from router.db import LONG_AGO, Database
from tests.factories import NOON
from tests.faults.browsing import arrive
from tests.faults.test_leases_in_parallel import CLIENTS, fill, holdings

T = TypeVar("T")

SHOWN, MISSING = Heartbeat(shown=frozenset({1})), Heartbeat(shown=frozenset())


def say(database: Database, visit_id: int, report: Heartbeat, after: timedelta = timedelta(0)) -> PageNumbers:
    """A sign of life that says whether the number stands on the page."""

    def work(session: Session, project: TagProject | None) -> PageNumbers | None:
        assert project is not None
        return keep_page(session, project, visit_id, report, NOON + after)

    arrival = with_project(database, "k-shop", work)
    assert arrival is not None
    return arrival


def browse(database: Database, client: int, visits: int) -> None:
    """One client: every second page has no place for its number."""
    for turn in range(visits):
        _, visit_id, shown = arrive(database, f"s{client % 3}", NOON)
        assert shown
        arrival = say(database, visit_id, SHOWN if turn % 2 else MISSING)
        assert (arrival.numbers, arrival.withdrawn) == ([], [] if turn % 2 else [1])


def in_parallel(database: Database, visits: int) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda client: browse(database, client, visits), range(CLIENTS)))


def kept(database: Database) -> dict[int, list[tuple[str, bool]]]:
    """By number the visitors who did not give it back, and whether they are marked as sharing it."""
    found: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    with database.reading() as session:
        leases = select(Lease.number_id, Visit.visitor, Lease.shared).join(Visit, Visit.id == Lease.visit_id)
        for number_id, visitor, shared in session.execute(
            leases.where(Lease.returned_at.is_(None)).order_by(Lease.turn)
        ):
            found[number_id].append((visitor, shared))
    return found


def rows(database: Database) -> list[PoolNumber]:
    with database.reading() as session:
        return list(session.scalars(select(PoolNumber).order_by(PoolNumber.number_id)))


def test_r6_numbers_that_are_given_back_while_others_are_lent_are_shared_by_nobody(database: Database) -> None:
    visits, keepers = 4, CLIENTS * 2
    fill(database, keepers + CLIENTS)
    in_parallel(database, visits)
    assert not [one for one in holdings(database) if one.shared]
    assert [len(visitors) for visitors in kept(database).values()] == [1] * keepers
    free = [row for row in rows(database) if row.last_sign_at == LONG_AGO]
    assert len(free) == CLIENTS
    for _ in free:
        arrive(database, "later", NOON)
    assert not [one for one in holdings(database) if one.shared], "each of them was free"
    assert len(kept(database)) == keepers + CLIENTS


def test_r8_who_is_left_alone_or_together_is_marked_so_however_the_reports_raced(database: Database) -> None:
    fill(database, 12)
    in_parallel(database, 4)
    held = kept(database)
    assert {len(visitors) > 1 for visitors in held.values()} >= {True}
    for visitors in held.values():
        assert all(shared == (len(visitors) > 1) for _, shared in visitors)
    for row in rows(database):
        last = held.get(row.number_id, [("", False)])[-1][0]
        assert (row.visitor, row.last_sign_at) == (last, NOON if last else LONG_AGO)
        assert row.turn == max(one.turn for one in holdings(database) if one.number == row.number_id)


def meet(others: Barrier, do: Callable[..., T], *arguments: Any) -> T:
    others.wait()
    return do(*arguments)


@pytest.mark.parametrize(("policy", "after"), [("share", timedelta(minutes=3)), ("keep", timedelta(0))])
def test_r6_a_report_and_a_take_of_one_number_come_one_after_the_other(
    database: Database, policy: str, after: timedelta
) -> None:
    """Whether the number was idle, or active until the report."""
    fill(database, 1, policy=policy)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(12):
            _, visit_id, _ = arrive(database, "first", NOON)
            both = Barrier(2)
            said = threads.submit(meet, both, say, database, visit_id, MISSING, after)
            came = threads.submit(meet, both, arrive, database, "second", NOON + after)
            visitor, taker, shown = came.result()
            assert said.result().withdrawn == [1]
            [row] = rows(database)
            assert row.visitor == (visitor if shown else "")
            if shown:
                assert say(database, taker, MISSING, after).withdrawn == [1]
            assert [one.last_sign_at for one in rows(database)] == [LONG_AGO]
    assert not [one for one in holdings(database) if one.shared]
