"""Which calls a list shows: the filters that pages and API share.

What the address of the call list asks for. A page passes over what cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, func, literal_column, or_, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.tracking.sources import named_source
from router.lib.dates import last_starts, start_of
from router.lib.formats import format_day, parse_int
from router.lib.phones import AmbiguousPhone, BadPhone, read_caller, read_phone, spellings_of_line
from router.reports.expected import PERIODS, read_period
from router.reports.overview import say_channel
from router.scenarios.models import Scenario
from router.voice.models import EXTERNAL, INTERNAL, Call
from router.web.errors import Problem

STATUSES = ("in_progress", "answered", "missed", "busy", "failed", "abandoned", "voicemail", "unknown")

KINDS = (EXTERNAL, INTERNAL)
IS_INTERNAL = Call.kind != literal_column(f"'{EXTERNAL}'")
"""Written out, as in the index of the few such calls: a database takes a partial index only for what it can read."""

SOURCE_FILTERS = ("source", "medium", "campaign", "channel", "unattributed")
FILTERS = ("status", "kind", "caller", "number", "scenario", "since", "until", "from", "to", *SOURCE_FILTERS)


@dataclass(frozen=True)
class CallFilter:
    """Calls that fulfil all of these; None asks for nothing. `party` is a caller or a number.

    `source`, `medium` and `campaign` are compared case-folded, as marketing sources are; an empty one asks for calls without it.
    """

    status: str | None = None
    kind: str | None = None
    caller: str | None = None
    number: str | None = None
    party: str | None = None
    scenario: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    channel: str | None = None
    unattributed: bool = False

    @property
    def source_parts(self) -> tuple[str | None, str | None, str | None]:
        return self.source, self.medium, self.campaign


def calls_of(session: Session, project_id: int, wanted: CallFilter) -> Select[Call]:
    """The calls of a filter. Where only a part of a source is asked for, one statement finds the sources that have it."""
    conditions = _conditions(project_id, wanted)
    if any(part is not None for part in wanted.source_parts):
        conditions.append(Call.source_key.in_(written_out(_source_keys(session, conditions, wanted))))
    return select(Call).where(*conditions)


def _conditions(project_id: int, wanted: CallFilter) -> list[ColumnElement[bool]]:
    conditions = [Call.project_id == project_id]
    for name in ("status", "number"):
        if value := getattr(wanted, name):
            conditions.append(getattr(Call, name) == value)
    if wanted.kind:
        conditions.append(Call.kind == EXTERNAL if wanted.kind == EXTERNAL else IS_INTERNAL)
    if wanted.caller:
        conditions.append(Call.caller.in_(spellings_of_line(wanted.caller)))
    if party := wanted.party:
        parts = [Call.caller.contains(party, autoescape=True), Call.number.contains(party, autoescape=True)]
        conditions.append(or_(*parts, Call.caller.in_(spellings_of_line(party))))
    if wanted.scenario:
        conditions.append(Call.scenario_id == wanted.scenario)
    return [*conditions, *within(wanted.since, wanted.until), *_source_conditions(wanted)]


def within(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """Calls that began from a moment on and before another one."""
    after = [Call.started_at >= since] if since else []
    return [*after, Call.started_at < until] if until else after


def _source_conditions(wanted: CallFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Call.source_key.is_(None)] if wanted.unattributed else []
    if wanted.channel is not None:
        channel = func.coalesce(Call.source["channel"].as_string(), "")
        conditions += [Call.source_key.is_not(None), channel == wanted.channel.strip()]
    return conditions


def _source_keys(session: Session, conditions: list[ColumnElement[bool]], wanted: CallFilter) -> list[int]:
    """The keys of the sources that have all wanted parts; databases do not fold as Python does."""
    source, medium, campaign = wanted.source_parts
    if source is not None and medium is not None and campaign is not None:
        return [named_source(source, medium, campaign).key]
    asked = [None if part is None else folded(part) for part in wanted.source_parts]
    return [
        key
        for key, *parts in session.execute(sources_among(conditions))
        if all(one is None or one == folded(part or "") for one, part in zip(asked, parts, strict=True))
    ]


def sources_among(conditions: list[ColumnElement[bool]]) -> Select[*tuple[int, str, str, str]]:
    """The sources that calls are credited to: key, and one way to write source, medium and campaign."""
    parts = [func.min(Call.source[name].as_string()) for name in ("source", "medium", "campaign")]
    found = select(Call.source_key, *parts).where(*conditions, Call.source_key.is_not(None))
    return found.group_by(Call.source_key)


def written_out(numbers: list[int]) -> BindParameter[list[int]]:
    """For `in_`: written into the statement, because databases take some ten thousand parameters at most."""
    return bindparam("written_out", numbers, expanding=True, literal_execute=True)


def folded(part: str) -> str:
    """As marketing sources are compared."""
    return part.casefold().strip()


def read_filter(args: Mapping[str, str], project: Project) -> CallFilter:
    """A filter from an address; all FILTERS are optional. `from` and `to` are other names of `since` and `until`.

    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    zone = project.timezone
    return CallFilter(
        status=_status(args.get("status", "")),
        kind=_kind(args.get("kind", "")),
        caller=_phone("caller", args.get("caller", ""), project.country),
        number=_phone("number", args.get("number", ""), project.country),
        scenario=read_id("scenario", args.get("scenario", "")),
        since=_moment("since", args.get("since", ""), zone, 0) or _moment("from", args.get("from", ""), zone, 0),
        until=_moment("until", args.get("until", ""), zone, 1) or _moment("to", args.get("to", ""), zone, 1),
        unattributed=_switch("unattributed", args.get("unattributed", "")),
        **read_source(args),
    )


def read_source(args: Mapping[str, str]) -> dict[str, str | None]:
    """Which source is asked for; what is absent or empty asks for nothing, a space for calls that have no such part."""
    return {name: args.get(name) or None for name in ("source", "medium", "campaign", "channel")}


def _status(text: str) -> str | None:
    if text and text not in STATUSES:
        raise Problem(422, f"“status” is one of {', '.join(STATUSES)}.", "status")
    return text or None


def _kind(text: str) -> str | None:
    if text and text not in KINDS:
        raise Problem(422, f"“kind” is one of {', '.join(KINDS)}.", "kind")
    return text or None


def _switch(name: str, text: str) -> bool:
    if text not in ("", "true", "1", "false", "0"):
        raise Problem(422, f"“{name}” is true or false.", name)
    return text in ("true", "1")


def _phone(name: str, text: str, country: str) -> str | None:
    """A number, also one that the numbering plans do not know; a plus sign that an address turned into a space is one again."""
    if not text:
        return None
    written = f"+{text[1:]}" if text.startswith(" ") else text
    try:
        return read_phone(written, country)
    except BadPhone as error:
        called = read_caller(written) if written.startswith("+") and not isinstance(error, AmbiguousPhone) else None
        if called and called.e164:
            return called.e164
        raise Problem(422, str(error), name) from None


def read_id(name: str, text: str) -> int | None:
    """
    Raises:
        Problem: 422, it is no id.
    """
    if not text:
        return None
    if (number := parse_int(text)) is None:
        raise Problem(422, f"“{name}” is the id of a {name}.", name)
    return number


def _moment(name: str, text: str, zone: str, days_later: int) -> datetime | None:
    """A moment, or a day of the project's time zone: its start, or `days_later`."""
    if not text:
        return None
    try:
        if len(text) <= 10:
            day = date.fromisoformat(text) + timedelta(days=days_later)
            return start_of(day, zone).astimezone(UTC)
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(422, f"“{name}” is a day or a moment, like 2026-11-23 or 2026-11-23T14:00:00Z.", name) from None


def scenario_titles(session: Session, project_id: int) -> list[tuple[int, str]]:
    """Scenarios that calls can be limited to; deleted ones keep their calls."""
    found = session.execute(
        select(Scenario.id, Scenario.title, Scenario.deleted_at)
        .where(Scenario.project_id == project_id)
        .order_by(Scenario.deleted_at.is_not(None), Scenario.title)
    )
    return [(row.id, row.title + (" (deleted)" if row.deleted_at else "")) for row in found]


def find_call(session: Session, project_id: int, call_id: int) -> Call:
    """
    Raises:
        Problem: 404 when the project has no such call.
    """
    call = session.get(Call, call_id)
    if call is None or call.project_id != project_id:
        raise Problem(404, "There is no such call.")
    return call


Args = Mapping[str, str]


def page_filter(args: Args, project: Project, now: datetime) -> CallFilter:
    """A chosen period takes the place of own days."""
    status, scenario = args.get("status", ""), args.get("scenario", "")
    since, until = _days(args, project, now)
    return CallFilter(
        status=status if status in STATUSES else None,
        kind=kind if (kind := args.get("kind", "")) in KINDS else None,
        scenario=parse_int(scenario, least=1),
        since=since,
        until=until,
        party=_party(args.get("q", ""), project.country),
        unattributed=args.get("unattributed") == "1",
        **read_source(args),
    )


def _days(args: Args, project: Project, now: datetime) -> tuple[datetime | None, datetime | None]:
    if days := PERIODS.get(args.get("period", "")):
        return last_starts(now, project.timezone, days)[0], None
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
        days = (format_day(since, project.timezone), format_day(until - timedelta(hours=2), project.timezone))
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
