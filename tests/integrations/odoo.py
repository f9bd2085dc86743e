"""An Odoo that a test talks to: our stand-in, or the real product when its address and keys are given.

`make test-crm` starts one and sets ODOO_URL, ODOO_DATABASE, ODOO_API_KEY (of a sales manager), ODOO_ADMIN_KEY (of an administrator, for its
users and its country) and ODOO_KEYS (a JSON object of more keys: `own`, `none`, `other`, `expired`).
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from router.demo.odoo import OdooFake
from router.integrations.base import Message
from router.integrations.odoo import OdooSender
from router.lib.http_client import Outgoing
from tests.people import NOW

LOOPBACK = (ip_network("127.0.0.0/8"),)

REAL = {name: os.environ.get(f"ODOO_{name}", "") for name in ("URL", "DATABASE", "API_KEY", "ADMIN_KEY")}
KEYS: dict[str, str] = json.loads(os.environ.get("ODOO_KEYS") or "{}")
PRODUCTS = ["stand-in", "real"] if all(REAL.values()) else ["stand-in"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Silent."""


def new_number() -> str:
    """A valid number that is nobody's yet."""
    return f"+1415{secrets.randbelow(8) + 2}{secrets.randbelow(10)}{secrets.randbelow(8) + 2}{secrets.randbelow(10**4):04d}"


def new_digits(count: int = 7) -> str:
    """The end of a number that is nobody's yet; none of them 0 or 1, so that it is valid behind any area code."""
    return "".join(secrets.choice("23456789") for _ in range(count))


@dataclass
class Crm:
    """An Odoo and one caller whom it has never heard of."""

    url: str
    database: str
    key: str
    admin_key: str
    caller: str = field(default_factory=new_number)
    calls: int = 0
    known: str | None = None
    steps: dict[str, Any] = field(default_factory=dict)
    """What the last delivery remembered, however it ended."""

    def send(self, message: Message, outgoing: Outgoing | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """One delivery; what it returned, and the steps it remembered."""
        steps = self.steps = dict(message.reference)

        def remember(found: dict[str, Any]) -> None:
            steps.update(found)
            if found.get("lead_id"):
                self.known = str(found["lead_id"])

        sender = OdooSender(outgoing or Outgoing(LOOPBACK, total_seconds=15))
        answer = sender.deliver(replace(message, remember=remember, deadline=time.monotonic() + 15))
        return answer, steps

    def again(
        self, message: Message, outgoing: Outgoing | None = None, **more: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next attempt at a delivery, when all that an earlier one may have begun is over."""
        later = message.now + OdooSender.settles_after
        kept: dict[str, Any] = {"reference": self.steps, "known_lead": self.known, "now": later}
        return self.send(replace(message, **(kept | more)), outgoing)

    def message(self, event: str = "call.ended", **more: Any) -> Message:
        self.calls += 1
        config = {"url": self.url, "database": self.database, **more.pop("config", {})}
        managers = (str(config.pop("manager", "")), str(config.pop("fallback_manager", "")))
        call = call_document(self.caller, f"CA{secrets.token_hex(16)}") | more.pop("call", {})
        values: dict[str, Any] = {
            "id": f"msg_{call['sid']}",
            "event": event,
            "event_at": NOW,
            "now": NOW,
            "config": config,
            "secret": self.key,
            "call": call,
            "placeholders": {"phone": str(call["caller"]), "date": "2026-11-23 13:00:00", "utmCampaign": "spring"},
            "visit_last_sign": None,
            "reference": {},
            "known_lead": self.known,
            "deadline": 0.0,
            "country": "DE",
            "managers": managers,
        }
        return Message(**(values | more))

    def ask(self, model: str, method: str, *, as_admin: bool = False, **arguments: Any) -> Any:
        """What its people do and see there."""
        key = self.admin_key if as_admin else self.key
        headers = {"Authorization": f"bearer {key}", "X-Odoo-Database": self.database}
        outgoing = Outgoing(LOOPBACK, total_seconds=15)
        answer = outgoing.post_json(f"{self.url}/json/2/{model}/{method}", arguments, headers)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)

    def make(self, model: str, **values: Any) -> int:
        """A record; `country` is its code."""
        if code := values.pop("country", None):
            values["country_id"] = self.country(code)
        (number,) = self.ask(model, "create", vals_list=[values])
        return int(number)

    def country(self, code: str) -> int:
        (found,) = self.ask("res.country", "search_read", domain=[["code", "=", code]], fields=["code"])
        return int(found["id"])

    def lead(self, number: int) -> dict[str, Any]:
        (found,) = self.ask(
            "crm.lead",
            "search_read",
            domain=[["id", "=", number]],
            fields=["name", "phone", "user_id", "team_id", "tag_ids", "expected_revenue", "campaign_id", "medium_id"],
            context={"active_test": False},
        )
        return dict(found)

    def leads(self) -> list[dict[str, Any]]:
        fields = ["name", "phone_sanitized", "description", "user_id", "source_id", "medium_id", "campaign_id"]
        domain = [["phone_sanitized", "=", self.caller]]
        return list(
            self.ask(
                "crm.lead", "search_read", domain=domain, fields=fields, order="id", context={"active_test": False}
            )
        )

    def tasks(self, record: int, model: str = "crm.lead") -> list[dict[str, Any]]:
        domain = [["res_model", "=", model], ["res_id", "=", record]]
        return list(
            self.ask(
                "mail.activity", "search_read", domain=domain, fields=["summary", "user_id", "date_deadline", "note"]
            )
        )

    def notes(self, record: int, model: str = "crm.lead") -> list[str]:
        domain = [["model", "=", model], ["res_id", "=", record], ["body", "ilike", "Call id: "]]
        return [one["body"] for one in self.ask("mail.message", "search_read", domain=domain, fields=["body"])]


def call_document(caller: str, sid: str) -> dict[str, Any]:
    return {
        "sid": sid,
        "caller": caller,
        "number": "+14155550100",
        "started_at": "2026-11-23T12:00:00.000Z",
        "status": "answered",
        "duration": 72,
        "ring_seconds": 6,
        "visit": 10234,
        "landing_page": "https://garden.example/roses?a=1&b=<script>alert(1)</script>",
        "referrer": None,
        "source": {"channel": "paid", "source": "google", "medium": "cpc", "campaign": "spring"},
        "attribution": {"rule": "lease", "confidence": 0.87, "source_confidence": 0.91, "candidates": []},
        "recording": None,
        "recordings": [],
    }


@pytest.fixture(scope="module")
def stand_in() -> Iterator[tuple[OdooFake, str]]:
    fake = OdooFake("crmtest", "the-key")
    with make_server("127.0.0.1", 0, fake, WSGIServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield fake, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(params=PRODUCTS)
def crm(request: pytest.FixtureRequest, stand_in: tuple[OdooFake, str]) -> Crm:
    """Its company and the project stand in Germany."""
    real = Crm(REAL["URL"], REAL["DATABASE"], REAL["API_KEY"], REAL["ADMIN_KEY"])
    crm = real if request.param == "real" else Crm(stand_in[1], "crmtest", "the-key", "the-key")
    crm.ask("res.company", "write", as_admin=True, ids=[1], vals={"country_id": crm.country("DE")})
    return crm
