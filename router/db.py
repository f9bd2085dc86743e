"""Engine, sessions and column types: what differs between SQLite and PostgreSQL is here and nowhere else."""

import json
import select as polling
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast
from zlib import crc32

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Index,
    Insert,
    Integer,
    MetaData,
    Table,
    TextClause,
    bindparam,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import (
    DisconnectionError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 5
CONNECT_SECONDS = 3
"""A call waits no longer for a database that is away: the carrier gives up after 15 s."""
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
"""Seconds, and how often. A machine that has gone while it was asked is given up after 20 s; by Linux's defaults after two hours."""
FIRST_VISIT_NUMBER = 10001
DATABASE_FAULTS = (
    OperationalError,
    InternalError,
    InterfaceError,
    ProgrammingError,
    NotSupportedError,
    PoolTimeout,
)
"""Errors of the database itself, whatever is written: no connection, locks, deadlocks, read-only, an old schema."""

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""The date of what never happened, where an index look-up has no use for NULL."""

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only in an INTEGER key


class UtcDateTime(TypeDecorator[datetime]):
    """A time-zone-aware moment in UTC; refuses naive ones. SQLite keeps it as text without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs its time zone: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Straight from the driver's value: one call's candidates have two hundred moments."""

        def from_text(value: str | None) -> datetime | None:
            if value is None:
                return None
            try:
                return datetime.fromisoformat(f"{value}+00:00")
            except ValueError:  # somebody else wrote it, with its zone
                return datetime.fromisoformat(value).replace(tzinfo=UTC)

        def in_utc(value: datetime | None) -> datetime | None:
            return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)

        return from_text if dialect.name == "sqlite" else in_utc


class Base(DeclarativeBase):
    """All tables of the product. The migrations make them; nothing else does."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: Json, list[Any]: Json, list[str]: Json}  # noqa: RUF012 - SQLAlchemy reads it from the class


class Database:
    """One engine with its two kinds of transaction: `reading()` and `writing()`."""

    def __init__(
        self, url: str, pool_size: int = 10, engine: Engine | None = None, prepared_statements: str = "auto"
    ) -> None:
        """`prepared_statements`: `on`, `off`, or `auto`: unless a pooler stands between."""
        self.url = url
        self.engine = engine or open_engine(url, pool_size, prepared_statements)
        self._writer = self.engine.execution_options(router_writing=True)
        self._turn = threading.Lock() if self.is_sqlite else None
        self._local = threading.local()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; what it sees does not change under it on SQLite."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose transaction commits at the end of the block, or rolls back when the block raises.

        On SQLite it holds the only write lock from its start: no HTTP, rendering or long loop inside.
        """
        with self._writing_turn(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _writing_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if getattr(self._local, "writing", False):
            raise RuntimeError("this thread is writing already: pass its session on")
        with self._turn:  # SQLite's own busy handler sleeps; threads that take turns do not
            self._local.writing = True
            try:
                yield
            finally:
                self._local.writing = False

    def dispose(self) -> None:
        self.engine.dispose()


def open_engine(url: str, pool_size: int, prepared_statements: str = "auto") -> Engine:
    if url.startswith("sqlite"):
        return _sqlite_engine(url, pool_size)
    return _postgresql_engine(url, pool_size, prepared_statements)


def _sqlite_engine(url: str, pool_size: int) -> Engine:
    path = url.removeprefix("sqlite:///").split("?")[0]
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=pool_size, max_overflow=pool_size, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours
        for pragma in (
            f"busy_timeout={BUSY_SECONDS * 1000}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("router_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _postgresql_engine(url: str, pool_size: int, prepared_statements: str) -> Engine:
    connect = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CONNECT_SECONDS * 1000} | KEEPALIVE
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=CONNECT_SECONDS,
        hide_parameters=True,
        connect_args=connect,
        json_serializer=json_text,
    )

    @event.listens_for(engine, "checkout")
    def refuse_ended(connection: Any, _: Any, __: Any) -> None:
        """A server that restarted has said goodbye on every idle connection, and that can be seen without asking it."""
        poll = polling.poll()
        if not connection.closed:
            poll.register(connection.fileno(), polling.POLLIN)
        if connection.closed or poll.poll(0):
            raise DisconnectionError("the server ended this connection")

    @event.listens_for(engine, "connect")
    def choose_preparing(connection: Any, _: Any) -> None:
        """A pooler that changes servers between transactions finds a statement that was prepared at one of them at none, or another one."""
        set_habits(connection)
        if prepared_statements == "off" or (prepared_statements == "auto" and has_pooler(connection)):
            connection.prepare_threshold = None

    return engine


def json_text(value: Any) -> str:
    """What `json.dumps` writes, in a third of the time: a call has thousands of letters of candidates. SQLite keeps the text itself, which
    there stays as it always was."""
    try:
        return to_json(value, inf_nan_mode="constants").decode()
    except ValueError:  # half a surrogate pair, which PostgreSQL itself is to refuse
        return json.dumps(value)


def set_habits(connection: Any) -> None:
    """Moments come in UTC, which the driver reads in a fifth of the time; PgBouncer keeps a client's time zone. And no statement of ours
    runs for so long that compiling it pays, however much the planner expects of one for many values."""
    connection.autocommit = True
    try:
        connection.execute("SET TIME ZONE 'UTC'; SET jit = off")
    finally:
        connection.autocommit = False


def has_pooler(connection: Any) -> bool:
    """Whether something like PgBouncer answers a psycopg connection: it makes up the process id by which a client may cancel."""
    connection.autocommit = True
    try:
        (process,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    finally:
        connection.autocommit = False
    return bool(process != connection.info.backend_pid)


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that meet a condition, the same in both databases."""
    condition = text(where)
    return Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


def insert_new(
    session: Session | Connection | str,
    table: type[Base] | Table,
    *,
    unique: Sequence[str],
    where: TextClause | None = None,
) -> Any:
    """An INSERT that leaves a row alone whose `unique` columns are there already, among the rows of `where` if the index has one.

    Ask it for `.returning(...)`: no row back means that it was there. (rowcount says nothing of the kind on PostgreSQL.)
    """
    return dialect_insert(session, table).on_conflict_do_nothing(index_elements=list(unique), index_where=where)


def dialect_insert(session: Session | Connection | str, table: type[Base] | Table) -> Any:
    """The dialect's own INSERT, with ON CONFLICT clauses; the dialect may be given by its name."""
    build: Any = postgresql.insert if dialect_name(session) == "postgresql" else sqlite.insert
    statement: Insert = build(table)
    return statement


def dialect_name(session: Session | Connection | str) -> str:
    if isinstance(session, str):
        return session
    bind = session if isinstance(session, Connection) else session.get_bind()
    return bind.dialect.name


def table_of(model: type[Base]) -> Table:
    """A model's table, for Core statements: the hot paths load no objects."""
    return cast(Table, model.__table__)


def later(dialect: str, *moments: ColumnElement[Any]) -> ColumnElement[Any]:
    """The latest of some moments, in SQL; none may be NULL."""
    return func.greatest(*moments) if dialect == "postgresql" else func.max(*moments)


def start_visit_numbers(session: Session, project_id: int) -> None:
    """Makes the counter of a new project's visit numbers."""
    if dialect_name(session) == "postgresql":
        session.execute(text(f"CREATE SEQUENCE visit_number_{int(project_id)} START {FIRST_VISIT_NUMBER}"))
    else:
        session.execute(
            text("INSERT INTO visit_counter (project_id, last) VALUES (:project, :last)"),
            {"project": project_id, "last": FIRST_VISIT_NUMBER - 1},
        )


def visit_number(dialect: str) -> ColumnElement[int]:
    """The next visit number in an INSERT, from the values of `next_visit_number`.

    A sequence on PostgreSQL, so that there is no row that visitors wait for; a row on SQLite, where writers take turns anyway.
    """
    return func.nextval(bindparam("sequence")) if dialect == "postgresql" else bindparam("number", type_=BigInteger())


def next_visit_number(session: Session, project_id: int) -> dict[str, Any]:
    """What `visit_number` needs for a visit of this project."""
    if dialect_name(session) == "postgresql":
        return {"sequence": f"visit_number_{int(project_id)}"}
    return {"number": session.execute(_NEXT_VISIT_NUMBER, {"project": project_id}).scalar_one()}


_NEXT_VISIT_NUMBER = text("UPDATE visit_counter SET last = last + 1 WHERE project_id = :project RETURNING last")


def wait_for_turn(session: Session, kind: int, key: int, *, shared: bool = False) -> None:
    """Waits until nobody else holds (kind, key), or only sharers when it is `shared`, and holds it to the end of the transaction. On SQLite
    the write lock is the turn."""
    if dialect_name(session) == "postgresql":
        lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        session.execute(select(lock(kind, key)))


def wait_for_turns(session: Session, kind: int, names: Iterable[str]) -> None:
    """The same for many names at once, in one order for everybody, so that nobody waits in a circle."""
    if dialect_name(session) == "postgresql" and (keys := sorted({crc32(name.encode()) - 2**31 for name in names})):
        session.execute(_TURNS, {"kind": kind, "keys": keys})


_TURNS = text("SELECT pg_advisory_xact_lock(:kind, key) FROM unnest(CAST(:keys AS integer[])) AS key")


def skip_locked(statement: Any, dialect: str, of: Any = None) -> Any:
    """Rows that somebody else has locked are passed over; SQLite's writers are alone anyway."""
    return statement.with_for_update(skip_locked=True, of=of) if dialect == "postgresql" else statement


def migrate(database: Database) -> None:
    """Brings the schema up to the newest migration; does nothing when it is there."""
    from alembic import command  # loads for 0.2 s, and only this needs it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = database.url
    with database.engine.execution_options(router_writing=True).begin() as connection:
        if database.is_sqlite is False:
            connection.execute(text("SELECT pg_advisory_xact_lock(7246, 1)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def schema_state(database: Database) -> str:
    """`current`, `empty`, or `old`: what the schema is beside this program's migrations."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return "empty"
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision is None:
        return "empty"
    return "current" if revision == newest_revision() else "old"


@cache
def newest_revision() -> str:
    """The revision of the newest migration, with whose number its file's name begins."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_")[0]
