"""When a request is answered: as soon as a parser would wait for nothing more, in whatever pieces it comes. The telephone's loop answers
many beside each other, and waits for none of them."""

import io
import logging
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from greenlet import getcurrent
from gunicorn.config import Config
from gunicorn.http import get_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from router import gunicorn_worker as module
from router.gunicorn_worker import (
    MOST_BODY_BYTES,
    USUAL_BODY_BYTES,
    Connection,
    Incoming,
    Refused,
    WholeRequestWorker,
)
from router.lib.waiting import Signal
from router.supervisor import SERVICE, TELEPHONE
from tests.properties import examples

HEADERS = st.dictionaries(
    st.sampled_from(["X-Word", "content-type", "Content-length-of", "X-Transfer"]), st.text("abc:, 0", max_size=9)
)
BODIES = st.binary(max_size=300)


def request_of(headers: dict[str, str], body: bytes, chunks: list[int] | None, before: bytes = b"") -> bytes:
    """A POST; with `chunks` in pieces of these sizes, and a trailer."""
    lines = [
        "POST /voice/inbound?a=b HTTP/1.1",
        "Host: a",
        *(f"{name}: {value.strip()}" for name, value in headers.items()),
    ]
    if chunks is None:
        return before + "\r\n".join([*lines, f"CONTENT-Length:\t{len(body)} ", "", ""]).encode() + body
    rest, pieces = io.BytesIO(body), []
    for size in chunks:
        if piece := rest.read(size):
            pieces.append(b"%x;word=1\r\n%s\r\n" % (len(piece), piece))
    if piece := rest.read():
        pieces.append(b"%X\r\n%s\r\n" % (len(piece), piece))
    head = "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode()
    return before + head + b"".join(pieces) + b"0\r\nX-Sum: 1\r\n\r\n"


@settings(max_examples=examples(300))
@given(HEADERS, BODIES, st.none() | st.lists(st.integers(1, 90), max_size=5), st.data())
def test_a_request_is_whole_with_its_last_byte_and_not_before(
    headers: dict[str, str], body: bytes, chunks: list[int] | None, data: Any
) -> None:
    sent = request_of(headers, body, chunks, data.draw(st.sampled_from([b"", b"\r\n"])))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    incoming = Incoming(USUAL_BODY_BYTES)
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        assert not incoming.is_whole()
        incoming.data += sent[start:end]
    assert incoming.is_whole()
    assert incoming.path() == b"/voice/inbound?a=b"
    parser = get_parser(Config(), (), ("127.0.0.1", 1))
    parser.unreader.unread(bytes(incoming.data) + b"GET / HTTP/1.1\r\n\r\n")
    assert next(parser).body.read() == body
    assert next(parser).uri == "/"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nContent-Length: 30",
        b"Content-Length: 30\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 30",
        b"Content-Length: +30",
        b"Content-Length: 3 0",
        b"Content-Length: 30, 30",
        b"Content-Length : 30",
        b"Content-Length:\r\n 30",
        b"X: a\rContent-Length: 30",
        b"X: a\nContent-Length: 30",
        b"Transfer-Encoding : chunked",
    ],
)
def test_what_can_be_read_in_two_ways_goes_to_the_parser_at_once_and_is_refused_there(head: bytes) -> None:
    sent = b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\nabcdef"
    incoming = Incoming(USUAL_BODY_BYTES)
    incoming.data += sent
    assert incoming.is_whole()
    parser = get_parser(Config(), (), ("127.0.0.1", 1))
    parser.unreader.unread(sent)
    with pytest.raises(Exception, match=r"(?i)invalid|illegal|header|line"):
        next(parser)


@pytest.mark.parametrize("chunk", [b"zz", b"-1", b"0x5", b"", b"1_0", b"123456789abc", b"3\r\nabcd"])
def test_a_chunk_that_is_none_is_refused(chunk: bytes) -> None:
    incoming = Incoming(USUAL_BODY_BYTES)
    incoming.data += b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"\r\n"
    with pytest.raises(Refused, match="400"):
        incoming.is_whole()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 70_000, "431"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, "431"),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (USUAL_BODY_BYTES + 1), "413"),
        (b"POST / HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000), "413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + b"a" * 140_000, "413"),
    ],
)
def test_what_becomes_too_large_is_refused_before_it_is_here(sent: bytes, status: str) -> None:
    incoming = Incoming(USUAL_BODY_BYTES)
    incoming.data += sent
    with pytest.raises(Refused, match=status):
        incoming.is_whole()


def test_files_may_be_larger_where_the_application_takes_them() -> None:
    incoming = Incoming(MOST_BODY_BYTES)
    incoming.data += b"POST / HTTP/1.1\r\nContent-Length: 4000000\r\nExpect: 100-continue\r\n\r\n"
    assert not incoming.is_whole()
    assert (incoming.large_body, incoming.expects_continue) == (4_000_000, True)


def test_a_parser_never_reads_from_the_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection = Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2), USUAL_BODY_BYTES)
        with pytest.raises(StopIteration):
            next(connection.parser)
        assert ours.recv(100) == b"GET / HTTP/1.1\r\n\r\n"


class Listener(socket.socket):
    """As gunicorn has one."""

    FAMILY = socket.AF_INET


def test_r12_a_connection_that_makes_way_and_sends_in_the_same_moment_ends_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    worker = WholeRequestWorker(1, 1, [], None, 30, Config(), logging.getLogger("worker"))
    worker.poller = selectors.DefaultSelector()
    with Listener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        worker.poller.register(listener, selectors.EVENT_READ, worker.accept)
        with socket.create_connection(listener.getsockname()) as first:
            worker.wait_for_and_dispatch_events(5.0)
            with socket.create_connection(listener.getsockname()):
                first.send(b"G")
                worker.wait_for_and_dispatch_events(5.0)
                assert len(worker.waiting) == worker.nr_conns == 1
                worker.murder_keepalived(force=True)
    worker.poller.close()
    worker.tmp.close()


Application = Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]


def answering(bodies: Callable[[str], bytes]) -> Application:
    """A WSGI application that answers a path with a body."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = bodies(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return application


@contextmanager
def telephone(
    monkeypatch: pytest.MonkeyPatch, application: Application
) -> Iterator[tuple[WholeRequestWorker, Callable[[], socket.socket]]]:
    """A worker of the telephone whose loop the test turns, and how to connect to it."""
    monkeypatch.setenv(SERVICE, TELEPHONE)
    config = Config()
    config.set("keepalive", 5)
    worker = WholeRequestWorker(1, 1, [], None, 30, config, logging.getLogger("worker"))
    worker.log.access = lambda *arguments: None  # type: ignore[attr-defined]  # gunicorn's logger has it
    worker.poller, worker.tpool, worker.loop = selectors.DefaultSelector(), worker.get_thread_pool(), getcurrent()
    worker.wsgi = application
    worker.method_queue.init()
    worker.poller.register(worker.method_queue.fileno(), selectors.EVENT_READ, worker.method_queue.run_callbacks)
    clients: list[socket.socket] = []

    def connect() -> socket.socket:
        clients.append(socket.create_connection(listener.getsockname()))
        clients[-1].settimeout(20)
        return clients[-1]

    with Listener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        worker.poller.register(listener, selectors.EVENT_READ, worker.accept)
        try:
            yield worker, connect
        finally:
            for client in clients:
                client.close()
            worker.tpool.shutdown()
            worker.murder_keepalived(force=True)
            worker.poller.close()
            worker.method_queue.close()
            worker.tmp.close()


def turn_until(worker: WholeRequestWorker, is_done: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not is_done():
        assert time.monotonic() < until
        worker.wait_for_and_dispatch_events(0.05)


def received(worker: WholeRequestWorker, client: socket.socket) -> bytes:
    """What comes first at a client; nothing when its connection was ended."""
    turn_until(worker, lambda: select.select([client], [], [], 0)[0])
    return client.recv(1 << 20)


def ask(client: socket.socket, path: str) -> None:
    client.sendall(f"GET /voice/{path} HTTP/1.1\r\nHost: calls\r\n\r\n".encode())


def test_r12_a_request_that_waits_lets_others_be_answered_and_goes_on_when_its_signal_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signals: list[Signal] = []

    def bodies(path: str) -> bytes:
        if path == "/voice/quick":
            return b"quick"
        signals.append(Signal())
        return b"given" if signals[-1].wait(10) else b"not given"

    with telephone(monkeypatch, answering(bodies)) as (worker, connect):
        slow, quick = connect(), connect()
        ask(slow, "slow")
        turn_until(worker, lambda: worker.suspended)
        for _ in range(3):
            ask(quick, "quick")
            assert received(worker, quick).endswith(b"quick")
        threading.Thread(target=signals[0].give).start()
        assert received(worker, slow).endswith(b"\r\ngiven")
        ask(slow, "quick")
        assert received(worker, slow).endswith(b"quick"), "its connection brings the next request"


def test_r12_a_signal_that_comes_too_late_finds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[Signal] = []

    def bodies(path: str) -> bytes:
        signals.append(Signal())
        found = [signals[-1].wait(0.05)]
        signals.append(Signal())  # the next thing that the same request waits for
        return repr([*found, signals[-1].wait(10)]).encode()

    with telephone(monkeypatch, answering(bodies)) as (worker, connect):
        client = connect()
        ask(client, "slow")
        turn_until(worker, lambda: len(signals) == 2)
        signals[0].give()
        worker.wait_for_and_dispatch_events(0.05)
        assert worker.suspended, "the late signal is not taken for the one that is awaited"
        signals[1].give()
        assert received(worker, client).endswith(b"[False, True]")


def test_r12_an_application_that_fails_ends_its_own_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def bodies(path: str) -> bytes:
        if path == "/voice/bad":
            raise RuntimeError("meant")
        return b"good"

    with telephone(monkeypatch, answering(bodies)) as (worker, connect):
        monkeypatch.setattr(worker, "handle_error", lambda *arguments: 1 // 0)
        bad, good = connect(), connect()
        ask(bad, "bad")
        ask(good, "good")
        assert received(worker, bad) == b""
        assert received(worker, good).endswith(b"good")


def test_r12_requests_that_come_all_at_once_are_answered_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many on one connection neither nest nor keep another connection waiting."""
    answered: list[str] = []

    def bodies(path: str) -> bytes:
        answered.append(path)
        return b"."

    with telephone(monkeypatch, answering(bodies)) as (worker, connect):
        greedy, other = connect(), connect()
        for _ in range(1_500):
            ask(greedy, "greedy")
        turn_until(worker, lambda: answered)
        ask(other, "other")
        turn_until(worker, lambda: "/voice/other" in answered)
        assert len(answered) < 100
        turn_until(worker, lambda: len(answered) == 1_501)


def test_r12_who_does_not_take_his_answers_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    large = b"x" * 60_000

    with telephone(monkeypatch, answering(lambda path: large if path == "/voice/large" else b".")) as (worker, connect):
        lazy, other = connect(), connect()
        for _ in range(300):
            ask(lazy, "large")
        ask(other, "quick")
        assert received(worker, other).endswith(b".")
        turn_until(worker, lambda: worker.tpool._threads)  # one of which waits for the lazy client
        began = time.monotonic()
        for _ in range(20):
            ask(other, "quick")
            assert received(worker, other).endswith(b".")
        assert time.monotonic() - began < module.SEND_SECONDS / 2
        length = 0
        while length < 300 * len(large):
            length += len(received(worker, lazy))
