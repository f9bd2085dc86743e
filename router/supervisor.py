"""Runs the processes of one machine together: web, worker and whatever else a command adds. A process that dies is started again."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import structlog

POLL_SECONDS = 0.2
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
LONG_LIFE = 10.0
STOP_SECONDS = 60.0
PR_SET_PDEATHSIG = 1
BACKLOG = 2048

log = structlog.get_logger(__name__)


class PortTaken(Exception):
    """Another program listens where ours should; the message says what to do."""


def claim_port(host: str, port: int) -> socket.socket:
    """Listens at the address before anything is started or said: no other program can take the port while web processes start, or start
    again, and they answer whoever connects meanwhile.

    Raises:
        PortTaken: another program listens there, or this machine has no such address.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        return listening
    except OSError as error:
        listening.close()
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise PortTaken(f"{host}:{port} {why}. Another port: ROUTER_PORT={port % 65535 + 1}") from None


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def web_command(application: str, listening: socket.socket | None = None) -> list[str]:
    """`listening`: what `claim_port` gave; without it gunicorn takes the address of the settings itself."""
    claimed = [] if listening is None else ["--bind", f"fd://{listening.fileno()}"]
    return python("-m", "gunicorn", "--config", "python:router.gunicorn_config", *claimed, application)


def die_with_parent() -> None:
    """A supervisor that is killed leaves nobody behind who holds the port (Linux; elsewhere children outlive it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One process, with the pause before it may start again. It has our `descriptors`, by their numbers."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], descriptors: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environ = dict(environ)
        self.descriptors = list(descriptors)
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.again_at: float | None = None
        self.pause = SHORTEST_PAUSE

    def start(self) -> None:
        """In a group of its own: Ctrl-C reaches the supervisor alone, because gunicorn's workers hang when they are told twice."""
        self.process = subprocess.Popen(  # noqa: S603 - our own commands, and one thread
            self.command,
            env=self.environ,
            preexec_fn=die_with_parent,
            process_group=0,
            pass_fds=self.descriptors,
        )
        self.started, self.again_at = time.monotonic(), None

    def start_again_if_dead(self) -> None:
        """At once after a life of some length, after a growing pause when the process dies as soon as it starts."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        if self.again_at is None:
            log.error("process_died", process=self.name, code=self.process.returncode)
            if now - self.started > LONG_LIFE:
                self.again_at, self.pause = now, SHORTEST_PAUSE
            else:
                self.again_at, self.pause = now + self.pause, min(self.pause * 2, LONGEST_PAUSE)
        if self.again_at is not None and now >= self.again_at:
            self.start()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, until: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def supervise(
    commands: Mapping[str, Sequence[str]],
    environ: Mapping[str, str] | None = None,
    listening: socket.socket | None = None,
) -> None:
    """Starts the processes and keeps them running until SIGTERM or SIGINT; then ends them all and waits. `web` listens at `listening`."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    with tempfile.TemporaryDirectory(prefix="router-metrics-") as metrics:
        environment = {**os.environ, **(environ or {}), "PROMETHEUS_MULTIPROC_DIR": metrics}
        claimed = {"web": [listening.fileno()]} if listening else {}
        children = [Child(name, command, environment, claimed.get(name, ())) for name, command in commands.items()]
        for child in children:
            child.start()
        while not stopping:
            time.sleep(POLL_SECONDS)
            for child in children:
                child.start_again_if_dead()
        if listening:
            listening.close()  # what nobody will answer is refused at once
        for child in children:
            child.end()
        until = time.monotonic() + STOP_SECONDS
        for child in children:
            child.wait(until)
