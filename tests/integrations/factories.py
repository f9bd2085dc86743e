"""Rows that deliveries need, with defaults; and a real HTTP receiver that remembers what it got."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Visit
from router.integrations.models import Integration
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from router.voice.calls import CallFacts
from router.voice.models import Call

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CALLER = "+14155552671"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def make_integration(
    session: Session, scenario: Scenario, keys: KeyRing, slot: str, kind: str, secret: str, **config: Any
) -> Integration:
    receiver = str(config.pop("receiver", f"{kind}:{config.get('url', slot)}"))[:80]
    integration = Integration(
        project_id=scenario.project_id,
        scenario_id=scenario.id,
        slot=slot,
        kind=kind,
        receiver=receiver,
        config=config,
        sealed=keys.seal(secret),
        created_at=NOW,
    )
    session.add(integration)
    session.flush()
    return integration


def make_visit(session: Session, project: Project, **more: Any) -> Visit:
    values: dict[str, Any] = {
        "project_id": project.id,
        "number": 10234,
        "visitor": "v" * 20,
        "started_at": NOW,
        "span_started_at": NOW,
        "last_sign_at": NOW,
        "page": "https://garden.example/roses?utm_source=google",
        "referrer": "https://www.google.com/",
        "channel": "paid",
        "source": "google",
        "medium": "cpc",
        "campaign": "spring",
        "term": "",
        "content": "",
        "source_key": 1,
        "click_ids": {},
        "ga": {"client_id": "1162820436.1749482504", "session_id": str(int(NOW.timestamp()) - 60)},
        "address": "203.0.113.0",
    }
    visit = Visit(**(values | more))
    session.add(visit)
    session.flush()
    return visit


def make_call(session: Session, scenario: Scenario, visit: Visit | None = None, **more: Any) -> Call:
    sid = more.pop("sid", f"CA{session.query(Call).count():032d}")
    values: dict[str, Any] = {
        "sid": sid,
        "project_id": scenario.project_id,
        "number_id": 1,
        "number": "+14155550100",
        "scenario_id": scenario.id,
        "scenario_enabled": scenario.enabled,
        "flow": {},
        "caller": CALLER,
        "caller_raw": CALLER,
        "started_at": NOW,
        "last_event_at": NOW,
        "ended_at": NOW,
        "status": "answered",
        "first_call": True,
        "ring_seconds": 6,
        "talk_seconds": 63,
        "visit_id": visit.id if visit else None,
        "rule": "lease",
        "confidence": 0.87,
        "source_confidence": 0.91,
        "candidates": [{"visit": 10234, "probability": 0.87}],
        "decision": {},
        "source": {
            "channel": "paid",
            "source": "google",
            "medium": "cpc",
            "campaign": "spring",
            "term": "",
            "content": "",
        },
    }
    call = Call(**(values | more))
    session.add(call)
    session.flush()
    return call


def facts(call: Call) -> CallFacts:
    """What a signal says about a call."""
    return CallFacts(
        id=call.id,
        sid=call.sid,
        project_id=call.project_id,
        scenario_id=call.scenario_id,
        scenario_enabled=call.scenario_enabled,
        kind=call.kind,
        caller=call.caller,
        started_at=call.started_at,
        ended_at=call.ended_at,
    )


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Answers what it was told to, and keeps what came."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], tuple[int, Mapping[str, str], bytes]] = lambda request: (200, {}, b"ok")
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def receiver(answer: Callable[[Request], tuple[int, Mapping[str, str], bytes]] | None = None) -> Iterator[Receiver]:
    """A real HTTP server on a free port of the loopback."""
    state = Receiver()
    if answer is not None:
        state.answer = answer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request("POST", self.path, headers, body)
            with state.lock:
                state.requests.append(request)
                state.under_way += 1
                state.most_under_way = max(state.most_under_way, state.under_way)
            try:
                status, more, content = state.answer(request)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with state.lock:
                    state.under_way -= 1

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
