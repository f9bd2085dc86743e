"""A server as an operator runs it, with two projects and a receiver of webhooks, and the numbers that callers dial."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from faults.calls import Number
from faults.cluster import Cluster
from faults.receiver import Receiver
from router.accounts.models import Project
from router.carriers.simulator import Line
from router.db import Database, migrate
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from tests.factories import make_integration, make_number, make_project, make_scenario
from tests.faults.running import FALLBACK, Running
from tests.integrations.receiver import WEBHOOK_SECRET
from tests.secret import SECRET
from tests.waiting import eventually

if TYPE_CHECKING:
    from faults.poolers import PgBouncer

SHOP_LINES = ("+14155550100", "+14155550101")
GARAGE_LINE = "+14155550102"
LINES = {SHOP_LINES[0]: Line.is_busy(0.2), "*": Line.answers(after=0.4, talks=0.5)}
"""The shop's first line is busy, so that its calls come back for the second one."""
SHOP_FALLBACK, GARAGE_FALLBACK = "+14155550111", "+14155550112"
FIRST_NUMBER, FIRST_NEW_NUMBER = 12125551000, 12125553000
STRANGER = Number("+12125559999", (FALLBACK,), None, is_known=False)
NUMBERS_OF_A_PROJECT = 5

ADDED_EVERY = 2.0
DIALLED_AFTER = (0.2, 1.0, 3.0)
"""A number that was just added is dialled so many seconds later."""
KNOWN_AFTER = 2.5
"""A change counts within 2 s."""
PATIENCE_OF_SYSTEMD = 1.0


class Site:
    """`cluster` is None with the embedded database. What a fault needs to be otherwise is changed before `start`."""

    def __init__(self, folder: Path, cluster: Cluster | None, stack: ExitStack) -> None:
        self.folder, self.cluster, self.stack = folder, cluster, stack
        self.data = folder / "data"
        self.data.mkdir()
        self.server_url = cluster.url if cluster else f"sqlite:///{self.data / 'router.db'}"
        self.environ: dict[str, str] = {}
        self.activated: socket.socket | None = None
        self.proxy_url = ""
        """Where callers come in, if not at the server itself."""
        self.remark = ""
        """What a fault says of itself afterwards, behind its title."""
        self.replica: Cluster
        self.pooler: PgBouncer
        self.server: Running
        self.database: Database
        self.receiver = Receiver()
        stack.callback(self.receiver.close)
        self.numbers: list[Number] = []
        self._scenarios: dict[int, int] = {}
        self._fresh: list[tuple[float, Number]] = []
        self._may_add = threading.Event()
        self._ended = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The database with its projects first, then the server and its worker."""
        self.open_database(self.cluster.url if self.cluster else self.server_url)
        self.stack.callback(lambda: self.database.dispose())
        migrate(self.database)
        self._make_projects()
        self.server = Running(self.data, activated=self.activated, ROUTER_DATABASE_URL=self.server_url, **self.environ)
        self.server.url = self.proxy_url or self.server.url
        self.stack.callback(self._stop)
        self.server.wait_until_healthy()
        if self.cluster:
            threading.Thread(target=self._keep_worker, daemon=True).start()
        eventually(lambda: SHOP_LINES[0] in self.server.dial(self.numbers[0].e164, "CAfirst").text)
        eventually(lambda: self.receiver.ids.get(("call.started", "CAfirst")))
        threading.Thread(target=self._add_numbers, daemon=True).start()
        self._may_add.set()

    def open_database(self, url: str) -> None:
        """For us, not for the server."""
        self.database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=2)

    @property
    def primary(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    def worker_process(self) -> int | None:
        """Of deliveries: a unit of its own beside PostgreSQL, else a child of the server."""
        if self.cluster is None:
            return self.server.children().get("worker")
        return self._worker.pid if self._worker and self._worker.poll() is None else None

    def rest(self) -> None:
        """No number is added from now on; those that were have become known."""
        self._may_add.clear()
        time.sleep(KNOWN_AFTER)

    def go_on(self) -> None:
        self._may_add.set()

    def next_number(self, index: int) -> Number:
        """Which number a call dials: one that was just added where it is time for that, sometimes one that is not ours."""
        now = time.monotonic()
        for entry in self._fresh:
            if entry[0] <= now:
                self._fresh.remove(entry)
                return entry[1]
        return STRANGER if index % 25 == 24 else self.numbers[index % len(self.numbers)]

    def _make_projects(self) -> None:
        secret = KeyRing((SECRET,)).seal(WEBHOOK_SECRET)
        with self.database.writing() as session:
            projects = (("Shop", SHOP_FALLBACK, SHOP_LINES), ("Garage", GARAGE_FALLBACK, (GARAGE_LINE,)))
            first = count(FIRST_NUMBER)
            for name, fallback, lines in projects:
                project = make_project(session, name=name, fallback_destination=fallback)
                e164s = [f"+{next(first)}" for _ in range(NUMBERS_OF_A_PROJECT)]
                scenario = make_scenario(session, project, e164s, destinations=lines)
                for slot in ("webhook_start", "webhook_end"):
                    make_integration(session, scenario, slot, sealed=secret, config={"url": self.receiver.url})
                self._scenarios[scenario.id] = project.id
                self.numbers += [Number(e164, lines, project.id) for e164 in e164s]
        # callers of both projects take turns
        self.numbers = [
            number for place in range(NUMBERS_OF_A_PROJECT) for number in self.numbers[place::NUMBERS_OF_A_PROJECT]
        ]

    def _add_numbers(self) -> None:
        new, whose = count(FIRST_NEW_NUMBER), cycle(zip(self._scenarios, (SHOP_LINES, (GARAGE_LINE,)), strict=True))
        while not self._ended.wait(ADDED_EVERY):
            self._may_add.wait()
            e164, (scenario_id, lines) = f"+{next(new)}", next(whose)
            try:
                with self.database.writing() as session:
                    scenario = session.get_one(Scenario, scenario_id)
                    make_number(session, session.get_one(Project, scenario.project_id), e164, scenario)
            except SQLAlchemyError:
                continue
            now, number = time.monotonic(), Number(e164, lines, self._scenarios[scenario_id], is_known=False)
            self._fresh += [(now + after, number) for after in DIALLED_AFTER]

    def _keep_worker(self) -> None:
        """As systemd does with a unit of its own."""
        while not self._ended.is_set():
            with self.server.log.open("a") as output:
                self._worker = subprocess.Popen(
                    [sys.executable, "-m", "router", "worker"], env=self.server.environ, stdout=output, stderr=output
                )
            while self._worker.poll() is None and not self._ended.is_set():
                time.sleep(0.05)
            self._ended.wait(PATIENCE_OF_SYSTEMD)
        self._worker.kill()
        self._worker.wait()

    def _stop(self) -> None:
        self._ended.set()
        self._may_add.set()
        for pid in self.server.members():
            os.kill(pid, signal.SIGKILL)
        self.server.process.wait(10)
        if self._worker:
            self._worker.kill()
            self._worker.wait()
