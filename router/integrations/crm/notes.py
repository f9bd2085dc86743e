"""A call in words, for people who read it in their CRM."""

import re
from collections.abc import Mapping
from html import escape, unescape
from typing import Any

from router.integrations.base import Message
from router.lib.formats import format_duration, format_percent

MARK = "Call id: "


def caller_mark(caller: str | None) -> str:
    """How an entry of a call begins: its caller's entries are found by it."""
    return f"Call from {caller or 'a withheld number'}"


def call_note(message: Message) -> str:
    """When, who, how the call ended, from where and how sure; its recording; and its id, by which the note is found again."""
    html = [essence(message), *(escape(line) for line in origin(message)[1:])]
    if page := recording_page(message):
        html.append(_link("Recording", page))
    return _note(message, *html)


def essence(message: Message) -> str:
    """What a correction would change, as it stands in the note: how the call ended, from where and how sure."""
    call = message.call
    end = message.outcome.replace("_", " ")
    if call["duration"]:
        end += f", {format_duration(call['duration'])}"
    if call["ring_seconds"]:
        end += f" (rang {format_duration(call['ring_seconds'])})"
    summary = f"{caller_mark(call['caller'])} to {call['number']}, {message.placeholders['date']}: {end}."
    return f"{escape(summary)}<br>{escape(origin(message)[0])}"


def correction_note(message: Message) -> str:
    return _note(message, "Corrected:", essence(message))


def recording_page(message: Message) -> str:
    """Where people hear what was recorded of the call; empty: there is nothing to hear, and nothing is expected."""
    recording: Mapping[str, Any] = message.call["recording"] or {}
    return str(recording["page"]) if recording.get("state") in ("waiting", "kept") else ""


def recording_note(message: Message) -> str:
    link = _link("Recording", recording_page(message))
    return _note(message, f"{link} of the call of {escape(message.placeholders['date'])}")


def kept_note(message: Message, line: str) -> str:
    """A value of the lead that somebody changed, and that stays."""
    return _note(message, escape(line))


def task_note(message: Message) -> str:
    return _note(message, essence(message))


def _note(message: Message, *html: str) -> str:
    return f"<p>{'<br>'.join((*html, escape(MARK + message.call['sid'])))}</p>"


def origin(message: Message) -> list[str]:
    """Where the caller came from and how sure that is, in lines; the source in the first."""
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


def plain(value: Any) -> str:
    """A value of a lead as it can stand in a sentence."""
    return " ".join(re.sub(r"<[^>]*>", " ", str(value)).split())[:200] or "nothing"


def as_text(html: str) -> str:
    """A note, or a mark in one, for a CRM whose notes are plain text: a line for each, addresses behind their words."""
    linked = re.sub(r'<a href="([^"]*)">(.*?)</a>', r"\2: \1", html)
    lines = re.sub(r"<br>|</p>\s*<p>", "\n", linked)
    return unescape(re.sub(r"</?p>", "", lines)).strip()
