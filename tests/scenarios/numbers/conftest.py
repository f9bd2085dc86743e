"""A carrier with four numbers, and a project with money whose ledger is checked at the end."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from router.accounts.models import LedgerEntry, Project
from router.db import Database
from router.server import Server
from tests.factories import make_ledger_entry, make_project
from tests.scenarios.names import FIRST
from tests.scenarios.numbers.buying import FOUR, ONE, PRICE, THREE, TWO, balance
from tests.scenarios.shop import FakeShop


@pytest.fixture
def shop(server: Server) -> FakeShop:
    shop = FakeShop([ONE, TWO, THREE, FOUR])
    server.shop = shop
    return shop


@pytest.fixture
def project(database: Database) -> Iterator[Project]:
    with database.writing() as session:
        project = make_project(session, (FIRST,), number_price_minor=PRICE)
        make_ledger_entry(session, project, 1000)
    yield project
    with database.reading() as session:
        assert session.scalar(select(func.coalesce(func.sum(LedgerEntry.amount_minor), 0))) == balance(session)
