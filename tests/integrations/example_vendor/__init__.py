"""A CRM that nobody sells: what a new vendor's folder has to hold, and no more."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from router.integrations.base import Address, Message, Secret, Vendor, not_delivered
from router.integrations.crm import CRM, CrmSettings
from router.lib.http_client import Outgoing, OutgoingError


class ExampleSettings(CrmSettings):
    url: Address = Field(title="Address of the board", examples=["https://boards.example.com"])
    board: Annotated[str, StringConstraints(min_length=1)] = Field(title="Board", description="As its address ends.")
    token: Secret | None = Field(None, title="Token")
    urgent: bool = Field(False, title="Calls are urgent")


class ExampleSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        card = {"caller": message.call["caller"], "urgent": message.config["urgent"], "for": list(message.managers)}
        headers = {"Authorization": f"Bearer {message.secret}"}
        try:
            answer = self.outgoing.post_json(
                f"{message.config['url']}/{message.config['board']}", card, headers, message.deadline
            )
        except OutgoingError as error:
            raise not_delivered(error) from None
        message.remember({"lead_id": answer.headers["x-card"]})
        return {"status": answer.status, "card": answer.headers["x-card"]}


EXAMPLE = Vendor(
    kind="example",
    name="Example CRM",
    product="Example, any version",
    events={CRM: ("call.ended",)},
    settings=ExampleSettings,
    sealed="token",
    account="board",
    sender=ExampleSender,
    ordered_by_caller=True,
)
