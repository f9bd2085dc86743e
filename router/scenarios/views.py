"""Pages of scenarios: the table with its switches, the form, and the question before one is deleted."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.sessions import require_person
from router.formats import say_count
from router.money import say_money
from router.phones import BadPhone, display, read_phone
from router.scenarios.acting import act_at_once
from router.scenarios.deleting import delete_with_numbers, fate_of
from router.scenarios.documents import numbers_by_scenario, scenario_document
from router.scenarios.form import FieldErrors, Values, document_of_values, part_values, read_values, values_of_document
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers import free_numbers
from router.scenarios.parts import parts_of
from router.scenarios.refusal import Refused
from router.scenarios.scenarios import (
    Secrets,
    change_scenario,
    create_scenario,
    find_scenario,
    switch_scenario,
)
from router.scenarios.switches import switch_upkeep
from router.scenarios.table import read_query, table_counts, table_rows
from router.scenarios.tagging import format_error
from router.server import current_server
from router.web import Problem

scenarios_pages = guard(Blueprint("scenarios", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)

Page = str | tuple[str, int] | Response
EXAMPLE = "+14155552671"


@scenarios_pages.get("")
def table() -> str:
    server, project, query = current_server(), current_project(), read_query(request.args)
    with server.database.reading() as session:
        every, enabled = table_counts(session, project.id)
        rows, following = table_rows(session, server, project, query, server.now())
    return render_template(
        "scenarios/table.html", rows=rows, following=following, query=query, every=every, enabled=enabled
    )


@scenarios_pages.get("/new")
def new() -> str:
    values = values_of_document({}) | {part.name: {} for part in parts_of(current_server())}
    return _form(None, values, {})


@scenarios_pages.post("/new")
def create() -> Page:
    server = current_server()
    values = _typed()
    document = _document(values, enabled=bool(request.form.get("enable")))
    try:
        with server.database.writing() as session:
            scenario, secrets = create_scenario(
                session, server, current_project(), current_actor(), document, server.now()
            )
    except Refused as refusal:
        return _form(None, values, refusal.errors), 422
    said = "is on: visitors are shown its numbers" if scenario.enabled else "is stored and off"
    return _stored(scenario, secrets, f"{scenario.title} {said}.")


@scenarios_pages.get("/<int:scenario_id>")
def edit(scenario_id: int) -> str:
    server = current_server()
    with server.database.reading() as session:
        scenario = find_scenario(session, current_project(), scenario_id)
        document = scenario_document(session, server, scenario)
    parts = {part.name: document[part.name] for part in parts_of(server)}
    return _form(scenario, values_of_document(document) | parts, {}, version=scenario.version)


@scenarios_pages.post("/<int:scenario_id>")
def change(scenario_id: int) -> Page:
    server, project = current_server(), current_project()
    values, version = _typed(), request.form.get("version", 0, int)
    try:
        with server.database.writing() as session:
            scenario, secrets = change_scenario(
                session,
                server,
                project,
                current_actor(),
                scenario_id,
                lambda present: _beside(present) | _document(values, present["enabled"]),
                version,
                server.now(),
            )
    except (Refused, Problem) as refusal:
        return _refused_change(scenario_id, values, version, refusal)
    return _stored(scenario, secrets, f"{scenario.title} is stored.")


def _refused_change(scenario_id: int, values: Values, version: int, refusal: Refused | Problem) -> tuple[str, int]:
    if isinstance(refusal, Problem) and refusal.status != 409:
        raise refusal
    with current_server().database.reading() as session:
        scenario = find_scenario(session, current_project(), scenario_id)
    if isinstance(refusal, Refused):
        return _form(scenario, values, refusal.errors, version), 422
    return _form(scenario, values, {}, version, conflict=refusal.detail), 409


@scenarios_pages.post("/<int:scenario_id>/switch")
def switch(scenario_id: int) -> Response:
    server, project, enabled = current_server(), current_project(), bool(request.form.get("on"))

    def do(session: Session) -> str:
        try:
            scenario = switch_scenario(session, server, project, current_actor(), scenario_id, enabled, server.now())
        except Problem as refusal:
            raise _with_money(refusal, project.currency) from None
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


@scenarios_pages.post("/<int:scenario_id>/upkeep-switch")
def upkeep(scenario_id: int) -> Response:
    server, project, on = current_server(), current_project(), bool(request.form.get("on"))

    def do(session: Session) -> str:
        scenario = switch_upkeep(session, project, current_actor(), scenario_id, on, server.now())
        if not on:
            return f"Upkeep of {scenario.title} is off: its numbers stay as they are."
        return f"Upkeep of {scenario.title} is on: once a day it buys numbers or gives some back, as accuracy asks."

    return act_at_once(do, url_for("scenarios.table"))


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


@scenarios_pages.get("/preview")
def preview() -> dict[str, str]:
    """How a display format shows a number, for the form while somebody types."""
    number = request.args.get("number", "")
    return {"shown": shown_as(request.args.get("format", "")[:60], number)}


def shown_as(mask: str, number: str) -> str:
    """The number in this format, an example when it is none; a dash when the format cannot be used."""
    if format_error(mask):
        return "–"
    try:
        return display(read_phone(number), mask)
    except BadPhone:
        return display(EXAMPLE, mask)


def _typed() -> Values:
    return read_values(request.form) | part_values(parts_of(current_server()), request.form)


def _document(values: Values, enabled: bool) -> dict[str, Any]:
    parts = {part.name: values[part.name] for part in parts_of(current_server())}
    return document_of_values(values, enabled) | parts


def _beside(present: dict[str, Any]) -> dict[str, Any]:
    """What the form has no fields for stays as it is."""
    return {name: present[name] for name in ("channels", "terms", "upkeep", "manager", "to_buy")}


def _stored(scenario: Scenario, secrets: Secrets, said: str) -> Page:
    """Back to the table; secrets that were made are shown this once, on the page that answers."""
    if secrets:
        return render_template("scenarios/secrets.html", scenario=scenario, secrets=secrets, said=said)
    flash(said)
    return redirect(url_for("scenarios.table"))


def _form(
    scenario: Scenario | None, values: Values, errors: dict[str, str], version: int = 0, conflict: str = ""
) -> str:
    server = current_server()
    with server.database.reading() as session:
        numbers = _choices(session, scenario)
    example = next(iter(values["numbers"]), numbers[0].e164 if numbers else EXAMPLE)
    return render_template(
        "scenarios/form.html",
        scenario=scenario,
        values=values,
        errors=FieldErrors(errors, values),
        version=version,
        conflict=conflict,
        numbers=numbers,
        parts=parts_of(server),
        example=example,
        preview=shown_as(values["format"], example),
    )


def _choices(session: Session, scenario: Scenario | None) -> list[TrackingNumber]:
    """The numbers that this scenario has, then those it may take."""
    own = numbers_by_scenario(session, [scenario.id])[scenario.id] if scenario else []
    return own + free_numbers(session, current_project().id)
