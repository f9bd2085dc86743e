"""Which calls of a caller to a number came before another one, and which was the last: statements about his line in any spelling, or about
the forgetting that stands for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, String, bindparam, case, or_, select, union_all

from router.attribution.decision import EarlierCall
from router.attribution.tracking.sources import DIRECT
from router.db import BigId, UtcDateTime, table_of
from router.lib.phones import MOST_SPELLINGS, Caller, spellings_of_line
from router.statements import Statement
from router.voice.models import EXTERNAL, Call
from router.voice.routing import Route

_call = table_of(Call).c

WHO = [f"who{index}" for index in range(MOST_SPELLINGS)]
_BY_NUMBER = _call.caller.in_([bindparam(name, type_=String) for name in WHO])
_BY_FORGETTING = _call.forgotten_id == bindparam("forgotten", type_=BigId)
_EARLIER = (
    _call.id.label("call_id"),
    *(_call.started_at, _call.visit_id, _call.source, _call.source_key, _call.confidence, _call.source_confidence),
)
_BEFORE: Any = bindparam("before")
_IS_BEFORE = (_call.started_at <= _BEFORE, or_(_call.started_at < _BEFORE, _call.sid < bindparam("sid")))


def _of_caller(same_caller: Any, *columns: Any) -> Select[Any]:
    """A caller's calls to a number. Internal calls are left out."""
    return select(*columns).where(_call.number_id == bindparam("number"), same_caller, _call.kind == EXTERNAL)


def _of_any_spelling(dialect: str, columns: Sequence[Any], *conditions: Any, newest: bool = False) -> Select[Any]:
    """The first or the newest of a caller's calls in any spelling of the line. SQLite is asked for each spelling by itself, in the order of
    its index: however often somebody has called, one call of each is read. PostgreSQL keeps large columns apart, and is asked for many
    callers at once: in a subquery of these the callers would be mixed up."""

    def ordered(statement: Select[Any], started_at: Any, sid: Any) -> Select[Any]:
        order = (started_at.desc(), sid.desc()) if newest else (started_at, sid)
        return statement.order_by(*order).limit(1)

    if dialect == "postgresql":
        return ordered(_of_caller(_BY_NUMBER, *columns).where(*conditions), _call.started_at, _call.sid)
    calls = [
        _of_caller(_call.caller == bindparam(name, type_=String), *columns, _call.sid.label("order_sid")).where(
            *conditions
        )
        for name in WHO
    ]
    every = union_all(*(ordered(each, _call.started_at, _call.sid).subquery().select() for each in calls)).subquery()
    return ordered(select(*list(every.c)[:-1]), every.c.started_at, every.c.order_sid)


_NON_DIRECT_FIRST = case(
    (_call.source.is_(None), 2), (_call.source["channel"].as_string() == DIRECT.channel, 1), else_=0
)


@dataclass(frozen=True)
class CallsOf:
    """Statements about the calls of one caller to a number, whose number is known or forgotten; for the values of `values_of_line`.

    Attributes:
        first: before another call, whose start and id are `before` and `sid`.
        last_non_direct: before another call; a direct one where there is no other.
        last: started_at and sid of the newest, of those that began at `since` or later.
    """

    first: Statement
    last_non_direct: Statement
    last: Statement


_NEWEST = (_call.started_at.desc(), _call.sid.desc())
_PLACE = (_call.started_at, _call.sid)
_IS_SINCE = _call.started_at >= bindparam("since", type_=UtcDateTime)


def _last_non_direct(same_caller: Any) -> Statement:
    earlier = _of_caller(same_caller, *_EARLIER).where(*_IS_BEFORE)
    return Statement(lambda _: earlier.order_by(_NON_DIRECT_FIRST, *_NEWEST).limit(1), EarlierCall)


OF_KNOWN = CallsOf(
    first=Statement(lambda dialect: _of_any_spelling(dialect, _EARLIER, *_IS_BEFORE), EarlierCall),
    last_non_direct=_last_non_direct(_BY_NUMBER),
    last=Statement(lambda dialect: _of_any_spelling(dialect, _PLACE, _IS_SINCE, newest=True)),
)
OF_FORGOTTEN = CallsOf(
    first=Statement(
        lambda _: _of_caller(_BY_FORGETTING, *_EARLIER).where(*_IS_BEFORE).order_by(*_PLACE).limit(1), EarlierCall
    ),
    last_non_direct=_last_non_direct(_BY_FORGETTING),
    last=Statement(lambda _: _of_caller(_BY_FORGETTING, *_PLACE).where(_IS_SINCE).order_by(*_NEWEST).limit(1)),
)


def values_of_line(route: Route, caller: Caller) -> dict[str, Any]:
    """The values of a statement that looks for a caller's calls to a number, in any spelling of the line."""
    if caller.forgotten is not None:
        return {"number": route.number_id, "forgotten": caller.forgotten}
    spellings = spellings_of_line(caller.e164 or "")
    who = zip(WHO, spellings + spellings[:1] * (MOST_SPELLINGS - len(spellings)), strict=True)
    return {"number": route.number_id, **dict(who)}
