"""What becomes of calls beside slow clients, and while processes are killed and the server is restarted: none is lost, and none waits."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from router.db import Database
from router.voice.models import Call
from tests.factories import COMPANY_LINE, make_project, make_scenario
from tests.faults.calling import Calls
from tests.faults.running import Running, running
from tests.faults.slow_clients import Dripping
from tests.secret import SECRET
from tests.waiting import eventually

NUMBER = "+12125551000"
CALLS_A_SECOND = 8
MOST_SECONDS = 15.0
"""What the carrier gives us over all its tries."""


SLOW_CLIENTS = 200
SLOW_SECONDS = 8.0
"""Longer than a request may take to come; every tenth of a second one of each kind is asked for."""
MOST_DELAY = 2.0
"""One second is promised; the other is for a machine that runs other tests meanwhile."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{folder / 'data' / 'router.db'}")
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def server(folder: Path, database: Database) -> Iterator[Running]:
    """With a socket that systemd holds."""
    key = folder / "key"
    key.write_text(SECRET)
    with (
        socket.create_server(("127.0.0.1", 0)) as activated,
        running(folder / "data", activated=activated, ROUTER_SECRET_KEY_FILE=str(key)) as server,
    ):
        with database.writing() as session:
            project = make_project(session, calls_per_caller=0, calls_per_number=0)  # one caller holds hundreds here
            make_scenario(session, project, [NUMBER])
        eventually(lambda: COMPANY_LINE in server.dial(NUMBER, "CAfirst").text)
        yield server


def restart(server: Running) -> None:
    """The program starts anew in the same process, and what ran before it is gone in the end."""
    old = set(server.members()) - {server.process.pid}
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: not old & set(server.members()), 120)
    eventually(lambda: len(server.children()) == 4)


def kill(server: Running, service: str) -> None:
    """A master. Its workers serve on until others are there."""
    master = eventually(lambda: server.children().get(service))
    workers = server.workers(service)
    os.kill(master, signal.SIGKILL)
    assert set(workers) <= set(server.members())
    eventually(lambda: not set(workers) & set(server.members()), 120)


def kill_worker(server: Running, service: str) -> None:
    worker = eventually(lambda: server.workers(service))[0]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(set(server.workers(service)) - {worker}) == 2)


def restart_in_vain(server: Running, key: Path) -> None:
    """A program that does not start takes over from nobody."""
    before = set(server.members())
    key.write_text("short")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "restart_refused" in server.output)
    assert before == set(server.members())


def test_r12_processes_that_no_caller_waits_for_make_way_for_calls(server: Running) -> None:
    def niceness(service: str) -> set[int]:
        found = {os.getpriority(os.PRIO_PROCESS, pid) for pid in server.workers(service)}
        return {*found, os.getpriority(os.PRIO_PROCESS, server.children()[service])}

    (calls,), (pages,) = niceness("telephone"), niceness("web")
    assert pages == calls + 5
    assert os.getpriority(os.PRIO_PROCESS, server.children()["applier"]) == calls


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
PAGE = b"GET /sign-in HTTP/1.1\r\nHost: a\r\n\r\n"


def statuses(server: Running, *pieces: bytes) -> list[int]:
    """Of all answers on one connection, when these pieces are sent one after the other, until the server closes it."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.settimeout(30)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.05)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


CLOSING = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
FORM = b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"


def test_one_connection_serves_requests_for_telephone_and_web_in_turn(server: Running) -> None:
    """As proxies keep theirs: one after the other, all at once, byte by byte."""
    requests = HEALTH + PAGE + PAGE + HEALTH + PAGE + CLOSING
    assert statuses(server, HEALTH, PAGE, PAGE, HEALTH, PAGE, CLOSING) == [200] * 6
    assert statuses(server, requests) == [200] * 6
    assert statuses(server, requests[:30], requests[30:70], requests[70:]) == [200] * 6


def test_bodies_come_as_clients_send_them(server: Running) -> None:
    length, chunks = b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"
    assert statuses(server, FORM + length + b"\r\n", b"a=", b"b" + CLOSING) == [400, 200], "the form has no token"
    assert statuses(server, FORM + chunks + b"\r\n3\r\na=b", b"\r\n0\r\n", b"\r\n" + CLOSING) == [400, 200]
    expecting = FORM + length + b"Expect: 100-continue\r\n\r\n"
    assert statuses(server, expecting, b"a=b" + CLOSING)[0] == 100
    large = FORM + b"Content-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
    assert statuses(server, large)[:1] == [413], "by the application, which allows it on other pages"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (FORM + b"Content-Length: 9000000\r\n\r\n", 413),
        (b"POST /voice/inbound HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"GET /voice/" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /" + b"a" * 70_000, 431),
        (FORM + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\na=b" + HEALTH, 400),
        (FORM + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\na=b" + HEALTH, 400),
        (FORM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + HEALTH, 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost", 408),
    ],
)
def test_what_is_refused_ends_its_connection(server: Running, sent: bytes, status: int) -> None:
    assert statuses(server, sent) == [status]


def test_two_hundred_slow_clients_delay_no_call(server: Running) -> None:
    slowest = {"call": 0.0, "health": 0.0, "page": 0.0}
    with Dripping(server.port, SLOW_CLIENTS):
        until = time.monotonic() + SLOW_SECONDS
        while time.monotonic() < until:
            for what, ask in (
                ("call", lambda: server.dial(NUMBER, "CAfirst")),
                ("health", lambda: server.get("/healthz")),
                ("page", lambda: server.get("/sign-in")),
            ):
                began = time.monotonic()
                answer = ask()
                slowest[what] = max(slowest[what], time.monotonic() - began)
                assert answer.status_code == 200
                assert what != "call" or COMPANY_LINE in answer.text
            time.sleep(0.1)
    assert max(slowest.values()) < MOST_DELAY, slowest


def test_no_call_is_lost_while_processes_die_and_the_program_starts_anew(
    server: Running, database: Database, folder: Path
) -> None:
    with Calls(server, NUMBER, CALLS_A_SECOND) as calls:
        kill_worker(server, "telephone")
        kill(server, "telephone")
        restart(server)
        kill(server, "web")
        restart_in_vain(server, folder / "key")
    assert server.get("/sign-in").status_code == 200
    assert [call for call in calls.placed if f">{COMPANY_LINE}</Number>" not in call.document] == []
    assert max(call.seconds for call in calls.placed) < MOST_SECONDS

    def all_are_written() -> bool:
        with database.reading() as session:
            return session.scalar(select(func.count()).select_from(Call)) == len(calls.placed) + 1

    eventually(all_are_written)
    assert server.stop() == 0
    assert "Traceback" not in server.output
