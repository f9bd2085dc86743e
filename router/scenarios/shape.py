"""The shape of a scenario's document as people and programs write it. What needs the database is checked in `reading.py`."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from router.scenarios.flows import DEFAULT_RING_SECONDS
from router.scenarios.patterns import pattern_error, region_error
from router.scenarios.tagging import format_error, replace_error, selector_error

DEFAULT_HOLD_SECONDS = 150

MOST_TO_BUY = 100
"""More than this is bought in several turns, so that no transaction writes more than some hundred rows."""


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


def _digits(text: str) -> str:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError("Write digits only, like 415.")
    return text


def _country(text: str) -> str:
    if text and not (text.isascii() and text.isalpha() and len(text) == 2):
        raise ValueError("Write the country's code of two letters, like DE.")
    return text.upper()


Pattern = Annotated[str, Field(max_length=200), _refusing(pattern_error)]
Text = Pattern
Page = Annotated[str, Field(min_length=1, max_length=500), _refusing(pattern_error)]
Source = Annotated[str, Field(min_length=1, max_length=300), _refusing(pattern_error)]
Region = Annotated[str, Field(min_length=1, max_length=10), AfterValidator(str.upper), _refusing(region_error)]
Digits = Annotated[str, Field(max_length=15), AfterValidator(_digits)]
Number = Annotated[str, Field(max_length=60)]
Title = Annotated[str, Field(max_length=120), AfterValidator(_title)]
Selector = Annotated[str, Field(min_length=1, max_length=300), _refusing(selector_error)]
Replaced = Annotated[str, Field(min_length=1, max_length=40), _refusing(replace_error)]
Mask = Annotated[str, Field(max_length=60), _refusing(format_error)]


class ExactShape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class StrictShape(ExactShape):
    """Null is the same as absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value


class StaticSource(StrictShape):
    """The marketing source that a static number stands for."""

    source: Annotated[str, Field(min_length=1, max_length=200), _refusing(pattern_error)]
    medium: Text = ""
    campaign: Text = ""


class Destination(StrictShape):
    to: Annotated[str, Field(min_length=1, max_length=200)]
    ring_seconds: Annotated[int, Field(ge=5, le=600)] = DEFAULT_RING_SECONDS


class Flow(StrictShape):
    destinations: Annotated[list[Destination], Field(min_length=1, max_length=10)]


class Tagging(StrictShape):
    selectors: Annotated[list[Selector], Field(max_length=50)] = []
    replace: Annotated[list[Replaced], Field(max_length=50)] = []
    format: Mask = ""


class Match(StrictShape):
    """Patterns of a marketing source; a part that is absent or empty fits anything."""

    source: Pattern = ""
    medium: Pattern = ""
    campaign: Pattern = ""


class Channel(StrictShape):
    """Which numbers the visitors of some marketing sources get. A static number without a match is shown to nobody."""

    match: Match = Match()
    kind: Literal["dynamic", "static"]
    number: Number | None = None


class Terms(StrictShape):
    """Whom the scenario is for. Sources are `source[/medium[/campaign]]`, pages paths, regions `DE` or `US-CA`; `*` is anything."""

    only_sources: Annotated[list[Source], Field(max_length=200)] = []
    excluded_sources: Annotated[list[Source], Field(max_length=200)] = []
    only_landing_pages: Annotated[list[Page], Field(max_length=200)] = []
    excluded_landing_pages: Annotated[list[Page], Field(max_length=200)] = []
    only_regions: Annotated[list[Region], Field(max_length=200)] = []
    excluded_regions: Annotated[list[Region], Field(max_length=200)] = []


class ToBuy(StrictShape):
    """What *Connect* is to buy: these numbers, and as many others as `count` says, of this kind."""

    numbers: Annotated[list[Number], Field(max_length=MOST_TO_BUY)] = []
    count: Annotated[int, Field(ge=0, le=MOST_TO_BUY)] = 0
    country: Annotated[str, AfterValidator(_country)] = ""
    area_code: Digits = ""
    contains: Digits = ""


class Upkeep(StrictShape):
    """Whether the pool is kept at its best size (R9), and within which limits."""

    on: bool = False
    spending_limit_minor: Annotated[int, Field(ge=0, le=10**15)] | None = None
    max_numbers: Annotated[int, Field(ge=1, le=5000)] | None = None


class ScenarioShape(StrictShape):
    title: Title
    enabled: bool = False
    numbers: Annotated[list[Number], Field(max_length=5000)] = []
    channels: Annotated[list[Channel], Field(max_length=500)] = []
    static: dict[Number, StaticSource] = {}
    flow: Flow | None = None
    tagging: Tagging = Tagging()
    aim: Literal["visit", "source"] = "visit"
    exhausted: Literal["share", "overflow", "keep"] = "share"
    overflow: Number | None = None
    hold_seconds: Annotated[int, Field(ge=30, le=3600)] = DEFAULT_HOLD_SECONDS
    terms: Terms = Terms()
    upkeep: Upkeep = Upkeep()
    manager: Annotated[str, Field(max_length=120), _refusing(pattern_error)] = ""
    to_buy: ToBuy = ToBuy()


class NumberShape(StrictShape):
    """A number as it is added."""

    e164: Annotated[str, Field(max_length=60)]
