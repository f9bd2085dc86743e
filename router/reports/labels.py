"""What calls and marketing sources are called on pages."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from router.lib.formats import format_exact_moment
from router.voice.models import LegStatus, Status

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

LEG_ENDS: dict[str, tuple[str, str]] = {
    LegStatus.BUSY: ("was busy", "bad"),
    LegStatus.NO_ANSWER: ("did not answer", "bad"),
    LegStatus.FAILED: ("could not be reached", "bad"),
    LegStatus.CANCELED: ("stopped ringing", "quiet"),
}
"""How ringing a destination ended without an answer."""

PERIODS = {"today": "Today", "7": "7 days", "30": "30 days", "90": "90 days"}
GROUPS = {"channel": "Channel", "source": "Source and medium", "campaign": "Campaign"}


def format_clock(moment: datetime, zone: str) -> Markup:
    """`16:28:05`, with the date on hover: within a call, seconds count."""
    here = f"{moment.astimezone(ZoneInfo(zone)):%H:%M:%S}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), format_exact_moment(moment, zone), here
    )


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
