"""What an integration's settings look like in the API, one model for each kind; secrets are apart, as they never come back."""

import re
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from router.integrations.ga4 import ENDPOINT, EVENT
from router.integrations.placeholders import unknown_placeholder
from router.integrations.webhook import secret_bytes

GA_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,39}$"
GA_RESERVED = frozenset(
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
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
FIELDS_OF_OURS = frozenset(("id", "phone", "user_id", "source_id", "medium_id", "campaign_id"))
MOST_FIELDS, LONGEST_TEMPLATE = 30, 2000

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Secret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


def _as_text(value: Any) -> Any:
    """A user's number in a CRM may come as a number."""
    return "" if value is None else str(value) if type(value) is int else value


class Shape(BaseModel):
    """One slot. `sealed_member` is the member that is sealed, `keep_secret` whether it may go with a new address."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sealed_member: ClassVar[str]
    address_name: ClassVar[str] = "url"
    bound_to_address: ClassVar[bool] = True
    """The secret itself is sent, so that it must not follow an address that somebody changes."""

    def config(self) -> dict[str, Any]:
        return self.model_dump(exclude={self.sealed_member, "kind"})

    def secret_given(self) -> str | None:
        given: str | None = getattr(self, self.sealed_member)
        return given

    def address(self) -> str:
        return str(getattr(self, self.address_name))

    def place(self) -> str:
        """Whom a failure concerns, within one project."""
        return urlsplit(self.address()).netloc


class WebhookShape(Shape):
    sealed_member = "secret"
    bound_to_address = False
    url: Address
    secret: Secret | None = None

    @field_validator("secret")
    @classmethod
    def _strong(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                secret_bytes(value)
            except ValueError as error:
                raise ValueError(
                    f"The secret {error}. Leave it out and one is made: whsec_ and the base64 of 24 to 64 bytes."
                ) from None
        return value


class Ga4Shape(Shape):
    sealed_member = "api_secret"
    address_name = "endpoint"
    measurement_id: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^G-[A-Z0-9]{1,20}$")]
    api_secret: Secret | None = None
    endpoint: Address = ENDPOINT
    event: Annotated[str, StringConstraints(pattern=GA_NAME)] = EVENT

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        if urlsplit(value).query or urlsplit(value).fragment:
            raise ValueError("The endpoint ends with its path: the identifiers are added when it is sent.")
        return value

    @field_validator("event")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in GA_RESERVED or value.startswith(("ga_", "google_", "firebase_")):
            raise ValueError("Google Analytics keeps this event name for itself.")
        return value

    def place(self) -> str:
        return f"{super().place()}/{self.measurement_id}"


class OdooShape(Shape):
    sealed_member = "key"
    kind: Literal["odoo"]
    url: Address
    database: Text
    key: Secret | None = None
    manager: Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, max_length=200)] = ""
    fields: dict[str, str] = Field(default_factory=dict, max_length=MOST_FIELDS)
    only_new_customers: bool = True
    not_while_open: bool = True

    @field_validator("url")
    @classmethod
    def _root(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("database")
    @classmethod
    def _header(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.\-]{1,200}", value, re.ASCII):
            raise ValueError("A database's name has letters, digits, dots, dashes and underscores.")
        return value

    @field_validator("key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("An API key has no such signs.")
        return value

    @field_validator("fields")
    @classmethod
    def _templates(cls, value: dict[str, str]) -> dict[str, str]:
        for name, template in value.items():
            if not FIELD_NAME.fullmatch(name) or name in FIELDS_OF_OURS:
                raise ValueError(f"“{name[:60]}” is not the name of a field that can be filled.")
            if (unknown := unknown_placeholder(template)) is not None:
                raise ValueError(f"There is no placeholder {{{unknown[:60]}}} (in “{name}”).")
            if len(template) > LONGEST_TEMPLATE:
                raise ValueError(f"“{name}” is longer than {LONGEST_TEMPLATE} characters.")
        return value

    def place(self) -> str:
        return f"{super().place()}/{self.database}"


SLOTS: dict[str, dict[str, type[Shape]]] = {
    "webhook_start": {"webhook": WebhookShape},
    "webhook_end": {"webhook": WebhookShape},
    "ga4": {"ga4": Ga4Shape},
    "crm": {"odoo": OdooShape},
}
"""Which kinds a slot may hold. With several kinds the member `kind` tells."""
