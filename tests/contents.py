"""What databases hold before a test begins, made once in a process and copied from then on.

A test asks for it with the fixture of the same name.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import time_machine

from router.app import make_server
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.operations import key_fits
from router.server import Server
from tests.busy_project import make_busy_project
from tests.furnished import furnish
from tests.people import NOW, create_cast
from tests.secret import SECRET

Values = dict[str, Any]


def served(database: Database, _: Values) -> None:
    """An application with the tests' key has run on the database: the key's fingerprint stands in it."""
    settings = Settings(data_dir=Path("nowhere"), secret_key=SECRET)
    assert key_fits(Server(settings, database, KeyRing((SECRET,))))


def people(database: Database, _: Values) -> Any:
    """Alice, Bob, Charlie, Olivia, their projects and tokens."""
    return create_cast(database)


def life(database: Database, values: Values) -> Any:
    """Alice's project in the middle of its life."""
    settings = Settings(
        data_dir=Path("nowhere"), secret_key="a-key-for-what-is-not-sealed", twilio_auth_token="none", visit_rate="off"
    )
    server = make_server(settings, database)
    with time_machine.travel(NOW + timedelta(milliseconds=1), tick=True), database.writing() as session:
        return make_busy_project(session, server, values["cast"].project, NOW)


def furnished_cast(database: Database, values: Values) -> Any:
    """The people, and one object of each kind in Alice's project."""
    furnish(database, values["cast"])
    return values["cast"]


CONTENTS: dict[str, tuple[str | None, Callable[[Database, Values], Any]]] = {
    "app": (None, served),
    "cast": ("app", people),
    "life": ("cast", life),
    "furnished_cast": ("cast", furnished_cast),
}
"""On top of which other one each content is made, and by what."""


def content_for(fixtures: list[str]) -> str | None:
    """The content that a test with these fixtures begins with."""
    return next((name for name in reversed(CONTENTS) if name in fixtures), None)


def make_content(name: str, database: Database) -> Values:
    """Fills an empty database; returns what each fixture gives."""
    below, make = CONTENTS[name]
    values = make_content(below, database) if below else {}
    return values | {name: make(database, values)}
