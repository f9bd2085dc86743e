"""The figures of the overview: each is an answer, with where it leads.

What calls and marketing sources are called on pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.integrations.models import Delivery, DestinationHealth, Integration
from router.lib.dates import days_before, last_starts
from router.lib.formats import format_exact_moment
from router.lib.phones import line_of, spellings_of_line
from router.scenarios.models import Scenario
from router.voice.events import call_destinations
from router.voice.models import EXTERNAL, LOST, Call

DAYS = 14
MISSED_DAYS = 7
MOST_MISSED = 500


@dataclass(frozen=True)
class DayFigures:
    """Calls from outside of each of the last days, oldest first, today last."""

    calls: Sequence[int]
    lost: Sequence[int]
    by_now_a_week_ago: int

    @property
    def today(self) -> int:
        return self.calls[-1]


def day_figures(session: Session, project: Project, now: datetime) -> DayFigures:
    """Counted in one statement."""
    starts = last_starts(now, project.timezone, DAYS)
    ends = [*starts[1:], now + timedelta(days=1)]
    same_time = days_before(now, project.timezone, 7)
    within = [(Call.started_at >= start) & (Call.started_at < end) for start, end in zip(starts, ends, strict=True)]
    wanted = [func.sum(case((day, 1), else_=0)) for day in within]
    wanted += [func.sum(case((day & Call.status.in_(LOST), 1), else_=0)) for day in within]
    wanted.append(func.sum(case(((Call.started_at >= starts[-8]) & (Call.started_at <= same_time), 1), else_=0)))
    since = select(*wanted).where(Call.project_id == project.id, Call.started_at >= starts[0], Call.kind == EXTERNAL)
    figures = [int(figure or 0) for figure in session.execute(since).one()]
    return DayFigures(figures[:DAYS], figures[DAYS : 2 * DAYS], figures[-1])


def not_called_back(session: Session, project: Project, now: datetime) -> list[Call]:
    """Lost calls of the last 7 days, newest first, one for each caller who was never reached since.

    Calls that the company makes are not seen here: a caller counts as reached once a later call of his was answered.
    """
    since = now - timedelta(days=MISSED_DAYS)
    recent = select(Call).where(Call.project_id == project.id, Call.started_at >= since, Call.caller.is_not(None))
    recent = recent.where(Call.kind == EXTERNAL)
    lost = session.scalars(recent.where(Call.status.in_(LOST)).order_by(Call.id.desc()).limit(MOST_MISSED)).all()
    callers = {spelling for call in lost if call.caller for spelling in spellings_of_line(call.caller)}
    answered = select(Call.caller, func.max(Call.started_at)).where(
        Call.project_id == project.id, Call.started_at >= since, Call.status == "answered", Call.caller.in_(callers)
    )
    reached: dict[str, datetime] = {}
    for caller, at in session.execute(answered.group_by(Call.caller)):
        reached[line_of(caller)] = max(at, reached.get(line_of(caller), at))
    newest = {line_of(call.caller): call for call in reversed(lost) if call.caller}
    waiting = [call for line, call in newest.items() if line not in reached or reached[line] < call.started_at]
    return sorted(waiting, key=lambda call: call.id, reverse=True)


@dataclass(frozen=True)
class Failures:
    """What could not be delivered: dead deliveries, and destinations that fail now with the first reason."""

    dead: int
    failing: Sequence[DestinationHealth]

    @property
    def any(self) -> bool:
        return bool(self.dead or self.failing)


def failures(session: Session, project: Project) -> Failures:
    dead = select(func.count(Delivery.id)).where(Delivery.project_id == project.id, Delivery.state == "dead")
    failing = (
        select(DestinationHealth)
        .where(
            DestinationHealth.failing_since.is_not(None),
            DestinationHealth.destination.in_(
                select(Integration.destination).where(
                    Integration.project_id == project.id, Integration.removed_at.is_(None)
                )
            ),
        )
        .order_by(DestinationHealth.failing_since)
    )
    return Failures(session.scalar(dead) or 0, session.scalars(failing).all())


def shown_scenarios(session: Session, project: Project) -> Sequence[Scenario]:
    """The enabled scenarios, least accurate first: those that need a look come first."""
    enabled = select(Scenario).where(
        Scenario.project_id == project.id, Scenario.deleted_at.is_(None), Scenario.enabled.is_(True)
    )
    return session.scalars(enabled.order_by(Scenario.accuracy.is_(None), Scenario.accuracy, Scenario.id)).all()


STATUS_WORDS = {
    "in_progress": ("in progress", "quiet"),
    "answered": ("answered", "good"),
    "missed": ("missed", "bad"),
    "busy": ("busy", "warn"),
    "failed": ("failed", "bad"),
    "abandoned": ("hung up early", "warn"),
    "voicemail": ("voicemail", "warn"),
    "unknown": ("unknown", "quiet"),
}
"""Each status as a person says it, with the kind of its pill."""

EVENT_WORDS = {
    "call.started": "as the call began",
    "call.ended": "as the call ended",
    "call.updated": "as more became known",
}

KIND_WORDS = {"webhook": "Webhook", "ga4": "Google Analytics", "odoo": "Odoo"}


def receiver(integration: Integration) -> str:
    """Who was told, as the admin calls it."""
    return KIND_WORDS.get(integration.kind, integration.kind)


def only_announced(call: Call) -> bool:
    """An internal call that rang nobody: the telephone that it came from is the one that it would have rung."""
    return bool(call.flow.get("announcement")) and not call_destinations(call)


def say_clock(moment: datetime, zone: str) -> Markup:
    """`16:28:05`, with the date on hover: within a call, seconds count."""
    here = f"{moment.astimezone(ZoneInfo(zone)):%H:%M:%S}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), format_exact_moment(moment, zone), here
    )


def say_source(source: Mapping[str, Any] | None) -> str | None:
    """`google / cpc / spring`; direct visits are `direct`; None when nothing is known."""
    if not source:
        return None
    parts = [str(source[name]) for name in ("source", "medium", "campaign") if source.get(name)]
    if parts == ["direct", "none"]:
        return "direct"
    return " / ".join(parts) or str(source.get("channel") or "") or None


def say_channel(channel: str) -> str:
    """`Paid search`"""
    return channel.replace("_", " ").capitalize() or "Unnamed"
