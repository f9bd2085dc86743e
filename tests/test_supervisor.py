"""What is started together: never beside another program on the same port, which would answer in our name; and again when it dies."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from router import supervisor
from router.cli import router
from router.supervisor import (
    LONGEST_PAUSE,
    Child,
    Command,
    Holdings,
    PortTaken,
    claim_port,
    hold_services,
    sockets_of_systemd,
)
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_said_in_a_sentence_with_the_way_out(taken: int) -> None:
    with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{taken} is taken by another program.*ROUTER_PORT={taken + 1}"):
        claim_port("127.0.0.1", taken)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_claimed_port_is_ours_until_we_give_it_up() -> None:
    """Also in the minutes before a web process listens there: others cannot take it, and whoever connects waits."""
    port = free_port()
    for _ in range(2):
        with claim_port("127.0.0.1", port):
            with pytest.raises(PortTaken, match="is taken by another program"):
                claim_port("127.0.0.1", port)
            socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_port_is_claimed_at_a_name_and_at_both_kinds_of_address(host: str) -> None:
    with claim_port(host, 0) as listening:
        family, address = listening.family, listening.getsockname()[0]
    assert (family, address) == ((socket.AF_INET6, "::1") if host == "::1" else (socket.AF_INET, "127.0.0.1"))


def test_an_address_that_this_machine_does_not_have_is_named() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1:8000 cannot be used"):
        claim_port("192.0.2.1", 8000)


@pytest.mark.parametrize("command", ["demo", "serve"])
def test_nothing_is_made_or_said_when_another_program_answers_there(
    command: str, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the demo would greet with its password for somebody else's server."""
    monkeypatch.setenv("ROUTER_PORT", str(taken))
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path / "data"))
    done = CliRunner().invoke(router, [command])
    assert isinstance(done.exception, PortTaken)
    assert done.output == ""
    assert not (tmp_path / "data").exists()


class Clock:
    """Stands still until it is told."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock: Any = Clock()
    monkeypatch.setattr(supervisor, "time", clock)
    return clock


class Dead:
    """A process that dies as soon as it starts."""

    pid, exitcode = 2**22 + 1, 1

    def __init__(self, **_: Any) -> None:
        pass

    def start(self) -> None:
        pass


@pytest.fixture
def child(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setattr(supervisor, "FORK", SimpleNamespace(Process=Dead))
    holdings = Holdings({})
    child = Child("test", Command("never:run"), {}, holdings)
    child.start()
    yield child
    holdings.close()


def test_after_a_long_life_at_once(clock: Clock, child: Child) -> None:
    first = child.process
    clock.now += 11
    child.start_again_if_dead()
    assert child.process is not first


def test_after_a_short_life_with_pauses_that_grow_and_end(clock: Clock, child: Child) -> None:
    pauses = []
    for _ in range(8):
        before, died = child.process, clock.now
        child.start_again_if_dead()
        while child.process is before:
            clock.now += 0.25
            child.start_again_if_dead()
        pauses.append(clock.now - died)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert pauses[-1] == LONGEST_PAUSE


def test_a_machine_that_is_out_of_processes_is_tried_again(
    clock: Clock, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = child.process
    with monkeypatch.context() as full:
        full.setattr(Dead, "start", lambda _: os.open("/no/such/file", os.O_RDONLY))
        for _ in range(3):
            clock.now += 11
            child.start_again_if_dead()
    child.start_again_if_dead()
    assert child.process is first, "there is a pause"
    clock.now += LONGEST_PAUSE
    child.start_again_if_dead()
    assert child.process is not first


@pytest.fixture
def given_by_systemd(monkeypatch: pytest.MonkeyPatch) -> Callable[[socket.socket], None]:
    """Its first descriptor is 3, which this process has in use."""

    def give(sock: socket.socket) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setattr(supervisor, "FIRST_DESCRIPTOR_OF_SYSTEMD", sock.detach())

    return give


def test_a_socket_of_systemd_takes_the_ports_place(
    given_by_systemd: Callable[[socket.socket], None], taken: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        given_by_systemd(listening)
    holdings = hold_services("127.0.0.1", taken)
    assert [one.getsockname()[1] for one in holdings.listening["telephone"][:1]] == [port]
    assert "LISTEN_FDS" not in os.environ, "no process below takes it for its own"
    holdings.close()


def test_a_socket_that_is_not_for_tcp_or_does_not_listen_is_refused(
    given_by_systemd: Callable[[socket.socket], None],
) -> None:
    for wrong in (socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)):
        given_by_systemd(wrong)
        with pytest.raises(PortTaken, match="does not listen for TCP"):
            hold_services("127.0.0.1", 0)


def test_what_is_meant_for_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert sockets_of_systemd() == []


def test_a_successor_finds_the_same_sockets_folder_and_processes() -> None:
    holdings = hold_services("127.0.0.1", 0)
    address = holdings.listening["telephone"][0].getsockname()
    told = holdings.handed_on({"telephone": [17, 18]})
    for sockets in holdings.listening.values():
        for one in sockets:
            one.detach()  # as when the program is another one
    found = Holdings.received(told)
    assert found.listening["telephone"][0].getsockname() == address
    assert found.is_service("web")
    assert found.former == {"telephone": [17, 18]}
    socket.create_connection(address).close()
    found.close()
    assert not found.folder.exists()


ENDS = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(float(sys.argv[2]))
    with open("ended", "a") as file: file.write(sys.argv[1] + " ")
    sys.exit()
def main():
    signal.signal(signal.SIGTERM, end)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(60)
"""


def test_services_end_before_those_who_work_on_what_they_wrote_down(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(ENDS)
    code = (
        "from router.supervisor import *\n"
        "commands = {'applier': Command('ends:main', ('applier', '0')), 'web': Command('ends:main', ('web', '0.4'))}\n"
        "supervise(commands, holdings=Holdings({'web': [claim_port('127.0.0.1', 0)]}))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    eventually(lambda: (tmp_path / "web").exists() and (tmp_path / "applier").exists())
    running.terminate()
    assert running.wait(30) == 0
    assert (tmp_path / "ended").read_text() == "web applier "


TELLS = """
import json, os, pathlib, signal, sys, time
def main():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    told = {
        "title": pathlib.Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode(),
        "sockets": sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link)),
        "service": os.environ.get("ROUTER_SERVICE"),
        "is_ready_told": "ROUTER_READY" in os.environ,
        "leader": os.getpgid(0) == os.getpid(),
        "signals": [signal.getsignal(name) == signal.SIG_DFL for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "supervisor": os.getppid(),
        "pid": os.getpid(),
    }
    path = pathlib.Path(sys.argv[1])
    path.with_suffix(".part").write_text(json.dumps(told))
    path.with_suffix(".part").rename(path.with_suffix(".json"))
    time.sleep(60)
"""


def test_a_fork_is_a_process_of_its_own_and_dies_with_the_supervisor(tmp_path: Path) -> None:
    """It has its own sockets and no others, its own title, group and variables, and no answer to signals."""
    (tmp_path / "tells.py").write_text(TELLS)
    code = (
        "from router.supervisor import *\n"
        "commands = {name: Command('tells:main', (name,)) for name in ('telephone', 'web', 'applier')}\n"
        "supervise(commands, {}, hold_services('127.0.0.1', 0))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        eventually(lambda: len(list(tmp_path.glob("*.json"))) == 3)
        told = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
        pids = [each.pop("pid") for each in told.values()]
        alike = {"leader": True, "signals": [True] * 3, "blocked": 0, "supervisor": running.pid}
        of = {"sockets": 0, "service": None, "is_ready_told": False}
        assert told == {
            "telephone": {
                **alike,
                "title": "router: telephone",
                "sockets": 2,
                "service": "telephone",
                "is_ready_told": True,
            },
            "web": {**alike, "title": "router: web", "sockets": 1, "service": "web", "is_ready_told": True},
            "applier": {**alike, **of, "title": "router: applier"},
        }
    finally:
        running.kill()
    assert running.wait(10) == -9
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
