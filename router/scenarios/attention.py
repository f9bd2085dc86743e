"""What somebody should look at in a scenario, in words: it may have no numbers, no destination, nobody to tell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.parts import ScenarioPart


@dataclass(frozen=True)
class Row:
    """A scenario as the table shows it."""

    scenario: Scenario
    dynamic: int
    static: int
    attention: list[str]

    @property
    def numbers(self) -> int:
        return self.dynamic + self.static

    @property
    def kind(self) -> str:
        """dynamic, static or mixed; empty without numbers."""
        if self.dynamic and self.static:
            return "mixed"
        return "dynamic" if self.dynamic else "static" if self.static else ""


def rows_of_table(session: Session, scenarios: Iterable[Scenario], parts: Iterable[ScenarioPart]) -> list[Row]:
    """The number of statements does not depend on how many scenarios there are."""
    scenarios = list(scenarios)
    ids = [scenario.id for scenario in scenarios]
    counts = _numbers(session, ids)
    shown = {part.name: part.show(session, ids) for part in parts}
    return [
        Row(scenario, *counts.get(scenario.id, (0, 0)), attention_of(scenario, sum(counts.get(scenario.id, ())), shown))
        for scenario in scenarios
    ]


def attention_of(scenario: Scenario, numbers: int, shown: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[str]:
    """Sentences; `shown` is what the parts show, by their name and the scenario's id."""
    found = []
    if not numbers:
        found.append("No numbers: visitors see the page's own.")
    if scenario.call_flow_id is None:
        found.append("No destination: calls go where they went before, else to the project's fallback.")
    if "integrations" in shown and not any((shown["integrations"].get(scenario.id) or {}).values()):
        found.append("Nobody is told about its calls.")
    return found


def _numbers(session: Session, scenario_ids: list[int]) -> dict[int, tuple[int, int]]:
    """Dynamic and static numbers of each scenario."""
    counted = (
        select(TrackingNumber.scenario_id, func.count(TrackingNumber.id), func.count(TrackingNumber.static_source))
        .where(TrackingNumber.scenario_id.in_(scenario_ids))
        .group_by(TrackingNumber.scenario_id)
    )
    return {scenario_id or 0: (every - static, static) for scenario_id, every, static in session.execute(counted)}
