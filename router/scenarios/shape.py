"""The shape of a scenario's document as people and programs write it. What needs the database is checked in `reading.py`."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from router.scenarios.flows import DEFAULT_RING_SECONDS
from router.scenarios.tagging import format_error, replace_error, selector_error


def _refusing(error_of: Callable[[str], str | None]) -> AfterValidator:
    def check(value: str) -> str:
        if sentence := error_of(value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


def _title(text: str) -> str:
    title = " ".join(text.split())
    if not title:
        raise ValueError("Give it a name.")
    return title


Text = Annotated[str, Field(max_length=200)]
Number = Annotated[str, Field(max_length=60)]
Title = Annotated[str, Field(max_length=120), AfterValidator(_title)]
Selector = Annotated[str, Field(min_length=1, max_length=300), _refusing(selector_error)]
Replaced = Annotated[str, Field(min_length=1, max_length=40), _refusing(replace_error)]
Mask = Annotated[str, Field(max_length=60), _refusing(format_error)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class StaticSource(_Shape):
    """The marketing source that a static number stands for."""

    source: Annotated[str, Field(min_length=1, max_length=200)]
    medium: Text = ""
    campaign: Text = ""


class Destination(_Shape):
    to: Annotated[str, Field(min_length=1, max_length=200)]
    ring_seconds: Annotated[int, Field(ge=5, le=600)] = DEFAULT_RING_SECONDS


class Flow(_Shape):
    destinations: Annotated[list[Destination], Field(min_length=1, max_length=10)]


class Tagging(_Shape):
    selectors: Annotated[list[Selector], Field(max_length=50)] = []
    replace: Annotated[list[Replaced], Field(max_length=50)] = []
    format: Mask = ""


class ScenarioShape(_Shape):
    title: Title
    enabled: bool = False
    numbers: Annotated[list[Number], Field(max_length=5000)] = []
    static: dict[Number, StaticSource] = {}
    flow: Flow | None = None
    tagging: Tagging = Tagging()
    aim: Literal["visit", "source"] = "visit"
    exhausted: Literal["share"] = "share"


class ScenarioPatch(ScenarioShape):
    """A JSON merge patch: only what changes, and the version that was read."""

    version: int


class NumberShape(_Shape):
    """A number as it is added."""

    e164: Annotated[str, Field(max_length=60)]


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
