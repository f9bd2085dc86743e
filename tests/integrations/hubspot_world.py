"""HubSpot as a world of the shared suite. Its search knows nothing of what was made since the caller first rang."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from router.integrations.hubspot import HubSpotSender
from router.integrations.hubspot.client import plain
from router.lib.http_client import ANSWER_LIMIT, Answer
from tests.integrations.crm_world import Lead, World
from tests.integrations.hubspot_fake import HubSpotFake
from tests.integrations.odoo import new_number

THEIRS = {"dealname": "Roses for Frau Kern", "description": "wants red ones", "hubspot_owner_id": "502"}


def said(status: int, **document: Any) -> Answer:
    body = {"status": "error", "correlationId": "c0ffee", **document}
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode(), complete=True)


class HubSpotWorld(World):
    sender = HubSpotSender
    makes_contacts = True
    own_faults: ClassVar = {
        "expired_key": said(401, category="EXPIRED_AUTHENTICATION", message="The token is expired"),
        "rate": said(
            429, category="RATE_LIMITS", message="You have reached your limit.", policyName="TEN_SECONDLY_ROLLING"
        ),
        "daily": said(429, category="RATE_LIMITS", message="You have reached your daily limit.", policyName="DAILY"),
        "internal": said(500, category="INTERNAL_ERROR", message="internal error"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.fake = HubSpotFake()
        self.transport = self.answer
        self.config = {"api": "http://127.0.0.1:9", "portal": str(self.fake.portal)}
        self.secret = self.fake.key
        self.manager = "anna@garden.example"
        self.begin()

    def begin(self) -> None:
        self.caller = new_number()
        self.known, self.steps = None, {}
        for kind in self.fake.records:
            self.fake.records[kind].clear()
        self.fake.links.clear()
        self.fake.index()

    def answer(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """What is longer than a delivery reads is cut."""
        whole = self.fake(method, url, content, headers)
        return replace(whole, body=whole.body[:ANSWER_LIMIT], complete=len(whole.body) <= ANSWER_LIMIT)

    def leads(self) -> list[Lead]:
        of_caller = [link[1] for link in self.fake.links if link[0] == "deals" and link[3] in self._contacts()]
        return [
            Lead(
                number,
                self.fake.records["deals"][number].get("hubspot_owner_id"),
                len(self._at(number, "calls", "hs_call_body", f"Call from {self.caller} to ")),
                len(self._at(number, "tasks", "hs_task_body", f"Call from {self.caller} to ")),
                self.fake.records["deals"][number]["dealstage"] != "lost",
            )
            for number in of_caller
        ]

    def contacts(self) -> int:
        return len(self._contacts())

    def edit(self, lead: Any) -> None:
        self.fake.records["deals"][lead].update(THEIRS)
        for call in self._at(lead, "calls", "hs_call_body", ""):
            self.fake.records["calls"][call]["hs_call_body"] += "<p>She wants them red.</p>"

    def is_edited(self, lead: Any) -> bool:
        deal = self.fake.records["deals"][lead]
        return all(deal.get(name) == value for name, value in THEIRS.items())

    def corrections(self, lead: Any) -> int:
        """At the call itself, whose words of before, and those that people added, stay."""
        (call,) = self._at(lead, "calls", "hs_call_body", "")
        record = self.fake.records["calls"][call]
        assert "missed" in record["hs_call_body"]
        assert record["hs_call_status"] == "COMPLETED"
        return plain(record["hs_call_body"]).count("Corrected:")

    def _contacts(self) -> list[int]:
        return [number for number, one in self.fake.records["contacts"].items() if one.get("phone") == self.caller]

    def _at(self, deal: int, kind: str, name: str, words: str) -> list[int]:
        numbers = [link[1] for link in self.fake.links if (link[0], link[2], link[3]) == (kind, "deals", deal)]
        return [number for number in numbers if words in plain(self.fake.records[kind][number][name])]
