"""Numbers that a page was given and does not show (R6): the visit gives them back, and they are what they were before it.

Pages tell it when they have had their time to find places. What a page says that is left before only counts for the figures. The number's
row is locked first, as whoever takes a number does: so a report and a take come one after the other, and the later one sees what the
earlier one did.

Says when the numbers of a scenario are given to pages and stand on none or hardly any of them: its selectors do not match (R2).
The worker keeps the figures, because tables lint many scenarios at once.

Which numbers visitors see on their pages now (R6): those are not pulled away under them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.models import AccuracyDue, Lease, Visit, VisitSpan
from router.attribution.pool.leases import LEASE, NUMBER, VISIT, HeldLease
from router.attribution.tracking.projects import FREE_HOLD
from router.db import LONG_AGO, table_of
from router.lib.formats import format_count
from router.scenarios.lint.facts import Linted
from router.scenarios.lint.rules import Finding
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.statements import Statement


def record_shown(session: Session, visit_id: int, held: HeldLease, now: datetime) -> None:
    """The number stands on a page of the visit; the first time counts. The number's row is locked already."""
    if not held.on_page:
        _SHOWN.run(session, {"visit": visit_id, "number": held.number_id, "now": now})


def record_in_its_place(session: Session, visit_id: int, before: HeldLease, e164: str, now: datetime) -> None:
    """The page swaps a number that stood on it for another one, which stands there from now on without a word."""
    if before.on_page:
        values = {"visit": visit_id, "scenario": before.pool_id, "number_now": e164, "now": now}
        _SHOWN_INSTEAD.run(session, values)


def note_unplaced(session: Session, held: HeldLease, now: datetime) -> None:
    """A page was left before the number stood on it. The visit keeps it: its next page may be there already, and show it."""
    _UNPLACED.run(session, {"lease": held.lease_id, "now": now})


def give_back(session: Session, held: HeldLease, now: datetime) -> bool:
    """The visit no longer holds the number; if nobody was lent it since, it is again as it was before. False: another page of the visit has
    just said that it shows it."""
    number_id = held.number_id
    row = _LOCKED.first(session, {"number": number_id})
    if _RETURN.first(session, {"lease": held.lease_id, "now": now}) is None:
        return False
    if row is not None:
        counter = Counter(number_id, row.turn, row.group_turn, row.last_sign_at)
        holders = _holders(session, counter)
        last = holders[-1] if holders else _last_holder(session, counter, held.lease_no)
        if last is None or last.turn < held.lease_no:
            before = _before(session, counter, holders, last)
            _RESTORE.run(session, {"number": number_id, "seen_turn": counter.turn, **before})
        _unmark(session, counter, holders)
    return True


@dataclass(frozen=True, slots=True)
class Counter:
    """A pool number's row, locked."""

    number_id: int
    turn: int
    group_turn: int
    last_sign_at: datetime


@dataclass(frozen=True, slots=True)
class Holder:
    """A lease that was not given back, with its visit."""

    turn: int
    leased_at: datetime
    visit_id: int
    project_id: int
    visitor: str
    source_key: int
    begun_at: datetime
    span_started_at: datetime
    last_sign_at: datetime
    lost_at: datetime | None
    """When the visit was lent another number instead, or the number was lent to somebody else; None: it holds it."""

    @property
    def lived_since(self) -> bool:
        """It has given a sign of life without the number: it was told that it lost it."""
        return self.lost_at is not None and self.last_sign_at >= self.lost_at


def _before(session: Session, counter: Counter, holders: Sequence[Holder], last: Holder | None) -> dict[str, Any]:
    """What the number's row says without the leases that were given back. The lease counter never goes back; where nobody of those who held
    the number together is left, whoever is lent it next begins a new group, also its last visitor, who still gets it back."""
    if holding := [one for one in holders if one.lost_at is None]:
        return _row(session, holding[-1], counter, holders) | {"group": counter.group_turn}
    if last is None:
        return NEVER_SHOWN | {"group": counter.turn + 1}
    row = _row(session, last, counter, holders or [last]) | {"group": counter.turn + 1}
    return row | {"its_visitor": ""} if last.lived_since else row


def _last_holder(session: Session, counter: Counter, turn: int) -> Holder | None:
    """The last lease before those that were given back, when no other of their group is left. It ended when the group began, or the lease
    with this turn, or when somebody else had the number to himself before."""
    number = {"number": counter.number_id}
    last: Holder | None = _LAST_HOLDER.first(session, number)
    if last is None:
        return None
    values = number | {"last": last.turn, "its_visitor": last.visitor, "group": min(turn, counter.group_turn)}
    lent_on = _LENT_ON.first(session, values)
    ends = (last.lost_at, lent_on.started_at if lent_on else None)
    return replace(last, lost_at=min(filter(None, ends), default=None))


NEVER_SHOWN = {"its_visitor": "", "source": 0, "leased_at": LONG_AGO, "sign_at": LONG_AGO}


def _row(session: Session, last: Holder, counter: Counter, holders: Sequence[Holder]) -> dict[str, Any]:
    sign_at = max(_last_sign(session, one) for one in holders)
    return {
        "its_visitor": last.visitor,
        "source": last.source_key,
        "leased_at": last.leased_at,
        "sign_at": min(counter.last_sign_at, sign_at),
    }


def _last_sign(session: Session, holder: Holder) -> datetime:
    """The visit's last sign of life with the number."""
    if holder.lost_at is None or not holder.lived_since:
        return holder.last_sign_at
    if holder.span_started_at < holder.lost_at:
        return holder.lost_at
    [span] = _SPAN_BEFORE.all(session, {"visit": holder.visit_id, "lost_at": holder.lost_at})
    return min(span.last_at or holder.leased_at, holder.lost_at)


def _unmark(session: Session, counter: Counter, holders: Sequence[Holder]) -> None:
    """Who shared the number only with visits that gave it back has it to himself again (R8); his day is counted anew."""
    alone = len({one.visitor for one in holders}) == 1
    if not alone and len({one.source_key for one in holders}) != 1:
        return
    here = (LEASE.c.number_id == counter.number_id, LEASE.c.turn >= counter.group_turn, LEASE.c.returned_at.is_(None))
    wrong = update(LEASE).where(*here, LEASE.c.shared if alone else LEASE.c.mixed)
    right = {"shared": False, "mixed": False} if alone else {"mixed": False}
    changed = set(session.scalars(wrong.values(right).returning(LEASE.c.visit_id)))
    due = [{"project_id": one.project_id, "at": one.begun_at} for one in holders if one.visit_id in changed]
    if due:
        session.execute(insert(AccuracyDue), due)


def _holders(session: Session, counter: Counter) -> list[Holder]:
    return _HOLDERS.all(session, {"number": counter.number_id, "group": counter.group_turn})


_LOCKED = Statement(
    lambda _: (
        select(NUMBER.c.turn, NUMBER.c.group_turn, NUMBER.c.last_sign_at)
        .where(NUMBER.c.number_id == bindparam("number"))
        .with_for_update()
    )
)
_RETURN = Statement(
    lambda _: (
        update(LEASE)
        .where(LEASE.c.id == bindparam("lease"), LEASE.c.shown_at.is_(None))
        .values(returned_at=func.coalesce(LEASE.c.returned_at, bindparam("now", type_=LEASE.c.returned_at.type)))
        .returning(LEASE.c.id)
    )
)
_SHOWN = Statement(
    lambda _: (
        update(LEASE)
        .where(LEASE.c.visit_id == bindparam("visit"), LEASE.c.number_id == bindparam("number"))
        .where(LEASE.c.shown_at.is_(None), LEASE.c.returned_at.is_(None))
        .values(shown_at=bindparam("now"))
    )
)
_SHOWN_INSTEAD = Statement(
    lambda _: (
        update(LEASE)
        .where(LEASE.c.visit_id == bindparam("visit"), LEASE.c.scenario_id == bindparam("scenario"))
        .where(LEASE.c.shown_at.is_(None), LEASE.c.returned_at.is_(None))
        .where(LEASE.c.number_id.in_(select(NUMBER.c.number_id).where(NUMBER.c.e164 == bindparam("number_now"))))
        .values(shown_at=bindparam("now"))
    )
)
_UNPLACED = Statement(
    lambda _: (
        update(LEASE)
        .where(LEASE.c.id == bindparam("lease"), LEASE.c.shown_at.is_(None), LEASE.c.unplaced_at.is_(None))
        .values(unplaced_at=bindparam("now"))
    )
)
_RESTORE = Statement(
    lambda _: (
        update(NUMBER)
        .where(NUMBER.c.number_id == bindparam("number"), NUMBER.c.turn == bindparam("seen_turn"))
        .values(
            group_turn=bindparam("group"),
            visitor=bindparam("its_visitor"),
            source_key=bindparam("source"),
            lease_started_at=bindparam("leased_at"),
            last_sign_at=bindparam("sign_at"),
        )
    )
)

_after = LEASE.alias("after").c
_MOVED_AT = (
    select(func.min(_after.started_at))
    .where(_after.visit_id == LEASE.c.visit_id, _after.scenario_id == LEASE.c.scenario_id)
    .where(_after.id > LEASE.c.id, _after.number_id != LEASE.c.number_id)
    .scalar_subquery()
)
_LENT_ON = Statement(
    lambda _: (
        select(LEASE.c.started_at)
        .join_from(LEASE, VISIT, VISIT.c.id == LEASE.c.visit_id)
        .where(LEASE.c.number_id == bindparam("number"), LEASE.c.turn > bindparam("last"))
        .where(
            or_(LEASE.c.turn >= bindparam("group"), and_(~LEASE.c.shared, VISIT.c.visitor != bindparam("its_visitor")))
        )
        .order_by(LEASE.c.turn)
        .limit(1)
    )
)
_span = table_of(VisitSpan).c
_SPAN_BEFORE = Statement(
    lambda _: select(func.max(_span.last_at).label("last_at")).where(
        _span.visit_id == bindparam("visit"), _span.started_at < bindparam("lost_at")
    )
)


_NOT_RETURNED = (
    select(LEASE.c.turn, LEASE.c.started_at.label("leased_at"), LEASE.c.visit_id)
    .add_columns(*(VISIT.c[name] for name in ("project_id", "visitor", "source_key")))
    .add_columns(VISIT.c.started_at.label("begun_at"), VISIT.c.span_started_at, VISIT.c.last_sign_at)
    .add_columns(_MOVED_AT.label("lost_at"))
    .join_from(LEASE, VISIT, VISIT.c.id == LEASE.c.visit_id)
    .where(LEASE.c.number_id == bindparam("number"), LEASE.c.returned_at.is_(None))
)
_HOLDERS = Statement(lambda _: _NOT_RETURNED.where(LEASE.c.turn >= bindparam("group")).order_by(LEASE.c.turn), Holder)
_LAST_HOLDER = Statement(lambda _: _NOT_RETURNED.order_by(LEASE.c.turn.desc()).limit(1), Holder)


DAYS = 7
LEAST_TIMES = 20
"""Before so many pages have said something, a few of a site's odd pages could be all of them."""
HARDLY_EVER = 0.05
"""A smaller part of the pages is no site where only some pages have a place for the number, but selectors that match by accident."""

Times = tuple[int | None, int | None]
"""How often numbers were given and something was said about it, and how often they were shown; None: never given."""


def never_shown(session: Session, linted: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule; one statement."""
    ids = [one.scenario_id for one in linted if one.scenario_id]
    found = select(Scenario.id, Scenario.given_times, Scenario.shown_times).where(
        Scenario.id.in_(ids),
        Scenario.given_times >= LEAST_TIMES,
        Scenario.shown_times < HARDLY_EVER * Scenario.given_times,
    )
    rows = session.execute(found) if ids else ()
    return {scenario_id: [_finding(scenario_id, given or 0, shown or 0)] for scenario_id, given, shown in rows}


def _finding(scenario_id: int, given: int, shown: int) -> Finding:
    why = "its selectors match on hardly any page" if shown else "no selector matches"
    said = f"Given {format_count(given, 'time')} in {DAYS} days, shown {format_count(shown, 'time')}: {why}."
    look = f"/scenarios/{scenario_id}/tagging"
    return Finding("never_shown", said, "tagging.selectors", "tagging", look=look, look_for="See its tagging")


def refresh_shown(server: Server, now: datetime) -> None:
    """Fills the scenarios' columns; each project is read on its own, and only what differs is written."""
    with server.database.reading() as session:
        were = select(Scenario.project_id, Scenario.id, Scenario.given_times, Scenario.shown_times)
        scenarios = session.execute(were.where(Scenario.deleted_at.is_(None))).all()
    found: dict[int, Times] = {}
    for project_id in sorted({one.project_id for one in scenarios}):
        with server.database.reading() as session:
            rows = session.execute(_counted(project_id, now - timedelta(days=DAYS)))
            found.update({scenario_id: (given, shown) for scenario_id, given, shown in rows})
    changed = {
        one.id: times
        for one in scenarios
        if (times := found.get(one.id, (None, None))) != (one.given_times, one.shown_times)
    }
    _write(server, changed)


def _write(server: Server, changed: Mapping[int, Times]) -> None:
    if changed:
        with server.database.writing() as session:
            for scenario_id, (given, shown) in changed.items():
                values = {"given_times": given, "shown_times": shown}
                session.execute(update(Scenario).where(Scenario.id == scenario_id).values(values))


def _counted(project_id: int, since: datetime) -> Select[int, int, int]:
    """Scenario, leases about which something was said, and how many of them were shown; one range of each number's leases by their
    start."""
    return (
        select(Lease.scenario_id, func.count(), func.count(Lease.shown_at))
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(TrackingNumber.project_id == project_id, Lease.started_at >= since)
        .where(or_(Lease.shown_at.is_not(None), Lease.returned_at.is_not(None), Lease.unplaced_at.is_not(None)))
        .group_by(Lease.scenario_id)
    )


LONGEST = timedelta(days=1)
"""Leases that began earlier are not looked at."""


def shown_numbers(session: Session, number_ids: Iterable[int], now: datetime) -> set[int]:
    """Those that a visit holds whose last sign of life is younger than its scenario's hold, or that of free numbers; one statement."""
    held = (
        select(Lease.number_id, Visit.last_sign_at, Scenario.hold_seconds)
        .join(Visit, Visit.id == Lease.visit_id)
        .join(Scenario, Scenario.id == Lease.scenario_id, isouter=True)
        .where(Lease.number_id.in_(list(number_ids)), Lease.started_at > now - LONGEST, Lease.returned_at.is_(None))
    )
    return {
        number_id
        for number_id, last_sign_at, hold in session.execute(held)
        if now - last_sign_at <= (FREE_HOLD if hold is None else timedelta(seconds=hold))
    }
