"""What reached the outside world: the example company's webhook receiver, its analytics and its CRM keep what they got."""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from router.carriers.simulator.server import Reply

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
                "body": _pretty(body),
                "summary": summary(kind, parts.path, body),
                "answer": answer,
            }
            self._items.append(item)


def summary(kind: str, path: str, body: bytes) -> str:
    """What a message says, in a few words."""
    try:
        document = json.loads(body)
        if kind == "webhook":
            return f"{document['type']} · {document['data'].get('caller') or 'withheld'} · {document['data']['status']}"
        if kind == "mp":
            event = document["events"][0]
            return f"event {event['name']} · {event['params'].get('call_status', '')}"
        _, _, model, method = path.strip("/").split("/")
        return _crm_summary(model, method, document)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "not readable"


def _crm_summary(model: str, method: str, document: dict[str, Any]) -> str:
    """What a request writes into the CRM: a lead, a marketing source, a note."""
    if method == "message_post":
        return f"note on {model} {document['ids'][0]}"
    if method != "load":
        return f"{model} {method}"
    row = dict(zip(document["fields"], document["data"][0], strict=True))
    return f"{WRITTEN.get(model, model)} “{row['name']}”"


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body[:4000].decode("utf-8", "replace")


def _json(status: int, document: Any) -> Reply:
    return status, "application/json", json.dumps(document).encode()
