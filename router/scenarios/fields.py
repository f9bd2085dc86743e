"""What the schemas of scenarios and of their call flows are made of: strict members, phone numbers and patterns as validators, and the
sentence for each field that cannot be used."""

import re
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from router.lib.phones import BadPhone, read_phone
from router.scenarios.matching import pattern_error

UNREADABLE = "unreadable_number"


@dataclass(frozen=True)
class Context:
    """What the validators have to know of a project and its server. Without a context numbers are taken as they are written."""

    country: str
    """The project's: numbers may be written as people there do."""
    knows_regions: bool
    lenient: bool = False
    """Numbers that cannot be read stay as they were written, and such destinations are empty."""
    sounds: Container[str] | None = None
    """The names of the project's sounds; None: nobody knows them, and any is taken."""
    countries: Collection[str] = ()
    """The codes of those to which calls may be forwarded; empty: all."""
    kept: Mapping[str, bool] = field(default_factory=dict)
    """The destinations that are stored, with whether their costs were confirmed: what was allowed once may be saved again."""
    may_record_silently: bool = False
    """The operator lets talks be recorded without telling the caller."""


@dataclass(frozen=True)
class OnStep:
    """The step of the wizard on which a member is typed. Without this mark: the first one."""

    name: str


def refusing(error_of: Callable[[str], str | None]) -> AfterValidator:
    def check(value: str) -> str:
        if sentence := error_of(value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


def written_as(pattern: str, sentence: str) -> AfterValidator:
    """Refuses with this sentence what is not wholly written as the regular expression says."""
    return refusing(lambda text: None if re.fullmatch(pattern, text) else sentence)


def read_number(parse: Callable[[str, str], str], unreadable: Callable[[str], str]) -> AfterValidator:
    """In E.164 (or SIP), as `parse` reads it in the project's country. In a lenient context `unreadable` gives the value of other texts."""

    def check(text: str, info: ValidationInfo) -> str:
        if info.context is None:
            return text
        try:
            return parse(text, info.context.country)
        except BadPhone as error:
            if info.context.lenient:
                return unreadable(text)
            raise PydanticCustomError(UNREADABLE, "{sentence}", {"sentence": str(error)}) from None

    return AfterValidator(check)


Pattern = Annotated[str, Field(max_length=200), refusing(pattern_error)]
TypedNumber = Annotated[str, Field(max_length=60)]
Number = Annotated[TypedNumber, read_number(read_phone, unreadable=str)]


class ExactSchema(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class StrictSchema(ExactSchema):
    """Null is the same as absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value


class Match(StrictSchema):
    """Patterns of a marketing source; a part that is absent or empty fits anything."""

    source: Pattern = ""
    medium: Pattern = ""
    campaign: Pattern = ""


SENTENCES = {
    "missing": "This is needed.",
    "extra_forbidden": "There is no such field.",
    "string_type": "This has to be text.",
    "string_too_short": "This is needed.",
    "string_too_long": "This is too long: at most {max_length} characters.",
    "string_unicode": "This holds half a letter, which nobody can store.",
    "int_type": "This has to be a whole number.",
    "bool_type": "This has to be true or false.",
    "list_type": "This has to be a list.",
    "too_short": "At least {min_length} is needed.",
    "too_long": "At most {max_length} can be kept here.",
    "greater_than_equal": "This has to be at least {ge}.",
    "less_than_equal": "This has to be at most {le}.",
    "literal_error": "This has to be {expected}.",
    "dict_type": "This has to be an object.",
    "union_tag_not_found": "Say which “type” of step this is.",
    "union_tag_invalid": "There is no type of step “{tag}”. It can be {expected_tags}.",
    "value_error": "{error}",
    UNREADABLE: "{sentence}",
}


def problems_of(model: type[BaseModel], document: Any, context: Context | None) -> list[Any]:
    """What pydantic refuses of a document, each with the place at which it stands in the document."""
    try:
        model.model_validate(document, context=context)
    except ValidationError as refusal:
        return [problem | {"loc": _place(document, problem["loc"])} for problem in refusal.errors()]
    return []


def _place(document: Any, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without what pydantic puts between the names of a document: the kind of a step, and the mark of a key."""
    place: list[int | str] = []
    here = document
    for name in loc:
        if name == "[key]" or (isinstance(here, Mapping) and here.get("type") == name and name not in here):
            continue
        place.append(name)
        try:
            here = here[name]
        except (KeyError, IndexError, TypeError):
            here = None
    return tuple(place)


def sentence_of(problem: Mapping[str, Any]) -> str:
    sentence = SENTENCES.get(problem["type"], "This has to be an object.")
    return sentence.format(**problem.get("ctx", {}))
