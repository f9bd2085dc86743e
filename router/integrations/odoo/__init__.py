"""Odoo as a CRM, version 19 and later."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from router.integrations import crm
from router.integrations.base import Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.odoo.connector import OdooConnector


class OdooSender(CrmSender):
    connector = OdooConnector
    settles_after = timedelta(seconds=120)
    """Odoo's own limit of a request (limit_time_real)."""


class OdooSettings(crm.CrmSettings):
    reserved_fields = frozenset(("id", "phone", "user_id", "source_id", "medium_id", "campaign_id"))
    chosen_from: ClassVar = {"manager": "people", "team": "pipelines", "stage": "stages"}

    url: crm.Root = Field(title="Address", examples=["https://crm.example.com"])
    database: crm.DatabaseName = Field(title="Database")
    key: crm.Key | None = Field(
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
