"""Deleting a scenario with its numbers: they become free ones of the project, or are given back to the carrier (R3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.accounts.models import Project
from router.scenarios.documents import numbers_by_scenario
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.release import begin_release
from router.scenarios.service import delete_scenario
from router.server import Server


@dataclass(frozen=True)
class DeletionPreview:
    """The numbers of a scenario, by what can become of them."""

    numbers: int
    static: int
    returnable: Sequence[TrackingNumber]
    """Rented and not pinned: these can be given back."""
    pinned: int
    own: int

    @property
    def paid_until(self) -> datetime | None:
        """When the last of those is no longer paid."""
        return max((one.paid_until for one in self.returnable if one.paid_until), default=None)


def preview_deletion(numbers: Sequence[TrackingNumber]) -> DeletionPreview:
    rented = [one for one in numbers if not one.owned_elsewhere and not one.releasing_at]
    return DeletionPreview(
        numbers=len(numbers),
        static=sum(one.static_source is not None for one in numbers),
        returnable=[one for one in rented if not one.pinned],
        pinned=sum(one.pinned for one in rented),
        own=sum(one.owned_elsewhere for one in numbers),
    )


def delete_with_numbers(
    session: Session, server: Server, project: Project, actor: Actor, scenario_id: int, give_back: bool, now: datetime
) -> tuple[Scenario, int, int]:
    """Hides the scenario; returns it, how many numbers are free again, and how many are being given back.

    Raises:
        Problem: 404.
    """
    preview = preview_deletion(numbers_by_scenario(session, [scenario_id])[scenario_id])
    scenario, freed = delete_scenario(session, server, project, actor, scenario_id, now)
    leaving = preview.returnable if give_back else ()
    for number in leaving:
        begin_release(session, server, project, actor.name, number, now)
    return scenario, freed - len(leaving), len(leaving)
