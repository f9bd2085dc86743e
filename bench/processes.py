"""Starts servers as in production: gunicorn with the product's own settings, below the product's supervisor, without a worker."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from router.config import read_settings
from router.supervisor import SENDING_THREADS, TELEPHONE, WEB, Command, Holdings, hold_services, supervise, web_command

APPLIER = "applier"
TOKEN = "bench-twilio-token"
SECRET = "bench-secret-key-0123456789"
BASE_URL = "https://calls.example.net"
PROCESSES = 2
START_SECONDS = 60


@dataclass(frozen=True)
class Running:
    name: str
    port: int
    pid: int
    database_url: str


def environment(database_url: str, folder: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTER_", "TWILIO_"))}
    return kept | {
        "ROUTER_DATABASE_URL": database_url,
        "ROUTER_DATA_DIR": str(folder),
        "ROUTER_SECRET_KEY": SECRET,
        "ROUTER_PUBLIC_URL": BASE_URL,
        "ROUTER_PORT": str(port),
        "ROUTER_VISIT_RATE": "off",
        "ROUTER_WEB_WORKERS": str(PROCESSES),
        "ROUTER_TELEPHONE_WORKERS": str(PROCESSES),
        "ROUTER_LOG_LEVEL": "warning",
        "TWILIO_AUTH_TOKEN": TOKEN,
    }


@contextlib.contextmanager
def serving(
    name: str, application: str, database_url: str, folder: Path, parts: Sequence[str] = (WEB,), **more: str
) -> Iterator[Running]:
    """A server on a free port of 127.0.0.1, stopped at the end.

    Args:
        parts: its processes: web, or telephone, and applier.
        more: its environment beside the usual.
    """
    code = f"from bench.processes import serve; serve({application!r}, {tuple(parts)!r})"
    with running(name, [sys.executable, "-c", code], database_url, folder, **more) as server:
        yield server


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str], database_url: str, folder: Path, cwd: Path | None = None, **more: str
) -> Iterator[Running]:
    """A program that serves at the port of its settings, from its first answer until the end of the block."""
    port = _free_port()
    process = subprocess.Popen(command, env=environment(database_url, folder / name, port) | more, cwd=cwd)
    try:
        _wait_until_up(process, port)
        yield Running(name, port, process.pid, database_url)
    finally:
        process.terminate()
        process.wait(30)


def serve(application: str, parts: Sequence[str]) -> None:
    """In the process of a server: its parts as `router serve` starts them."""
    settings = read_settings()
    if TELEPHONE not in parts:
        supervise({WEB: web_command(application)}, holdings=Holdings({}))
        return
    holdings = hold_services(settings.host, settings.port)
    sockets = holdings.listening[TELEPHONE]
    commands = {TELEPHONE: web_command(application, sockets, settings.telephone_workers, SENDING_THREADS)}
    if APPLIER in parts:
        commands[APPLIER] = Command("router.cli:main", ("applier",))
    supervise(commands, holdings=holdings)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit("bench: a server did not start")


def cpu_seconds(root: int) -> float:
    """What a process and all below it have taken of the processors so far: it tells of the work itself, however busy the machine is."""
    return sum(_own_seconds(pid) for pid in [root, *_below(root)])


def cpu_of_database(url: str) -> float:
    """The same of PostgreSQL's processes that serve a database at present; SQLite has none."""
    if url.startswith("sqlite"):
        return 0.0
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()").fetchall()
        return sum(_own_seconds(pid) for (pid,) in rows if pid != connection.info.backend_pid)


def cpu_of_cluster(url: str) -> float:
    """What PostgreSQL's processes have taken so far, those that have ended too; 0 for SQLite. Of all databases of the cluster."""
    if url.startswith("sqlite"):
        return 0.0
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        backend = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    postmaster = int(backend[1])
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return cpu_seconds(postmaster) + ended


def _below(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    return children + [one for child in children for one in _below(child)]


def _own_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
