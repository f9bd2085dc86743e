"""`router serve` as an operator runs it: a process of its own on a free port, asked over HTTP."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from twilio.request_validator import RequestValidator

from router.lib.http_client import trusted_authorities
from tests.secret import SECRET
from tests.waiting import eventually

CARRIER_TOKEN = "test-twilio-token"
FALLBACK = "+14155550199"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTER_", "TWILIO_"))}
    given = {
        "ROUTER_DATA_DIR": str(folder),
        "ROUTER_SECRET_KEY": SECRET,
        "TWILIO_AUTH_TOKEN": CARRIER_TOKEN,
        "ROUTER_FALLBACK_DESTINATION": FALLBACK,
        "ROUTER_VISIT_RATE": "off",
        "ROUTER_ALLOW_PRIVATE": "127.0.0.0/8",
    }
    return kept | given | more


AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="router.socket")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Starts a program with a socket as systemd does for a socket unit."""


class Running:
    """A server that runs. Its output stands in `log`. `activated`: it is given a socket that listens already, as by systemd."""

    def __init__(self, folder: Path, *arguments: str, activated: socket.socket | None = None, **environ: str) -> None:
        self.port = activated.getsockname()[1] if activated else free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environment(folder, ROUTER_PORT=str(self.port), **environ)
        self.log = folder.parent / f"log-{self.port}"
        self.validator = RequestValidator(CARRIER_TOKEN)
        self._arguments, self._activated = arguments, activated
        self.log.write_text("")
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """The server's first process, which also becomes `process` when the one before it is gone."""
        activated = self._activated
        launcher = ["-c", AS_SYSTEMD, str(activated.fileno())] if activated else []
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, *launcher, "-m", "router", "serve", *self._arguments],
                env=self.environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[activated.fileno()] if activated else [],
            )
        return self.process

    @property
    def output(self) -> str:
        return self.log.read_text()

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=20, verify=trusted_authorities(), **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=20, verify=trusted_authorities(), **more)

    def carrier(self, path: str, **form: str) -> httpx.Response:
        signature = self.validator.compute_signature(self.url + path, form)
        return self.post(path, data=form, headers={"X-Twilio-Signature": signature})

    def dial(self, number: str, sid: str, caller: str = "+14155550177") -> httpx.Response:
        return self.carrier("/voice/inbound", CallSid=sid, To=number, From=caller, CallStatus="ringing")

    def wait_until_healthy(self) -> None:
        eventually(lambda: self.get("/healthz").status_code == 200, 120)

    def set_up_link(self) -> str:
        found = eventually(lambda: re.search(r"http://127\.0\.0\.1:\d+(/set-up/\S+)", self.output))
        return str(found.group(1))

    def children(self) -> dict[str, int]:
        """Process ids of gunicorn's masters, the applier and the worker, by the service or the command."""
        return {_name_of(pid): pid for pid in self.members() if _parent_of(pid) == self.process.pid}

    def workers(self, service: str) -> list[int]:
        """Process ids of the workers below a service's present master."""
        master = self.children().get(service, 0)
        return [pid for pid in self.members() if _parent_of(pid) == master]

    def members(self) -> list[int]:
        """All processes of this server that live."""
        pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in pids if _session_of(pid) == self.process.pid and _lives(pid)]

    def stop(self, seconds: float = 30) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _name_of(pid: int) -> str:
    """By its title: `router: applier`, `gunicorn: master [web]`."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return "gone"
    named = re.match(r"router: (\w+)|gunicorn: master \[(\w+)\]", title)
    return named[named.lastindex or 0] if named else "starting"


def _lives(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _parent_of(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields and fields[0] != "Z" else 0


def _session_of(pid: int) -> int:
    """Asked of the kernel: to read every process's file again and again takes longer than what is waited for."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


@contextmanager
def running(folder: Path, *arguments: str, activated: socket.socket | None = None, **environ: str) -> Iterator[Running]:
    """A server that answers; nothing of it is left at the end."""
    server = Running(folder, *arguments, activated=activated, **environ)
    try:
        server.wait_until_healthy()
        yield server
    finally:
        for pid in server.members():
            os.kill(pid, signal.SIGKILL)
        server.process.wait(10)
