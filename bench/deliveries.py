"""How many deliveries one worker sends to one receiver and to twenty, and what of the processor each takes, beside an earlier build; and
whether a receiver that never answers delays the others. Workers take turns (A B A B ...), each with a database of its own."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    DateTime,
    Engine,
    MetaData,
    Numeric,
    Table,
    create_engine,
    insert,
    text,
)

from bench import world
from bench.processes import SECRET, cpu_of_cluster, cpu_seconds, environment
from bench.report import Report
from router.db import Database, migrate
from router.integrations.wakeups import wake
from router.lib.crypto import KeyRing
from tests.integrations.receiver import WEBHOOK_SECRET

RECEIVERS = 20
OTHERS = 280
"""Integrations that have nothing to be sent: an operator of thirty companies has so many."""
LEAST_TO_ONE, LEAST_TO_MANY = 8.0, 5.0
"""Times as many deliveries as the build before."""
MOST_OF_CPU = 0.2
"""Of what a delivery took before."""
MOST_DELAY = 1.2
"""Of the others' 95th percentile while one of twenty receivers hangs."""
BACKLOG = 40_000
OFFERED = 60.0
"""Deliveries a second to twenty receivers, of which one hangs."""
START_SECONDS = 30.0
BEFORE = "before"
MIGRATE = "import sys; from router.database import Database, migrate; migrate(Database(sys.argv[1], pool_size=1))"


@dataclass(frozen=True)
class DeliveriesSize:
    rounds: int
    seconds: float


class Receivers:
    """An HTTP server that answers each POST with 204, and never one whose path begins with /hang. `arrived`: moment (of `time.time`) and
    path of each."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, str]] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                await reader.readexactly(int(headers.get("content-length", "0")))
                path = lines[0].split(" ")[1]
                self.arrived.append((time.time(), path))
                if path.startswith("/hang"):
                    await reader.read(1)
                    break
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
                if headers.get("connection", "").lower() == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@dataclass
class Sending:
    """A worker process of some build, and its database, which is filled by what its tables demand: those of another build are others."""

    name: str
    pid: int
    database_url: str
    engine: Engine
    tables: MetaData
    wakes: Path
    """Where the applier wakes this build's workers."""
    integration_ids: list[int] = field(default_factory=list)
    written: int = 0

    def add_integrations(self, count: int, url: str) -> None:
        sealed = KeyRing((SECRET,)).seal(WEBHOOK_SECRET)
        with self.engine.begin() as connection:
            project_id = self._add(connection, "project", name="Shop", email="shop@example.com", timezone="UTC")
            for index in range(count):
                scenario_id = self._add(
                    connection, "scenario", project_id=project_id, title=f"Site {index}", enabled=True
                )
                self.integration_ids.append(
                    self._add(
                        connection,
                        "integration",
                        project_id=project_id,
                        scenario_id=scenario_id,
                        slot="webhook_end",
                        kind="webhook",
                        destination=f"webhook:{project_id}:r{index}",
                        config={"url": f"{url}/r{index}"},
                        sealed=sealed,
                        removed_at=None,
                    )
                )

    def point(self, index: int, url: str) -> None:
        """The integration goes to another address."""
        table = self.tables.tables["integration"]
        with self.engine.begin() as connection:
            here = table.update().where(table.c.id == self.integration_ids[index])
            connection.execute(here.values(config={"url": url}))

    def add_deliveries(self, amounts: Mapping[int, int]) -> None:
        """So many that are due now to the integration of each index, each of a call of its own, in one transaction."""
        now = self._moment(datetime.now(UTC))
        shares = [{"visit": 10001 + place, "visit_id": place, "probability": 0.05} for place in range(20)]
        rows, calls = [], []
        for index, amount in amounts.items():
            for _ in range(amount):
                self.written += 1
                calls.append(
                    self._values(
                        "call",
                        id=self.written,
                        sid=f"CA{self.written}",
                        project_id=1,
                        number="+12125550100",
                        caller=f"+{14_155_000_000 + self.written}",
                        kind="external",
                        status="answered",
                        talk_seconds=63,
                        source={"channel": "paid", "source": "google", "medium": "cpc", "campaign": "spring"},
                        candidates=shares,
                        shares=shares,
                        decision={"steps": [{"rule": "lease", "candidates": shares}] * 4},
                        ended_at=now,
                    )
                )
                rows.append(
                    self._values(
                        "delivery",
                        message_id=f"msg_{self.written}",
                        project_id=1,
                        integration_id=self.integration_ids[index],
                        call_id=self.written,
                        event="call.ended",
                        destination=f"webhook:1:r{index}",
                        state="pending",
                        created_at=now,
                        event_at=now,
                        next_at=now,
                    )
                )
        rows.sort(key=lambda row: int(row["message_id"][4:]))
        with self.engine.begin() as connection:
            connection.execute(insert(self.tables.tables["call"]), calls)
            connection.execute(insert(self.tables.tables["delivery"]), rows)
        wake(self.wakes)

    def forget_waiting(self) -> None:
        """What was not sent, and how receivers fared."""
        with self.engine.begin() as connection:
            connection.execute(text("DELETE FROM delivery WHERE state = 'pending' AND attempts = 0"))
            connection.execute(text("UPDATE delivery SET state = 'skipped' WHERE state = 'pending'"))
            connection.execute(text("DELETE FROM destination_health"))

    def _add(self, connection: Connection, into: str, **values: Any) -> int:
        made = connection.execute(insert(self.tables.tables[into]), self._values(into, **values))
        return int(made.inserted_primary_key[0])

    def _values(self, into: str, **values: Any) -> dict[str, Any]:
        table = self.tables.tables[into]
        return {
            column.name: self._least(column) for column in table.columns if _is_demanded(table, column.name)
        } | values

    def _least(self, column: Any) -> Any:
        if isinstance(column.type, DateTime):
            return self._moment(datetime.now(UTC))
        if isinstance(column.type, JSON):
            return {}
        if isinstance(column.type, Boolean):
            return False
        return 0 if isinstance(column.type, Numeric) or "INT" in str(column.type) else ""

    def _moment(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=None) if self.database_url.startswith("sqlite") else moment


def _is_demanded(table: Table, name: str) -> bool:
    column = table.columns[name]
    return not column.nullable and not column.primary_key and column.server_default is None


@contextmanager
def sending(name: str, checkout: Path | None, database_url: str, folder: Path, url: str) -> Iterator[Sending]:
    """A worker as an operator runs it, of this build or of a checkout, which has nothing to do yet."""
    environ = environment(database_url, folder / name, 0) | {"ROUTER_ALLOW_PRIVATE": "127.0.0.0/8"}
    python = str(checkout / ".venv/bin/python") if checkout else sys.executable
    if checkout:
        subprocess.run([python, "-c", MIGRATE, database_url], cwd=checkout, env=environ, check=True)
    else:
        database = Database(database_url, pool_size=1)
        migrate(database)
        database.dispose()
    engine = create_engine(database_url)
    tables = MetaData()
    tables.reflect(engine, only=["project", "scenario", "integration", "call", "delivery"])
    process = subprocess.Popen([python, "-m", "router", "worker"], env=environ, cwd=checkout)
    try:
        one = Sending(name, process.pid, database_url, engine, tables, folder / name / "wake")
        one.add_integrations(RECEIVERS + OTHERS, url)
        yield one
    finally:
        process.terminate()
        process.wait(60)
        engine.dispose()


@dataclass
class Sent:
    """A round of one contestant: deliveries a second, and milliseconds of processor for each, of the worker and of the database."""

    per_second: float
    cpu: float
    database_cpu: float


def send_backlog(one: Sending, receivers: Receivers, over: int, seconds: float) -> Sent:
    """More than can be sent, to so many receivers, from the first one that arrives."""
    receivers.arrived.clear()
    one.add_deliveries(dict.fromkeys(range(over), int(BACKLOG * seconds / 30 / over) + 50))
    until = time.monotonic() + START_SECONDS
    while not receivers.arrived:
        if time.monotonic() > until:
            raise SystemExit(f"bench: {one.name} sends nothing")
        time.sleep(0.005)
    began, before = time.monotonic(), (cpu_seconds(one.pid), cpu_of_cluster(one.database_url))
    first = len(receivers.arrived)
    time.sleep(seconds)
    arrived, lasted = len(receivers.arrived) - first, time.monotonic() - began
    spent = cpu_seconds(one.pid) - before[0], cpu_of_cluster(one.database_url) - before[1]
    one.forget_waiting()
    time.sleep(1.0)  # what is under way ends
    each = [used * 1000 / max(arrived, 1) for used in spent]
    return Sent(arrived / lasted, *each)


def delays(one: Sending, receivers: Receivers, seconds: float, *, hangs: bool) -> float:
    """The 95th percentile of the seconds from when a delivery is written to its arrival, at all receivers but the first, which hangs."""
    one.point(0, f"{receivers.url}/{'hang' if hangs else 'r0'}")
    receivers.arrived.clear()
    written: dict[str, list[float]] = {}
    began, every = time.monotonic(), RECEIVERS / OFFERED
    turns = int(seconds / every)
    for turn in range(turns):
        time.sleep(max(began + turn * every - time.monotonic(), 0))
        one.add_deliveries(dict.fromkeys(range(RECEIVERS), 1))
        for index in range(1, RECEIVERS):
            written.setdefault(f"/r{index}", []).append(time.time())
    until = time.monotonic() + 10
    while sum(path in written for _, path in receivers.arrived) < turns * (RECEIVERS - 1) and time.monotonic() < until:
        time.sleep(0.05)
    came: dict[str, list[float]] = {}
    for moment, path in receivers.arrived:
        came.setdefault(path, []).append(moment)
    found = [
        arrived - wrote
        for path, moments in written.items()
        for wrote, arrived in zip(moments, came.get(path, []), strict=False)
    ]
    if len(found) < turns * (RECEIVERS - 1):
        raise SystemExit(f"bench: {turns * (RECEIVERS - 1) - len(found)} deliveries did not arrive")
    one.forget_waiting()
    one.point(0, f"{receivers.url}/r0")
    return sorted(found)[int(len(found) * 0.95)]


def deliveries(report: Report, cluster: str, folder: Path, size: DeliveriesSize) -> None:
    receivers = Receivers()
    checkout = os.environ.get("BEFORE")
    builds: dict[str, Path | None] = {"": None}
    if checkout:
        builds[f"{BEFORE}, "] = Path(checkout)
    else:
        print("BEFORE names no checkout of an earlier build: no deliveries are set beside it.")
    with ExitStack() as stack:
        stack.callback(receivers.close)
        workers: dict[str, Sending] = {}
        for prefix, path in builds.items():
            named = prefix.strip(", ") or "now"
            urls = {
                "PostgreSQL": world.make_empty(cluster, f"deliveries_{named}"),
                "SQLite": f"sqlite:///{folder}/deliveries-{named}.db",
            }
            for database, url in urls.items():
                name = prefix + database
                workers[name] = stack.enter_context(
                    sending(f"worker-{named}-{database}", path, url, folder, receivers.url)
                )
        for over, least in ((1, LEAST_TO_ONE), (RECEIVERS, LEAST_TO_MANY)):
            _backlogs(report, workers, receivers, over, least, size)
        _hanging(report, workers, receivers, size)


def _backlogs(
    report: Report, workers: Mapping[str, Sending], receivers: Receivers, over: int, least: float, size: DeliveriesSize
) -> None:
    found: dict[str, list[Sent]] = {name: [] for name in workers}
    for turn in range(-1, size.rounds):  # the first one warms up
        for name in list(workers) if turn % 2 else reversed(list(workers)):
            sent = send_backlog(workers[name], receivers, over, size.seconds if turn >= 0 else 2.0)
            if turn >= 0:
                found[name].append(sent)
    to = "one receiver" if over == 1 else f"{over} receivers"
    print(f"\nDeliveries to {to}, one worker\n  {'':22}{'a second':>10}{'CPU ms':>9}{'CPU ms db':>11}")
    for name, rounds in found.items():
        figures = [median(getattr(one, what) for one in rounds) for what in ("per_second", "cpu", "database_cpu")]
        print(f"  {name:22}{figures[0]:10.1f}{figures[1]:9.2f}{figures[2]:11.2f}", flush=True)
    for name, rounds in found.items():
        before = found.get(f"{BEFORE}, {name}")
        if before is None:
            continue
        pairs = list(zip(rounds, before, strict=True))
        times = median(now.per_second / max(then.per_second, 0.01) for now, then in pairs)
        report.bound(f"{name}, to {to}: times as many as before", times, times >= least, f"at least {least:.0f}")
        share = median((now.cpu + now.database_cpu) / (then.cpu + then.database_cpu) for now, then in pairs)
        report.bound(f"{name}, to {to}: of the CPU before", share, share <= MOST_OF_CPU, f"at most {MOST_OF_CPU}")


def _hanging(report: Report, workers: Mapping[str, Sending], receivers: Receivers, size: DeliveriesSize) -> None:
    print(f"\nDelay of 19 receivers, at {OFFERED:.0f} deliveries a second to twenty, p95 in ms")
    for name, one in workers.items():
        if name.startswith(BEFORE):
            continue
        pairs = []
        for turn in range(size.rounds):
            order = (False, True) if turn % 2 else (True, False)
            found = {hangs: delays(one, receivers, size.seconds * 2, hangs=hangs) for hangs in order}
            time.sleep(21 if order[-1] else 0)  # until the last attempt at the one that hangs has ended
            pairs.append((found[True], found[False]))
        growth = median(hung / free for hung, free in pairs)
        free, hung = median(pair[1] for pair in pairs) * 1000, median(pair[0] for pair in pairs) * 1000
        print(f"  {name:22}none hangs {free:.0f}, one hangs {hung:.0f}", flush=True)
        report.bound(f"{name}: delay while one hangs", growth, growth <= MOST_DELAY, f"at most {MOST_DELAY}")
