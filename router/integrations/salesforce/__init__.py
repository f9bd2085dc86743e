"""Salesforce as a CRM: new callers become leads, calls become completed tasks."""

import re
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator

from router.integrations import crm
from router.integrations.base import Address, Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.salesforce.connector import SalesforceConnector


class SalesforceSender(CrmSender):
    connector = SalesforceConnector


class SalesforceSettings(crm.CrmSettings):
    field_name = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
    reserved_fields = frozenset(("Id", "Phone", "OwnerId", "Calltrack_Key__c"))
    chosen_from: ClassVar = {"manager": "people", "stage": "stages"}

    url: Address = Field(
        title="Address",
        description="My Domain: in Salesforce under Setup, My Domain.",
        examples=["https://yourcompany.my.salesforce.com"],
    )
    client_id: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_.\-]{10,300}$")] = Field(
        title="Consumer key", description="Of an external client app with the client credentials flow."
    )
    key: crm.Key | None = Field(None, title="Consumer secret", description="Of the same app.")
    stage: crm.Chosen = Field("", title="Status of new leads", description="Otherwise Salesforce’s own first one.")
    lost: Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)] = Field(
        "Closed - Not Converted, Unqualified",
        title="Statuses of lost leads",
        description="Names with commas between them: Salesforce does not tell which of its statuses mean that. Otherwise Closed - Not"
        " Converted, and Unqualified.",
    )
    phone_fields: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[A-Za-z0-9_, ]*$")
    ] = Field(
        "",
        title="More fields with phone numbers",
        description="API names of fields of leads in which callers are looked for beside Phone and MobilePhone.",
    )

    @field_validator("url")
    @classmethod
    def _root(cls, value: str) -> str:
        """Of an address copied from the browser the host alone counts; pages stand at another host than the API."""
        parts = urlsplit(value)
        host = parts.netloc.replace(".lightning.force.com", ".my.salesforce.com")
        return f"{parts.scheme}://{host}" if host else value


SALESFORCE = Vendor(
    kind="salesforce",
    name="Salesforce",
    product="Salesforce",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=SalesforceSettings,
    sealed="key",
    sender=SalesforceSender,
    ordered_by_caller=True,
    settles_after=SalesforceSender.settles_after,
    repeated="The lead and the call are looked for first: what is there is not made again, what somebody deleted there is.",
)
