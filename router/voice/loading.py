"""Reads routes for the routing snapshot (R12): those of all numbers, or of the numbers that changes concern.

In pages, and what many numbers have in common once: a process that answers calls meanwhile is kept waiting for a page at most. Numbers are
read before the scenarios, projects and flows that they name, so that these are there. What changes between two pages is a later version,
and is read again by it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.db import Row, Statement, table_of
from router.scenarios.models import DEFAULT_HOLD_SECONDS, CallFlow, Scenario, TrackingNumber
from router.voice.models import RoutingChange
from router.voice.routing import Route, fallback_flow, lines_of, own_lines

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

    said: tuple[str, str, list[Any], list[str]]
    """Its fallback destination, repeat credit, own numbers and destination numbers."""
    lines: frozenset[str]
    """Of its own telephones, as far as flows do not add to them."""
    flow: dict[str, Any]
    """That of numbers without one."""
    unions: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)
    """Its lines with those of flows that have others, by these."""

    def lines_with(self, flow: Mapping[str, Any]) -> frozenset[str]:
        """Its telephones while calls follow a flow."""
        lines = lines_of(step.get("to") or "" for step in flow["destinations"])
        return self.lines if lines <= self.lines else self.unions.setdefault(lines, self.lines | lines)


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

_NUMBERS = select(
    *(_number.id, _number.e164, _number.project_id, _number.scenario_id, _number.static_source),
    *(_number.overflow, _number.last_flow_id, _number.released_at),
)
_NUMBERS_AFTER = Statement(
    lambda _: _NUMBERS.where(_number.id > bindparam("after")).order_by(_number.id).limit(bindparam("most"))
)
_COMPANIES = select(
    *(_project.id, _project.fallback_destination, _project.repeat_credit),
    *(_project.own_numbers, _project.destination_numbers),
)
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
    return _load(session, _every_number(session), NOTHING, pause)


def load_some(session: Session, numbers: Iterable[str], known: Loaded, pause: Pause = no_pause) -> Loaded:
    """The routes of these numbers, as far as they are ours. What is the same as in the `known` is that very object."""
    return _load(session, _rows(session, _NUMBERS, _number.e164, numbers), known, pause)


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
    owners: dict[str, set[int]] = {"scenario": set(), "project": set()}
    for change in rows:
        if change.version == before[0]:
            continue
        if change.kind == "tracking_number":
            numbers.add(change.key)
        elif change.kind in owners:
            owners[change.kind].add(int(change.key))
        else:  # of a later program
            return None
    for owner, ids in zip((_number.scenario_id, _number.project_id), owners.values(), strict=True):
        for owner_id in ids:
            after = 0
            page = select(_number.id, _number.e164).where(owner == owner_id).order_by(_number.id).limit(PAGE)
            while found := session.execute(page.where(_number.id > after)).all():
                numbers.update(row.e164 for row in found)
                after = found[-1].id
                pause()
    return Changes(numbers, now, tokens)


def _every_number(session: Session) -> Iterator[Sequence[Row]]:
    after = 0
    while rows := _NUMBERS_AFTER.all(session, {"after": after, "most": PAGE}):
        yield rows
        after = rows[-1].id


def _rows(session: Session, columns: Any, key: ColumnElement[Any], values: Iterable[Any]) -> Iterator[Sequence[Row]]:
    """The rows with one of these values, by pages."""
    wanted = list(values)
    for start in range(0, len(wanted), PAGE):
        yield session.execute(columns.where(key.in_(wanted[start : start + PAGE]))).all()


def _load(session: Session, pages: Iterable[Sequence[Row]], known: Loaded, pause: Pause) -> Loaded:
    numbers: dict[str, Row] = {}
    for page in pages:
        for row in page:
            other = numbers.setdefault(row.e164, row)
            if other is not row and _precedence(row) > _precedence(other):
                numbers[row.e164] = row
        pause()
    companies = _companies(session, {row.project_id for row in numbers.values()}, known.companies)
    scenarios = {
        row.id: row
        for page in _rows(session, _SCENARIOS, _scenario.id, {row.scenario_id for row in numbers.values()} - {None})
        for row in page
    }
    flow_ids = {row.call_flow_id for row in scenarios.values()} | {row.last_flow_id for row in numbers.values()}
    documents: dict[int, Any] = {}
    for page in _rows(session, _FLOWS, _flow.id, flow_ids - {None}):
        for row in page:
            present = known.flows.get(row.id)
            documents[row.id] = present if present == row.document else row.document
        pause()
    shared: dict[tuple[int, int | None, int | None], dict[str, Any]] = {}
    routes = {}
    for done, (e164, row) in enumerate(numbers.items(), 1):
        scenario, flow_id = scenarios.get(row.scenario_id), row.last_flow_id
        if scenario is not None and scenario.call_flow_id is not None:
            flow_id = scenario.call_flow_id
        key = row.project_id, row.scenario_id, flow_id
        common = shared.get(key)
        if common is None:
            common = shared[key] = _common(companies[row.project_id], scenario, flow_id, documents)
        routes[e164] = Route(
            row.id,
            e164,
            row.project_id,
            row.scenario_id,
            static_source=row.static_source,
            overflow=bool(row.overflow),
            **common,
        )
        if done % PAGE == 0:
            pause()
    flows = {common["flow_id"]: common["flow"] for common in shared.values() if common["flow_id"] is not None}
    return Loaded(routes, flows, companies)


def _precedence(row: Row) -> tuple[Any, ...]:
    """Which of two rows with the same digits leads: the present one, else the one released last."""
    return (True, row.id) if row.released_at is None else (False, row.released_at, row.id)


def _companies(session: Session, ids: Collection[int], known: Mapping[int, Company]) -> dict[int, Company]:
    companies = {}
    for page in _rows(session, _COMPANIES, _project.id, ids):
        for row in page:
            present = known.get(row.id)
            said = row.fallback_destination, row.repeat_credit, row.own_numbers, row.destination_numbers
            if present is None or said != present.said:
                lines = own_lines(row.fallback_destination, row.own_numbers, row.destination_numbers)
                present = Company(said, lines, fallback_flow(row.fallback_destination))
            companies[row.id] = present
    return companies


def _common(
    company: Company, scenario: Row | None, flow_id: int | None, documents: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """What the numbers of a project that lead alike have in common in their routes."""
    document = documents.get(flow_id) if flow_id is not None else None
    flow = document if document and document.get("destinations") else company.flow
    fallback, repeat_credit, *_ = company.said
    return {
        "scenario_enabled": bool(scenario and scenario.enabled),
        "hold": timedelta(seconds=(scenario and scenario.hold_seconds) or DEFAULT_HOLD_SECONDS),
        "flow": flow,
        "repeat_credit": repeat_credit,
        "scenario_title": scenario.title if scenario else None,
        "own_lines": company.lines_with(flow),
        "flow_id": flow_id if flow_id in documents else None,
        "fallback": fallback,
    }
