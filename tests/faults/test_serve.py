"""`router serve` with the embedded database: its first use, its end, and the death of any of its processes."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text

from router.cli import main
from router.config import Settings
from router.db import Database
from router.integrations.models import Delivery
from router.lib.http_client import trusted_authorities
from router.server import Server
from tests.application import Applications
from tests.factories import COMPANY_LINE, make_project, make_scenario, make_token
from tests.faults.running import FALLBACK, Running, free_port, running
from tests.voice.carrier import CarrierClient
from tests.waiting import eventually

NUMBER = "+12125551000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


class Slow(BaseHTTPRequestHandler):
    """A receiver that thinks for two seconds."""

    got: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(2)
        self.got.append(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Slow,), {"got": got}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    thread.join()
    server.server_close()


PASSWORD = "a long good password"


def make_operator(server: Running, browser: httpx.Client) -> None:
    """Through the printed link, which holds once."""
    link = server.set_up_link()
    page = browser.get(link)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert page.status_code == 200
    assert token
    form = {"csrf_token": token.group(1), "email": "olivia@example.net", "password": PASSWORD}
    assert browser.post(link, data=form | {"csrf_token": ""}).status_code == 400
    assert browser.post(link, data=form).status_code == 302
    assert browser.get("/projects").status_code == 200
    assert server.get(link).status_code == 404


def test_from_the_set_up_link_to_sigterm_nothing_is_lost(folder: Path, receiver: tuple[str, list[bytes]]) -> None:
    url, got = receiver
    with (
        running(folder) as server,
        httpx.Client(base_url=server.url, timeout=20, verify=trusted_authorities()) as browser,
    ):
        assert server.get("/").headers["location"].startswith("/sign-in")
        make_operator(server, browser)
        check_metrics(server)
        check_long_address(server)
        kill_everybody(server)
        eventually(lambda: browser.get("/projects").status_code == 200)
        database = Database(f"sqlite:///{folder / 'router.db'}")
        with database.writing() as session:
            _, token = make_token(session)
        open_shop(server, token, url)
        time.sleep(2)  # within which a change counts in every process
        assert COMPANY_LINE in server.dial(NUMBER, "CA1").text
        eventually(lambda: delivery_states(database) == ["leased"])
        answer = call_during_sigterm(server, database)
        assert server.process.wait(30) == 0
        assert COMPANY_LINE in answer.text
        states = delivery_states(database)
        assert states[0] == "done", "the delivery in progress is finished"
        assert len(states) == 2, "the call in progress is written, and its delivery"
        assert len(got) == states.count("done")
        database.dispose()
    assert "Traceback" not in server.output
    assert PASSWORD not in server.output


def check_metrics(server: Running) -> None:
    """Counters are summed over both web processes. They are for this machine, whatever lines a client sends beside the proxy's."""
    named = ("X-Forwarded-For", "203.0.113.9:51234")
    for lie in (("X-Forwarded-For", "127.0.0.1"), ("X_Forwarded_For", "127.0.0.1"), ("X-Forwarded_For", "127.0.0.1")):
        assert server.get("/metrics", headers=[lie, named]).status_code == 403
    assert server.get("/metrics", headers=[named, ("X_Forwarded_For", "127.0.0.1")]).status_code == 403
    before = requests_counted(server)
    for _ in range(40):
        server.get("/sign-in")
    assert requests_counted(server) - before == 40


def check_long_address(server: Running) -> None:
    """A carrier that asks by GET puts all that it knows of a call into the address, with tokens of a kilobyte and more."""
    told = {"CallSid": "CA9", "To": "+12125550199", "From": "+14155550177", "StirPassportToken": "x" * 7500}
    target = "/voice/inbound?" + urlencode(told)
    headers = {"X-Twilio-Signature": server.validator.compute_signature(server.url + target, {})}
    for _ in range(4):
        answer = server.get(target, headers=headers)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/xml")
        assert FALLBACK in answer.text
    assert "\nrouter_last_resort_total 4.0\n" in server.get("/metrics").text, "of both web processes"


def requests_counted(server: Running) -> int:
    found = re.search(r'router_requests_total\{room="doors",status="200"\} (\d+)', server.get("/metrics").text)
    return int(found.group(1)) if found else 0


def kill_everybody(server: Running) -> None:
    """The masters and the worker; all are started again, and the processes of the dead masters go."""
    before = eventually(lambda: found if len(found := server.children()) == 4 else None)
    old = set(server.members()) - {server.process.pid}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not old & set(server.members()) and len(server.children()) == 4)
    assert server.get("/healthz").status_code == 200, "whoever comes meanwhile waits, and is not refused"


def call_during_sigterm(server: Running, database: Database) -> httpx.Response:
    """The answer to a call that waits for the write lock while everything is told to stop."""
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(server.dial(NUMBER, "CA2")))
    with database.writing():
        caller.start()
        time.sleep(2)  # within which it arrives; the lock is waited for longer
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
    caller.join()
    return answers[0]


def open_shop(server: Running, token: str, receiver: str) -> None:
    project = api(server, token, "projects", PROJECT)
    api(server, token, f"projects/{project['id']}/numbers", {"e164": NUMBER})
    scenario = {
        "title": "Main line", "enabled": True, "numbers": [NUMBER],
        "flow": {"destinations": [{"to": COMPANY_LINE, "ring_seconds": 20}]},
        "integrations": {"webhook_start": {"url": receiver}},
    }  # fmt: skip
    api(server, token, f"projects/{project['id']}/scenarios", scenario)


PROJECT = {
    "name": "Shop", "site": "shop.example", "timezone": "UTC", "currency": "USD",
    "email": "owner@shop.example", "fallback_destination": "+14155550111",
}  # fmt: skip


def api(server: Running, token: str, path: str, body: dict[str, Any]) -> Any:
    answer = server.post(f"/api/v1/{path}", json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def delivery_states(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Delivery.state).order_by(Delivery.id)))


def test_an_old_schema_puts_callers_through_and_says_what_to_run(server: Server, client: FlaskClient) -> None:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER])
        for statement in (
            "UPDATE alembic_version SET version_num = 'of_another_version'",
            "ALTER TABLE call DROP COLUMN first_call",
            "ALTER TABLE project RENAME COLUMN visit_gap_seconds TO gap",
            "ALTER TABLE person RENAME COLUMN name TO first_name",
        ):
            session.execute(text(statement))
    carrier = CarrierClient(client, server)
    answer = carrier.dial(NUMBER)
    assert (answer.status_code, answer.mimetype) == (200, "text/xml")
    assert COMPANY_LINE in answer.text
    with server.database.writing() as session:
        session.execute(text("ALTER TABLE scenario RENAME COLUMN enabled TO running"))
        session.execute(text("ALTER TABLE api_token RENAME COLUMN digest TO hash"))
    assert COMPANY_LINE in carrier.dial(NUMBER, sid="CA2").text
    for refused in (
        client.post("/tag/k-shop/visits", json={"page": "https://shop.example/"}),
        client.post("/sign-in", data={"email": "a@b.example", "password": "x"}),
        client.get("/api/v1/projects", headers={"Authorization": "Bearer rt_x"}),
    ):
        assert refused.status_code == 503
        assert "router migrate" in refused.text
    assert client.get("/healthz").status_code == 200
    ready: Any = client.get("/readyz")
    assert (ready.status_code, ready.json["schema"]) == (503, "old: run router migrate")


def test_another_secret_key_says_so_and_serves_nothing_but_calls(
    server: Server, settings: Settings, applications: Applications
) -> None:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER])
    with applications.with_settings(
        settings.model_copy(update={"secret_key": "another-secret-key-9876543210"})
    ) as other:
        client = other.test_client()
        answer = CarrierClient(client, server).dial(NUMBER)
        assert answer.status_code == 200
        assert COMPANY_LINE in answer.text
        for path in ("/sign-in", "/", "/api/v1/projects", "/metrics", "/tag/k-shop.js", "/settings", "/no/such/page"):
            refused = client.get(path)
            assert (path, refused.status_code) == (path, 503)
            assert "ROUTER_SECRET_KEY" in refused.text
        assert client.post("/tag/k-shop/visits", json={"page": "https://shop.example/"}).status_code == 503
        ready = client.get("/readyz")
        assert ready.json is not None
        assert (ready.status_code, ready.json["key"]) == (503, "another: check ROUTER_SECRET_KEY")
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("variable", "junk"),
    [
        ("ROUTER_PORT", "eighty"),
        ("ROUTER_PORT", "70000"),
        ("ROUTER_PUBLIC_URL", "calls.example.net"),
        ("ROUTER_PUBLIC_URL", "https://"),
        ("ROUTER_PUBLIC_URL", "https://calls.example.net/?a=b"),
        ("ROUTER_SECRET_KEY", "short"),
        ("ROUTER_FALLBACK_DESTINATION", "the office"),
        ("ROUTER_TRUSTED_PROXIES", "my-proxy"),
        ("ROUTER_CARRIER", "pigeon"),
        ("ROUTER_ALLOW_PRIVATE", "10.0.0.0/99"),
        ("ROUTER_DESTINATION_COUNTRIES", "US,XX"),
        ("ROUTER_VISIT_RATE", "often"),
        ("ROUTER_CRAWL_RATE", "seldom"),
        ("ROUTER_DATABASE_URL", "mysql://localhost/router"),
        ("ROUTER_DATABASE_URL", "nonsense"),
        ("ROUTER_WEB_WORKERS", "0"),
        ("ROUTER_LOG_LEVEL", "loud"),
        ("ROUTER_SECRET_KEY_FILE", "/no/such/file"),
        ("TWILIO_AUTH_TOKEN", ""),
    ],
)
def test_junk_in_a_setting_is_refused_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, variable: str, junk: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["router", "serve"])
    good = {"ROUTER_DATA_DIR": str(tmp_path), "ROUTER_CARRIER": "twilio", "TWILIO_AUTH_TOKEN": "token"}
    good["ROUTER_PORT"] = str(free_port())
    for name, value in (good | {variable: junk}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        main()
    said = capsys.readouterr().err
    assert exit.value.code == 2
    assert variable.removesuffix("_FILE") in said
    assert "Traceback" not in said
    assert not junk or junk not in said or variable not in ("ROUTER_SECRET_KEY", "ROUTER_DATABASE_URL")
