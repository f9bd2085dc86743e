"""Pages of tracking numbers: which are in use, which are free, and adding own ones."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.api_habits import rows_of
from router.accounts.sessions import require_person
from router.formats import say_count
from router.phones import international
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers import add_numbers, present_numbers, remove_number
from router.scenarios.refusal import Refused
from router.scenarios.scenarios import present_scenarios
from router.server import current_server
from router.web import GREATEST_ID

numbers_pages = guard(Blueprint("numbers", __name__, url_prefix="/numbers"), Audience.PEOPLE, require_person)

MOST_LINES = 1000


@numbers_pages.get("")
def table() -> str:
    project = current_project()
    wanted = present_numbers(project.id)
    if (use := request.args.get("use")) in ("used", "free"):
        free = TrackingNumber.scenario_id.is_(None)
        wanted = wanted.where(free if use == "free" else ~free)
    if 0 < (scenario := request.args.get("scenario", 0, int)) <= GREATEST_ID:
        wanted = wanted.where(TrackingNumber.scenario_id == scenario)
    if digits := "".join(sign for sign in request.args.get("q", "") if sign.isdigit()):
        wanted = wanted.where(TrackingNumber.e164.contains(digits))
    with current_server().database.reading() as session:
        rows, following = rows_of(session, wanted, TrackingNumber.id, request.args)
        scenarios = session.scalars(present_scenarios(project.id).order_by(Scenario.title)).all()
        used, free_count = _counts(session, project.id)
    titles = {one.id: one.title for one in scenarios}
    return render_template(
        "scenarios/numbers.html", rows=rows, following=following, titles=titles, used=used, free=free_count
    )


@numbers_pages.get("/add")
def add() -> str:
    return render_template("scenarios/numbers_add.html", text="", errors={})


@numbers_pages.post("/add")
def try_add() -> Response | tuple[str, int]:
    """One number on each line; all of them are added, or none."""
    server = current_server()
    text = request.form.get("numbers", "").replace("\0", "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = _line_errors(lines)
    try:
        if errors:
            raise Refused(errors)
        with server.database.writing() as session:
            added = add_numbers(session, current_project(), current_actor(), lines, server.now())
    except Refused as refusal:
        said = {lines[int(index)] if index else "": why for index, why in refusal.errors.items()}
        return render_template("scenarios/numbers_add.html", text=text, errors=said), 422
    flash(f"{say_count(len(added), 'number')} added. Put {'it' if len(added) == 1 else 'them'} into a scenario next.")
    return redirect(url_for("numbers.table", use="free"))


def _line_errors(lines: list[str]) -> dict[str, str]:
    if not lines:
        return {"": "Write at least one number."}
    if len(lines) > MOST_LINES:
        return {"": f"At most {MOST_LINES} numbers can be added at once."}
    return {}


@numbers_pages.post("/<int:number_id>/remove")
def remove(number_id: int) -> Response:
    server = current_server()
    with server.database.writing() as session:
        number = remove_number(session, current_project(), current_actor(), number_id, server.now())
    flash(f"{international(number.e164)} is removed.")
    return redirect(url_for("numbers.table"))


def _counts(session: Session, project_id: int) -> tuple[int, int]:
    """Numbers in use, and free ones."""
    every, used = session.execute(
        select(func.count(TrackingNumber.id), func.count(TrackingNumber.scenario_id)).where(
            TrackingNumber.project_id == project_id, TrackingNumber.released_at.is_(None)
        )
    ).one()
    return used, every - used
