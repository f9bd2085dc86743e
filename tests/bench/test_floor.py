"""The floor of the bench answers both hot paths by the statements of today's product."""

from pathlib import Path

import pytest

from bench import world
from bench.__main__ import keep_statements, views
from bench.floor import create_app
from bench.load import requests_of
from bench.processes import BASE_URL, TOKEN, Running
from bench.statements import send
from bench.telephone import calls
from tests.postgres import EmptyDatabases


def test_the_floor_answers_what_the_product_answers(
    postgres_databases: EmptyDatabases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "POOLS", (200,))
    address, _ = postgres_databases.take()
    url = world.make_database(address, "bench_floor", 400)
    keep_statements(url, tmp_path)
    for name, value in {
        "ROUTER_DATABASE_URL": url,
        "BENCH_STATEMENTS": str(tmp_path / "statements"),
        "ROUTER_PUBLIC_URL": BASE_URL,
        "TWILIO_AUTH_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    app, running = create_app(), Running("floor", 0, 0, url)
    client = app.test_client()
    for _, plan in (views(running, 1, "pool-200"), calls(running, 1, 400)):
        for raw in requests_of(plan, 3):
            answer = send(client, raw)
            assert answer.status_code in (200, 201)
            assert ('"e164"' if plan.kind == "L" else "/voice/dial/") in answer.text
    app.extensions["floor"]().close()
    postgres_databases.give_back(address)
