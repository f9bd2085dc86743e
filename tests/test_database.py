"""Both databases behave alike where the product relies on it."""

from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from router.accounts.models import ServerFact
from router.database import Base, Database, insert_new, migrate, schema_state

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_the_migrations_make_exactly_the_tables_that_the_models_describe(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert schema_state(database) == "current"
    migrate(database)
    assert schema_state(database) == "current"


def test_moments_come_back_aware_and_naive_ones_are_refused(database: Database) -> None:
    with database.writing() as session:
        session.add(ServerFact(name="test", value="x", changed_at=NOON))
    with database.reading() as session:
        assert session.scalar(select(ServerFact.changed_at)) == NOON
    with pytest.raises(Exception, match="time zone"), database.writing() as session:
        session.add(ServerFact(name="naive", value="x", changed_at=NOON.replace(tzinfo=None)))


def test_an_insert_of_what_is_there_says_so(database: Database) -> None:
    values = {"name": "once", "value": "x", "changed_at": NOON}
    with database.writing() as session:
        first = insert_new(session, ServerFact, unique=["name"]).values(**values).returning(ServerFact.name)
        assert session.execute(first).scalar_one_or_none() == "once"
        assert session.execute(first).scalar_one_or_none() is None


def test_a_thread_that_writes_cannot_begin_to_write_again_on_sqlite(database: Database) -> None:
    if not database.is_sqlite:
        return
    with pytest.raises(RuntimeError, match="writing already"), database.writing(), database.writing():
        pass
