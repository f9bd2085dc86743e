"""One engine of each database kind and one application for all tests of a process.

To make them costs more than most tests: two hundred rules of the URL map, every template and every SQL statement are compiled anew. A test
has of its own: the contents of its database, and a `Server` with its settings, its keys, its clock and all that hangs at it (rate limits,
crowds, crawler counts, carrier, shop, whether the key fits). The application's configuration and its template loader are put back before
each test. What a process learns and no test may change stays: compiled rules, templates and statements, and the caches of pure functions.

A test that registers blueprints, or looks at how an application is made, calls `create_app` itself.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Engine, event, make_url
from werkzeug.serving import BaseWSGIServer
from werkzeug.serving import make_server as make_http_server

from router.app import create_app, make_server, serve
from router.config import Settings
from router.db import Database, open_engine
from router.server import Server
from router.voice import first_answers
from router.voice.applier import OF_THE_DATABASE, Applier, journal_folder
from router.voice.journal import Journal

first_answers.PLACES = 64
"""So few calls are made at once in a test; a file of 8 MB for each test would fill the disk."""
POOL_SIZE = 10
KEPT = "kept"
"""The name of the kept engine's connections in PostgreSQL: they outlive the test."""


class Engines:
    """The kept engines: one for SQLite, whose connections go to the file of the current test, and one for each PostgreSQL database.

    The databases that are opened here share the engine's pool and what it has compiled; each has its own event listeners.
    """

    def __init__(self, folder: Path) -> None:
        self._sqlite = open_engine(f"sqlite:///{folder / 'none.db'}", POOL_SIZE)
        self._file = ""
        self._postgresql: dict[str, Engine] = {}

        @event.listens_for(self._sqlite, "do_connect")
        def go_to_the_file(_: Any, __: Any, arguments: list[Any], ___: Any) -> None:
            arguments[0] = self._file

        @event.listens_for(self._sqlite, "connect")
        def prepare(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")
            # rows whose order nobody asked for come backwards: PostgreSQL gives them in order until it does not
            connection.execute("PRAGMA reverse_unordered_selects=ON")

    def use(self, url: str) -> None:
        """This is the current test's database."""
        if url.startswith("sqlite"):
            if self._sqlite.pool.checkedin():  # type: ignore[attr-defined]  # a pool that counts
                self._sqlite.dispose()  # a thread of the test before has opened a connection after its end
            self._file = url.removeprefix("sqlite:///")
        elif url not in self._postgresql:
            named = make_url(url).update_query_dict({"application_name": KEPT})
            self._postgresql[url] = open_engine(named.render_as_string(hide_password=False), POOL_SIZE)

    def leave(self, url: str) -> None:
        """The test is over: nothing that it forgot to close stays."""
        if url.startswith("sqlite"):
            self._sqlite.dispose()
            self._file = ""
        elif self._postgresql[url].pool.checkedout():  # type: ignore[attr-defined]  # a pool that counts
            self._postgresql[url].dispose()

    def forget(self, url: str) -> None:
        """There is no such database any more."""
        self._postgresql.pop(url).dispose()

    def open(self, url: str) -> Database:
        """The current test's database, or any other."""
        kept = self._sqlite if url == f"sqlite:///{self._file}" else self._postgresql.get(url)
        return Database(url, engine=kept.execution_options() if kept else None)

    def keeps(self, url: str) -> bool:
        return url == f"sqlite:///{self._file}" or url in self._postgresql

    def close(self) -> None:
        for engine in (self._sqlite, *self._postgresql.values()):
            engine.dispose()


class AppliedAtOnce:
    """The journal, and behind it the applier, without a process of its own: what was kept stands in the database at once."""

    def __init__(self, server: Server) -> None:
        folder = journal_folder(server)
        self._journal = Journal(folder, segment_bytes=1024 * 1024, durable=False)
        self._applier = Applier(server, folder, resident=False)
        self._turn = threading.Lock()

    def append(self, record: Mapping[str, Any]) -> None:
        self._journal.append(record)
        with self._turn, suppress(*OF_THE_DATABASE):
            self._applier.apply_all()


@dataclass
class _Made:
    """An application and what it was before its first test."""

    app: Flask
    config: dict[str, Any]
    loader: Any

    @classmethod
    def new(cls, settings: Settings) -> "_Made":
        app = create_app(settings)
        server: Server = app.extensions["router"]
        server.database.dispose()
        if server.regions:
            server.regions.close()
        return cls(app, dict(app.config), app.jinja_loader)


class Applications:
    """The kept applications: with and without the demo's pages, and as many as one test uses at a time."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._free: dict[bool, list[_Made]] = {False: [], True: []}

    @contextmanager
    def with_settings(self, settings: Settings) -> Iterator[Flask]:
        """The application as if it had just started with these settings; its forms need no CSRF token."""
        made = self._free[settings.demo].pop() if self._free[settings.demo] else _Made.new(settings)
        app = made.app
        app.config.clear()
        app.config.update(made.config)
        app.jinja_loader = made.loader
        server: Server = make_server(settings, self._engines.open(settings.database))
        server.journal = AppliedAtOnce(server)
        serve(app, server)
        app.config.update(TESTING=True, WTF_CSRF_ENABLED=False)
        yield app
        self._free[settings.demo].append(made)
        if not self._engines.keeps(settings.database):
            server.database.dispose()

    @contextmanager
    def on_a_port(self, settings: Settings) -> Iterator[tuple[BaseWSGIServer, Flask]]:
        """The application behind a port of 127.0.0.1, which is its public address."""
        http: BaseWSGIServer = make_http_server("127.0.0.1", 0, partial(lambda *_: []), threaded=True)
        address = f"http://127.0.0.1:{http.server_port}"
        with self.with_settings(settings.model_copy(update={"public_url": address})) as app:
            http.app = app
            thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            yield http, app
            http.shutdown()
            http.server_close()
            thread.join()
