"""A company's own systems on this machine: a receiver of webhooks, which remembers what it was told, and an address that flows ask."""

import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LATE_SECONDS = 1.0


class Listening(ThreadingHTTPServer):
    """Answers POST requests as its handler does."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def handle_error(self, *_: Any) -> None:
        """Who asks may die, or not wait for the answer."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class Receiver(Listening):
    """Answers every POST with 204. `ids` are the message ids by (type, sid of the call); `told` is what was last said of a call, by sid."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.told: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        super().__init__(_TakesMessages)
        self.url = f"{self.address}/calls"

    def note(self, message_id: str, document: dict[str, Any]) -> None:
        sid = document["data"]["sid"]
        with self._lock:
            self.ids[document["type"], sid].add(message_id)
            if document["type"] != "call.started":
                self.told[sid] = document["data"]


class _Handler(BaseHTTPRequestHandler):
    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, format: str, *values: Any) -> None:
        """What came is counted at the end."""


class _TakesMessages(_Handler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.note(self.headers["webhook-id"], json.loads(self.body()))
        self.send_response(204)
        self.end_headers()


class AnswersFlows(_Handler):
    """As the path says: `/name/NAME` with the name of a branch, `/line/NUMBER` with a line, `/late/NAME` a second later, else with an
    error."""

    def do_POST(self) -> None:
        self.body()
        _, how, what = (*self.path.split("/"), "")[:3]
        if how == "late":
            threading.Event().wait(LATE_SECONDS)
        answer = json.dumps({"to" if how == "line" else "answer": what}).encode()
        self.send_response(200 if how in ("name", "line", "late") else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class NeverAnswers(_Handler):
    """Takes a question, and is silent until who asks has gone."""

    def do_POST(self) -> None:
        self.body()
        self.rfile.read(1)
        self.close_connection = True
