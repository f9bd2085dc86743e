"""Missed calls in a Telegram chat, written by a bot (https://core.telegram.org/bots/api#sendmessage)."""

import re
from contextlib import suppress
from typing import Any

from pydantic import Field, field_validator

from router.integrations.base import (
    Address,
    DeliveryError,
    Message,
    Secret,
    Slot,
    Trial,
    Vendor,
    excerpt,
    not_delivered,
    trial_of,
)
from router.integrations.missed import MISSED, MissedSettings, Text
from router.integrations.missed.words import chat_notice, headline, lines
from router.lib.http_client import Outgoing, OutgoingError

TOKEN = re.compile(r"[0-9]{5,20}:[A-Za-z0-9_-]{30,100}")
CHAT = re.compile(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,31}")
LONGEST = 4096


class TelegramSettings(MissedSettings):
    chat: Text = Field(
        title="Chat",
        examples=["-1001234567890"],
        description="The chat's number, or @name of a channel. Add the bot to the chat first.",
    )
    token: Secret | None = Field(None, title="Token of the bot", description="As @BotFather gave it.")
    server: Address = Field(
        "https://api.telegram.org", title="Server", description="Only for a Bot API server of your own."
    )

    @field_validator("chat")
    @classmethod
    def _chat(cls, value: str) -> str:
        if not CHAT.fullmatch(value):
            raise ValueError("A chat is a number like -1001234567890, or the @name of a channel.")
        return value

    @field_validator("token")
    @classmethod
    def _token(cls, value: str | None) -> str | None:
        if value is not None and not TOKEN.fullmatch(value):
            raise ValueError("A bot's token looks like 110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw.")
        return value


class TelegramSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        config = message.config
        url = f"{str(config['server']).rstrip('/')}/bot{message.secret}/sendMessage"
        body = {"chat_id": config["chat"], "text": show(message), "link_preview_options": {"is_disabled": True}}
        try:
            answer = self.outgoing.post_json(url, body, {}, message.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        said: Any = None
        with suppress(ValueError):
            said = answer.json()
        said = said if isinstance(said, dict) else {}
        text = excerpt(answer, message.secret)
        if answer.status == 200 and said.get("ok") is True:
            posted = said.get("result")
            return {
                "status": 200,
                "answer": text,
                "post": posted.get("message_id") if isinstance(posted, dict) else None,
            }
        more = said.get("parameters")
        more = more if isinstance(more, dict) else {}
        words = f"Telegram answered {answer.status}. {str(said.get('description') or '')[:200]}".strip()
        if "migrate_to_chat_id" in more:
            words += f". The chat has the number {str(more['migrate_to_chat_id'])[:30]} now: type it in the settings"
        pause = more.get("retry_after")
        raise DeliveryError(
            words,
            permanent=400 <= answer.status < 500 and answer.status not in (401, 404, 408, 429),
            retry_after=float(pause) if isinstance(pause, int) and 0 <= pause < 10**6 else None,
            status=answer.status,
            # a token that is wrong or was revoked: 401, or 404 where it is not even of the right form
            refused_account=answer.status in (401, 404) and bool(said),
            ambiguous=answer.status >= 500,
            answer=text,
        )


def show(message: Message) -> str:
    """Telegram makes links of numbers and addresses by itself."""
    notice = chat_notice(message)
    told = [headline(message.call, notice), *(f"{label}: {text}" for label, text in lines(message.call, notice))]
    if notice.get("link"):
        told.append(str(notice["link"]))
    if message.is_test:
        told.insert(0, "This is a test: nobody called.")
    return "\n".join(told)[:LONGEST]


def try_out(outgoing: Outgoing, message: Message) -> Trial:
    """Writes a message that says that it is a test."""
    return trial_of(
        lambda: TelegramSender(outgoing).deliver(message), "A message that says that it is a test is in the chat."
    )


TELEGRAM_SLOT = Slot(
    name="missed_telegram",
    title="Telegram",
    heading="Missed calls in Telegram",
    preview="Nobody answers: the Telegram chat {address} is told at once",
)
TELEGRAM = Vendor(
    kind="telegram",
    name="Telegram",
    events={TELEGRAM_SLOT: (MISSED,)},
    settings=TelegramSettings,
    sealed="token",
    address="server",
    account="chat",
    decides="chat",
    sender=TelegramSender,
    try_out=try_out,
    shows=show,
    repeated="The chat gets the same message a second time.",
)
