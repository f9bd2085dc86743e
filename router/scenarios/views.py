"""Pages of scenarios: the table with its switches, the ways into the wizard, and the question before one is deleted.

The table of scenarios (R3): its rows, filter and order. Rows, not objects, and as many statements
for two hundred scenarios as for one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import ColumnElement, Row, Select, String, Subquery, and_, case, func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.models import Project
from router.accounts.sessions import require_person
from router.lib.formats import format_count, format_money, parse_int
from router.scenarios.deletion import delete_with_numbers, fate_of
from router.scenarios.documents import numbers_by_scenario
from router.scenarios.lint.rules import Attention, attention_of, unpaid_sentence
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.service import duplicate_scenario, find_scenario, switch_scenario, switch_upkeep
from router.scenarios.wizard.drafts import begin_draft, unfinished
from router.server import Server, current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import Column, page_by_keys
from router.web.errors import Problem
from router.web.forms import act_at_once

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
        limit=min(parse_int(limit, least=1) or PAGE, GREATEST_PAGE),
        next=args.get("next", ""),
    )


def table_rows(
    session: Session, server: Server, project: Project, wanted: TableQuery, now: datetime
) -> tuple[list[TableRow], str | None]:
    """One page of the table, and the cursor of the next one; None at the end.

    Raises:
        Problem: 422, `next` is not one that this list gave.
    """
    statement, order = _select(project.id, wanted)
    keys: list[tuple[Column, bool]] = [(order, wanted.order.startswith("-")), (Scenario.id, True)]
    shown, following = page_by_keys(session, statement, keys, wanted.next, wanted.limit)
    ids = [row.id for row in shown]
    numbers = {row.scenario_id: row for row in session.execute(_numbers(ids, now))}
    attention = attention_of(session, server, project, ids)
    return [_row(row, numbers.get(row.id), attention[row.id]) for row in shown], following


def table_counts(session: Session, project_id: int) -> tuple[int, int]:
    """How many scenarios the project has, and how many of them are on."""
    on = func.coalesce(func.sum(case((Scenario.enabled, 1), else_=0)), 0)
    counted = select(func.count(Scenario.id), on).where(
        Scenario.project_id == project_id, Scenario.deleted_at.is_(None)
    )
    every, enabled = session.execute(counted).one()
    return every, int(enabled)


def _select(project_id: int, wanted: TableQuery) -> tuple[Select[*tuple[Any, ...]], ColumnElement[Any]]:
    """The page's scenarios and what they are sorted by. All numbers are counted only where the order or the filter asks for it."""
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
    return statement, order


COLUMNS = ("id", "title", "enabled", "upkeep_on", "accuracy", "calls", "created_at")


OVERFLOW = func.coalesce(func.sum(case((TrackingNumber.overflow, 1), else_=0)), 0)


def _orders() -> dict[str, ColumnElement[Any]]:
    """What the scenarios' own columns can be sorted by."""
    return {
        "status": Scenario.enabled.expression,
        "name": func.lower(Scenario.title, type_=String),
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


scenarios_pages = guard(Blueprint("scenarios", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)


@scenarios_pages.get("")
def table() -> str:
    server, project, query = current_server(), current_project(), read_query(request.args)
    with server.database.reading() as session:
        every, enabled = table_counts(session, project.id)
        rows, following = table_rows(session, server, project, query, server.now())
        drafts = unfinished(session, project.id, g.person.id)
    return render_template(
        "scenarios/table.html",
        rows=rows,
        following=following,
        query=query,
        every=every,
        enabled=enabled,
        drafts=drafts,
    )


@scenarios_pages.get("/new")
@needs("admin")
def new() -> Response:
    """Begins a draft; one that was begun and never touched is taken again."""
    server = current_server()
    with server.database.writing() as session:
        draft = begin_draft(session, server.keys, current_project().id, g.person.id, server.now())
    return redirect(url_for("wizard.draft", draft_id=draft.id, step="numbers"))


@scenarios_pages.get("/<int:scenario_id>")
def edit(scenario_id: int) -> Response:
    with current_server().database.reading() as session:
        find_scenario(session, current_project(), scenario_id)
    return redirect(url_for("wizard.change", scenario_id=scenario_id, step="numbers"))


@scenarios_pages.post("/<int:scenario_id>/switch")
def switch(scenario_id: int) -> Response:
    server, project, enabled = current_server(), current_project(), bool(request.form.get("on"))

    def do(session: Session) -> str:
        try:
            scenario = switch_scenario(session, server, project, current_actor(), scenario_id, enabled, server.now())
        except Problem as refusal:
            raise _with_money(refusal, project.currency) from None
        _check_bought(scenario, enabled)
        return f"{scenario.title} is {SWITCHED[enabled]}."

    return act_at_once(do, url_for("scenarios.table"))


SWITCHED = {
    True: "on: visitors are shown its numbers",
    False: "off: nobody is shown its numbers, calls still go through",
}


def _with_money(refusal: Problem, currency: str) -> Problem:
    """A refusal for want of money says how much it is."""
    missing = refusal.more.get("missing_minor")
    if not missing:
        return refusal
    sentence = f"{format_money(missing, currency)} are missing: top up, then switch on."
    return Problem(refusal.status, sentence, refusal.field, **refusal.more)


def _check_bought(scenario: Scenario, enabled: bool) -> None:
    """Numbers are bought by *Connect* alone, on the page that shows what they cost (R2)."""
    pending = len(scenario.to_buy.get("numbers", [])) + int(scenario.to_buy.get("count", 0))
    if enabled and pending:
        said = f"{format_count(pending, 'number')} {'has' if pending == 1 else 'have'} to be bought first."
        raise Problem(409, said, review=url_for("connect.review", scenario_id=scenario.id))


@scenarios_pages.post("/<int:scenario_id>/upkeep-switch")
def upkeep(scenario_id: int) -> Response:
    server, project, on = current_server(), current_project(), bool(request.form.get("on"))

    def do(session: Session) -> str:
        scenario = switch_upkeep(session, project, current_actor(), scenario_id, on, server.now())
        if not on:
            return f"Upkeep of {scenario.title} is off: its numbers stay as they are."
        return f"Upkeep of {scenario.title} is on: once a day it buys numbers or gives some back, as accuracy asks."

    return act_at_once(do, url_for("scenarios.table"))


@scenarios_pages.post("/<int:scenario_id>/duplicate")
def duplicate(scenario_id: int) -> Response:
    server, project = current_server(), current_project()
    with server.database.writing() as session:
        copy = duplicate_scenario(session, server, project, current_actor(), scenario_id, server.now())
    flash(f"{copy.title} is made and off. It has the same rules and no numbers yet.")
    return redirect(url_for("scenarios.edit", scenario_id=copy.id))


@scenarios_pages.get("/<int:scenario_id>/delete")
def ask_delete(scenario_id: int) -> str:
    with current_server().database.reading() as session:
        scenario = find_scenario(session, current_project(), scenario_id)
        fate = fate_of(numbers_by_scenario(session, [scenario.id])[scenario.id])
    return render_template("scenarios/delete.html", scenario=scenario, fate=fate)


@scenarios_pages.post("/<int:scenario_id>/delete")
def delete(scenario_id: int) -> Response:
    server, project, give_back = current_server(), current_project(), request.form.get("numbers") == "release"
    with server.database.writing() as session:
        scenario, freed, leaving = delete_with_numbers(
            session, server, project, current_actor(), scenario_id, give_back, server.now()
        )
    said = [f"{scenario.title} is deleted."]
    if freed:
        said.append(f"{format_count(freed, 'number')} {'is' if freed == 1 else 'are'} free again.")
    if leaving:
        said.append(f"{format_count(leaving, 'number')} {'is' if leaving == 1 else 'are'} being given back.")
    flash(" ".join(said))
    return redirect(url_for("scenarios.table"))
