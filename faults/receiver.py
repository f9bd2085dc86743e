"""A receiver of webhooks on this machine, which remembers what it was told."""

import json
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """Answers every POST with 204. `ids` are the message ids by (type, call's sid); `copies` counts how often each id came."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/calls"
        self.ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.copies: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def note(self, message_id: str, document: dict[str, Any]) -> None:
        with self._lock:
            self.ids[document["type"], document["data"]["sid"]].add(message_id)
            self.copies[message_id] += 1

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.note(self.headers["webhook-id"], json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        """What came is counted at the end."""
