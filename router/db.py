"""Engine, sessions and column types: what differs between SQLite and PostgreSQL is here and nowhere else. And the statements of the hot
paths: Core, compiled once, and run by the driver's own cursor, for a third of what Session.execute costs."""

import json
import re
import select as polling
import threading
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast
from zlib import crc32

from pydantic_core import to_json
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    BindParameter,
    ClauseElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    FromClause,
    Index,
    Insert,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    TextClause,
    bindparam,
    column,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 5
CONNECT_SECONDS = 3
"""A call waits no longer for a database that is away: the carrier gives up after 15 s."""
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
"""Seconds, and how often. A machine that has gone while it was asked is given up after 20 s; by Linux's defaults after two hours."""
FIRST_VISIT_NUMBER = 10001
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


Row = Any
"""A named tuple, or an object of the statement's row class."""
Processor = Callable[[Any], Any]
CURSOR = "router_cursor"


class Statement:
    """A statement, or a function that makes it for a dialect's name; as a decorator it stands where the statement is written.

    Values are given by the names of its bind parameters: all that have none of their own. Columns with Python defaults have to be among
    them. Rows come back as named tuples, or as objects of the dataclass `row`, whose fields are the columns in their order. Errors of
    the database are SQLAlchemy's, as everywhere else.
    """

    def __init__(self, statement: ClauseElement | Callable[[str], Any], row: type[Any] | None = None) -> None:
        self._build = (lambda _: statement) if isinstance(statement, ClauseElement) else statement
        self._row = row
        self._prepared: dict[str, _Prepared] = {}
        self._for_each: _Prepared | None = None

    def all(self, session: Session, values: Mapping[str, Any]) -> list[Row]:
        session.flush()
        connection, cursor = _cursor_of(session)
        return self._prepare(connection.dialect).run(connection, cursor, values)

    def many(self, session: Session, values: Sequence[Mapping[str, Any]]) -> list[list[Row]]:
        """The rows for each of the values, in their order. PostgreSQL is asked once: by one SELECT for all, else in one go."""
        session.flush()
        connection, cursor = _cursor_of(session)
        prepared = self._prepare(connection.dialect)
        if connection.dialect.name != "postgresql" or len(values) < 2:
            return [prepared.run(connection, cursor, each) for each in values]
        if not prepared.is_select:
            return prepared.run_many(connection, cursor, values)
        if self._for_each is None:
            statement = _for_each(cast("Select[Any]", self._build(connection.dialect.name)))
            self._for_each = _Prepared(statement, connection.dialect, None)
        found: list[list[Row]] = [[] for _ in values]
        for place, *row in self._for_each.run(connection, cursor, _arrays(values)):
            found[place - 1].append(prepared.make(row))
        return found

    def together(self, session: Session, values: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The rows for all of the values, in no order, of a statement whose values are `given`."""
        if not values:
            return []
        if dialect_name(session) == "postgresql":
            return self.all(session, _arrays(values))
        return [row for each in values for row in self.all(session, each)]

    def _prepare(self, dialect: Dialect) -> "_Prepared":
        prepared = self._prepared.get(dialect.name)
        if prepared is None:
            prepared = self._prepared[dialect.name] = _Prepared(self._build(dialect.name), dialect, self._row)
        return prepared

    def first(self, session: Session, values: Mapping[str, Any]) -> Row | None:
        rows = self.all(session, values)
        return rows[0] if rows else None

    def text(self, dialect: Dialect) -> str:
        """The SQL that a dialect's driver is given."""
        return str(self._build(dialect.name).compile(dialect=dialect))

    def run(self, session: Session, values: Mapping[str, Any]) -> None:
        self.all(session, values)


def given(dialect: str, types: Mapping[str, Any]) -> Mapping[str, ColumnElement[Any]]:
    """Columns by their names, of as many rows as `Statement.together` is given; one row of bind parameters on SQLite, which is asked for
    each of them."""
    if dialect != "postgresql":
        return {name: bindparam(name, type_=kind) for name, kind in types.items()}
    # a cast to VARCHAR of a length would cut what is too long; INSERT refuses it
    kinds = {name: String() if isinstance(kind, String) else kind for name, kind in types.items()}
    arrays = [bindparam(name, type_=ARRAY(kind, dimensions=1)) for name, kind in kinds.items()]
    columns: list[Any] = [column(name, kind) for name, kind in kinds.items()]
    rows = func.unnest(*arrays).table_valued(*columns, with_ordinality="place").render_derived(name="given")
    return {name: rows.c[name] for name in ("place", *types)}


def _for_each(statement: "Select[Any]") -> "Select[Any]":
    """PostgreSQL's SELECT for many values, which come as arrays: the place of the values, from 1, and the columns. Rows of one place
    keep their order."""
    binds = {
        one.key: one.type for one in visitors.iterate(statement) if isinstance(one, BindParameter) and one.required
    }
    rows = given("postgresql", binds)

    def replace(element: Any, **_: Any) -> Any:
        return rows[element.key] if isinstance(element, BindParameter) and element.required else None

    one = cast("Select[Any]", visitors.replacement_traverse(statement, {}, replace)).lateral("one")
    return select(rows["place"], *one.c).select_from(cast("FromClause", rows["place"].table).join(one, true()))


def _arrays(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [each[name] for each in values] for name in values[0]}


def _cursor_of(session: Session) -> tuple[Connection, Any]:
    """One cursor for all statements of a transaction: asking the session and the pool each time costs as much as a statement."""
    known: tuple[Connection, Any] | None = session.info.get(CURSOR)
    if known is None or known[0].closed:
        connection = session.connection()
        known = session.info[CURSOR] = (connection, connection.connection.cursor())
    return known


TEXT_PARAMETER = re.compile(r"%\((\w+)\)s")


class _Prepared:
    """A statement as one dialect's driver takes it."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, row: type[Any] | None) -> None:
        compiled = statement.compile(dialect=dialect)
        if not isinstance(compiled, SQLCompiler) or compiled.insert_prefetch or compiled.update_prefetch:
            raise ValueError("every column with a default has to be given")
        self._dialect = dialect
        self.is_select = isinstance(statement, Select)
        self._sql = str(compiled)
        if any(isinstance(bind.type, ARRAY) for bind in compiled.binds.values()):
            self._sql = TEXT_PARAMETER.sub(r"%(\1)b", self._sql)  # as text each value would be quoted
        self._order = compiled.positiontup
        processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
        }
        self._required = [(name, processors[name]) for name, bind in compiled.binds.items() if bind.required]
        self._fixed = {
            name: _processed(bind.effective_value, processors[name])
            for name, bind in compiled.binds.items()
            if not bind.required
        }
        columns = list(getattr(statement, "exported_columns", ()))
        self._columns = [column.type.dialect_impl(dialect) for column in columns]
        self.make = _row_maker([column.name for column in columns], row)
        self._results: list[tuple[int, Processor]] | None = None

    def run(self, connection: Connection, cursor: Any, values: Mapping[str, Any]) -> list[Row]:
        parameters = self._parameters(values)
        with dbapi_errors(connection, self._sql):
            connection.dispatch.before_cursor_execute(connection, cursor, self._sql, parameters, None, False)
            cursor.execute(self._sql, parameters)
            return self._rows(cursor) if self._columns else []

    def run_many(self, connection: Connection, cursor: Any, values: Sequence[Mapping[str, Any]]) -> list[list[Row]]:
        """By psycopg's pipeline."""
        parameters = [self._parameters(each) for each in values]
        with dbapi_errors(connection, self._sql):
            connection.dispatch.before_cursor_execute(connection, cursor, self._sql, parameters, None, True)
            cursor.executemany(self._sql, parameters, returning=bool(self._columns))
            if not self._columns:
                return [[] for _ in values]
            rows = [self._rows(cursor)]
            while cursor.nextset():
                rows.append(self._rows(cursor))
            return rows

    def _parameters(self, values: Mapping[str, Any]) -> Any:
        bound = {name: _processed(values[name], processor) for name, processor in self._required}
        bound.update(self._fixed)
        return bound if self._order is None else [bound[name] for name in self._order]

    def _rows(self, cursor: Any) -> list[Row]:
        rows = cursor.fetchall()
        if self._results is None:
            # the driver says of what kind the columns are once it has answered
            processors = [
                column.result_processor(self._dialect, described[1])
                for column, described in zip(self._columns, cursor.description or (), strict=False)
            ]
            self._results = [(index, processor) for index, processor in enumerate(processors) if processor]
        if not self._results:
            return [self.make(row) for row in rows]
        made = []
        for row in rows:
            values = list(row)
            for index, processor in self._results:
                values[index] = processor(values[index])
            made.append(self.make(values))
        return made


@contextmanager
def dbapi_errors(connection: Connection, sql: str) -> Iterator[None]:
    """Errors of the driver are SQLAlchemy's. A connection that is lost leaves the pool, as it would in SQLAlchemy's own execution."""
    dialect = connection.dialect
    try:
        yield
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, cast(Any, connection.connection), None)
        if lost:
            connection.invalidate(error)
        wrapped: Any = DBAPIError.instance(
            sql,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        )
        raise wrapped from error


def _row_maker(names: Sequence[str], row: type[Any] | None) -> Callable[[Iterable[Any]], Row]:
    if row is None:
        make_class: Callable[..., Any] = namedtuple  # mypy knows only those whose names stand in the code
        return cast("Callable[[Iterable[Any]], Row]", make_class("Row", names)._make)
    if [field.name for field in fields(row)] != names:
        raise ValueError(f"{row.__name__} has other fields than the columns {', '.join(names)}")
    return lambda values: row(*values)


def _processed(value: Any, processor: Processor | None) -> Any:
    return value if processor is None else processor(value)
