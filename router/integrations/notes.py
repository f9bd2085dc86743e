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
    end = str(call["status"]).replace("_", " ")
    if call["duration"]:
        end += f", {format_duration(call['duration'])}"
    if call["ring_seconds"]:
        end += f" (rang {format_duration(call['ring_seconds'])})"
    summary = f"Call from {call['caller']} to {call['number']}, {message.placeholders['date']}: {end}."
    return f"{escape(summary)}<br>{escape(_origin(message)[0])}"


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


def _origin(message: Message) -> list[str]:
    call = message.call
    source: Mapping[str, Any] = call["source"] or {}
    parts = [str(source[name]) for name in ("source", "medium", "campaign") if source.get(name)]
    confidence = call["attribution"].get("source_confidence")
    if confidence is None:
        confidence = call["attribution"].get("confidence")
    sure = "" if confidence is None else f", {format_percent(confidence)} sure"
    lines = [f"Source: {' / '.join(parts) or 'not known'}{sure}"]
    if call["visit"]:
        lines.append(f"Visit: {call['visit']}")
    for label, value in (("Landing page", call["landing_page"]), ("Referrer", call["referrer"])):
        if value:
            lines.append(f"{label}: {value}")
    return lines


def _link(words: str, address: str) -> str:
    if not address.startswith(("https://", "http://")):
        return escape(f"{words}: {address}")
    return f'<a href="{escape(address)}">{escape(words)}</a>'
