"""The e-mail that tells that upkeep reached one of its limits: once for each limit and its value (R9)."""

from datetime import datetime

from sqlalchemy.orm import Session

from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.attribution.upkeep import Decision, Limits
from router.money import say_money
from router.scenarios.models import Scenario


def tell_limits(
    session: Session, project: Project, scenario: Scenario, limits: Limits, decision: Decision, now: datetime
) -> None:
    for limit in decision.reached:
        value = limits.max_numbers if limit == "numbers" else limits.spending_limit_minor
        subject = f"Upkeep of “{scenario.title}” has reached its limit"
        body = (
            f"{_sentence(limit, limits)}\n\n{decision.why}\n\n"
            "Upkeep buys no more numbers beyond it, and the accuracy may stay low. Raise the limit on the scenario's upkeep page, "
            "or add numbers yourself. This is said once for each limit."
        )
        write_mail(session, project, f"upkeep:{scenario.id}:{limit}:{value}", subject, body, now)


def _sentence(limit: str, limits: Limits) -> str:
    if limit == "numbers":
        return f"Upkeep keeps this scenario at {limits.max_numbers} numbers at most, and they are reached."
    said = say_money(limits.spending_limit_minor or 0, limits.currency)
    return f"Upkeep spends {said} at most in any 7 days for numbers that it bought, and they are reached."
