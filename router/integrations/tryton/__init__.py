"""Tryton as a CRM, with its module sale_opportunity, over its REST API."""

import re
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, field_validator

from router.integrations import crm
from router.integrations.base import Address, Secret, Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.tryton.check import RESERVED
from router.integrations.tryton.connector import TrytonConnector


class TrytonSender(CrmSender):
    connector = TrytonConnector
    settles_after = timedelta(seconds=120)
    """A server of Tryton sets no end to a request that writes; those before it mostly give up sooner."""


class TrytonSettings(crm.CrmSettings):
    reserved_fields = frozenset(RESERVED)
    chosen_from: ClassVar = {"manager": "people", "company": "pipelines"}
    groups: ClassVar = {**crm.CrmSettings.groups, "Who gets the lead": ("manager", "company")}

    url: Address = Field(title="Address", examples=["https://tryton.example.com"])
    database: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        title="Database"
    )
    key: Secret | None = Field(
        None, title="Key", description="Of a user application “REST API”, of a user who may work with opportunities."
    )
    company: crm.Chosen = Field(
        "", title="Company", description="Whose leads they are. Otherwise the one in which the key’s user works."
    )

    @field_validator("url")
    @classmethod
    def _root(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("database")
    @classmethod
    def _in_address(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.\-]{1,200}", value, re.ASCII):
            raise ValueError("A database's name has letters, digits, dots, dashes and underscores.")
        return value

    @field_validator("key")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("A key has no such signs.")
        return value


TRYTON = Vendor(
    kind="tryton",
    name="Tryton",
    product="Tryton 8 with opportunities",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=TrytonSettings,
    sealed="key",
    account="database",
    sender=TrytonSender,
    ordered_by_caller=True,
    settles_after=TrytonSender.settles_after,
    repeated="The lead and the note are looked for first: what is still there is not made again, what somebody deleted there is.",
)
