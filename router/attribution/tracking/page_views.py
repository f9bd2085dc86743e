"""What page views and heartbeats do: which visit it is, and which numbers its page shows. One transaction each, few statements."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from router.attribution.models import PoolNumber
from router.attribution.pool.choice import Pool
from router.attribution.pool.leases import HeldLease, Lessee, LostRace, begins, leases_of, lock_pool
from router.attribution.pool.unplaced import note_unplaced, record_in_its_place, record_shown, revert_lease
from router.attribution.tracking.projects import TagProject, TagScenario, find_tag_project
from router.attribution.tracking.schema import Groups, Heartbeat, PageView, Prefixes, belongs, is_own_host
from router.attribution.tracking.sources import Evidence, read_evidence
from router.attribution.tracking.visitors import is_our_visitor, new_visitor
from router.attribution.tracking.visits import (
    KnownVisit,
    continues,
    find_visit,
    follow_consent,
    insert_visit,
    last_known_source,
    last_visit_of,
    new_visit,
    record_heartbeat,
    record_presence,
)
from router.db import Database, table_of
from router.lib.crypto import KeyRing
from router.scenarios.channels import channel_for
from router.scenarios.matching import allows
from router.scenarios.models import TrackingNumber
from router.statements import Statement

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageNumber:
    """A number that a page shall show; a free number (R13) in the classes with these suffixes."""

    scenario: TagScenario | None
    """None: a free number."""
    e164: str
    suffixes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PageNumbers:
    visit: KnownVisit
    numbers: list[PageNumber]
    withdrawn: list[int] = field(default_factory=list)
    """Scenarios whose number the page must no longer show, and that have none for it."""


def with_project(database: Database, key: str, work: Callable[[Session, TagProject | None], T]) -> T:
    """Runs `work(session, project)` in a transaction; when it lost a number to somebody else, anew, with the locks of all pools."""
    try:
        with database.writing() as session:
            return work(session, find_tag_project(session, key))
    except LostRace:
        pass
    with database.writing() as session:
        project = find_tag_project(session, key)
        if project is not None:
            for pool_id in project.pools:
                lock_pool(session, pool_id)
            project = replace(
                project,
                scenarios=[replace(scenario, locked=True) for scenario in project.scenarios],
                free_pool=project.free_pool and replace(project.free_pool, locked=True),
            )
        return work(session, project)


def evidence_of(page: Heartbeat, project: TagProject) -> Evidence:
    """What a page tells of where its visit comes from. The site's own hosts are no source, nor are the hosts that the project names."""

    def is_no_source(host: str) -> bool:
        return is_own_host(project.site, host, page.page_host) or belongs(project.unwanted, host)

    evidence = read_evidence(page.page, page.referrer, page.click_ids, is_no_source, project.country)
    return replace(evidence, click_ids={}) if page.limited else evidence


def free_numbers(lessee: Lessee, pool: Pool, groups: Groups, leases: Iterable[HeldLease]) -> list[PageNumber]:
    """The visit before may hold several free numbers: those that nobody else was leased since go on.

    Args:
        leases: of the visit before.
    """
    active = lessee.before is not None and lessee.before.is_active(pool.hold, lessee.now)
    kept = [held for held in leases if held.pool_id == pool.id and held.still_held(lessee.visit.visitor, active)]

    def number_of(prefixes: Prefixes) -> str | None:
        lease = next((held for held in kept if begins(held.e164, prefixes)), None)
        return lessee.number_of(pool, lease, prefixes)

    return [PageNumber(None, e164, suffixes) for e164, suffixes in suffixes_by_number(groups, number_of).items()]


def keep_on_page(lessee: Lessee, project: TagProject, lease: HeldLease, heartbeat: Heartbeat) -> bool:
    """Keeps the number of a lease, whose scenario may be disabled by now, and notes that the page shows it."""
    if pool := project.pools.get(lease.pool_id):
        kept = lessee.keep(pool, lease)
    else:
        active = lessee.visit.is_active(project.gap, lessee.now)
        kept = not lease.returned and lessee.keep_alive(lease, active=active)
    if kept and lease.is_on(heartbeat.shown):
        record_shown(lessee.session, lessee.visit.id, lease, lessee.now)
    return kept


def suffixes_by_number(groups: Groups, number_of: Callable[[Prefixes], str | None]) -> dict[str, list[str]]:
    """Which class suffixes show which number (R13). A number of one suffix serves the later ones that it fits: a page takes no more
    numbers out of the pool than it needs."""
    shown: dict[str, list[str]] = {}
    for suffix, prefixes in groups.items():
        e164 = next((number for number in shown if begins(number, prefixes)), None) or number_of(prefixes)
        if e164:
            shown.setdefault(e164, []).append(suffix)
    return shown


def view_page(session: Session, keys: KeyRing, project: TagProject, view: PageView, now: datetime) -> PageNumbers:
    """A page view continues the visitor's visit or begins one, and shows a number of every scenario that the page wants and whose terms
    allow the visit (R1, R6)."""
    evidence = evidence_of(view, project)
    if view.visitor is not None and is_our_visitor(keys, project.id, view.visitor):
        visitor, before = view.visitor, last_visit_of(session, project.id, view.visitor)
    else:
        visitor, before = new_visitor(keys, project.id), None
    if before is not None and continues(before, evidence, project.gap, now):
        visit = before
    else:
        source = last_known_source(evidence, before, project.source_days, now)
        visit = insert_visit(session, new_visit(project.id, visitor, view, source, now))
    lessee = Lessee(session, visit, before, now)
    leases = leases_of(session, before.id) if before else []
    by_pool = {lease.pool_id: lease for lease in leases}
    numbers = []
    for scenario, static_number in _scenarios_for(session, project, view, visit):
        if e164 := static_number or lessee.number_of(scenario, by_pool.get(scenario.id)):
            numbers.append(PageNumber(scenario, e164))
    if project.free_pool and view.scenarios is None:
        numbers += free_numbers(lessee, project.free_pool, view.groups, leases)
    if visit is before:
        record_heartbeat(session, visit, view, evidence, now)
    return PageNumbers(visit, numbers)


def _scenarios_for(
    session: Session, project: TagProject, view: PageView, visit: KnownVisit
) -> Iterator[tuple[TagScenario, str | None]]:
    """The scenarios that a page wants and whose terms allow its visit, each with its channel's static number, which nobody has to be
    leased. Only facts that the visit keeps decide, so each of its page views decides alike."""
    for scenario in project.only(view.scenarios):
        if allows(scenario.terms, visit.came_from, visit.page, visit.region):
            _, e164 = channel_for(scenario.channels, visit.came_from)
            # a channel may still name a number that has left the scenario
            is_static = e164 and _STATIC.first(session, {"scenario": scenario.id, "static_e164": e164})
            yield scenario, e164 if is_static else None


_number = table_of(TrackingNumber).c
_STATIC = Statement(
    select(_number.id).where(
        _number.e164 == bindparam("static_e164"),
        _number.scenario_id == bindparam("scenario"),
        _number.static_source.is_not(None),
        _number.released_at.is_(None),
    )
)


def keep_page(
    session: Session, project: TagProject, visit_id: int, heartbeat: Heartbeat, now: datetime
) -> PageNumbers | None:
    """A page says that it is open, and which numbers stand on it. Answers the numbers that the page has to change (all
    free ones when any of them changes); None: no such visit. A scenario's present terms and channels count when the page asks anew."""
    visit = find_visit(session, project.id, visit_id)
    if visit is None:
        return None
    lessee, leases = Lessee(session, visit, visit, now), leases_of(session, visit.id)
    free_pool = project.free_pool
    changed: list[PageNumber] = []
    free = [lease for lease in leases if free_pool and lease.pool_id == free_pool.id]
    if free_pool and free:
        active = visit.is_active(free_pool.hold, now)
        kept = {lease.e164: lease.still_held(visit.visitor, active) for lease in free}
        lost = any(not kept[lease.e164] and lease.lease_started_at >= visit.last_sign_at for lease in free)
        numbers = free_numbers(lessee, free_pool, heartbeat.groups, free)
        if lost or not all(kept.get(number.e164) for number in numbers):
            changed = numbers
    withdrawn: list[int] = []
    scenarios = {scenario.id: scenario for scenario in project.scenarios}
    for lease in leases:
        if lease in free or (lease.returned and not lease.is_on(heartbeat.shown)):
            continue
        if lease.is_unplaced_on(heartbeat.shown) and revert_lease(session, lease, now):
            withdrawn.append(lease.pool_id)
            continue
        scenario = scenarios.get(lease.pool_id)
        if keep_on_page(lessee, project, lease, heartbeat) or not scenario:
            continue
        if e164 := lessee.another_number(scenario, lost=True):
            record_in_its_place(session, visit.id, lease, e164, now)
            changed.append(PageNumber(scenario, e164))
        else:
            withdrawn.append(scenario.id)
    evidence = evidence_of(heartbeat, project) if heartbeat.limited is False and heartbeat.page else None
    record_heartbeat(session, visit, heartbeat, evidence, now)
    return PageNumbers(visit, changed, withdrawn)


def ping(
    session: Session, project: TagProject, visit_id: int, heartbeat: Heartbeat, now: datetime, *, left: bool = False
) -> bool:
    """A heartbeat of a page that does not wait for an answer, as when it is left: nothing new is leased to it. False: no such visit."""
    visit = find_visit(session, project.id, visit_id)
    if visit is None:
        return False
    lessee = Lessee(session, visit, visit, now)
    for lease in leases_of(session, visit.id):
        if lease.returned and not lease.is_on(heartbeat.shown):
            continue
        if lease.is_unplaced_on(heartbeat.shown):
            note_unplaced(session, lease, now)
        keep_on_page(lessee, project, lease, heartbeat)
    evidence = evidence_of(heartbeat, project) if heartbeat.limited is False and heartbeat.page else None
    record_presence(session, follow_consent(session, visit, heartbeat.limited, evidence), now, left=left)
    return True


def numbers_on_trial(session: Session, project: TagProject, view: PageView, now: datetime) -> list[PageNumber]:
    """What a page would show, without a visit and without a lease, for who sets up the tag: of each scenario the channel's static number,
    or the first one of the pool. Only reads."""

    def first_of(pool: Pool, prefixes: Prefixes = ()) -> str | None:
        numbers = select(PoolNumber.e164).where(PoolNumber.scenario_id == pool.id).order_by(PoolNumber.number_id)
        return next((e164 for e164 in session.scalars(numbers) if begins(e164, prefixes)), None)

    visit = new_visit(project.id, "", view, evidence_of(view, project), now)
    scenarios = _scenarios_for(session, project, view, visit)
    shown = [(scenario, static_number or first_of(scenario)) for scenario, static_number in scenarios]
    numbers = [PageNumber(scenario, e164) for scenario, e164 in shown if e164]
    if (pool := project.free_pool) and view.scenarios is None:
        free = suffixes_by_number(view.groups, lambda prefixes: first_of(pool, prefixes))
        numbers += [PageNumber(None, e164, suffixes) for e164, suffixes in free.items()]
    return numbers
