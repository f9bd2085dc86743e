"""Kommo, which was amoCRM and still is in some countries, as a CRM, by a long-lived token."""

import re
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator

from router.integrations import crm
from router.integrations.base import Address, Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.kommo.connector import KommoConnector

Token = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
"""A signed document of about a thousand signs."""


class KommoSender(CrmSender):
    connector = KommoConnector


class KommoSettings(crm.CrmSettings):
    field_name = re.compile(r"name|\d{1,12}")
    falls_to_nobody = False
    chosen_from: ClassVar = {"manager": "people", "pipeline": "pipelines", "stage": "stages"}

    manager: crm.Chosen = Field(
        "",
        title="Responsible for new leads",
        description="A person of the CRM. Without one the lead belongs to the administrator of the token.",
    )
    url: Address = Field(title="Address", examples=["https://yourcompany.kommo.com"])
    key: Token | None = Field(
        None,
        title="Long-lived token",
        description="In Kommo: Settings, Integrations, a private integration, Keys and scopes.",
    )
    pipeline: crm.Chosen = Field("", title="Pipeline of new leads", description="Otherwise the main one.")
    stage: crm.Chosen = Field("", title="Stage of new leads", description="Otherwise the first one of the pipeline.")

    @field_validator("url")
    @classmethod
    def _root(cls, value: str) -> str:
        """Of an address copied from the browser the host alone counts."""
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else value

    @field_validator("key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("A token has no such signs.")
        return value


KOMMO = Vendor(
    kind="kommo",
    name="Kommo",
    product="Kommo, amoCRM",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=KommoSettings,
    sealed="key",
    sender=KommoSender,
    ordered_by_caller=True,
    settles_after=KommoSender.settles_after,
    repeated="The lead and the call are looked for first: what is still there is not made again, what somebody deleted there is.",
)
