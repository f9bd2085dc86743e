"""What enabling a scenario would buy and cost, and what is missing for it (R2, R4)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.ledger import price_of
from router.accounts.models import Project
from router.money import say_money
from router.scenarios.documents import scenario_document
from router.scenarios.linting.findings import Finding
from router.scenarios.linting.lint import lint
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.web import Problem

PAID_AT_ONCE = timedelta(days=7)


@dataclass(frozen=True)
class Enabling:
    """All money in minor units of the project's currency."""

    to_buy: list[str]
    """Numbers in E.164."""
    count: int
    """How many others beside them, found by the scenario's search."""
    price_minor: int
    """Of one number and 7 days."""
    owed_minor: int
    """What numbers in grace owe; part of the cost."""
    cost_minor: int
    balance_minor: int
    currency: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many numbers would be bought."""
        return len(self.to_buy) + self.count

    @property
    def missing_minor(self) -> int:
        return max(self.cost_minor - self.balance_minor, 0)

    def check(self) -> None:
        """
        Raises:
            Problem: 409 with what is missing.
        """
        if self.missing_minor:
            raise Problem(
                409,
                f"{say_money(self.missing_minor, self.currency)} are missing: this costs "
                f"{say_money(self.cost_minor, self.currency)} now, and the balance is "
                f"{say_money(self.balance_minor, self.currency)}. Top it up, then repeat.",
                missing_minor=self.missing_minor,
                cost_minor=self.cost_minor,
                balance_minor=self.balance_minor,
                currency=self.currency,
            )


def enabling_of(session: Session, server: Server, project: Project, scenario: Scenario, now: datetime) -> Enabling:
    """What *Connect* would do, with what the linter says of the scenario."""
    document = scenario_document(session, server, scenario)
    return cost_of_enabling(
        session, server, project, scenario, now, lint(session, server, project, scenario.id, document)
    )


def cost_of_enabling(
    session: Session,
    server: Server,
    project: Project,
    scenario: Scenario,
    now: datetime,
    findings: list[Finding] | None = None,
) -> Enabling:
    """Numbers already paid and own ones cost nothing."""
    to_buy: dict[str, Any] = scenario.to_buy
    numbers, count = list(to_buy.get("numbers", [])), int(to_buy.get("count", 0))
    price, periods = 0, _owed_periods(session, scenario, now)
    if numbers or count or periods:
        price = price_of(server.settings, session.get_one(Project, project.id, populate_existing=True))
    balance = session.execute(select(Project.balance_minor).where(Project.id == project.id)).scalar_one()
    return Enabling(
        to_buy=numbers,
        count=count,
        price_minor=price,
        owed_minor=periods * price,
        cost_minor=(len(numbers) + count + periods) * price,
        balance_minor=balance,
        currency=project.currency,
        findings=findings or [],
    )


def _owed_periods(session: Session, scenario: Scenario, now: datetime) -> int:
    """How many times 7 days the scenario's numbers in grace owe; they are renewed from where their paid time ended."""
    ended = select(TrackingNumber.paid_until).where(
        TrackingNumber.scenario_id == scenario.id,
        TrackingNumber.paid_until <= now,
        TrackingNumber.owned_elsewhere.is_(False),
        TrackingNumber.releasing_at.is_(None),
    )
    return sum((now - end) // PAID_AT_ONCE + 1 for end in session.scalars(ended) if end is not None)
