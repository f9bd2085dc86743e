"""Where a call to a number goes (R12): the flow of its scenario, its last flow, or the project's fallback destination; which calls are
internal, from the company's own telephones (R10); and past calls by number and by scenario for the pools."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.planner.traffic import PastCall
from router.carriers.base import InboundCall
from router.db import LONG_AGO, table_of
from router.lib.phones import Caller, line_of, read_caller, same_line
from router.scenarios.flows import DEFAULT_RING_SECONDS, is_full, lines_in
from router.scenarios.models import DEFAULT_HOLD_SECONDS, CallFlow, Holiday, Scenario, Sound, TrackingNumber
from router.statements import Row, Statement
from router.voice.blocking.rules import OPEN_TO_ALL, CallGuard, guard_of
from router.voice.models import EXTERNAL, INTERNAL, BlockedCaller, Call


def lines_of(numbers: Iterable[str]) -> frozenset[str]:
    """The lines of E.164 numbers and of SIP addresses that hold one, in the form in which lines are compared."""
    return frozenset(line_of(e164) for number in numbers if (e164 := read_caller(number).e164))


def own_lines(fallback: str, own_numbers: Iterable[Mapping[str, str]], destinations: Iterable[str]) -> frozenset[str]:
    """A company's lines: its fallback line, its own telephones, and where its scenarios forward calls to."""
    return lines_of([fallback, *(entry["number"] for entry in own_numbers), *destinations])


def kind_of(caller: Caller, own_lines: Container[str]) -> str:
    """Whether a call is internal or external; a call with a withheld number is external."""
    return INTERNAL if caller.e164 is not None and line_of(caller.e164) in own_lines else EXTERNAL


@dataclass(frozen=True, slots=True)
class Destination:
    to: str
    ring_seconds: int


@dataclass(frozen=True, slots=True)
class Route:
    """What is known about a dialled number. `flow` is a document of either form, or what a call keeps of it; it is never empty."""

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
    """The company's own telephones, as `lines_of` compares them."""
    flow_id: int | None = None
    """The stored version of the flow; None: the project's fallback destination."""
    fallback: str = ""
    """The project's fallback destination."""
    guard: CallGuard = OPEN_TO_ALL
    """Whom the project does not put through."""
    zone: str = "UTC"
    """The project's time zone."""
    holidays: frozenset[date] = frozenset()
    """Days on which its opening hours do not hold."""
    sounds: Mapping[str, str] = field(default_factory=dict)
    """Files of the project's sounds by name, `….mp3`."""
    is_released: bool = False
    """It was given back, and may be somebody else's line."""


SHARED = ("flow", "own_lines", "guard", "holidays", "sounds")
"""What is too large to stand beside each number in a file."""
PLAIN = [field.name for field in fields(Route) if field.name not in ("hold", *SHARED)]


def route_values(route: Route) -> dict[str, Any]:
    """A route for a file, without what is shared."""
    return {name: getattr(route, name) for name in PLAIN} | {"hold": route.hold.total_seconds()}


def read_route(values: Mapping[str, Any], flow: dict[str, Any], lines: frozenset[str] = frozenset()) -> Route:
    """The route that `route_values` wrote.

    Raises:
        TypeError, KeyError: a file of another program.
    """
    return Route(**{**values, "hold": timedelta(seconds=values["hold"]), "flow": flow, "own_lines": lines})


def read_sounds(rows: Iterable[Row]) -> dict[str, str]:
    """The files of a project's sounds by name. Of a name that was given anew, the present file; of one that is not there any more, the
    last: calls that began with an older version of a flow play it."""
    ordered = sorted(rows, key=lambda row: (row.retired_at is None, row.retired_at or LONG_AGO, row.file))
    return {row.name: f"{row.file}.{row.kind}" for row in ordered}


def read_days(days: Iterable[str]) -> frozenset[date]:
    return frozenset(map(date.fromisoformat, days))


_number, _project = table_of(TrackingNumber).c, table_of(Project).c
_scenario, _flow, _blocked = table_of(Scenario).c, table_of(CallFlow).c, table_of(BlockedCaller).c
_holiday, _sound = table_of(Holiday).c, table_of(Sound).c
GUARD_COLUMNS = (
    *(_project.block_withheld, _project.block_failed_verification, _project.blocked_answer, _project.blocked_sentence),
    *(_project.calls_per_caller, _project.calls_per_number),
)
"""Of a project, for `guard_of`."""

_ROUTES = (
    select(
        _number.id.label("number_id"),
        _number.e164,
        _number.project_id,
        _number.scenario_id,
        _number.static_source,
        _number.overflow,
        _scenario.enabled,
        _scenario.hold_seconds,
        _scenario.title,
        _flow.id.label("flow_id"),
        _flow.document,
        _project.fallback_destination,
        _project.repeat_credit,
        _project.own_numbers,
        _project.destination_numbers,
        *GUARD_COLUMNS,
        _project.timezone,
        _number.released_at,
    )
    .select_from(
        table_of(TrackingNumber)
        .join(table_of(Project), _project.id == _number.project_id)
        .outerjoin(table_of(Scenario), _scenario.id == _number.scenario_id)
        .outerjoin(table_of(CallFlow), _flow.id == func.coalesce(_scenario.call_flow_id, _number.last_flow_id))
    )
    .order_by(_number.released_at.is_not(None), _number.released_at.desc(), _number.id.desc())
)
"""All numbers that were ever ours, those of the present first, then the last released."""
_ROUTE = Statement(lambda _: _ROUTES.where(_number.e164 == bindparam("dialled")).limit(1))
_BLOCKED = Statement(
    lambda _: select(_blocked.pattern).where(
        _blocked.project_id == bindparam("project"), _blocked.taken_back_at.is_(None)
    )
)
_HOLIDAYS = Statement(lambda _: select(_holiday.day).where(_holiday.project_id == bindparam("project")))
SOUND_ROWS = select(_sound.project_id, _sound.name, _sound.file, _sound.kind, _sound.retired_at).where(
    _sound.store != ""
)
_SOUNDS = Statement(lambda _: SOUND_ROWS.where(_sound.project_id == bindparam("project")))
_ROUTE_BY_ID = Statement(lambda _: _ROUTES.where(_number.id == bindparam("number")).limit(1))


def find_route(session: Session, dialled: str) -> Route | None:
    """The route of a number of ours, also of a number that was given back to the carrier and still rings here."""
    row = _ROUTE.first(session, {"dialled": dialled})
    if row is None:
        return None
    project = {"project": row.project_id}
    return _route(row, _BLOCKED.all(session, project), _HOLIDAYS.all(session, project), _SOUNDS.all(session, project))


def find_route_of_call(session: Session, call: InboundCall) -> Route | None:
    """The route of the number that was dialled; where that is none of ours, of the number from which the call was forwarded here. One
    statement, and more only where the carrier writes the number in another way than our table does."""
    for number in (call.number_e164 or call.to, *call.other_readings):
        if route := find_route(session, number):
            return route
    if call.readings_anywhere:
        matching = select(_number.e164).where(_number.e164.in_(call.readings_anywhere)).distinct().limit(2)
        numbers = session.scalars(matching).all()
        if len(numbers) == 1:
            return find_route(session, numbers[0])
    return find_route(session, call.forwarded_from) if call.forwarded_from else None


def route_of(session: Session, number_id: int) -> Route | None:
    """The route of one number of one project, whoever has the same digits now; without the block list, for calls that are there already."""
    row = _ROUTE_BY_ID.first(session, {"number": number_id})
    return _route(row) if row else None


def flow_of(session: Session, flow_id: int) -> Mapping[str, Any] | None:
    """A stored version of a call flow; None: there is none, or it is empty."""
    document = session.scalar(select(_flow.document).where(_flow.id == flow_id))
    return document if is_usable(document) else None


def _route(row: Row, blocked: Iterable[Row] = (), holidays: Iterable[Row] = (), sounds: Iterable[Row] = ()) -> Route:
    flow = row.document
    if not is_usable(flow):
        flow = fallback_flow(row.fallback_destination)
    destinations = [*row.destination_numbers, *(line.get("to") or "" for _, line, _ in lines_in(flow))]
    return Route(
        number_id=row.number_id,
        number=row.e164,
        project_id=row.project_id,
        scenario_id=row.scenario_id,
        scenario_enabled=bool(row.enabled),
        hold=timedelta(seconds=row.hold_seconds or DEFAULT_HOLD_SECONDS),
        static_source=row.static_source,
        overflow=bool(row.overflow),
        flow=flow,
        repeat_credit=row.repeat_credit,
        scenario_title=row.title,
        own_lines=own_lines(row.fallback_destination, row.own_numbers, destinations),
        flow_id=row.flow_id,
        fallback=row.fallback_destination,
        guard=guard_of(row, [entry.pattern for entry in blocked]),
        zone=row.timezone,
        holidays=read_days(holiday.day for holiday in holidays),
        sounds=read_sounds(sounds),
        is_released=row.released_at is not None,
    )


def is_usable(flow: Mapping[str, Any] | None) -> bool:
    """A stored flow says where calls go."""
    return bool(flow and (flow.get("destinations") or flow.get("steps")))


def kept_flow(flow: Mapping[str, Any], flow_id: int | None) -> dict[str, Any]:
    """What a call keeps of the flow that it was given: destinations as they are, of steps the version in which they stand."""
    return {"version": flow_id} if is_full(flow) else dict(flow)


def fallback_flow(destination: str) -> dict[str, Any]:
    return {"destinations": [{"to": destination, "ring_seconds": DEFAULT_RING_SECONDS}]}


def destinations_of(flow: Mapping[str, Any], *excluded: str | None) -> list[Destination]:
    """A flow's destinations in turn, without those that would ring the dialled number or the caller himself, in any spelling: such calls
    go in circles."""
    return [
        Destination(step["to"], int(step.get("ring_seconds") or DEFAULT_RING_SECONDS))
        for step in flow.get("destinations", ())
        if step.get("to") and not any(same_line(step["to"], line) for line in excluded)
    ]


def called_numbers(session: Session, number_ids: Iterable[int], since: datetime) -> set[int]:
    """Which of these numbers had a call since then; one statement. The column `last_call_at` may be a worker's turn behind."""
    called = select(Call.number_id).where(Call.number_id.in_(list(number_ids)), Call.started_at >= since)
    return set(session.scalars(called.where(Call.kind == EXTERNAL).distinct()))


MOST_CALLS = 20_000


def calls_by_lease(session: Session, scenario: Scenario, since: datetime, until: datetime) -> list[PastCall]:
    """The newest calls of a period that were attributed by a lease, oldest first; one statement. Internal calls are not among them."""
    newest = (
        select(Call.started_at, Call.visit_id, Call.confidence, Call.candidates)
        .where(Call.project_id == scenario.project_id, Call.started_at >= since, Call.started_at <= until)
        .where(Call.scenario_id == scenario.id, Call.rule == "lease", Call.kind == EXTERNAL)
        .order_by(Call.started_at.desc(), Call.id.desc())
        .limit(MOST_CALLS)
    )
    return [
        PastCall(
            call.started_at,
            call.visit_id,
            call.confidence or 0.0,
            [(candidate["visit_id"], candidate["probability"]) for candidate in call.candidates],
        )
        for call in reversed(session.execute(newest).all())
    ]
