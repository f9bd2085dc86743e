"""The load: one process with keep-alive connections on bare sockets, cheap beside any server. Reads a plan on standard input, writes
what it measured on standard output; never longer than its plan says, and only to 127.0.0.1."""

import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator

CONNECTIONS = 16
MOST_PER_SECOND = 4_000
ANSWER_SECONDS = 30
RIGHT = {"L": b'"e164"', "V": b"/voice/dial/"}
"""What the right answer holds, by the plan's kind."""


@dataclass(frozen=True)
class Plan:
    """`kind` is L (page views of new visitors) or V (inbound calls)."""

    kind: str
    port: int
    seconds: float
    run: str
    """Unlike that of any other plan: it makes the ids of calls unique."""
    project_key: str = ""
    first_e164: int = 0
    numbers: int = 1
    first_known_caller: int = 0
    known_callers: int = 1
    first_new_caller: int = 0
    base_url: str = ""
    token: str = ""
    path: str = "/voice/inbound"
    per_second: float = 0.0
    """At which calls are offered; 0: as fast as they are answered."""


@dataclass(frozen=True)
class Measured:
    requests: int
    failures: int
    per_second: float
    p50: float
    p99: float
    load_cpu: float
    """The share of one core that the load itself took."""


def requests_of(plan: Plan, count: int) -> Iterator[bytes]:
    return _page_views(plan, count) if plan.kind == "L" else _calls(plan, count)


def _page_views(plan: Plan, count: int) -> Iterator[bytes]:
    for i in range(count):
        page = f"https://shop.example/offers?utm_source=google&utm_medium=cpc&utm_campaign=c{i % 40}&gclid=Cj0{i}"
        ga = {"client_id": f"{10**9 + i}.1763900000", "session_id": "1763900001"}
        body = json.dumps({"page": page, "referrer": "https://www.google.com/", "click_ids": {}, "ga": ga})
        yield _request(f"/tag/{plan.project_key}/visits", "text/plain", body, "Origin: https://shop.example\r\n")


def _calls(plan: Plan, count: int) -> Iterator[bytes]:
    """Every second caller has called this number before: one of all its known callers after the other."""
    validator = RequestValidator(plan.token)
    for i in range(count):
        caller = (
            plan.first_known_caller + i // plan.numbers * 7 % plan.known_callers if i % 2 else plan.first_new_caller + i
        )
        values = _form(sid_of(plan, i), f"+{caller}", f"+{plan.first_e164 + (i * 31) % plan.numbers}")
        signature = validator.compute_signature(plan.base_url + plan.path, values)
        more = f"X-Twilio-Signature: {signature}\r\n"
        yield _request(plan.path, "application/x-www-form-urlencoded", urlencode(values), more)


def sid_of(plan: Plan, index: int) -> str:
    return f"CA{plan.run}{index:08d}"


def _form(sid: str, caller: str, number: str) -> dict[str, str]:
    """What Twilio sends of a call."""
    values = {"CallSid": sid, "AccountSid": f"AC{0:032d}", "ApiVersion": "2010-04-01", "CallStatus": "ringing"}
    values |= {"Direction": "inbound", "From": caller, "Caller": caller, "To": number, "Called": number}
    for side in ("From", "To", "Caller", "Called"):
        values |= {f"{side}City": "SAN FRANCISCO", f"{side}State": "CA", f"{side}Zip": "94105", f"{side}Country": "US"}
    return values | {"CallToken": "%7B%22parentCallInfoToken%22%3A%22eyJhbGciOiJFUzI1NiJ9%22%7D", "StirVerstat": "A"}


def _request(path: str, content_type: str, body: str, more: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n{more}"
    return f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def measure(plan: Plan) -> Measured:
    """Keeps every connection busy with one request at a time until the time is over."""
    waiting = deque(requests_of(plan, int(plan.seconds * MOST_PER_SECOND)))
    right = RIGHT[plan.kind]
    poll = select.epoll()
    connections = {one.fileno(): one for one in (connect(plan.port) for _ in range(CONNECTIONS))}
    sent: dict[int, float] = {}
    took: list[float] = []
    failures, cpu, began = 0, time.process_time(), time.perf_counter()
    for handle, connection in connections.items():
        poll.register(handle, select.EPOLLIN)
        sent[handle] = time.perf_counter()
        connection.sendall(waiting.popleft())
    parts: dict[int, bytes] = dict.fromkeys(connections, b"")
    while sent:
        ready = poll.poll(ANSWER_SECONDS)
        if not ready:
            raise SystemExit("bench: no answer")
        for handle, _ in ready:
            received = connections[handle].recv(65536)
            parts[handle] += received
            if received and not is_whole(parts[handle]):
                continue
            now = time.perf_counter()
            took.append(now - sent.pop(handle))
            failures += not (parts[handle].startswith(b"HTTP/1.1 20") and right in parts[handle])
            parts[handle] = b""
            if not received:
                raise SystemExit("bench: the server closed a connection")
            if waiting and now - began < plan.seconds:
                sent[handle] = time.perf_counter()
                connections[handle].sendall(waiting.popleft())
    lasted, cpu = time.perf_counter() - began, time.process_time() - cpu
    for connection in connections.values():
        connection.close()
    took.sort()
    return Measured(
        requests=len(took),
        failures=failures,
        per_second=len(took) / lasted,
        p50=took[len(took) // 2] * 1000,
        p99=took[int(len(took) * 0.99)] * 1000,
        load_cpu=cpu / lasted,
    )


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    at = head.lower().find(b"content-length:")
    return len(body) >= int(head[at + 15 : at + 27].split(b"\r")[0])


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Plan(**json.load(sys.stdin))))))
