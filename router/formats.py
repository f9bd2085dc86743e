"""How times, durations and counts are said to people."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo


def say_moment(moment: datetime, zone: str, now: datetime) -> str:
    """`today 14:32`, `yesterday 09:05`, `Mon 3 Nov, 09:05`; with the year when it is another one."""
    here, today = moment.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
    if here.date() == today:
        return f"today {here:%H:%M}"
    if here.date() == today - timedelta(days=1):
        return f"yesterday {here:%H:%M}"
    year = "" if here.year == today.year else f" {here.year}"
    return f"{here:%a} {here.day} {here:%b}{year}, {here:%H:%M}"


def say_exactly(moment: datetime, zone: str) -> str:
    """`Monday 3 November 2026, 09:05:17 CET`"""
    here = moment.astimezone(ZoneInfo(zone))
    return f"{here:%A} {here.day} {here:%B %Y, %H:%M:%S %Z}"


def say_day(moment: datetime, zone: str) -> str:
    """`3 Nov 2026`"""
    here = moment.astimezone(ZoneInfo(zone))
    return f"{here.day} {here:%b %Y}"


def say_duration(seconds: float) -> str:
    """`45 s`, `1 min 12 s`, `2 h 5 min`, `3 days 4 h`; the two largest units at most."""
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86400, "day"), (3600, "h"), (60, "min"), (1, "s")):
        amount, left = divmod(left, size)
        if amount or (parts and unit != "day"):
            parts.append((amount, f"{unit}s" if unit == "day" and amount != 1 else unit))
    said = [f"{amount} {unit}" for amount, unit in parts[:2] if amount]
    return " ".join(said) or "0 s"


def say_count(amount: int, one: str, many: str | None = None) -> str:
    """`1 call`, `1,204 calls`, `0 calls`."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"
