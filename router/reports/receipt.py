"""What a call's page shows, read in a fixed number of statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Visit
from router.integrations.models import Delivery, Integration
from router.reports.calls import find_call
from router.reports.lease_history import read_history
from router.reports.lease_picture import Picture, picture_of
from router.reports.steps import Step, steps_of
from router.reports.timeline import Moment, moments_of
from router.scenarios.models import Scenario
from router.scenarios.shape import DEFAULT_HOLD_SECONDS
from router.voice.models import Call, CallEvent, CallLeg

MOST_ROWS = 200

Row = TypeVar("Row", CallLeg, CallEvent)


@dataclass(frozen=True)
class Receipt:
    call: Call
    visit: Visit | None
    scenario: Scenario | None
    visits: dict[int, Visit]
    """Those of the candidates, by visit number."""
    moments: list[Moment]
    steps: list[Step]
    picture: Picture | None
    """The lease history of the number around the call."""
    deliveries: Sequence[tuple[Delivery, Integration]]


def read_receipt(session: Session, project: Project, call_id: int) -> Receipt:
    """
    Raises:
        Problem: 404 when the project has no such call.
    """
    call = find_call(session, project.id, call_id)
    legs = session.scalars(_rows_of(CallLeg, call)).all()
    events = session.scalars(_rows_of(CallEvent, call)).all()
    scenario = session.get(Scenario, call.scenario_id) if call.scenario_id else None
    history = read_history(session, call, _hold(call, scenario))
    return Receipt(
        call=call,
        visit=session.get(Visit, call.visit_id) if call.visit_id else None,
        scenario=scenario,
        visits=_candidates(session, project, call),
        moments=moments_of(call, legs, events),
        steps=steps_of(call),
        picture=picture_of(history, project.timezone),
        deliveries=_deliveries(session, call),
    )


def _rows_of(table: type[Row], call: Call) -> Select[Row]:
    """As they came: what happened within one second is told in this order."""
    return select(table).where(table.call_sid == call.sid).order_by(table.id).limit(MOST_ROWS)


def _hold(call: Call, scenario: Scenario | None) -> timedelta:
    """As it was for this call, where the decision kept it."""
    given = (call.decision.get("given") or {}).get("hold_seconds")
    now = scenario.hold_seconds if scenario else DEFAULT_HOLD_SECONDS
    return timedelta(seconds=now if given is None else given)


def _candidates(session: Session, project: Project, call: Call) -> dict[int, Visit]:
    numbers = [one["visit"] for one in call.candidates]
    visits = select(Visit).where(Visit.project_id == project.id, Visit.number.in_(numbers))
    return {visit.number: visit for visit in session.scalars(visits)} if numbers else {}


def _deliveries(session: Session, call: Call) -> Sequence[tuple[Delivery, Integration]]:
    rows = session.execute(
        select(Delivery, Integration)
        .join(Integration, Integration.id == Delivery.integration_id)
        .where(Delivery.call_id == call.id)
        .order_by(Delivery.id)
    )
    return [(delivery, integration) for delivery, integration in rows]
