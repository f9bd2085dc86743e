"""Keeps the rows that leases change in step with the tracking numbers: of scenarios, and the free ones of projects without any (R13)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, free_pool_id, is_free_pool, project_of_free_pool
from router.scenarios.documents import present_scenarios
from router.scenarios.models import Scenario, TrackingNumber, free_numbers_changed, numbers_changed
from router.server import Server

BATCH = 500


def connect_pool() -> None:
    """Connects the receivers, strongly and once."""
    numbers_changed.connect(_numbers_changed, weak=False)
    free_numbers_changed.connect(_free_numbers_changed, weak=False)


def _numbers_changed(sender: Server, session: Session, number_ids: Iterable[int], **_: Any) -> None:
    follow_numbers(session, number_ids)


def _free_numbers_changed(sender: Any, session: Session, project_id: int, **_: Any) -> None:
    follow_free_numbers(session, project_id)


def follow_numbers(session: Session, number_ids: Iterable[int]) -> None:
    """A dynamic number of a scenario has a row in its pool, a free one of a project without scenarios in the pool of those; any other
    number has none.

    A number that moves keeps its lease counter and its last heartbeat: whoever sees it on a page still holds it.
    """
    ids = list(number_ids)
    session.flush()
    present = select(PoolNumber).where(PoolNumber.number_id.in_(ids))
    in_order_of_page_views = present.order_by(PoolNumber.scenario_id, PoolNumber.number_id)
    rows = {row.number_id: row for row in session.scalars(in_order_of_page_views.with_for_update())}
    numbers = list(session.scalars(select(TrackingNumber).where(TrackingNumber.id.in_(ids))))
    without_scenario = {number.project_id for number in numbers if number.scenario_id is None}
    if without_scenario:
        projects = select(Scenario.project_id).where(
            Scenario.project_id.in_(list(without_scenario)), Scenario.deleted_at.is_(None)
        )
        without_scenario -= set(session.scalars(projects))
    for number in numbers:
        if not number.is_lendable:
            continue
        pool_id = number.scenario_id
        if pool_id is None and number.project_id in without_scenario:
            pool_id = free_pool_id(number.project_id)
        if pool_id is None:
            continue
        row = rows.pop(number.id, None)
        if row is not None:
            row.scenario_id = pool_id
        else:
            session.add(_new_row(session, number, pool_id))
    session.execute(delete(PoolNumber).where(PoolNumber.number_id.in_(list(rows))))


def _new_row(session: Session, number: TrackingNumber, pool_id: int) -> PoolNumber:
    """A number that was in a pool before goes on with its lease counter, and is idle since it was leased last."""
    leases = (
        select(Lease.turn, Lease.started_at).where(Lease.number_id == number.id).order_by(Lease.turn.desc()).limit(1)
    )
    row = PoolNumber(number_id=number.id, scenario_id=pool_id, e164=number.e164)
    if newest := session.execute(leases).first():
        row.turn, row.group_turn = newest.turn, newest.turn + 1
    if kept := session.execute(leases.where(Lease.returned_at.is_(None))).first():
        row.lease_started_at = row.last_sign_at = kept.started_at
    return row


def follow_free_numbers(session: Session, project_id: int) -> None:
    """After a project got its first scenario, lost its last one, or got other free numbers. A first batch at once; the worker adds the
    rest."""
    session.flush()
    if session.scalar(present_scenarios(project_id).with_only_columns(Scenario.id).limit(1)) is not None:
        session.execute(delete(PoolNumber).where(PoolNumber.scenario_id == free_pool_id(project_id)))
        return
    follow_numbers(session, session.scalars(_unsettled().where(TrackingNumber.project_id == project_id)).all())


def settle_free_numbers(server: Server, now: datetime) -> None:
    """The worker's look for free numbers whose row is missing, or is there although the number is not free any more, or its project has a
    scenario."""
    number = select(TrackingNumber.id).where(
        TrackingNumber.id == PoolNumber.number_id,
        TrackingNumber.scenario_id.is_(None),
        TrackingNumber.releasing_at.is_(None),
        TrackingNumber.released_at.is_(None),
    )
    scenario = select(Scenario.id).where(
        Scenario.project_id == project_of_free_pool(PoolNumber.scenario_id), Scenario.deleted_at.is_(None)
    )
    left_over = or_(~number.exists(), scenario.exists())
    rows = select(PoolNumber.number_id).where(is_free_pool(PoolNumber.scenario_id), left_over).limit(BATCH)
    with server.database.reading() as session:
        ids = [*session.scalars(_unsettled()), *session.scalars(rows)][:BATCH]
    if ids:
        with server.database.writing() as session:
            follow_numbers(session, ids)


def _unsettled() -> Select[int]:
    """The ids of free numbers that could be leased and are in no pool."""
    scenario = select(Scenario.id).where(
        Scenario.project_id == TrackingNumber.project_id, Scenario.deleted_at.is_(None)
    )
    free = select(TrackingNumber.id).where(
        TrackingNumber.scenario_id.is_(None),
        TrackingNumber.is_lendable,
        ~scenario.exists(),
        ~select(PoolNumber.number_id).where(PoolNumber.number_id == TrackingNumber.id).exists(),
    )
    return free.order_by(TrackingNumber.id).limit(BATCH)
