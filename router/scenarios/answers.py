"""What programs send and get about scenarios and numbers, for the API's description; the documents are made elsewhere."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from router.scenarios.shape import ScenarioShape, StaticSource


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
