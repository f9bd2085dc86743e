"""Pages of scenarios: the table with its filter, order and switches, the ways into the wizard, and the question before one is deleted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import ColumnElement, String, and_, case, func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.models import Project
from router.accounts.sessions import require_person
from router.lib.formats import format_count, format_money, parse_int
from router.scenarios.documents import numbers_by_scenario, present_scenarios
from router.scenarios.lint import Finding, lint_stored
from router.scenarios.models import RENTED, Scenario, TrackingNumber
from router.scenarios.service import (
    delete_with_numbers,
    duplicate_scenario,
    find_scenario,
    switch_scenario,
    switch_upkeep,
)
from router.scenarios.wizard.drafts import begin_draft, unfinished
from router.scenarios.wizard.forms import NAMES
from router.server import Server, current_server
from router.web.access import Audience, current_project, guard, needs
from router.web.api import Column, page_by_keys
from router.web.errors import Problem
from router.web.forms import row_action

PAGE, GREATEST_PAGE = 50, 200
"""Scenarios on one page; as many as the address may ask for."""
KINDS = ("dynamic", "static", "mixed")
COLUMNS = ("id", "title", "enabled", "upkeep_on", "accuracy", "calls", "created_at")
OWN_SORTS: dict[str, ColumnElement[Any]] = {
    "status": Scenario.enabled.expression,
    "name": func.lower(Scenario.title, type_=String),
    "accuracy": Scenario.accuracy.expression,
    "calls": Scenario.calls.expression,
    "created": Scenario.created_at.expression,
    "upkeep": Scenario.upkeep_on.expression,
}
SORTS = (*OWN_SORTS, "type", "numbers")


@dataclass(frozen=True, slots=True)
class TableRow:
    scenario: Any
    """Its COLUMNS."""
    kind: str
    """dynamic, static or mixed; empty without numbers."""
    dynamic: int
    static: int
    numbers: int
    """All of them: the overflow number too."""
    attention: list[Finding]


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
    session: Session, server: Server, project: Project, query: TableQuery, now: datetime
) -> tuple[list[TableRow], str | None]:
    """One page of the table, and the cursor of the next one; None at the end.

    All numbers of the project are counted only where the order or the filter asks for it, else those of the page's scenarios.

    Raises:
        Problem: 422, `next` is not one that this list gave.
    """
    number = TrackingNumber
    dynamic, static = func.sum(case((number.is_dynamic, 1), else_=0)), func.count(number.static_source)
    kind = case((and_(dynamic > 0, static > 0), "mixed"), (dynamic > 0, "dynamic"), (static > 0, "static"), else_="")
    columns = (dynamic.label("dynamic"), static.label("static"), func.count(number.id).label("every"))
    counts = (
        select(Scenario.id, kind.label("kind"), *columns)
        .outerjoin(number, number.scenario_id == Scenario.id)
        .group_by(Scenario.id)
    )
    statement = present_scenarios(project.id).with_only_columns(*(getattr(Scenario, name) for name in COLUMNS))
    order = query.order.removeprefix("-")
    sorts = dict(OWN_SORTS)
    if order in ("type", "numbers") or query.kind:
        counted = counts.where(Scenario.project_id == project.id).subquery()
        statement = statement.join(counted, counted.c.id == Scenario.id)
        if query.kind:
            statement = statement.where(counted.c.kind == query.kind)
        sorts |= {"type": counted.c.kind, "numbers": counted.c.every}
    if query.text:
        statement = statement.where(Scenario.title.icontains(query.text, autoescape=True))
    if query.status:
        statement = statement.where(Scenario.enabled.is_(query.status == "on"))
    keys: list[tuple[Column, bool]] = [(sorts[order], query.order.startswith("-")), (Scenario.id, True)]
    scenarios, following = page_by_keys(session, statement, keys, query.next, query.limit)

    ids = [scenario.id for scenario in scenarios]
    unpaid = func.sum(case((RENTED & (number.paid_until <= now), 1), else_=0)).label("unpaid")
    numbers = {row.id: row for row in session.execute(counts.add_columns(unpaid).where(Scenario.id.in_(ids)))}
    findings = lint_stored(session, server, project, ids)
    rows: list[TableRow] = []
    for scenario in scenarios:
        own, attention = numbers[scenario.id], findings[scenario.id]
        if own.unpaid:
            sentence = f"{format_count(own.unpaid, 'number')} could not be renewed: top up the balance."
            attention.insert(0, Finding("unpaid", sentence, "numbers", "numbers"))
        rows.append(TableRow(scenario, own.kind, own.dynamic, own.static, own.every, attention))
    return rows, following


scenarios_pages = guard(Blueprint("scenarios", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)


@scenarios_pages.get("")
def table() -> str:
    server, project, query = current_server(), current_project(), read_query(request.args)
    with server.database.reading() as session:
        on = func.coalesce(func.sum(case((Scenario.enabled, 1), else_=0)), 0)
        counted = present_scenarios(project.id).with_only_columns(func.count().label("every"), on.label("enabled"))
        counts = session.execute(counted).one()
        rows, following = table_rows(session, server, project, query, server.now())
        drafts = unfinished(session, project.id, g.person.id)
    return render_template(
        "scenarios/table.html",
        rows=rows,
        following=following,
        query=query,
        every=counts.every,
        enabled=counts.enabled,
        drafts=drafts,
        steps=NAMES,
    )


@scenarios_pages.get("/new")
@needs("admin")
def new() -> Response:
    """Begins a draft; one that was begun and never touched is taken again."""
    with changing() as change:
        draft = begin_draft(change)
    return redirect(url_for("wizard.draft", draft_id=draft.id, step="numbers"))


@scenarios_pages.get("/<int:scenario_id>")
def edit(scenario_id: int) -> Response:
    with current_server().database.reading() as session:
        find_scenario(session, current_project(), scenario_id)
    return redirect(url_for("wizard.change", scenario_id=scenario_id, step="numbers"))


@scenarios_pages.post("/<int:scenario_id>/switch")
def switch(scenario_id: int) -> Response:
    enabled = bool(request.form.get("on"))

    def do() -> str:
        try:
            with changing() as change:
                scenario = switch_scenario(change, scenario_id, enabled)
                # numbers are bought by *Connect* alone, on the page that shows what they cost (R2)
                if enabled and (to_buy := scenario.wanted_numbers):
                    verb = "has" if to_buy == 1 else "have"
                    sentence = f"{format_count(to_buy, 'number')} {verb} to be bought first."
                    raise Problem(409, sentence, review=url_for("connect.review", scenario_id=scenario.id))
        except Problem as refusal:
            if missing := refusal.more.get("missing_minor"):
                refusal.detail = (
                    f"{format_money(missing, current_project().currency)} are missing: top up, then switch on."
                )
            raise
        if not enabled:
            return f"{scenario.title} is off: nobody is shown its numbers, calls still go through."
        return f"{scenario.title} is on: visitors are shown its numbers."

    return row_action(do, url_for("scenarios.table"))


@scenarios_pages.post("/<int:scenario_id>/upkeep-switch")
def upkeep(scenario_id: int) -> Response:
    on = bool(request.form.get("on"))

    def do() -> str:
        with changing() as change:
            scenario = switch_upkeep(change, scenario_id, on)
        if not on:
            return f"Upkeep of {scenario.title} is off: its numbers stay as they are."
        return f"Upkeep of {scenario.title} is on: once a day it buys numbers or gives some back, as accuracy asks."

    return row_action(do, url_for("scenarios.table"))


@scenarios_pages.post("/<int:scenario_id>/duplicate")
def duplicate(scenario_id: int) -> Response:
    with changing() as change:
        copy = duplicate_scenario(change, scenario_id)
    flash(f"{copy.title} is made and off. It has the same rules and no numbers yet.")
    return redirect(url_for("scenarios.edit", scenario_id=copy.id))


@scenarios_pages.get("/<int:scenario_id>/delete")
def ask_delete(scenario_id: int) -> str:
    with current_server().database.reading() as session:
        scenario = find_scenario(session, current_project(), scenario_id)
        numbers = numbers_by_scenario(session, [scenario.id])[scenario.id]
    return render_template("scenarios/delete.html", scenario=scenario, numbers=numbers)


@scenarios_pages.post("/<int:scenario_id>/delete")
def delete(scenario_id: int) -> Response:
    with changing() as change:
        give_back = request.form.get("numbers") == "release"
        scenario, freed, leaving = delete_with_numbers(change, scenario_id, give_back)
    said = [f"{scenario.title} is deleted."]
    if freed:
        said.append(f"{format_count(freed, 'number')} {'is' if freed == 1 else 'are'} free again.")
    if leaving:
        said.append(f"{format_count(leaving, 'number')} {'is' if leaving == 1 else 'are'} being given back.")
    flash(" ".join(said))
    return redirect(url_for("scenarios.table"))
