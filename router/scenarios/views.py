"""Pages of scenarios: the table with its switches, the ways into the wizard, and the question before one is deleted."""

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard, needs
from router.accounts.sessions import require_person
from router.formats import say_count
from router.money import say_money
from router.scenarios.acting import act_at_once
from router.scenarios.deleting import delete_with_numbers, fate_of
from router.scenarios.documents import numbers_by_scenario
from router.scenarios.duplicate import duplicate_scenario
from router.scenarios.models import Scenario
from router.scenarios.scenarios import find_scenario, switch_scenario
from router.scenarios.switches import switch_upkeep
from router.scenarios.table import read_query, table_counts, table_rows
from router.scenarios.wizard.drafts import begin_draft, unfinished
from router.server import current_server
from router.web import Problem

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
    sentence = f"{say_money(missing, currency)} are missing: top up, then switch on."
    return Problem(refusal.status, sentence, refusal.field, **refusal.more)


def _check_bought(scenario: Scenario, enabled: bool) -> None:
    """Numbers are bought by *Connect* alone, on the page that shows what they cost (R2)."""
    pending = len(scenario.to_buy.get("numbers", [])) + int(scenario.to_buy.get("count", 0))
    if enabled and pending:
        said = f"{say_count(pending, 'number')} {'has' if pending == 1 else 'have'} to be bought first."
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
        said.append(f"{say_count(freed, 'number')} {'is' if freed == 1 else 'are'} free again.")
    if leaving:
        said.append(f"{say_count(leaving, 'number')} {'is' if leaving == 1 else 'are'} being given back.")
    flash(" ".join(said))
    return redirect(url_for("scenarios.table"))
