"""Tryton as a world of the shared suite: our stand-in without a network between, or the real product."""

import base64
import json
from typing import Any, ClassVar

from router.integrations.tryton import TrytonSender
from router.lib.http_client import Answer, Outgoing
from tests.integrations.crm_world import Lead, World
from tests.integrations.odoo import LOOPBACK, new_number
from tests.integrations.odoo_world import in_process, said
from tests.integrations.tryton import KEYS, REAL, TrytonFake

UNAUTHORIZED = b"""<!doctype html>
<html lang=en>
<title>401 Unauthorized</title>
<h1>Unauthorized</h1>
<p>The server could not verify that you are authorized to access the URL requested.</p>
"""
THEIRS = {"description": "Roses for Frau Kern", "comment": "wants red ones", "reference": "R 12"}


class TrytonWorld(World):
    sender = TrytonSender
    makes_contacts = True
    own_faults: ClassVar = {
        "expired_key": Answer(401, {"content-type": "text/html; charset=utf-8"}, UNAUTHORIZED, complete=True),
        "two_at_once": said(423, {"status": 423, "message": "This record has been modified.", "description": ""}),
        "an_error_inside": said(200, {"error": ["UserError", ["no", ""]]}),
        "database_locked": said(503, {"status": 503, "message": "database is locked", "description": ""}),
    }

    def __init__(self, is_real: bool = False) -> None:
        super().__init__()
        self.url, self.database = (REAL["URL"], REAL["DATABASE"]) if is_real else ("http://127.0.0.1:9", "crm")
        self.keys: dict[str, str] = json.loads(REAL["KEYS"]) if is_real else KEYS
        self.is_real = is_real
        self.config = {"url": self.url, "database": self.database}
        self.secret = self.keys["calltracking"]
        self.manager = "anna"
        self.begin()

    def ask(self, model: str, method: str, record: int | None = None, user: str = "anna", **arguments: Any) -> Any:
        """What its people do and see there."""
        context = base64.urlsafe_b64encode(json.dumps({"company": 1, "companies": [1]}).encode()).decode()
        headers = {
            "Authorization": f"Bearer {self.keys[user]}",
            "X-Tryton-Context": context,
            "Content-Type": "application/json",
        }
        place = f"{model}/{record}/{method}" if record is not None else f"{model}/{method}"
        url, content = f"{self.url}/{self.database}/rest/model/{place}", json.dumps(arguments).encode()
        if self.transport is not None:
            answer = self.transport("POST", url, content, headers)
        else:
            answer = Outgoing(LOOPBACK, total_seconds=15).post(url, content, headers)
        assert answer.status == 200, answer.text
        return answer.json()

    def search(self, model: str, domain: list[Any], fields: list[str]) -> list[dict[str, Any]]:
        return list(self.ask(model, "search_read", domain=domain, fields_names=fields, order=[["id", "ASC"]]))

    def begin(self) -> None:
        self.caller = new_number()
        self.known, self.steps = None, {}
        if not self.is_real:
            self.transport = in_process(TrytonFake(self.database))

    def leads(self) -> list[Lead]:
        parties = self._parties()
        found = self.search("sale.opportunity", [["party", "in", parties]], ["employee", "state"])
        leads = []
        for lead in found:
            texts = self.notes(lead["id"])
            calls = sum(text.startswith(f"Call from {self.caller} to ") for text in texts)
            tasks = sum(text.startswith("To do") for text in texts)
            is_visible = lead["state"] not in ("lost", "cancelled")
            leads.append(Lead(lead["id"], lead["employee"], calls, tasks, is_visible))
        return leads

    def notes(self, record: int, model: str = "sale.opportunity") -> list[str]:
        found = self.search("ir.note", [["resource", "=", f"{model},{record}"]], ["message"])
        return [str(note["message"]) for note in found]

    def contacts(self) -> int:
        return len(self._parties())

    def edit(self, lead: Any) -> None:
        (ben,) = (person["id"] for person in self._employees() if person["rec_name"] == "Ben Sellers")
        self.ask("sale.opportunity", "write", lead, values=THEIRS | {"employee": ben})

    def is_edited(self, lead: Any) -> bool:
        (now,) = self.search("sale.opportunity", [["id", "=", lead]], [*THEIRS, "employee.rec_name"])
        owner = now["employee."]["rec_name"]
        return {name: now[name] for name in THEIRS} == THEIRS and bool(owner == "Ben Sellers")

    def corrections(self, lead: Any) -> int:
        return sum(text.startswith("Corrected:") for text in self.notes(lead))

    def _employees(self) -> list[dict[str, Any]]:
        return self.search("company.employee", [["company", "=", 1]], ["rec_name"])

    def _parties(self) -> list[int]:
        found = self.search("party.contact_mechanism", [["value", "=", self.caller]], ["party"])
        return [phone["party"] for phone in found]
