"""The statements of the hot paths: Core, compiled once, and run by the driver's own cursor, for a third of what Session.execute costs."""

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ClauseElement,
    Connection,
    Dialect,
    FromClause,
    Select,
    String,
    bindparam,
    column,
    func,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement

from router.db import UtcDateTime, dialect_name

Row = Any
"""A named tuple, or an object of the statement's row class."""
Processor = Callable[[Any], Any]
CURSOR = "router_cursor"


class Statement:
    """A statement, or a function that makes it for a dialect's name; as a decorator it stands where the statement is written.

    Values are given by the names of its bind parameters: all that have none of their own. Columns with Python defaults have to be among
    them. Rows come back as named tuples, or as objects of the dataclass or named tuple `row`, whose fields are the columns in their order.
    Errors of the database are SQLAlchemy's, as everywhere else.
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
        """The rows for each of the values, in their order. PostgreSQL is asked once: by one SELECT for all, else in one go.

        A WITH that names one of the values fails there.
        """
        session.flush()
        connection, cursor = _cursor_of(session)
        prepared = self._prepare(connection.dialect)
        if connection.dialect.name != "postgresql" or len(values) < 2:
            return [prepared.run(connection, cursor, each) for each in values]
        if not prepared.is_select:
            return prepared.run_many(connection, cursor, values)
        if self._for_each is None:
            statement = _for_each(cast("Select[Any]", self._build(connection.dialect.name)))
            self._for_each = _Prepared(statement, connection.dialect, tuple)
        found: list[list[Row]] = [[] for _ in values]
        make = prepared.make
        for row in self._for_each.run(connection, cursor, _arrays(values)):
            found[row[0] - 1].append(make(row[1:]))
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
    places = cast("FromClause", rows["place"].table)

    def replace(element: Any, **_: Any) -> Any:
        return rows[element.key] if isinstance(element, BindParameter) and element.required else None

    def correlate(inner: Any) -> None:
        inner.correlate.non_generative(inner, places)

    # a SELECT in the FROM of another would take a FROM of its own for the values, and so those of all places
    filled = visitors.replacement_traverse(statement, {}, replace)
    one = cast("Select[Any]", visitors.cloned_traverse(filled, {}, {"select": correlate})).lateral("one")
    return select(rows["place"], *one.c).select_from(places.join(one, true()))


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
        self._kinds = [column.type for column in columns]
        self._columns = [kind.dialect_impl(dialect) for kind in self._kinds]
        self.make = _row_maker([column.name for column in columns], row)
        self._results: list[tuple[int, Processor]] | None = None
        self._results_in_utc: list[tuple[int, Processor]] = []
        """Those that are needed where moments come as UTC."""

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
            self._results_in_utc = [
                (index, processor)
                for index, processor in self._results
                if not isinstance(self._kinds[index], UtcDateTime)
            ]
        results = self._results
        if self._dialect.name == "postgresql" and cursor.connection.info.parameter_status("TimeZone") == "UTC":
            results = self._results_in_utc
        if not results:
            return rows if self.make is tuple else list(map(self.make, rows))
        made = []
        for row in rows:
            values = list(row)
            for index, processor in results:
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
    if row is tuple:
        return tuple
    if row is None:
        make_class: Callable[..., Any] = namedtuple  # mypy knows only those whose names stand in the code
        return cast("Callable[[Iterable[Any]], Row]", make_class("Row", names)._make)
    is_named_tuple = issubclass(row, tuple)
    if list(getattr(row, "_fields", ()) if is_named_tuple else (field.name for field in fields(row))) != names:
        raise ValueError(f"{row.__name__} has other fields than the columns {', '.join(names)}")
    return cast("Any", row)._make if is_named_tuple else lambda values: row(*values)


def _processed(value: Any, processor: Processor | None) -> Any:
    return value if processor is None else processor(value)
