"""Holidays of a project: days on which its opening hours do not hold. Read from iCalendar files (RFC 5545), which may come from anywhere;
kept as a list of days, which people and programs change; and known to the routing snapshot."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from icalendar import Calendar
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import raise_list_version
from router.lib.formats import format_count
from router.scenarios.models import Holiday
from router.web.errors import Problem

MOST_BYTES = 1024 * 1024
MOST_EVENTS = 2000
MOST_DAYS = 1000
"""Holidays of a project."""
LONGEST_NAME = 120
BACK, AHEAD = timedelta(days=31), timedelta(days=3 * 366)
"""How far from today a calendar is read: a rule without an end has no last day."""
LONGEST_EVENT = timedelta(days=62)
MOST_SECONDS = 3.0
"""Of work on one file; it is looked at between two events."""
MOST_INSTANCES = 5000
"""Of one rule, from its beginning."""

RULE_PARTS = {
    "YEARLY": {"BYMONTH", "BYMONTHDAY", "BYDAY", "BYSETPOS"},
    "MONTHLY": {"BYMONTH", "BYMONTHDAY", "BYDAY", "BYSETPOS"},
    "WEEKLY": {"BYDAY"},
    "DAILY": set(),
}
"""The rules that are read, and what each may name beside its interval and end. Others may be computed for hours without one day."""
LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class UnreadableCalendar(ValueError):
    """The message says what is wrong, for the person who sent the file."""


@dataclass
class ReadHolidays:
    """What a file says."""

    days: dict[date, str] = field(default_factory=dict)
    """With the name of each."""
    left_out: list[str] = field(default_factory=list)
    """A sentence for each event that makes no holiday, and why."""


def read_calendar(data: bytes, zone: str, today: date) -> ReadHolidays:
    """The whole days of a calendar's events from a month ago to three years ahead. An event with times closes the days that it covers from
    midnight to midnight in the project's time zone.

    Raises:
        UnreadableCalendar: it is no calendar, or too much.
    """
    if len(data) > MOST_BYTES:
        raise UnreadableCalendar("The file is larger than 1 MB: export the holidays alone.")
    if b"BEGIN:VCALENDAR" not in data[:4096].upper():
        raise UnreadableCalendar("This is no iCalendar file: it ends in .ics and begins with BEGIN:VCALENDAR.")
    if data.upper().count(b"BEGIN:VEVENT") > MOST_EVENTS:
        raise UnreadableCalendar(f"The file has more than {MOST_EVENTS} events: export the holidays alone.")
    try:
        calendars = Calendar.from_ical(data.replace(b"\0", b""), multiple=True)
        events = [event for calendar in calendars for event in calendar.walk("VEVENT")]
    except Exception as error:  # whatever a library of other people's grammar meets in a hostile file
        raise UnreadableCalendar(
            f"The file cannot be read as a calendar: {str(error)[:120] or type(error).__name__}"
        ) from None
    return _read_events(events, ZoneInfo(zone), today - BACK, today + AHEAD)


def _read_events(events: Sequence[Any], zone: ZoneInfo, first: date, last: date) -> ReadHolidays:
    found, began = ReadHolidays(), time.monotonic()
    moved: dict[str, set[date]] = {}
    """Of a rule's event, by its id, the days whose instance is told by an event of its own."""
    for event in events:
        if "RECURRENCE-ID" in event:
            instance = getattr(event.get("RECURRENCE-ID"), "dt", None)
            if instance is not None:
                moved.setdefault(str(event.get("UID", "")), set()).add(_day_of(instance, zone))
    for event in events:
        if time.monotonic() - began > MOST_SECONDS:
            raise UnreadableCalendar(
                "The rules of this calendar take too long: export the holidays of some years alone."
            )
        summary = "".join(sign if sign.isprintable() else " " for sign in str(event.get("SUMMARY", "")))
        name = " ".join(summary.split())[:LONGEST_NAME] or "Holiday"
        try:
            if str(event.get("STATUS", "")).upper() == "CANCELLED":
                continue
            length, starts = _starts(event, zone, first, last)
            skipped = set() if "RECURRENCE-ID" in event else moved.get(str(event.get("UID", "")), set())
            days = [
                day for start in starts if _day_of(start, zone) not in skipped for day in _days(start, length, zone)
            ]
        except UnreadableCalendar as error:
            found.left_out.append(f"“{name}” {error}")
            continue
        except Exception:  # dates beyond all calendars, values of another kind
            found.left_out.append(f"“{name}” has a date or a rule that cannot be read.")
            continue
        start = event.get("DTSTART")
        if not days and (start is None or isinstance(start.dt, datetime)):
            found.left_out.append(f"“{name}” lasts only a part of a day.")
        for day in days:
            if first <= day <= last:
                found.days.setdefault(day, name)
        if len(found.days) > MOST_DAYS:
            raise UnreadableCalendar(f"The calendar makes more than {MOST_DAYS} holidays: export the holidays alone.")
    return found


def _starts(event: Any, zone: ZoneInfo, first: date, last: date) -> tuple[timedelta, Iterator[date]]:
    """How long an event lasts, and when it begins, each time."""
    if "DTSTART" not in event:
        raise UnreadableCalendar("has no beginning.")
    start = event.get("DTSTART").dt
    if not 1900 <= start.year <= 2200:
        raise UnreadableCalendar("lies outside of all times that count.")
    if "DTEND" in event:
        length = _moment(event.get("DTEND").dt, zone) - _moment(start, zone)
    elif "DURATION" in event:
        length = event.get("DURATION").dt
    else:
        length = timedelta(0) if isinstance(start, datetime) else timedelta(days=1)
    if length < timedelta(0) or length > LONGEST_EVENT:
        raise UnreadableCalendar(f"ends before it begins, or lasts longer than {LONGEST_EVENT.days} days.")
    if not isinstance(start, datetime):  # days, whatever the clocks do between them
        length = timedelta(days=max(1, round(length / timedelta(days=1))))
    return length, _instances(event, start, first - LONGEST_EVENT, last, zone)


def _instances(event: Any, start: date, first: date, last: date, zone: ZoneInfo) -> Iterator[date]:
    """The event's own beginning, or those of its rule and its list, without the exceptions, between two days."""
    rules = event.get("RRULE")
    left_out = {_day_of(each, zone) for each in _dates(event.get("EXDATE"))}
    starts: list[date] = [start, *(each for each in _dates(event.get("RDATE")))]
    if rules is not None:
        if isinstance(rules, list):
            raise UnreadableCalendar("has several rules of repetition.")
        starts += _by_rule(rules, start, last)
    for each in sorted(starts, key=lambda one: _moment(one, zone)):
        if first <= _day_of(each, zone) <= last and _day_of(each, zone) not in left_out:
            yield each


def _by_rule(rule: Any, start: date, last: date) -> Iterator[date]:
    """https://www.rfc-editor.org/rfc/rfc5545#section-3.3.10"""
    parts = {str(name).upper(): value for name, value in rule.items()}
    frequency = str((parts.get("FREQ") or [""])[0]).upper()
    named = {name for name in parts if name.startswith("BY")}
    interval = int((parts.get("INTERVAL") or [1])[0])
    if frequency not in RULE_PARTS or named - RULE_PARTS[frequency] or not 1 <= interval <= 100:
        raise UnreadableCalendar("repeats by a rule that is not read here: write its days yourself.")
    months = [int(month) for month in parts.get("BYMONTH") or []]
    days = [abs(int(day)) for day in parts.get("BYMONTHDAY") or []]
    longest = max((LONGEST_MONTHS.get(month, 31) for month in months), default=31)
    if any(not 1 <= month <= 12 for month in months) or (days and min(days) > longest) or 0 in days:
        raise UnreadableCalendar("repeats on a day that never comes.")
    text = ";".join(
        f"{name}={','.join(each.to_ical().decode() if hasattr(each, 'to_ical') else str(each) for each in value)}"
        for name, value in parts.items()
        if name not in ("UNTIL", "WKST")
    )
    # as if clocks were those of UTC: a rule repeats by the clock on the wall, whatever that is
    local = start.replace(tzinfo=UTC) if isinstance(start, datetime) else _last_second(start)
    until = next(iter(parts.get("UNTIL") or []), None)
    end = _last_second(last)
    if until is not None:
        end = min(end, _last_second(until))
    for count, each in enumerate(rrulestr(text, dtstart=local)):
        if each > end or count >= MOST_INSTANCES:
            return
        yield each.replace(tzinfo=start.tzinfo) if isinstance(start, datetime) else each.date()


def _last_second(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)


def _dates(values: Any) -> Iterator[date]:
    for each in values if isinstance(values, list) else [values] if values is not None else []:
        for one in each.dts:
            yield one.dt[0] if isinstance(one.dt, tuple) else one.dt


def _moment(value: date, zone: ZoneInfo) -> datetime:
    """A floating time is one of the project's."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=zone)
    return value if value.tzinfo else value.replace(tzinfo=zone)


def _day_of(value: date, zone: ZoneInfo) -> date:
    return _moment(value, zone).astimezone(zone).date() if isinstance(value, datetime) else value


def _days(start: date, length: timedelta, zone: ZoneInfo) -> Iterator[date]:
    """The whole days from a beginning on."""
    if not isinstance(start, datetime):
        yield from (start + timedelta(days=count) for count in range(length.days))
        return
    begins = _moment(start, zone).astimezone(UTC)
    ends = begins + length
    day = begins.astimezone(zone).date()
    while (midnight := datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)) < ends:
        following = day + timedelta(days=1)
        if (
            begins <= midnight
            and datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC) <= ends
        ):
            yield day
        day = following


def holidays_of(session: Session, project_id: int) -> Sequence[Holiday]:
    """In their order."""
    return session.scalars(select(Holiday).where(Holiday.project_id == project_id).order_by(Holiday.day)).all()


def add_holidays(change: Change, days: Iterable[tuple[date, str]], *, replacing: bool = False) -> int:
    """Writes days of which none is there; one that is gets the new name. Returns how many the list has then.

    Args:
        replacing: the days that are there and not among these are removed.

    Raises:
        Problem: 422, they would be too many.
    """
    session, project_id = change.session, change.project.id
    raise_list_version(session, project_id)
    present = {holiday.day: holiday for holiday in holidays_of(session, project_id)}
    wanted = {day.isoformat(): name[:LONGEST_NAME] or "Holiday" for day, name in days}
    if len(present.keys() | wanted.keys()) > MOST_DAYS and not replacing:
        raise Problem(422, f"A project has {MOST_DAYS} holidays at most: remove those that are over.", "day")
    for day, name in wanted.items():
        if day in present:
            present[day].name = name
        else:
            session.add(Holiday(project_id=project_id, day=day, name=name))
    if replacing:
        gone = [holiday.id for day, holiday in present.items() if day not in wanted]
        session.execute(delete(Holiday).where(Holiday.id.in_(gone)))
    session.flush()
    change.record("holidays added", format_count(len(wanted), "day"), replaced=replacing)
    return len(wanted if replacing else present.keys() | wanted.keys())


def remove_holiday(change: Change, holiday_id: int) -> Holiday:
    """
    Raises:
        Problem: 404, the project has no such holiday.
    """
    holiday = change.session.get(Holiday, holiday_id)
    if holiday is None or holiday.project_id != change.project.id:
        raise Problem(404, "There is no such holiday.")
    change.session.delete(holiday)
    change.session.flush()
    change.record("holiday removed", f"{holiday.day} {holiday.name}")
    raise_list_version(change.session, change.project.id)
    return holiday
