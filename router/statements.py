"""Statements of the hot paths: Core, compiled once, and run by the driver's own cursor, for a third of what Session.execute costs."""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

Row = Any
"""A named tuple, or an object of the statement's row class."""
Processor = Callable[[Any], Any]
CURSOR = "router_cursor"


class Statement:
    """A statement made by a function of the dialect's name; as a decorator it stands where the statement is written.

    Values are given by the names of its bind parameters: all that have none of their own. Columns with Python defaults have to be among
    them. Rows come back as named tuples, or as objects of the dataclass `row`, whose fields are the columns in their order. Errors of
    the database are SQLAlchemy's, as everywhere else.
    """

    def __init__(self, build: Callable[[str], Any], row: type[Any] | None = None) -> None:
        self._build = build
        self._row = row
        self._prepared: dict[str, _Prepared] = {}

    def all(self, session: Session, values: Mapping[str, Any]) -> list[Row]:
        session.flush()
        connection, cursor = _cursor_of(session)
        dialect = connection.dialect
        prepared = self._prepared.get(dialect.name)
        if prepared is None:
            prepared = self._prepared[dialect.name] = _Prepared(self._build(dialect.name), dialect, self._row)
        return prepared.run(connection, cursor, values)

    def first(self, session: Session, values: Mapping[str, Any]) -> Row | None:
        rows = self.all(session, values)
        return rows[0] if rows else None

    def text(self, dialect: Dialect) -> str:
        """The SQL that a dialect's driver is given."""
        return str(self._build(dialect.name).compile(dialect=dialect))

    def run(self, session: Session, values: Mapping[str, Any]) -> None:
        self.all(session, values)


def _cursor_of(session: Session) -> tuple[Connection, Any]:
    """One cursor for all statements of a transaction: asking the session and the pool each time costs as much as a statement."""
    known: tuple[Connection, Any] | None = session.info.get(CURSOR)
    if known is None or known[0].closed:
        connection = session.connection()
        known = session.info[CURSOR] = (connection, connection.connection.cursor())
    return known


class _Prepared:
    """A statement as one dialect's driver takes it."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, row: type[Any] | None) -> None:
        compiled = statement.compile(dialect=dialect)
        if not isinstance(compiled, SQLCompiler) or compiled.insert_prefetch or compiled.update_prefetch:
            raise ValueError("every column with a default has to be given")
        self._dialect = dialect
        self._sql = str(compiled)
        self._order = compiled.positiontup
        processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
        }
        self._wanted = [(name, processors[name]) for name, bind in compiled.binds.items() if bind.required]
        self._fixed = {
            name: _processed(bind.effective_value, processors[name])
            for name, bind in compiled.binds.items()
            if not bind.required
        }
        columns = list(getattr(statement, "exported_columns", ()))
        self._columns = [column.type.dialect_impl(dialect) for column in columns]
        self._make = _row_maker([column.name for column in columns], row)
        self._results: list[tuple[int, Processor]] | None = None

    def run(self, connection: Connection, cursor: Any, values: Mapping[str, Any]) -> list[Row]:
        given = {name: _processed(values[name], processor) for name, processor in self._wanted}
        given.update(self._fixed)
        parameters = given if self._order is None else [given[name] for name in self._order]
        try:
            connection.dispatch.before_cursor_execute(connection, cursor, self._sql, parameters, None, False)
            cursor.execute(self._sql, parameters)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall() if self._columns else []
            if self._results is None:
                self._results = self._read_by(cursor.description)
        except self._dialect.loaded_dbapi.Error as error:
            raise self._told(error, connection) from error
        return [self._make(_result(row, self._results) if self._results else row) for row in rows]

    def _read_by(self, description: Any) -> list[tuple[int, Processor]]:
        """What has to be done to which columns: the driver says of what kind they are once it has answered."""
        found = [one.result_processor(self._dialect, description[i][1]) for i, one in enumerate(self._columns)]
        return [(index, processor) for index, processor in enumerate(found) if processor]

    def _told(self, error: Any, connection: Connection) -> Exception:
        """A connection that is lost leaves the pool, as it would in SQLAlchemy's own execution."""
        lost = self._dialect.is_disconnect(error, connection.connection, None)
        if lost:
            connection.invalidate(error)
        told: Any = DBAPIError.instance(
            self._sql,
            None,
            error,
            self._dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=self._dialect,
        )
        return cast(Exception, told)


def _row_maker(names: Sequence[str], row: type[Any] | None) -> Callable[[Iterable[Any]], Row]:
    if row is None:
        make_class: Callable[..., Any] = namedtuple  # mypy knows only those whose names stand in the code
        return cast("Callable[[Iterable[Any]], Row]", make_class("Row", names)._make)
    if [field.name for field in fields(row)] != names:
        raise ValueError(f"{row.__name__} has other fields than the columns {', '.join(names)}")
    return lambda values: row(*values)


def _result(row: tuple[Any, ...], processors: Sequence[tuple[int, Processor]]) -> list[Any]:
    values = list(row)
    for index, processor in processors:
        values[index] = processor(values[index])
    return values


def _processed(value: Any, processor: Processor | None) -> Any:
    return value if processor is None else processor(value)
