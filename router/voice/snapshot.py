"""The routing snapshot (R12): where each number leads, in the memory of each process and in a file of each machine, so that an answer to
the carrier waits for no database.

The database counts a version up whenever something changes that an answer depends on. A process compares it once a second, and loads all
routes again when it differs. What cannot be a later state of the same installation is refused, and the present snapshot stays. A number
that is not in the snapshot is looked for in the database, for a second at most.

Each version has a random token. An older version may be a replica that lags, which has the token that was seen with that version: it is
refused. Another token than was seen says that the database was put back, and went on from there: that is followed, and told.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.carriers.base import InboundCall
from router.db import Database, Statement, table_of
from router.lib.crypto import KeyRing
from router.server import Server
from router.voice.clocks import MachineClock
from router.voice.journal import sync_folder
from router.voice.lookups import Lookups
from router.voice.models import RoutingVersion
from router.voice.routing import Route, every_route, find_route_of_call, flow_of, read_route, route_values

log = structlog.get_logger(__name__)

FORMAT = 2
"""Of the file."""
SEEN = 200
"""So many versions are known by their tokens."""
FLOW_KEPT = timedelta(days=1)
"""For how long a version of a flow that no number has any more stays: calls that began with it go on by it."""
NEWEST, OLDER = "snapshot", "snapshot-older"
"""Files of three lines: a checksum of what follows, what the snapshot is, and its routes, both as JSON."""


class SnapshotRefused(Exception):
    """The database says something that cannot follow the present snapshot; the message says what an operator has to do."""


class SnapshotUnreadable(Exception):
    """A file is no snapshot of this server: damaged, of another format, or made under another key."""


@dataclass(frozen=True)
class Snapshot:
    """All that an answer needs of the database, at one moment."""

    installation: str
    """Of the database: a UUID."""
    version: int
    made_at: datetime
    routes: Mapping[str, Route]
    """By the number's E.164 form, as it stands in the table."""
    replaced: Mapping[int, tuple[Mapping[str, Any], datetime]] = field(default_factory=dict)
    """Versions of flows that no number has any more, by id, with the moment since which none has."""
    token: str = ""
    """Of the version; empty in a file of a program before there were tokens."""
    seen: Mapping[int, str] = field(default_factory=dict)
    """The tokens of the versions before that this one follows, as far as they were seen."""

    @property
    def state(self) -> tuple[str, int, str]:
        """Equal for equal states of the database."""
        return self.installation, self.version, self.token

    def goes_back(self, before: "Snapshot") -> bool:
        """It follows a state that the database has lost."""
        return bool(before.token) and self.state != before.state and self.version <= before.version

    @cached_property
    def flows(self) -> Mapping[int, Mapping[str, Any]]:
        """All versions of flows by id."""
        used = {route.flow_id: route.flow for route in self.routes.values() if route.flow_id is not None}
        return {flow_id: flow for flow_id, (flow, _) in self.replaced.items()} | used

    def after(self, before: "Snapshot") -> "Snapshot":
        """This snapshot with the versions of flows that `before` had, as long as they are kept, and with the tokens that it knew."""
        seen = {
            version: token
            for version, token in [*before.seen.items(), (before.version, before.token)]
            if version < self.version and token
        }
        replaced = dict(before.replaced) | {
            flow_id: (flow, self.made_at) for flow_id, flow in before.flows.items() if flow_id not in before.replaced
        }
        kept = {
            flow_id: (flow, since)
            for flow_id, (flow, since) in replaced.items()
            if flow_id not in self.flows and self.made_at - since < FLOW_KEPT
        }
        return replace(self, replaced=kept, seen=dict(sorted(seen.items())[-SEEN:]))

    def find_route_of_call(self, call: InboundCall) -> Route | None:
        """The route of the number that a call belongs to, as `routing.find_route_of_call` finds it in the database."""
        for number in (call.number_e164 or call.to, *call.other_readings):
            if route := self.routes.get(number):
                return route
        ours = {number for number in call.readings_anywhere if number in self.routes}
        if len(ours) == 1:
            return self.routes[ours.pop()]
        return self.routes.get(call.forwarded_from) if call.forwarded_from else None


_VERSION = Statement(
    lambda _: select(*(table_of(RoutingVersion).c[name] for name in ("installation", "version", "token"))).limit(1)
)


def load_snapshot(session: Session, now: datetime) -> Snapshot:
    """The state of the database. The version is read first: what changes meanwhile makes the next comparison differ."""
    row = _VERSION.first(session, {})
    if row is None:
        raise SnapshotRefused("The table routing_version has lost its row: restore it from a backup.")
    routes: dict[str, Route] = {}
    for route in every_route(session):
        routes.setdefault(route.number, route)
    return Snapshot(row.installation, row.version, now, routes, token=row.token)


def refresh(database: Database, present: Snapshot | None, now: datetime) -> Snapshot:
    """The present snapshot when nothing has changed, else a new one.

    Raises:
        SnapshotRefused: another installation, an older version that may be a lagging replica's, or no numbers where there were some:
            `present` is the better one.
        SQLAlchemyError: the database cannot be asked.
    """
    with database.reading() as session:
        row = _VERSION.first(session, {})
        if present and row and tuple(row) == present.state:
            return present
        later = load_snapshot(session, now)
    if present is None:
        return later
    going_on = f"Calls go on by the snapshot of {present.made_at:%Y-%m-%d %H:%M} UTC."
    advice = f"{going_on} If this is meant, remove routing/{NEWEST} from the data folder and restart."
    if later.installation != present.installation:
        raise SnapshotRefused(f"The database is another installation's than before. {advice}")
    if later.version < present.version and present.seen.get(later.version, later.token) == later.token:
        reason = f"The database is at version {later.version}, and {present.version} was seen: a replica that lags, or a backup."
        raise SnapshotRefused(f"{reason} {going_on} If a backup was restored: router doctor --accept-restore")
    if present.routes and not later.routes:
        raise SnapshotRefused(f"The database has no numbers, and there were {len(present.routes)}. {advice}")
    return later.after(present)


def write_snapshot(folder: Path, snapshot: Snapshot, keys: KeyRing) -> None:
    """Replaces the file of this machine; the one before is kept as the older one. At every moment one of them is whole.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the file that was there stays.
    """
    if _version_of(folder / NEWEST) == _version(snapshot, keys):
        return  # another process of this machine was faster
    flows, lines = _Numbered(), _Numbered()
    numbers = [
        route_values(route) | {"flow": flows.number_of(route.flow), "own_lines": lines.number_of(route.own_lines)}
        for route in snapshot.routes.values()
    ]
    body = json.dumps(
        {
            "made_at": snapshot.made_at.isoformat(),
            "flows": flows.values,
            "lines": [sorted(each) for each in lines.values],
            "numbers": numbers,
            "replaced": [[flow_id, flow, since.isoformat()] for flow_id, (flow, since) in snapshot.replaced.items()],
            "seen": list(snapshot.seen.items()),
        }
    ).encode()
    head = json.dumps({"format": FORMAT, **_version(snapshot, keys)}).encode()
    content = head + b"\n" + body
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder / f"{NEWEST}.{os.getpid()}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_checksum(content) + b"\n" + content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.replace(folder / NEWEST, folder / OLDER)  # which serves until the next line
        os.replace(temporary, folder / NEWEST)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)


def _version(snapshot: Snapshot, keys: KeyRing) -> dict[str, Any]:
    installation, version, token = snapshot.state
    return {"key": keys.fingerprint, "installation": installation, "version": version, "token": token}


def _version_of(path: Path) -> dict[str, Any] | None:
    """Of a file; None when it is not there or cannot be read."""
    try:
        head, _ = _parts(path.read_bytes())
        return {name: head.get(name) for name in ("key", "installation", "version", "token")}
    except (OSError, SnapshotUnreadable):
        return None


def read_snapshot(folder: Path, keys: KeyRing) -> Snapshot | None:
    """The newest snapshot of this machine's files that can be read; None: there is none. Says in the log why a file is passed over."""
    for name in (NEWEST, OLDER):
        try:
            return parse_snapshot((folder / name).read_bytes(), keys)
        except FileNotFoundError:
            continue
        except (OSError, SnapshotUnreadable) as error:
            log.error("snapshot_file_unreadable", file=name, reason=str(error))
        except Exception:  # whatever another program has written there, this one starts
            log.exception("snapshot_file_unreadable", file=name)
    return None


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """What a snapshot is, and its routes as they stand in the file."""
    checksum, _, content = data.partition(b"\n")
    if checksum != _checksum(content):
        raise SnapshotUnreadable("it is damaged")
    head, _, body = content.partition(b"\n")
    said: dict[str, Any] = json.loads(head)
    if said["format"] != FORMAT:
        raise SnapshotUnreadable(f"its format is {said['format']}, this program reads {FORMAT}")
    return said, body


def parse_snapshot(data: bytes, keys: KeyRing) -> Snapshot:
    """
    Raises:
        SnapshotUnreadable: it is damaged, of another format, or made under another key.
    """
    head, body = _parts(data)
    if head["key"] not in keys.fingerprints:
        raise SnapshotUnreadable("it was made under another ROUTER_SECRET_KEY")
    content = json.loads(body)
    lines = [frozenset(each) for each in content["lines"]]
    routes = (
        read_route(entry, content["flows"][entry["flow"]], lines[entry["own_lines"]]) for entry in content["numbers"]
    )
    made_at = datetime.fromisoformat(content["made_at"])
    replaced = {flow_id: (flow, datetime.fromisoformat(since)) for flow_id, flow, since in content["replaced"]}
    return Snapshot(
        head["installation"],
        head["version"],
        made_at,
        {route.number: route for route in routes},
        replaced,
        head.get("token", ""),
        dict(content.get("seen", ())),
    )


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).hexdigest().encode()


POLL_SECONDS = 1.0
LOOKUP_SECONDS = 1.0
"""For a number, or a version of a flow, that the snapshot lacks."""
CREDIT_SECONDS = 0.3
"""For what a flow wants to know."""
START_SECONDS = 5.0
"""How long a process waits for its first snapshot, where the machine has none. Then it answers by look-ups."""
FILE_PAUSE_SECONDS = 60.0
"""Between two tries to write the file."""


class RoutingFollower:
    """Keeps the snapshot of a process up to date: by a thread once `start` was called, else whenever a route is asked for."""

    def __init__(self, database: Database, folder: Path, keys: KeyRing, now: Callable[[], datetime]) -> None:
        self.snapshot: Snapshot | None = None
        self._database, self._folder, self._keys, self._now = database, folder, keys, now
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._has_asked = threading.Event()
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
        self.notice = ""
        """What an operator should know of a database that is followed."""
        self._written: tuple[str, int, str] | None = None

    def start(self) -> None:
        """Follows the database from now on. A process begins by the file of its machine, so that it answers at once while the database is
        slow; without a file it waits for the database, for a while."""
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

    def stop(self) -> None:
        self._stopped.set()

    def refresh(self) -> None:
        """One comparison with the database. Whatever fails is said in the log, once, and the present snapshot stays."""
        with self._refreshing:
            fault, before = "", self.snapshot
            try:
                self.snapshot = refresh(self._database, before, self._now())
                if self.clock.is_due:
                    with self._database.reading() as session:
                        self.clock.measure(session)
                if before and self.snapshot.goes_back(before):
                    self.notice = (
                        f"follows the database, which was put back: from version {before.version}, seen"
                        f" {before.made_at:%Y-%m-%d %H:%M} UTC, to another state at version {self.snapshot.version}"
                    )
                    log.error("database_was_put_back", reason=self.notice)
            except SnapshotRefused as error:
                fault = str(error)
            except Exception as error:
                fault = f"The database cannot be asked ({type(error).__name__})."
                self._lookups.pause()
                if self.snapshot is None:
                    self.snapshot = read_snapshot(self._folder, self._keys)
            if fault and fault != self.fault:
                log.error("routing_not_refreshed", reason=fault)
            if self.fault and not fault:
                self._lookups.resume()
            self.fault = fault
            self._keep()

    def _keep(self) -> None:
        """The file follows what this process has learned from the database."""
        present = self.snapshot
        if present is None or self.fault or self._written == present.state:
            return
        if time.monotonic() < self._no_file_before:
            return
        try:
            write_snapshot(self._folder, present, self._keys)
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

    def known_route(self, call: InboundCall) -> Route | None:
        """Where a call leads by the snapshot alone."""
        if self._thread is None and self._lookups.is_open:
            self.refresh()
        return self.snapshot.find_route_of_call(call) if self.snapshot else None


def routing_of(server: Server) -> RoutingFollower:
    """The server's own follower, made when it is first asked for."""
    if server.routing is None:
        folder = server.settings.data_dir / "routing"
        server.routing = RoutingFollower(server.database, folder, server.keys, lambda: server.now())
    return server.routing


class _Numbered:
    """Objects that many routes share, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number_of(self, value: Any) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.values)
            self.values.append(value)
        return self._numbers[id(value)]
