"""What the address of the call list asks for. A page passes over what cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from router.accounts.models import Project
from router.formats import say_day
from router.phones import BadPhone, read_phone
from router.reports.calls import KINDS, STATUSES, CallFilter, read_source
from router.reports.overview import day_starts
from router.reports.periods import PERIODS, read_period
from router.reports.words import say_channel
from router.web import GREATEST_ID, Problem

Args = Mapping[str, str]


def page_filter(args: Args, project: Project, now: datetime) -> CallFilter:
    """A chosen period takes the place of own days."""
    status, scenario = args.get("status", ""), args.get("scenario", "")
    since, until = _days(args, project, now)
    known = scenario.isascii() and scenario.isdigit() and 0 < int(scenario[:20]) <= GREATEST_ID
    return CallFilter(
        status=status if status in STATUSES else None,
        kind=kind if (kind := args.get("kind", "")) in KINDS else None,
        scenario=int(scenario) if known else None,
        since=since,
        until=until,
        party=_party(args.get("q", ""), project.country),
        unattributed=args.get("unattributed") == "1",
        **read_source(args),
    )


def _days(args: Args, project: Project, now: datetime) -> tuple[datetime | None, datetime | None]:
    if days := PERIODS.get(args.get("period", "")):
        return day_starts(project.timezone, now, days)[0], None
    own = {name: args.get(name, "") for name in ("from", "to")}
    if not any(own.values()):
        return None, None
    try:
        period = read_period(own, project.timezone, now)
    except Problem:
        return None, None
    return period.since, period.until


@dataclass(frozen=True)
class Chosen:
    """Something that the address asks for and no field of the filter line shows: in words, and the arguments that say it."""

    said: str
    names: tuple[str, ...]


def chosen_beyond(args: Args, project: Project, now: datetime) -> list[Chosen]:
    chosen = []
    since, until = _days(args, project, now)
    if since and until:
        days = (say_day(since, project.timezone), say_day(until - timedelta(hours=2), project.timezone))
        chosen.append(Chosen(" to ".join(dict.fromkeys(days)), ("from", "to")))
    if said := _say_source(read_source(args)):
        chosen.append(Chosen(said, ("channel", "source", "medium", "campaign")))
    if args.get("unattributed") == "1":
        chosen.append(Chosen("Not known", ("unattributed",)))
    return chosen


def _say_source(given: Mapping[str, str | None]) -> str:
    """`google / cpc / no campaign`"""
    named = {name: part.strip() for name, part in given.items() if part is not None}
    if channel := named.pop("channel", ""):
        return " / ".join([say_channel(channel), *named.values()])
    if named.get("source") == "direct" and named.get("medium") == "none":
        named = {"source": "direct"}
    return " / ".join(part or f"no {name}" for name, part in named.items())


def _party(typed: str, country: str) -> str | None:
    """The number that was typed, or its digits when it is only a part of one."""
    typed = typed.replace("\0", "").strip()
    try:
        return read_phone(typed, country)
    except BadPhone:
        return "".join(sign for sign in typed if sign.isdigit()) or typed or None
