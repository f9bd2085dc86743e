"""A plan of a pool: the described traffic that it is asked for with, which sizes to try, what each costs, and what was found, in words and
as charts, for pages, programs and the command."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from math import log, sqrt
from operator import attrgetter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from sqlalchemy.orm import Session

from router.accounts.ledger import price_of
from router.accounts.models import Project
from router.attribution.models import PoolPlan
from router.attribution.planner.traffic import SOURCES, Traffic, described_traffic
from router.carriers.base import CarrierPrice
from router.config import Settings
from router.lib.formats import CURRENCIES, format_count, format_money, format_percent, plain_money
from router.scenarios.numbers.search import carrier_price
from router.web.charts import PERCENT, Across, LineChart, Series, money_axis
from router.web.errors import iso

Aim = Literal["visit", "source"]

MOST_TRIED, LEAST_TRIED = 16_000, 3_000
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


class Point(BaseModel):
    """What a pool of so many numbers told with one aim. Shares from 0 to 1: of calls, with two standard errors, and of visits that had a
    number of their own (aim source: or shared it within their source only)."""

    numbers: int
    aim: Aim
    right_source: float
    source_error: float
    right_visit: float
    visit_error: float
    alone: float


class PointDocument(Point):
    """What a pool of so many numbers told. Shares from 0 to 1: of calls, with two standard errors, and of visits that had a number of
    their own (aim source: or shared it within their source only). `week`: what the numbers cost here for 7 days."""

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
    aim: Aim | None
    visits: int | None
    calls: int | None
    done: int
    trials: int | None
    recommended: int | None
    findings: list[str]
    currency: str
    points: list[PointDocument]


AIMS: tuple[Aim, ...] = ("visit", "source")
SIZES = 12
FURTHEST = 4
"""Pools up to so many times today's are tried."""
NO_POOL = 10
"""Stands for today's pool where there is none yet."""
NEAR = 0.01
"""A share that is not further below the best one is as good."""
WORTH_SAYING = 0.02
"""The other aim is mentioned when it tells so much more."""
SMALL = 25
"""A visit in the smallest pool takes as long as looking at so many numbers."""
BUDGET = 11_500_000
WEEKS_A_YEAR = Decimal(365) / 7


@dataclass(frozen=True, slots=True)
class Costs:
    """What one number costs a week here, in minor units, and what the carrier itself asks, if it said."""

    price_minor: int
    currency: str
    carrier: CarrierPrice | None = None

    @property
    def known(self) -> bool:
        return self.price_minor > 0 or self.carrier is not None

    @property
    def whose(self) -> str:
        """Words after an amount: whose price it is, if it is not ours."""
        return "" if self.price_minor or not self.carrier else " at the carrier"

    def week(self, numbers: int) -> int | None:
        """What so many cost a week, in minor units of `in_currency`: our price, else the carrier's."""
        if self.price_minor:
            return self.price_minor * numbers
        if self.carrier is None:
            return None
        a_week = Decimal(self.carrier.amount) / (WEEKS_A_YEAR / 12 if self.carrier.period == "month" else 1)
        minor = a_week * numbers * 10 ** CURRENCIES.get(self.carrier.currency, 2)
        return int(minor.quantize(Decimal(1), ROUND_HALF_UP))

    @property
    def in_currency(self) -> str:
        return self.currency if self.price_minor or not self.carrier else self.carrier.currency

    def say(self, numbers: int) -> str:
        """`8.00 USD`; empty when no price is known."""
        week = self.week(numbers)
        return "" if week is None else format_money(week, self.in_currency)


def spread(share: float, calls: int) -> float:
    """By how much chance may have moved a share of so many calls, two standard errors by Wilson: above 0 even if all were right."""
    if not calls:
        return 1.0
    return 2 * sqrt(share * (1 - share) / calls + 1 / calls**2) / (1 + 4 / calls)


def ladder(today: int) -> list[int]:
    """About a dozen pool sizes from 1 to four times today's, each larger by the same share; today's is among them."""
    base = today or NO_POOL
    most = FURTHEST * base
    sizes = {round(most ** (step / (SIZES - 1))) for step in range(SIZES)} if most > SIZES else set(range(1, most + 1))
    return sorted(sizes | {base})


def trials(today: int) -> list[tuple[int, Aim]]:
    return [(numbers, aim) for numbers in ladder(today) for aim in AIMS]


def most_visits(today: int) -> int:
    """How many visits can be tried with all sizes in about 20 seconds of one core: larger pools take longer."""
    work = sum(SMALL + size for size in ladder(today))
    return max(LEAST_TRIED, min(MOST_TRIED, BUDGET // work))


def trust(calls: int) -> str:
    """How much the figures are worth that rest on so many calls; empty when they are worth what they say."""
    if calls < 100:
        return "That is few: take every share as a range, and ask again when there were more calls."
    return "" if calls >= 400 else "Differences of a few per cent may be chance."


LOWEST = (0.8, 0.6, 0.0)
"""Where the axis of shares may begin: from 0, a pool that tells much anyway would be a flat line."""
ROOM = 0.11
"""Between two written sizes, of the width."""
AIM_WORDS = {"visit": "aim: which visit", "source": "aim: which advertisement"}


def costs_of(session: Session, settings: Settings, project: Project) -> Costs:
    known = carrier_price(session, project.country)
    return Costs(price_of(settings, project), project.currency, known.price)


@dataclass(frozen=True)
class MadePlan:
    """The points of a plan with its words and charts. `today`: how many numbers the pool had."""

    points: Sequence[Point]
    aim: str
    today: int
    costs: Costs

    def of_aim(self, aim: str) -> list[Point]:
        return sorted((point for point in self.points if point.aim == aim), key=lambda point: point.numbers)

    def at(self, numbers: int, aim: str) -> Point | None:
        return next((point for point in self.points if (point.numbers, point.aim) == (numbers, aim)), None)

    @property
    def sizes(self) -> list[int]:
        return [point.numbers for point in self.of_aim(self.aim)]

    @property
    def now(self) -> Point | None:
        return self.at(self.today, self.aim)

    @property
    def other_aim(self) -> str:
        return next(aim for aim in AIMS if aim != self.aim)

    @property
    def recommended(self) -> Point:
        """The smallest pool that tells the right source for as many calls as the best one, but for 1 % of the calls."""
        points = self.of_aim(self.aim)
        best = max(point.right_source for point in points)
        return next(point for point in points if point.right_source >= best - NEAR)

    @property
    def findings(self) -> list[str]:
        """One sentence on the size of the pool, and one on its aim where the other one would tell clearly more."""
        better, now, costs = self.recommended, self.now, self.costs
        share = format_percent(better.right_source)
        if now is None:
            cost = costs.say(better.numbers)
            numbers = format_count(better.numbers, "number")
            price = f", for {cost} a week{costs.whose}" if cost else ""
            sentence = f"{numbers} would tell the right advertisement for {share} of calls{price}."
            return [sentence, *self._other_aim_told(better.numbers)]
        tell = "1 number tells" if now.numbers == 1 else f"{now.numbers:,} numbers tell"
        told = f"{tell} the right advertisement for {format_percent(now.right_source)} of calls"
        cost = costs.say(abs(better.numbers - now.numbers))
        if better.numbers > now.numbers:
            tried = max(point.numbers for point in self.points)
            more = f"{better.numbers}, the most that were tried," if better.numbers == tried else f"{better.numbers}"
            price = f" for {cost} more a week{costs.whose}" if cost else ""
            if better.right_source - now.right_source <= max(better.source_error, now.source_error):
                sentence = f"{told}; {more} may tell {share}{price}, but there are too few calls to be sure."
            else:
                sentence = f"{told}; {more} would tell {share}{price}."
        elif better.numbers < now.numbers:
            price = f" and cost {cost} a week less{costs.whose}" if cost else ""
            sentence = f"{told}; {better.numbers} would tell {share}{price}."
        else:
            sentence = f"{told}; more would tell hardly more."
        return [sentence, *self._other_aim_told(self.today)]

    def _other_aim_told(self, numbers: int) -> list[str]:
        """What the same pool would tell with the other aim, if that is clearly more of what this other aim is for."""
        now, then = self.at(numbers, self.aim), self.at(numbers, self.other_aim)
        if now is None or then is None:
            return []
        source, visit, visit_now = map(format_percent, (then.right_source, then.right_visit, now.right_visit))
        told = f"the same {numbers} would tell"
        if self.other_aim == "source" and then.right_source - now.right_source > WORTH_SAYING:
            before = f" instead of {visit_now}" if visit_now != visit else ""
            sources = f"the right advertisement for {source} of calls"
            return [
                f"If they only had to tell the advertisement, {told} {sources}, and the right visit for {visit}{before}."
            ]
        if self.other_aim == "visit" and then.right_visit - now.right_visit > WORTH_SAYING:
            visits = f"the right visit for {visit} of calls instead of {visit_now}"
            return [f"If they had to tell the visit, {told} {visits}, and the right advertisement for {source}."]
        return []

    def document(self) -> dict[str, Any]:
        """The last members of a PlanDocument."""
        costs = self.costs
        weeks = [plain_money(costs.price_minor * point.numbers, costs.currency) for point in self.points]
        points = [point.model_dump() | {"week": week} for point, week in zip(self.points, weeks, strict=True)]
        told = {"recommended": self.recommended.numbers, "findings": self.findings}
        return told | {"currency": costs.currency, "points": points}

    def chart(self, title: str, member: str) -> LineChart:
        """
        Args:
            member: right_source or right_visit.
        """
        share = attrgetter(member)
        both = ((self.aim, " (now)"), (self.other_aim, ""))
        lines = [Series(AIM_WORDS[aim] + now, [share(point) for point in self.of_aim(aim)]) for aim, now in both]
        costs, second = [self.costs.week(numbers) for numbers in self.sizes], None
        if self.costs.known:
            second = money_axis(self.costs.in_currency, f"{self.costs.in_currency} a week{self.costs.whose}")
            lines.append(Series("cost", costs, second=True))
        # of the sizes, the axis names today's and the ends, and of the others those that have room
        smallest, largest = self.sizes[0], self.sizes[-1]
        ticks = {smallest, largest} | ({self.today} if self.now else set())
        for size in self.sizes:
            if all(abs(log(size / other)) >= ROOM * log(largest / smallest) for other in ticks):
                ticks.add(size)
        across = Across(
            self.sizes,
            lambda size: format_count(round(size), "number"),
            sorted(ticks),
            lambda size: f"{round(size):,}",
            "Numbers in the pool",
            logarithmic=True,
        )
        ends = [
            f"{format_percent(share(point))} with {format_count(point.numbers, 'number')}"
            for point in self.of_aim(self.aim)
        ]
        least = min(value for line in lines if not line.second for value in line.values if value is not None)
        return LineChart(
            title,
            f"From {ends[0]} to {ends[-1]}.",
            across=across,
            series=lines,
            up=replace(PERCENT, low=next(low for low in LOWEST if least >= low)),
            second=second,
            mark=(self.today, f"today: {self.today}") if self.now else None,
        )


def made_plan(plan: PoolPlan, costs: Costs) -> MadePlan | None:
    """None while it is not made, or when it could not be."""
    if plan.made_at is None or plan.error or plan.facts is None:
        return None
    points = [Point(**point) for point in plan.points]
    return MadePlan(points, plan.facts["aim"], plan.facts["numbers"], costs)


def plan_state(plan: PoolPlan) -> str:
    """waiting, going, made, or none when it could not be made."""
    if plan.made_at is not None:
        return "none" if plan.error else "made"
    return "waiting" if plan.facts is None else "going"


def plan_document(plan: PoolPlan, costs: Costs) -> dict[str, Any]:
    facts, made = plan.facts or {}, made_plan(plan, costs)
    return {
        "scenario": plan.scenario_id,
        "state": plan_state(plan),
        "asked_at": iso(plan.asked_at),
        "made_at": iso(plan.made_at) if plan.made_at else None,
        "error": plan.error,
        "traffic": plan.inputs or None,
        **{name: facts.get(name) for name in ("numbers", "aim", "visits", "calls")},
        "done": len(plan.points),
        "trials": trial_count(plan),
        **(
            made.document() if made else {"recommended": None, "findings": [], "currency": costs.currency, "points": []}
        ),
    }


def trial_count(plan: PoolPlan) -> int | None:
    return len(AIMS) * len(plan.facts["sizes"]) if plan.facts else None


def seconds_left(plan: PoolPlan) -> float | None:
    """How long the rest will take at the pace of what is done; None when that cannot be said yet."""
    if not plan.points or not plan.facts or "seconds" not in plan.facts:
        return None
    work = [SMALL + numbers for numbers, _ in trials(plan.facts["numbers"])]
    done = len(plan.points)
    left: float = plan.facts["seconds"] * sum(work[done:]) / sum(work[:done])
    return left
