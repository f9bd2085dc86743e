"""Bitrix24 as a CRM, by an incoming webhook."""

import re
from typing import ClassVar

from pydantic import Field, field_validator

from router.integrations import crm
from router.integrations.base import Secret, Vendor
from router.integrations.bitrix24.connector import Bitrix24Connector
from router.integrations.crm.saga import CrmSender

WEBHOOK = re.compile(r"(?:https?://[^/]+/rest/)?(\d{1,9}/[A-Za-z0-9]{1,100})/?(?:[a-z0-9.]+)?")
"""As Bitrix24 shows it: `https://example.bitrix24.com/rest/1/abc123/`, with or without the address before it and a method behind."""


class Bitrix24Sender(CrmSender):
    connector = Bitrix24Connector


class Bitrix24Settings(crm.CrmSettings):
    field_name = re.compile(r"[a-z][A-Za-z0-9]{0,62}|UF_CRM_[A-Z0-9_]{1,50}")
    reserved_fields = frozenset(("id", "fm", "assignedById", "originatorId", "originId", "contactId"))
    falls_to_nobody = False
    chosen_from: ClassVar = {"manager": "people", "pipeline": "pipelines", "stage": "stages"}

    manager: crm.Chosen = Field(
        "",
        title="Responsible for new leads",
        description="A person of the CRM. Without one the lead belongs to the user who made the webhook.",
    )
    url: crm.Host = Field(title="Address", examples=["https://yourcompany.bitrix24.com"])
    key: Secret | None = Field(
        None,
        title="Incoming webhook",
        description="In Bitrix24: Developer resources, Other, Inbound webhook, with the rights CRM (crm) and Users (user). Paste its"
        " address.",
    )
    deals: bool = Field(
        False,
        title="Deals with contacts in place of leads",
        description="Needed where Bitrix24 works in its simple mode, which has no leads.",
    )
    pipeline: crm.Chosen = Field("", title="Pipeline of new deals", description="Otherwise the general one.")
    stage: crm.Chosen = Field("", title="Stage of new leads or deals", description="Otherwise the first one.")

    @field_validator("key")
    @classmethod
    def _code(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not (found := WEBHOOK.fullmatch(value)):
            raise ValueError("An incoming webhook looks like https://yourcompany.bitrix24.com/rest/1/abc123/.")
        return found.group(1)


BITRIX24 = Vendor(
    kind="bitrix24",
    name="Bitrix24",
    product="Bitrix24",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=Bitrix24Settings,
    sealed="key",
    sender=Bitrix24Sender,
    ordered_by_caller=True,
    settles_after=Bitrix24Sender.settles_after,
    repeated="The lead and the comment are looked for first: what is still there is not made again, what somebody deleted there is.",
)
