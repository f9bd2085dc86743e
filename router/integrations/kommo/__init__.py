"""Kommo, which was amoCRM and still is in some countries, as a CRM, by a long-lived token."""

import re
from typing import ClassVar

from pydantic import Field

from router.integrations import crm
from router.integrations.base import Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.kommo.connector import KommoConnector


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
    url: crm.Host = Field(title="Address", examples=["https://yourcompany.kommo.com"])
    key: crm.Key | None = Field(
        None,
        title="Long-lived token",
        description="In Kommo: Settings, Integrations, a private integration, Keys and scopes.",
    )
    pipeline: crm.Chosen = Field("", title="Pipeline of new leads", description="Otherwise the main one.")
    stage: crm.Chosen = Field("", title="Stage of new leads", description="Otherwise the first one of the pipeline.")


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
