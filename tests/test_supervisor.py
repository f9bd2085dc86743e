"""What is started together: never beside another program on the same port, which would answer in our name; and again when it dies."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from router import supervisor
from router.cli import router
from router.supervisor import LONGEST_PAUSE, Child, PortTaken, claim_port


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


def dies_at_once() -> Child:
    child = Child("test", [sys.executable, "-S", "-c", ""], {})
    child.start()
    return child


def wait_for_death(child: Child) -> None:
    assert child.process is not None
    child.process.wait(10)


def test_after_a_long_life_at_once(clock: Clock) -> None:
    child = dies_at_once()
    wait_for_death(child)
    first = child.process
    clock.now += 11
    child.start_again_if_dead()
    assert child.process is not first
    wait_for_death(child)


def test_after_a_short_life_with_pauses_that_grow_and_end(clock: Clock) -> None:
    child = dies_at_once()
    pauses = []
    for _ in range(8):
        wait_for_death(child)
        before, died = child.process, clock.now
        child.start_again_if_dead()
        while child.process is before:
            clock.now += 0.25
            child.start_again_if_dead()
        pauses.append(clock.now - died)
    wait_for_death(child)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert pauses[-1] == LONGEST_PAUSE
