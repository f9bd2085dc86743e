"""Clients that ask for pages at once, in this process or in another one, which reads little of the program and is there soon."""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sqlalchemy.orm import Session

from router.attribution.tracking.page_views import PageNumbers, keep_page, view_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import Heartbeat, PageView, read_page_view
from router.db import Database
from router.lib.crypto import KeyRing
from tests.secret import SECRET

KEYS = KeyRing((SECRET,))


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


def browse_at_once(database: Database, clients: Sequence[int], visits: int, now: datetime, policy: str) -> None:
    """A thread for each client."""
    with ThreadPoolExecutor(len(clients)) as threads:
        list(threads.map(lambda client: browse(database, client, visits, now, policy), clients))


def _main() -> None:
    _say("ready")
    for line in sys.stdin:
        plan = json.loads(line)
        database = Database(plan["url"])
        now = datetime.fromisoformat(plan["now"])
        browse_at_once(database, range(8, 16), plan["visits"], now, plan["policy"])
        database.dispose()
        _say("done")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
