"""The routing snapshot (R12): where each number leads, in the memory of each process and in a file of each machine, so that an answer to
the carrier waits for no database.

The database counts a version up whenever something changes that an answer depends on, and notes what that was. A process compares the
version once a second, and when it differs loads the routes again that the changes since then concern; all of them, when it is not known
which. What cannot be a later state of the same installation is refused, and the present snapshot stays. A number that is not in the
snapshot is looked for in the database, for a second at most.

Each version has a random token. An older version may be a replica that lags, which has the token that was seen with that version: it is
refused. Another token than was seen says that the database was put back, and went on from there: that is followed, and told.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.carriers.accounts import SealedAccount, sealed_accounts
from router.carriers.base import InboundCall
from router.db import Database, table_of
from router.lib.crypto import KeyRing
from router.statements import Row, Statement
from router.voice.blocking.rules import OPEN_TO_ALL, CallGuard
from router.voice.loading import PAGE, Changes, Company, Loaded, Pause, load_all, load_some, no_pause, read_changes
from router.voice.models import RoutingVersion
from router.voice.routing import SHARED, Route, read_days, route_values

log = structlog.get_logger(__name__)

FORMAT, FORMAT_BEFORE = 4, 3
"""Of the file; the one before, of a release that an upgrade replaced, can be read as well."""
SEEN = 200
"""So many versions are known by their tokens."""
FLOW_KEPT = timedelta(days=1)
"""For how long a version of a flow that no number has any more stays: calls that began with it go on by it."""
NEWEST, OLDER = "snapshot", "snapshot-older"
"""Files of lines: a checksum of what follows, what the snapshot is, what its numbers have in common, and the numbers, a thousand each line;
all but the first are JSON."""


Flow = Mapping[str, Any]


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
    flows: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Versions of flows by id: those that numbers have, and those that they had a day ago."""
    replaced: Mapping[int, datetime] = field(default_factory=dict)
    """Versions of flows that a number has no more, by id, with the moment since which it has not; others may have them still."""
    token: str = ""
    """Of the version; empty in a file of a program before there were tokens."""
    seen: Mapping[int, str] = field(default_factory=dict)
    """The tokens of the versions before that this one follows, as far as they are known."""
    accounts: tuple[SealedAccount, ...] = field(default=(), repr=False)
    """Of projects at the carrier; their tokens are sealed here too."""
    companies: Mapping[int, Company] = field(default_factory=dict, compare=False, repr=False)
    """What is known of projects, by id, so that their numbers go on sharing it."""

    @property
    def state(self) -> tuple[str, int, str]:
        """Equal for equal states of the database."""
        return self.installation, self.version, self.token

    def goes_back(self, before: "Snapshot") -> bool:
        """It follows a state that the database has lost."""
        return bool(before.token) and self.state != before.state and self.version <= before.version

    @property
    def loaded(self) -> Loaded:
        return Loaded(self.routes, self.flows, self.companies)

    def after(self, before: "Snapshot") -> "Snapshot":
        """This snapshot with the versions of flows that `before` had, as long as they are kept, and with the tokens that it knew."""
        since = {flow_id: before.replaced.get(flow_id, self.made_at) for flow_id in before.flows}
        since |= {route.flow_id: self.made_at for route in before.routes.values() if route.flow_id is not None}
        kept = {
            flow_id: moment
            for flow_id, moment in since.items()
            if flow_id not in self.flows and self.made_at - moment < FLOW_KEPT
        }
        flows = {flow_id: before.flows[flow_id] for flow_id in kept}
        return replace(self, flows={**flows, **self.flows}, replaced=kept, seen=before.seen_until(self.version, {}))

    def seen_until(self, version: int, more: Mapping[int, str]) -> dict[int, str]:
        """The tokens of the newest versions before one, with some that were not known."""
        seen = {**self.seen, self.version: self.token, **more}
        return dict(sorted((each, token) for each, token in seen.items() if each < version and token)[-SEEN:])

    def changed(
        self, made_at: datetime, changes: Changes, loaded: Loaded, accounts: tuple[SealedAccount, ...]
    ) -> "Snapshot":
        """This snapshot with the routes of some numbers as they are now; a number that `loaded` lacks is none of ours any more."""
        routes = dict(self.routes)
        dropped = {route.flow_id for number in changes.numbers if (route := routes.pop(number, None))}
        routes.update(loaded.routes)
        flows = {**self.flows, **loaded.flows}
        replaced = {**self.replaced, **{flow_id: made_at for flow_id in dropped if flow_id is not None}}
        expired = [flow_id for flow_id, since in replaced.items() if made_at - since >= FLOW_KEPT]
        used = {route.flow_id for route in routes.values()} if expired else set()
        for flow_id in expired:
            del replaced[flow_id]
            if flow_id not in used:
                del flows[flow_id]
        version, token = changes.newest
        return Snapshot(
            installation=self.installation,
            version=version,
            made_at=made_at,
            routes=routes,
            flows=flows,
            replaced=replaced,
            token=token,
            seen=self.seen_until(version, changes.tokens),
            accounts=accounts,
            companies={**self.companies, **loaded.companies},
        )

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


def refresh(database: Database, present: Snapshot | None, now: datetime, pause: Pause = no_pause) -> Snapshot:
    """The present snapshot when nothing has changed, else a new one. The version is read first: what changes meanwhile makes the next
    comparison differ.

    Raises:
        SnapshotRefused: another installation, an older version that may be a lagging replica's, or no numbers where there were some:
            `present` is the better one.
        SQLAlchemyError: the database cannot be asked.
    """
    with database.reading() as session:
        row = _VERSION.first(session, {})
        if row is None:
            raise SnapshotRefused("The table routing_version has lost its row: restore it from a backup.")
        if present is None:
            return _load_snapshot(session, row, now, pause)
        if tuple(row) == present.state:
            return present
        going_on = f"Calls go on by the snapshot of {present.made_at:%Y-%m-%d %H:%M} UTC."
        advice = f"{going_on} If this is meant, remove routing/{NEWEST} from the data folder and restart."
        if row.installation != present.installation:
            raise SnapshotRefused(f"The database is another installation's than before. {advice}")
        if row.version < present.version and present.seen.get(row.version, row.token) == row.token:
            reason = f"The database is at version {row.version}, and {present.version} was seen: a replica that lags, or a backup."
            raise SnapshotRefused(f"{reason} {going_on} If a backup was restored: router doctor --accept-restore")
        changes = read_changes(session, (present.version, present.token), (row.version, row.token), pause)
        if changes is None:
            later = _load_snapshot(session, row, now, pause).after(present)
        else:
            loaded = load_some(session, changes.numbers, present.loaded, pause)
            later = present.changed(now, changes, loaded, sealed_accounts(session, present.accounts))
    if present.routes and not later.routes:
        raise SnapshotRefused(f"The database has no numbers, and there were {len(present.routes)}. {advice}")
    return later


def _load_snapshot(session: Session, version: Row, now: datetime, pause: Pause) -> Snapshot:
    loaded = load_all(session, pause)
    return Snapshot(
        installation=version.installation,
        version=version.version,
        made_at=now,
        routes=loaded.routes,
        flows=loaded.flows,
        token=version.token,
        accounts=sealed_accounts(session),
        companies=loaded.companies,
    )


def write_snapshot(folder: Path, snapshot: Snapshot, keys: KeyRing, pause: Pause = no_pause) -> bool:
    """Replaces the file of this machine, unless another process has written this state or a later one. The file before is kept as the
    older one: at every moment one of them is whole. False: another process is writing.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the file that was there stays.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    turn = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without locks of folders: at the worst the older file serves
            log.warning("snapshot_file_not_locked", reason=str(error))
        installation, version, token = snapshot.state
        head = {
            "format": FORMAT,
            "key": keys.fingerprint,
            "installation": installation,
            "version": version,
            "token": token,
            "seen": list(snapshot.seen.items()),
        }
        if _is_written(folder / NEWEST, head):
            return True
        content = b"\n".join([json.dumps(head).encode(), *_lines_of(snapshot, pause)])
        temporary = folder / f"{NEWEST}-new"
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
        os.fsync(turn)
        return True
    finally:
        os.close(turn)


def _lines_of(snapshot: Snapshot, pause: Pause) -> Iterator[bytes]:
    """The routes of a snapshot: what numbers have in common once, and then the numbers by pages, each a line of JSON."""
    shared = {name: _Numbered() for name in SHARED}
    common: list[dict[str, Any]] = []
    places: dict[tuple[Any, ...], int] = {}
    numbers: list[tuple[Any, ...]] = []
    for done, route in enumerate(snapshot.routes.values(), 1):
        key = (*_COMMON_PLAIN(route), *(id(getattr(route, name)) for name in SHARED))
        place = places.get(key)
        if place is None:
            place = places[key] = len(common)
            values = {name: value for name, value in route_values(route).items() if name not in OF_A_NUMBER}
            common.append(values | {name: shared[name].place_of(getattr(route, name)) for name in SHARED})
        numbers.append((place, *_OF_A_NUMBER(route)))
        if done % PAGE == 0:
            pause()
    versions = {flow_id: shared["flow"].place_of(flow) for flow_id, flow in snapshot.flows.items()}
    yield json.dumps(
        {
            "made_at": snapshot.made_at.isoformat(),
            "versions": list(versions.items()),
            "replaced": [[flow_id, since.isoformat()] for flow_id, since in snapshot.replaced.items()],
            "flows": shared["flow"].values,
            "lines": [sorted(each) for each in shared["own_lines"].values],
            "guards": [guard.values for guard in shared["guard"].values],
            "holidays": [sorted(day.isoformat() for day in days) for days in shared["holidays"].values],
            "sounds": shared["sounds"].values,
            "common": common,
            "accounts": snapshot.accounts,
        }
    ).encode()
    for start in range(0, len(numbers), PAGE):
        yield json.dumps(numbers[start : start + PAGE]).encode()
        pause()


OF_A_NUMBER = ("number_id", "number", "static_source", "overflow")
"""What a route shares with no other one."""
_OF_A_NUMBER = attrgetter(*OF_A_NUMBER)
_COMMON_PLAIN = attrgetter(*(field.name for field in fields(Route) if field.name not in (*OF_A_NUMBER, *SHARED)))


def _is_written(path: Path, head: Mapping[str, Any]) -> bool:
    """Whether a whole file is there, of the state of which `head` tells, or of one that came after it."""
    try:
        present, _ = _parts(path.read_bytes())
    except (OSError, SnapshotUnreadable):
        return False
    if any(present[name] != head[name] for name in ("format", "key", "installation")):
        return False
    tokens = {**dict(present["seen"]), present["version"]: present["token"]}
    return bool(tokens.get(head["version"]) == head["token"])


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
    if said["format"] not in (FORMAT_BEFORE, FORMAT):
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
    first, *pages = body.split(b"\n")
    content = json.loads(first)
    flows, lines = content["flows"], [frozenset(each) for each in content["lines"]]
    guards = [CallGuard(**each) for each in content.get("guards", ())] or [OPEN_TO_ALL]  # the format before has none
    holidays = [read_days(days) for days in content.get("holidays", ())] or [frozenset()]
    sounds = content.get("sounds") or [{}]
    replaced = {flow_id: datetime.fromisoformat(since) for flow_id, since in content["replaced"]}
    versions = {flow_id: flows[place] for flow_id, place in content["versions"]}
    common = [
        each
        | {
            "hold": timedelta(seconds=each["hold"]),
            "flow": flows[each["flow"]],
            "own_lines": lines[each["own_lines"]],
            "guard": guards[each.get("guard", 0)],
            "holidays": holidays[each.get("holidays", 0)],
            "sounds": sounds[each.get("sounds", 0)],
        }
        for each in content["common"]
    ]
    routes = {}
    for page in pages:
        for place, *own in json.loads(page):
            routes[own[1]] = Route(**dict(zip(OF_A_NUMBER, own, strict=True)), **common[place])
    return Snapshot(
        installation=head["installation"],
        version=head["version"],
        made_at=datetime.fromisoformat(content["made_at"]),
        routes=routes,
        flows=versions,
        replaced=replaced,
        token=head.get("token", ""),
        seen=dict(head.get("seen", ())),
        accounts=tuple((sid, project_id, sealed) for sid, project_id, sealed in content.get("accounts", ())),
    )


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).hexdigest().encode()


class _Numbered:
    """Objects that many routes share, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[int, int] = {}

    def place_of(self, value: Any) -> int:
        if id(value) not in self._places:
            self._places[id(value)] = len(self.values)
            self.values.append(value)
        return self._places[id(value)]
