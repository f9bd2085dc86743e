"""Missed calls in a Slack channel, by an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
Mattermost and others take the same form."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from router.integrations.base import (
    DeliveryError,
    Message,
    Secret,
    Slot,
    Trial,
    Vendor,
    excerpt,
    may_succeed_later,
    not_delivered,
    retry_after,
    trial_of,
)
from router.integrations.missed import MISSED, MissedSettings, Text
from router.integrations.missed.words import chat_notice, headline, lines
from router.lib.http_client import Outgoing, OutgoingError
from router.lib.phones import international

GONE = (403, 404, 410)
"""The webhook was revoked, never was, or its channel is archived."""


class SlackSettings(MissedSettings):
    channel: Text = Field(
        title="Channel", examples=["#sales"], description="For your own list: Slack goes by the address of the webhook."
    )
    webhook: Secret | None = Field(
        None,
        title="Address of the incoming webhook",
        description="https://hooks.slack.com/services/… It is a secret: who has it can write there.",
    )

    @field_validator("channel")
    @classmethod
    def _channel(cls, value: str) -> str:
        if not value or len(value) > 60 or not value.isprintable():
            raise ValueError("Write the channel's name, at most 60 letters.")
        return value

    @field_validator("webhook")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            host = parts.hostname
        except ValueError:
            host = None
        if not host or parts.scheme not in ("https", "http") or not parts.path.strip("/") or parts.username:
            raise ValueError("The address of an incoming webhook looks like https://hooks.slack.com/services/T0/B0/x.")
        return value


class SlackSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        body = {"text": show(message), "unfurl_links": False}
        try:
            answer = self.outgoing.post_json(message.secret, body, {}, message.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        said = excerpt(answer, message.secret)
        if 200 <= answer.status < 300:
            return {"status": answer.status, "answer": said}
        raise DeliveryError(
            f"Slack answered {answer.status}. {said[:200]}".strip(),
            permanent=answer.status not in GONE and not may_succeed_later(answer.status),
            retry_after=retry_after(answer.headers, message.now),
            status=answer.status,
            refused_account=answer.status in GONE,
            ambiguous=answer.status >= 500,
            answer=said,
        )


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def show(message: Message) -> str:
    """In Slack's own markup: what comes from outside can be no link and mention nobody."""
    notice, call = chat_notice(message), message.call
    told = [f"*{escaped(headline(call, notice))}*"]
    for label, text in lines(call, notice):
        shown = f"<tel:{text}|{international(text)}>" if label == "Call back" else escaped(text)
        told.append(f"{label}: {shown}")
    if notice.get("link"):
        told.append(f"<{notice['link']}|The call>")
    if message.is_test:
        told.insert(0, "This is a test: nobody called.")
    return "\n".join(told)


def try_out(outgoing: Outgoing, message: Message) -> Trial:
    """Writes a message that says that it is a test."""
    return trial_of(
        lambda: SlackSender(outgoing).deliver(message), "A message that says that it is a test is in the channel."
    )


SLACK_SLOT = Slot(
    name="missed_slack",
    title="Slack",
    heading="Missed calls in Slack",
    preview="Nobody answers: the Slack channel {address} is told at once",
)
SLACK = Vendor(
    kind="slack",
    name="Slack",
    events={SLACK_SLOT: (MISSED,)},
    settings=SlackSettings,
    sealed="webhook",
    address="",
    account="channel",
    decides="channel",
    sender=SlackSender,
    try_out=try_out,
    shows=show,
    repeated="The channel gets the same message a second time.",
)
