"""Salesforce as a world of the shared suite: each caller begins with a new process, which has no token yet."""

import json
from typing import Any, ClassVar

from router.integrations.salesforce import SalesforceSender, client
from router.lib.http_client import Answer
from tests.integrations.crm_world import Lead, World
from tests.integrations.odoo import new_number
from tests.integrations.salesforce_fake import BERT, SalesforceFake

THEIRS = {"LastName": "Kern", "Description": "wants red ones", "OwnerId": BERT}


def said(status: int, code: str, message: str) -> Answer:
    body = json.dumps([{"message": message, "errorCode": code}]).encode()
    return Answer(status, {"content-type": "application/json"}, body, complete=True)


class SalesforceWorld(World):
    sender = SalesforceSender
    own_faults: ClassVar = {
        "expired_token": said(401, "INVALID_SESSION_ID", "Session expired or invalid"),
        "limit": said(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        "locked": said(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
        "unavailable": said(503, "SERVER_UNAVAILABLE", "server unavailable"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.fake = SalesforceFake()
        self.transport = self.fake
        self.config = {"url": "http://127.0.0.1:9", "client_id": self.fake.client_id, "lost": "Closed - Not Converted"}
        self.secret = self.fake.secret
        self.manager = "anna@garden.example"
        self.begin()

    def begin(self) -> None:
        self.caller = new_number()
        self.known, self.steps = None, {}
        client._TOKENS.clear()
        for name in ("Lead", "Contact", "Opportunity", "OpportunityContactRole", "Task"):
            self.fake.tables[name].clear()
        self.fake.index()

    def leads(self) -> list[Lead]:
        return [
            Lead(
                number,
                lead["OwnerId"],
                len(self._tasks(number, is_call=True)),
                len(self._tasks(number, is_call=False)),
                lead["Status"] != "Closed - Not Converted",
            )
            for number, lead in self.fake.tables["Lead"].items()
            if lead.get("Phone") == self.caller
        ]

    def contacts(self) -> int:
        return len(self.fake.tables["Contact"])

    def edit(self, lead: Any) -> None:
        self.fake.tables["Lead"][lead].update(THEIRS)
        for call in self._tasks(lead, is_call=True):
            call["Description"] += "\nShe wants them red."

    def is_edited(self, lead: Any) -> bool:
        now = self.fake.tables["Lead"][lead]
        return all(now[name] == value for name, value in THEIRS.items())

    def corrections(self, lead: Any) -> int:
        """At the call itself, whose words of before stay."""
        (call,) = self._tasks(lead, is_call=True)
        assert "missed" in call["Description"]
        assert call["CallDisposition"] == "Voicemail"
        return str(call["Description"]).count("Corrected:")

    def _tasks(self, lead: Any, *, is_call: bool) -> list[dict[str, Any]]:
        of_lead = [task for task in self.fake.tables["Task"].values() if task.get("WhoId") == lead]
        return [task for task in of_lead if (task["Status"] == "Completed") == is_call]
