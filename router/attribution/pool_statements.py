"""What leases ask of the rows of pool numbers (R6). Built once: building a statement costs more than PostgreSQL needs to run it."""

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Executable, Select, bindparam, literal_column, or_, select, union_all, update

from router.attribution.models import PoolNumber
from router.attribution.regret import PoolEntry
from router.database import UtcDateTime, later, skip_locked, table_of
from router.statements import Statement

POOL = table_of(PoolNumber)
pool = POOL.c
COLUMNS = [pool[name] for name in PoolEntry.__slots__]


@cache
def look_statement(only_idle: bool, pass_locked: bool, prefixes: int = 0) -> Statement:
    orders = [pool.last_sign_at] if only_idle else [pool.last_sign_at, pool.lease_started_at]

    def build(dialect: str) -> Executable:
        firsts = [_first(order, same_source) for order in orders for same_source in (False, True)]
        if only_idle:
            firsts = [first.where(pool.last_sign_at < bindparam("idle_before")) for first in firsts]
        if prefixes:
            fitting = or_(*(pool.e164.like(bindparam(f"begins_{i}")) for i in range(prefixes)))
            firsts = [first.where(fitting) for first in firsts]
        if pass_locked:
            firsts = [skip_locked(first, dialect) for first in firsts]
        return union_all(*(select(*one.subquery(f"first_{i}").c) for i, one in enumerate(firsts)))

    return Statement(build)


def _first(order: Any, same_source: bool) -> Select[Any]:
    query = select(*COLUMNS).where(pool.scenario_id == bindparam("scenario")).order_by(order).limit(literal_column("1"))
    return query.where(pool.source_key == bindparam("source")) if same_source else query


@cache
def take_statement(idle: bool, pass_locked: bool) -> Statement:
    seen = [
        pool.number_id == bindparam("number"),
        pool.turn == bindparam("seen_turn"),
        pool.scenario_id == bindparam("scenario"),
    ]
    if idle:
        seen.append(pool.last_sign_at == bindparam("seen_sign_at"))
    if not pass_locked:
        return _lending(lambda _: update(POOL).where(*seen))
    unlocked = select(pool.number_id).where(*seen)
    return _lending(
        lambda dialect: update(POOL).where(pool.number_id == skip_locked(unlocked, dialect).scalar_subquery())
    )


LENT = ("turn", "group_turn", "visitor", "source_key", "lease_started_at", "last_sign_at")


def _lending(taking: Callable[[str], Any]) -> Statement:
    lent: dict[str, Any] = {name: bindparam(f"new_{name}") for name in LENT}
    return Statement(lambda dialect: taking(dialect).values(lent).returning(pool.turn))


@cache
def take_back_statement(active: bool, idle: bool) -> Statement:
    statement = update(POOL).where(
        pool.number_id == bindparam("number"),
        pool.turn == bindparam("seen_turn"),
        pool.scenario_id == bindparam("scenario"),
        _holds(active, bindparam("new_visitor")),
    )
    taking = statement.where(pool.last_sign_at == bindparam("seen_sign_at")) if idle else statement
    return _lending(lambda _: taking)


@cache
def keep_alive_statement(active: bool) -> Statement:
    statement = update(POOL).where(
        pool.number_id == bindparam("number"),
        pool.scenario_id == bindparam("scenario"),
        _holds(active, bindparam("holder")),
    )
    sign_at = bindparam("sign_at", type_=UtcDateTime())
    return Statement(
        lambda dialect: statement.values(last_sign_at=later(dialect, pool.last_sign_at, sign_at)).returning(
            pool.number_id
        )
    )


def _holds(active: bool, visitor: Any) -> Any:
    mine = pool.visitor == visitor
    return or_(mine, pool.group_turn <= bindparam("held_turn")) if active else mine
