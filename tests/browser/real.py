"""A company's page on one origin and the real application on another, for the tests of the tag and the server together."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from werkzeug.serving import make_server

from router.app import create_app
from router.config import Settings
from router.db import Database
from tests.browser.stub import Site, running_site
from tests.world import make_project


@dataclass
class RealShop:
    site: Site
    database: Database
    project_id: int


@contextmanager
def real_shop(settings: Settings, database: Database) -> Iterator[RealShop]:
    """The project `k-shop`, whose site is the page's origin."""
    listening = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = create_app(settings.model_copy(update={"public_url": base}))
    with running_site(f"{base}/tag/k-shop.js") as site:
        with database.writing() as session:
            project_id = make_project(session, site=[f"127.0.0.1:{site.port}"]).id
        server = make_server("127.0.0.1", 0, app, threaded=True, fd=listening.fileno())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield RealShop(site, database, project_id)
        server.shutdown()
        thread.join()
        server.server_close()
    listening.detach()
    app.extensions["router"].database.dispose()
