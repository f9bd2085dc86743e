"""Yandex.Metrica: a call is uploaded as a call of the visitor (https://yandex.com/dev/metrika/en/management/calls)."""

import csv
import io
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from router.integrations.base import (
    Address,
    DeliveryError,
    Expired,
    Message,
    Secret,
    Skipped,
    Slot,
    Vendor,
    accepted,
    excerpt,
    not_delivered,
)
from router.integrations.conversions import CLICK_ID
from router.lib.formats import CURRENCIES, parse_money, plain_money
from router.lib.http_client import NoAnswer, Outgoing, OutgoingError
from router.voice.models import LOST, Status

LIFETIME = timedelta(days=21)
"""Metrica links calls to visits of so many days before the upload."""
CLIENT = re.compile(r"[0-9]{8,25}", re.ASCII)
FIELD = "metrica"
"""The own field in which the site tells how Metrica calls the visitor: docs/analytics.md has the lines for its pages."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]


class MetricaSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True)

    counter: Text = Field(title="Number of the counter", examples=["12345678"])
    token: Secret | None = Field(None, title="OAuth token", description="Of an app with the right metrika:write.")
    goal: Text = Field(
        "", title="Name of a new goal", description="Made for calls where there is none. Empty: Metrica's own name."
    )
    value: Text = Field("", title="Value of an answered call", description="Empty: none is told.", examples=["25.00"])
    currency: Annotated[Text, StringConstraints(to_upper=True)] = Field(
        "", title="Currency of the value", examples=["RUB"]
    )
    endpoint: Address = Field(
        "https://api-metrika.yandex.net", title="Endpoint", description="Only for a proxy of your own."
    )

    @field_validator("counter")
    @classmethod
    def _digits(cls, value: str) -> str:
        if not re.fullmatch(r"[1-9][0-9]{0,11}", value):
            raise ValueError("The number of a counter has only digits.")
        return value

    @field_validator("value")
    @classmethod
    def _amount(cls, value: str) -> str:
        if value and parse_money(value, "") < 0:
            raise ValueError("A call is not worth less than nothing.")
        return value

    @field_validator("currency")
    @classmethod
    def _currency(cls, value: str, info: ValidationInfo) -> str:
        if value and value not in CURRENCIES:
            raise ValueError(f"“{value[:20]}” is no currency: three letters as RUB or USD.")
        if not value and info.data.get("value"):
            raise ValueError("A value needs its currency.")
        if value and info.data.get("value"):
            parse_money(info.data["value"], value)
        return value


class MetricaSender:
    """Each call is an upload of its own: it is seen as soon as Metrica has worked it off, which takes up to two hours."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        config = message.config
        query = f"?{urlencode({'new_goal_name': config['goal']})}" if config.get("goal") else ""
        place = f"/management/v1/counter/{config['counter']}/offline_conversions/upload_calls{query}"
        url = f"{str(config['endpoint']).rstrip('/')}{place}"
        form = httpx.Request("POST", url, files={"file": ("calls.csv", file_of(row_of(message)), "text/csv")})
        headers = {"Content-Type": form.headers["Content-Type"], "Authorization": f"OAuth {message.secret}"}
        try:
            answer = self.outgoing.post(url, form.read(), headers, message.deadline)
        except NoAnswer:  # there is no key to tell a repeat by
            return {"unconfirmed": True}
        except OutgoingError as error:
            raise not_delivered(error) from None
        said = excerpt(answer, message.secret)
        words = f"Yandex.Metrica answered {answer.status}. {said[:300]}".strip()
        if answer.status in (401, 403):
            raise DeliveryError(words, status=answer.status, refused_account=True, answer=said)
        return accepted(answer, message, words)


def row_of(message: Message) -> dict[str, str]:
    """
    Raises:
        Skipped: Metrica could find no visit.
        Expired
    """
    call, config = message.call, message.config
    at = datetime.fromisoformat(str(call["started_at"]))
    if message.now > at + LIFETIME:
        raise Expired("too late for Yandex.Metrica: more than 21 days after the call")
    client = str((call["params"] or {}).get(FIELD) or "")
    click = str((call["click_ids"] or {}).get("yclid") or "")
    row: dict[str, str] = {}
    if CLIENT.fullmatch(client):
        row["ClientId"] = client
    elif CLICK_ID.fullmatch(click):
        row["Yclid"] = click
    else:
        raise Skipped("no client id and no click: the visit is not known to Yandex.Metrica")
    row |= {
        "DateTime": str(int(at.timestamp())),
        "StaticCall": str(int(call["attribution"]["rule"] == "static")),
        "TalkDuration": str(call["duration"] or 0),
        "HoldDuration": str(call["ring_seconds"] or 0),
        "CallMissed": str(int(message.outcome in LOST)),
        "FirstTimeCaller": str(int(bool(call["first_call"]))),
        "URL": str(call["landing_page"] or ""),
    }
    if config.get("value") and message.outcome == Status.ANSWERED:
        currency = str(config["currency"])
        row |= {"Price": plain_money(parse_money(str(config["value"]), currency), currency), "Currency": currency}
    return row


def file_of(row: Mapping[str, str]) -> bytes:
    """Of one call, with the columns that it has; never its caller's number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\r\n")
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue().encode()


METRICA_SLOT = Slot(
    name="metrica",
    title="Yandex.Metrica",
    heading="Yandex.Metrica",
    preview="Yandex.Metrica counts a call for the visitor",
)
METRICA = Vendor(
    kind="metrica",
    name="Yandex.Metrica",
    events={METRICA_SLOT: ("call.ended",)},
    settings=MetricaSettings,
    sealed="token",
    address="endpoint",
    account="counter",
    decides="counter",
    sender=MetricaSender,
    lifetime=LIFETIME,
    at_most_once=True,
    repeated="Yandex.Metrica says nothing of repeats: a call that it has counted already may be counted twice.",
)
