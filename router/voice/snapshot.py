"""The routing snapshot (R12): where each number leads, in the memory of each process and in a file of each machine, so that an answer to
the carrier waits for no database.

The database counts a version up whenever something changes that an answer depends on. A process compares it once a second, and loads all
routes again when it differs. What cannot be a later state of the same installation is refused, and the present snapshot stays.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.carriers.base import InboundCall
from router.db import Database, Statement, table_of
from router.lib.crypto import KeyRing
from router.voice.models import RoutingVersion
from router.voice.routing import Route, every_route

log = structlog.get_logger(__name__)

FORMAT = 1
"""Of the file."""
NEWEST, OLDER = "snapshot.json", "snapshot-older.json"


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

    def find_route_of_call(self, call: InboundCall) -> Route | None:
        """The route of the number that was dialled, as `routing.find_route_of_call` finds it in the database."""
        for number in (call.number_e164 or call.to, *call.other_readings):
            if route := self.routes.get(number):
                return route
        ours = {number for number in call.readings_anywhere if number in self.routes}
        return self.routes[ours.pop()] if len(ours) == 1 else None


_VERSION = Statement(
    lambda _: select(table_of(RoutingVersion).c["installation"], table_of(RoutingVersion).c["version"]).limit(1)
)


def load_snapshot(session: Session, now: datetime) -> Snapshot:
    """The state of the database. The version is read first: what changes meanwhile makes the next comparison differ."""
    row = _VERSION.first(session, {})
    if row is None:
        raise SnapshotRefused("The database has no routing version. Run `router migrate`.")
    routes: dict[str, Route] = {}
    for route in every_route(session):
        routes.setdefault(route.number, route)
    return Snapshot(row.installation, row.version, now, routes)


def refresh(database: Database, present: Snapshot | None, now: datetime) -> Snapshot:
    """The present snapshot when nothing has changed, else a new one.

    Raises:
        SnapshotRefused: another installation, an older version, or no numbers where there were some: `present` is the better one.
        SQLAlchemyError: the database cannot be asked.
    """
    with database.reading() as session:
        row = _VERSION.first(session, {})
        if present and row and (row.installation, row.version) == (present.installation, present.version):
            return present
        later = load_snapshot(session, now)
    if present is not None:
        _refuse_unless_later(present, later)
    return later


def _refuse_unless_later(present: Snapshot, later: Snapshot) -> None:
    advice = f"Calls go on by the snapshot of {present.made_at:%Y-%m-%d %H:%M} UTC. If this is meant, remove {NEWEST} and restart."
    if later.installation != present.installation:
        raise SnapshotRefused(f"The database is another installation's than before. {advice}")
    if later.version < present.version:
        reason = f"The database is at version {later.version}, and {present.version} was seen: a replica that lags, or a backup."
        raise SnapshotRefused(f"{reason} {advice}")
    if present.routes and not later.routes:
        raise SnapshotRefused(f"The database has no numbers, and there were {len(present.routes)}. {advice}")


PLAIN = [field.name for field in fields(Route) if field.name not in ("hold", "flow", "own_lines")]
"""What a number's entry in the file says by itself; flows and lines are written once."""


def write_snapshot(folder: Path, snapshot: Snapshot, keys: KeyRing) -> None:
    """Replaces the file of this machine in one step; the one before is kept as the older one.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the file that was there stays.
    """
    flows, lines = _Numbered(), _Numbered()
    numbers = [
        {name: getattr(route, name) for name in PLAIN}
        | {
            "hold": route.hold.total_seconds(),
            "flow": flows.number_of(route.flow),
            "own_lines": lines.number_of(route.own_lines),
        }
        for route in snapshot.routes.values()
    ]
    body = json.dumps(
        {
            "installation": snapshot.installation,
            "version": snapshot.version,
            "made_at": snapshot.made_at.isoformat(),
            "flows": flows.values,
            "lines": [sorted(each) for each in lines.values],
            "numbers": numbers,
        }
    ).encode()
    head = {"format": FORMAT, "key": keys.fingerprint, "checksum": _checksum(body)}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder / f"{NEWEST}.{os.getpid()}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            _keep_older(folder)
        os.replace(temporary, folder / NEWEST)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_older(folder: Path) -> None:
    """By a second name, so that there is a newest file at every moment."""
    second = folder / f"{OLDER}.{os.getpid()}"
    second.unlink(missing_ok=True)
    os.link(folder / NEWEST, second)
    os.replace(second, folder / OLDER)


def read_snapshot(folder: Path, keys: KeyRing) -> Snapshot | None:
    """The newest snapshot of this machine's files that can be read; None: there is none. Says in the log why a file is passed over."""
    for name in (NEWEST, OLDER):
        try:
            return parse_snapshot((folder / name).read_bytes(), keys)
        except FileNotFoundError:
            continue
        except (OSError, SnapshotUnreadable) as error:
            log.error("snapshot_file_unreadable", file=name, reason=str(error))
    return None


def parse_snapshot(data: bytes, keys: KeyRing) -> Snapshot:
    """
    Raises:
        SnapshotUnreadable: it is damaged, of another format, or made under another key.
    """
    first, _, body = data.partition(b"\n")
    try:
        head = json.loads(first)
        is_whole = head["checksum"] == _checksum(body)
    except (ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise SnapshotUnreadable("it is damaged")
    if head["format"] != FORMAT:
        raise SnapshotUnreadable(f"its format is {head['format']}, this program reads {FORMAT}")
    if head["key"] not in keys.fingerprints:
        raise SnapshotUnreadable("it was made under another ROUTER_SECRET_KEY")
    content = json.loads(body)
    lines = [frozenset(each) for each in content["lines"]]
    routes = (
        Route(
            **{
                **entry,
                "hold": timedelta(seconds=entry["hold"]),
                "flow": content["flows"][entry["flow"]],
                "own_lines": lines[entry["own_lines"]],
            }
        )
        for entry in content["numbers"]
    )
    made_at = datetime.fromisoformat(content["made_at"])
    return Snapshot(content["installation"], content["version"], made_at, {route.number: route for route in routes})


def _checksum(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


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
