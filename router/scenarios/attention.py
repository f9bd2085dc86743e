"""What somebody should look at in a scenario, in words: it may have no numbers, no destination, nobody to tell."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.scenarios.lint import lint_stored
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server


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


def rows_of_table(session: Session, server: Server, project: Project, scenarios: Iterable[Scenario]) -> list[Row]:
    """The number of statements does not depend on how many scenarios there are."""
    scenarios = list(scenarios)
    ids = [scenario.id for scenario in scenarios]
    counts = _numbers(session, ids)
    found = attention_of(session, server, project, ids)
    return [Row(scenario, *counts.get(scenario.id, (0, 0)), found[scenario.id]) for scenario in scenarios]


def attention_of(
    session: Session, server: Server, project: Project, scenario_ids: Iterable[int]
) -> dict[int, list[str]]:
    """What the linter says of each stored scenario, in sentences."""
    found = lint_stored(session, server, project, scenario_ids)
    return {scenario_id: [finding.sentence for finding in findings] for scenario_id, findings in found.items()}


def _numbers(session: Session, scenario_ids: list[int]) -> dict[int, tuple[int, int]]:
    """Dynamic and static numbers of each scenario."""
    counted = (
        select(TrackingNumber.scenario_id, func.count(TrackingNumber.id), func.count(TrackingNumber.static_source))
        .where(TrackingNumber.scenario_id.in_(scenario_ids))
        .group_by(TrackingNumber.scenario_id)
    )
    return {scenario_id or 0: (every - static, static) for scenario_id, every, static in session.execute(counted)}
