"""A scenario's schema: the members of its document, which programs send and get, forms are made from, and rows are stored by.

Every member that has a column of its name in `Scenario` is stored, shown, copied, compared and offered by the wizard without
a word elsewhere. What needs the database is checked in documents.py. Below: what else the API tells of scenarios and numbers."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, Self

from flask import has_app_context
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_core.core_schema import ValidationInfo

from router.accounts.projects import parse_name
from router.lib.formats import parse_country
from router.scenarios.fields import (
    UNREADABLE,
    Context,
    Match,
    Number,
    OnStep,
    Pattern,
    StrictSchema,
    TypedNumber,
    problems_of,
    refusing,
    sentence_of,
    written_as,
)
from router.scenarios.flow_document import FlowSchema
from router.scenarios.matching import format_error, pattern_error, region_error, replace_error, selector_error
from router.scenarios.models import DEFAULT_HOLD_SECONDS
from router.server import current_server

MOST_TO_BUY = 100
"""More than this is bought in several turns, so that no transaction writes more than some hundred rows."""


def _known_regions(regions: list[str], info: ValidationInfo) -> list[str]:
    if regions and info.context is not None and not info.context.knows_regions and not info.context.lenient:
        raise ValueError(
            "Nobody's region is known here: the operator has to name a file of regions in ROUTER_GEOIP first."
        )
    return regions


Page = Annotated[str, Field(min_length=1, max_length=500), refusing(pattern_error)]
Source = Annotated[str, Field(min_length=1, max_length=300), refusing(pattern_error)]
Region = Annotated[str, Field(min_length=1, max_length=10), AfterValidator(str.upper), refusing(region_error)]
Regions = Annotated[list[Region], Field(max_length=200), AfterValidator(_known_regions)]
Digits = Annotated[str, Field(max_length=15), written_as(r"[0-9]*", "Write digits only, like 415.")]
OptionalNumber = Annotated[
    Number | None, BeforeValidator(lambda value: value.strip() or None if isinstance(value, str) else value)
]
Title = Annotated[str, Field(max_length=120), AfterValidator(parse_name)]
Selector = Annotated[str, Field(min_length=1, max_length=300), refusing(selector_error)]
Replaced = Annotated[str, Field(min_length=1, max_length=40), refusing(replace_error)]
Mask = Annotated[str, Field(max_length=60), refusing(format_error)]


class StaticSource(StrictSchema):
    """The marketing source that a static number stands for."""

    source: Annotated[str, Field(min_length=1, max_length=200), refusing(pattern_error)]
    medium: Pattern = ""
    campaign: Pattern = ""


class Tagging(StrictSchema):
    selectors: Annotated[list[Selector], Field(max_length=50)] = []
    replace: Annotated[list[Replaced], Field(max_length=50)] = []
    format: Mask = ""


class Channel(StrictSchema):
    """Which numbers the visitors of some marketing sources get. A static number without a match is shown to nobody."""

    match: Match = Match()
    kind: Literal["dynamic", "static"]
    number: OptionalNumber = None


class Terms(StrictSchema):
    """Whom the scenario is for. Sources are `source[/medium[/campaign]]`, pages paths, regions `DE` or `US-CA`; `*` is anything."""

    only_sources: Annotated[list[Source], Field(max_length=200)] = []
    excluded_sources: Annotated[list[Source], Field(max_length=200)] = []
    only_landing_pages: Annotated[list[Page], Field(max_length=200)] = []
    excluded_landing_pages: Annotated[list[Page], Field(max_length=200)] = []
    only_regions: Regions = []
    excluded_regions: Regions = []


class ToBuy(StrictSchema):
    """What *Connect* is to buy: these numbers, and as many others as `count` says, of this kind."""

    numbers: Annotated[list[Number], Field(max_length=MOST_TO_BUY)] = []
    count: Annotated[int, Field(ge=0, le=MOST_TO_BUY)] = 0
    country: Annotated[str, AfterValidator(lambda text: parse_country(text) if text else "")] = ""
    area_code: Digits = ""
    contains: Digits = ""

    @model_validator(mode="after")
    def _in_project_country(self, info: ValidationInfo) -> Self:
        if self.count and not self.country and info.context is not None:
            self.country = info.context.country
        return self


class Upkeep(StrictSchema):
    """Whether the pool is kept at its best size (R9), and within which limits."""

    on: bool = False
    spending_limit_minor: Annotated[int, Field(ge=0, le=10**15)] | None = None
    max_numbers: Annotated[int, Field(ge=1, le=5000)] | None = None


class ScenarioSchema(StrictSchema):
    title: Title
    enabled: bool = False
    numbers: Annotated[list[Number], Field(max_length=5000)] = []
    channels: Annotated[list[Channel], Field(max_length=500), OnStep("channels")] = []
    static: Annotated[dict[TypedNumber, StaticSource], OnStep("channels")] = {}
    flow: Annotated[FlowSchema | None, OnStep("forwarding")] = None
    tagging: Annotated[Tagging, OnStep("tagging")] = Tagging()
    aim: Literal["visit", "source"] = "visit"
    exhausted: Literal["share", "overflow", "keep"] = "share"
    overflow: OptionalNumber = None
    hold_seconds: Annotated[int, Field(ge=30, le=3600)] = DEFAULT_HOLD_SECONDS
    terms: Annotated[Terms, OnStep("terms")] = Terms()
    upkeep: Upkeep = Upkeep()
    manager: Annotated[str, Field(max_length=120), refusing(pattern_error), OnStep("integrations")] = ""
    to_buy: ToBuy = ToBuy()


class NumberShape(StrictSchema):
    """A number as it is added."""

    e164: Annotated[str, Field(max_length=60)]


def parse_scenario(
    document: Mapping[str, Any], context: Context | None = None
) -> tuple[ScenarioSchema, dict[str, str]]:
    """What can be read of a document, and a sentence for each field that cannot.

    A field that cannot be used is left out, so that its neighbours can still be checked; if that will not do, its whole member.
    """
    problems = problems_of(ScenarioSchema, document, context)
    if not problems:
        return ScenarioSchema.model_validate(document, context=context), {}
    lenient = replace(context, lenient=True) if context else None
    usable = deepcopy(dict(document))
    for problem in problems:
        *path, name = problem["loc"]
        holder: Any = usable
        for step in path:
            # what is around it may have been left out by then
            holder = holder.get(step) if isinstance(holder, dict) else holder and holder[step]
        # items of lists stay, so that indexes keep their meaning
        if isinstance(holder, dict) and problem["type"] != UNREADABLE:
            holder.pop(name, None)
    for problem in problems_of(ScenarioSchema, usable, lenient):
        usable.pop(str(problem["loc"][0]), None)
    errors = {".".join(map(str, problem["loc"])): sentence_of(problem) for problem in problems}
    return ScenarioSchema.model_validate({"title": "–"} | usable, context=lenient), errors


def describe_part(name: str, schema: dict[str, Any]) -> None:
    """Completes the schema of a member that a package above fills."""
    for part in current_server().scenario_parts if has_app_context() else ():
        if part.name == name:
            schema |= part.json_schema()


class ScenarioBody(ScenarioSchema):
    """A scenario as it is written. `integrations`: webhook_start, webhook_end, ga4 and crm, each with its own members."""

    integrations: Annotated[
        dict[str, Any], Field(default_factory=dict, json_schema_extra=partial(describe_part, "integrations"))
    ]


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


class FlowSecretDocument(BaseModel):
    """`whsec_` and base64, as Standard Webhooks has it."""

    secret: str


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
