"""What a plan is asked for with: the scenario's own visits and calls, or a described traffic; and the plan as programs get it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from router.attribution.planner.plan import MOST_TRIED
from router.attribution.planner.traffic import SOURCES, Traffic, described_traffic

LONGEST_HOURS = 8760.0
WARM_UP = 0.05
"""The share of the described time that fills the pool before calls count."""


class TrafficShape(BaseModel):
    """A described traffic; without hours as many as bring 16,000 visits, a year at most. `callers`: the share of visits that call."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    visits_per_hour: float = Field(ge=0.1, le=10_000)
    callers: float = Field(default=0.06, ge=0.001, le=0.5)
    sources: int = Field(default=SOURCES, ge=1, le=100)
    hours: float | None = Field(default=None, ge=1, le=LONGEST_HOURS)
    seed: int = Field(default=1, ge=0, le=2**31 - 1)

    @field_validator("hours")
    @classmethod
    def _not_too_many(cls, hours: float | None, others: ValidationInfo) -> float | None:
        if hours is not None and hours * others.data.get("visits_per_hour", 0) > MOST_TRIED:
            raise ValueError(f"At most {MOST_TRIED:,} visits are tried: ask for fewer hours, or leave them out.")
        return hours

    def traffic(self, most_visits: int = MOST_TRIED) -> Traffic:
        """The same words give the same traffic, of so many visits at most."""
        spread = (self.callers * 2 / 3, self.callers * 4 / 3)
        hours = min(self.hours or LONGEST_HOURS, most_visits / self.visits_per_hour)
        warm_up = hours * WARM_UP
        counted = hours - warm_up
        return described_traffic(
            self.visits_per_hour, counted, self.seed, callers=spread, sources=self.sources, warm_up_hours=warm_up
        )


class PointDocument(BaseModel):
    """What a pool of so many numbers told. Shares from 0 to 1: of calls, with two standard errors, and of visits that had a number of
    their own (aim source: or shared it within their source only). `week`: what the numbers cost here for 7 days."""

    numbers: int
    aim: Literal["visit", "source"]
    right_source: float
    source_error: float
    right_visit: float
    visit_error: float
    alone: float
    week: str


class PlanDocument(BaseModel):
    """A plan of a scenario's pool. `state`: waiting, going (see `done` of `trials`), made, or none (see `error`). `numbers`: the pool as it
    was; `traffic`: the described one, null for the scenario's own; `recommended`: the smallest pool that tells as many right sources
    as the best one but for 1 % of the calls."""

    scenario: int
    state: Literal["waiting", "going", "made", "none"]
    asked_at: str
    made_at: str | None
    error: str
    traffic: dict[str, Any] | None
    numbers: int | None
    aim: Literal["visit", "source"] | None
    visits: int | None
    calls: int | None
    done: int
    trials: int | None
    recommended: int | None
    findings: list[str]
    currency: str
    points: list[PointDocument]
