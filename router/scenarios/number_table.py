"""The list of numbers: which ones an address asks for, and how many there are of each kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, case, func, select
from sqlalchemy.orm import Session

from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers import present_numbers
from router.scenarios.renting.paid_time import GRACE
from router.web import GREATEST_ID

USES = ("used", "free", "grace", "kept", "leaving", "gone")


@dataclass(frozen=True, slots=True)
class NumberQuery:
    """What the address asks for. `use` is one of USES or empty: all that are here; `gone` ones were given back."""

    use: str = ""
    scenario: int | None = None
    digits: str = ""

    @property
    def filtered(self) -> bool:
        return bool(self.use or self.scenario or self.digits)


@dataclass(frozen=True, slots=True)
class Figures:
    """How many numbers a project has: in scenarios, free, unpaid (among both), those of them whose grace is over, and being given back."""

    used: int
    free: int
    grace: int
    kept: int
    leaving: int


def read_number_query(args: Mapping[str, str]) -> NumberQuery:
    """Junk asks for nothing."""
    use, scenario = args.get("use", ""), args.get("scenario", "")
    known = scenario.isascii() and scenario.isdigit() and 0 < int(scenario[:20]) <= GREATEST_ID
    digits = "".join(sign for sign in args.get("q", "") if sign.isascii() and sign.isdigit())
    return NumberQuery(use if use in USES else "", int(scenario) if known else None, digits[:20])


def numbers_asked_for(project_id: int, query: NumberQuery, now: datetime) -> Select[TrackingNumber]:
    wanted = present_numbers(project_id)
    if query.use == "gone":
        wanted = select(TrackingNumber).where(
            TrackingNumber.project_id == project_id, TrackingNumber.released_at.is_not(None)
        )
    elif query.use:
        wanted = wanted.where(_conditions(now)[query.use])
    if query.scenario:
        wanted = wanted.where(TrackingNumber.scenario_id == query.scenario)
    if query.digits:
        wanted = wanted.where(TrackingNumber.e164.contains(query.digits))
    return wanted


def number_figures(session: Session, project_id: int, now: datetime) -> Figures:
    """In one statement."""
    wanted = _conditions(now)
    counted = [func.coalesce(func.sum(case((wanted[name], 1), else_=0)), 0) for name in Figures.__slots__]
    here = select(*counted).where(TrackingNumber.project_id == project_id, TrackingNumber.released_at.is_(None))
    return Figures(*(int(count) for count in session.execute(here).one()))


def titles_of(session: Session, project_id: int) -> dict[int, str]:
    """The titles of the project's scenarios by id, in the order of the alphabet."""
    titles = select(Scenario.id, Scenario.title).where(Scenario.project_id == project_id, Scenario.deleted_at.is_(None))
    return {row.id: row.title for row in session.execute(titles.order_by(func.lower(Scenario.title), Scenario.id))}


def _conditions(now: datetime) -> dict[str, ColumnElement[bool]]:
    stays = TrackingNumber.releasing_at.is_(None)
    rented = and_(TrackingNumber.owned_elsewhere.is_(False), stays)
    return {
        "used": TrackingNumber.scenario_id.is_not(None),
        "free": and_(TrackingNumber.scenario_id.is_(None), stays),
        "grace": and_(rented, TrackingNumber.paid_until <= now),
        "kept": and_(rented, TrackingNumber.paid_until <= now - GRACE),
        "leaving": TrackingNumber.releasing_at.is_not(None),
    }
