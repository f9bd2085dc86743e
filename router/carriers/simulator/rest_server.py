"""The simulated carrier's REST side as an HTTP server on the loopback."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from router.carriers.simulator.rest import Answer, Rest

LARGEST_BODY = 64 * 1024


class Handler(BaseHTTPRequestHandler):
    server: "RestServer"
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(413)
            return
        headers = {name.title(): value for name, value in self.headers.items()}
        self.send(self.server.rest.answer(self.command, self.path, headers, self.rfile.read(int(length))))

    do_POST = do_DELETE = do_GET

    def send(self, answer: Answer) -> None:
        status, content_type, body = answer.reply()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Whoever wants to know asks for the history."""


class RestServer(ThreadingHTTPServer):
    """Serves the account of `rest` to whoever signs in with its token."""

    daemon_threads = True

    def __init__(self, rest: Rest, handler: type[Handler] = Handler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.rest = rest
        self.url = f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.1,), name="simulated-rest", daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A client that does not wait for its answer is nothing to report."""
