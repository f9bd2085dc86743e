"""HubSpot as a CRM: new callers become contacts with a deal, calls become HubSpot's calls."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from router.integrations import crm
from router.integrations.base import Vendor
from router.integrations.crm.saga import CrmSender
from router.integrations.hubspot.connector import HubSpotConnector


class HubSpotSender(CrmSender):
    connector = HubSpotConnector


class HubSpotSettings(crm.CrmSettings):
    reserved_fields = frozenset(("contact", "calltrack_key", "hubspot_owner_id", "pipeline", "dealstage"))
    chosen_from: ClassVar = {"manager": "people", "pipeline": "pipelines", "stage": "stages"}

    portal: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9]{1,20}$")] = Field(
        title="Account (Hub ID)",
        description="The number beside the account’s name in HubSpot’s menu.",
        examples=["12345678"],
    )
    key: crm.Key | None = Field(
        None,
        title="Service key",
        description="Made in HubSpot under Development, Keys, Service keys, with the scopes crm.objects and crm.schemas of contacts and"
        " deals (read and write) and crm.objects.owners.read.",
    )
    api: crm.Root = Field(
        "https://api.hubapi.com", title="Address of HubSpot’s API", description="Otherwise https://api.hubapi.com."
    )
    pipeline: crm.Chosen = Field("", title="Pipeline of new deals", description="Otherwise the default one.")
    stage: crm.Chosen = Field("", title="Stage of new deals", description="Otherwise the first one of the pipeline.")
    phone_fields: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[a-z0-9_, ]*$")
    ] = Field(
        "",
        title="More properties with phone numbers",
        description="Internal names of properties of contacts in which callers are looked for beside phone and mobilephone.",
    )


HUBSPOT = Vendor(
    kind="hubspot",
    name="HubSpot",
    product="HubSpot",
    events={crm.CRM: ("call.ended", "call.updated")},
    settings=HubSpotSettings,
    sealed="key",
    address="api",
    account="portal",
    decides="portal",
    sender=HubSpotSender,
    ordered_by_caller=True,
    settles_after=HubSpotSender.settles_after,
    repeated="The contact, the deal and the call are looked for first: what is there is not made again, what somebody deleted there is.",
)
