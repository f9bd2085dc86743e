"""A process follows the routing of the database (R12): the present snapshot, what is looked up when the snapshot lacks it, and what an
answer wants to know beside it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from router.carriers.accounts import SealedAccount, SignedFor, opened_accounts
from router.carriers.base import InboundCall
from router.db import Database
from router.lib.crypto import KeyRing
from router.lib.phones import spellings_of_line
from router.server import Server
from router.voice.blocking.open_calls import OpenCalls
from router.voice.clocks import MachineClock
from router.voice.interpreter import Program, read_version
from router.voice.lookups import Lookups
from router.voice.routing import Route, fallback_flow, find_route_of_call, flow_of
from router.voice.snapshot import NEWEST, Flow, Snapshot, SnapshotRefused, read_snapshot, refresh, write_snapshot

log = structlog.get_logger(__name__)

MOST_PROGRAMS = 10_000
POLL_SECONDS = 1.0
LOOKUP_SECONDS = 1.0
"""For a number, or a version of a flow, that the snapshot lacks."""
CREDIT_SECONDS = 0.3
"""For what a flow wants to know."""
START_SECONDS = 5.0
"""How long a process waits for its first snapshot, where the machine has none. Then it answers by look-ups."""
FILE_PAUSE_SECONDS = 60.0
"""Between two tries to write the file."""
FILE_NUMBERS_A_SECOND = 10_000
"""The file is written so often that it holds no more on average: of a thousand numbers at every look, of a hundred thousand every 10 s."""
PAGE_PAUSE_SECONDS = 0.005
"""After each page that is loaded or written, for answers that wait for the processor meanwhile."""


class RoutingFollower:
    """Keeps the snapshot of a process up to date: by a thread once `start` was called, else whenever a route is asked for."""

    def __init__(self, database: Database, folder: Path, keys: KeyRing, now: Callable[[], datetime]) -> None:
        self.snapshot: Snapshot | None = None
        self._database, self._folder, self._keys, self._now = database, folder, keys, now
        self._thread: threading.Thread | None = None
        self._stopped, self._has_asked = threading.Event(), threading.Event()
        self._refreshing = threading.Lock()
        self._lookups = Lookups(database, "routing", LOOKUP_SECONDS)
        self.credits = Lookups(database, "credit", CREDIT_SECONDS)
        """What a test call would count for."""
        self.fallbacks = Lookups(database, "fallback", LOOKUP_SECONDS)
        """Where calls lead while there is no snapshot."""
        self._no_file_before = 0.0
        self.fault = ""
        """Why the snapshot does not follow the database; empty while it does."""
        self.clock = MachineClock(now)
        self.open_calls = OpenCalls(folder / "open-calls")
        self._counts_calls = True
        self.notice = ""
        """What an operator should know of a database that is followed."""
        self._written: tuple[str, int, str] | None = None
        self._programs: OrderedDict[int, tuple[Flow, Program]] = OrderedDict()
        """By the identity of a flow, which is the same object as long as it does not change."""
        self.pool = PoolLines(self)
        self._accounts: tuple[tuple[SealedAccount, ...], Mapping[str, tuple[SignedFor, ...]]] = ((), {})
        self.unreadable_accounts: Sequence[int] = ()
        """Projects whose account's token this process cannot read: what the carrier sends for it is refused."""

    @property
    def accounts(self) -> Mapping[str, tuple[SignedFor, ...]]:
        """Of projects at the carrier, by SID; opened when the snapshot has others than before."""
        if self._thread is None and self.snapshot is None:
            self.refresh()
        return self._opened()

    def _opened(self) -> Mapping[str, tuple[SignedFor, ...]]:
        sealed = self.snapshot.accounts if self.snapshot else ()
        if sealed is not self._accounts[0]:
            opened, self.unreadable_accounts = opened_accounts(sealed, self._keys)
            self._accounts = sealed, opened
            if self.unreadable_accounts:
                log.error("carrier_accounts_unreadable", projects=self.unreadable_accounts)
        return self._accounts[1]

    def start(self, counts_calls: bool = True) -> None:
        """Follows the database from now on. A process begins by the file of its machine, so that it answers at once while the database is
        slow; without a file it waits for the database, for a while.

        Args:
            counts_calls: whether the process answers calls, for which it has to know how many are open.
        """
        self._counts_calls = counts_calls
        if self._thread is None:
            self.snapshot = self.snapshot or read_snapshot(self._folder, self._keys)
            self._thread = threading.Thread(target=self._follow, name="routing", daemon=True)
            self._thread.start()
            if self.snapshot is None:
                self._has_asked.wait(START_SECONDS)

    def _follow(self) -> None:
        self.refresh()
        self._has_asked.set()
        while not self._stopped.wait(POLL_SECONDS):
            self.refresh()

    def stop(self, wait_seconds: float = 0.0) -> None:
        """Follows no longer; a comparison that has begun may go on for so long meanwhile."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(wait_seconds)

    def refresh(self) -> None:
        """One comparison with the database. Whatever fails is said in the log, once, and the present snapshot stays."""
        with self._refreshing:
            fault, before = "", self.snapshot
            try:
                self.snapshot = refresh(self._database, before, self._now(), self._pause)
                with self._database.reading() as session:
                    if self._counts_calls:
                        self.open_calls.look(session, self._now())
                    if self.clock.is_due:
                        self.clock.measure(session)
                if before and self.snapshot.goes_back(before):
                    self.notice = (
                        f"follows the database, which was put back: from version {before.version}, seen"
                        f" {before.made_at:%Y-%m-%d %H:%M} UTC, to another state at version {self.snapshot.version}"
                    )
                    log.error("database_was_put_back", reason=self.notice)
            except SnapshotRefused as error:
                fault = str(error)
                self.open_calls.forget()  # it may be another installation's
            except Exception as error:
                fault = f"The database cannot be asked ({type(error).__name__})."
                self._lookups.pause()
                self.open_calls.forget()
                if self.snapshot is None:
                    self.snapshot = read_snapshot(self._folder, self._keys)
            if fault and fault != self.fault:
                log.error("routing_not_refreshed", reason=fault)
            if self.fault and not fault:
                self._lookups.resume()
            self.fault = fault
            self._opened()  # so that no request has to
            self._keep()

    def _pause(self) -> None:
        if self.snapshot is not None and self._thread is not None:
            time.sleep(PAGE_PAUSE_SECONDS)

    def _keep(self) -> None:
        """The file follows what this process has learned from the database."""
        present = self.snapshot
        if present is None or self.fault or self._written == present.state:
            return
        if time.monotonic() < self._no_file_before:
            return
        with suppress(OSError):
            age = time.time() - (self._folder / NEWEST).stat().st_mtime
            if 0 <= age < len(present.routes) / FILE_NUMBERS_A_SECOND:
                return
        try:
            if write_snapshot(self._folder, present, self._keys, self._pause):
                self._written = present.state
        except Exception as error:  # the thread that follows the database goes on
            log.error("snapshot_file_not_written", reason=str(error))
            self._no_file_before = time.monotonic() + FILE_PAUSE_SECONDS

    def find_route(self, call: InboundCall) -> Route | None:
        """Where a call leads; None: its number is unknown here, or the database does not answer in time. Never raises."""
        return self.known_route(call) or self._lookups.ask(lambda session: find_route_of_call(session, call), None)

    def find_flow(self, flow_id: int) -> Mapping[str, Any] | None:
        """A stored version of a flow, also one that has just been replaced; None: there is none, or the database does not answer in time.
        Never raises."""
        present = self.snapshot
        if present is not None and (flow := present.flows.get(flow_id)):
            return flow
        return self._lookups.ask(lambda session: flow_of(session, flow_id), None)

    def program_of(self, flow: Flow, fallback: str) -> Program:
        """A flow made ready to be interpreted, once in this process; of one that this program cannot read, the line `fallback` alone.
        Never raises."""
        known = self._programs.get(id(flow))
        if known is not None:
            return known[1]
        try:
            program = read_version(flow)
        except ValueError as error:
            log.error("flow_unreadable", reason=str(error)[:500])
            program = read_version(fallback_flow(fallback))
        self._programs[id(flow)] = flow, program
        while len(self._programs) > MOST_PROGRAMS:
            self._programs.popitem(last=False)
        return program

    def known_route(self, call: InboundCall) -> Route | None:
        """Where a call leads by the snapshot alone."""
        if self._thread is None and self._lookups.is_open:
            self.refresh()
        return self.snapshot.find_route_of_call(call) if self.snapshot else None


class PoolLines:
    """The lines of all tracking numbers of the server, in the form in which lines are compared."""

    def __init__(self, routing: RoutingFollower) -> None:
        self._routing = routing

    def __contains__(self, line: object) -> bool:
        routes = self._routing.snapshot.routes if self._routing.snapshot else {}
        found = (routes.get(spelling) for spelling in spellings_of_line(str(line)))
        return any(route is not None and not route.is_released for route in found)


def routing_of(server: Server) -> RoutingFollower:
    """The server's own follower, made when it is first asked for."""
    if server.routing is None:
        folder = server.settings.data_dir / "routing"
        server.routing = RoutingFollower(server.database, folder, server.keys, lambda: server.now())
    return server.routing
