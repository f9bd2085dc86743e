"""What somebody should look at in the scenarios of the table, in words."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.scenarios.linting.lint import lint_stored
from router.server import Server


@dataclass(frozen=True, slots=True)
class Attention:
    """A sentence, and the page that helps, if there is one."""

    sentence: str
    look: str = ""
    look_for: str = ""


def attention_of(
    session: Session, server: Server, project: Project, scenario_ids: Iterable[int]
) -> dict[int, list[Attention]]:
    """What the linter says of each stored scenario, in sentences."""
    found = lint_stored(session, server, project, scenario_ids)
    return {
        scenario_id: [Attention(one.sentence, one.look, one.look_for) for one in findings]
        for scenario_id, findings in found.items()
    }


def unpaid_sentence(unpaid: int) -> list[Attention]:
    """About so many numbers in grace; nothing about none."""
    if not unpaid:
        return []
    numbers = "1 number" if unpaid == 1 else f"{unpaid} numbers"
    return [Attention(f"{numbers} could not be renewed: top up the balance.")]
