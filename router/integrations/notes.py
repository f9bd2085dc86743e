"""What a CRM's people read about a call, as a little HTML. Everything in it that came from outside is escaped."""

from collections.abc import Mapping
from html import escape
from typing import Any

from router.integrations.base import Message
from router.lib.formats import format_duration, format_percent

MARK = "Call id: "


def call_note(message: Message) -> str:
    """When, who, how it ended, from where and how sure; the recording when there is one. Carries the call's id to find it by."""
    html = [essence(message), *(escape(line) for line in _origin(message)[1:])]
    if message.call["recording"]:
        html.append(_link("Recording", str(message.call["recording"])))
    html.append(escape(f"{MARK}{message.call['sid']}"))
    return f"<p>{'<br>'.join(html)}</p>"


def essence(message: Message) -> str:
    """What a correction would change, as it stands in the note: how the call ended, from where and how sure."""
    call = message.call
    said = f"Call from {call['caller']} to {call['number']}, {message.placeholders['date']}: {_outcome(call)}."
    return f"{escape(said)}<br>{escape(_origin(message)[0])}"


def correction_note(message: Message) -> str:
    return f"<p>Corrected:<br>{essence(message)}<br>{escape(MARK + message.call['sid'])}</p>"


def recording_note(message: Message) -> str:
    link = _link("Recording", str(message.call["recording"]))
    return (
        f"<p>{link} of the call of {escape(message.placeholders['date'])}<br>{escape(MARK + message.call['sid'])}</p>"
    )


def description(message: Message) -> str:
    """Where the lead came from, for the lead itself."""
    return "<br>".join(escape(line) for line in _origin(message))


def _outcome(call: Mapping[str, Any]) -> str:
    status = str(call["status"]).replace("_", " ")
    talk = f", {format_duration(call['duration'])}" if call["duration"] else ""
    ring = f" (rang {format_duration(call['ring_seconds'])})" if call["ring_seconds"] else ""
    return f"{status}{talk}{ring}"


def _origin(message: Message) -> list[str]:
    call = message.call
    source: Mapping[str, Any] = call["source"] or {}
    parts = [str(source[name]) for name in ("source", "medium", "campaign") if source.get(name)]
    lines = [f"Source: {' / '.join(parts) or 'not known'}{_confidence(call['attribution'])}"]
    if call["visit"]:
        lines.append(f"Visit: {call['visit']}")
    for label, value in (("Landing page", call["landing_page"]), ("Referrer", call["referrer"])):
        if value:
            lines.append(f"{label}: {value}")
    return lines


def _confidence(attribution: Mapping[str, Any]) -> str:
    sure = attribution.get("source_confidence")
    sure = attribution.get("confidence") if sure is None else sure
    return "" if sure is None else f", {format_percent(sure)} sure"


def _link(words: str, address: str) -> str:
    if not address.startswith(("https://", "http://")):
        return escape(f"{words}: {address}")
    return f'<a href="{escape(address)}">{escape(words)}</a>'
