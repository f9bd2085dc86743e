"""Where the demo's processes find each other: a file in the data folder with the simulated exchange's address and keys."""

import base64
import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "simulator.json"


@dataclass(frozen=True)
class Places:
    """`key` opens the exchange's telephone; `crm_key` and `webhook_secret` are what the example company's receivers expect."""

    port: int
    key: str
    crm_key: str
    webhook_secret: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def read_places(data_dir: Path) -> Places | None:
    try:
        return Places(**json.loads((data_dir / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def choose_places(data_dir: Path) -> Places:
    """The places of the last time, on another port when that one is taken meanwhile; made at first."""
    known = read_places(data_dir)
    port = known.port if known and _is_free(known.port) else _free_port()
    places = Places(
        port,
        known.key if known else secrets.token_hex(16),
        known.crm_key if known else secrets.token_hex(20),
        known.webhook_secret if known else "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    path = data_dir / FILE
    path.touch(0o600)
    path.write_text(json.dumps(asdict(places)))
    return places


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
