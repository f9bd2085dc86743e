"""What people read about missed calls, in an e-mail or a chat: the whole answer in the first lines, for a telephone's screen."""

from collections.abc import Mapping
from typing import Any

from router.accounts.mail import Letter
from router.integrations.base import Message
from router.lib.formats import format_count, format_duration, format_percent
from router.lib.phones import international
from router.voice.models import Status

WHAT_BECAME = {
    Status.BUSY: "the line was busy",
    Status.FAILED: "the call could not be connected",
    Status.ABANDONED: "the caller hung up",
    Status.VOICEMAIL: "the caller came to the voicemail",
}


def headline(call: Mapping[str, Any], notice: Mapping[str, Any]) -> str:
    """`Missed call from +1 415 555 2671`, or how many from how many callers."""
    count, callers = int(notice.get("count") or 1), int(notice.get("callers") or 1)
    if callers > 1:
        return f"{count} missed calls from {callers} callers"
    who = international(str(call["caller"])) if call.get("caller") else "a withheld number"
    return f"Missed call from {who}" if count == 1 else f"{count} missed calls from {who}"


def lines(call: Mapping[str, Any], notice: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the last call, and of those before: labels and texts. The caller's number stands in E.164 with *Call back*."""
    told: list[tuple[str, str]] = []
    is_many = int(notice.get("callers") or 1) > 1
    if is_many:
        told.append(("The last", international(str(call["caller"])) if call.get("caller") else "a withheld number"))
    if call.get("caller"):
        told.append(("Call back", str(call["caller"])))
    rang = call.get("ring_seconds")
    became = WHAT_BECAME.get(Status(call["status"]), "nobody answered")
    when = str(notice.get("when") or "")
    told.append(("When", f"{when}, {became}{f' after {format_duration(rang)}' if rang else ''}".removeprefix(", ")))
    if notice.get("since"):
        told.append(("The first", str(notice["since"])))
    told.append(("Called", international(str(call["number"]))))
    source = call.get("source") or {}
    words = " / ".join(str(source[name]) for name in ("source", "medium", "campaign") if source.get(name))
    sure = (call.get("attribution") or {}).get("source_confidence")
    told.append(
        (
            "Came from",
            f"{words}{f' ({format_percent(sure)} sure)' if sure is not None else ''}" if words else "not known",
        )
    )
    if calls := int(notice.get("calls") or 0):
        often = "for the first time in 30 days" if calls == 1 else f"{format_count(calls, 'time')} in 30 days"
        told.append(("Has called", often))
    return told


def letter_of(message: Message) -> Letter:
    """The e-mail about an example of a call."""
    notice = {"when": message.placeholders.get("date", "")} | dict(message.reference.get("notice") or {})
    return letter(message.call, notice, is_test=message.is_test)


def letter(
    call: Mapping[str, Any], notice: Mapping[str, Any], others: list[str] | None = None, *, is_test: bool = False
) -> Letter:
    """The e-mail. others: a line for each further call that it tells of."""
    body = "\n".join(f"{label}: {'tel:' if label == 'Call back' else ''}{text}" for label, text in lines(call, notice))
    if others:
        body += "\n\nAll of them:\n" + "\n".join(others)
    if notice.get("link"):
        body += f"\n\nThe call, with all that is known of it:\n{notice['link']}"
    if is_test:
        body = f"This is a test: nobody called.\n\n{body}"
    return Letter(f"{'Test: ' if is_test else ''}{headline(call, notice)}", body + "\n")


def chat_notice(message: Message) -> Mapping[str, Any]:
    """What was counted when the message was written. It is lost when somebody sends the message again."""
    return {"when": message.placeholders.get("date", "")} | dict(message.reference.get("notice") or {})
