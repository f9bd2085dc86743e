"""Odoo as a world of the shared suite: our stand-in without a network between, or the real product."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar
from urllib.parse import urlsplit

from router.demo.odoo import OdooFake
from router.integrations.odoo import OdooSender
from router.lib.http_client import Answer
from tests.integrations.crm_world import Lead, World
from tests.integrations.odoo import Crm, new_number


def in_process(application: Any) -> Any:
    """A transport that calls a WSGI application."""

    def ask(method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": urlsplit(url).path,
            "QUERY_STRING": urlsplit(url).query,
            "CONTENT_LENGTH": str(len(content)),
            "wsgi.input": BytesIO(content),
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        told: dict[str, Any] = {}

        def start(status: str, answered: list[tuple[str, str]]) -> None:
            told.update(status=int(status.split()[0]), headers={name.lower(): value for name, value in answered})

        body = b"".join(application(environ, start))
        return Answer(told["status"], told["headers"], body, complete=True)

    return ask


def said(status: int, document: Any) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(document).encode(), complete=True)


def refused(words: str) -> Answer:
    messages = [{"type": "error", "record": 0, "message": words}]
    return said(200, {"ids": False, "messages": messages, "nextrow": 0})


THEIRS = {"name": "Roses for Frau Kern", "description": "<p>wants red ones</p>", "campaign_id": False}


class OdooWorld(World):
    sender = OdooSender
    own_faults: ClassVar = {
        "expired_key": said(401, {"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"}),
        "serialization": said(500, {"name": "psycopg2.errors.SerializationFailure", "message": "could not serialize"}),
        "two_at_once": refused("could not serialize access due to concurrent update"),
    }

    def __init__(self, crm: Crm | None = None) -> None:
        super().__init__()
        if crm is None:
            fake = OdooFake("crmtest", "the-key", "DE")
            crm = Crm("http://127.0.0.1:9", "crmtest", "the-key", "the-key")
            self.transport = in_process(fake)
            self.call = fake.call
        else:
            self.call = crm.ask
        self.crm = crm
        self.config = {"url": crm.url, "database": crm.database}
        self.secret = crm.key
        self.manager = "admin"
        self.begin()

    def begin(self) -> None:
        self.caller = self.crm.caller = new_number()
        self.known, self.steps = None, {}

    def leads(self) -> list[Lead]:
        found = self.call(
            "crm.lead",
            "search_read",
            domain=[["phone_sanitized", "=", self.caller]],
            fields=["user_id", "active"],
            context={"active_test": False},
        )
        return [
            Lead(
                lead["id"],
                lead["user_id"] and lead["user_id"][0],
                self._count("mail.message", "body", lead["id"], f"Call from {self.caller} to "),
                self._count("mail.activity", "note", lead["id"], f"Call from {self.caller} to "),
                lead["active"],
            )
            for lead in found
        ]

    def contacts(self) -> int:
        domain = [["phone_sanitized", "=", self.caller]]
        return len(self.call("res.partner", "search_read", domain=domain, fields=["id"]))

    def edit(self, lead: Any) -> None:
        self.call("crm.lead", "write", ids=[lead], vals=THEIRS | {"user_id": self._other()})

    def is_edited(self, lead: Any) -> bool:
        domain = [["id", "=", lead]]
        (now,) = self.call("crm.lead", "search_read", domain=domain, fields=[*THEIRS, "user_id"])
        theirs = (THEIRS["name"], THEIRS["campaign_id"], self._other())
        return (now["name"], now["campaign_id"], now["user_id"][0]) == theirs and "red ones" in now["description"]

    def corrections(self, lead: Any) -> int:
        return self._count("mail.message", "body", lead, "Corrected:")

    def _other(self) -> int:
        (user,) = self.call("res.users", "search_read", domain=[["login", "=", "calltracking"]], fields=["id"])
        return int(user["id"])

    def _count(self, model: str, column: str, lead: Any, words: str) -> int:
        of = ("res_model", "res_id") if model == "mail.activity" else ("model", "res_id")
        domain: list[Any] = [[of[0], "=", "crm.lead"], [of[1], "=", lead], [column, "ilike", words]]
        if words != "Corrected:" and model == "mail.message":
            domain += ["!", [column, "ilike", "Corrected:"]]
        return len(self.call(model, "search_read", domain=domain, fields=["id"]))
