"""A client that keeps connections: each is checked as it is made, serves one place, and every request by it has its own time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest

from router.lib.http_client import AddressBlocked, ConnectionFailed, NoAnswer, Outgoing
from tests.waiting import eventually, standing_still

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Keeping(ThreadingHTTPServer):
    """Keeps connections open; `made` counts them."""

    daemon_threads = True

    def __init__(self) -> None:
        self.made = 0
        self.silent = threading.Event()
        """Once set it answers nothing more, until `released`."""
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        self.made += 1
        return super().get_request()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Keeping

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.silent.is_set():
            self.server.released.wait(60)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        if self.headers.get("X-Last"):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextmanager
def keeping() -> Iterator[tuple[Keeping, str]]:
    server = Keeping()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}/hook"
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def client(**more: Any) -> Iterator[Outgoing]:
    outgoing = Outgoing(LOOPBACK, keep_alive=4, **more)
    try:
        yield outgoing
    finally:
        outgoing.close()


def test_requests_to_one_place_share_a_connection() -> None:
    with keeping() as (server, url), client() as outgoing:
        assert [outgoing.post(url, b"x", {}).text for _ in range(5)] == ["ok"] * 5
        assert server.made == 1


def test_without_it_each_request_has_its_own() -> None:
    with keeping() as (server, url):
        for _ in range(3):
            assert Outgoing(LOOPBACK).post(url, b"x", {}).status == 200
        assert server.made == 3


def test_a_connection_that_the_receiver_ended_is_not_used_again() -> None:
    with keeping() as (server, url), client() as outgoing:
        for _ in range(3):
            assert outgoing.post(url, b"x", {"X-Last": "1"}).status == 200
            time.sleep(0.05)
        assert server.made == 3


def test_every_new_connection_is_checked_and_a_kept_one_serves_no_other_name() -> None:
    answers = {"good.example": "127.0.0.1", "bad.example": "10.0.0.7"}

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[host], port))]

    with keeping() as (_, url), client(resolver=resolve) as outgoing:
        port = url.split(":")[2]
        good, bad = (f"http://{name}:{port}" for name in ("good.example", "bad.example"))
        assert outgoing.post(good, b"", {}).status == 200
        with pytest.raises(AddressBlocked):
            outgoing.post(bad, b"", {})
        answers["good.example"] = "10.0.0.7"
        assert outgoing.post(good, b"", {}).status == 200, "its connection goes where it was checked"
        assert outgoing.post(good, b"", {"X-Last": "1"}).status == 200
        time.sleep(0.05)
        with pytest.raises(AddressBlocked):  # the next connection is checked anew
            outgoing.post(good, b"", {})


def test_a_request_by_a_kept_connection_has_a_time_of_its_own() -> None:
    with keeping() as (server, url), client(total_seconds=0.3, clock=standing_still) as outgoing:
        assert outgoing.post(url, b"x", {}).status == 200
        server.silent.set()
        with pytest.raises(NoAnswer, match="in time"):
            outgoing.post(url, b"x", {})
        server.silent.clear()
        server.released.set()
        assert outgoing.post(url, b"x", {}).status == 200, "by another connection"


def test_it_is_known_whether_a_byte_has_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    with keeping() as (_, url), client() as outgoing:
        outgoing.begin()
        with pytest.raises(ConnectionFailed):
            outgoing.post(nobody, b"x", {})
        assert not outgoing.has_sent
        outgoing.post(url, b"x", {})
        assert outgoing.has_sent
        outgoing.begin()
        assert not outgoing.has_sent


def test_threads_do_not_mix_their_requests() -> None:
    with keeping() as (server, url), client() as outgoing:
        statuses: list[int] = []

        def ask() -> None:
            for _ in range(20):
                statuses.append(outgoing.post(url, b"x" * 2000, {}).status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 80
        eventually(lambda: server.made <= 8)
