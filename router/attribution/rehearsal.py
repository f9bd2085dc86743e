"""What a page would show, without a visit and without a lease: for who sets up the tag and looks at the page."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.arrivals import shown_to
from router.attribution.leases import HeldLease
from router.attribution.models import PoolNumber
from router.attribution.prefixes import Prefixes, begins
from router.attribution.tag_projects import GivenNumber, TagProject, TagScenario
from router.attribution.visits import PageView


def numbers_on_trial(
    session: Session, project: TagProject, view: PageView, wanted: Iterable[int] | None
) -> list[GivenNumber]:
    """Of each enabled scenario that the page wants and whose terms allow the page view: its channel's static number, or the first one of
    the pool. Only reads."""

    def first_of_pool(scenario: TagScenario, _: HeldLease | None, prefixes: Prefixes) -> str | None:
        numbers = select(PoolNumber.e164).where(PoolNumber.scenario_id == scenario.id).order_by(PoolNumber.number_id)
        return next((e164 for e164 in session.scalars(numbers) if begins(e164, prefixes)), None)

    return shown_to(session, view, project.only(wanted), view.groups, [], first_of_pool)
