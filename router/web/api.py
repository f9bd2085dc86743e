"""What the whole API shares: bodies checked by models, JSON merge patches, lists by their keys, and its description in OpenAPI 3.1.

The description is read from the address map, so that every view for programs is in it.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from flask import current_app
from pydantic import BaseModel, Field, PlainSerializer, ValidationError, WithJsonSchema
from pydantic.json_schema import models_json_schema
from sqlalchemy import BigInteger, ColumnElement, Select, and_, false, literal, nulls_last, or_
from sqlalchemy.orm import InstrumentedAttribute, Session
from werkzeug.routing import Rule

from router import __version__
from router.lib.formats import parse_int
from router.server import current_server
from router.web.access import Audience, audience_of
from router.web.errors import Problem, iso

Model = TypeVar("Model", bound=BaseModel)
Row = TypeVar("Row")

LIMIT, GREATEST_LIMIT = 50, 200
SENTENCES = {"missing": "This is required.", "extra_forbidden": "There is no such field."}
"""Instead of pydantic's own, by the type of its error."""


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
        errors = {
            ".".join(str(part) for part in problem["loc"]): SENTENCES.get(problem["type"])
            or problem["msg"].removeprefix("Value error, ")
            for problem in reversed(error.errors(include_url=False))
        }
    field = next(reversed(errors))
    raise Problem(422, errors[field], field, errors=errors)


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


Instant = Annotated[datetime, PlainSerializer(iso, return_type=str), WithJsonSchema({"type": "string"})]
"""A moment in an answer, as `iso` writes it."""
Column = ColumnElement[Any] | InstrumentedAttribute[Any]


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
    session: Session, statement: Select[Row], newest: Column | Sequence[Column], args: Mapping[str, str]
) -> tuple[Sequence[Row], str | None]:
    """The rows of one page, and the cursor of the next one; None at the end. The last of the columns is unique, the highest comes first."""
    columns = newest if isinstance(newest, Sequence) else [newest]
    limit, cursor = parse_limit(args.get("limit", "")), args.get("next", "")
    rows, following = page_by_keys(session, statement, [(column, True) for column in columns], cursor, limit)
    return [row for row, *_ in rows], following


def page_by_keys(
    session: Session, statement: Select[*tuple[Any, ...]], keys: Sequence[tuple[Column, bool]], cursor: str, limit: int
) -> tuple[Sequence[Any], str | None]:
    """One page of a statement without an order of its own, and the cursor of the next page; None at the end.

    Rows that come, go or change between two pages are neither shown twice nor left out, unless their own keys change.

    Args:
        keys: the columns of the order, the last one unique, and whether each falls; NULL comes last.

    Raises:
        Problem: 422 when `cursor` is not one of this list.
    """
    columns = [column for column, _ in keys]
    if cursor:
        same: list[ColumnElement[bool]] = []
        after: list[ColumnElement[bool]] = []
        for (column, falls), value in zip(keys, parse_cursor(cursor, columns), strict=True):
            if value is None:  # only another NULL follows, which is the same key
                same.append(column.is_(None))
                continue
            known = literal(value, column.type)
            beyond = column < known if falls else column > known
            after.append(and_(*same, or_(beyond, column.is_(None)) if _may_be_null(column) else beyond))
            same.append(column == known)
        statement = statement.where(or_(false(), *after))
    names = [f"sort_key_{place}" for place in range(len(keys))]
    statement = statement.add_columns(*(column.label(name) for column, name in zip(columns, names, strict=True)))
    for column, falls in keys:
        directed = column.desc() if falls else column.asc()
        statement = statement.order_by(nulls_last(directed) if _may_be_null(column) else directed)
    rows = session.execute(statement.limit(limit + 1)).all()
    shown = rows[:limit]
    return shown, make_cursor([getattr(shown[-1], name) for name in names]) if len(rows) > limit else None


def _may_be_null(column: Column) -> bool:
    return bool(getattr(column.expression, "nullable", True))


def parse_limit(text: str) -> int:
    limit = parse_int(text, 1, GREATEST_LIMIT) if text else LIMIT
    if limit is None:
        raise Problem(422, f"“limit” is a number from 1 to {GREATEST_LIMIT}.", "limit")
    return limit


def make_cursor(values: Sequence[Any]) -> str:
    """The keys of a page's last row: whole numbers, texts, truths, moments or None."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def parse_cursor(cursor: str, columns: Sequence[Column]) -> list[Any]:
    """The keys in a cursor, each of its column's type.

    Raises:
        Problem: 422 when the list of these columns did not make it.
    """
    try:
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(values, list) or len(values) != len(columns):
            raise ValueError
        return [_key(value, column) for value, column in zip(values, columns, strict=True)]
    except (ValueError, OverflowError, RecursionError):
        raise Problem(422, "“next” is not one that this list gave.", "next") from None


def _key(value: Any, column: Column) -> Any:
    """
    Raises:
        ValueError: it is no key of this column.
    """
    kind = column.type.python_type
    if kind is object:
        raise TypeError(f"{column} is sorted by and has no type")
    if value is None and _may_be_null(column):
        return None
    if kind is datetime and isinstance(value, str) and (moment := datetime.fromisoformat(value)).tzinfo:
        return moment.astimezone(UTC)
    greatest = 2 ** (63 if isinstance(column.type, BigInteger) else 31)
    is_storable = b"\0" not in value.encode() if kind is str and isinstance(value, str) else True
    if type(value) is not kind or not is_storable or (kind is int and not 0 <= value < greatest):
        raise ValueError
    return value


View = TypeVar("View", bound=Callable[..., Any])
SchemaClass = type[BaseModel]
CONVERTERS = {"int": {"type": "integer"}}
ARGUMENT = re.compile(r"<(?:([^:<>]*):)?([^<>]+)>")
PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence that says what to do"},
        "field": {"type": "string", "description": "For 422: the field as a dotted path"},
    },
}


class Paging(BaseModel):
    """What the address of every list may say."""

    limit: int = Field(default=LIMIT, ge=1, le=GREATEST_LIMIT)
    next: str | None = Field(default=None, description="The “next” of the page before")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What an operation takes and answers; a decorator of its view. The summary is the first line of the view's docstring."""

    body: SchemaClass | None = None
    answer: SchemaClass | None = None
    status: int = 200
    is_list: bool = False
    is_patch: bool = False
    needs_body: bool = True
    query: SchemaClass | None = None
    """The parameters of the address; a list has those of `Paging` too."""
    also: Mapping[int, SchemaClass | None] = field(default_factory=dict)
    """Other answers, by their status."""
    file: Sequence[str] = ()
    """The media types of which one is answered, instead of JSON."""
    takes: Sequence[str] = ()
    """The media types of which the body is one, instead of JSON."""

    def __call__(self, view: View) -> View:
        _descriptions[view] = self
        return view


described = Description
_descriptions: WeakKeyDictionary[Callable[..., Any], Description] = WeakKeyDictionary()


def describe_api() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    models: set[SchemaClass] = set()
    patches: set[str] = set()
    for rule in current_app.url_map.iter_rules():
        if audience_of(rule.endpoint.rpartition(".")[0]) is not Audience.PROGRAMS:
            continue
        view = current_app.view_functions[rule.endpoint]
        description = _descriptions.get(view, Description())
        models |= {model for model in (description.body, description.answer, *description.also.values()) if model}
        if description.body and description.is_patch:
            patches.add(description.body.__name__)
        operations = paths.setdefault(ARGUMENT.sub(r"{\2}", rule.rule), {})
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            operations[method.lower()] = _operation(rule, view, description)
    ordered = sorted(models, key=lambda model: model.__name__)
    modes: list[tuple[SchemaClass, Literal["validation"]]] = [(model, "validation") for model in ordered]
    schemas: dict[str, Any] = models_json_schema(modes, ref_template="#/components/schemas/{model}")[1].get("$defs", {})
    for name in patches:  # a patch requires nothing but its version, if that
        schemas[name]["required"] = [field for field in schemas[name].get("required", []) if field == "version"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "router", "version": __version__},
        "servers": [{"url": current_server().settings.base_url}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas, "Problem": PROBLEM},
        },
    }


def _operation(rule: Rule, view: Callable[..., Any], description: Description) -> dict[str, Any]:
    summary = (view.__doc__ or rule.endpoint.rpartition(".")[2].replace("_", " ")).strip().partition("\n")[0]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": CONVERTERS.get(kind, {"type": "string"})}
        for kind, name in ARGUMENT.findall(rule.rule)
    ]
    for model in (description.query, Paging if description.is_list else None):
        for name, schema in (model.model_json_schema()["properties"] if model else {}).items():
            kinds = [kind for kind in schema.pop("anyOf", [{}]) if kind.get("type") != "null"]
            told = {member: schema[member] for member in ("description",) if member in schema}
            typed = {member: value for member, value in schema.items() if member not in ("title", "description")}
            typed |= kinds[0]
            if typed.get("default", 0) is None:
                del typed["default"]
            parameters.append({"name": name, "in": "query", "schema": typed} | told)
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            str(description.status): _answer(description),
            **{str(status): _answer(Description(answer=answer)) for status, answer in description.also.items()},
            "default": {
                "description": "A problem",
                "content": {"application/problem+json": {"schema": _ref("Problem")}},
            },
        },
    }
    if description.body:
        media = "application/merge-patch+json" if description.is_patch else "application/json"
        content = {media: {"schema": _ref(description.body.__name__)}}
        operation["requestBody"] = {"required": description.needs_body, "content": content}
    if description.takes:
        operation["requestBody"] = {"required": True, "content": {media: {} for media in description.takes}}
    return operation


def _answer(description: Description) -> dict[str, Any]:
    if description.file:
        return {"description": "Done", "content": {media: {} for media in description.file}}
    if description.answer is None:
        return {"description": "Done"}
    schema = _ref(description.answer.__name__)
    if description.is_list:
        following = {"type": ["string", "null"], "description": "The next page's cursor; null at the end"}
        items = {"type": "array", "items": schema}
        schema = {"type": "object", "required": ["items", "next"], "properties": {"items": items, "next": following}}
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
