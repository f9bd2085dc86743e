"""Leases of numbers to visits (R6): look without locking, then take one row by a conditional update; only a look that waits may decide
that the pool is exhausted.

Statements are built once: building one costs more than PostgreSQL needs to run it."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Executable, and_, bindparam, case, func, insert, literal_column, or_, select, union_all, update
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, Visit, is_free_pool
from router.attribution.pool.choice import SHARE, Curve, PoolEntry, choose
from router.attribution.tracking.schema import Prefixes
from router.attribution.tracking.visits import KnownVisit
from router.db import Statement, UtcDateTime, later, skip_locked, table_of, wait_for_turn

NUMBER, LEASE, VISIT = table_of(PoolNumber), table_of(Lease), table_of(Visit)
COLUMNS = [NUMBER.c[name] for name in PoolEntry.__slots__]


@cache
def look_statement(only_idle: bool, pass_locked: bool, prefixes: int = 0) -> Statement:
    """The few numbers of a pool among which the best one is, by one index look-up for each.

    Args:
        pass_locked: numbers that others have locked are passed over, and the numbers of the answer are locked: one is sure to be taken.
        prefixes: how many beginnings of numbers there are to choose from.
    """
    orders = [NUMBER.c.last_sign_at] if only_idle else [NUMBER.c.last_sign_at, NUMBER.c.lease_started_at]

    def build(dialect: str) -> Executable:
        firsts = []
        for order in orders:
            for same_source in (False, True):
                first = select(*COLUMNS).where(NUMBER.c.scenario_id == bindparam("scenario"))
                if same_source:
                    first = first.where(NUMBER.c.source_key == bindparam("source"))
                if only_idle:
                    first = first.where(NUMBER.c.last_sign_at < bindparam("idle_before"))
                if prefixes:
                    first = first.where(or_(*(NUMBER.c.e164.like(bindparam(f"begins_{i}")) for i in range(prefixes))))
                first = first.order_by(order).limit(literal_column("1"))
                firsts.append(skip_locked(first, dialect) if pass_locked else first)
        return union_all(*(select(*first.subquery(f"first_{i}").c) for i, first in enumerate(firsts)))

    return Statement(build, PoolEntry)


@cache
def take_statement(idle: bool, pass_locked: bool) -> Statement:
    seen = [
        NUMBER.c.number_id == bindparam("number"),
        NUMBER.c.turn == bindparam("seen_turn"),
        NUMBER.c.scenario_id == bindparam("scenario"),
    ]
    if idle:
        seen.append(NUMBER.c.last_sign_at == bindparam("seen_sign_at"))
    if not pass_locked:
        return _leasing(lambda _: update(NUMBER).where(*seen))
    unlocked = select(NUMBER.c.number_id).where(*seen)
    return _leasing(
        lambda dialect: update(NUMBER).where(NUMBER.c.number_id == skip_locked(unlocked, dialect).scalar_subquery())
    )


LEASED = ("turn", "group_turn", "visitor", "source_key", "lease_started_at", "last_sign_at")


def _leasing(taking: Callable[[str], Any]) -> Statement:
    leased: dict[str, Any] = {name: bindparam(f"new_{name}") for name in LEASED}
    return Statement(lambda dialect: taking(dialect).values(leased).returning(NUMBER.c.turn))


@cache
def take_back_statement(active: bool, idle: bool) -> Statement:
    statement = update(NUMBER).where(
        NUMBER.c.number_id == bindparam("number"),
        NUMBER.c.turn == bindparam("seen_turn"),
        NUMBER.c.scenario_id == bindparam("scenario"),
        _holds(active, bindparam("new_visitor")),
    )
    taking = statement.where(NUMBER.c.last_sign_at == bindparam("seen_sign_at")) if idle else statement
    return _leasing(lambda _: taking)


@cache
def keep_alive_statement(active: bool) -> Statement:
    statement = update(NUMBER).where(
        NUMBER.c.number_id == bindparam("number"),
        NUMBER.c.scenario_id == bindparam("scenario"),
        _holds(active, bindparam("holder")),
    )
    sign_at = bindparam("sign_at", type_=UtcDateTime())
    return Statement(
        lambda dialect: statement.values(last_sign_at=later(dialect, NUMBER.c.last_sign_at, sign_at)).returning(
            NUMBER.c.number_id
        )
    )


def _holds(active: bool, visitor: Any) -> Any:
    is_last = NUMBER.c.visitor == visitor
    return or_(is_last, NUMBER.c.group_turn <= bindparam("held_turn")) if active else is_last


POOL_LOCK = 6001
"""The kind of advisory lock under which a look at a pool may decide that it is exhausted."""

HASTY_LOOKS = 3
WAITING_LOOKS = 100


class PoolBusy(Exception):
    """Every look lost its number to somebody else; the page keeps its own number this time."""


class PoolExhausted(Exception):
    """A look that waited found every number active, and the scenario does not want that they are shared: its policy says what is shown."""


class LostRace(Exception):
    """A number was lost to somebody else, and nothing idle is left. On PostgreSQL the lost row may stay locked until the end of the
    transaction, and waiting for the pool's lock with it could become a deadlock: begin again, with the lock first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The rules by which the numbers of a pool are leased: a scenario's, or those of a project's free numbers."""

    id: int
    """The scenario's, or `free_pool_id`."""
    aim: str
    hold_seconds: int
    exhausted: str = SHARE
    survival: Curve | None = None
    """P(still calls | idle) as the scenario has learned it."""
    locked: bool = False
    """This transaction holds the pool's lock already."""

    @property
    def hold(self) -> timedelta:
        return timedelta(seconds=self.hold_seconds)

    @property
    def sharing(self) -> bool:
        """Visits may share a number. Without it the aim only says which of the idle ones is leased."""
        return self.exhausted == SHARE

    def choose(self, entries: list[PoolEntry], visit: KnownVisit, now: datetime) -> PoolEntry | None:
        return choose(entries, visit.source_key, self.aim, self.hold, now, self.survival)


@dataclass(frozen=True, slots=True)
class HeldLease(PoolEntry):
    """A lease of a visit, with its number as it stands now."""

    lease_id: int
    pool_id: int
    lease_no: int
    """The number's lease counter when this lease was taken."""
    shared: bool
    on_page: bool
    """The page has said that the number stands on it."""
    returned: bool
    """The page has said that the number stands nowhere on it: the visit does not hold it any more."""

    @property
    def is_free(self) -> bool:
        """Whether the number is a free one: pages do not say whether it stands on them."""
        return bool(is_free_pool(self.pool_id))

    def is_on(self, shown: Set[int] | None) -> bool:
        """A page shows the number.

        Args:
            shown: the scenarios whose number stands on the page; None: it says nothing.
        """
        return shown is not None and not self.is_free and self.pool_id in shown

    def is_unplaced_on(self, shown: Set[int] | None) -> bool:
        """The number stands nowhere on a page, and no page of the visit has shown it before."""
        return shown is not None and not (self.is_free or self.on_page or self.pool_id in shown)

    def still_held(self, visitor: str, active: bool) -> bool:
        """An active visit keeps its number, shared or not; an ended one gets it back if it was leased to nobody since."""
        return self.visitor == visitor or (active and not self.returned and self.group_turn <= self.lease_no)

    def was_left_behind(self, visitor: str) -> bool:
        """The number was idle, and this visitor got it back with a later visit: his earlier visit does not hold it any more."""
        return self.visitor == visitor and self.lease_no < self.group_turn


def begins(e164: str, prefixes: Prefixes) -> bool:
    return not prefixes or e164.removeprefix("+").startswith(prefixes)


def lock_pool(session: Session, pool_id: int) -> None:
    """Waits until nobody else decides whether this pool is exhausted, and keeps the lock to the end of the transaction."""
    wait_for_turn(session, POOL_LOCK, pool_id)


def lease_number(
    session: Session, pool: Pool, visit: KnownVisit, prefixes: Prefixes, now: datetime, *, lost: bool = False
) -> PoolEntry | None:
    """Leases a number of a pool to a visit; None when the pool has no number that begins so.

    Args:
        lost: this transaction tried in vain to keep a number of this pool before.

    Raises:
        LostRace: begin again with the lock of the pool.
        PoolExhausted: every number is active, and may not be shared.
        PoolBusy: nothing could be taken although the pool has numbers.
    """
    values = {"scenario": pool.id, "source": visit.source_key, "idle_before": now - pool.hold}
    values |= {f"begins_{i}": f"+{prefix}%" for i, prefix in enumerate(prefixes)}
    idle_first = pool.aim == "visit" or not pool.sharing  # no active number is looked at while one is idle
    for attempt in range(HASTY_LOOKS):
        look = look_statement(idle_first, pass_locked=attempt > 0, prefixes=len(prefixes))
        choice = pool.choose(look.all(session, values), visit, now)
        if choice is None:
            break
        # waiting for somebody who is taking the row at this moment would be vain: his commit changes it
        if _take(session, pool, visit, choice, now, take_statement(choice.is_idle(pool.hold, now), True)):
            return choice
        lost = True
    if lost and not pool.locked:
        raise LostRace(f"pool {pool.id}")
    lock_pool(session, pool.id)
    look = look_statement(False, pass_locked=False, prefixes=len(prefixes))
    for _ in range(WAITING_LOOKS):
        entries: list[PoolEntry] = look.all(session, values)
        allowed = entries if pool.sharing else [entry for entry in entries if entry.is_idle(pool.hold, now)]
        choice = pool.choose(allowed, visit, now)
        if choice is None and entries:
            raise PoolExhausted(f"pool {pool.id}")
        if choice is None:
            return None
        if _take(session, pool, visit, choice, now, take_statement(choice.is_idle(pool.hold, now), False)):
            return choice
    raise PoolBusy(f"pool {pool.id}")


def take_back(session: Session, pool: Pool, visit: KnownVisit, held: HeldLease, now: datetime, *, active: bool) -> bool:
    """Gives a visitor's visit the number that another visit of his holds: he never shares with himself, but goes on to share with other
    visitors as long as their visits are active.

    Args:
        active: the other visit still is.
    """
    statement = take_back_statement(active, held.is_idle(pool.hold, now))
    return _take(session, pool, visit, held, now, statement, held.lease_no)


def take_again(session: Session, pool: Pool, visit: KnownVisit, held: HeldLease, now: datetime) -> bool:
    """Leases a number that was given back to the same visit again, unless somebody else was leased it since or had it before and still
    has."""
    if held.visitor == visit.visitor:
        return take_back(session, pool, visit, held, now, active=False)
    if held.turn != held.lease_no or not held.is_idle(pool.hold, now):
        return False
    return _take(session, pool, visit, held, now, take_statement(True, True))


def _take(
    session: Session,
    pool: Pool,
    visit: KnownVisit,
    entry: PoolEntry,
    now: datetime,
    statement: Statement,
    held_lease_no: int = 0,
) -> bool:
    """Takes exactly this row, if it still is as it was seen, and writes the lease. Whoever gets an idle number begins a new group of
    holders, except its last holder: an older page of his may live on."""
    idle = entry.is_idle(pool.hold, now)
    lease_no = entry.turn + 1
    values = {
        "number": entry.number_id,
        "scenario": pool.id,
        "seen_turn": entry.turn,
        "seen_sign_at": entry.last_sign_at,
        "held_turn": held_lease_no,
        "new_turn": lease_no,
        "new_group_turn": lease_no if idle and entry.visitor != visit.visitor else entry.group_turn,
        "new_visitor": visit.visitor,
        "new_source_key": visit.source_key,
        "new_lease_started_at": now,
        "new_last_sign_at": max(now, entry.last_sign_at),
    }
    if statement.first(session, values) is None:
        return False
    shared, mixed = (False, False) if idle else _share(session, entry, visit, now - pool.hold)
    values = {
        "scenario_id": pool.id,
        "number_id": entry.number_id,
        "visit_id": visit.id,
        "turn": lease_no,
        "shared": shared,
        "mixed": mixed,
        "started_at": now,
    }
    _WRITE_LEASE.run(session, values)
    return True


def keep_alive(session: Session, visitor: str, held: HeldLease, now: datetime, *, active: bool) -> bool:
    """A heartbeat reaches the number; False when it was leased to somebody else meanwhile."""
    number = {"number": held.number_id, "scenario": held.pool_id}
    values = number | {"holder": visitor, "held_turn": held.lease_no, "sign_at": now}
    return keep_alive_statement(active).first(session, values) is not None


def share_unmarked(session: Session, pool: Pool, visit: KnownVisit, held: HeldLease, now: datetime) -> None:
    """A visit that had ended and gives a heartbeat again shares its number, from now on, with the active visits that were leased it
    meanwhile. It may have shared the number before, with others."""
    if held.turn > held.lease_no:
        shared, mixed = _share(session, held, visit, now - pool.hold)
        if mixed or (shared and not held.shared):
            session.execute(_MARK_OWN, {"held": held.lease_id, "is_mixed": mixed})


def _share(session: Session, entry: PoolEntry, visit: KnownVisit, since: datetime) -> tuple[bool, bool]:
    """Whether active visits of somebody else hold the number too (R8), and some of another marketing source; these are marked then. Two
    visits of one visitor never share."""
    holders = {"number": entry.number_id, "group": entry.group_turn, "since": since}
    holders |= {"holder": visit.visitor, "taker_source": visit.source_key}
    [others] = _OTHERS.all(session, holders)
    if others.mixed is None:
        return False, False
    _MARK_SHARED.run(session, holders)
    return True, bool(others.mixed)


def leases_of(session: Session, visit_id: int) -> list[HeldLease]:
    """The newest lease of a visit in each pool that still has the number, in ascending pool, also when it was given back. Of the several
    free numbers that a visit may hold the newest lease of each, in the order in which they were first leased."""
    leases: list[HeldLease] = _LEASES_OF.all(session, {"visit": visit_id})
    newest = {(lease.pool_id, lease.number_id if lease.is_free else 0): lease for lease in leases}
    return sorted(newest.values(), key=lambda lease: lease.pool_id)


SAID_LATER = ("id", "shown_at", "returned_at", "unplaced_at")

_WRITE_LEASE = Statement(
    insert(LEASE).values({column.name: bindparam(column.name) for column in LEASE.c if column.name not in SAID_LATER})
)

_LEASES_OF = Statement(
    select(*COLUMNS)
    .add_columns(LEASE.c.id.label("lease_id"), LEASE.c.scenario_id.label("pool_id"))
    .add_columns(LEASE.c.turn.label("lease_no"), LEASE.c.shared)
    .add_columns(LEASE.c.shown_at.is_not(None).label("on_page"), LEASE.c.returned_at.is_not(None).label("returned"))
    .join_from(
        LEASE, NUMBER, and_(NUMBER.c.number_id == LEASE.c.number_id, NUMBER.c.scenario_id == LEASE.c.scenario_id)
    )
    .where(LEASE.c.visit_id == bindparam("visit"))
    .order_by(LEASE.c.id),
    HeldLease,
)

_HERE = (LEASE.c.number_id == bindparam("number"), LEASE.c.turn >= bindparam("group"), LEASE.c.returned_at.is_(None))
_ACTIVE_OTHER = (VISIT.c.visitor != bindparam("holder"), VISIT.c.last_sign_at >= bindparam("since"))
_OTHER_SOURCE = VISIT.c.source_key != bindparam("taker_source")


@Statement
def _MARK_SHARED(_: str) -> Executable:
    """The visits of others that hold the number at this moment share it from now on."""
    holder = select(VISIT.c.id).where(VISIT.c.id == LEASE.c.visit_id, *_ACTIVE_OTHER)
    of_another_source = holder.where(_OTHER_SOURCE).exists()
    news = or_(LEASE.c.shared.is_(False), and_(LEASE.c.mixed.is_(False), of_another_source))
    return (
        update(LEASE)
        .where(*_HERE, news, holder.exists())
        .values(shared=True, mixed=or_(LEASE.c.mixed, of_another_source))
    )


_MARK_OWN = update(LEASE).where(LEASE.c.id == bindparam("held")).values(shared=True, mixed=bindparam("is_mixed"))

_OTHERS = Statement(  # NULL: nobody else; 1: somebody of another source
    select(func.max(case((_OTHER_SOURCE, 1), else_=0)).label("mixed"))
    .join_from(LEASE, VISIT, VISIT.c.id == LEASE.c.visit_id)
    .where(*_HERE, *_ACTIVE_OTHER)
)
