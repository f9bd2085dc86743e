"""Missed calls are told at once: by e-mail, in Telegram and in Slack, each with its own settings. `rules.py` says when, `service.py`
writes."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from router.integrations.base import Message, Skipped, Slot, Vendor
from router.integrations.missed.words import letter_of
from router.lib.http_client import Outgoing
from router.lib.smtp import is_email_address

MISSED = "call.missed"
MOST_RECIPIENTS = 10
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]


class MissedSettings(BaseModel):
    """What all ways to be told of missed calls share."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True)

    quiet_from: Text = Field(
        "",
        title="Quiet from",
        examples=["22:00"],
        description="In the project's time zone. What is missed in quiet hours is told together when they end. Empty: told at any hour.",
    )
    quiet_until: Text = Field("", title="Quiet until", examples=["07:00"])

    @field_validator("quiet_from", "quiet_until")
    @classmethod
    def _clock(cls, value: str, info: ValidationInfo) -> str:
        if value and not CLOCK.fullmatch(value):
            raise ValueError("Write a time as 22:00.")
        other = info.data.get("quiet_from")
        if info.field_name == "quiet_until" and other is not None and bool(value) != bool(other):
            raise ValueError("Quiet hours have a beginning and an end.")
        if info.field_name == "quiet_until" and value and value == other:
            raise ValueError("Quiet hours end at another time than they begin.")
        return value


class MailSettings(MissedSettings):
    by_mail: bool = Field(
        False,
        title="Write an e-mail about each missed call",
        description="At once. Somebody who calls again within 10 minutes is told of together, and so are many callers at a time.",
    )
    recipients: Text = Field(
        "",
        title="To",
        examples=["anna@example.com, bob@example.com"],
        description="Addresses with commas between them, ten at most. Empty: the project's address.",
    )

    @field_validator("recipients")
    @classmethod
    def _addresses(cls, value: str) -> str:
        addresses = [address for address in re.split(r"[,;\s]+", value) if address]
        for address in addresses:
            if not is_email_address(address):
                raise ValueError(f"“{address[:60]}” is no e-mail address.")
        if len(addresses) > MOST_RECIPIENTS:
            raise ValueError(f"At most {MOST_RECIPIENTS} addresses.")
        return ", ".join(dict.fromkeys(addresses))


def recipients_of(config: Any) -> list[str]:
    """Empty texts stand for the project's address."""
    return [address for address in str(config.get("recipients") or "").split(", ") if address] or [""]


class MailQueue:
    """E-mails have a queue of their own (`router/accounts/mail.py`), so that nothing is sent from this one."""

    def __init__(self, outgoing: Outgoing) -> None:
        pass

    def deliver(self, message: Message) -> dict[str, Any]:
        raise Skipped("e-mails are listed under Settings, E-mails")


MAIL_SLOT = Slot(
    name="missed_mail",
    title="E-mail about missed calls",
    heading="Missed calls by e-mail",
    preview="Nobody answers: an e-mail says so at once",
)
MISSED_MAIL = Vendor(
    kind="missed_mail",
    name="E-mail",
    events={MAIL_SLOT: (MISSED,)},
    settings=MailSettings,
    sealed="",
    address="",
    account="recipients",
    decides="by_mail",
    sender=MailQueue,
    letter=lambda message: (recipients_of(message.config), letter_of(message)),
)
