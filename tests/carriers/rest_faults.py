"""The simulated carrier's REST side with faults that tests choose for each kind of request: late, dead, broken or lying."""

import json
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from router.carriers.simulator.account import Account
from router.carriers.simulator.rest import ELSEWHERE, KINDS, Answer, Handler, Request, Rest, RestServer, refused

ALL_KINDS = (*ELSEWHERE.values(), "media", *KINDS.values())

What = Literal["well", "late", "dead", "answer", "cut", "drip", "omit"]


@dataclass(frozen=True)
class Fault:
    """One misbehaviour.

    `late`: answers after `seconds`. `dead`: ends the connection without an answer. `answer`: `status` and `body` instead of the
    true ones. `cut`: half of the true answer. `drip`: the true answer, a byte every `seconds`. `omit`: a list without `number`
    (empty: without any). `done` tells whether what was asked for is really done; for a `late` one, whether it is done before the
    wait or after it.
    """

    what: What = "well"
    done: bool = True
    seconds: float = 0.0
    status: int = 500
    body: str = ""
    kind: str = "application/json"
    retry_after: str = ""
    number: str = ""

    def omitted(self, listed: Any) -> Any:
        """`listed` without `number`, if it is a list."""
        if not isinstance(listed, list):
            return listed
        return [document for document in listed if self.number and document.get("phone_number") != self.number]

    @classmethod
    def late(cls, seconds: float, *, done: bool = True) -> "Fault":
        return cls("late", done, seconds)

    @classmethod
    def dead(cls, *, done: bool) -> "Fault":
        return cls("dead", done)

    @classmethod
    def too_many(cls, retry_after: str = "") -> "Fault":
        return cls(
            "answer", False, status=429, body=error_body(429, 20429, "Too Many Requests"), retry_after=retry_after
        )

    @classmethod
    def broken(cls, *, done: bool, status: int = 500) -> "Fault":
        return cls("answer", done, status=status, body=error_body(status, 20500, "Internal Server Error"))

    @classmethod
    def html(cls, *, done: bool, status: int = 200) -> "Fault":
        return cls(
            "answer", done, status=status, body="<html><body>Sign in to the Wi-Fi</body></html>", kind="text/html"
        )

    @classmethod
    def cut(cls, *, done: bool = True) -> "Fault":
        return cls("cut", done)

    @classmethod
    def drips(cls, seconds: float) -> "Fault":
        return cls("drip", seconds=seconds)

    @classmethod
    def refuses(cls, code: int, message: str = "", *, done: bool = False, status: int = 400) -> "Fault":
        """Says an error of Twilio; with `done` it lies."""
        return cls("answer", done, status=status, body=error_body(status, code, message))

    @classmethod
    def says_taken(cls, *, done: bool = True) -> "Fault":
        return cls.refuses(21422, "PhoneNumber is not available", done=done)

    @classmethod
    def omits(cls, number: str = "") -> "Fault":
        return cls("omit", number=number)


WELL = Fault()
Chooser = Callable[[str, Mapping[str, str]], Fault | None]
"""Chooses a fault for a request by its kind and values; None: it is done well."""


class Faults:
    """What happens to the next requests of each kind: a queue first, then a function, then all goes well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._choosers: dict[str, Chooser] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Every request since the start: its kind and values."""

    def queue(self, kind: str, *faults: Fault, times: int = 1) -> None:
        """These, one after the other, `times` times."""
        with self._lock:
            self._queues[kind].extend(faults * times)

    def choose(self, kind: str, chooser: Chooser | None) -> None:
        """A function for all requests of a kind that find no queue; None takes it away."""
        with self._lock:
            self._choosers.pop(kind, None)
            if chooser is not None:
                self._choosers[kind] = chooser

    def always(self, kind: str, fault: Fault) -> None:
        self.choose(kind, lambda *_: fault)

    def clear(self) -> None:
        with self._lock:
            self._choosers.clear()
            for queue in self._queues.values():
                queue.clear()

    def next(self, kind: str, values: Mapping[str, str]) -> Fault:
        with self._lock:
            self.asked.append((kind, dict(values)))
            if self._queues[kind]:
                return self._queues[kind].popleft()
            chooser = self._choosers.get(kind)
        return (chooser(kind, values) if chooser else None) or WELL


def error_body(status: int, code: int, message: str) -> str:
    return json.dumps(refused(code, message, status).body)


@dataclass(frozen=True)
class FaultyAnswer(Answer):
    """An answer whose fault to the client is faulty, or that stands for another one."""

    fault: Fault = WELL


class FaultyRest(Rest):
    def __init__(self, account: Account, sid: str, token: str) -> None:
        super().__init__(account, sid, token)
        self.faults = Faults()
        self.closing = threading.Event()

    def do(self, request: Request) -> Answer:
        fault = self.faults.next(request.kind, request.values)
        if fault.what == "late" and not fault.done:
            self.closing.wait(fault.seconds)
        answer = super().do(request) if fault.done or fault.what == "late" else Answer(204)
        if fault.what == "late" and fault.done:
            self.closing.wait(fault.seconds)
        body = answer.body
        if fault.what == "omit":
            body = {name: fault.omitted(value) for name, value in body.items()}
        return FaultyAnswer(answer.status, body, fault)


class FaultyHandler(Handler):
    def send(self, answer: Answer) -> None:
        fault = answer.fault if isinstance(answer, FaultyAnswer) else WELL
        if fault.what in ("well", "late", "omit"):
            super().send(answer)
            return
        self.close_connection = fault.what in ("dead", "cut")
        if fault.what == "dead":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, content_type, body = answer.reply()
        if fault.what == "answer":
            status, content_type, body = fault.status, fault.kind, fault.body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if fault.retry_after:
            self.send_header("Retry-After", fault.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.what == "drip":
            for byte in body:
                time.sleep(fault.seconds)
                self.wfile.write(bytes([byte]))
        else:
            self.wfile.write(body[: len(body) // 2] if fault.what == "cut" else body)


@contextmanager
def faulty_server(path: Path, sid: str, token: str) -> Iterator[tuple[RestServer, FaultyRest]]:
    """Serves the account whose book is at `path`; faults are chosen at the FaultyRest."""
    rest = FaultyRest(Account(path), sid, token)
    server = RestServer(rest, FaultyHandler)
    server.start()
    try:
        yield server, rest
    finally:
        rest.closing.set()
        server.shutdown()
        server.server_close()
