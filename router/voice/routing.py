"""Where a call to a number goes: scenario, last flow, or the project's fallback destination (R12). One statement.

Which numbers were called lately (R4, R9): those keep ringing. Internal calls do not count.

Calls whose visit was found by the number's leases, for those who try other pools with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.planner.traffic import PastCall
from router.carriers.base import InboundCall
from router.db import table_of
from router.lib.phones import same_line
from router.scenarios.models import CallFlow, Scenario, TrackingNumber
from router.scenarios.schema import DEFAULT_HOLD_SECONDS
from router.statements import Row, Statement
from router.voice.internal import own_lines
from router.voice.models import EXTERNAL, Call

DEFAULT_RING_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Destination:
    to: str
    ring_seconds: int


@dataclass(frozen=True, slots=True)
class Route:
    """What is known about a dialled number. `flow` is the document that the call keeps; it always has a destination."""

    number_id: int
    number: str
    project_id: int
    scenario_id: int | None
    scenario_enabled: bool
    hold: timedelta
    static_source: Mapping[str, Any] | None
    overflow: bool
    """It is shown when its pool is exhausted, and lent to nobody."""
    flow: dict[str, Any]
    repeat_credit: str = "first_call"
    """What the project credits a repeat call to."""
    scenario_title: str | None = None
    own_lines: frozenset[str] = frozenset()
    """The company's own telephones, as `internal.lines_of` compares them."""


_number, _project = table_of(TrackingNumber).c, table_of(Project).c
_scenario, _flow = table_of(Scenario).c, table_of(CallFlow).c


def _routes(*which: Any) -> Select[Any]:
    return (
        select(
            _number.id,
            _number.e164,
            _number.project_id,
            _number.scenario_id,
            _scenario.enabled,
            _scenario.hold_seconds,
            _number.static_source,
            _number.overflow,
            _flow.document,
            _project.fallback_destination,
            _project.repeat_credit,
            _scenario.title,
            _project.own_numbers,
            _project.destination_numbers,
        )
        .select_from(
            table_of(TrackingNumber)
            .join(table_of(Project), _project.id == _number.project_id)
            .outerjoin(table_of(Scenario), _scenario.id == _number.scenario_id)
            .outerjoin(table_of(CallFlow), _flow.id == func.coalesce(_scenario.call_flow_id, _number.last_flow_id))
        )
        .where(*which)
        .order_by(_number.released_at.is_not(None), _number.released_at.desc())
        .limit(1)
    )


_ROUTE = Statement(lambda _: _routes(_number.e164 == bindparam("dialled")))
_ROUTE_OF = Statement(lambda _: _routes(_number.id == bindparam("number")))


def find_route(session: Session, dialled: str) -> Route | None:
    """The route of a number of ours, also of one that was given back to the carrier and still rings here; None for one that is unknown."""
    row = _ROUTE.first(session, {"dialled": dialled})
    return _read(row) if row else None


def find_route_of_call(session: Session, call: InboundCall) -> Route | None:
    """The route of the number that was dialled. One statement, and more only where the carrier writes the number in another way than our
    table does."""
    for number in (call.number_e164 or call.to, *call.other_readings):
        if route := find_route(session, number):
            return route
    if not call.readings_anywhere:
        return None
    ours = select(_number.e164).where(_number.e164.in_(call.readings_anywhere)).distinct().limit(2)
    fitting = session.scalars(ours).all()
    return find_route(session, fitting[0]) if len(fitting) == 1 else None


def route_of(session: Session, number_id: int) -> Route | None:
    """The route of one number of one project, whoever has the same digits now."""
    row = _ROUTE_OF.first(session, {"number": number_id})
    return _read(row) if row else None


def _read(row: Row) -> Route:
    number_id, number, project_id, scenario_id, enabled, hold, static_source, overflow, document, fallback, credit = (
        row[:11]
    )
    title, own_numbers, destination_numbers = row[11:]
    flow = document if document and document.get("destinations") else fallback_flow(fallback)
    seconds = timedelta(seconds=hold or DEFAULT_HOLD_SECONDS)
    known = (number_id, number, project_id, scenario_id, bool(enabled), seconds, static_source, bool(overflow))
    rung = [one.get("to") or "" for one in flow["destinations"]]
    return Route(*known, flow, credit, title, own_lines(fallback, own_numbers, [*destination_numbers, *rung]))


def fallback_flow(destination: str) -> dict[str, Any]:
    return {"destinations": [{"to": destination, "ring_seconds": DEFAULT_RING_SECONDS}]}


def destinations_of(flow: Mapping[str, Any], *never: str | None) -> list[Destination]:
    """A flow's destinations in turn, without those that would ring the dialled number or the caller himself, in any spelling: such calls
    go in circles."""
    return [
        Destination(one["to"], int(one.get("ring_seconds") or DEFAULT_RING_SECONDS))
        for one in flow.get("destinations", ())
        if one.get("to") and not any(same_line(one["to"], other) for other in never)
    ]


def called_numbers(session: Session, number_ids: Iterable[int], since: datetime) -> set[int]:
    """Those with a call that began since then; one statement. The column `last_call_at` may be a worker's turn behind."""
    called = select(Call.number_id).where(Call.number_id.in_(list(number_ids)), Call.started_at >= since)
    return set(session.scalars(called.where(Call.kind == EXTERNAL).distinct()))


MOST_CALLS = 20_000


def calls_by_lease(session: Session, scenario: Scenario, since: datetime, until: datetime) -> list[PastCall]:
    """The newest ones of a time, oldest first; one statement. Repeat calls are not among them: their source is known without a lease;
    internal ones neither."""
    wanted = (
        select(Call.started_at, Call.visit_id, Call.confidence, Call.candidates)
        .where(Call.project_id == scenario.project_id, Call.started_at >= since, Call.started_at <= until)
        .where(Call.scenario_id == scenario.id, Call.rule == "lease", Call.kind == EXTERNAL)
        .order_by(Call.started_at.desc(), Call.id.desc())
        .limit(MOST_CALLS)
    )
    return [
        PastCall(at, visit_id, confidence or 0.0, [(one["visit_id"], one["probability"]) for one in candidates])
        for at, visit_id, confidence, candidates in reversed(session.execute(wanted).all())
    ]
