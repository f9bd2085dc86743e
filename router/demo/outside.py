"""The outside world of the demo as one process: the simulated exchange, and the example company's webhook receiver, analytics and CRM: what
they get now, and what they were sent about its past calls."""

import json
import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from router.carriers import SIMULATOR_FILE, carrier_tokens, simulated_account
from router.carriers.simulator import Line, RealClock, Simulator
from router.carriers.simulator.accounts import Accounts
from router.carriers.simulator.call_book import CallBook
from router.carriers.simulator.exchange import ControlServer, Mount, Reply
from router.carriers.simulator.rest import ELSEWHERE, VERSION
from router.config import Settings, read_settings
from router.demo import shop
from router.demo.company import CRM_DATABASE, Places, Room, read_places
from router.demo.odoo import OdooFake
from router.demo.people import PastCall
from router.integrations.crm import CRM
from router.integrations.crm.saga import NO_CUSTOMER
from router.integrations.ga4 import NO_CLIENT_ID
from router.integrations.vendors import VENDORS, slots
from router.integrations.webhook import END as WEBHOOK_AT_THE_END
from router.server import utc_now

KEPT = 60
SHOWN_HEADERS = (
    "Webhook-Id",
    "Webhook-Timestamp",
    "Webhook-Signature",
    "Content-Type",
    "User-Agent",
    "X-Odoo-Database",
)
WRITING = ("load", "create", "write", "message_post")
KINDS = {"webhook": "Webhook", "mp": "Google Analytics 4", "crm": "CRM (Odoo)"}
WRITTEN = {
    "crm.lead": "lead",
    "utm.source": "marketing source",
    "utm.medium": "marketing medium",
    "utm.campaign": "campaign",
}

Crm = Callable[[str, Mapping[str, str], bytes], Reply]
"""Answers one request to a CRM: path, headers, body."""


class Inbox:
    """Receives as the outside world would; lives beside the web server, so that a delivery never waits for its own sender."""

    def __init__(self, now: Callable[[], datetime], crm: Crm) -> None:
        self._now = now
        self._crm = crm
        self._lock = threading.Lock()
        self._items: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0

    def receive(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The mount at `/demo/inbox`."""
        place = urlsplit(path).path.removeprefix("/demo/inbox").strip("/")
        if method == "GET" and place == "items":
            return _json(200, {"items": self.items()})
        if method == "POST" and place == "webhook":
            self._keep("webhook", path, headers, body, "")
            return _json(200, {"received": True})
        if method == "POST" and place == "mp/collect":
            self._keep("mp", path, headers, body, "")
            return 204, "", b""
        return _json(404, {"detail": "Nothing is received here."})

    def receive_crm(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The mount at `/json/2/`: what only asks is answered and not shown."""
        reply = self._crm(path, headers, body)
        called = urlsplit(path).path.rpartition("/")[2]
        if called in WRITING:
            self._keep("crm", path, headers, body, f"{reply[0]} {reply[2][:400].decode('utf-8', 'replace')}")
        return reply

    def items(self) -> list[dict[str, Any]]:
        """Newest first."""
        with self._lock:
            return list(reversed(self._items))

    def _keep(self, kind: str, path: str, headers: Mapping[str, str], body: bytes, answer: str) -> None:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items() if name != "api_secret"}
        with self._lock:
            self._count += 1
            item = {
                "number": self._count,
                "kind": kind,
                "title": KINDS[kind],
                "at": self._now().isoformat(),
                "path": parts.path,
                "query": query,
                "headers": {name: headers[name] for name in SHOWN_HEADERS if name in headers},
                "body": indented(body),
                "summary": summary(kind, parts.path, body),
                "answer": answer,
            }
            self._items.append(item)


def summary(kind: str, path: str, body: bytes) -> str:
    """What a message says, in a few words."""
    try:
        message = json.loads(body)
        if kind == "webhook":
            return f"{message['type']} · {message['data'].get('caller') or 'withheld'} · {message['data']['status']}"
        if kind == "mp":
            event = message["events"][0]
            return f"event {event['name']} · {event['params'].get('call_status', '')}"
        _, _, model, method = path.strip("/").split("/")
        if method == "message_post":
            return f"note on {model} {message['ids'][0]}"
        if method != "load":
            return f"{model} {method}"
        row = dict(zip(message["fields"], message["data"][0], strict=True))
        return f"{WRITTEN.get(model, model)} “{row['name']}”"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "not readable"


def indented(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body[:4000].decode("utf-8", "replace")


def _json(status: int, document: Any) -> Reply:
    return status, "application/json", json.dumps(document).encode()


RETRIED_SHARE = 0.04
DEAD_SHARE = 0.008
ANSWERS = {"ga4": 204}
"""What a vendor's receiver answers with when it is not 200."""


@dataclass
class PastDelivery:
    """A row of `delivery` with the rows of its attempts, and the lead that it made."""

    row: dict[str, Any]
    attempts: list[dict[str, Any]]
    lead: dict[str, Any] | None


def deliveries_of(random: Random, call: PastCall, room: Room) -> list[PastDelivery]:
    """What was sent about a call: to each integration in one attempt, in two after a passing failure, or in vain."""
    deliveries = []
    for integration in room.integrations.values():
        vendor, slot = VENDORS[integration.kind], slots()[integration.slot]
        event = vendor.events[slot][0]
        created_at = call.started_at + timedelta(seconds=0 if event == "call.started" else call.ended_after)
        chance = random.random()
        message_id = f"msg_{random.getrandbits(80):020x}_{integration.id}"
        at = created_at + timedelta(seconds=random.uniform(0.2, 1.5))
        state, reason = "done", ""
        if vendor.kind == "ga4" and not (call.stay and call.stay.ga):
            state, reason = "skipped", NO_CLIENT_ID
        elif vendor.kind == "odoo" and call.caller is None:
            state, reason = "skipped", NO_CUSTOMER
        elif chance < DEAD_SHARE and slot is WEBHOOK_AT_THE_END:
            state, reason = "dead", "The receiver answered 503 to every attempt."
        if state == "dead":
            message = "The receiver answered 503. The shop system is being updated."
            attempts = [
                _attempt(random, at + timedelta(seconds=seconds), 503, outcome, message)
                for seconds, outcome in ((0, "retry"), (5, "retry"), (305, "retry"), (2105, "retry"), (9305, "dead"))
            ]
        elif state == "done" and chance > 1 - RETRIED_SHARE:
            attempts = [
                _attempt(random, at, 502, "retry", "The receiver answered 502."),
                _attempt(random, at + timedelta(seconds=5.4), 200, "done"),
            ]
        else:
            status = None if state == "skipped" else ANSWERS.get(vendor.kind, 200)
            attempts = [_attempt(random, at, status, state, reason)]
        made_lead = slot is CRM and state == "done"
        row = {
            "message_id": message_id,
            "project_id": integration.project_id,
            "integration_id": integration.id,
            "call_id": call.id,
            "event": event,
            "receiver": integration.receiver,
            "order_key": f"{integration.receiver}|{call.caller}" if vendor.ordered_by_caller and call.caller else "",
            "state": state,
            "reason": reason,
            "created_at": created_at,
            "event_at": created_at,
            "next_at": created_at,
            "reference": {"lead_id": call.id, "status": 200} if made_lead else {},
            "attempts": len(attempts),
            "done_at": attempts[-1]["at"] if state == "done" else None,
        }
        lead = {
            "project_id": integration.project_id,
            "account": integration.account or integration.receiver,
            "caller": call.caller,
            "external_key": f"call-{call.id}",
            "external_id": str(call.id),
            "created_at": created_at,
        }
        deliveries.append(PastDelivery(row, attempts, lead if made_lead and call.first else None))
    return deliveries


def _attempt(random: Random, at: datetime, status: int | None, outcome: str, message: str = "") -> dict[str, Any]:
    milliseconds = random.randrange(18, 240)
    return {"at": at, "milliseconds": milliseconds, "status": status, "outcome": outcome, "message": message}


def wsgi_receiver(application: Any) -> Crm:
    """A WSGI application as something that answers one request."""

    def answer(path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        environ = EnvironBuilder(path=path, method="POST", headers=Headers(headers), data=body).get_environ()
        pieces, status, answered = run_wsgi_app(application, environ, buffered=True)
        return int(status.split()[0]), answered.get("Content-Type", ""), b"".join(pieces)

    return answer


def outside_world(settings: Settings, places: Places) -> ControlServer:
    """Every line is worked by hand, from the telephone's page. Numbers are rented here, too, and can be dialled at once."""
    token, account_sid = carrier_tokens(settings)[0], simulated_account(settings)
    accounts = Accounts(settings.data_dir / SIMULATOR_FILE, account_sid, token)
    account = accounts.servers.account
    for number in (*shop.POOL, shop.BILLBOARD, shop.FLYER, *shop.LINES):
        account.give_to_somebody_else(number)
    simulator = Simulator(
        settings.base_url,
        token,
        clock=RealClock(),
        lines={"*": Line.by_hand()},
        owned=[*shop.POOL, shop.BILLBOARD, shop.FLYER],
        rented=account.addresses,
        signer=accounts.signer,
        account=account_sid,
        book=CallBook(account.path),
    )
    accounts.redirect = simulator.redirect
    inbox = Inbox(utc_now, wsgi_receiver(OdooFake(CRM_DATABASE, places.crm_key)))
    mounts: dict[str, Mount] = {"/demo/inbox": inbox.receive, "/json/2/": inbox.receive_crm}
    mounts |= dict.fromkeys((f"/{VERSION}/", *ELSEWHERE), accounts.reply)
    server = ControlServer(simulator, places.key, places.port, mounts)
    simulator.rest_url = server.address
    return server


def main() -> None:
    settings = read_settings()
    places = read_places(settings.data_dir)
    if places is None:
        raise SystemExit("router: the demo's exchange is started by `router demo`")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    world = outside_world(settings, places)
    world.start()
    logging.getLogger(__name__).info("the simulated exchange listens at %s", places.address)
    stop.wait()
    world.close()
