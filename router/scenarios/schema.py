"""The shape of a scenario's document as people and programs write it. What needs the database is checked in `reading.py`.

Reads a document against its shape: what can be used of it, and a sentence for each field that cannot.

What programs send and get about scenarios and numbers, for the API's description; the documents are made elsewhere."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.scenarios.flows import DEFAULT_RING_SECONDS
from router.scenarios.matching import format_error, pattern_error, region_error, replace_error, selector_error

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


class ScenarioBody(ScenarioShape):
    """A scenario as it is written. `integrations`: webhook_start, webhook_end, ga4 and crm, each with its own members."""

    integrations: Annotated[dict[str, Any], Field(default_factory=dict)]


class ScenarioPatch(ScenarioBody):
    """A JSON merge patch: only what changes, and the version that was read."""

    version: int


class ScenarioChange(ScenarioBody):
    """A JSON merge patch that is only tried: what would change."""

    version: int | None = None


class BuyingDocument(BaseModel):
    """An order under way: how many numbers it asks for."""

    batch: int
    total: int


class ScenarioDocument(ScenarioBody):
    """A scenario as it is read. `secrets` is there once, when some were made; `buying` while numbers are bought for it."""

    id: int
    version: int
    created_at: str
    calls: int
    accuracy: int | None
    secrets: dict[str, str] | None = None
    buying: BuyingDocument | None = None


class NumberDocument(BaseModel):
    """A tracking number. `kind` is what its scenario uses it for; null: it is in none. `state` is grace when its paid time has ended and
    it could not be renewed."""

    e164: str
    scenario: int | None
    static: StaticSource | None
    kind: Literal["dynamic", "static", "overflow"] | None
    owned_elsewhere: bool
    pinned: bool
    state: Literal["in_use", "free", "grace", "releasing"]
    bought_at: str | None
    paid_until: str | None
    grace_until: str | None
    carrier_error: str
    calls: int
    last_call_at: str | None
    last_shown_at: str | None
    created_at: str


class OrderDocument(BaseModel):
    """A purchase that the carrier did not answer clearly yet; the server goes on asking."""

    order: int
    e164: str
    state: str
    detail: str


class CarrierPriceDocument(BaseModel):
    """What the carrier takes, as it says it."""

    amount: str
    currency: str
    period: str


class OfferDocument(BaseModel):
    """A number for sale: `price_minor` for 7 days in the project's currency, and the carrier's own price where it tells it."""

    e164: str
    price_minor: int
    currency: str
    country: str
    kind: str
    place: str
    carrier_price: CarrierPriceDocument | None


class OffersDocument(BaseModel):
    """Numbers for sale."""

    items: list[OfferDocument]


class FindingDocument(BaseModel):
    """What should be looked at; one that `blocks` has to be mended before the wizard enables the scenario."""

    code: str
    sentence: str
    field: str
    step: str
    blocks: bool


class FindingsDocument(BaseModel):
    """All that the linter finds; empty when there is nothing to say."""

    items: list[FindingDocument]
