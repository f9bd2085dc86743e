"""Odoo as a CRM, version 19 and later."""

import re
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from router.integrations.base import Address, Secret, Vendor
from router.integrations.crm import CRM, CrmSettings, Manager
from router.integrations.odoo.sender import OdooSender

RESERVED_FIELDS = frozenset(("id", "phone", "user_id", "source_id", "medium_id", "campaign_id"))
"""Fields of a lead that the sender fills itself."""


class OdooSettings(CrmSettings):
    reserved_fields = RESERVED_FIELDS

    url: Address = Field(title="Address", examples=["https://crm.example.com"])
    database: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        title="Database"
    )
    key: Secret | None = Field(
        None, title="API key", description="Made in the preferences of an Odoo user who may work with leads."
    )
    manager: Manager = Field(
        "",
        title="Responsible for new leads",
        description="Login or e-mail of an Odoo user. Empty, or nobody of this name there: the lead belongs to nobody yet.",
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
    events={CRM: ("call.ended", "call.updated")},
    settings=OdooSettings,
    sealed="key",
    account="database",
    sender=OdooSender,
    ordered_by_caller=True,
)
