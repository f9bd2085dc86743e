"""Keeps the rows that leases change in step with the tracking numbers of scenarios."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber
from router.scenarios.models import TrackingNumber
from router.scenarios.signals import numbers_changed
from router.server import Server


def connect() -> None:
    """Connects the receiver, strongly and once."""
    numbers_changed.connect(_numbers_changed, weak=False)


def _numbers_changed(sender: Server, session: Session, number_ids: Iterable[int], **_: Any) -> None:
    follow_numbers(session, number_ids)


def follow_numbers(session: Session, number_ids: Iterable[int]) -> None:
    """A dynamic number of a scenario has a row in its pool; any other number has none.

    A number that moves keeps its lease counter and its last sign of life: whoever sees it on a page still holds it.
    """
    wanted = list(number_ids)
    session.flush()
    rows = {row.number_id: row for row in session.scalars(select(PoolNumber).where(PoolNumber.number_id.in_(wanted)))}
    for number in session.scalars(select(TrackingNumber).where(TrackingNumber.id.in_(wanted))):
        row = rows.pop(number.id, None)
        if number.scenario_id is None or number.static_source is not None:
            session.execute(delete(PoolNumber).where(PoolNumber.number_id == number.id))
        elif row is not None:
            row.scenario_id = number.scenario_id
        else:
            session.add(_new_row(session, number, number.scenario_id))
    session.execute(delete(PoolNumber).where(PoolNumber.number_id.in_(list(rows))))


def _new_row(session: Session, number: TrackingNumber, scenario_id: int) -> PoolNumber:
    newest = session.execute(
        select(Lease.turn, Lease.started_at).where(Lease.number_id == number.id).order_by(Lease.turn.desc()).limit(1)
    ).first()
    row = PoolNumber(number_id=number.id, scenario_id=scenario_id, e164=number.e164)
    if newest:
        row.turn, row.group_turn = newest.turn, newest.turn + 1
        row.lease_started_at = row.last_sign_at = newest.started_at
    return row
