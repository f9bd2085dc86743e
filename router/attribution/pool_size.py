"""Says when a pool is far too small for last week's load (R2); the worker keeps the figure, because tables lint many scenarios at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.attribution.load import numbers_needed
from router.formats import say_count
from router.scenarios.linting.facts import Linted
from router.scenarios.linting.findings import Finding
from router.scenarios.models import Scenario
from router.server import Server

FAR = 0.75
"""A pool with a smaller share of what is needed has an accuracy below about 90 % in its busiest hour (facts/market.md, 4.3)."""


def small_pools(session: Session, linted: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule; one statement."""
    ids = [one.scenario_id for one in linted if one.scenario_id and one.dynamic]
    if not ids:
        return {}
    found = select(Scenario.id, Scenario.needed).where(Scenario.id.in_(ids), Scenario.needed.is_not(None))
    needed = {scenario_id: amount or 0 for scenario_id, amount in session.execute(found)}
    return {
        one.scenario_id: [_finding(one, needed[one.scenario_id])]
        for one in linted
        if one.dynamic and one.dynamic + one.to_buy < FAR * needed.get(one.scenario_id, 0)
    }


def _finding(one: Linted, needed: int) -> Finding:
    has = one.dynamic + one.to_buy
    sentence = f"The busiest hour of the last 7 days needs {say_count(needed, 'number')}, and the pool has {has}: visitors share them."
    look = f"/scenarios/{one.scenario_id}/plan" if one.scenario_id else ""
    return Finding("small_pool", sentence, "numbers", "numbers", look=look, look_for="What more would tell")


def refresh_needed(server: Server, now: datetime) -> None:
    """Fills the column; each scenario is read on its own, and only what differs is written."""
    shown = select(Scenario).where(Scenario.deleted_at.is_(None), Scenario.first_shown_at.is_not(None))
    with server.database.reading() as session:
        scenarios = session.scalars(shown.order_by(Scenario.id)).all()
    needed: dict[int, int | None] = {}
    for scenario in scenarios:
        with server.database.reading() as session:
            found = numbers_needed(session, scenario, now)
        if found != scenario.needed:
            needed[scenario.id] = found
    if needed:
        with server.database.writing() as session:
            for scenario_id, amount in needed.items():
                session.execute(update(Scenario).where(Scenario.id == scenario_id).values(needed=amount))
