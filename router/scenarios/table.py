"""The table of scenarios (R3): its rows, filter and order. Rows, not objects, and as many statements
for two hundred scenarios as for one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, case, func, nulls_last, select
from sqlalchemy.orm import Session

from router.accounts.api_habits import make_cursor, read_cursor
from router.accounts.models import Project
from router.scenarios.linting.attention import Attention, attention_of, unpaid_sentence
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server

PAGE, GREATEST_PAGE = 50, 200
"""Scenarios on one page; as many as the address may ask for."""
KINDS = ("dynamic", "static", "mixed")
SORTS = ("status", "name", "type", "numbers", "accuracy", "calls", "created", "upkeep")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A scenario as the table shows it."""

    id: int
    title: str
    enabled: bool
    upkeep_on: bool
    accuracy: int | None
    calls: int
    created_at: datetime
    dynamic: int
    static: int
    overflow: int
    attention: list[Attention]

    @property
    def numbers(self) -> int:
        return self.dynamic + self.static + self.overflow

    @property
    def kind(self) -> str:
        """dynamic, static or mixed; empty without numbers."""
        if self.dynamic and self.static:
            return "mixed"
        return "dynamic" if self.dynamic else "static" if self.static else ""


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What the address asks for; `order` is a name of SORTS, with `-` for descending."""

    text: str = ""
    status: str = ""
    kind: str = ""
    order: str = "-created"
    limit: int = PAGE
    next: str = ""

    @property
    def filtered(self) -> bool:
        return bool(self.text or self.status or self.kind)


def read_query(args: Mapping[str, str]) -> TableQuery:
    """Junk asks for nothing."""
    status, kind, order, limit = (args.get(name, "") for name in ("status", "type", "sort", "limit"))
    return TableQuery(
        text=args.get("q", "").replace("\0", "").strip()[:120],
        status=status if status in ("on", "off") else "",
        kind=kind if kind in KINDS else "",
        order=order if order.removeprefix("-") in SORTS else "-created",
        limit=min(int(limit), GREATEST_PAGE) if limit.isascii() and limit.isdigit() and 0 < len(limit) < 4 else PAGE,
        next=args.get("next", ""),
    )


def table_rows(
    session: Session, server: Server, project: Project, wanted: TableQuery, now: datetime
) -> tuple[list[TableRow], str | None]:
    """One page of the table, and the cursor of the next one; None at the end.

    Raises:
        Problem: 422, `next` is not one that this list gave.
    """
    passed = read_cursor(wanted.next) if wanted.next else 0
    rows = session.execute(_select(project.id, wanted).limit(wanted.limit + 1).offset(passed)).all()
    shown = rows[: wanted.limit]
    ids = [row.id for row in shown]
    numbers = {row.scenario_id: row for row in session.execute(_numbers(ids, now))}
    attention = attention_of(session, server, project, ids)
    following = make_cursor(passed + wanted.limit) if len(rows) > wanted.limit else None
    return [_row(row, numbers.get(row.id), attention[row.id]) for row in shown], following


def table_counts(session: Session, project_id: int) -> tuple[int, int]:
    """How many scenarios the project has, and how many of them are on."""
    on = func.coalesce(func.sum(case((Scenario.enabled, 1), else_=0)), 0)
    counted = select(func.count(Scenario.id), on).where(
        Scenario.project_id == project_id, Scenario.deleted_at.is_(None)
    )
    every, enabled = session.execute(counted).one()
    return every, int(enabled)


def _select(project_id: int, wanted: TableQuery) -> Select[*tuple[Any, ...]]:
    """The page's scenarios in their order. All numbers are counted only where the order or the filter asks for it."""
    statement = select(*(getattr(Scenario, name) for name in COLUMNS)).where(
        Scenario.project_id == project_id, Scenario.deleted_at.is_(None)
    )
    order = _orders().get(wanted.order.removeprefix("-"))
    if order is None or wanted.kind:
        counted = _counted(project_id)
        statement = statement.outerjoin(counted, counted.c.scenario_id == Scenario.id)
        by_numbers = {"type": _kind(counted), "numbers": func.coalesce(counted.c.every, 0)}
        order = order if order is not None else by_numbers[wanted.order.removeprefix("-")]
        if wanted.kind:
            statement = statement.where(by_numbers["type"] == wanted.kind)
    if wanted.text:
        statement = statement.where(Scenario.title.icontains(wanted.text, autoescape=True))
    if wanted.status:
        statement = statement.where(Scenario.enabled.is_(wanted.status == "on"))
    directed = order.desc() if wanted.order.startswith("-") else order.asc()
    return statement.order_by(nulls_last(directed), Scenario.id.desc())


COLUMNS = ("id", "title", "enabled", "upkeep_on", "accuracy", "calls", "created_at")


OVERFLOW = func.coalesce(func.sum(case((TrackingNumber.overflow, 1), else_=0)), 0)


def _orders() -> dict[str, ColumnElement[Any]]:
    """What the scenarios' own columns can be sorted by."""
    return {
        "status": Scenario.enabled.expression,
        "name": func.lower(Scenario.title),
        "accuracy": Scenario.accuracy.expression,
        "calls": Scenario.calls.expression,
        "created": Scenario.created_at.expression,
        "upkeep": Scenario.upkeep_on.expression,
    }


def _counted(project_id: int) -> Subquery:
    return (
        select(
            TrackingNumber.scenario_id,
            func.count(TrackingNumber.id).label("every"),
            func.count(TrackingNumber.static_source).label("static"),
            OVERFLOW.label("overflow"),
        )
        .where(TrackingNumber.project_id == project_id, TrackingNumber.scenario_id.is_not(None))
        .group_by(TrackingNumber.scenario_id)
        .subquery()
    )


def _kind(counted: Subquery) -> ColumnElement[str]:
    return case(
        (func.coalesce(counted.c.every, 0) == func.coalesce(counted.c.overflow, 0), ""),
        (counted.c.static == 0, "dynamic"),
        (counted.c.static == counted.c.every - counted.c.overflow, "static"),
        else_="mixed",
    )


def _numbers(scenario_ids: list[int], now: datetime) -> Select[*tuple[Any, ...]]:
    """The numbers of each scenario: all, static ones, and those whose paid time is over."""
    unpaid = case((and_(TrackingNumber.paid_until <= now, TrackingNumber.owned_elsewhere.is_(False)), 1), else_=0)
    return (
        select(
            TrackingNumber.scenario_id,
            func.count(TrackingNumber.id).label("every"),
            func.count(TrackingNumber.static_source).label("static"),
            OVERFLOW.label("overflow"),
            func.sum(unpaid).label("unpaid"),
        )
        .where(TrackingNumber.scenario_id.in_(scenario_ids))
        .group_by(TrackingNumber.scenario_id)
    )


def _row(
    scenario: Row[*tuple[Any, ...]], numbers: Row[*tuple[Any, ...]] | None, attention: list[Attention]
) -> TableRow:
    every, static, overflow, unpaid = numbers[1:] if numbers else (0, 0, 0, 0)
    shown = {name: getattr(scenario, name) for name in COLUMNS}
    pool = every - static - overflow
    return TableRow(
        dynamic=pool, static=static, overflow=overflow, attention=unpaid_sentence(unpaid) + attention, **shown
    )
