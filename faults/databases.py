"""What happens to the database while calls come in."""

import sqlite3
import time

import psycopg

from faults.fault import Fault
from faults.site import Site

AWAY_SECONDS = 15.0
LOCKED_SECONDS = 20.0
SQLITE_SECONDS = 30.0
CONNECTIONS = 40


def stop(site: Site) -> None:
    site.primary.stop()
    time.sleep(AWAY_SECONDS)
    site.primary.start()


def kill(site: Site) -> None:
    site.primary.kill()
    time.sleep(AWAY_SECONDS)
    site.primary.start()


def freeze(site: Site) -> None:
    site.primary.freeze()
    time.sleep(LOCKED_SECONDS)
    site.primary.thaw()


def restart(site: Site) -> None:
    for _ in range(3):
        site.primary.stop()
        site.primary.start()
        time.sleep(3)


def make_read_only(site: Site) -> None:
    site.primary.set("default_transaction_read_only", "on")
    time.sleep(AWAY_SECONDS)
    site.primary.set("default_transaction_read_only", "off")


def allow_few_connections(site: Site) -> None:
    site.primary.set("max_connections", str(CONNECTIONS))
    site.primary.stop()
    site.primary.start()


def take_all_connections(site: Site) -> None:
    """Somebody else has every connection; those that the server had are ended."""
    until, taken = time.monotonic() + AWAY_SECONDS, [site.primary.connect()]
    while time.monotonic() < until:
        taken[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND application_name <> 'taken' AND pid <> pg_backend_pid()"
        )
        try:
            taken.append(psycopg.connect(site.primary.url, application_name="taken", autocommit=True))
        except psycopg.OperationalError:
            time.sleep(0.02)
    for connection in taken:
        connection.close()


def lock_tables(site: Site) -> None:
    """As a migration or VACUUM FULL does."""
    with site.primary.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE call, tracking_number, call_flow, delivery IN ACCESS EXCLUSIVE MODE")
        time.sleep(LOCKED_SECONDS)


def miss_columns_and_tables(site: Site) -> None:
    """As after a migration that was forgotten."""
    site.primary.execute("ALTER TABLE call RENAME COLUMN decision TO missing")
    time.sleep(AWAY_SECONDS / 2)
    site.primary.execute("ALTER TABLE call RENAME COLUMN missing TO decision")
    site.primary.execute("ALTER TABLE call_event RENAME TO missing")
    time.sleep(AWAY_SECONDS / 2)
    site.primary.execute("ALTER TABLE missing RENAME TO call_event")


def hold_sqlite_lock(site: Site) -> None:
    holder = sqlite3.connect(site.data / "router.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    time.sleep(SQLITE_SECONDS)
    holder.rollback()
    holder.close()


FAULTS = (
    Fault("stopped", "PostgreSQL stopped for 15 s", stop),
    Fault("killed", "PostgreSQL killed, away for 15 s", kill),
    Fault("frozen", "PostgreSQL frozen (SIGSTOP) for 20 s", freeze),
    Fault("restarted", "PostgreSQL restarted three times", restart),
    Fault("read-only", "PostgreSQL read-only for 15 s", make_read_only),
    Fault("connections", "PostgreSQL out of connections for 15 s", take_all_connections, allow_few_connections),
    Fault("locked", "tables locked for 20 s", lock_tables),
    Fault("old-schema", "a column, then a table missing for 15 s", miss_columns_and_tables),
    Fault("sqlite-lock", "SQLite's write lock held for 30 s", hold_sqlite_lock, embedded=True),
)
