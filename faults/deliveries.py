"""What becomes of deliveries whose worker is killed again and again, on both databases, with restarts of the database and a second worker
whose clock is 90 s ahead beside it: `make faults-deliveries` (a quarter of an hour; SHORT=1: fewer of all). Receivers are fakes that count
by id. Ends with status 1 when a message is missing, or doubled where nobody could have told a repeat.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from faults.cluster import Cluster, clusters
from faults.receiver import Listening, _Handler
from router.accounts.models import Project
from router.db import Database, migrate
from router.demo.odoo import OdooFake
from router.integrations.models import OPEN_STATES, Delivery, DeliveryState
from router.integrations.outbox import fan_out
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from router.voice.models import Call
from tests.factories import lease_decision, make_call, make_integration, make_project, make_scenario, make_visit
from tests.faults.running import environment
from tests.integrations.receiver import WEBHOOK_SECRET
from tests.secret import SECRET

SID = re.compile(r"CAfault\d{6}")
AHEAD = "90"
"""Seconds, of the second worker's clock."""
START_SECONDS = 2.5
"""Within which a worker has begun to send."""
SETTLED_WITHIN = 240.0
LEASES_END = 75.0


@dataclass(frozen=True)
class Size:
    calls: int
    """Three deliveries each."""
    kills: int
    restarts: int


FULL, SHORT = Size(calls=668, kills=50, restarts=4), Size(calls=100, kills=8, restarts=1)


class Hooks(Listening):
    """Takes webhooks of three receivers and the events of two Google properties. By the first part of the path:

    good: answers at once. flaky: takes each message and answers 503 the first time it sees it. slow: after 50 ms.
    ga: answers at once. lost: counts, and one time in ten ends the connection instead of answering.
    """

    def __init__(self) -> None:
        self.told: dict[str, Counter[str]] = {name: Counter() for name in ("good", "flaky", "slow", "ga", "lost")}
        self.hung_up = 0
        self.lock = threading.Lock()
        super().__init__(_Takes)


class _Takes(_Handler):
    server: Hooks
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.body())
        name = self.path.split("/")[1].split("?")[0]
        about = self.headers["webhook-id"] or body["events"][0]["params"]["call_id"]
        with self.server.lock:
            self.server.told[name][about] += 1
            is_first = self.server.told[name][about] == 1
        if name == "slow":
            time.sleep(0.05)
        if name == "lost" and random.random() < 0.1:
            with self.server.lock:
                self.server.hung_up += 1
            self.close_connection = True
            return
        self.send_response(503 if name == "flaky" and is_first else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """What it holds is counted at the end."""


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Who asks may die."""


@contextmanager
def odoo() -> Iterator[tuple[OdooFake, str]]:
    fake = OdooFake("main", "the-key")
    with make_server("127.0.0.1", 0, fake, _Threaded, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield fake, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Company:
    """A database with calls whose deliveries go to six receivers."""

    folder: Path
    url: str
    database: Database
    scenario_ids: list[int] = field(default_factory=list)
    callers: set[str] = field(default_factory=set)

    def make(self, hooks: str, crm: str) -> None:
        keys = KeyRing((SECRET,))
        google = {"endpoint": f"{hooks}/ga", "measurement_id": "G-AAAA000001", "event": "Call"}
        lost = {"endpoint": f"{hooks}/lost", "measurement_id": "G-AAAA000002", "event": "Call"}
        with self.database.writing() as session:
            project = make_project(session)
            for title in ("One", "Two"):
                self.scenario_ids.append(make_scenario(session, project, 0, title=title).id)
            one, two = (session.get_one(Scenario, each) for each in self.scenario_ids)
            hook, secret = keys.seal(WEBHOOK_SECRET), keys.seal("s3cret")
            for scenario, slot, name in (
                (one, "webhook_end", "good"),
                (two, "webhook_start", "slow"),
                (two, "webhook_end", "flaky"),
            ):
                make_integration(
                    session,
                    scenario,
                    slot,
                    sealed=hook,
                    config={"url": f"{hooks}/{name}"},
                    receiver=f"webhook:1:{name}",
                )
            for scenario, config in ((one, google), (two, lost)):
                receiver = f"ga4:1:{config['measurement_id']}"
                make_integration(session, scenario, "ga4", "ga4", sealed=secret, config=config, receiver=receiver)
            connected = {"url": crm, "database": "main", "manager": "", "fields": {}}
            connected |= {"only_new_customers": True, "not_while_open": True}
            make_integration(
                session, one, "crm", "odoo", sealed=keys.seal("the-key"), config=connected, receiver="odoo:1:crm/main"
            )

    def add_call(self, index: int) -> None:
        """Each of a caller and a visit of its own, told as it began (its second receiver of webhooks) and as it ended."""
        now = datetime.now(UTC)
        with self.database.writing() as session:
            scenario = session.get_one(Scenario, self.scenario_ids[index % 2])
            project = session.get_one(Project, scenario.project_id)
            ga = {"client_id": f"{1_000_000_000 + index}.1763900000", "session_id": str(int(now.timestamp()))}
            visit = make_visit(session, project, 20_000 + index, now, ga=ga)
            caller = f"+1415{5_550_000 + index}"
            call = make_call(
                session,
                scenario,
                **{
                    "sid": f"CAfault{index:06}",
                    "caller": caller,
                    "started_at": now,
                    "ended_at": now,
                    "talk_seconds": 63,
                }
                | lease_decision(visit),
            )
            for event in ("call.started", "call.ended"):
                fan_out(session, call, event, now)
            if index % 2 == 0:
                self.callers.add(caller)

    def worker(self, **more: str) -> "subprocess.Popen[bytes]":
        environ = environment(self.folder / "data", ROUTER_DATABASE_URL=self.url, ROUTER_LOG_LEVEL="error", **more)
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen([sys.executable, "-m", "router", "worker"], env=environ, stdout=log, stderr=log)

    def states(self) -> Counter[str]:
        with self.database.reading() as session:
            rows = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state))
            return Counter({str(state): amount for state, amount in rows})

    def hasten(self) -> None:
        """What waits after a failure is due now, as when an admin asks for it."""
        with self.database.writing() as session:
            waiting = update(Delivery).where(Delivery.state == DeliveryState.PENDING, Delivery.lease_owner == "")
            session.execute(waiting.values(next_at=datetime.now(UTC)))


def play(name: str, company: Company, cluster: Cluster | None, size: Size) -> list[str]:
    """One database from the first call to the last delivery; returns what is wrong."""
    chance = random.Random(name)
    with ExitStack() as stack:
        hooks = Hooks()
        stack.callback(hooks.close)
        fake, crm_url = stack.enter_context(odoo())
        company.make(hooks.address, crm_url)
        killed = restarted = 0
        began = time.monotonic()
        ahead = None
        if cluster:
            (company.folder / "clock").write_text(AHEAD)
            clock = {
                "PYTHONPATH": f"{Path(__file__).parent / 'clock'}:{os.getcwd()}",
                "FAULTS_CLOCK": str(company.folder / "clock"),
            }
            ahead = company.worker(**clock)
            stack.callback(end, ahead)
        per_kill = size.calls / size.kills
        restart_at = (
            [size.kills * (turn + 1) // (size.restarts + 1) for turn in range(size.restarts)] if cluster else []
        )
        added = 0
        while killed < size.kills:
            worker = company.worker()
            until = time.monotonic() + START_SECONDS + chance.random()
            while time.monotonic() < until:
                if added < per_kill * (killed + 1):
                    company.add_call(added)
                    added += 1
                else:
                    time.sleep(0.02)
            if killed in restart_at and cluster:
                restarted += 1
                cluster.stop()
                time.sleep(1.0)
                cluster.start()
                time.sleep(1.0)
                company.database.dispose()
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            killed += 1
        while added < size.calls:
            company.add_call(added)
            added += 1
        struck = time.monotonic() - began
        worker = company.worker()
        stack.callback(end, worker)
        until = time.monotonic() + SETTLED_WITHIN
        hastened = time.monotonic() + LEASES_END
        while time.monotonic() < until and any(state in company.states() for state in OPEN_STATES):
            if time.monotonic() > hastened:
                company.hasten()
                hastened = time.monotonic() + 15
            time.sleep(1)
        time.sleep(2)  # for what might come twice
        states, faults = company.states(), judge(company, hooks, fake, killed)
        print(
            f"| {name} | {sum(states.values())} | {killed} in {struck:.0f} s | {restarted} | "
            f"{', '.join(f'{amount} {state}' for state, amount in sorted(states.items()))} | "
            f"{sum(count > 1 for told in hooks.told.values() for count in told.values())} | {len(faults)} |",
            flush=True,
        )
        return [f"BROKEN {name}: {fault}" for fault in faults]


def judge(company: Company, hooks: Hooks, fake: OdooFake, killed: int) -> list[str]:
    """What is missing, and what is doubled where it must not be."""
    faults: list[str] = []
    with company.database.reading() as session:
        rows = session.scalars(select(Delivery)).all()
        of_call = {row.id: row.sid for row in session.execute(select(Call.id, Call.sid))}
    names = {1: "good", 2: "slow", 3: "flaky", 4: "ga", 5: "lost", 6: "crm"}
    unconfirmed = Counter(names[row.integration_id] for row in rows if row.state == DeliveryState.UNCONFIRMED)
    for row in rows:
        name = names[row.integration_id]
        if row.state == DeliveryState.UNCONFIRMED and name in ("ga", "lost"):
            continue
        if row.state != DeliveryState.DONE:
            faults.append(f"delivery {row.id} to {name} is {row.state}: {row.reason}")
        elif name != "crm":
            about = row.message_id if name in ("good", "slow", "flaky") else of_call[row.call_id]
            if not hooks.told[name][about]:
                faults.append(f"delivery {row.id} to {name} did not arrive")
    faults += [
        f"{sid} was counted {count} times by {name}"
        for name in ("ga", "lost")
        for sid, count in hooks.told[name].items()
        if count > 1
    ]
    if unconfirmed["ga"] > killed:
        faults.append(f"{unconfirmed['ga']} are unconfirmed at a property that always answers, with {killed} kills")
    leads = Counter(str(lead["phone"]) for lead in fake.leads())
    faults += [f"{caller} has {leads[caller]} leads" for caller in sorted(company.callers) if leads[caller] != 1]
    notes = Counter(sid for lead in fake.leads() for note in lead["notes"] for sid in SID.findall(note))
    faults += [f"{sid} has {count} notes" for sid, count in notes.items() if count > 1]
    return faults


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    size = SHORT if os.environ.get("SHORT") else FULL
    only = os.environ.get("ONLY", "")
    print("| database | deliveries | worker killed | database restarted | ended as | arrived more than once | faults |")
    print("|---" * 7 + "|", flush=True)
    broken: list[str] = []
    try:
        if only in ("", "sqlite"):
            with tempfile.TemporaryDirectory(prefix="router-faults-") as named:
                folder = Path(named)
                (folder / "data").mkdir()
                broken += with_database("SQLite", folder, f"sqlite:///{folder}/data/router.db", None, size)
        if only in ("", "postgresql"):
            with clusters() as (folder, cluster):
                (folder / "data").mkdir()
                url = cluster.url.replace("postgresql://", "postgresql+psycopg://", 1)
                broken += with_database("PostgreSQL", folder, url, cluster, size)
    except (OSError, SQLAlchemyError, subprocess.SubprocessError) as error:
        broken.append(f"BROKEN: it could not be played: {error}")
    for line in broken[:40]:
        print(line)
    return 1 if broken else 0


def with_database(name: str, folder: Path, url: str, cluster: Cluster | None, size: Size) -> list[str]:
    database = Database(url, pool_size=2)
    try:
        migrate(database)
        broken = play(name, Company(folder, url, database), cluster, size)
        if broken:
            print("\n".join((folder / "log").read_text().splitlines()[-20:]))
        return broken
    finally:
        database.dispose()


if __name__ == "__main__":
    sys.exit(main())
