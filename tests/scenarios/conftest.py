from collections.abc import Iterator
from typing import Any

import pytest

from router.accounts.models import Project
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.scenarios.models import numbers_changed
from router.server import Server
from tests.factories import NOON, make_project
from tests.people import ALICES_SHOP
from tests.scenarios.names import FIRST, SECOND, THIRD


@pytest.fixture
def server(settings: Settings, database: Database, keys: KeyRing) -> Server:
    return Server(settings, database, keys, now=lambda: NOON)


@pytest.fixture
def project(database: Database) -> Project:
    with database.writing() as session:
        return make_project(session, (FIRST, SECOND, THIRD), **(ALICES_SHOP | {"name": "Alpine Bikes"}))


@pytest.fixture
def changed() -> Iterator[list[list[int]]]:
    """The number ids of each `numbers_changed` that was sent."""
    heard: list[list[int]] = []

    def hear(_: Any, number_ids: list[int], **__: Any) -> None:
        heard.append(number_ids)

    with numbers_changed.connected_to(hear):
        yield heard
