"""Leases of numbers to visits (R6): look without locking, then take one row by a conditional update; only a look that waits may decide
that the pool is exhausted.

Statements are built once: building one costs more than PostgreSQL needs to run it."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Executable, and_, bindparam, case, func, insert, literal_column, or_, select, union_all, update
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, Visit, is_free_pool
from router.attribution.pool.choice import Pool, PoolEntry, shown_instead
from router.attribution.tracking.schema import Prefixes
from router.attribution.tracking.visits import KnownVisit
from router.db import UtcDateTime, later, skip_locked, table_of, wait_for_turn
from router.statements import Statement

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


_OF_POOL = (NUMBER.c.number_id == bindparam("number"), NUMBER.c.scenario_id == bindparam("scenario"))


def _as_seen(idle: bool) -> list[Any]:
    seen = [*_OF_POOL, NUMBER.c.turn == bindparam("seen_turn")]
    return [*seen, NUMBER.c.last_sign_at == bindparam("seen_sign_at")] if idle else seen


@cache
def take_statement(idle: bool, pass_locked: bool) -> Statement:
    if not pass_locked:
        return _leasing(lambda _: update(NUMBER).where(*_as_seen(idle)))
    unlocked = select(NUMBER.c.number_id).where(*_as_seen(idle))
    return _leasing(
        lambda dialect: update(NUMBER).where(NUMBER.c.number_id == skip_locked(unlocked, dialect).scalar_subquery())
    )


LEASED = ("turn", "group_turn", "visitor", "source_key", "lease_started_at", "last_sign_at")


def _leasing(taking: Callable[[str], Any]) -> Statement:
    leased: dict[str, Any] = {name: bindparam(f"new_{name}") for name in LEASED}
    return Statement(lambda dialect: taking(dialect).values(leased).returning(NUMBER.c.turn))


@cache
def take_back_statement(active: bool, idle: bool) -> Statement:
    taking = update(NUMBER).where(*_as_seen(idle), _holds(active, bindparam("new_visitor")))
    return _leasing(lambda _: taking)


@cache
def keep_alive_statement(active: bool) -> Statement:
    statement = update(NUMBER).where(*_OF_POOL, _holds(active, bindparam("holder")))
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


class LostRace(Exception):
    """A number was lost to somebody else, and nothing idle is left. On PostgreSQL the lost row may stay locked until the end of the
    transaction, and waiting for the pool's lock with it could become a deadlock: begin again, with the lock first."""


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


@dataclass(frozen=True, slots=True)
class Lessee:
    """A visit that is leased numbers in this transaction.

    `before`: the visit whose leases go on: this one, or the visitor's visit before it; None: his first visit.
    """

    session: Session
    visit: KnownVisit
    before: KnownVisit | None
    now: datetime

    def number_of(self, pool: Pool, lease: HeldLease | None, prefixes: Prefixes = ()) -> str | None:
        """The number that the visit holds, or that the visit before it still holds, else another number of the pool. With aim *source* a
        visitor who comes back from another marketing source gets a number of that one: else the number would change its source.

        Args:
            lease: of the visit before, in this pool.
        """
        visit, before, lost = self.visit, self.before, False
        if before is visit:
            if lease and self.keep(pool, lease):
                return lease.e164
            lost = lease is not None
        elif before and not (pool.aim == "source" and before.source_key != visit.source_key):
            while lease and lease.still_held(visit.visitor, active := before.is_active(pool.hold, self.now)):
                if self._take_back(pool, lease, active=active):
                    return lease.e164
                lost = True  # somebody came to share it at this moment: look again whether it is held still
                present = leases_of(self.session, before.id)
                lease = next(
                    (held for held in present if held.pool_id == pool.id and begins(held.e164, prefixes)), None
                )
        return self.another_number(pool, prefixes, lost=lost)

    def another_number(self, pool: Pool, prefixes: Prefixes = (), *, lost: bool) -> str | None:
        """Leases a number of the pool that begins so. Where every number is active and none may be shared, the pool's policy says what the
        page shows. None: the page keeps its own, also when every look lost its number to somebody else.

        Args:
            lost: this transaction tried in vain to keep a number of this pool before.

        Raises:
            LostRace: begin again with the lock of the pool.
        """
        session, now, source_key = self.session, self.now, self.visit.source_key
        values = {"scenario": pool.id, "source": source_key, "idle_before": now - pool.hold}
        values |= {f"begins_{i}": f"+{prefix}%" for i, prefix in enumerate(prefixes)}
        idle_first = pool.aim == "visit" or not pool.sharing  # no active number is looked at while one is idle
        for attempt in range(HASTY_LOOKS):
            look = look_statement(idle_first, pass_locked=attempt > 0, prefixes=len(prefixes))
            choice = pool.choose(look.all(session, values), source_key, now)
            if choice is None:
                break
            # waiting for somebody who is taking the row at this moment would be vain: his commit changes it
            if self._take(pool, choice, take_statement(choice.is_idle(pool.hold, now), True)):
                return choice.e164
            lost = True
        if lost and not pool.locked:
            raise LostRace(f"pool {pool.id}")
        lock_pool(session, pool.id)
        look = look_statement(False, pass_locked=False, prefixes=len(prefixes))
        for _ in range(WAITING_LOOKS):
            entries: list[PoolEntry] = look.all(session, values)
            allowed = entries if pool.sharing else [entry for entry in entries if entry.is_idle(pool.hold, now)]
            choice = pool.choose(allowed, source_key, now)
            if choice is None:
                return shown_instead(session, pool.id, pool.exhausted, self.visit.id, now) if entries else None
            if self._take(pool, choice, take_statement(choice.is_idle(pool.hold, now), False)):
                return choice.e164
        return None

    def keep(self, pool: Pool, lease: HeldLease) -> bool:
        """A heartbeat reaches the number of a lease; False when it was leased to somebody else meanwhile. A number that was given back, and
        stands on a page after all, is taken again, unless somebody else was leased it since or had it before and still has.

        An earlier visit that gives heartbeats again beside a later visit of the same visitor gets a lease of its own: a visit that comes to
        share the number shares it with both. A visit that had ended shares its number, from now on, with the active visits that were
        leased it meanwhile; it may have shared the number before, with others.
        """
        visit, now = self.visit, self.now
        if lease.returned and lease.visitor != visit.visitor:
            unchanged = lease.turn == lease.lease_no and lease.is_idle(pool.hold, now)
            return unchanged and self._take(pool, lease, take_statement(True, True))
        if lease.returned:
            return self._take_back(pool, lease, active=False)
        if lease.was_left_behind(visit.visitor) and self._take_back(pool, lease, active=False):
            return True
        if not self.keep_alive(lease, active=visit.is_active(pool.hold, now)):
            return False
        if lease.turn > lease.lease_no:
            shared, mixed = self._share(lease, now - pool.hold)
            if mixed or (shared and not lease.shared):
                self.session.execute(_MARK_OWN, {"held": lease.lease_id, "is_mixed": mixed})
        return True

    def keep_alive(self, held: HeldLease, *, active: bool) -> bool:
        """A heartbeat reaches the number; False when it was leased to somebody else meanwhile."""
        number = {"number": held.number_id, "scenario": held.pool_id}
        values = number | {"holder": self.visit.visitor, "held_turn": held.lease_no, "sign_at": self.now}
        return keep_alive_statement(active).first(self.session, values) is not None

    def _take_back(self, pool: Pool, held: HeldLease, *, active: bool) -> bool:
        """Gives the visit the number that another visit of its visitor holds: he never shares with himself, but goes on to share with other
        visitors as long as their visits are active.

        Args:
            active: the other visit still is.
        """
        return self._take(pool, held, take_back_statement(active, held.is_idle(pool.hold, self.now)), held.lease_no)

    def _take(self, pool: Pool, entry: PoolEntry, statement: Statement, held_lease_no: int = 0) -> bool:
        """Takes exactly this row, if it still is as it was seen, and writes the lease. Whoever gets an idle number begins a new group of
        holders, except its last holder: an older page of his may live on."""
        visit, now = self.visit, self.now
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
        if statement.first(self.session, values) is None:
            return False
        shared, mixed = (False, False) if idle else self._share(entry, now - pool.hold)
        values = {
            "scenario_id": pool.id,
            "number_id": entry.number_id,
            "visit_id": visit.id,
            "turn": lease_no,
            "shared": shared,
            "mixed": mixed,
            "started_at": now,
        }
        _WRITE_LEASE.run(self.session, values)
        return True

    def _share(self, entry: PoolEntry, since: datetime) -> tuple[bool, bool]:
        """Whether active visits of somebody else hold the number too (R8), and some of another marketing source; these are marked then. Two
        visits of one visitor never share."""
        holders = {"number": entry.number_id, "group": entry.group_turn, "since": since}
        holders |= {"holder": self.visit.visitor, "taker_source": self.visit.source_key}
        [others] = _OTHERS.all(self.session, holders)
        if others.mixed is None:
            return False, False
        _MARK_SHARED.run(self.session, holders)
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
