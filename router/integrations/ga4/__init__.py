"""Google Analytics 4: a call counts as an event of the visitor, sent by the Measurement Protocol
(https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from router.attribution.tracking.schema import GA_CLIENT_ID, GA_SESSION_ID
from router.integrations.base import Address, Expired, Message, Secret, Skipped, Slot, Vendor, accepted, not_delivered
from router.lib.http_client import NoAnswer, Outgoing, OutgoingError
from router.web.errors import iso

ENDPOINT = "https://www.google-analytics.com/mp/collect"
EVENT = "Call"
LONGEST_VALUE = 100
NO_CLIENT_ID = "no client_id: the visit is not known to Google Analytics"
SESSION_LIFETIME = timedelta(hours=24)
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
        Expired: Google would take the event no more, or no longer as part of the session.
    """
    ga: Mapping[str, Any] = message.call["ga"] or {}
    client_id = str(ga.get("client_id") or "")
    if not GA_CLIENT_ID.fullmatch(client_id):
        raise Skipped(NO_CLIENT_ID)
    session_id = str(ga.get("session_id") or "")
    session_id = session_id if GA_SESSION_ID.fullmatch(session_id) else ""
    call_at = datetime.fromisoformat(str(message.call["started_at"]))
    if message.now > deadline(call_at, session_id):
        raise Expired("too late for Google Analytics: 24 h after the session began, or 72 h after the call")
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
    sent = {
        name: value[:LONGEST_VALUE] if isinstance(value, str) else value
        for name, value in params.items()
        if value not in (None, "")
    }
    event = {"name": message.config["event"], "params": sent}
    micros = int(moment.timestamp() * 1000) * 1000
    return {"client_id": client_id, "timestamp_micros": micros, "events": [event]}


def deadline(call_at: datetime, session_id: str) -> datetime:
    """Google numbers sessions by the second in which they began; anything else says nothing about time."""
    latest = call_at + LONGEST_BACKDATE
    try:
        return min(latest, datetime.fromtimestamp(int(session_id), UTC) + SESSION_LIFETIME) if session_id else latest
    except (OverflowError, OSError, ValueError):
        return latest


def event_moment(call_at: datetime, session_id: str, last_sign: datetime | None) -> datetime:
    """When the event is said to have happened: inside the session, so that it counts for the session's source."""
    if not session_id or last_sign is None:
        return call_at
    return min(call_at, last_sign + timedelta(seconds=1))


EVENT_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,39}$"
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


class Ga4Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    measurement_id: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^G-[A-Z0-9]{1,20}$")] = Field(
        title="Measurement ID", examples=["G-XXXXXXXXXX"]
    )
    api_secret: Secret | None = Field(
        None, title="API secret", description="Admin, Data streams, Measurement Protocol API secrets."
    )
    event: Annotated[str, StringConstraints(pattern=EVENT_NAME)] = Field(
        EVENT, title="Event name", description="Mark it as a key event in Google Analytics. Empty: Call."
    )
    endpoint: Address = Field(
        ENDPOINT, title="Endpoint", description="Only for collection in the EU or a proxy of your own."
    )

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        if urlsplit(value).query or urlsplit(value).fragment:
            raise ValueError("The endpoint ends with its path: the identifiers are added when it is sent.")
        return value

    @field_validator("event")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in RESERVED_NAMES or value.startswith(("ga_", "google_", "firebase_")):
            raise ValueError("Google Analytics keeps this event name for itself.")
        return value


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
    lifetime=LONGEST_BACKDATE,
)
