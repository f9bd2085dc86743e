"""Odoo as a CRM, version 19 and later."""

import re
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, field_validator

from router.integrations import crm
from router.integrations.base import Address, Secret, Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.odoo.connector import OdooConnector


class OdooSender(CrmSender):
    connector = OdooConnector
    settles_after = timedelta(seconds=120)
    """Odoo's own limit of a request (limit_time_real)."""


class OdooSettings(crm.CrmSettings):
    reserved_fields = frozenset(("id", "phone", "user_id", "source_id", "medium_id", "campaign_id"))
    chosen_from: ClassVar = {"manager": "people", "team": "pipelines", "stage": "stages"}

    url: Address = Field(title="Address", examples=["https://crm.example.com"])
    database: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        title="Database"
    )
    key: Secret | None = Field(
        None, title="API key", description="Made in the preferences of an Odoo user who may work with leads."
    )
    team: crm.Chosen = Field(
        "",
        title="Sales team",
        description="Otherwise that of the responsible person. Without both no seller sees the lead.",
    )
    stage: crm.Chosen = Field("", title="Stage of new leads", description="Otherwise the first one.")
    phone_fields: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[a-z0-9_, ]*$")
    ] = Field(
        "",
        title="More fields with phone numbers",
        description="Names of fields of contacts and leads in which callers are looked for beside phone: mobile, x_second_phone.",
    )

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


ODOO = Vendor(
    kind="odoo",
    name="Odoo",
    product="Odoo 19 or later",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=OdooSettings,
    sealed="key",
    account="database",
    sender=OdooSender,
    ordered_by_caller=True,
    settles_after=OdooSender.settles_after,
    repeated="The lead and the note are looked for first: what is still there is not made again, what somebody deleted there is.",
)
