"""Reads a document against its shape: what can be used of it, and a sentence for each field that cannot."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from router.scenarios.shape import ScenarioShape


def read_shape(document: Mapping[str, Any]) -> tuple[ScenarioShape, dict[str, str]]:
    """What can be read of a document, and a sentence for each field that cannot.

    A field that cannot be used is left out, so that its neighbours can still be checked; if that will not do, its whole member.
    """
    problems = _problems(document)
    if not problems:
        return ScenarioShape.model_validate(document), {}
    usable = _without(document, [problem["loc"] for problem in problems])
    for problem in _problems(usable):
        usable.pop(str(problem["loc"][0]), None)
    errors = {".".join(map(str, problem["loc"])): _sentence(problem) for problem in problems}
    return ScenarioShape.model_validate({"title": "–"} | usable), errors


def _problems(document: Mapping[str, Any]) -> list[Any]:
    try:
        ScenarioShape.model_validate(document)
    except ValidationError as refusal:
        return list(refusal.errors())
    return []


def _without(document: Mapping[str, Any], locations: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """A copy that lacks these members of objects; items of lists stay, so that indexes keep their meaning."""
    trimmed = deepcopy(dict(document))
    for *path, name in locations:
        parent: Any = trimmed
        for step in path:
            parent = parent[step]
        if isinstance(parent, dict):
            parent.pop(name, None)
    return trimmed


SENTENCES = {
    "missing": "This is needed.",
    "extra_forbidden": "There is no such field.",
    "string_type": "This has to be text.",
    "string_too_short": "This is needed.",
    "string_too_long": "This is too long: at most {max_length} characters.",
    "int_type": "This has to be a whole number.",
    "bool_type": "This has to be true or false.",
    "list_type": "This has to be a list.",
    "too_short": "At least {min_length} is needed.",
    "too_long": "At most {max_length} can be kept here.",
    "greater_than_equal": "This has to be at least {ge}.",
    "less_than_equal": "This has to be at most {le}.",
    "literal_error": "This has to be {expected}.",
    "value_error": "{error}",
}


def _sentence(problem: Any) -> str:
    pattern = SENTENCES.get(problem["type"], "This has to be an object.")
    return pattern.format(**problem.get("ctx", {}))
