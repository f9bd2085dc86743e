"""A company's page on one origin and the real application on another, for the tests of the tag and the server together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from router.config import Settings
from router.db import Database
from tests.application import Applications
from tests.browser.stub import Site, running_site
from tests.factories import make_project


@dataclass
class RealShop:
    site: Site
    database: Database
    project_id: int


@contextmanager
def real_shop(applications: Applications, settings: Settings, database: Database) -> Iterator[RealShop]:
    """The project `k-shop`, whose site is the page's origin."""
    with (
        applications.on_a_port(settings) as (http, _),
        running_site(f"http://127.0.0.1:{http.server_port}/tag/k-shop.js") as site,
    ):
        with database.writing() as session:
            project_id = make_project(session, site=[f"127.0.0.1:{site.port}"]).id
        yield RealShop(site, database, project_id)
