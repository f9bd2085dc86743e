"""What a page view and a sign of life do: which visit it is, and which numbers its page shows. One transaction each, few statements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.leases import (
    HeldLease,
    LostRace,
    PoolBusy,
    PoolRules,
    Taker,
    held_by,
    keep_alive,
    lend,
    take_back,
    wait_for_pool,
)
from router.attribution.tokens import is_our_visitor, new_visitor
from router.attribution.visits import (
    KnownVisit,
    PageView,
    begin_visit,
    continues,
    find_visit,
    last_visit_of,
    record_sign,
)
from router.crypto import KeyRing
from router.database import Database, table_of
from router.scenarios.channels import channel_for
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.terms import allows
from router.statements import Statement

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TagScenario:
    """An enabled scenario as the tag's endpoints need it."""

    id: int
    aim: str
    hold_seconds: int
    tagging: Mapping[str, Any]
    terms: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[Mapping[str, Any]] = ()
    in_turn: bool = False

    @property
    def rules(self) -> PoolRules:
        return PoolRules(self.id, self.aim, timedelta(seconds=self.hold_seconds), self.in_turn)


@dataclass(frozen=True, slots=True)
class TagProject:
    """A project as the tag's endpoints need it, with its enabled scenarios in ascending id: none while it is suspended."""

    id: int
    site: list[str]
    country: str
    gap: timedelta
    suspended: bool
    scenarios: list[TagScenario]

    def only(self, wanted: Iterable[int] | None) -> list[TagScenario]:
        """The scenarios that a page limits itself to; all when it says nothing."""
        return self.scenarios if wanted is None else [one for one in self.scenarios if one.id in set(wanted)]


@dataclass(frozen=True, slots=True)
class GivenNumber:
    """A number that a page shall show."""

    scenario: TagScenario
    e164: str


@dataclass(frozen=True, slots=True)
class Arrival:
    visit: KnownVisit
    numbers: list[GivenNumber]


_project, _scenario = table_of(Project).c, table_of(Scenario).c
_TAG_PROJECT = Statement(
    lambda _: (
        select(
            *(_project[name] for name in ("id", "site", "country", "visit_gap_seconds", "suspended_at")),
            *(_scenario[name] for name in ("id", "aim", "hold_seconds", "tagging", "terms", "channels")),
        )
        .join_from(
            table_of(Project),
            table_of(Scenario),
            and_(_scenario.project_id == _project.id, _scenario.enabled, _scenario.deleted_at.is_(None)),
            isouter=True,
        )
        .where(_project.key == bindparam("tag_key"))
        .order_by(_scenario.id)
    )
)

_number = table_of(TrackingNumber).c
_STATIC = Statement(  # a channel may still name a number that has left the scenario
    lambda _: select(_number.id).where(
        _number.e164 == bindparam("static_e164"),
        _number.scenario_id == bindparam("scenario"),
        _number.static_source.is_not(None),
        _number.released_at.is_(None),
    )
)


def find_tag_project(session: Session, key: str) -> TagProject | None:
    """The project with this public key, in one statement."""
    rows = _TAG_PROJECT.all(session, {"tag_key": key[:32]})
    if not rows:
        return None
    first = rows[0]
    suspended = first[4] is not None
    scenarios = [TagScenario(*row[5:]) for row in rows if row[5] is not None and not suspended]
    return TagProject(first[0], first[1], first[2], timedelta(seconds=first[3]), suspended, scenarios)


def with_project(database: Database, key: str, work: Callable[[Session, TagProject | None], T]) -> T:
    """Runs `work(session, project)` in a transaction; when it lost a number to somebody else, anew, with the turns of all pools."""
    try:
        with database.writing() as session:
            return work(session, find_tag_project(session, key))
    except LostRace:
        pass
    with database.writing() as session:
        project = find_tag_project(session, key)
        return work(session, _in_turn(session, project) if project else None)


def _in_turn(session: Session, project: TagProject) -> TagProject:
    for scenario in project.scenarios:
        wait_for_pool(session, scenario.id)
    return replace(project, scenarios=[replace(one, in_turn=True) for one in project.scenarios])


def page_viewed(
    session: Session,
    keys: KeyRing,
    project: TagProject,
    view: PageView,
    visitor: str | None,
    wanted: Iterable[int] | None,
    now: datetime,
) -> Arrival:
    """A page view continues the visitor's visit or begins one, and shows a number of every scenario that the page wants and whose terms
    allow the visit (R1, R6)."""
    if visitor is None or not is_our_visitor(keys, project.id, visitor):
        visitor, before = new_visitor(keys, project.id), None
    else:
        before = last_visit_of(session, project.id, visitor)
    scenarios = project.only(wanted)
    if before is not None and continues(before, view.evidence, project.gap, now):
        return _goes_on(session, before, scenarios, view.ga, now)
    visit = begin_visit(session, project.id, visitor, view, now)
    held = {lease.scenario_id: lease for lease in held_by(session, before.id)} if before else {}

    def lent(scenario: TagScenario) -> list[GivenNumber]:
        return _first_number(session, visit, before, held.get(scenario.id), scenario, now)

    return Arrival(visit, _shown(session, visit, scenarios, lent))


def sign_of_life(
    session: Session, project: TagProject, visit_id: int, ga: Mapping[str, str] | None, now: datetime
) -> Arrival | None:
    """A page says that it is open. The numbers are those that the page has to change; None: no such visit. What a scenario's terms and
    channels say by now counts when the page asks anew."""
    visit = find_visit(session, project.id, visit_id)
    if visit is None:
        return None
    held = held_by(session, visit.id)
    scenarios = {one.id: one for one in project.scenarios}
    changed: list[GivenNumber] = []
    for lease in held:
        scenario = scenarios.get(lease.scenario_id)
        hold = scenario.rules.hold if scenario else project.gap
        if not keep_alive(session, visit.visitor, lease, visit.is_active(hold, now), now) and scenario:
            changed += _given(session, visit, scenario, now, lost=True)
    record_sign(session, visit, now, ga)
    return Arrival(visit, changed)


def last_sign(session: Session, project: TagProject, visit_id: int, now: datetime) -> bool:
    """The page is left: only a last sign of life; nothing new is lent to a page that closes."""
    visit = find_visit(session, project.id, visit_id)
    if visit is None:
        return False
    holds = {one.id: one.rules.hold for one in project.scenarios}
    for lease in held_by(session, visit.id):
        keep_alive(session, visit.visitor, lease, visit.is_active(holds.get(lease.scenario_id, project.gap), now), now)
    record_sign(session, visit, now)
    return True


def _goes_on(
    session: Session, visit: KnownVisit, scenarios: list[TagScenario], ga: Mapping[str, str], now: datetime
) -> Arrival:
    held = {lease.scenario_id: lease for lease in held_by(session, visit.id)}

    def kept_or_lent(scenario: TagScenario) -> list[GivenNumber]:
        lease = held.get(scenario.id)
        if lease and keep_alive(session, visit.visitor, lease, visit.is_active(scenario.rules.hold, now), now):
            return [GivenNumber(scenario, lease.entry.e164)]
        return _given(session, visit, scenario, now, lost=lease is not None)

    numbers = _shown(session, visit, scenarios, kept_or_lent)
    record_sign(session, visit, now, ga)
    return Arrival(visit, numbers)


def _shown(
    session: Session,
    visit: KnownVisit,
    scenarios: Iterable[TagScenario],
    dynamic: Callable[[TagScenario], list[GivenNumber]],
) -> list[GivenNumber]:
    """What the visit is shown: of each scenario that is for it, its channel's static number, which nobody has to lend, or else a dynamic
    one. Only facts that the visit keeps decide, so each of its page views decides alike."""
    numbers: list[GivenNumber] = []
    for scenario in scenarios:
        if not allows(scenario.terms, visit.came_from, visit.page, visit.region):
            continue
        _, static = channel_for(scenario.channels, visit.came_from)
        if static and _STATIC.first(session, {"scenario": scenario.id, "static_e164": static}):
            numbers.append(GivenNumber(scenario, static))
        else:
            numbers += dynamic(scenario)
    return numbers


def _first_number(
    session: Session,
    visit: KnownVisit,
    before: KnownVisit | None,
    lease: HeldLease | None,
    scenario: TagScenario,
    now: datetime,
) -> list[GivenNumber]:
    """A new visit's number: the one that this visitor's visit before it holds still, else one of the pool."""
    taker = Taker(visit.id, visit.visitor, visit.source_key)
    lost = False
    while before and lease and lease.still_held(visit.visitor, active := before.is_active(scenario.rules.hold, now)):
        if take_back(session, scenario.rules, taker, lease, active, now):
            return [GivenNumber(scenario, lease.entry.e164)]
        lost = True  # somebody came to share it at this moment: look again whether it is held still
        lease = next((one for one in held_by(session, before.id) if one.scenario_id == scenario.id), None)
    return _given(session, visit, scenario, now, lost=lost)


def _given(
    session: Session, visit: KnownVisit, scenario: TagScenario, now: datetime, *, lost: bool
) -> list[GivenNumber]:
    try:
        entry = lend(session, scenario.rules, Taker(visit.id, visit.visitor, visit.source_key), now, lost=lost)
    except PoolBusy:
        return []
    return [GivenNumber(scenario, entry.e164)] if entry else []
