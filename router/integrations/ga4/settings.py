"""What a scenario names of Google Analytics: the stream, its secret, and what the event is called."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from router.integrations.base import Address, Secret
from router.integrations.ga4.sender import ENDPOINT, EVENT

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
