"""Calls as conversions of advertisers: which calls count, and the files that Google Ads and Microsoft Advertising fetch from here."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from router.integrations.base import Message, Secret, Skipped, Slot, Vendor
from router.integrations.worth import Worth
from router.lib.formats import parse_money, plain_money
from router.lib.http_client import Outgoing
from router.voice.models import Status

CLICK_ID = re.compile(r"[A-Za-z0-9][\w.~-]{3,299}", re.ASCII)
"""Comes from an address that anybody can type."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What every advertiser is told of a call. Read twice it is the same, by which they know it: click id, name and moment."""

    click_id: str
    at: datetime
    name: str
    value: str
    """`25.00`; empty: none is told."""
    currency: str


class ConversionSettings(Worth):
    """Which calls count, and what one is worth."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True)
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is told": ("value", "currency", "consent"),
        "Which calls count": ("answered_only", "least_seconds", "first_only", "least_sure"),
    }

    value: Text = Field("", title="Value of a call", description="Empty: none is told.", examples=["25.00"])
    currency: Annotated[Text, StringConstraints(to_upper=True)] = Field(
        "", title="Currency of the value", examples=["EUR"]
    )
    answered_only: bool = Field(True, title="Only calls that were answered")
    least_seconds: int = Field(0, ge=0, le=3600, title="Only calls of at least so many seconds")
    first_only: bool = Field(False, title="Only the first call of each caller")
    least_sure: int = Field(
        50,
        ge=0,
        le=100,
        title="Only calls whose visit is sure to at least so many per cent",
        description="A number that several visitors saw leaves it open whose click it was.",
    )


def why_not(
    config: Mapping[str, Any], status: str, seconds: int | None, first_call: bool, confidence: float | None
) -> str:
    """Why a call does not count by the settings; empty: it counts."""
    if config.get("answered_only", True) and status != Status.ANSWERED:
        return "nobody answered"
    if (seconds or 0) < int(config.get("least_seconds") or 0):
        return "the call was too short"
    if config.get("first_only") and not first_call:
        return "not the caller's first call"
    if (confidence or 0.0) * 100 < int(config.get("least_sure") or 0):
        return "not sure enough whose visit it was"
    return ""


def worth(config: Mapping[str, Any]) -> tuple[str, str]:
    """Value and currency, both empty where none is told."""
    if not config.get("value"):
        return "", ""
    currency = str(config["currency"])
    return plain_money(parse_money(str(config["value"]), currency), currency), currency


class FileSettings(ConversionSettings):
    name: Text = Field(
        title="Name of the conversion",
        examples=["Phone call"],
        description="Exactly as it stands in the advertising account.",
    )
    days: int = Field(
        14,
        ge=1,
        le=90,
        title="The file reaches back so many days",
        description="What was read before is not counted again.",
    )
    password: Secret | None = Field(
        None,
        title="Secret of the file's address",
        description="Empty: one is made, and the file's address shown once. Rotate it when somebody should read the file no more.",
    )

    @field_validator("name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value or not value.isprintable() or value[0] in "=+-@":
            raise ValueError("Write the conversion's name as the advertising account has it.")
        return value

    @field_validator("password")
    @classmethod
    def _long(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{24,100}", value):
            raise ValueError("24 letters and digits at least; leave it empty and one is made.")
        return value


class GoogleAdsSettings(FileSettings):
    consent: Literal["", "granted", "denied"] = Field(
        "",
        title="Consent to the use for advertising",
        description="Nothing is told of visitors without full consent, whatever stands here.",
        json_schema_extra={
            "choices": {
                "": "nothing is said of it",
                "granted": "all visitors whom the tag may know have agreed",
                "denied": "nobody has agreed",
            }
        },
    )


class FetchedFile:
    """What is fetched from here is never sent."""

    def __init__(self, outgoing: Outgoing) -> None:
        pass

    def deliver(self, message: Message) -> dict[str, Any]:
        raise Skipped("it is fetched as a file")


def file_address(base_url: str, scenario_id: int, kind: str, secret: str) -> str:
    return f"{base_url}/conversions/{scenario_id}/{kind}/{secret}.csv"


def _file_vendor(kind: str, name: str, settings: type[FileSettings]) -> Vendor:
    slot = Slot(
        name=kind,
        title=name,
        heading=f"Conversions of {name}",
        preview=f"{name} fetches it as the conversion “{{address}}”",
        help="As the account names it.",
    )
    return Vendor(
        kind=kind,
        name=name,
        events={slot: ()},
        settings=settings,
        sealed="password",
        address="",
        account="name",
        decides="name",
        make_secret=lambda: secrets.token_urlsafe(32),
        reveals=lambda base_url, scenario_id, secret: file_address(base_url, scenario_id, kind, secret),
        sender=FetchedFile,
    )


GOOGLE_ADS = _file_vendor("google_ads", "Google Ads", GoogleAdsSettings)
MICROSOFT_ADS = _file_vendor("microsoft_ads", "Microsoft Advertising", FileSettings)
