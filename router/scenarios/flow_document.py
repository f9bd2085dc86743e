"""A call flow as data: what an admin composes, programs send and get, and versions store.

The short form names destinations that ring in turn. The full form is a list of steps that are done in turn: a tree, which has no way back,
so that no flow goes round in circles."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator
from pydantic_core.core_schema import ValidationInfo

from router.scenarios.fields import Context, StrictSchema, problems_of, sentence_of
from router.scenarios.flow_steps import (
    DEEPEST,
    AnyStep,
    Destination,
    Language,
    Reading,
    Steps,
    Voice,
    reading,
)

LARGEST_DOCUMENT = 64 * 1024
MOST_STEPS = 200


class FlowSchema(StrictSchema):
    """What happens with calls: either `destinations`, which ring in turn, or `steps`."""

    destinations: Annotated[list[Destination], Field(min_length=1, max_length=10)] | None = None
    steps: Annotated[Steps, Field(min_length=1)] | None = None
    language: Language = ""
    voice: Voice = ""

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, read: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        _check_depth(value)
        # a stored version also says what was left out in the document that was checked when it was saved
        if info.context is not None and isinstance(value, Mapping):
            sent = json.dumps(value, default=str, ensure_ascii=False).encode(errors="replace")  # as programs send it
            if len(sent) > LARGEST_DOCUMENT:
                raise ValueError("A flow can have 64 kB, and this one is larger.")
        state = Reading()
        token = reading.set(state)
        try:
            flow = read(value)
        finally:
            reading.reset(token)
        if (flow.destinations is None) == (flow.steps is None):
            raise ValueError("Write destinations that ring in turn, or steps.")
        steps = [step for _, step in flow.walk()] if flow.steps else []
        if len(steps) > MOST_STEPS:
            raise ValueError(f"A flow can have {MOST_STEPS} steps, and this one has {len(steps)}.")
        free = (name for number in range(1, 2 * MOST_STEPS + 1) if (name := f"s{number}") not in state.ids)
        for step in steps:
            step.id = step.id or next(free)
        return flow

    def walk(self) -> "Iterator[tuple[str, AnyStep]]":
        """Every step of the full form with its place in the document, in the order in which they are written."""

        def inside(place: str, steps: "list[AnyStep]") -> "Iterator[tuple[str, AnyStep]]":
            for index, step in enumerate(steps):
                yield f"{place}.{index}", step
                for name, inner in step.lists():
                    yield from inside(f"{place}.{index}.{name}", inner)

        return inside("steps", self.steps or [])

    def document(self) -> dict[str, Any]:
        """As it is stored, and sent to programs; it reads as this flow again."""
        if self.destinations is not None:
            return {"destinations": [line.model_dump() for line in self.destinations]}
        return self.model_dump(exclude_none=True)


def _check_depth(value: Any) -> None:
    """
    Raises:
        ValueError: a document that is too deep to be looked at.
    """
    level = [value]
    for _ in range(DEEPEST * 8):
        level = [
            inner
            for outer in level
            if isinstance(outer, Mapping | list)
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
        ]
        if not level:
            break
    else:
        raise ValueError(f"Steps can be nested {DEEPEST} deep, not deeper.")


def parse_flow(document: Any, context: Context | None = None) -> tuple[FlowSchema | None, dict[str, str]]:
    """The flow of a document, and a sentence for each field that cannot be used, by its dotted place; None when there is one."""
    problems = problems_of(FlowSchema, document, context)
    if problems:
        return None, {".".join(["flow", *map(str, problem["loc"])]): sentence_of(problem) for problem in problems}
    return FlowSchema.model_validate(document, context=context), {}
