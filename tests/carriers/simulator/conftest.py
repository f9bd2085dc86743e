"""A tiny server that answers with the TwiML a test gives it, and believes nobody who does not sign."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # twilio ships no types

from router.carriers.simulator import Line, Simulator, VirtualClock

TOKEN = "simulated-token"
CALLER = "+14155552671"
NUMBER = "+14155550100"
SALES = "+14155550111"
OFFICE = "+14155550112"
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

Reply = str | bytes | tuple[int, str, str | bytes]
Page = Reply | Callable[[dict[str, str]], Reply]


@dataclass
class TwimlServer:
    """`pages` maps a path to what is answered; a sound is there without one, everything else gets an empty 204."""

    url: str = ""
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    unsigned: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    """Of accounts that sign with another one, by SID."""

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def values(self, path: str) -> list[dict[str, str]]:
        return [values for asked, values in self.asked if asked == path]

    def reply(self, handler: BaseHTTPRequestHandler, body: str) -> tuple[int, str, bytes]:
        values = dict(parse_qsl(body, keep_blank_values=True))
        address = self.url + handler.path
        token = self.tokens.get(values.get("AccountSid", ""), TOKEN)
        if not RequestValidator(token).validate(address, values, handler.headers.get("X-Twilio-Signature", "")):
            self.unsigned.append(handler.path)
        if handler.path.endswith(".mp3") and handler.path not in self.pages:
            return 200, "audio/mpeg", b"sound"
        self.headers.append(dict(handler.headers.items()))
        self.asked.append((urlsplit(handler.path).path, values or dict(parse_qsl(urlsplit(handler.path).query))))
        page = self.pages.get(urlsplit(handler.path).path, (204, "", ""))
        found = page(values) if callable(page) else page
        status, kind, text = found if isinstance(found, tuple) else (200, "text/xml", found)
        return status, kind, text.encode() if isinstance(text, str) else text


class QuietServer(ThreadingHTTPServer):
    """A carrier that does not wait for the answer is nothing to report."""

    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        pass


@pytest.fixture
def twiml() -> Iterator[TwimlServer]:
    known = TwimlServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, kind, content = known.reply(self, body)
            self.send_response(status)
            if kind.startswith("Location:"):
                self.send_header("Location", kind.removeprefix("Location:"))
            elif kind:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert known.unsigned == [], "every request of the carrier is signed"


class Exchanges:
    """Makes simulators for the tiny server and closes them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[Simulator] = []

    def __call__(self, **options: Any) -> Simulator:
        options.setdefault("clock", VirtualClock(START))
        options.setdefault("lines", {SALES: Line.answers(after=5, talks=60)})
        simulator = Simulator(self._url, TOKEN, **options)
        self._made.append(simulator)
        return simulator

    def close(self) -> None:
        for simulator in self._made:
            simulator.close()


@pytest.fixture
def exchange(twiml: TwimlServer) -> Iterator[Exchanges]:
    exchanges = Exchanges(twiml.url)
    yield exchanges
    exchanges.close()


def response(*verbs: str) -> str:
    return f"<Response>{''.join(verbs)}</Response>"


def dial(*nouns: str, **attributes: str) -> str:
    """`<Dial answerOnBridge="true" ...>` with numbers, or with nouns as they stand."""
    attributes = {"answerOnBridge": "true"} | attributes
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    inside = "".join(noun if noun.startswith("<") else f"<Number>{noun}</Number>" for noun in nouns)
    return f"<Dial{written}>{inside}</Dial>"


def number(e164: str, **attributes: str) -> str:
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<Number{written}>{e164}</Number>"
