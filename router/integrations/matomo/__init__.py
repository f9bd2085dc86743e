"""Matomo: a call counts as an event of the visitor, and as a goal where one is named, by the Tracking HTTP API
(https://developer.matomo.org/api-reference/tracking-api)."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

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
from router.lib.formats import parse_money
from router.lib.http_client import NoAnswer, Outgoing, OutgoingError
from router.voice.models import Status

LIFETIME = timedelta(days=7)
VISITOR = re.compile(r"[0-9a-f]{16}")
FIELD = "matomo"
"""The own field in which the site tells how Matomo calls the visitor: docs/analytics.md has the lines for its pages."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]


class MatomoSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True)

    url: Address = Field(title="Address of Matomo", examples=["https://analytics.example.com"])
    site: Text = Field(title="Site ID", examples=["1"], description="Administration, Websites, Manage.")
    token: Secret | None = Field(
        None,
        title="Token",
        description="Personal, Security, Auth tokens, of a user who may write to the site: it lets a call count at its own time.",
    )
    category: Text = Field("Call", title="Category of the event", description="What became of the call is its action.")
    goal: Text = Field("", title="Goal ID", description="Reached by each answered call. Empty: none.", examples=["3"])
    value: Text = Field("", title="Revenue of the goal", description="In the site's currency. Empty: the goal's own.")

    @field_validator("url")
    @classmethod
    def _base(cls, value: str) -> str:
        return re.sub(r"/(matomo|piwik|index)\.php.*$", "", value.rstrip("/")).rstrip("/")

    @field_validator("site", "goal")
    @classmethod
    def _number(cls, value: str) -> str:
        if value and not re.fullmatch(r"[1-9][0-9]{0,8}", value):
            raise ValueError("This is a number in Matomo's administration.")
        return value

    @field_validator("site", "category")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise ValueError("This is required.")
        return value

    @field_validator("value")
    @classmethod
    def _amount(cls, value: str) -> str:
        if value and parse_money(value, "") < 0:
            raise ValueError("A call is not worth less than nothing.")
        return value.replace(",", ".")


class MatomoSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        """One bulk request, whose answer says how many of its parts were taken."""
        requests = requests_of(message)
        body = {"requests": [f"?{urlencode(one)}" for one in requests], "token_auth": message.secret}
        try:
            answer = self.outgoing.post_json(f"{message.config['url']}/matomo.php", body, {}, message.deadline)
        except NoAnswer:  # there is no key to tell a repeat by
            return {"unconfirmed": True}
        except OutgoingError as error:
            raise not_delivered(error) from None
        said = excerpt(answer, message.secret)
        if answer.status in (401, 403):
            words = f"Matomo answered {answer.status}: the token is wrong, or may not write to the site. {said[:200]}"
            raise DeliveryError(words.strip(), status=answer.status, refused_account=True, answer=said)
        taken = accepted(answer, message, f"Matomo answered {answer.status}. {said[:200]}".strip())
        found: Any = None
        with suppress(ValueError):
            found = answer.json()
        tracked = found.get("tracked") if isinstance(found, dict) else None
        if tracked != len(requests):
            words = f"Matomo took {tracked or 0} of {len(requests)} requests. {said[:200]}".strip()
            raise DeliveryError(words, permanent=True, status=answer.status, answer=said)
        return taken


def requests_of(message: Message) -> list[dict[str, str]]:
    """
    Raises:
        Skipped: Matomo does not know the visit's browser, so that the call would count as a visitor of its own.
        Expired
    """
    call, config = message.call, message.config
    visitor = str((call["params"] or {}).get(FIELD) or "")
    if not VISITOR.fullmatch(visitor):
        raise Skipped("no visitor id: the page did not tell how Matomo calls the visitor")
    at = datetime.fromisoformat(str(call["started_at"]))
    if message.now > at + LIFETIME:
        raise Expired("too late for Matomo: more than 7 days after the call")
    source = call["source"] or {}
    common = {
        "idsite": str(config["site"]),
        "rec": "1",
        "apiv": "1",
        "send_image": "0",
        "bots": "1",  # it is a server that asks
        "cid": visitor,
        "cdt": f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "url": str(call["landing_page"] or ""),
    }
    common = {name: text for name, text in common.items() if text}
    name = " / ".join(str(source[part]) for part in ("source", "medium", "campaign") if source.get(part))
    event = {"ca": "1", "e_c": str(config["category"]), "e_a": message.outcome, "e_v": str(call["duration"] or 0)}
    requests = [common | event | ({"e_n": name[:200]} if name else {})]
    if config.get("goal") and message.outcome == Status.ANSWERED:
        value = {"revenue": str(config["value"])} if config.get("value") else {}
        requests.append(common | {"idgoal": str(config["goal"])} | value)
    return requests


MATOMO_SLOT = Slot(
    name="matomo", title="Matomo", heading="Matomo", preview="Matomo counts an event for the visitor ({address})"
)
MATOMO = Vendor(
    kind="matomo",
    name="Matomo",
    events={MATOMO_SLOT: ("call.ended",)},
    settings=MatomoSettings,
    sealed="token",
    account="site",
    sender=MatomoSender,
    lifetime=LIFETIME,
    at_most_once=True,
    repeated="Matomo cannot tell a repeat: a call that it has counted already would be counted twice.",
)
