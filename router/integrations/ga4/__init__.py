"""Google Analytics 4: a call counts as an event of the visitor, sent by the Measurement Protocol
(https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference)."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from pydantic import ConfigDict, Field, StringConstraints, field_validator
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.tracking.schema import GA_CLIENT_ID, GA_STREAM
from router.integrations.base import (
    Address,
    Expired,
    Message,
    Secret,
    Skipped,
    Slot,
    Trial,
    Vendor,
    accepted,
    excerpt,
    not_delivered,
)
from router.integrations.models import Integration
from router.integrations.worth import Worth
from router.lib.formats import parse_money, plain_money
from router.lib.http_client import NoAnswer, Outgoing, OutgoingError
from router.scenarios.models import Scenario
from router.voice.models import Status
from router.web.errors import iso

ENDPOINT = "https://www.google-analytics.com/mp/collect"
EVENT = "Call"
LONGEST_VALUE = 100
NO_CLIENT_ID = "no client_id: the visit is not known to Google Analytics"
SESSION_LIFETIME = timedelta(hours=24)
"""Google attributes events to a session for so long after its start."""
CLOCK_ERROR = timedelta(minutes=15)
"""A session's number is by the browser's clock."""
LONGEST_BACKDATE = timedelta(hours=72)


class Ga4Sender:
    """Sends one event for each call. Google answers 2xx to anything, so an answer proves arrival and no more."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        body = event_body(message)
        config = message.config
        query = urlencode({"measurement_id": config["measurement_id"], "api_secret": message.secret})
        try:
            answer = self.outgoing.post_json(f"{config['endpoint']}?{query}", body, {}, message.deadline)
        except NoAnswer:  # there is no key to tell a repeat by: sending again could double the goal (R11)
            return {"unconfirmed": True}
        except OutgoingError as error:
            raise not_delivered(error) from None
        return accepted(answer, message, f"Google Analytics answered {answer.status}.")


def event_body(message: Message) -> dict[str, Any]:
    """
    Raises:
        Skipped: the visit has no Google client id, so the event would count as a visitor of its own.
        Expired: Google would take the event no more.
    """
    config = message.config
    ga: Mapping[str, Any] = message.call["ga"] or {}
    client = GA_CLIENT_ID.fullmatch(str(ga.get("client_id") or ""))
    if client is None:
        raise Skipped(NO_CLIENT_ID)
    call_at = datetime.fromisoformat(str(message.call["started_at"]))
    if message.now > call_at + LONGEST_BACKDATE:
        raise Expired("too late for Google Analytics: more than 72 h after the call")
    session_id = session_of(ga, str(config["measurement_id"]), call_at, message.now)
    moment = event_moment(call_at, session_id, message.visit_last_sign)
    call, source = message.call, message.call["source"] or {}
    params = {  # no telephone number among them: Google forbids what identifies a person
        "session_id": session_id or None,
        "engagement_time_msec": 1,
        "call_id": call["sid"],
        "call_status": message.outcome,
        "call_duration": call["duration"] or 0,
        "visit_number": str(call["visit"]) if call["visit"] else None,
        "call_source": source.get("source"),
        "call_medium": source.get("medium"),
        "call_campaign": source.get("campaign"),
        "first_call": int(bool(call["first_call"])),
        "call_time": iso(call_at) if moment != call_at else None,
    }
    value = value_of(config, message.outcome, call["duration"] or 0)
    if value is not None:
        params |= {"value": value, "currency": config["currency"]}
    sent = {
        name: value[:LONGEST_VALUE] if isinstance(value, str) else value
        for name, value in params.items()
        if value not in (None, "")
    }
    micros = int(moment.timestamp() * 1000) * 1000
    body: dict[str, Any] = {"client_id": client["numbers"] or client[0], "timestamp_micros": micros}
    if config.get("consent"):
        body["consent"] = dict.fromkeys(("ad_user_data", "ad_personalization"), str(config["consent"]).upper())
    return body | {"events": [{"name": config["event"], "params": sent}]}


def session_of(ga: Mapping[str, Any], measurement_id: str, call_at: datetime, now: datetime) -> str:
    """The session that the event counts for; empty: for none, because it is not known, began after the call or is over for Google.

    Google numbers sessions by the second in which they began; another number says nothing about time. It attributes events to a session
    for 24 h after its start; a later event counts all the same, without the session, at its true time.
    """
    has_streams = any(GA_STREAM.fullmatch(name) for name in ga)
    session_id = str((ga.get(measurement_id) if has_streams else ga.get("session_id")) or "")
    if not session_id.isascii() or not session_id.isdigit():
        return ""
    try:
        began = datetime.fromtimestamp(int(session_id), UTC)
    except (OverflowError, OSError, ValueError):
        return session_id
    return "" if now > began + SESSION_LIFETIME or began > call_at + CLOCK_ERROR else session_id


def event_moment(call_at: datetime, session_id: str, last_sign: datetime | None) -> datetime:
    """When the event is said to have happened: inside the session, so that it counts for the session's source."""
    if not session_id or last_sign is None:
        return call_at
    return min(call_at, last_sign + timedelta(seconds=1))


def value_of(config: Mapping[str, Any], outcome: str, seconds: int) -> float | None:
    """What a call is worth by the settings; None: nothing is said of it, or nobody answered."""
    if not config.get("value") or outcome != Status.ANSWERED:
        return None
    currency = str(config["currency"])
    minor = Decimal(parse_money(str(config["value"]), currency))
    if config.get("value_per") == "minute":
        minor = (minor * seconds / 60).quantize(Decimal(1), ROUND_HALF_UP)
    return float(plain_money(int(minor), currency))


EVENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
OTHER_IDS = {
    "UA-": "This is a Universal Analytics property, which counts nothing since 2023.",
    "GTM-": "This is a container of Google Tag Manager.",
    "GT-": "This is a Google tag.",
    "AW-": "This is an account of Google Ads.",
    "DC-": "This is an account of Campaign Manager.",
}
"""What people take for the measurement id, by how it begins."""
RESERVED_NAMES = frozenset(
    (
        *("ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data"),
        *("app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade", "error"),
        *("dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "first_open", "first_visit"),
        *("firebase_campaign", "firebase_in_app_message_action", "firebase_in_app_message_dismiss", "in_app_purchase"),
        *("firebase_in_app_message_impression", "notification_dismiss", "notification_foreground", "os_update"),
        *("notification_open", "notification_receive", "notification_send", "screen_view", "session_start"),
        *("session_start_with_rollout", "user_engagement"),
    )
)


class Ga4Settings(Worth):
    lacks_currency = "Google Analytics takes a value only with its currency."
    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True)

    groups: ClassVar[dict[str, tuple[str, ...]]] = {
        "What a call is worth": ("value", "value_per", "currency"),
        "Consent and collection": ("consent", "endpoint"),
    }
    """The headings of the form, each with its settings."""

    measurement_id: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        title="Measurement ID", examples=["G-XXXXXXXXXX"], description="Admin, Data streams, your website."
    )
    api_secret: Secret | None = Field(
        None, title="API secret", description="Admin, Data streams, Measurement Protocol API secrets."
    )
    event: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        EVENT, title="Event name", description="Mark it as a key event in Google Analytics. Empty: Call."
    )
    value: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        "", title="Value of an answered call", description="Empty: none is told.", examples=["25.00"]
    )
    value_per: Literal["call", "minute"] = Field(
        "call",
        title="The value is",
        json_schema_extra={"choices": {"call": "of each call", "minute": "of each minute"}},
    )
    currency: Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True)] = Field(
        "", title="Currency of the value", examples=["EUR"]
    )
    consent: Literal["", "granted", "denied"] = Field(
        "",
        title="Consent to the use for advertising",
        description="Nothing is sent about visitors without full consent, whatever stands here.",
        json_schema_extra={
            "choices": {
                "": "what the visitor told Google on the site",
                "granted": "all visitors whom the tag may know have agreed",
                "denied": "nobody has agreed",
            }
        },
    )
    endpoint: Address = Field(
        ENDPOINT, title="Endpoint", description="Only for collection in the EU or a proxy of your own."
    )

    @field_validator("measurement_id")
    @classmethod
    def _stream(cls, value: str) -> str:
        value = value.upper()
        if GA_STREAM.fullmatch(value):
            return value
        for beginning, words in OTHER_IDS.items():
            if value.startswith(beginning):
                raise ValueError(f"{words} Google Analytics 4 ids begin with G- and stand under Admin, Data streams.")
        raise ValueError("A measurement id of Google Analytics 4 looks like G-XXXXXXXXXX: see Admin, Data streams.")

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        if urlsplit(value).query or urlsplit(value).fragment:
            raise ValueError("The endpoint ends with its path: the identifiers are added when it is sent.")
        return value

    @field_validator("event")
    @classmethod
    def _free(cls, value: str) -> str:
        if not EVENT_NAME.fullmatch(value):
            raise ValueError("A name has letters, digits and underscores, at most 40, and begins with a letter.")
        if value in RESERVED_NAMES or value.startswith(("ga_", "google_", "firebase_")):
            raise ValueError("Google Analytics keeps this event name for itself.")
        return value


def try_out(outgoing: Outgoing, message: Message) -> Trial:
    """Asks Google's validation server about the event of a call. It counts nothing there."""
    call = dict(message.call)
    if not GA_CLIENT_ID.fullmatch(str((call["ga"] or {}).get("client_id") or "")):
        call["ga"] = {"client_id": "1162820436.1749482504"}
    call["started_at"] = iso(message.now)
    body = event_body(replace(message, call=call, visit_last_sign=None))
    parts = urlsplit(str(message.config["endpoint"]))
    query = urlencode({"measurement_id": message.config["measurement_id"], "api_secret": message.secret})
    address = urlunsplit(parts._replace(path=f"/debug{parts.path}", query=query))
    asked = body | {"validation_behavior": "ENFORCE_RECOMMENDATIONS"}
    try:
        answer = outgoing.post_json(address, asked, {}, message.deadline)
    except OutgoingError as error:
        return Trial(False, str(error))
    found: Any = None
    with suppress(ValueError):
        found = answer.json()
    messages = found.get("validationMessages") if isinstance(found, dict) else None
    text = excerpt(answer, message.secret)
    if answer.status != 200 or not isinstance(messages, list):
        return Trial(False, f"{parts.netloc} has no validation of events that could be asked.", answer.status, text)
    if not messages:
        return Trial(True, f"Google takes an event like this. {NOT_CHECKED}", answer.status, text)
    words = " ".join(_said(one) for one in messages[:5] if isinstance(one, dict))
    return Trial(False, f"Google does not take an event like this. {words}", answer.status, text)


NOT_CHECKED = (
    "It does not check the API secret and the measurement ID: whether they are right is seen in Google Analytics, under Realtime, when a"
    " visitor has called."
)
CODES = {
    "VALUE_INVALID": "cannot have this value",
    "VALUE_REQUIRED": "is missing",
    "NAME_INVALID": "has a name that is not allowed",
    "NAME_RESERVED": "has a name that Google keeps for itself",
    "VALUE_OUT_OF_BOUNDS": "is too long or too great",
    "EXCEEDED_MAX_ENTITIES": "has too many members",
    "NAME_DUPLICATED": "stands there twice",
}
"""https://developers.google.com/analytics/devguides/collection/protocol/ga4/validating-events"""


def _said(problem: Mapping[str, Any]) -> str:
    place = str(problem.get("fieldPath") or "").strip() or "Something"
    words = CODES.get(str(problem.get("validationCode")), "is not right")
    described = " ".join(str(problem.get("description") or "").split())[:200]
    return f"“{place[:80]}” {words}{f' ({described})' if described else ''}."


def name_stream(session: Session, project_id: int) -> None:
    """Tells the tag whose session it has to ask for, where the project has one stream of Google Analytics; else it tells all it sees."""
    configs = select(Integration.config).join(Scenario, Scenario.id == Integration.scenario_id)
    configs = configs.where(Integration.project_id == project_id, Integration.kind == "ga4")
    present = configs.where(Integration.removed_at.is_(None), Scenario.deleted_at.is_(None))
    streams = {str(config["measurement_id"]) for config in session.scalars(present) if "measurement_id" in config}
    named = streams.pop() if len(streams) == 1 else ""
    session.execute(update(Project).where(Project.id == project_id, Project.ga_stream != named).values(ga_stream=named))


SLOT = Slot(
    name="ga4",
    title="Google Analytics",
    heading="Google Analytics 4",
    preview="Google Analytics counts an event for the visitor",
)
GA4 = Vendor(
    kind="ga4",
    name="Google Analytics",
    events={SLOT: ("call.ended",)},
    settings=Ga4Settings,
    sealed="api_secret",
    address="endpoint",
    account="measurement_id",
    decides="measurement_id",
    sender=Ga4Sender,
    try_out=try_out,
    saved=name_stream,
    lifetime=LONGEST_BACKDATE,
    at_most_once=True,
    repeated="Google Analytics cannot tell a repeat: a call that it has counted already would be counted twice.",
)
