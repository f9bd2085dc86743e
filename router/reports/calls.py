"""Which calls a list shows: the filters that pages and API share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.phones import BadPhone, read_phone
from router.voice.models import Call
from router.web import GREATEST_ID, Problem

STATUSES = ("in_progress", "answered", "missed", "busy", "failed", "abandoned", "voicemail", "unknown")

FILTERS = ("status", "caller", "number", "scenario", "since", "until")


@dataclass(frozen=True)
class CallFilter:
    """Calls that fulfil all of these; None asks for nothing. `party` is a caller or a number."""

    status: str | None = None
    caller: str | None = None
    number: str | None = None
    party: str | None = None
    scenario: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def calls_of(project_id: int, wanted: CallFilter) -> Select[Call]:
    conditions = [Call.project_id == project_id]
    if wanted.status:
        conditions.append(Call.status == wanted.status)
    if wanted.caller:
        conditions.append(Call.caller == wanted.caller)
    if wanted.number:
        conditions.append(Call.number == wanted.number)
    if wanted.party:
        conditions.append(
            or_(
                Call.caller.contains(wanted.party, autoescape=True), Call.number.contains(wanted.party, autoescape=True)
            )
        )
    if wanted.scenario:
        conditions.append(Call.scenario_id == wanted.scenario)
    if wanted.since:
        conditions.append(Call.started_at >= wanted.since)
    if wanted.until:
        conditions.append(Call.started_at < wanted.until)
    return select(Call).where(*conditions)


def read_filter(args: Mapping[str, str], project: Project) -> CallFilter:
    """A filter from an address; all FILTERS are optional.

    Raises:
        Problem: 422 naming the parameter that cannot be used.
    """
    return CallFilter(
        status=_status(args.get("status", "")),
        caller=_phone("caller", args.get("caller", ""), project.country),
        number=_phone("number", args.get("number", ""), project.country),
        scenario=_id("scenario", args.get("scenario", "")),
        since=_moment("since", args.get("since", ""), project.timezone, 0),
        until=_moment("until", args.get("until", ""), project.timezone, 1),
    )


def _status(text: str) -> str | None:
    if text and text not in STATUSES:
        raise Problem(422, f"“status” is one of {', '.join(STATUSES)}.", "status")
    return text or None


def _phone(name: str, text: str, country: str) -> str | None:
    """A number; a plus sign that an address turned into a space is one again."""
    if not text:
        return None
    try:
        return read_phone(f"+{text[1:]}" if text.startswith(" ") else text, country)
    except BadPhone as error:
        raise Problem(422, str(error), name) from None


def _id(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= GREATEST_ID):
        raise Problem(422, f"“{name}” is the id of a {name}.", name)
    return int(text)


def _moment(name: str, text: str, zone: str, days_later: int) -> datetime | None:
    """A moment, or a day of the project's time zone: its start, or `days_later`."""
    if not text:
        return None
    try:
        if len(text) <= 10:
            day = date.fromisoformat(text) + timedelta(days=days_later)
            return datetime.combine(day, time.min, ZoneInfo(zone))
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
        return moment.astimezone(ZoneInfo("UTC"))
    except (ValueError, OverflowError):
        raise Problem(422, f"“{name}” is a day or a moment, like 2026-11-23 or 2026-11-23T14:00:00Z.", name) from None


def find_call(session: Session, project_id: int, call_id: int) -> Call:
    """
    Raises:
        Problem: 404 when the project has no such call.
    """
    call = session.get(Call, call_id)
    if call is None or call.project_id != project_id:
        raise Problem(404, "There is no such call.")
    return call
