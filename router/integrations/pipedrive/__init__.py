"""Pipedrive as a CRM: new callers become persons with a deal, calls become finished activities."""

import re
from typing import ClassVar

from pydantic import Field

from router.integrations import crm
from router.integrations.base import Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.pipedrive.connector import PipedriveConnector


class PipedriveSender(CrmSender):
    connector = PipedriveConnector


class PipedriveSettings(crm.CrmSettings):
    field_name = re.compile(r"name|title|value|currency|probability|expected_close_date|[0-9a-f]{40}")
    falls_to_nobody = False
    chosen_from: ClassVar = {"manager": "people", "pipeline": "pipelines", "stage": "stages"}

    manager: crm.Chosen = Field(
        "",
        title="Responsible for new leads",
        description="A person of the CRM. Without one the deal belongs to the user of the token.",
    )
    url: crm.Host = Field(title="Address", examples=["https://yourcompany.pipedrive.com"])
    key: crm.Key | None = Field(
        None,
        title="API token",
        description="In Pipedrive: Personal preferences, API. Deals belong to its user where nobody else is named.",
    )
    pipeline: crm.Chosen = Field("", title="Pipeline of new deals", description="Otherwise the first one.")
    stage: crm.Chosen = Field("", title="Stage of new deals", description="Otherwise the first one of the pipeline.")


PIPEDRIVE = Vendor(
    kind="pipedrive",
    name="Pipedrive",
    product="Pipedrive",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=PipedriveSettings,
    sealed="key",
    sender=PipedriveSender,
    ordered_by_caller=True,
    settles_after=PipedriveSender.settles_after,
    repeated="The deal and the call are looked for first: what is still there is not made again, what somebody deleted there is.",
)
