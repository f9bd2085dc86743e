"""What calls are called on pages, the period that a report is about (days of the project's time zone, and the period before), and the
filters of calls that pages and API share. The API refuses what cannot be used, a page passes over it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, WithJsonSchema
from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, func, literal_column, or_, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.tracking.sources import named_source
from router.lib.formats import date_of, days_before, format_day, last_starts, parse_int, start_of
from router.lib.phones import AmbiguousPhone, BadPhone, read_caller, read_phone, spellings_of_line
from router.scenarios.service import scenario_titles
from router.voice.events import call_destinations
from router.voice.models import BLOCKED, EXTERNAL, INTERNAL, Call, Status
from router.web.errors import Problem

CALL_STATUSES: dict[str, tuple[str, str]] = {
    Status.IN_PROGRESS: ("in progress", "quiet"),
    Status.ANSWERED: ("answered", "good"),
    Status.MISSED: ("missed", "bad"),
    Status.BUSY: ("busy", "warn"),
    Status.FAILED: ("failed", "bad"),
    Status.ABANDONED: ("hung up early", "warn"),
    Status.VOICEMAIL: ("voicemail", "warn"),
    Status.UNKNOWN: ("unknown", "quiet"),
}
"""The label of each status, and the kind of its pill."""


def format_source(source: Mapping[str, Any] | None) -> str | None:
    """`google / cpc / spring`; direct visits are `direct`; None when nothing is known."""
    if not source:
        return None
    parts = [str(source[name]) for name in ("source", "medium", "campaign") if source.get(name)]
    if parts == ["direct", "none"]:
        return "direct"
    return " / ".join(parts) or str(source.get("channel") or "") or None


def format_channel(channel: str) -> str:
    """`Paid search`"""
    return channel.replace("_", " ").capitalize() or "Unnamed"


PERIODS = {"today": 1, "7": 7, "30": 30, "90": 90}
DEFAULT = "30"
MOST_DAYS = 800
"""The longest period: two years and a bit, so that a year can be compared with the one before."""


@dataclass(frozen=True)
class Period:
    """From the first to the last day, both whole, in a time zone. `now` limits what the period before is compared up to."""

    first: date
    last: date
    zone: str
    now: datetime

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def since(self) -> datetime:
        return start_of(self.first, self.zone)

    @property
    def until(self) -> datetime:
        """Where it ends: the start of the day after."""
        return start_of(self.last + timedelta(days=1), self.zone)

    @property
    def last_moment(self) -> datetime:
        """A moment of its last day."""
        return start_of(self.last, self.zone)

    @property
    def before_since(self) -> datetime:
        return start_of(self.first - timedelta(days=self.days), self.zone)

    @property
    def before_until(self) -> datetime:
        """The period before has as many days, and ends at the same time of day while this period goes on."""
        if not self.since <= self.now < self.until:
            return self.since
        return days_before(self.now, self.zone, self.days).astimezone(UTC)

    @property
    def name(self) -> str:
        """The name among PERIODS, when the period ends today and is as long; else empty."""
        names = {days: name for name, days in PERIODS.items()}
        return names.get(self.days, "") if self.last == date_of(self.now, self.zone) else ""


Query = TypeVar("Query", bound=BaseModel)


def parse_arguments(model: type[Query], args: Mapping[str, str], project: Project | None = None) -> Query:
    """The parameters of an address; an empty one counts as absent.

    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    return model.model_validate({name: text for name, text in args.items() if text}, context=project)


def one_of(names: Collection[str]) -> Any:
    """In the type of a parameter: the values that it may have."""

    def check(text: str, info: ValidationInfo) -> str:
        if text not in names:
            raise Problem(422, f"“{info.field_name}” is one of {', '.join(names)}.", info.field_name)
        return text

    return AfterValidator(check), Field(json_schema_extra={"enum": list(names)})


def parse_day(text: str, info: ValidationInfo) -> date:
    name = str(info.field_name).rstrip("_")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Problem(422, f"“{name}” is a day, like 2026-11-23.", name) from None
    if not 2000 <= day.year <= 2200:
        raise Problem(422, f"“{name}” is a day between 2000 and 2200.", name)
    return day


Day = Annotated[date, BeforeValidator(parse_day)]


class PeriodQuery(BaseModel):
    """Days, which win, or the name of a period. A first or last day alone is both."""

    from_: Day | None = Field(default=None, alias="from")
    to: Day | None = None
    period: str = Field(default=DEFAULT, json_schema_extra={"enum": list(PERIODS)})

    def of(self, zone: str, now: datetime) -> Period:
        """
        Raises:
            Problem: 422, the days make no period, or there is none of this name.
        """
        today, first, last = date_of(now, zone), self.from_, self.to
        if first or last:
            first, last = first or last or today, last or max(today, first or today)
            if last < first:
                raise Problem(422, "“to” is a day before “from”.", "to")
            if (last - first).days >= MOST_DAYS:
                raise Problem(422, f"A report is about {MOST_DAYS} days at most.", "from")
            return Period(first, last, zone, now)
        if self.period not in PERIODS:
            raise Problem(422, f"“period” is one of {', '.join(PERIODS)}.", "period")
        return Period(today - timedelta(days=PERIODS[self.period] - 1), today, zone, now)


def parse_period(args: Mapping[str, str], zone: str, now: datetime) -> Period:
    """
    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    return parse_arguments(PeriodQuery, args).of(zone, now)


KINDS = (EXTERNAL, INTERNAL, BLOCKED)
NOT_COUNTED = Call.kind != literal_column(f"'{EXTERNAL}'")
"""Internal and blocked calls. Written out, as in the index of these few: a database takes a partial index only for a condition without
parameters."""


def parse_phone(text: str, info: ValidationInfo) -> str:
    """A number, also one that the numbering plans do not know; a plus sign that an address turned into a space is one again."""
    project: Any = info.context
    written = f"+{text[1:]}" if text.startswith(" ") else text
    try:
        return read_phone(written, project.country)
    except BadPhone as error:
        called = read_caller(written) if written.startswith("+") and not isinstance(error, AmbiguousPhone) else None
        if called and called.e164:
            return called.e164
        raise Problem(422, str(error), info.field_name) from None


def parse_id(text: str, info: ValidationInfo) -> int:
    if (number := parse_int(text)) is None:
        raise Problem(422, f"“{info.field_name}” is the id of a {info.field_name}.", info.field_name)
    return number


def parse_moment(text: str, info: ValidationInfo) -> datetime:
    """A moment, or a day of the project's time zone: its start, or its end for `until` and `to`."""
    project: Any = info.context
    name, zone = str(info.field_name).rstrip("_"), project.timezone
    try:
        if len(text) <= 10:
            day = date.fromisoformat(text) + timedelta(days=name in ("until", "to"))
            return start_of(day, zone).astimezone(UTC)
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(422, f"“{name}” is a day or a moment, like 2026-11-23 or 2026-11-23T14:00:00Z.", name) from None


def parse_truth(text: str, info: ValidationInfo) -> bool:
    if text not in ("true", "1", "false", "0"):
        raise Problem(422, f"“{info.field_name}” is true or false.", info.field_name)
    return text in ("true", "1")


Phone = Annotated[str, BeforeValidator(parse_phone)]
Id = Annotated[int, BeforeValidator(parse_id)]
Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string"})]
Truth = Annotated[bool, BeforeValidator(parse_truth), WithJsonSchema({"type": "string", "enum": ["true", "false"]})]


class CallFilter(BaseModel):
    """Calls that fulfil all of these; None asks for nothing.

    Blocked calls are listed apart: with this `kind` only. `source`, `medium` and `campaign` are compared case-folded, as marketing
    sources are; a blank asks for calls without that part.
    """

    status: Annotated[str | None, *one_of(list(Status))] = None
    kind: Annotated[str | None, *one_of(KINDS)] = None
    caller: Phone | None = None
    number: Phone | None = None
    scenario: Id | None = None
    since: Moment | None = Field(
        default=None, description="A day of the project's time zone, or a moment; “from” is the same"
    )
    until: Moment | None = Field(default=None, description="A day, to its end, or a moment; “to” is the same")
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    source: str | None = Field(default=None, description="Empty: calls without it; medium and campaign too")
    medium: str | None = None
    campaign: str | None = None
    channel: str | None = None
    unattributed: Truth | None = None


def parse_filter(args: Mapping[str, str], project: Project) -> CallFilter:
    """
    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    call_filter = parse_arguments(CallFilter, args, project)
    call_filter.since, call_filter.until = call_filter.since or call_filter.from_, call_filter.until or call_filter.to
    return call_filter


def calls_of(session: Session, project_id: int, call_filter: CallFilter) -> Select[Call]:
    """The calls of a filter. Where only a part of a source is asked for, one statement finds the sources that have it."""
    conditions: list[ColumnElement[bool]] = [
        Call.project_id == project_id,
        *within(call_filter.since, call_filter.until),
    ]
    if call_filter.status:
        conditions.append(Call.status == call_filter.status)
    if call_filter.number:
        conditions.append(Call.number == call_filter.number)
    if call_filter.kind is None:
        conditions.append(Call.kind != BLOCKED)
    else:
        conditions.append(Call.kind == call_filter.kind)
        if call_filter.kind != EXTERNAL:
            conditions.append(NOT_COUNTED)
    if call_filter.caller:
        conditions.append(Call.caller.in_(spellings_of_line(call_filter.caller)))
    if call_filter.scenario:
        conditions.append(Call.scenario_id == call_filter.scenario)
    if call_filter.unattributed:
        conditions.append(Call.source_key.is_(None))
    if call_filter.channel is not None:
        channel = func.coalesce(Call.source["channel"].as_string(), "")
        conditions += [Call.source_key.is_not(None), channel == call_filter.channel.strip()]
    source, medium, campaign = call_filter.source, call_filter.medium, call_filter.campaign
    if source is not None and medium is not None and campaign is not None:
        conditions.append(Call.source_key.in_(written_out([named_source(source, medium, campaign).key])))
    elif source is not None or medium is not None or campaign is not None:
        parts_of_source = {"source": source, "medium": medium, "campaign": campaign}
        asked = {name: folded(part) for name, part in parts_of_source.items() if part is not None}
        keys = [  # databases do not fold as Python does
            row.source_key
            for row in session.execute(sources_among(conditions))
            if all(folded(getattr(row, name) or "") == part for name, part in asked.items())
        ]
        conditions.append(Call.source_key.in_(written_out(keys)))
    return select(Call).where(*conditions)


def within(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """Calls that began at or after `since` and before `until`."""
    after = [Call.started_at >= since] if since else []
    return [*after, Call.started_at < until] if until else after


def sources_among(conditions: list[ColumnElement[bool]]) -> Select[*tuple[int, str, str, str]]:
    """The sources that calls are credited to: key, and one way to write source, medium and campaign."""
    parts = [func.min(Call.source[name].as_string()).label(name) for name in ("source", "medium", "campaign")]
    credited = select(Call.source_key, *parts).where(*conditions, Call.source_key.is_not(None))
    return credited.group_by(Call.source_key)


def written_out(numbers: list[int]) -> BindParameter[list[int]]:
    """For `in_`: written into the statement, because databases take some ten thousand parameters at most."""
    return bindparam("written_out", numbers, expanding=True, literal_execute=True)


def folded(part: str) -> str:
    """As marketing sources are compared."""
    return part.casefold().strip()


def parse_source(args: Mapping[str, str]) -> dict[str, str | None]:
    """The parts of a source that are asked for: an absent or empty one asks for nothing, a space for calls that have no such part."""
    return {name: args.get(name) or None for name in ("source", "medium", "campaign", "channel")}


def scenario_choices(session: Session, project_id: int) -> list[tuple[int, str]]:
    """Scenarios that calls can be limited to; deleted ones keep their calls."""
    titles = scenario_titles(session, project_id)
    return [(id, f"{title} (deleted)" if is_deleted else title) for id, (title, is_deleted) in titles.items()]


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
    since, until = _days(args, project, now)
    status, kind = args.get("status"), args.get("kind")
    return CallFilter.model_construct(
        None,
        status=status if status in list(Status) else None,
        kind=kind if kind in KINDS else None,
        scenario=parse_int(args.get("scenario", ""), least=1),
        since=since,
        until=until,
        unattributed=args.get("unattributed") == "1",
        **parse_source(args),
    )


def with_number(calls: Select[Call], typed: str, project: Project) -> Select[Call]:
    """Those of the calls whose caller or tracking number is the typed one, or has the typed digits."""
    typed = typed.replace("\0", "").strip()
    if not typed:
        return calls
    try:
        number = read_phone(typed, project.country)
    except BadPhone:  # perhaps a part of a number
        number = "".join(sign for sign in typed if sign.isdigit()) or typed
    parts = [column.contains(number, autoescape=True) for column in (Call.caller, Call.number)]
    return calls.where(or_(*parts, Call.caller.in_(spellings_of_line(number))))


def _days(args: Args, project: Project, now: datetime) -> tuple[datetime | None, datetime | None]:
    if days := PERIODS.get(args.get("period", "")):
        return last_starts(now, project.timezone, days)[0], None
    own = {name: args.get(name, "") for name in ("from", "to")}
    if not any(own.values()):
        return None, None
    try:
        period = parse_period(own, project.timezone, now)
    except Problem:
        return None, None
    return period.since, period.until


def chosen_beyond(args: Args, project: Project, now: datetime) -> list[tuple[str, Sequence[str]]]:
    """The parts of the filter that no field of the filter line shows: the label of each, and its arguments in the address."""
    chosen: list[tuple[str, Sequence[str]]] = []
    since, until = _days(args, project, now)
    if since and until:
        days = (format_day(since, project.timezone), format_day(until - timedelta(hours=2), project.timezone))
        chosen.append((" to ".join(dict.fromkeys(days)), ("from", "to")))
    parts = {name: part.strip() for name, part in parse_source(args).items() if part is not None}
    channel = parts.pop("channel", "")
    if channel:
        labels = [format_channel(channel), *parts.values()]
    elif parts.get("source") == "direct" and parts.get("medium") == "none":
        labels = ["direct"]
    else:
        labels = [part or f"no {name}" for name, part in parts.items()]
    if label := " / ".join(labels):
        chosen.append((label, ("channel", "source", "medium", "campaign")))
    if args.get("unattributed") == "1":
        chosen.append(("Not known", ("unattributed",)))
    return chosen


def only_announced(call: Call) -> bool:
    """An internal call that rang nobody: its number is forwarded to the telephone that it came from."""
    rings = call.flow["given"]["leads"] != "end" if "given" in call.flow else bool(call_destinations(call))
    return bool(call.flow.get("announcement")) and not rings
