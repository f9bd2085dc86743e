"""Calls that come at a steady rate, whether earlier ones are answered or not: how soon each is answered, and when its row is there. As a
program it is the load: it reads a plan on standard input and writes when it had which answer."""

import json
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import psycopg

from bench.load import ANSWER_SECONDS, CONNECTIONS, RIGHT, Plan, connect, is_whole, requests_of
from bench.processes import Running, cpu_of_database, cpu_seconds

MOST_CONNECTIONS = 256
MOST_AFTER_END = 2.0
"""Seconds after the last answer within which all is recorded where a rate is sustained."""
DRAIN_SECONDS = 120
IDS_OF_OPEN_TRANSACTIONS = 1_000
"""Rows may appear so much later than others with greater ids."""


@dataclass(frozen=True)
class Offered:
    """What became of calls that were offered at a rate. Moments are the machine's clock."""

    rate: float
    began: float
    took: list[float]
    """Seconds from the moment when a call was due until it was answered."""
    answered: list[float]
    recorded: Mapping[int, float]
    """When a call's row was seen first, by the call's index."""
    failures: int
    load_cpu: float
    server_cpu: float
    """Milliseconds of processor for each call, in all processes of the server."""
    database_cpu: float

    def answer(self, share: float) -> float:
        """Milliseconds within which such a share of the calls was answered."""
        return _quantile(self.took, share) * 1000

    def visible(self, share: float) -> float:
        """The same from a call's answer to its row."""
        waited = [self.recorded[index] - at for index, at in enumerate(self.answered) if index in self.recorded]
        return max(0.0, _quantile(waited, share)) * 1000 if waited else float("inf")

    def backlogs(self) -> list[int]:
        """At each full second, how many of the calls that were due had no row."""
        seconds = range(1, int(len(self.took) / self.rate) + 1)
        rows = sorted(self.recorded.values())
        return [int(second * self.rate) - sum(at <= self.began + second for at in rows) for second in seconds]

    def thirds(self) -> tuple[float, float]:
        """The mean backlog in the first third of the time and in the last."""
        backlogs = self.backlogs()
        part = max(1, len(backlogs) // 3)
        return mean(backlogs[:part]), mean(backlogs[-part:])

    def after_end(self) -> float:
        """Seconds from the last answer to the last row; infinite when rows are missing."""
        if len(self.recorded) < len(self.took):
            return float("inf")
        return max(0.0, max(self.recorded.values()) - max(self.answered))

    def is_sustained(self) -> bool:
        """The backlog does not grow by more than the calls of a second, and is gone soon after the end."""
        first, last = self.thirds()
        return not self.failures and last <= first + self.rate and self.after_end() <= MOST_AFTER_END


def offer(server: Running, plan: Plan, look_every: float = 0.25) -> Offered:
    """Runs the load, and looks for the rows of its calls meanwhile and afterwards."""
    rows, close = _rows_of(server.database_url)
    known = max((row for row, _ in rows(0)), default=0)
    spent = cpu_seconds(server.pid), cpu_of_database(server.database_url)
    load = subprocess.Popen(
        [sys.executable, "-m", "bench.offered"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert load.stdin
    assert load.stdout
    load.stdin.write(json.dumps(asdict(plan)))
    load.stdin.close()
    count, prefix = int(plan.seconds * plan.per_second), f"CA{plan.run}"
    recorded: dict[int, float] = {}
    newest, gave_up = known, None
    while len(recorded) < count and (gave_up is None or time.monotonic() < gave_up):
        for row, sid in rows(max(known, newest - IDS_OF_OPEN_TRANSACTIONS)):
            newest = max(newest, row)
            if sid.startswith(prefix):
                recorded.setdefault(int(sid[-8:]), time.time())
        if gave_up is None and load.poll() is not None:
            gave_up = time.monotonic() + DRAIN_SECONDS
        time.sleep(look_every)
    close()
    told = json.loads(load.stdout.read())
    after = cpu_seconds(server.pid), cpu_of_database(server.database_url)
    cpu = [(late - early) * 1000 / count for late, early in zip(after, spent, strict=True)]
    return Offered(rate=plan.per_second, recorded=recorded, server_cpu=cpu[0], database_cpu=cpu[1], **told)


def _rows_of(url: str) -> tuple[Callable[[int], list[tuple[int, str]]], Callable[[], None]]:
    """What reads id and carrier's id of the calls behind an id, and what ends it."""
    connection: Any
    if url.startswith("sqlite"):
        connection, mark = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None), "?"
    else:
        connection, mark = psycopg.connect(url.replace("+psycopg", ""), autocommit=True), "%s"
    statement = f"SELECT id, sid FROM call WHERE id > {mark}"
    return lambda known: connection.execute(statement, [known]).fetchall(), connection.close


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def answers_at_rate(plan: Plan) -> dict[str, Any]:
    """Sends each call when it is due, on a connection that waits for nothing, and a new one when there is none."""
    requests = list(requests_of(plan, int(plan.seconds * plan.per_second)))
    poll = select.epoll()
    connections: dict[int, socket.socket] = {}
    idle: deque[int] = deque()
    parts: dict[int, bytes] = {}
    sent: dict[int, int] = {}

    def open_connection() -> None:
        connection = connect(plan.port)
        connections[connection.fileno()] = connection
        poll.register(connection.fileno(), select.EPOLLIN)
        idle.append(connection.fileno())

    for _ in range(CONNECTIONS):
        open_connection()
    cpu, began = time.process_time(), time.time()
    due = [began + index / plan.per_second for index in range(len(requests))]
    took, answered = [float(ANSWER_SECONDS)] * len(requests), [0.0] * len(requests)
    coming, failures = 0, 0
    until = began + plan.seconds + ANSWER_SECONDS
    while (coming < len(requests) or sent) and time.time() < until:
        while coming < len(requests) and due[coming] <= time.time():
            if not idle and len(connections) < MOST_CONNECTIONS:
                open_connection()
            if not idle:
                break
            handle = idle.popleft()
            parts[handle], sent[handle] = b"", coming
            connections[handle].sendall(requests[coming])
            coming += 1
        pause = due[coming] - time.time() if coming < len(requests) and idle else 0.5
        for handle, _ in poll.poll(max(0.0, pause)):
            received = connections[handle].recv(65536)
            parts[handle] = parts.get(handle, b"") + received
            if received and not is_whole(parts[handle]):
                continue
            if handle in sent:
                index, now = sent.pop(handle), time.time()
                took[index], answered[index] = now - due[index], now
                failures += not (parts[handle].startswith(b"HTTP/1.1 20") and RIGHT[plan.kind] in parts[handle])
            if received:
                idle.append(handle)
                continue
            poll.unregister(handle)
            connections.pop(handle).close()
            if handle in idle:
                idle.remove(handle)
    failures += len(requests) - coming + len(sent)
    load_cpu = (time.process_time() - cpu) / (time.time() - began)
    return {"began": began, "took": took, "answered": answered, "failures": failures, "load_cpu": load_cpu}


if __name__ == "__main__":
    print(json.dumps(answers_at_rate(Plan(**json.load(sys.stdin)))))
