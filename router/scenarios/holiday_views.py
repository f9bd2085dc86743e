"""Settings, Holidays: the list, a file of a calendar, and days that are typed; the same for programs."""

from datetime import date
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.sessions import require_person, require_token
from router.lib.formats import date_of, format_count
from router.scenarios.holidays import (
    LONGEST_NAME,
    MOST_BYTES,
    UnreadableCalendar,
    add_holidays,
    holidays_of,
    read_calendar,
    remove_holiday,
)
from router.scenarios.models import Holiday
from router.server import current_server
from router.web.access import Audience, current_project, guard, needs
from router.web.api import described, page_of, parse
from router.web.errors import Problem, read_json
from router.web.forms import Form, TextField

holiday_pages = guard(Blueprint("holidays", __name__, url_prefix="/settings/holidays"), Audience.PEOPLE, require_person)
holidays_api = guard(
    Blueprint("holidays_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/holidays"),
    Audience.PROGRAMS,
    require_token,
)
SHOWN_LEFT_OUT = 10


def parse_day(value: object) -> date:
    """
    Raises:
        ValueError: it is no day that a call may come on.
    """
    try:
        day = date.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"“{str(value)[:20]}” is not a day like 2026-12-25.") from None
    if not 2000 <= day.year <= 2100:
        raise ValueError("Name a day between 2000 and 2100.")
    return day


class NewHoliday(BaseModel):
    """A day, in the project's time zone."""

    model_config = ConfigDict(extra="forbid")

    day: Annotated[date, BeforeValidator(parse_day)] = Field(examples=["2026-12-25"])
    name: str = Field(default="", max_length=LONGEST_NAME)


class HolidayForm(Form):
    day = TextField()
    name = TextField()


@holiday_pages.url_value_preprocessor
def allow_a_file(endpoint: str | None, _: Any) -> None:
    """Runs before the hooks of requests, of which the CSRF check reads the form."""
    if endpoint == "holidays.send":
        request.max_content_length = MOST_BYTES + 8192


@holiday_pages.get("")
def table() -> str:
    return _page(HolidayForm())


@holiday_pages.post("")
@needs("admin")
def add() -> Response | tuple[str, int]:
    form = HolidayForm(request.form)
    try:
        new = parse(NewHoliday, form.data)
        with changing() as change:
            add_holidays(change, [(new.day, new.name.strip())])
    except Problem as problem:
        form.refuse(problem)
        return _page(form), problem.status
    flash("The holiday is on the list. It counts for calls from now on.")
    return redirect(url_for("holidays.table"))


@holiday_pages.post("/file", endpoint="send")
@needs("admin")
def send_file() -> Response | str | tuple[str, int]:
    sent, project = request.files.get("file"), current_project()
    try:
        if sent is None or not sent.filename:
            raise UnreadableCalendar("Choose a file first.")
        today = date_of(current_server().now(), project.timezone)
        read = read_calendar(sent.read(MOST_BYTES + 1), project.timezone, today)
        if not read.days:
            raise UnreadableCalendar("No whole day of this calendar lies between a month ago and three years ahead.")
        with changing() as change:
            amount = add_holidays(change, read.days.items(), replacing=request.form.get("replace") == "1")
    except (UnreadableCalendar, Problem) as error:
        return _page(HolidayForm(), error=error.detail if isinstance(error, Problem) else str(error)), 422
    flash(f"{format_count(len(read.days), 'holiday')} of the file are on the list, which has {amount} now.")
    return _page(HolidayForm(), left_out=read.left_out) if read.left_out else redirect(url_for("holidays.table"))


@holiday_pages.post("/<int:holiday_id>/remove")
@needs("admin")
def remove(holiday_id: int) -> Response:
    with changing() as change:
        holiday = remove_holiday(change, holiday_id)
    flash(f"{holiday.name} is a day like others now.")
    return redirect(url_for("holidays.table"))


def _page(form: HolidayForm, error: str = "", left_out: list[str] | None = None) -> str:
    project, server = current_project(), current_server()
    today = date_of(server.now(), project.timezone).isoformat()
    with server.database.reading() as session:
        holidays = holidays_of(session, project.id)
    return render_template(
        "scenarios/holidays.html",
        form=form,
        coming=[holiday for holiday in holidays if holiday.day >= today],
        over=[holiday for holiday in holidays if holiday.day < today],
        name_of_day=lambda holiday: f"{date.fromisoformat(holiday.day):%A, %-d %B %Y}",
        error=error,
        left_out=(left_out or [])[:SHOWN_LEFT_OUT],
        more_left_out=max(0, len(left_out or []) - SHOWN_LEFT_OUT),
    )


class HolidayDocument(BaseModel):
    """A day on which the opening hours of the project do not hold."""

    id: int
    day: str
    name: str


def holiday_document(holiday: Holiday) -> dict[str, Any]:
    return {name: getattr(holiday, name) for name in HolidayDocument.model_fields}


@holidays_api.get("")
@described(answer=HolidayDocument, is_list=True)
def list_holidays(project_id: int) -> dict[str, Any]:
    """The holidays of a project."""
    listed = select(Holiday).where(Holiday.project_id == project_id)
    with current_server().database.reading() as session:
        return page_of(session, listed, Holiday.id, request.args, holiday_document)


@holidays_api.post("")
@needs("admin")
@described(body=NewHoliday, answer=HolidayDocument, status=201)
def add_holiday(project_id: int) -> tuple[dict[str, Any], int]:
    """Add a holiday, or give the one of that day another name."""
    new = parse(NewHoliday, read_json(request))
    with changing() as change:
        add_holidays(change, [(new.day, new.name.strip())])
        of_day = select(Holiday).where(Holiday.project_id == project_id, Holiday.day == new.day.isoformat())
        return holiday_document(change.session.scalars(of_day).one()), 201


@holidays_api.delete("/<int:holiday_id>")
@needs("admin")
@described(status=204)
def delete_holiday(project_id: int, holiday_id: int) -> tuple[str, int]:
    """Make a holiday a day like others."""
    with changing() as change:
        remove_holiday(change, holiday_id)
    return "", 204
