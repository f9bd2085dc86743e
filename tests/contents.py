"""What databases hold before a test begins, made once in a process and copied from then on.

A test asks for it with the fixture of the same name.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from router.app import make_server
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.operations import key_fits
from router.server import Server
from tests.busy_project import make_busy_project
from tests.factories import COMPANY_LINE, NUMBER, SECOND_LINE, make_project, make_scenario
from tests.furnished import furnish
from tests.people import NOW, create_cast
from tests.secret import SECRET

Values = dict[str, Any]


def served(database: Database, _: Values) -> None:
    """An application with the tests' key has run on the database: the key's fingerprint stands in it."""
    settings = Settings(data_dir=Path("nowhere"), secret_key=SECRET)
    assert key_fits(Server(settings, database, KeyRing((SECRET,))))


def shop_with_two_lines(database: Database, _: Values) -> Any:
    """A project whose only scenario has one number, which rings two lines in turn; gives the project's id."""
    with database.writing() as session:
        project = make_project(session)
        make_scenario(session, project, [NUMBER], destinations=[COMPANY_LINE, SECOND_LINE])
        return project.id


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


Make = Callable[[Database, Values], Any]
CONTENTS: dict[str, tuple[str | None, Make]] = {
    "app": (None, served),
    "shop_with_two_lines": ("app", shop_with_two_lines),
    "cast": ("app", people),
    "life": ("cast", life),
    "furnished_cast": ("cast", furnished_cast),
}
"""On top of which other one each content is made, and by what."""


def content(make: Make) -> Any:
    """A content of one module, on top of "app", and its fixture: both have the function's name. It costs a copy in each process and is
    worth it for fifty tests."""
    name = make.__name__
    assert name not in CONTENTS
    CONTENTS[name] = "app", make

    @pytest.fixture(name=name)
    def values(contents: Values) -> Any:
        return contents[name]

    return values


def content_for(fixtures: list[str]) -> str | None:
    """The content that a test with these fixtures begins with."""
    made = next((name for name in reversed(CONTENTS) if name in fixtures), None)
    return made or ("app" if "applications" in fixtures else None)


def make_content(name: str, database: Database) -> Values:
    """Fills an empty database; returns what each fixture gives."""
    below, make = CONTENTS[name]
    values = make_content(below, database) if below else {}
    return values | {name: make(database, values)}
