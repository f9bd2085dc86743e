"""Commands load what they use and no more: importing everything costs seconds of processor time and a hundred megabytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from router.cli import Imported, router
from router.db import Database, migrate

RUN = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
from router.cli import main
main()
"""
WEB = {"flask", "werkzeug", "jinja2", "wtforms", "gunicorn", "limits", "prometheus_client", "structlog"}
CARRIERS = {"httpx", "httpcore", "twilio", "phonenumbers"}
HEAVY = WEB | CARRIERS | {"alembic", "babel", "cryptography", "argon2"}


def loaded(tmp_path: Path, *words: str) -> set[str]:
    """The modules that are loaded when `router WORDS` has ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROUTER_")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env=environment | {"ROUTER_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_loads_neither_the_application_nor_a_database(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "--help")
    assert modules & (HEAVY | {"sqlalchemy", "pydantic"}) == set()
    assert {name for name in modules if name.startswith("router")} == {"router", "router.cli"}


def test_a_new_token_loads_the_tables_of_accounts_and_nothing_above_them(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'router.db'}")
    migrate(database)
    database.dispose()
    modules = loaded(tmp_path, "token", "add", "x")
    assert "router.accounts.models" in modules
    assert modules & HEAVY == set()
    packages = {name.split(".")[1] for name in modules if name.startswith("router.")}
    assert packages == {"accounts", "cli", "config", "db", "lib", "server"}


@pytest.mark.parametrize("name", [name for name, listed in router.commands.items() if isinstance(listed, Imported)])
def test_the_list_of_commands_says_what_the_commands_themselves_say(name: str) -> None:
    listed = router.commands[name]
    assert isinstance(listed, Imported)
    command = listed.load()
    assert isinstance(command, click.Command)
    assert (command.name, command.get_short_help_str(1000)) == (name, listed.get_short_help_str(1000))
