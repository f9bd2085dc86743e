"""Reads routes for the routing snapshot (R12): those of all numbers, or of the numbers that changes concern.

In pages, and what many numbers have in common once: a process that answers calls meanwhile is kept waiting for a page at most. Numbers are
read before the scenarios, projects and flows that they name, so that these are there. What changes between two pages is a later version,
and is read again by it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.db import table_of
from router.scenarios.flows import lines_in
from router.scenarios.models import DEFAULT_HOLD_SECONDS, CallFlow, Holiday, Scenario, Sound, TrackingNumber
from router.statements import Row, Statement
from router.voice.blocking.rules import CallGuard, guard_of
from router.voice.models import BlockedCaller, RoutingChange
from router.voice.routing import (
    GUARD_COLUMNS,
    SOUND_ROWS,
    Route,
    fallback_flow,
    is_usable,
    lines_of,
    own_lines,
    read_days,
    read_sounds,
)

PAGE = 1000
"""Rows of a statement."""
MOST_CHANGES = 10_000
"""More are not read one by one: all numbers are."""

Pause = Callable[[], None]
"""Called between pages."""


def no_pause() -> None:
    """Nobody waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Company:
    """What the numbers of a project have in common."""

    said: tuple[Any, ...]
    """What is stored of it that its routes go by."""
    lines: frozenset[str]
    """Of its own telephones, as far as flows do not add to them."""
    flow: dict[str, Any]
    """That of numbers without one."""
    guard: CallGuard
    holidays: frozenset[date]
    sounds: Mapping[str, str]
    unions: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)
    """Its lines with those of flows that have others, by these."""

    def common_of(
        self, scenario: Row | None, flow_id: int | None, documents: Mapping[int, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """What those of its numbers that lead alike have in common in their routes."""
        document = documents.get(flow_id) if flow_id is not None else None
        flow = document if document is not None and is_usable(document) else self.flow
        lines = lines_of(line.get("to") or "" for _, line, _ in lines_in(flow))
        fallback, repeat_credit, _, _, zone, *_ = self.said  # as _COMPANIES has them
        return {
            "scenario_enabled": bool(scenario and scenario.enabled),
            "hold": timedelta(seconds=(scenario and scenario.hold_seconds) or DEFAULT_HOLD_SECONDS),
            "flow": flow,
            "repeat_credit": repeat_credit,
            "scenario_title": scenario.title if scenario else None,
            "own_lines": self.lines if lines <= self.lines else self.unions.setdefault(lines, self.lines | lines),
            "flow_id": flow_id if flow_id in documents else None,
            "fallback": fallback,
            "guard": self.guard,
            "zone": zone,
            "holidays": self.holidays,
            "sounds": self.sounds,
        }


@dataclass(frozen=True, slots=True)
class Loaded:
    routes: Mapping[str, Route]
    """By E.164 number."""
    flows: Mapping[int, Mapping[str, Any]]
    """Of these routes, by the id of the version."""
    companies: Mapping[int, Company]
    """Of these routes, by the id of the project."""


NOTHING = Loaded({}, {}, {})


@dataclass(frozen=True, slots=True)
class Changes:
    numbers: set[str]
    """Whose routes may be others, by E.164."""
    newest: tuple[int, str]
    """The version that they led to, with its token."""
    tokens: Mapping[int, str]
    """Of all versions on the way."""


_number, _project = table_of(TrackingNumber).c, table_of(Project).c
_scenario, _flow, _change = table_of(Scenario).c, table_of(CallFlow).c, table_of(RoutingChange).c
_blocked, _holiday, _sound = table_of(BlockedCaller).c, table_of(Holiday).c, table_of(Sound).c

_NUMBERS = select(
    *(_number.id, _number.e164, _number.project_id, _number.scenario_id, _number.static_source),
    *(_number.overflow, _number.last_flow_id, _number.released_at),
)
_EVERY_NUMBER = Statement(_NUMBERS.where(_number.id > bindparam("after")).order_by(_number.id).limit(bindparam("most")))
_NUMBERS_OF = {
    kind: Statement(
        select(_number.id, _number.e164)
        .where(owner == bindparam("owner"), _number.id > bindparam("after"))
        .order_by(_number.id)
        .limit(bindparam("most"))
    )
    for kind, owner in {"scenario": _number.scenario_id, "project": _number.project_id}.items()
}
"""By the kind of what owns them."""
_COMPANIES = select(
    *(_project.id, _project.fallback_destination, _project.repeat_credit),
    *(_project.own_numbers, _project.destination_numbers, _project.timezone),
    *GUARD_COLUMNS,
)
_BLOCKED = select(_blocked.project_id, _blocked.pattern).where(_blocked.taken_back_at.is_(None))
_HOLIDAYS = select(_holiday.project_id, _holiday.day)
_SCENARIOS = select(_scenario.id, _scenario.enabled, _scenario.hold_seconds, _scenario.title, _scenario.call_flow_id)
_FLOWS = select(_flow.id, _flow.document)
_CHANGES = Statement(
    lambda _: (
        select(_change.version, _change.kind, _change.key, _change.token)
        .where(_change.version >= bindparam("before"))
        .order_by(_change.version)
        .limit(bindparam("most"))
    )
)


def load_all(session: Session, pause: Pause = no_pause) -> Loaded:
    """The routes of all numbers that were ever ours, where two have the same digits the one that `find_route` gives first."""
    return _load(session, _in_order(session, _EVERY_NUMBER, pause), NOTHING, pause)


def load_some(session: Session, numbers: Iterable[str], known: Loaded, pause: Pause = no_pause) -> Loaded:
    """The routes of these numbers, as far as they are ours. What is the same as in the `known` is that very object."""
    return _load(session, _rows(session, _NUMBERS, _number.e164, numbers, pause), known, pause)


def read_changes(
    session: Session, before: tuple[int, str], now: tuple[int, str], pause: Pause = no_pause
) -> Changes | None:
    """What has changed from one version to another, both with their tokens; None: it is not known of all changes, or there were too many,
    or the database has lost the first one."""
    rows = _CHANGES.all(session, {"before": before[0], "most": MOST_CHANGES + 1})
    tokens = {row.version: row.token for row in rows if row.version <= now[0]}
    if len(rows) > MOST_CHANGES or len(tokens) != now[0] - before[0] + 1 or tokens.get(before[0]) != before[1]:
        return None
    numbers: set[str] = set()
    owners: dict[str, set[int]] = {kind: set() for kind in _NUMBERS_OF}
    for change in rows:
        if change.version == before[0]:
            continue
        if change.kind == "tracking_number":
            numbers.add(change.key)
        elif change.kind in owners:
            owners[change.kind].add(int(change.key))
        else:  # of a later program
            return None
    for kind, ids in owners.items():
        for owner_id in ids:
            numbers.update(row.e164 for row in _in_order(session, _NUMBERS_OF[kind], pause, owner=owner_id))
    return Changes(numbers, now, tokens)


def _in_order(session: Session, statement: Statement, pause: Pause, **values: int) -> Iterator[Row]:
    """All rows of a statement in the order of their ids, read by pages."""
    after = 0
    while page := statement.all(session, values | {"after": after, "most": PAGE}):
        yield from page
        after = page[-1].id
        pause()


def _rows(
    session: Session, columns: Any, key: ColumnElement[Any], values: Iterable[Any], pause: Pause
) -> Iterator[Row]:
    """The rows with one of these values, read by pages."""
    wanted = list(values)
    for start in range(0, len(wanted), PAGE):
        yield from session.execute(columns.where(key.in_(wanted[start : start + PAGE]))).all()
        pause()


def _load(session: Session, rows: Iterable[Row], known: Loaded, pause: Pause) -> Loaded:
    numbers: dict[str, Row] = {}
    for row in rows:
        other = numbers.setdefault(row.e164, row)
        if other is not row and _precedence(row) > _precedence(other):
            numbers[row.e164] = row
    companies = {}
    project_ids = {row.project_id for row in numbers.values()}
    blocked: dict[int, set[str]] = {}
    for row in _rows(session, _BLOCKED, _blocked.project_id, project_ids, pause):
        blocked.setdefault(row.project_id, set()).add(row.pattern)
    holidays: dict[int, set[str]] = {}
    for row in _rows(session, _HOLIDAYS, _holiday.project_id, project_ids, pause):
        holidays.setdefault(row.project_id, set()).add(row.day)
    sounds: dict[int, list[Row]] = {}
    for row in _rows(session, SOUND_ROWS, _sound.project_id, project_ids, pause):
        sounds.setdefault(row.project_id, []).append(row)
    for row in _rows(session, _COMPANIES, _project.id, project_ids, pause):
        company = known.companies.get(row.id)
        files = read_sounds(sounds.get(row.id, ()))
        said = (*row[1:], blocked.get(row.id, ()), holidays.get(row.id, ()), files)
        if company is None or said != company.said:
            lines = own_lines(row.fallback_destination, row.own_numbers, row.destination_numbers)
            days = read_days(holidays.get(row.id, ()))
            guard = guard_of(row, blocked.get(row.id, ()))
            company = Company(said, lines, fallback_flow(row.fallback_destination), guard, days, files)
        companies[row.id] = company
    scenario_ids = {row.scenario_id for row in numbers.values()} - {None}
    scenarios = {row.id: row for row in _rows(session, _SCENARIOS, _scenario.id, scenario_ids, pause)}
    flow_ids = {row.call_flow_id for row in scenarios.values()} | {row.last_flow_id for row in numbers.values()}
    documents: dict[int, Any] = {}
    for row in _rows(session, _FLOWS, _flow.id, flow_ids - {None}, pause):
        present = known.flows.get(row.id)
        documents[row.id] = present if present == row.document else row.document
    shared: dict[tuple[int, int | None, int | None], dict[str, Any]] = {}
    routes = {}
    for done, (e164, row) in enumerate(numbers.items(), 1):
        scenario, flow_id = scenarios.get(row.scenario_id), row.last_flow_id
        if scenario is not None and scenario.call_flow_id is not None:
            flow_id = scenario.call_flow_id
        key = row.project_id, row.scenario_id, flow_id
        common = shared.get(key)
        if common is None:
            common = shared[key] = companies[row.project_id].common_of(scenario, flow_id, documents)
        routes[e164] = Route(
            row.id,
            e164,
            row.project_id,
            row.scenario_id,
            static_source=row.static_source,
            overflow=bool(row.overflow),
            is_released=row.released_at is not None,
            **common,
        )
        if done % PAGE == 0:
            pause()
    flows = {common["flow_id"]: common["flow"] for common in shared.values() if common["flow_id"] is not None}
    return Loaded(routes, flows, companies)


def _precedence(row: Row) -> tuple[Any, ...]:
    """Which of two rows with the same digits leads: the present one, else the one released last."""
    return (True, row.id) if row.released_at is None else (False, row.released_at, row.id)
