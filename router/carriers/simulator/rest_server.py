"""The simulated carrier's REST side as an HTTP server on the loopback, which can be late, dead or lying."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from router.carriers.simulator.account import Account
from router.carriers.simulator.rest import Answer, Request, Rest, not_found, not_signed_in
from router.carriers.simulator.rest_ways import KINDS, RestWays, Way, read_way

LARGEST_BODY = 64 * 1024
CONTROL = "/simulator/"


class RestServer:
    """Serves the account whose book is at `path` to whoever signs in with `sid` and `token`.

    Beside Twilio's addresses, for tests in other processes: `POST /simulator/ways {kind, ways: [{what, done, ...}], times}` ·
    `DELETE /simulator/ways` · `POST /simulator/elsewhere {number}` · `GET /simulator/history`.
    """

    def __init__(self, path: Path, sid: str, token: str, port: int = 0) -> None:
        self.account = Account(path)
        self.ways = RestWays()
        self._rest = Rest(self.account, sid, token)
        self._server = _Server(port, self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="simulated-rest", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[Answer, Way]:
        """What is answered, and in which way."""
        if not self._rest.knows(headers.get("Authorization", "")):
            return not_signed_in(), Way()
        if target.startswith(CONTROL):
            return self._control(method, target.removeprefix(CONTROL), body), Way()
        request = self._rest.read(method, target, body)
        if request is None:
            return not_found(), Way()
        way = self.ways.next(request.kind, request.values)
        return self._misdone(request, way), way

    def _misdone(self, request: Request, way: Way) -> Answer:
        if way.what == "late" and not way.done:
            self._closing.wait(way.seconds)
        answer = self._rest.do(request) if way.done or way.what == "late" else Answer(204)
        if way.what == "late" and way.done:
            self._closing.wait(way.seconds)
        if way.what == "answer":
            return Answer(way.status, way.body, way.kind, way.retry_after)
        return _without(answer, way.number) if way.what == "omit" else answer

    def _control(self, method: str, what: str, body: bytes) -> Answer:
        try:
            asked = json.loads(body or b"{}")
            if (method, what) == ("POST", "ways") and asked["kind"] in KINDS:
                self.ways.queue(asked["kind"], *map(read_way, asked["ways"]), times=asked.get("times", 1))
            elif (method, what) == ("DELETE", "ways"):
                self.ways.clear()
            elif (method, what) == ("POST", "elsewhere"):
                self.account.give_to_somebody_else(str(asked["number"]))
            elif (method, what) == ("GET", "history"):
                return Answer(200, {"items": [vars(event) for event in self.account.history()]})
            else:
                return not_found()
        except (ValueError, TypeError, KeyError) as error:
            return Answer(422, {"detail": str(error)})
        return Answer(204)


def _without(answer: Answer, number: str) -> Answer:
    body = {
        name: [one for one in value if number and one.get("phone_number") != number]
        if isinstance(value, list)
        else value
        for name, value in answer.body.items()
    }
    return Answer(answer.status, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, rest: RestServer) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.rest = rest

    def handle_error(self, *_: Any) -> None:
        """A client that does not wait for its answer is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def _serve(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(413)
            return
        headers = {name.title(): value for name, value in self.headers.items()}
        answer, way = self.server.rest.answer(self.command, self.path, headers, self.rfile.read(int(length)))
        if way.what == "dead":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._write(answer, way)

    def _write(self, answer: Answer, way: Way) -> None:
        status, kind, body = answer.reply()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if answer.retry_after:
            self.send_header("Retry-After", answer.retry_after)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way.what == "cut":
            self.close_connection = True
            body = body[: len(body) // 2]
        for piece in _pieces(body, way):
            self.wfile.write(piece)

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *values: Any) -> None:
        """Whoever wants to know asks for the history."""


def _pieces(body: bytes, way: Way) -> Iterator[bytes]:
    if way.what != "drip":
        yield body
        return
    for place in range(len(body)):
        time.sleep(way.seconds)
        yield body[place : place + 1]
