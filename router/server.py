"""What every part of a running server shares: settings, database, keys, the carrier. One for each app, worker and command."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing, load_keys

if TYPE_CHECKING:
    from flask import Flask


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Server:
    """`registries` hold what upper floors register for lower floors' pages and validators; app.py fills them."""

    settings: Settings
    database: Database
    keys: KeyRing
    now: Callable[[], datetime] = utc_now
    registries: dict[str, Any] = field(default_factory=dict)

    def bind(self, app: "Flask") -> None:
        app.extensions["router"] = self


def bare_server(settings: Settings) -> Server:
    """A server with nothing registered at it: `router.app` connects what other floors have to add."""
    return Server(settings, Database(settings.database, pool_size=settings.web_threads + 2), load_keys(settings))


def current_server() -> Server:
    """The server of the app that handles this request."""
    from flask import current_app  # commands without a request do not load it

    return cast(Server, current_app.extensions["router"])
