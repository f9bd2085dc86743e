"""Clients that send slowly, or begin and stop."""

import socket
import threading
from itertools import cycle, islice

PAGE_VIEW = b"POST /tag/k-shop/visits HTTP/1.1\r\nHost: shop.example\r\nContent-Type: text/plain\r\nContent-Length: 600\r\n\r\n{"
SLOW = {
    "a page view whose body drips": PAGE_VIEW,
    "a request whose head drips": b"GET /sign-in HTTP/1.1\r\nX-Word: a",
    "a carrier's request whose body drips": b"POST /voice/inbound HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\nC",
    "a line that drips": b"GET /",
}


class Dripping:
    """Connections that each send one byte a second, and begin again when they are closed."""

    def __init__(self, port: int, amount: int) -> None:
        self._port, self._amount = port, amount
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> None:
        beginnings = islice(cycle(SLOW.values()), self._amount)
        self._open = [(self._begin(beginning), beginning) for beginning in beginnings]
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock, _ in self._open:
            sock.close()

    def _begin(self, beginning: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), 20)
        sock.sendall(beginning)
        return sock

    def _drip(self) -> None:
        while not self._stop.wait(1):
            for place, (sock, beginning) in enumerate(self._open):
                try:
                    sock.sendall(b"a")
                except OSError:
                    sock.close()
                    self._open[place] = self._begin(beginning), beginning
