"""Pages of tracking numbers: which are in use, free or unpaid; moving, pinning and giving them back; adding own ones."""

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard, needs
from router.accounts.api_habits import rows_of
from router.accounts.sessions import require_person
from router.formats import say_count
from router.phones import international
from router.scenarios.acting import act_at_once
from router.scenarios.deleting import fate_of
from router.scenarios.models import TrackingNumber
from router.scenarios.money.forecast import project_forecast
from router.scenarios.moving import move_numbers, pin_number
from router.scenarios.number_table import number_figures, numbers_asked_for, read_number_query, titles_of
from router.scenarios.numbers import add_numbers, present_numbers, remove_number
from router.scenarios.refusal import Refused
from router.scenarios.renting.paid_time import GRACE
from router.scenarios.renting.release import begin_release
from router.server import current_server
from router.web import GREATEST_ID, Problem

numbers_pages = guard(Blueprint("numbers", __name__, url_prefix="/numbers"), Audience.PEOPLE, require_person)

MOST_LINES = 1000
MOST_CHOSEN = 200


@numbers_pages.get("")
def table() -> str:
    server, project, query = current_server(), current_project(), read_number_query(request.args)
    now = server.now()
    with server.database.reading() as session:
        rows, following = rows_of(session, numbers_asked_for(project.id, query, now), TrackingNumber.id, request.args)
        titles, figures = titles_of(session, project.id), number_figures(session, project.id, now)
        forecast = project_forecast(session, server, project, now)
    return render_template(
        "scenarios/numbers.html",
        rows=rows,
        following=following,
        query=query,
        titles=titles,
        figures=figures,
        forecast=forecast,
        now=now,
        grace_over=now - GRACE,
    )


@numbers_pages.get("/move")
@needs("admin")
def ask_where() -> str:
    with current_server().database.reading() as session:
        numbers = _chosen(session, request.args.getlist("number"))
        titles = titles_of(session, current_project().id)
    return render_template("scenarios/numbers_move.html", numbers=numbers, titles=titles)


@numbers_pages.post("/move")
def move() -> Response:
    server, project = current_server(), current_project()
    to = _id(request.form.get("scenario", "")) if request.form.get("scenario") else None
    with server.database.writing() as session:
        ids = [one.id for one in _chosen(session, request.form.getlist("number"))]
        moved = move_numbers(session, server, project, current_actor(), ids, to, server.now())
        title = titles_of(session, project.id).get(to or 0)
    said = say_count(len(moved), "number")
    flash(
        f"{said} moved to {title}." if title else f"{said} taken out: free for any scenario, calls go where they went."
    )
    return redirect(url_for("numbers.table", scenario=to) if to else url_for("numbers.table", use="free"))


@numbers_pages.post("/<int:number_id>/pin")
def pin(number_id: int) -> Response:
    server, on = current_server(), bool(request.form.get("on"))

    def do(session: Session) -> str:
        number = pin_number(session, current_project(), current_actor(), number_id, on, server.now())
        said = "pinned: the server never gives it back" if on else "no longer pinned"
        return f"{international(number.e164)} is {said}."

    return act_at_once(do, url_for("numbers.table"))


@numbers_pages.get("/release")
@needs("admin")
def ask_release() -> str:
    with current_server().database.reading() as session:
        numbers = _chosen(session, request.args.getlist("number"))
        titles = titles_of(session, current_project().id)
    return render_template(
        "scenarios/numbers_release.html", numbers=numbers, titles=titles, returnable=fate_of(numbers).returnable
    )


@numbers_pages.post("/release")
def release() -> Response:
    """Gives back those of the chosen numbers that are rented and not pinned."""
    server, project = current_server(), current_project()
    with server.database.writing() as session:
        leaving = fate_of(_chosen(session, request.form.getlist("number"))).returnable
        for number in leaving:
            begin_release(session, server, project, current_actor().name, number, server.now())
    verb = "is" if len(leaving) == 1 else "are"
    flash(f"{say_count(len(leaving), 'number')} {verb} being given back to the carrier.")
    return redirect(url_for("numbers.table"))


@numbers_pages.get("/add")
@needs("admin")
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


def _chosen(session: Session, texts: Sequence[str]) -> Sequence[TrackingNumber]:
    """The numbers that were ticked.

    Raises:
        Problem: 422 when none was, or too many; 404 when one of them is no number of this project.
    """
    ids = {_id(text) for text in texts}
    if not ids:
        raise Problem(422, "Choose at least one number in the list, then repeat.")
    if len(ids) > MOST_CHOSEN:
        raise Problem(422, f"At most {MOST_CHOSEN} numbers can be changed at once.")
    wanted = present_numbers(current_project().id).where(TrackingNumber.id.in_(ids))
    found = session.scalars(wanted.order_by(TrackingNumber.e164)).all()
    if len(found) != len(ids):
        raise Problem(404, "There is no such number.")
    return found


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= GREATEST_ID):
        raise Problem(404, "There is nothing here.")
    return int(text)
