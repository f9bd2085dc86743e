from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from router.server import Server
from tests.people import NOW, Cast, sign_in


@pytest.fixture(autouse=True)
def _today() -> Iterator[None]:
    """What is made here was made at NOW, and pages are about the days before they are looked at."""
    with time_machine.travel(NOW, tick=True):
        yield


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def life(contents: dict[str, Any]) -> dict[str, int]:
    """Alice's project in the middle of its life (tests/contents.py)."""
    ids: dict[str, int] = contents["life"]
    return ids


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.alice)
