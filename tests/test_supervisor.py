"""What is started together: never beside another program on the same port, which would answer in our name."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.cli import router
from router.supervisor import PortTaken, claim_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_said_in_a_sentence_with_the_way_out(taken: int) -> None:
    with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{taken} is taken by another program.*ROUTER_PORT={taken + 1}"):
        claim_port("127.0.0.1", taken)


def test_a_free_port_stays_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    claim_port("127.0.0.1", port)
    claim_port("127.0.0.1", port)


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
