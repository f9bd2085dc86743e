"""Days in a project's time zone. Days of 23 and 25 hours are as long as they are."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def date_of(at: datetime, zone: str) -> date:
    """The day on which a moment lies in a time zone."""
    return at.astimezone(ZoneInfo(zone)).date()


def day_of(at: datetime, zone: str) -> str:
    """The same as text: `2026-11-23`."""
    return date_of(at, zone).isoformat()


def start_of(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone))


def span_of(day: str, zone: str) -> tuple[datetime, datetime]:
    """The start of a day and of the next one."""
    first = date.fromisoformat(day)
    return start_of(first, zone), start_of(first + timedelta(days=1), zone)


def last_dates(now: datetime, zone: str, count: int) -> list[date]:
    """The oldest first, today last."""
    today = date_of(now, zone)
    return [today - timedelta(days=back) for back in range(count - 1, -1, -1)]


def last_days(now: datetime, zone: str, count: int) -> list[str]:
    return [day.isoformat() for day in last_dates(now, zone, count)]


def last_starts(now: datetime, zone: str, count: int) -> list[datetime]:
    return [start_of(day, zone) for day in last_dates(now, zone, count)]


def days_before(at: datetime, zone: str, count: int) -> datetime:
    """The same time of day, some days earlier."""
    here = at.astimezone(ZoneInfo(zone))
    return datetime.combine(here.date() - timedelta(days=count), here.time(), ZoneInfo(zone))
