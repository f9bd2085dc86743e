"""Leases of numbers that stand nowhere on their page (R6): they are reverted, and the number is what it was before. docs/attribution.md
tells why and how.

A lint rule says which scenarios' numbers hardly ever stand on a page, from what is counted here; a look at the leases says which numbers
visitors see now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.models import AccuracyDue, Lease, Visit, VisitSpan
from router.attribution.pool.leases import LEASE, NUMBER, VISIT, HeldLease
from router.db import LONG_AGO, table_of
from router.scenarios.models import DEFAULT_HOLD_SECONDS, Scenario, TrackingNumber
from router.server import Server
from router.statements import Statement


def record_shown(session: Session, visit_id: int, held: HeldLease, now: datetime) -> None:
    """The number stands on a page of the visit; the first time counts. The number's row is locked already."""
    if not held.on_page:
        _SHOWN.run(session, {"visit": visit_id, "number": held.number_id, "now": now})


def record_in_its_place(session: Session, visit_id: int, before: HeldLease, e164: str, now: datetime) -> None:
    """A page swaps a number that stood on it for another, of which it will not say that it stands there."""
    if before.on_page:
        values = {"visit": visit_id, "scenario": before.pool_id, "number_now": e164, "now": now}
        _SHOWN_INSTEAD.run(session, values)


def note_unplaced(session: Session, held: HeldLease, now: datetime) -> None:
    """A page was left before the number stood on it. The visit keeps it: its next page may be there already, and show it."""
    _UNPLACED.run(session, {"lease": held.lease_id, "now": now})


@dataclass(frozen=True, slots=True)
class KeptLease:
    """A lease that was not reverted, with its visit."""

    lease_no: int
    leased_at: datetime
    visit_id: int
    project_id: int
    visitor: str
    source_key: int
    begun_at: datetime
    span_started_at: datetime
    last_sign_at: datetime
    ended_at: datetime | None
    """When the visit was leased another number instead, or the number was leased to somebody else; None: it holds the number."""

    @property
    def lived_on(self) -> bool:
        """The visit has given a heartbeat without the number: its page was told that it lost it."""
        return self.ended_at is not None and self.last_sign_at >= self.ended_at


def revert_lease(session: Session, held: HeldLease, now: datetime) -> bool:
    """The visit no longer holds the number. If it was leased to nobody since, its row says again what it said before the lease; whoever
    shared it only with this visit has it to himself again. False: another page of the visit has just said that it shows it.

    The number's row is locked first, as by a take: the later of the two sees what the earlier did.
    """
    number = _LOCKED.first(session, {"number": held.number_id})
    if _REVERT.first(session, {"lease": held.lease_id, "now": now}) is None:
        return False
    if number is None:  # it has left the pool
        return True
    group: list[KeptLease] = _KEPT_IN_GROUP.all(session, {"number": held.number_id, "group": number.group_turn})
    last = group[-1] if group else _lease_before(session, number, held.lease_no)
    if last is None or last.lease_no < held.lease_no:
        # The row is written as if the reverted leases had never been; only the lease counter never goes back. Where nobody of the group
        # holds the number any more, whoever is leased it next begins a new group, also its last visitor. He still gets it back, unless his
        # page was told that it lost the number.
        holding = [lease for lease in group if lease.ended_at is None]
        row: dict[str, Any] = {"visitor": "", "source_key": 0, "lease_started_at": LONG_AGO, "last_sign_at": LONG_AGO}
        if last is not None:
            newest = holding[-1] if holding else last
            seen_until = max(_seen_until(session, lease) for lease in group or [last])
            row = {
                "visitor": "" if newest.lived_on else newest.visitor,
                "source_key": newest.source_key,
                "lease_started_at": newest.leased_at,
                "last_sign_at": min(number.last_sign_at, seen_until),
            }
        row["group_turn"] = number.group_turn if holding else number.turn + 1
        values = {f"new_{name}": value for name, value in row.items()}
        _RESTORE.run(session, values | {"number": number.number_id, "seen_turn": number.turn})
    visitors, sources = {lease.visitor for lease in group}, {lease.source_key for lease in group}
    if len(visitors) == 1:
        _unmark(session, number, group, LEASE.c.shared, {"shared": False, "mixed": False})
    elif len(sources) == 1:
        _unmark(session, number, group, LEASE.c.mixed, {"mixed": False})
    return True


def _lease_before(session: Session, number: Any, lease_no: int) -> KeptLease | None:
    """The last lease that was kept, when none of the present group is. It ended when this group began, or with the lease of this number, or
    when somebody else had the number to himself before."""
    last: KeptLease | None = _LAST_KEPT.first(session, {"number": number.number_id})
    if last is None:
        return None
    values = {"number": number.number_id, "last": last.lease_no, "last_visitor": last.visitor}
    following = _FOLLOWING.first(session, values | {"group": min(lease_no, number.group_turn)})
    ends = (last.ended_at, following.started_at if following else None)
    return replace(last, ended_at=min(filter(None, ends), default=None))


def _seen_until(session: Session, lease: KeptLease) -> datetime:
    """The visit's last heartbeat with the number."""
    if lease.ended_at is None or not lease.lived_on:
        return lease.last_sign_at
    if lease.span_started_at < lease.ended_at:
        return lease.ended_at
    [span] = _SPAN_BEFORE.all(session, {"visit": lease.visit_id, "ended_at": lease.ended_at})
    return min(span.last_at or lease.leased_at, lease.ended_at)


def _unmark(session: Session, number: Any, group: Iterable[KeptLease], wrong: Any, right: Mapping[str, Any]) -> None:
    """Leases of the group are not shared any more, or not with another source (R8); the days of their visits are counted anew."""
    here = (LEASE.c.number_id == number.number_id, LEASE.c.turn >= number.group_turn, LEASE.c.returned_at.is_(None))
    changed = set(session.scalars(update(LEASE).where(*here, wrong).values(right).returning(LEASE.c.visit_id)))
    due = [{"project_id": lease.project_id, "at": lease.begun_at} for lease in group if lease.visit_id in changed]
    if due:
        session.execute(insert(AccuracyDue), due)


_LOCKED = Statement(
    select(NUMBER.c.number_id, NUMBER.c.turn, NUMBER.c.group_turn, NUMBER.c.last_sign_at)
    .where(NUMBER.c.number_id == bindparam("number"))
    .with_for_update()
)
_REVERT = Statement(
    update(LEASE)
    .where(LEASE.c.id == bindparam("lease"), LEASE.c.shown_at.is_(None))
    .values(returned_at=func.coalesce(LEASE.c.returned_at, bindparam("now", type_=LEASE.c.returned_at.type)))
    .returning(LEASE.c.id)
)
_SHOWN_FIRST = (
    update(LEASE).where(LEASE.c.shown_at.is_(None), LEASE.c.returned_at.is_(None)).values(shown_at=bindparam("now"))
)
_SHOWN_FIRST = _SHOWN_FIRST.where(LEASE.c.visit_id == bindparam("visit"))
_SHOWN = Statement(_SHOWN_FIRST.where(LEASE.c.number_id == bindparam("number")))
_SHOWN_INSTEAD = Statement(
    _SHOWN_FIRST.where(
        LEASE.c.scenario_id == bindparam("scenario"),
        LEASE.c.number_id.in_(select(NUMBER.c.number_id).where(NUMBER.c.e164 == bindparam("number_now"))),
    )
)
_UNPLACED = Statement(
    update(LEASE)
    .where(LEASE.c.id == bindparam("lease"), LEASE.c.shown_at.is_(None), LEASE.c.unplaced_at.is_(None))
    .values(unplaced_at=bindparam("now"))
)
RESTORED = ("group_turn", "visitor", "source_key", "lease_started_at", "last_sign_at")
_RESTORE = Statement(
    update(NUMBER)
    .where(NUMBER.c.number_id == bindparam("number"), NUMBER.c.turn == bindparam("seen_turn"))
    .values({name: bindparam(f"new_{name}") for name in RESTORED})
)

_after = LEASE.alias("after").c
_MOVED_AT = (
    select(func.min(_after.started_at))
    .where(_after.visit_id == LEASE.c.visit_id, _after.scenario_id == LEASE.c.scenario_id)
    .where(_after.id > LEASE.c.id, _after.number_id != LEASE.c.number_id)
    .scalar_subquery()
)
_FOLLOWING = Statement(
    select(LEASE.c.started_at)
    .join_from(LEASE, VISIT, VISIT.c.id == LEASE.c.visit_id)
    .where(LEASE.c.number_id == bindparam("number"), LEASE.c.turn > bindparam("last"))
    .where(or_(LEASE.c.turn >= bindparam("group"), and_(~LEASE.c.shared, VISIT.c.visitor != bindparam("last_visitor"))))
    .order_by(LEASE.c.turn)
    .limit(1)
)
_span = table_of(VisitSpan).c
_SPAN_BEFORE = Statement(
    select(func.max(_span.last_at).label("last_at")).where(
        _span.visit_id == bindparam("visit"), _span.started_at < bindparam("ended_at")
    )
)


_KEPT = (
    select(LEASE.c.turn.label("lease_no"), LEASE.c.started_at.label("leased_at"), LEASE.c.visit_id)
    .add_columns(*(VISIT.c[name] for name in ("project_id", "visitor", "source_key")))
    .add_columns(VISIT.c.started_at.label("begun_at"), VISIT.c.span_started_at, VISIT.c.last_sign_at)
    .add_columns(_MOVED_AT.label("ended_at"))
    .join_from(LEASE, VISIT, VISIT.c.id == LEASE.c.visit_id)
    .where(LEASE.c.number_id == bindparam("number"), LEASE.c.returned_at.is_(None))
)
_KEPT_IN_GROUP = Statement(_KEPT.where(LEASE.c.turn >= bindparam("group")).order_by(LEASE.c.turn), KeptLease)
_LAST_KEPT = Statement(_KEPT.order_by(LEASE.c.turn.desc()).limit(1), KeptLease)


DAYS = 7


def refresh_shown(server: Server, now: datetime) -> None:
    """Fills the columns that the lint rule reads, for tables lint many scenarios at once: how often numbers of a scenario were given to a
    page that said something about them, and how often they were shown; NULL: never given. Each project is read on its own, and only
    what differs is written."""
    with server.database.reading() as session:
        columns = select(Scenario.project_id, Scenario.id, Scenario.given_times, Scenario.shown_times)
        scenarios = session.execute(columns.where(Scenario.deleted_at.is_(None))).all()
    times: dict[int, tuple[int | None, int | None]] = {}
    for project_id in sorted({scenario.project_id for scenario in scenarios}):
        answered = or_(Lease.shown_at.is_not(None), Lease.returned_at.is_not(None), Lease.unplaced_at.is_not(None))
        counted = (  # one range of each number's leases by their start
            select(Lease.scenario_id, func.count(), func.count(Lease.shown_at))
            .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
            .where(TrackingNumber.project_id == project_id, Lease.started_at >= now - timedelta(days=DAYS), answered)
            .group_by(Lease.scenario_id)
        )
        with server.database.reading() as session:
            times.update({scenario_id: (given, shown) for scenario_id, given, shown in session.execute(counted)})
    changed = []
    for scenario in scenarios:
        given, shown = times.get(scenario.id, (None, None))
        if (given, shown) != (scenario.given_times, scenario.shown_times):
            changed.append({"id": scenario.id, "given_times": given, "shown_times": shown})
    if changed:
        with server.database.writing() as session:
            session.execute(update(Scenario), changed)


LONGEST = timedelta(days=1)
"""Leases that began earlier are not looked at."""


def shown_numbers(session: Session, number_ids: Iterable[int], now: datetime) -> set[int]:
    """The numbers of visits whose last heartbeat is younger than their scenario's hold, or that of free numbers; one statement."""
    held = (
        select(Lease.number_id, Visit.last_sign_at, Scenario.hold_seconds)
        .join(Visit, Visit.id == Lease.visit_id)
        .join(Scenario, Scenario.id == Lease.scenario_id, isouter=True)
        .where(Lease.number_id.in_(list(number_ids)), Lease.started_at > now - LONGEST, Lease.returned_at.is_(None))
    )
    return {
        number_id
        for number_id, last_sign_at, hold in session.execute(held)
        if now - last_sign_at <= timedelta(seconds=hold or DEFAULT_HOLD_SECONDS)
    }
