"""Worker processes that die: one process that has read the program forks a child for every life, so that a death costs little.

A child does what the worker's purchases and renewals do, with a clock that may run ahead. It kills itself with SIGKILL at the commit
that it was told, or is killed by the test when the carrier sees its request.
"""

import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from router.app import make_server
from router.config import Settings
from router.db import Database, migrate, open_engine
from router.scenarios.billing import rent
from router.scenarios.numbers.purchase import advance_due
from router.scenarios.numbers.release import advance_releases
from router.server import Server
from tests.carriers.rest import make_shop
from tests.secret import SECRET


@dataclass(frozen=True)
class Life:
    """What a child does: `do` is buy, renew or release, at each of the moments (seconds after `start`) in turn.

    It dies before its commit number `dies_at` (what the database holds is as after the one before); 0: at none.
    """

    database_url: str
    data_dir: str
    carrier_url: str
    carrier_token: str
    start: str
    do: str = "buy"
    moments: tuple[float, ...] = (0,)
    dies_at: int = 0
    patience: float = 60.0
    """How long it waits for the carrier, in seconds."""


class Nursery:
    """The process that forks, one child at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.mortal"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._child = -1
        self._ended: list[int] = []

    def live(self, life: Life) -> int:
        """Waits for the end of a life; returns what `end` does."""
        return self.begin(life).end()

    def begin(self, life: Life) -> "Nursery":
        assert self._process.stdin
        print(json.dumps(asdict(life)), file=self._process.stdin, flush=True)
        self._child = os.pidfd_open(int(self._read()))
        return self

    def end(self) -> int:
        """How the child ended: 0, or minus the signal that killed it."""
        ended = int(self._read())
        self._ended.append(self._child)  # open until the end, so that its number is not used again
        self._child = -1
        return ended

    def kill(self) -> None:
        """Kills the child that lives, if there is one."""
        with suppress(OSError):
            signal.pidfd_send_signal(self._child, signal.SIGKILL)

    def kill_in(self, seconds: float) -> None:
        """Kills the child that lives now, unless it has ended by then; never a later one."""
        child = self._child
        threading.Timer(seconds, lambda: self.kill() if child == self._child else None).start()

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
        for child in self._ended:
            os.close(child)

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


def _main() -> None:
    _warm_up()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _live(Life(**json.loads(line)))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        _say(child)
        _, status = os.waitpid(child, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(value: int) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


def _warm_up() -> None:
    """The program is read once, before any child is born."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/router.db", pool_size=1)
        migrate(database)
        database.dispose()
        for what in ("buy", "renew", "release"):
            _live(Life(database.url, folder, "http://127.0.0.1:9", "", "2026-11-23T12:00:00+00:00", what))
    open_engine("postgresql+psycopg://", 1)  # reads the driver
    gc.freeze()


def _live(life: Life) -> None:
    server = _server(life)
    if life.dies_at:
        _die(server.database.engine, life)
    rent.RENEWED_AT_ONCE = 2  # several transactions for few numbers
    steps: dict[str, Any] = {"buy": advance_due, "renew": rent.renew_due, "release": advance_releases}
    start = datetime.fromisoformat(life.start)
    for seconds in life.moments:
        while steps[life.do](server, start + timedelta(seconds=seconds)):
            pass
    server.database.dispose()


def _server(life: Life) -> Server:
    settings = Settings(
        data_dir=Path(life.data_dir), database_url=life.database_url, secret_key=SECRET, twilio_auth_token=SECRET
    )
    server = make_server(settings)
    server.shop = make_shop(life.carrier_url, life.patience, life.carrier_token)
    return server


def _die(engine: Any, life: Life) -> None:
    """Kills this process before its n-th commit of something that it wrote, whichever thread makes it."""
    commits = itertools.count(1)

    def executed(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["wrote"] = True

    def committing(connection: Any) -> None:
        if connection.info.pop("wrote", False) and next(commits) == life.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "commit", committing)


if __name__ == "__main__":
    _main()
