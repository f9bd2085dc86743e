"""What calls and marketing sources are called on pages."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from router.formats import say_exactly
from router.integrations.models import Integration
from router.voice.events import told_destinations
from router.voice.models import Call

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

DELIVERY_WORDS = {
    "pending": ("waiting", "quiet"),
    "leased": ("being sent", "quiet"),
    "done": ("delivered", "good"),
    "dead": ("given up", "bad"),
    "skipped": ("skipped", "warn"),
    "expired": ("too late", "warn"),
}

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
    return bool(call.flow.get("announcement")) and not told_destinations(call)


def say_clock(moment: datetime, zone: str) -> Markup:
    """`16:28:05`, with the date on hover: within a call, seconds count."""
    here = f"{moment.astimezone(ZoneInfo(zone)):%H:%M:%S}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), say_exactly(moment, zone), here
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
