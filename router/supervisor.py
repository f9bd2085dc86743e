"""Runs the processes of one machine together: telephone, web, worker and whatever else a command adds. A process that dies is started
again, and on SIGHUP the program is started anew while the old processes still answer.

The listening sockets are the supervisor's: whoever connects while a service has no process waits, and is not refused. Processes are forks
of the supervisor, which has read the program: they start at once and share its memory. The supervisor has one thread and no connection.
"""

import ctypes
import errno
import gc
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType

import structlog
from setproctitle import setproctitle

POLL_SECONDS = 0.2
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 2.0
LONG_LIFE = 10.0
TRIAL_SECONDS = 120.0
"""How long a new program may take to say that it could start."""
STOP_SECONDS = 60.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
BACKLOG = 2048
ENDS_LAST = ("applier",)
"""What carries on the work of the others ends when they have ended."""
FIRST_DESCRIPTOR_OF_SYSTEMD = 3

TELEPHONE, WEB = "telephone", "web"
SERVICE, SERVICES_FOLDER = "ROUTER_SERVICE", "ROUTER_SERVICES"
"""Environment: the service that a process is one of, and the folder where each service has a socket of its name."""
SUPERVISOR = "ROUTER_SUPERVISOR"
"""Environment: our process id. Workers whose master died become our children, and serve on until others have taken over."""
METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment: the folder where the processes' counters stand, so that they are summed over all of them. prometheus_client looks at it when
it is imported."""
READY = "ROUTER_READY"
"""Environment: the descriptor where a process that can take requests writes a byte."""
TAKEOVER = "ROUTER_TAKEOVER"
"""Environment: what the program before us, in this same process, held; as `Holdings.handed_on` writes it."""

log = structlog.get_logger(__name__)


class PortTaken(Exception):
    """There is nothing to listen at; the message says why and what to do."""


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


def sockets_of_systemd() -> list[socket.socket]:
    """What systemd listens at for this process; nothing when it does not.

    Raises:
        PortTaken: a socket is not one for TCP.
    """
    amount = int(os.environ.get("LISTEN_FDS", "0")) if os.environ.get("LISTEN_PID") == str(os.getpid()) else 0
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    descriptors = range(FIRST_DESCRIPTOR_OF_SYSTEMD, FIRST_DESCRIPTOR_OF_SYSTEMD + amount)
    given = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for one in given:
        is_tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
        if not is_tcp or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            for other in given:
                other.close()
            raise PortTaken(
                "systemd gave a socket that does not listen for TCP: ListenStream= takes an address and a port"
            )
    return given


class Holdings:
    """What outlives the processes, and is handed on when the program starts anew: by the names of commands the sockets where they listen
    and the leaders of processes that were started for them; and a folder for what lives as long as we do."""

    def __init__(
        self,
        listening: Mapping[str, Sequence[socket.socket]],
        folder: Path | None = None,
        former: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.listening = {name: list(sockets) for name, sockets in listening.items()}
        self.folder = folder or Path(tempfile.mkdtemp(prefix="router-"))
        self.former = dict(former or {})
        metrics = self.folder / "metrics"
        metrics.mkdir(exist_ok=True)
        os.environ[METRICS] = str(metrics)

    def add_service(self, name: str) -> None:
        """A socket in the folder, where the other services hand connections over."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.bind(str(self.folder / name))
        sock.listen(BACKLOG)
        self.listening.setdefault(name, []).append(sock)

    def is_service(self, name: str) -> bool:
        return (self.folder / name).is_socket()

    def handed_on(self, former: Mapping[str, Sequence[int]]) -> str:
        """For the next program in this process, which inherits the sockets."""
        for sockets in self.listening.values():
            for one in sockets:
                one.set_inheritable(True)
        descriptors = {name: [one.fileno() for one in sockets] for name, sockets in self.listening.items()}
        return json.dumps({"listening": descriptors, "folder": str(self.folder), "former": dict(former)})

    @classmethod
    def received(cls, text: str) -> "Holdings":
        values = json.loads(text)
        listening = {
            name: [socket.socket(fileno=descriptor) for descriptor in descriptors]
            for name, descriptors in values["listening"].items()
        }
        for sockets in listening.values():
            for one in sockets:
                one.set_inheritable(False)
        return cls(listening, Path(values["folder"]), values["former"])

    def leave_to(self, name: str) -> None:
        """In the process of that name: its sockets are its own by their numbers, and those of others are not there."""
        for one in self.listening.pop(name, ()):
            one.detach()
        self.close_sockets()

    def close_sockets(self) -> None:
        for sockets in self.listening.values():
            for one in sockets:
                one.close()

    def close(self) -> None:
        self.close_sockets()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.environ.pop(METRICS, None)


def hold_services(host: str, port: int) -> Holdings:
    """For telephone and web behind one port: what the program before us held, or systemd does; otherwise the port is claimed. The
    telephone listens there, and hands to the web what is not for it.

    Raises:
        PortTaken: nobody can listen there.
    """
    if TAKEOVER in os.environ:
        return Holdings.received(os.environ.pop(TAKEOVER))
    holdings = Holdings({TELEPHONE: sockets_of_systemd() or [claim_port(host, port)]})
    for name in (TELEPHONE, WEB):
        holdings.add_service(name)
    return holdings


@dataclass(frozen=True)
class Command:
    """A program within this one: `module:function`, which reads its arguments from the command line."""

    path: str
    arguments: tuple[str, ...] = ()
    niceness: int = 0
    """How far it makes way for others where processors are scarce, from 0 to 19 (nice(2))."""

    def run(self) -> None:
        os.nice(self.niceness)
        module, function = self.path.split(":")
        sys.argv = [module, *self.arguments]
        getattr(import_module(module), function)()


SENDING_THREADS = 4
BEHIND_CALLS = 5
"""The niceness of processes that no caller waits for: pages and deliveries have a third of a telephone process's share of a processor."""


def web_command(
    application: str,
    listening: Sequence[socket.socket] = (),
    workers: int | None = None,
    threads: int | None = None,
    niceness: int = 0,
) -> Command:
    """gunicorn, at these sockets; without one it takes the address of the settings itself. Their numbers too, unless others are given.
    The telephone's threads only send answers to clients that do not take them at once."""
    options = [word for one in listening for word in ("--bind", f"fd://{one.fileno()}")]
    for name, amount in (("--workers", workers), ("--threads", threads)):
        options += [] if amount is None else [name, str(amount)]
    arguments = ("--config", "python:router.gunicorn_config", *options, application)
    return Command("gunicorn.app.wsgiapp:run", arguments, niceness)


def die_with_parent(parent: int) -> None:
    """A supervisor that is killed leaves nobody behind who holds the port (Linux; elsewhere children outlive it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # killed meanwhile
        raise SystemExit(1)


def adopt_orphans() -> None:
    """Workers whose master is killed become children of this process (Linux; elsewhere they see that their parent changed, and end)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


class ProcessGroup:
    """A leader that was started before, and its workers, who may outlive it. They end when they are told."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self._told_leader = self._told_workers = False
        self._kill_at: float | None = None

    def end(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + STOP_SECONDS

    def is_left(self) -> bool:
        """Whether anybody is there; tells those who are what they have to know."""
        try:
            while os.waitpid(-self.leader, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return False
        if self._kill_at is None:
            return True
        try:  # the leader tells its workers; the workers of a dead leader hear it from us
            if time.monotonic() >= self._kill_at:
                os.killpg(self.leader, signal.SIGKILL)
            elif not self._told_leader:
                self._told_leader = True
                os.kill(self.leader, signal.SIGTERM)
            elif not self._told_workers:
                os.kill(self.leader, 0)
        except ProcessLookupError:
            self._told_leader = self._told_workers = True
            _signal_group(self.leader, signal.SIGTERM)
        return True


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        log.debug("nobody_left", leader=leader)


FORK = multiprocessing.get_context("fork")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Child:
    """One process, with the pause before it may start again. It has the sockets of its name.

    Where there are sockets, those that were started for the same before serve until a new process says that it is ready; where there are
    none they end at once.
    """

    def __init__(self, name: str, command: Command, environ: Mapping[str, str], holdings: Holdings) -> None:
        self.name = name
        self.command = command
        self.environ = dict(environ)
        self._holdings = holdings
        self.former = [ProcessGroup(leader) for leader in self._holdings.former.get(name, ())]
        self.process: multiprocessing.context.ForkProcess | None = None
        self.pid = 0
        self.started = 0.0
        self.again_at: float | None = None
        self.pause = SHORTEST_PAUSE
        self._ready: int | None = None

    def start(self) -> None:
        """Begins the process, or tries to again in a while: a machine may be out of memory or processes.

        In a group of its own: Ctrl-C reaches the supervisor alone, because gunicorn's workers hang when they are told twice.
        """
        try:
            self._stop_listening()
            writing = None
            if self._holdings.listening.get(self.name):
                self._ready, writing = os.pipe()
                os.set_blocking(self._ready, False)
            else:
                self._end_former()
            told = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # our answers to them are not the child's
            try:
                process = FORK.Process(target=self._run, args=(os.getpid(), writing, told), daemon=True)
                process.start()
                self.process, self.pid = process, process.pid or 0
                with suppress(PermissionError, ProcessLookupError):  # both do it, so that it is done for either
                    os.setpgid(self.pid, self.pid)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, told)
                if writing is not None:
                    os.close(writing)
            self.started, self.again_at = time.monotonic(), None
        except OSError as error:
            log.error("process_not_started", process=self.name, reason=str(error))
            self.again_at = time.monotonic() + LONGEST_PAUSE

    def _run(self, supervisor: int, writing: int | None, mask: set[signal.Signals]) -> None:
        """In the fork, which is to be as if it had been started by itself."""
        os.setpgid(0, 0)
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        die_with_parent(supervisor)
        setproctitle(f"router: {self.name}")
        os.environ.update(self.environ)
        self._holdings.leave_to(self.name)
        if self._ready is not None:
            os.close(self._ready)
            os.environ[READY] = str(writing)
        self.command.run()

    def look(self) -> None:
        """What has to be done every now and then."""
        if self._ready is not None:
            try:
                is_ready = bool(os.read(self._ready, 1))
            except BlockingIOError:
                is_ready = False
            if is_ready:
                if self.former:
                    log.info("process_takes_over", process=self.name)
                self._stop_listening()
                self._end_former()
        self.former = [group for group in self.former if group.is_left()]
        self.start_again_if_dead()

    def start_again_if_dead(self) -> None:
        """At once after a life of some length, after a growing pause when the process dies as soon as it starts."""
        now = time.monotonic()
        if self.again_at is None:
            if self.process is None or self.process.exitcode is None:
                return
            log.error("process_died", process=self.name, code=self.process.exitcode)
            self.former.append(ProcessGroup(self.pid))
            if now - self.started > LONG_LIFE:
                self.again_at, self.pause = now, SHORTEST_PAUSE
            else:
                self.again_at, self.pause = now + self.pause, min(self.pause * 2, LONGEST_PAUSE)
        if now >= self.again_at:
            self.start()

    def leaders(self) -> list[int]:
        """Of all processes that were started for this and may be left."""
        present = [] if self.process is None or self.again_at is not None else [self.pid]
        return [*(group.leader for group in self.former), *present]

    def end(self) -> None:
        self._end_former()
        if self.process is not None and self.process.exitcode is None:
            self.process.terminate()

    def wait(self, until: float) -> None:
        def is_left() -> bool:
            return self.process is not None and self.process.exitcode is None

        while (self.former or is_left()) and time.monotonic() < until:
            self.former = [group for group in self.former if group.is_left()]
            time.sleep(POLL_SECONDS / 4)
        for group in self.former:
            _signal_group(group.leader, signal.SIGKILL)
        if self.process is not None and is_left():
            self.process.kill()
            self.process.join()

    def _end_former(self) -> None:
        for group in self.former:
            group.end()

    def _stop_listening(self) -> None:
        if self._ready is not None:
            os.close(self._ready)
            self._ready = None


class Successor:
    """The program as it lies on the disk now. Before it takes this process over, it is tried beside us."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._trial: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    def try_out(self) -> None:
        if self._trial is None:
            log.info("restart_begins")
            self._began = time.monotonic()
            self._trial = subprocess.Popen(  # noqa: S603 - our own command, and one thread
                [*self.command, "--check"], preexec_fn=partial(die_with_parent, os.getpid())
            )

    def is_good(self) -> bool:
        """Whether a trial has ended well; one that has not is said."""
        if self._trial is not None and time.monotonic() - self._began > TRIAL_SECONDS:
            self._trial.kill()
            self._trial.wait()
        if self._trial is None or self._trial.poll() is None:
            return False
        code, self._trial = self._trial.returncode, None
        if code:
            log.error("restart_refused", code=code, reason="The program does not start; what runs stays.")
        return not code

    def take_over(self, handed_on: str) -> None:
        """This process goes on as the new program; its children stay its children. When that cannot be begun, what runs stays."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the new program listens to it
        os.environ[TAKEOVER] = handed_on
        try:
            os.execv(self.command[0], self.command)  # noqa: S606 - our own command
        except OSError as error:
            log.error("restart_refused", code=error.errno, reason=f"{error.strerror}; what runs stays.")
            del os.environ[TAKEOVER]
            signal.signal(signal.SIGHUP, before)


def supervise(
    commands: Mapping[str, Command],
    environ: Mapping[str, str] | None = None,
    holdings: Holdings | None = None,
    successor: Sequence[str] = (),
) -> None:
    """Starts the processes, in this order, and keeps them running until SIGTERM or SIGINT; then ends them, those that are asked from
    outside first, and waits.

    `successor`: the command that starts this program. On SIGHUP it takes over in this same process, without a call lost: the code on the
    disk, with its own list of commands. Without one SIGHUP ends the process, as it does everywhere.
    """
    told: set[int] = set()

    def tell(number: int, frame: FrameType | None) -> None:
        told.add(number)

    holdings = holdings or Holdings({})
    for name in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if successor else [])):
        signal.signal(name, tell)
    adopt_orphans()
    try:
        common = {**(environ or {}), SUPERVISOR: str(os.getpid()), SERVICES_FOLDER: str(holdings.folder)}
        children = [
            Child(name, command, {**common, SERVICE: name} if holdings.is_service(name) else common, holdings)
            for name, command in commands.items()
        ]
        gone = [ProcessGroup(leader) for name in holdings.former.keys() - commands for leader in holdings.former[name]]
        gc.collect()
        gc.freeze()  # no search for garbage touches, and so copies, the memory that all share
        for child in children:
            child.start()
        for group in gone:
            group.end()
        next_program = Successor(successor)
        while not told & {signal.SIGTERM, signal.SIGINT}:
            time.sleep(POLL_SECONDS)
            for child in children:
                child.look()
            gone = [group for group in gone if group.is_left()]
            if signal.SIGHUP in told:
                told.discard(signal.SIGHUP)
                next_program.try_out()
            if next_program.is_good():
                left = {child.name: child.leaders() for child in children}
                next_program.take_over(holdings.handed_on(left | {"": [group.leader for group in gone]}))
        holdings.close_sockets()  # what nobody will answer is refused at once
        until = time.monotonic() + STOP_SECONDS
        for last in (False, True):
            ending = [child for child in children if (child.name in ENDS_LAST) is last]
            for child in ending:
                child.end()
            for child in ending:
                child.wait(until)
    finally:
        holdings.close()
