"""gunicorn's worker with threads, for whole requests: the process's one loop gathers what clients send, however slowly, and a thread
gets a request when all of it is here. And of several services behind one port, each connection goes to the one that its path names.

The telephone's requests are answered by the loop itself, each as a greenlet that goes back to the loop while it waits for the disk or the
database: threads would pass Python's one lock on some fifteen times for each answer.

gunicorn's own worker gives a connection to a thread with its first byte, and the thread waits for the rest. Its loop, its parser and its
way to an answer are kept: the parser alone decides what a request is, and is given bytes, never the socket.
"""

import errno
import os
import re
import selectors
import socket
import struct
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any

from greenlet import getcurrent
from gunicorn import http
from gunicorn.workers import gthread

from router.lib.waiting import LoopedRequest, Signal
from router.supervisor import SERVICE, SERVICES_FOLDER, SUPERVISOR, TELEPHONE, WEB

TELEPHONE_PATHS = (b"/voice/", b"/healthz")

REQUEST_SECONDS = 5.0
"""From a request's first byte until it has to be here whole."""
MOST_HEAD_BYTES = 64 * 1024
USUAL_BODY_BYTES = 64 * 1024
MOST_BODY_BYTES = 8 * 1024 * 1024
"""Only the web has larger bodies than the usual: files that are brought over. The application says which may be how large."""
LARGE_BODY_SECONDS = 60.0
LARGE_BODIES_BYTES = 4 * MOST_BODY_BYTES
"""For all larger bodies that one process gathers at once."""
MOST_WAITING = 600
"""Connections on which the next request is awaited; the oldest one makes way for a new one."""
LINGER_SECONDS = 2.0
"""For what a client still sends while we close: a socket that is closed with bytes unread takes the answer back."""
MOST_LINGER_BYTES = 1024 * 1024
RECEIVED_AT_ONCE = 64 * 1024
SEND_SECONDS = 10
SEND_BUFFER_BYTES = 256 * 1024
"""The kernel takes nearly every answer at once, so that no thread waits for a client that reads slowly."""
SWEEP_SECONDS = 0.25
WAKE_SECONDS = 0.05
"""How often the loop looks whether a request has waited long enough."""

DEADLINE = struct.Struct("!d")
HANDOVER_BYTES = DEADLINE.size + MOST_HEAD_BYTES + RECEIVED_AT_ONCE
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
EXPECT_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,8}")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refused(Exception):
    """A request that is not gathered; the message is the status of its answer."""


class Incoming:
    """What has come of one request. It says when to look at the request, and nothing of what is in it: where two readings of its head are
    possible, the parser gets the bytes at once and refuses them."""

    def __init__(self, most_body: int) -> None:
        self.data = bytearray()
        self.large_body = 0
        """The length of a body that is larger than the usual."""
        self.expects_continue = False
        self._most_body = most_body
        self._searched = 0
        self._end: int | None = None
        self._next_chunk: int | None = None

    def path(self) -> bytes | None:
        """The request's target as it was sent; None as long as its line has not come."""
        start = 2 if self.data.startswith(b"\r\n") else 0
        end = self.data.find(b"\r\n", start)
        if end < 0:
            return None
        words = bytes(self.data[start:end]).split(b" ", 2)
        return words[1] if len(words) > 1 else b""

    def is_whole(self) -> bool:
        """Whether a parser would wait for nothing more.

        Raises:
            Refused: it would become too large, or its chunks are none.
        """
        if self._end is None and self._next_chunk is None:
            head_end = self.data.find(b"\r\n\r\n", self._searched)
            if head_end < 0:
                self._searched = max(0, len(self.data) - 3)
                if len(self.data) > MOST_HEAD_BYTES:
                    raise Refused("431 Request Header Fields Too Large")
                return False
            head, body_start = bytes(self.data[: head_end + 2]), head_end + 4
            lengths, is_chunked = CONTENT_LENGTH.findall(head), TRANSFER_ENCODING.search(head) is not None
            self.expects_continue = EXPECT_CONTINUE.search(head) is not None
            if is_chunked and not lengths:
                self._next_chunk = body_start
            else:
                self._end = body_start
            if len(lengths) == 1 and not is_chunked and lengths[0].isdigit():
                length = int(lengths[0]) if len(lengths[0]) < 16 else self._most_body + 1
                if length > self._most_body:
                    raise Refused("413 Content Too Large")
                self.large_body = length if length > USUAL_BODY_BYTES else 0
                self._end = body_start + length
        if self._next_chunk is not None and self._end is None:
            self._follow_chunks()
            if self._end is None and len(self.data) > MOST_HEAD_BYTES + USUAL_BODY_BYTES:
                raise Refused("413 Content Too Large")
        return self._end is not None and len(self.data) >= self._end

    def _follow_chunks(self) -> None:
        """As far as chunks have come. The parser would read them only inside of the application, which takes a false one for its own fault.

        Raises:
            Refused: what stands where a chunk has to begin or to end is something else.
        """
        at = self._next_chunk or 0
        while self._end is None and at <= len(self.data):
            if at > (self._next_chunk or 0) and self.data[at - 2 : at] != b"\r\n":
                raise Refused("400 Bad Request")
            self._next_chunk = at
            line_end = self.data.find(b"\r\n", at)
            if line_end < 0:
                return
            line = bytes(self.data[at:line_end]).partition(b";")[0].strip()
            if not HEXADECIMAL.fullmatch(line):
                raise Refused("400 Bad Request")
            size = int(line, 16)
            if size > 0:
                at = line_end + 2 + size + 2
            elif (trailer_end := self.data.find(b"\r\n\r\n", line_end)) >= 0:
                self._end = trailer_end + 4
            else:
                return


class Connection(gthread.TConn):  # type: ignore[misc]  # gunicorn has no type hints
    """A client's connection. Its parser reads what it is given, and never from the socket."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, most_body: int) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = http.get_parser(cfg, (), client)
        self.initialized = True
        self.deadline = 0.0
        self.is_ending = False
        self._most_body = most_body
        self.expect_request()

    def expect_request(self) -> None:
        self.incoming = Incoming(self._most_body)
        self.is_here = False
        """The path has been seen, and it is for this service."""
        self.body_counted = 0
        self.told_continue = False


class Gathered:
    """Takes an answer in the place of a socket, as gunicorn writes it in pieces; the loop sends it, and never waits for a client."""

    def __init__(self) -> None:
        self.data = bytearray()

    def sendall(self, piece: bytes) -> None:
        self.data += piece

    send = sendall

    def setblocking(self, is_blocking: bool) -> None:
        """gunicorn wants to wait for a client, which nobody has to do here."""

    def gettimeout(self) -> float:
        return 0.0

    def shutdown(self, how: int) -> None:
        """gunicorn breaks an answer off.

        Raises:
            OSError: as a socket whose client has gone.
        """
        raise OSError(errno.ENOTCONN, "the answer is not sent yet")

    def close(self) -> None:
        """The answer was broken off: its client hears nothing, as of a worker that was killed, rather than half of it."""
        self.data.clear()


class Answering(LoopedRequest):
    """A whole request on a connection, while the telephone's loop answers it."""

    def __init__(self, worker: "WholeRequestWorker", connection: Connection) -> None:
        super().__init__(parent=worker.loop)
        self.worker, self.connection, self.answer = worker, connection, Gathered()
        self.is_kept = False
        """The connection may bring another request."""
        self.deadline = 0.0

    def run(self) -> None:
        sock, self.connection.sock = self.connection.sock, self.answer
        try:
            self.is_kept = bool(self.worker.handle(self.connection))
        except Exception:
            self.worker.log.exception("Error handling request")
        finally:
            self.connection.sock = sock

    def wait_for(self, signal: Signal, seconds: float) -> None:
        self.awaited, self.deadline = signal, time.monotonic() + seconds
        self.worker.suspended[self] = None
        self.worker.loop.switch()

    def resume_soon(self, signal: Signal) -> None:
        self.worker.given.append(signal)
        self.worker.wake()


class WholeRequestWorker(gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """A worker of one service, or of the only one when no service is named in the environment."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.waiting: dict[Connection, None] = {}
        """Connections in the loop, those that came first before others."""
        self.large_bodies = 0
        self._swept_at = 0.0
        self._service = os.environ.get(SERVICE, "")
        self._most_body = USUAL_BODY_BYTES if self._service == TELEPHONE else MOST_BODY_BYTES
        self._supervisor = int(os.environ.get(SUPERVISOR, "0"))
        self.whole: deque[Answering] = deque()
        """Requests that the loop is about to answer."""
        self.suspended: dict[Answering, None] = {}
        """Those that wait for a signal."""
        self.given: deque[Signal] = deque()
        """Signals that threads have given since the loop looked."""
        self._is_woken = False

    def run(self) -> None:
        self.loop = getcurrent()
        super().run()

    def enqueue_req(self, connection: Connection) -> None:
        if self._service == TELEPHONE:
            self.whole.append(Answering(self, connection))
        else:
            super().enqueue_req(connection)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the loop: what has come is received, then what was whole before this moment is answered."""
        if self.whole:
            timeout = 0
        elif self.suspended:
            timeout = min(timeout, WAKE_SECONDS)
        super().wait_for_and_dispatch_events(timeout)
        for _ in range(len(self.whole)):
            self._go_on(self.whole.popleft())
        now = time.monotonic()
        for request in [request for request in self.suspended if now >= request.deadline]:
            self._go_on(request)

    def _go_on(self, request: Answering) -> None:
        """With a request, until it waits, or is answered and its answer sent."""
        self.suspended.pop(request, None)
        request.awaited = None
        request.switch()
        if not request.dead:
            return
        # At once; what the kernel does not take, because the client has not taken his earlier answers, a thread sends.
        connection, answer = request.connection, bytes(request.answer.data)
        try:
            sent = connection.sock.send(answer) if answer else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.nr_conns -= 1
            connection.sock.close()
            return
        if sent == len(answer):
            self._answered(connection, request.is_kept)
            return

        def send_rest() -> bool:
            connection.sock.setblocking(True)
            connection.sock.sendall(answer[sent:])
            return request.is_kept

        self.tpool.submit(send_rest).add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, connection, done)
        )

    def wake(self) -> None:
        """In any thread: the loop shall look at the signals that were given."""
        if not self._is_woken:
            self._is_woken = True
            self.method_queue.defer(self._resume_given)

    def _resume_given(self) -> None:
        self._is_woken = False
        while self.given:
            request = (signal := self.given.popleft()).request
            if isinstance(request, Answering) and request.awaited is signal:
                self._go_on(request)

    def is_parent_alive(self) -> bool:
        """Workers whose master was killed serve on until others have taken over, and the supervisor tells them so."""
        return self._supervisor == os.getppid() or bool(super().is_parent_alive())

    def accept(self, listener: Any) -> None:
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.waiting:
                self._drop(next(iter(self.waiting)))
            return
        self.nr_conns += 1
        if listener.FAMILY == socket.AF_UNIX:
            sock.setblocking(False)
            self.poller.register(sock, selectors.EVENT_READ, self._take_over)
        else:
            self._begin(sock, address, listener.getsockname(), time.monotonic() + REQUEST_SECONDS)

    def _begin(self, sock: socket.socket, address: Any, server: Any, deadline: float, received: bytes = b"") -> None:
        connection = Connection(self.cfg, sock, address, server, self._most_body)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
        self._wait_for_request(connection, deadline, received)

    def _take_over(self, handover: socket.socket) -> None:
        """A connection that came to another service; with it comes what was received of the request, and how long that may take."""
        self.nr_conns -= 1
        self.poller.unregister(handover)
        with handover:
            try:
                message, descriptors, _, _ = socket.recv_fds(handover, HANDOVER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
        if not descriptors:
            return  # its process was killed between two steps
        sock = socket.socket(fileno=descriptors[0])
        try:
            address, server = sock.getpeername(), sock.getsockname()
        except OSError:
            sock.close()  # the client has gone
            return
        self.nr_conns += 1
        self._begin(sock, address, server, DEADLINE.unpack_from(message)[0], message[DEADLINE.size :])

    def _hand_over(self, connection: Connection, service: str) -> None:
        self._stop_waiting(connection)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as handover:
                handover.setblocking(False)
                handover.connect(os.path.join(os.environ[SERVICES_FOLDER], service))
                message = [DEADLINE.pack(connection.deadline), bytes(connection.incoming.data)]
                socket.send_fds(handover, message, [connection.sock.fileno()])
        except OSError as error:
            self.log.warning("The service %s takes no connection: %s", service, error)
            self._refuse(connection, "503 Service Unavailable")
            return
        self.nr_conns -= 1
        connection.sock.close()

    def _wait_for_request(self, connection: Connection, deadline: float, received: bytes = b"") -> None:
        connection.expect_request()
        self._wait(connection, deadline)
        if received:
            connection.incoming.data += received
            self._look(connection)

    def _wait(self, connection: Connection, deadline: float) -> None:
        if len(self.waiting) >= MOST_WAITING:
            self._drop(next(iter(self.waiting)))
        connection.deadline = deadline
        self.waiting[connection] = None
        self.poller.register(connection.sock, selectors.EVENT_READ, partial(self._receive, connection))

    def _stop_waiting(self, connection: Connection) -> None:
        del self.waiting[connection]
        self.poller.unregister(connection.sock)
        self.large_bodies -= connection.body_counted
        connection.body_counted = 0

    def _receive(self, connection: Connection, _: Any) -> None:
        if connection not in self.waiting:
            return  # it made way for another one in this turn of the loop
        try:
            received = connection.sock.recv(RECEIVED_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._drop(connection)
        elif connection.is_ending:
            connection.drained += len(received)
            if connection.drained > MOST_LINGER_BYTES:
                self._drop(connection)
        else:
            if not connection.incoming.data:
                connection.deadline = time.monotonic() + REQUEST_SECONDS
            connection.incoming.data += received
            self._look(connection)

    def _look(self, connection: Connection) -> None:
        """A connection of which something new has come: it is for another service, or for a thread, or has to wait for more."""
        incoming = connection.incoming
        if not connection.is_here and (path := incoming.path()) is not None:
            connection.is_here = True
            service = TELEPHONE if path.startswith(TELEPHONE_PATHS) else WEB
            if self._service not in ("", service):
                self._hand_over(connection, service)
                return
        try:
            is_whole = incoming.is_whole()
            if incoming.large_body and not connection.body_counted:
                if self.large_bodies + incoming.large_body > LARGE_BODIES_BYTES:
                    raise Refused("503 Service Unavailable")
                connection.body_counted = incoming.large_body
                self.large_bodies += incoming.large_body
                connection.deadline += LARGE_BODY_SECONDS
        except Refused as refused:
            self._stop_waiting(connection)
            self._refuse(connection, str(refused))
            return
        if is_whole:
            self._stop_waiting(connection)
            connection.parser.unreader.unread(bytes(incoming.data))
            connection.expect_request()
            self.enqueue_req(connection)
        elif incoming.expects_continue and not connection.told_continue:
            connection.told_continue = True
            self._send_short(connection, CONTINUE)

    def finish_request(self, connection: Connection, answered: "Future[bool]") -> None:
        """In the loop, after a thread has answered."""
        try:
            is_kept = not answered.cancelled() and answered.result()
        except Exception:
            is_kept = False
        self._answered(connection, is_kept)

    def _answered(self, connection: Connection, is_kept: bool) -> None:
        if not is_kept:
            self._end(connection)
            return
        connection.sock.setblocking(False)
        patience = self.cfg.keepalive if self.alive else min(self.cfg.keepalive, LINGER_SECONDS)
        self._wait_for_request(connection, time.monotonic() + patience, connection.parser.unreader.take_buffered())

    def _refuse(self, connection: Connection, status: str) -> None:
        text = status.partition(" ")[2] + "\n"
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        self._send_short(connection, (head + text).encode())
        self._end(connection)

    def _send_short(self, connection: Connection, text: bytes) -> None:
        try:
            connection.sock.send(text)
        except OSError:
            self.log.debug("a client could not be told: %r", text[:30])

    def _end(self, connection: Connection) -> None:
        """Closes in the loop; gunicorn would wait here for the client to close first, and let everybody else wait."""
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            connection.sock.close()
            return
        connection.is_ending, connection.drained = True, 0
        self._wait(connection, time.monotonic() + LINGER_SECONDS)

    def _drop(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self.nr_conns -= 1
        connection.sock.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """In every turn of the loop: those whose time is up."""
        now = time.monotonic()
        if now < self._swept_at + SWEEP_SECONDS and not force:
            return
        self._swept_at = now
        for connection in list(self.waiting):
            if force or (now >= connection.deadline and (connection.is_ending or not connection.incoming.data)):
                self._drop(connection)
            elif now >= connection.deadline:
                self._stop_waiting(connection)
                self._refuse(connection, "408 Request Timeout")

    def _cap_keepalive(self, deadline: float) -> None:
        """A worker that stops waits for no request that has not begun."""
        for connection in self.waiting:
            if not connection.incoming.data:
                connection.deadline = min(connection.deadline, deadline)
