"""What the product sends to PostgreSQL for one request, as it sends it: the floor runs exactly the same."""

import contextlib
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import sqlalchemy.dialects.postgresql.psycopg as psycopg_dialect
from flask.testing import FlaskClient

from bench.load import Plan, requests_of
from router.attribution.pool.leases import look_statement


@dataclass(frozen=True)
class Statement:
    """`parameters` are those of the request that was watched."""

    sql: str
    parameters: Mapping[str, Any]


@contextlib.contextmanager
def watched() -> Iterator[list[Statement]]:
    """Collects all statements that psycopg executes in this process, whoever asks for them."""
    found: list[Statement] = []
    execute = psycopg.Cursor.execute

    def watch(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        found.append(Statement(query.decode() if isinstance(query, bytes) else str(query), dict(params or {})))
        return execute(cursor, query, params, **options)

    with patch.object(psycopg.Cursor, "execute", watch):
        yield found


def statements_of(client: FlaskClient, plan: Plan) -> list[Statement]:
    """The statements of one request after the first one, which fills what the process keeps."""
    for last, raw in enumerate(requests_of(plan, 2)):
        with watched() as found:
            answer = send(client, raw)
        assert answer.status_code in (200, 201), answer.text
        if last:
            return found
    raise AssertionError


def second_look(first: list[Statement]) -> Statement:
    """The look after a lost take, with the parameters of the first."""
    look = next(one for one in first if "UNION ALL" in one.sql)
    compiled = look_statement(only_idle=True, pass_locked=True).text(psycopg_dialect.dialect())
    return Statement(compiled, look.parameters)


def send(client: FlaskClient, raw: bytes) -> Any:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return client.post(first.split(" ")[1], data=body, headers=headers)


def keep(path: Path, found: Mapping[str, list[Statement]]) -> None:
    path.write_bytes(pickle.dumps({kind: [(one.sql, one.parameters) for one in found[kind]] for kind in found}))


def kept(path: Path) -> dict[str, list[Statement]]:
    return {kind: [Statement(*one) for one in found] for kind, found in pickle.loads(path.read_bytes()).items()}
