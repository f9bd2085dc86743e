"""Habits of the whole API: lists with a cursor, bodies checked by models with the field named, JSON merge patches."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from router.web import GREATEST_ID, Problem

Model = TypeVar("Model", bound=BaseModel)
Row = TypeVar("Row")

LIMIT, GREATEST_LIMIT = 50, 200


def parse(model: type[Model], body: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> Model:
    """The body as a model.

    Args:
        context: what the model's validators have to know of this server.

    Raises:
        Problem: 422 naming the first bad field as a dotted path; `errors` holds all of them, field to sentence.
    """
    try:
        return model.model_validate(dict(body), context=dict(context or {}))
    except ValidationError as error:
        errors = {_path(one["loc"]): _sentence(one) for one in reversed(error.errors(include_url=False))}
    field = next(reversed(errors))
    raise Problem(422, errors[field], field, errors=errors)


def _path(location: Iterable[int | str]) -> str:
    return ".".join(str(part) for part in location)


def _sentence(problem: Any) -> str:
    said = {"missing": "This is required.", "extra_forbidden": "There is no such field."}.get(problem["type"])
    return said or str(problem["msg"]).removeprefix("Value error, ")


def merged(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7396): members of the patch replace, null removes, objects are merged."""
    result = dict(stored)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def take_version(patch: dict[str, Any]) -> int:
    """Takes `version` out of a patch.

    Raises:
        Problem: 422 when it is not there.
    """
    version = patch.pop("version", None)
    if type(version) is not int or not 0 <= version < 2**31:
        raise Problem(422, "Send the “version” that you read, so that nobody's change is lost.", "version")
    return version


def page_of(
    session: Session,
    statement: Select[Row],
    column: InstrumentedAttribute[int],
    args: Mapping[str, str],
    document: Callable[[Row], Any] | None = None,
) -> dict[str, Any]:
    """One page of a list, newest (highest `column`) first: `{items, next}`. `args` may have `limit` and `next`.

    Raises:
        Problem: 422 when `limit` or `next` cannot be used.
    """
    rows, following = rows_of(session, statement, column, args)
    return {"items": [document(row) for row in rows] if document else rows, "next": following}


def rows_of(
    session: Session, statement: Select[Row], column: InstrumentedAttribute[int], args: Mapping[str, str]
) -> tuple[Sequence[Row], str | None]:
    """The rows of one page, and the cursor of the next one; None at the end."""
    limit = read_limit(args.get("limit", ""))
    if cursor := args.get("next", ""):
        statement = statement.where(column < read_cursor(cursor))
    rows = session.scalars(statement.order_by(column.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    return shown, make_cursor(getattr(shown[-1], column.key)) if len(rows) > limit else None


def rows_by_time(
    session: Session,
    statement: Select[Row],
    at: InstrumentedAttribute[datetime],
    key: InstrumentedAttribute[int],
    args: Mapping[str, str],
) -> tuple[Sequence[Row], str | None]:
    """As `rows_of`, for rows that may become known late: newest by the moment `at`. The cursor is the last row's id."""
    limit = read_limit(args.get("limit", ""))
    if cursor := args.get("next", ""):
        last = read_cursor(cursor)
        moment = session.scalar(select(at).where(key == last))
        earlier = key < last if moment is None else or_(at < moment, and_(at == moment, key < last))
        statement = statement.where(earlier)
    rows = session.scalars(statement.order_by(at.desc(), key.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    return shown, make_cursor(getattr(shown[-1], key.key)) if len(rows) > limit else None


def read_limit(text: str) -> int:
    if not text:
        return LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= GREATEST_LIMIT):
        raise Problem(422, f"“limit” is a number from 1 to {GREATEST_LIMIT}.", "limit")
    return int(text)


def make_cursor(last: int) -> str:
    return base64.urlsafe_b64encode(str(last).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """
    Raises:
        Problem: 422 when we did not make it.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.isdigit() or len(text) > 19 or int(text) > GREATEST_ID:
        raise Problem(422, "“next” is not one that this list gave.", "next")
    return int(text)
