"""What a page view and a sign of life do: which visit it is, and which numbers its page shows. One transaction each, few statements.

What a page would show, without a visit and without a lease: for who sets up the tag and looks at the page."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from router.attribution.models import PoolNumber
from router.attribution.pool.choice import shown_instead
from router.attribution.pool.leases import (
    ALL_ALIKE,
    Groups,
    HeldLease,
    LostRace,
    PoolBusy,
    PoolExhausted,
    PoolRules,
    Prefixes,
    Taker,
    begins,
    held_by,
    keep_alive,
    lend,
    share_unmarked,
    suffixes_by_number,
    take_again,
    take_back,
    wait_for_pool,
)
from router.attribution.pool.unplaced import (
    NOTHING_SAID,
    Report,
    give_back,
    note_unplaced,
    record_in_its_place,
    record_shown,
)
from router.attribution.tracking.consent import NOTHING, Told, follow_consent, record_told, told_by
from router.attribution.tracking.projects import FREE_HOLD, GivenNumber, TagProject, TagScenario, find_tag_project
from router.attribution.tracking.visitors import is_our_visitor, new_visitor
from router.attribution.tracking.visits import (
    KnownVisit,
    PageView,
    begin_visit,
    continues,
    find_visit,
    last_visit_of,
    origin_of,
    record_sign,
)
from router.db import Database, table_of
from router.lib.crypto import KeyRing
from router.scenarios.channels import channel_for
from router.scenarios.matching import SourceParts, allows
from router.scenarios.models import TrackingNumber
from router.statements import Statement

T = TypeVar("T")

Give = Callable[[TagScenario, HeldLease | None, Prefixes], str | None]
"""Keeps the number of a lease, or lends one that begins so."""


@dataclass(frozen=True, slots=True)
class Arrival:
    visit: KnownVisit
    numbers: list[GivenNumber]
    withdrawn: list[int] = field(default_factory=list)
    """Scenarios whose number the page must no longer show, and that have none for it."""


class Guest(Protocol):
    """What decides which scenarios are for somebody: a visit's facts, or those of a page view."""

    @property
    def came_from(self) -> SourceParts: ...
    @property
    def page(self) -> str: ...
    @property
    def region(self) -> str: ...


_number = table_of(TrackingNumber).c
_STATIC = Statement(  # a channel may still name a number that has left the scenario
    lambda _: select(_number.id).where(
        _number.e164 == bindparam("static_e164"),
        _number.scenario_id == bindparam("scenario"),
        _number.static_source.is_not(None),
        _number.released_at.is_(None),
    )
)


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
        numbers = _goes_on(session, before, scenarios, view.groups, now)
        record_told(session, before, told_by(view), now)
        return Arrival(before, numbers)
    origin = origin_of(view.evidence, before, project.source_days, now)
    visit = begin_visit(session, project.id, visitor, view, now, origin)

    def lent(scenario: TagScenario, lease: HeldLease | None, prefixes: Prefixes) -> str | None:
        return _first_number(session, visit, before, lease, scenario, prefixes, now)

    return Arrival(visit, shown_to(session, visit, scenarios, view.groups, _held(session, before, now), lent))


def sign_of_life(
    session: Session,
    project: TagProject,
    visit_id: int,
    told: Told | None,
    now: datetime,
    groups: Groups = ALL_ALIKE,
    report: Report = NOTHING_SAID,
) -> Arrival | None:
    """A page says that it is open, and which numbers stand on it. The numbers are those that the page has to change (all free ones when one
    of them has to be); None: no such visit. What a scenario's terms and channels say by now counts when the page asks anew."""
    visit = find_visit(session, project.id, visit_id)
    if visit is None:
        return None
    held = held_by(session, visit.id)
    scenarios = {one.id: one for one in project.scenarios}
    changed = _changed_free_ones(session, visit, project.scenarios, groups, held, now)
    withdrawn: list[int] = []
    for lease in held:
        scenario = scenarios.get(lease.scenario_id)
        if report.is_silent_about(lease) or (scenario and scenario.is_free_pool):
            continue
        if report.misses(lease) and give_back(session, lease, now):
            withdrawn.append(lease.scenario_id)
            continue
        if _keeps(session, visit, scenario, lease, project.gap, now, report) or not scenario:
            continue
        if e164 := _given(session, visit, scenario, (), now, lost=True):
            record_in_its_place(session, visit.id, lease, e164, now)
            changed.append(GivenNumber(scenario, e164))
        else:
            withdrawn.append(scenario.id)
    record_told(session, visit, told or NOTHING, now)
    return Arrival(visit, changed, withdrawn)


def _changed_free_ones(
    session: Session,
    visit: KnownVisit,
    scenarios: Iterable[TagScenario],
    groups: Groups,
    held: Iterable[HeldLease],
    now: datetime,
) -> list[GivenNumber]:
    """All free numbers of the page when one of them was lent to somebody else since its last sign of life."""
    pools = [one for one in scenarios if one.is_free_pool]
    leases = [lease for lease in held if pools and lease.scenario_id == pools[0].id]
    if not leases:
        return []
    active = visit.is_active(FREE_HOLD, now)
    kept = {lease.e164: lease.still_held(visit.visitor, active) for lease in leases}
    lost = any(not kept[one.e164] and one.lease_started_at >= visit.last_sign_at for one in leases)
    numbers = _goes_on(session, visit, pools, groups, now)
    return numbers if lost or not all(kept.get(one.e164) for one in numbers) else []


def mere_sign(
    session: Session,
    project: TagProject,
    visit_id: int,
    now: datetime,
    report: Report = NOTHING_SAID,
    told: Told | None = None,
    *,
    left: bool = False,
) -> bool:
    """Only a sign of life: nothing new is lent to a page that does not wait for an answer, as when it is left. False: no such visit."""
    visit = find_visit(session, project.id, visit_id)
    if visit is None:
        return False
    scenarios = {one.id: one for one in project.scenarios}
    for lease in held_by(session, visit.id):
        if report.is_silent_about(lease):
            continue
        if report.misses(lease):
            note_unplaced(session, lease, now)
        _keeps(session, visit, scenarios.get(lease.scenario_id), lease, project.gap, now, report)
    record_sign(session, follow_consent(session, visit, told or NOTHING), now, left=left)
    return True


def _keeps(
    session: Session,
    visit: KnownVisit,
    scenario: TagScenario | None,
    lease: HeldLease,
    otherwise: timedelta,
    now: datetime,
    report: Report = NOTHING_SAID,
) -> bool:
    """A sign of life reaches the number of a lease; False when it was lent to somebody else meanwhile. A number that was given back, and
    stands on a page after all, is taken again.

    Args:
        otherwise: the hold where no scenario says one.
    """
    taker = Taker(visit.id, visit.visitor, visit.source_key)
    rules = scenario.rules_for(()) if scenario else None
    if lease.returned:
        kept = rules is not None and take_again(session, rules, taker, lease, now)
    else:
        kept = _lives_on(session, visit, rules, lease, visit.is_active(rules.hold if rules else otherwise, now), now)
    if kept and report.shows(lease):
        record_shown(session, visit.id, lease, now)
    return kept


def _lives_on(
    session: Session, visit: KnownVisit, rules: PoolRules | None, lease: HeldLease, active: bool, now: datetime
) -> bool:
    """An earlier visit that comes back to life beside a later one of the same visitor gets a lease beside it: whoever comes to share the
    number then shares it with both."""
    taker = Taker(visit.id, visit.visitor, visit.source_key)
    if rules and lease.was_left_behind(visit.visitor) and take_back(session, rules, taker, lease, False, now):
        return True
    kept = keep_alive(session, visit.visitor, lease, active, now)
    if kept and rules:
        share_unmarked(session, rules, taker, lease, now)
    return kept


def _goes_on(
    session: Session, visit: KnownVisit, scenarios: Iterable[TagScenario], groups: Groups, now: datetime
) -> list[GivenNumber]:
    def kept_or_lent(scenario: TagScenario, lease: HeldLease | None, prefixes: Prefixes) -> str | None:
        if lease and _keeps(session, visit, scenario, lease, FREE_HOLD, now):
            return lease.e164
        return _given(session, visit, scenario, prefixes, now, lost=lease is not None)

    return shown_to(session, visit, scenarios, groups, _held(session, visit, now), kept_or_lent)


def _held(session: Session, visit: KnownVisit | None, now: datetime) -> list[HeldLease]:
    """The leases of a visit; of free numbers, which it may have several of, only those that nobody else was lent since."""
    if visit is None:
        return []
    active = visit.is_active(FREE_HOLD, now)
    leases = held_by(session, visit.id)
    return [one for one in leases if one.scenario_id > 0 or one.still_held(visit.visitor, active)]


def shown_to(
    session: Session,
    guest: Guest,
    scenarios: Iterable[TagScenario],
    groups: Groups,
    held: Sequence[HeldLease],
    give: Give,
) -> list[GivenNumber]:
    """What a visit is shown: of each scenario that is for it, its channel's static number, which nobody has to lend, or else a dynamic
    one. Only facts that the visit keeps decide, so each of its page views decides alike."""
    newest = {lease.scenario_id: lease for lease in held}
    numbers: list[GivenNumber] = []
    for scenario in scenarios:
        if scenario.is_free_pool:
            numbers += _free_ones(scenario, groups, held, give)
        elif allows(scenario.terms, guest.came_from, guest.page, guest.region):
            e164 = _static_of(session, scenario, guest) or give(scenario, newest.get(scenario.id), ())
            numbers += [GivenNumber(scenario, e164)] if e164 else []
    return numbers


def _static_of(session: Session, scenario: TagScenario, guest: Guest) -> str | None:
    _, e164 = channel_for(scenario.channels, guest.came_from)
    if e164 and _STATIC.first(session, {"scenario": scenario.id, "static_e164": e164}):
        return e164
    return None


def _free_ones(pool: TagScenario, groups: Groups, held: Sequence[HeldLease], give: Give) -> list[GivenNumber]:
    """R13: a number for each class suffix that the page has bound to a prefix, and for the others."""

    def given(prefixes: Prefixes) -> str | None:
        lease = next((one for one in held if one.scenario_id == pool.id and begins(one.e164, prefixes)), None)
        return give(pool, lease, prefixes)

    return [GivenNumber(pool, e164, suffixes) for e164, suffixes in suffixes_by_number(groups, given).items()]


def _first_number(
    session: Session,
    visit: KnownVisit,
    before: KnownVisit | None,
    lease: HeldLease | None,
    scenario: TagScenario,
    prefixes: Prefixes,
    now: datetime,
) -> str | None:
    """A new visit's number: the one that this visitor's visit before it holds still, else one of the pool. With aim *source* a visitor who
    comes back from another marketing source gets a number of that one: else the number would change its source."""
    taker = Taker(visit.id, visit.visitor, visit.source_key)
    lost = False
    if before and scenario.aim == "source" and before.source_key != visit.source_key:
        lease = None
    while before and lease and lease.still_held(visit.visitor, active := before.is_active(scenario.hold, now)):
        if take_back(session, scenario.rules_for(prefixes), taker, lease, active, now):
            return lease.e164
        lost = True  # somebody came to share it at this moment: look again whether it is held still
        again = [one for one in held_by(session, before.id) if one.scenario_id == scenario.id]
        lease = next((one for one in again if begins(one.e164, prefixes)), None)
    return _given(session, visit, scenario, prefixes, now, lost=lost)


def _given(
    session: Session, visit: KnownVisit, scenario: TagScenario, prefixes: Prefixes, now: datetime, *, lost: bool
) -> str | None:
    taker = Taker(visit.id, visit.visitor, visit.source_key)
    try:
        entry = lend(session, scenario.rules_for(prefixes), taker, now, lost=lost)
    except PoolBusy:
        return None
    except PoolExhausted:
        return shown_instead(session, scenario.id, scenario.exhausted, visit.id, now)
    return entry.e164 if entry else None


def numbers_on_trial(
    session: Session, project: TagProject, view: PageView, wanted: Iterable[int] | None
) -> list[GivenNumber]:
    """Of each enabled scenario that the page wants and whose terms allow the page view: its channel's static number, or the first one of
    the pool. Only reads."""

    def first_of_pool(scenario: TagScenario, _: HeldLease | None, prefixes: Prefixes) -> str | None:
        numbers = select(PoolNumber.e164).where(PoolNumber.scenario_id == scenario.id).order_by(PoolNumber.number_id)
        return next((e164 for e164 in session.scalars(numbers) if begins(e164, prefixes)), None)

    return shown_to(session, view, project.only(wanted), view.groups, [], first_of_pool)
