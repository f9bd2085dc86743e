"""Says when the numbers of a scenario are given to pages and stand on none or hardly any of them: its selectors do not match (R2).
The worker keeps the figures, because tables lint many scenarios at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.models import Lease
from router.formats import say_count
from router.scenarios.linting.facts import Linted
from router.scenarios.linting.findings import Finding
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server

DAYS = 7
LEAST_TIMES = 20
"""Before so many pages have said something, a few of a site's odd pages could be all of them."""
HARDLY_EVER = 0.05
"""A smaller part of the pages is no site where only some pages have a place for the number, but selectors that match by accident."""

Times = tuple[int | None, int | None]
"""How often numbers were given and something was said about it, and how often they were shown; None: never given."""


def never_shown(session: Session, linted: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule; one statement."""
    ids = [one.scenario_id for one in linted if one.scenario_id]
    found = select(Scenario.id, Scenario.given_times, Scenario.shown_times).where(
        Scenario.id.in_(ids),
        Scenario.given_times >= LEAST_TIMES,
        Scenario.shown_times < HARDLY_EVER * Scenario.given_times,
    )
    rows = session.execute(found) if ids else ()
    return {scenario_id: [_finding(scenario_id, given or 0, shown or 0)] for scenario_id, given, shown in rows}


def _finding(scenario_id: int, given: int, shown: int) -> Finding:
    why = "its selectors match on hardly any page" if shown else "no selector matches"
    said = f"Given {say_count(given, 'time')} in {DAYS} days, shown {say_count(shown, 'time')}: {why}."
    look = f"/scenarios/{scenario_id}/tagging"
    return Finding("never_shown", said, "tagging.selectors", "tagging", look=look, look_for="See its tagging")


def refresh_shown(server: Server, now: datetime) -> None:
    """Fills the scenarios' columns; each project is read on its own, and only what differs is written."""
    with server.database.reading() as session:
        were = select(Scenario.project_id, Scenario.id, Scenario.given_times, Scenario.shown_times)
        scenarios = session.execute(were.where(Scenario.deleted_at.is_(None))).all()
    found: dict[int, Times] = {}
    for project_id in sorted({one.project_id for one in scenarios}):
        with server.database.reading() as session:
            rows = session.execute(_counted(project_id, now - timedelta(days=DAYS)))
            found.update({scenario_id: (given, shown) for scenario_id, given, shown in rows})
    changed = {
        one.id: times
        for one in scenarios
        if (times := found.get(one.id, (None, None))) != (one.given_times, one.shown_times)
    }
    _write(server, changed)


def _write(server: Server, changed: Mapping[int, Times]) -> None:
    if changed:
        with server.database.writing() as session:
            for scenario_id, (given, shown) in changed.items():
                values = {"given_times": given, "shown_times": shown}
                session.execute(update(Scenario).where(Scenario.id == scenario_id).values(values))


def _counted(project_id: int, since: datetime) -> Select[int, int, int]:
    """Scenario, leases about which something was said, and how many of them were shown; one range of each number's leases by their
    start."""
    return (
        select(Lease.scenario_id, func.count(), func.count(Lease.shown_at))
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(TrackingNumber.project_id == project_id, Lease.started_at >= since)
        .where(or_(Lease.shown_at.is_not(None), Lease.returned_at.is_not(None), Lease.unplaced_at.is_not(None)))
        .group_by(Lease.scenario_id)
    )
