"""Tryton as a CRM, with its module sale_opportunity, over its REST API."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from router.integrations import crm
from router.integrations.base import Vendor
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

    url: crm.Root = Field(title="Address", examples=["https://tryton.example.com"])
    database: crm.DatabaseName = Field(title="Database")
    key: crm.Key | None = Field(
        None, title="Key", description="Of a user application “REST API”, of a user who may work with opportunities."
    )
    company: crm.Chosen = Field(
        "", title="Company", description="Whose leads they are. Otherwise the one in which the key’s user works."
    )


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
