"""A plan as pages, programs and the command show it: its figures with what they cost, its findings, and the charts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.ledger import price_of
from router.accounts.models import Project
from router.attribution.models import PoolPlan
from router.attribution.planner.plan import AIMS, Costs, Point, findings, of_aim, point_at, recommended, trials, work_of
from router.charts import PERCENT, Across, Axis, LineChart, Series, line_chart, money_axis, say_percent
from router.formats import say_count
from router.money import plain_money
from router.scenarios.renting.carrier_prices import carrier_price
from router.settings import Settings
from router.web import iso

LOWEST = (0.8, 0.6, 0.0)
ROOM = 0.11
"""Between two written sizes, of the width."""
AIM_WORDS = {"visit": "aim: which visit", "source": "aim: which advertisement"}


def costs_of(session: Session, settings: Settings, project: Project) -> Costs:
    known = carrier_price(session, project.country)
    return Costs(price_of(settings, project), project.currency, known.price)


@dataclass(frozen=True)
class Shown:
    """A made plan with its words."""

    points: Sequence[Point]
    aim: str
    today: int
    costs: Costs

    @property
    def sizes(self) -> list[int]:
        return [point.numbers for point in of_aim(self.points, self.aim)]

    @property
    def findings(self) -> list[str]:
        return findings(self.points, self.aim, self.today, self.costs)

    @property
    def recommended(self) -> Point:
        return recommended(self.points, self.aim)

    @property
    def now(self) -> Point | None:
        return self.at(self.today, self.aim)

    def at(self, numbers: int, aim: str) -> Point | None:
        return point_at(self.points, numbers, aim)

    @property
    def other_aim(self) -> str:
        return next(aim for aim in AIMS if aim != self.aim)

    def sources_chart(self) -> LineChart:
        return self._chart("Calls with the right advertisement", lambda point: point.right_source)

    def visits_chart(self) -> LineChart:
        return self._chart("Calls with the right visit", lambda point: point.right_visit)

    def _chart(self, title: str, share: Callable[[Point], float]) -> LineChart:
        both = ((self.aim, " (now)"), (self.other_aim, ""))
        lines = [Series(AIM_WORDS[aim] + now, [share(one) for one in of_aim(self.points, aim)]) for aim, now in both]
        costs, second = [self.costs.week(numbers) for numbers in self.sizes], None
        if self.costs.known:
            second = money_axis(self.costs.in_currency, f"{self.costs.in_currency} a week{self.costs.whose}")
            lines.append(Series("cost", costs, second=True))
        across = Across(self.sizes, _say_size, self._ticks(), _figure, "Numbers in the pool", logarithmic=True)
        return line_chart(
            title,
            self._about(share),
            across=across,
            series=lines,
            up=_axis(lines),
            second=second,
            mark=(self.today, f"today: {self.today}") if self.now else None,
        )

    def _ticks(self) -> list[int]:
        """Today's size and the ends, and of the others those that have room."""
        least, most = self.sizes[0], self.sizes[-1]
        chosen = {least, most} | ({self.today} if self.now else set())
        for size in self.sizes:
            if all(abs(log(size / other)) >= ROOM * log(most / least) for other in chosen):
                chosen.add(size)
        return sorted(chosen)

    def _about(self, share: Callable[[Point], float]) -> str:
        mine = of_aim(self.points, self.aim)
        least, most = mine[0], mine[-1]
        return (
            f"From {say_percent(share(least))} with {say_count(least.numbers, 'number')}"
            f" to {say_percent(share(most))} with {say_count(most.numbers, 'number')}."
        )


def _axis(lines: Sequence[Series]) -> Axis:
    """Of shares, from where they begin: a pool that tells much anyway would be a flat line."""
    least = min(share for line in lines if not line.second for share in line.values if share is not None)
    return replace(PERCENT, low=next(low for low in LOWEST if least >= low))


def _say_size(size: float) -> str:
    return say_count(round(size), "number")


def _figure(size: float) -> str:
    return f"{round(size):,}"


def shown(plan: PoolPlan, costs: Costs) -> Shown | None:
    """None while it is not made, or when it could not be."""
    if plan.made_at is None or plan.error or plan.facts is None:
        return None
    points = [Point(**one) for one in plan.points]
    return Shown(points, plan.facts["aim"], plan.facts["numbers"], costs)


def plan_state(plan: PoolPlan) -> str:
    """waiting, going, made, or none when it could not be made."""
    if plan.made_at is not None:
        return "none" if plan.error else "made"
    return "waiting" if plan.facts is None else "going"


def plan_document(plan: PoolPlan, costs: Costs) -> dict[str, Any]:
    """A PlanDocument."""
    facts, made = plan.facts or {}, shown(plan, costs)
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
        "recommended": made.recommended.numbers if made else None,
        "findings": made.findings if made else [],
        "currency": costs.currency,
        "points": [point_document(one, costs) for one in made.points] if made else [],
    }


def point_document(point: Point, costs: Costs) -> dict[str, Any]:
    return asdict(point) | {"week": plain_money(costs.price_minor * point.numbers, costs.currency)}


def trial_count(plan: PoolPlan) -> int | None:
    return len(AIMS) * len(plan.facts["sizes"]) if plan.facts else None


def seconds_left(plan: PoolPlan) -> float | None:
    """How long the rest will take at the pace of what is done; None when that cannot be said yet."""
    if not plan.points or not plan.facts or "seconds" not in plan.facts:
        return None
    work = [work_of(numbers) for numbers, _ in trials(plan.facts["numbers"])]
    done = len(plan.points)
    left: float = plan.facts["seconds"] * sum(work[done:]) / sum(work[:done])
    return left
