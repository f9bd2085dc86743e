"""What one test has learned, the next need not learn again: a process compiles each SQL statement and each template once.

A server does so too in its life; only tests make a new engine and a new application every few milliseconds.
"""

from types import CodeType
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

COMPILED: Any = LRUCache(3000)


class _Known:
    """A dialect that there is once for each set of options: what is compiled for it is known by it."""

    _made: dict[Any, Any] = {}  # noqa: RUF012 - meant to be shared

    def __new__(cls, **options: Any) -> Any:
        key = (cls, repr(sorted(options.items(), key=lambda item: item[0])))
        if key not in cls._made:
            cls._made[key] = super().__new__(cls)
        return cls._made[key]

    def __init__(self, **options: Any) -> None:
        if not hasattr(self, "has_begun"):
            super().__init__(**options)
            self.has_begun = False

    def initialize(self, connection: Connection) -> None:
        if not self.has_begun:
            super().initialize(connection)  # type: ignore[misc]  # the dialect's
            self.has_begun = True

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=COMPILED)


class KnownSQLite(_Known, SQLiteDialect_pysqlite):
    """Its commits do not wait for the disk, as those of PostgreSQL in tests: they lose nothing with the power."""

    supports_statement_cache = True

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        super().engine_created(engine)
        event.listen(engine, "checkout", lambda connection, *_: connection.execute("PRAGMA synchronous=OFF"))


class KnownPostgreSQL(_Known, PGDialect_psycopg):
    supports_statement_cache = True


class KnownTemplates(BytecodeCache):
    """The code of templates, found again by their source."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


class KnownRule(Rule):
    """An address of the application. An equal one of an earlier application lends what `compile` made."""

    _compiled: dict[Any, dict[str, Any]] = {}  # noqa: RUF012 - meant to be shared

    def compile(self) -> None:
        given = [(name, repr(value)) for name, value in vars(self).items() if name != "map"]
        key = (*given, self.map.host_matching, *self.map.converters.values())
        if key not in self._compiled:
            super().compile()
            self._compiled[key] = {name: vars(self)[name] for name in MADE}
        vars(self).update(self._compiled[key])


MADE = ("arguments", "_parts", "_trace", "_converters", "_build", "_build_unknown")


def keep_what_is_compiled() -> None:
    """From now on, for all engines and applications of this process."""
    Flask.url_rule_class = KnownRule
    Flask.jinja_options = {"bytecode_cache": KnownTemplates()}
    registry.register("sqlite", __name__, "KnownSQLite")
    registry.register("postgresql.psycopg", __name__, "KnownPostgreSQL")
