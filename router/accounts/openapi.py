"""The API's description in OpenAPI 3.1, read from the address map: every view for programs is in it, no list can forget one."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from router import __version__
from router.accounts.access import Audience, audience_of
from router.server import current_server

View = TypeVar("View", bound=Callable[..., Any])
Model = type[BaseModel]
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


@dataclass(frozen=True)
class Description:
    """What an operation takes and answers. Its summary is the first line of the view's docstring."""

    body: Model | None = None
    answer: Model | None = None
    status: int = 200
    is_list: bool = False
    is_patch: bool = False
    needs_body: bool = True
    query: tuple[str, ...] = ()
    also: Mapping[int, Model | None] = field(default_factory=dict)
    """Other answers, by their status."""


def described(
    *,
    body: Model | None = None,
    answer: Model | None = None,
    status: int = 200,
    is_list: bool = False,
    is_patch: bool = False,
    needs_body: bool = True,
    query: tuple[str, ...] = (),
    also: Mapping[int, Model | None] | None = None,
) -> Callable[[View], View]:
    """Tells the API's description what a view takes and answers."""

    def mark(view: View) -> View:
        view.__dict__["description"] = Description(
            body, answer, status, is_list, is_patch, needs_body, query, also or {}
        )
        return view

    return mark


def describe_api() -> dict[str, Any]:
    """The OpenAPI document of this app."""
    paths: dict[str, dict[str, Any]] = {}
    models: set[Model] = set()
    patches: set[str] = set()
    for rule, method, view in _operations():
        description: Description = view.__dict__.get("description", Description())
        models |= {model for model in (description.body, description.answer, *description.also.values()) if model}
        if description.body and description.is_patch:
            patches.add(description.body.__name__)
        path = ARGUMENT.sub(r"{\2}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _operation(rule, view, description)
    return {
        "openapi": "3.1.0",
        "info": {"title": "router", "version": __version__},
        "servers": [{"url": current_server().settings.base_url}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**_schemas(models, patches), "Problem": PROBLEM},
        },
    }


def _schemas(models: set[Model], patches: set[str]) -> dict[str, Any]:
    """The models by name; a patch requires nothing but its version, if that."""
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema([(one, "validation") for one in ordered], ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = found.get("$defs", {})
    for name in patches:
        schemas[name]["required"] = [one for one in schemas[name].get("required", []) if one == "version"]
    return schemas


def _operations() -> Iterator[tuple[Rule, str, Callable[..., Any]]]:
    for rule in current_app.url_map.iter_rules():
        if audience_of(rule.endpoint.rpartition(".")[0]) is Audience.PROGRAMS:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, current_app.view_functions[rule.endpoint]


def _operation(rule: Rule, view: Callable[..., Any], description: Description) -> dict[str, Any]:
    summary = (view.__doc__ or rule.endpoint.rpartition(".")[2].replace("_", " ")).strip().partition("\n")[0]
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": summary,
        "parameters": _parameters(rule, description),
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
    return operation


def _parameters(rule: Rule, description: Description) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": CONVERTERS.get(kind, {"type": "string"})}
        for kind, name in ARGUMENT.findall(rule.rule)
    ]
    names = (*description.query, *(("limit", "next") if description.is_list else ()))
    return parameters + [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]


def _answer(description: Description) -> dict[str, Any]:
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
