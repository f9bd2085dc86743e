"""Two web servers for the tests of the tag: a company's site, and a stand-in for our server that answers as it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from router.app import template_folder
from router.attribution.tag import TagOptions, tag_script
from router.lib.phones import display, forms, page_rules

KEY = "k3y"
CONSENT = (template_folder() / "reports/install/consent.txt").read_text("utf-8").strip()
"""As the install page has it."""


@dataclass
class Recorded:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers hang up when they like."""


@dataclass
class Site:
    """Pages and other files by path. `{tag}` in a page is the address of the tag."""

    origin: str
    tag: str
    pages: dict[str, str | bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    """What a file is, unless it is a page in UTF-8."""
    headers: dict[str, str] = field(default_factory=dict)
    prerendered: list[str] = field(default_factory=list)
    """Paths that a browser asked for before anybody looked at them."""

    @property
    def port(self) -> int:
        return int(self.origin.rsplit(":", 1)[1])

    def put(self, body: str, path: str = "/", head: str = '<script async src="{tag}"></script>') -> str:
        page = f'<!doctype html><html><head><meta charset="utf-8"><link rel="icon" href="data:,">{head}</head><body>{body}</body></html>'
        self.pages[path] = page.replace("{tag}", self.tag)
        return self.origin + path


@dataclass
class Stub:
    """Answers as the server does, unless told otherwise by its fields."""

    base: str
    options: TagOptions = field(default_factory=TagOptions)
    numbers: list[dict[str, Any]] = field(default_factory=list)
    country: str | None = None
    requests: list[Recorded] = field(default_factory=list)
    visits: int = 0
    alive_status: int = 204
    alive_numbers: list[dict[str, Any]] | None = None
    alive_withdrawn: list[int] | None = None
    hold: int | None = None
    """Seconds; half as many between two signs of life."""
    visit_answer: Callable[[], tuple[int, bytes]] | None = None
    hanging_up: bool = False
    slow: threading.Event | None = None
    """While set to an Event, answers wait for it."""

    def of(self, ending: str) -> list[Recorded]:
        return [one for one in self.requests if one.path.endswith(ending)]

    def wait_for(self, ending: str, count: int = 1) -> list[Recorded]:
        deadline = time.monotonic() + 20
        while len(self.of(ending)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        found = self.of(ending)
        assert len(found) >= count, f"only {len(found)} of {count} requests to {ending}: {self.requests}"
        return found

    def answer(self, path: str) -> tuple[int, bytes]:
        if path.endswith("/visits"):
            if self.visit_answer:
                return self.visit_answer()
            self.visits += 1
            visit = {
                "visit": 10001,
                "visitor": "v1sitor",
                "token": f"t{self.visits}",
                "alive_every": 45,
                "numbers": self.numbers,
                "rules": page_rules(self.country),
            }
            short = {"hold": self.hold, "alive_every": self.hold // 2} if self.hold else {}
            return 201, json.dumps(visit | short).encode()
        if path.endswith("/alive"):
            if self.alive_numbers is not None:
                withdrawn = {"withdrawn": self.alive_withdrawn} if self.alive_withdrawn else {}
                return 200, json.dumps({"numbers": self.alive_numbers} | withdrawn).encode()
            return self.alive_status, b""
        return 204, b""


def number(
    scenario: int = 1, e164: str = "+14155550123", form: str = "", country: str | None = None, **more: Any
) -> dict[str, Any]:
    """One number as the server gives it out, for a project of this country (None: the number's own). `form`: as it is shown everywhere,
    else it takes the form of what it replaces. `replace`: what the page says, or all spellings of that."""
    shown = form or display(e164, "", country)
    written = [(pattern, form or own, *weak) for pattern, own, *weak in forms(e164, country, "X" if form else "")]
    given = {"scenario": scenario, "e164": e164, "display": shown, "written": written, "selectors": [], "replace": []}
    return given | {"spellings": more.get("replace", [])} | more


@contextmanager
def running_stub() -> Iterator[Stub]:
    stub = Stub("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            script = tag_script(stub.base, KEY, stub.options, "debug" in self.path).body
            self._send(
                200, script, {"Content-Type": "text/javascript; charset=utf-8", "Access-Control-Allow-Origin": "*"}
            )

        def do_OPTIONS(self) -> None:
            stub.requests.append(Recorded("OPTIONS", self.path, dict(self.headers), None))
            self._send(405, b"", {})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stub.requests.append(Recorded("POST", self.path, dict(self.headers), json.loads(raw) if raw else None))
            if stub.hanging_up:
                self.close_connection = True
                return
            if stub.slow:
                stub.slow.wait(60)
            status, body = stub.answer(self.path)
            origin = {"Access-Control-Allow-Origin": self.headers["Origin"]} if "Origin" in self.headers else {}
            self._send(
                status,
                body,
                origin | {"Cache-Control": "no-store", "Content-Type": "application/json", "Vary": "Origin"},
            )

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with _serving(Handler) as origin:
        stub.base = origin
        yield stub


@contextmanager
def running_site(tag: str) -> Iterator[Site]:
    site = Site("", tag)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if "prerender" in self.headers.get("Sec-Purpose", ""):
                site.prerendered.append(path)
            page = site.pages.get(path)
            self.send_response(200 if page else 404)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", site.types.get(path, "text/html; charset=utf-8"))
            self.end_headers()
            self.wfile.write(page if isinstance(page, bytes) else (page or "").encode())

    with _serving(Handler) as origin:
        site.origin = origin
        yield site


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
