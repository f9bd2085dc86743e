"""What a page of the old logic asks for (R13): a number for each class suffix that it has bound to prefixes, and one for all others.

Lending numbers to visits (R6): look without locking, then take one row by a conditional update; only a look that waits may decide
that the pool is exhausted.

What leases ask of the rows of pool numbers (R6). Built once: building a statement costs more than PostgreSQL needs to run it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    Executable,
    Select,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session

from router.attribution.models import Lease, PoolNumber, Visit
from router.attribution.pool.choice import Curve, PoolEntry, choose
from router.db import UtcDateTime, later, skip_locked, table_of, wait_for_turn
from router.statements import Statement
from router.web.errors import Problem

Prefixes = tuple[str, ...]
"""Beginnings of numbers, digits with the country code. A number has to begin like one of them; any does when there are none."""
Groups = Mapping[str, Prefixes]
"""The prefixes of each class suffix; the empty suffix, which comes last, stands for all elements whose suffix is not bound."""

UNBOUND = ""
ALL_ALIKE: Groups = {UNBOUND: ()}
MOST_PREFIXES = 20
LONGEST_PREFIX = 15
LONGEST_TEXT = 200
SUFFIX = re.compile(r"[\w-]{0,40}")


def begins(e164: str, prefixes: Prefixes) -> bool:
    return not prefixes or e164.removeprefix("+").startswith(prefixes)


def read_groups(body: Mapping[str, Any]) -> Groups:
    """Of `prefixes: [{prefix, suffix}]`; what does not fit is dropped, since page variables hold anything.

    Raises:
        Problem: 422, it is no list.
    """
    posted = body.get("prefixes")
    if not isinstance(posted, list | None):
        raise Problem(422, "prefixes has to be a list of {prefix, suffix}.", "prefixes")
    groups: dict[str, Prefixes] = {}
    for suffix, prefix in [found for one in (posted or [])[:MOST_PREFIXES] for found in _entries(one)][:MOST_PREFIXES]:
        groups[suffix] = (*groups.get(suffix, ()), prefix)
    unbound = groups.pop(UNBOUND, ())
    return {**groups, UNBOUND: unbound}


def _entries(posted: Any) -> list[tuple[str, str]]:
    """Suffix and prefix of one entry, which may name several prefixes with commas between them."""
    entry = posted if isinstance(posted, dict) else {}
    given, suffix = entry.get("prefix"), UNBOUND if entry.get("suffix") is None else entry["suffix"]
    if not isinstance(given, str | int) or not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
        return []
    found = [re.sub("[^0-9]", "", prefix)[:LONGEST_PREFIX] for prefix in str(given)[:LONGEST_TEXT].split(",")]
    return [(suffix, prefix) for prefix in found if prefix]


def suffixes_by_number(groups: Groups, give: Callable[[Prefixes], str | None]) -> dict[str, list[str]]:
    """Which class suffixes show which number. A number that was given to one suffix serves the later ones that it fits: a page takes no
    more numbers out of the pool than it needs."""
    shown: dict[str, list[str]] = {}
    for suffix, prefixes in groups.items():
        e164 = next((one for one in shown if begins(one, prefixes)), None) or give(prefixes)
        if e164:
            shown.setdefault(e164, []).append(suffix)
    return shown


POOL = table_of(PoolNumber)
pool = POOL.c
COLUMNS = [pool[name] for name in PoolEntry.__slots__]


@cache
def look_statement(only_idle: bool, pass_locked: bool, prefixes: int = 0) -> Statement:
    orders = [pool.last_sign_at] if only_idle else [pool.last_sign_at, pool.lease_started_at]

    def build(dialect: str) -> Executable:
        firsts = [_first(order, same_source) for order in orders for same_source in (False, True)]
        if only_idle:
            firsts = [first.where(pool.last_sign_at < bindparam("idle_before")) for first in firsts]
        if prefixes:
            fitting = or_(*(pool.e164.like(bindparam(f"begins_{i}")) for i in range(prefixes)))
            firsts = [first.where(fitting) for first in firsts]
        if pass_locked:
            firsts = [skip_locked(first, dialect) for first in firsts]
        return union_all(*(select(*one.subquery(f"first_{i}").c) for i, one in enumerate(firsts)))

    return Statement(build, PoolEntry)


def _first(order: Any, same_source: bool) -> Select[Any]:
    query = select(*COLUMNS).where(pool.scenario_id == bindparam("scenario")).order_by(order).limit(literal_column("1"))
    return query.where(pool.source_key == bindparam("source")) if same_source else query


@cache
def take_statement(idle: bool, pass_locked: bool) -> Statement:
    seen = [
        pool.number_id == bindparam("number"),
        pool.turn == bindparam("seen_turn"),
        pool.scenario_id == bindparam("scenario"),
    ]
    if idle:
        seen.append(pool.last_sign_at == bindparam("seen_sign_at"))
    if not pass_locked:
        return _lending(lambda _: update(POOL).where(*seen))
    unlocked = select(pool.number_id).where(*seen)
    return _lending(
        lambda dialect: update(POOL).where(pool.number_id == skip_locked(unlocked, dialect).scalar_subquery())
    )


LENT = ("turn", "group_turn", "visitor", "source_key", "lease_started_at", "last_sign_at")


def _lending(taking: Callable[[str], Any]) -> Statement:
    lent: dict[str, Any] = {name: bindparam(f"new_{name}") for name in LENT}
    return Statement(lambda dialect: taking(dialect).values(lent).returning(pool.turn))


@cache
def take_back_statement(active: bool, idle: bool) -> Statement:
    statement = update(POOL).where(
        pool.number_id == bindparam("number"),
        pool.turn == bindparam("seen_turn"),
        pool.scenario_id == bindparam("scenario"),
        _holds(active, bindparam("new_visitor")),
    )
    taking = statement.where(pool.last_sign_at == bindparam("seen_sign_at")) if idle else statement
    return _lending(lambda _: taking)


@cache
def keep_alive_statement(active: bool) -> Statement:
    statement = update(POOL).where(
        pool.number_id == bindparam("number"),
        pool.scenario_id == bindparam("scenario"),
        _holds(active, bindparam("holder")),
    )
    sign_at = bindparam("sign_at", type_=UtcDateTime())
    return Statement(
        lambda dialect: statement.values(last_sign_at=later(dialect, pool.last_sign_at, sign_at)).returning(
            pool.number_id
        )
    )


def _holds(active: bool, visitor: Any) -> Any:
    mine = pool.visitor == visitor
    return or_(mine, pool.group_turn <= bindparam("held_turn")) if active else mine


LEASE_TURN = 6001
"""The kind of advisory lock under which a look at a scenario's pool may decide that it is exhausted."""

HASTY_LOOKS = 3
WAITING_LOOKS = 100

LEASE, VISIT = table_of(Lease), table_of(Visit)
lease = LEASE.c


class PoolBusy(Exception):
    """Every look lost its number to somebody else; the page keeps its own number this time."""


class PoolExhausted(Exception):
    """A look that waited found every number active, and the scenario does not want that they are shared: its policy says what is shown."""


class LostRace(Exception):
    """A number was lost to somebody else, and nothing idle is left. On PostgreSQL the lost row may stay locked until the end of the
    transaction, and waiting for a turn with it could become a deadlock: begin again, with the turn first."""


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What a scenario says about its leases; `in_turn`: this transaction holds the turn of its pool already; `prefixes`: only numbers that
    begin so; `sharing`: visits may share a number. Without it the aim only says which of the idle ones is lent; `survival`: what
    the scenario has learned about those who call later."""

    scenario_id: int
    aim: str
    hold: timedelta
    in_turn: bool = False
    prefixes: Prefixes = ()
    sharing: bool = True
    survival: Curve | None = None

    @property
    def idle_first(self) -> bool:
        """No active number is looked at while one is idle."""
        return self.aim == "visit" or not self.sharing


@dataclass(frozen=True, slots=True)
class Taker:
    """The visit that asks for a number."""

    visit_id: int
    visitor: str
    source_key: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whether a new lease's number is held by others at this moment (R8); `mixed`: by visits of another marketing source."""

    shared: bool
    mixed: bool


ALONE = Sharing(shared=False, mixed=False)


@dataclass(frozen=True, slots=True)
class HeldLease(PoolEntry):
    """A lease of a visit, with its number as it stands now."""

    lease_id: int
    scenario_id: int
    lease_no: int
    """The number's lease counter when this lease was taken."""
    shared: bool
    on_page: bool
    """The page has said that the number stands on it."""
    returned: bool
    """The page has said that the number stands nowhere on it: the visit does not hold it any more."""

    def still_held(self, visitor: str, active: bool) -> bool:
        """An active visit keeps its number, shared or not; an ended one gets it back if nobody was lent it since."""
        return self.visitor == visitor or (active and not self.returned and self.group_turn <= self.lease_no)

    def was_left_behind(self, visitor: str) -> bool:
        """The number was idle, and this visitor got it back with a later visit: his earlier page is not among those that hold it."""
        return self.visitor == visitor and self.lease_no < self.group_turn


def lend(session: Session, rules: PoolRules, taker: Taker, now: datetime, *, lost: bool = False) -> PoolEntry | None:
    """Lends a number of the scenario's pool to the visit; None when the pool has no such numbers.

    Args:
        lost: this transaction tried in vain to keep a number of this pool before.

    Raises:
        LostRace: begin again with the turn of the pool.
        PoolExhausted: every number is active, and may not be shared.
        PoolBusy: nothing could be taken although the pool has numbers.
    """
    for attempt in range(HASTY_LOOKS):
        entries = _look(session, rules, taker, now, only_idle=rules.idle_first, pass_locked=attempt > 0)
        choice = choose(entries, taker.source_key, rules.aim, rules.hold, now, rules.survival)
        if choice is None:
            break
        if _take(session, rules, taker, choice, now, pass_locked=True):
            return choice
        lost = True
    if lost and not rules.in_turn:
        raise LostRace(f"scenario {rules.scenario_id}")
    return _lend_waiting(session, rules, taker, now)


def wait_for_pool(session: Session, scenario_id: int) -> None:
    """Waits until nobody else decides whether this pool is exhausted, and keeps the turn to the end of the transaction."""
    wait_for_turn(session, LEASE_TURN, scenario_id)


def _lend_waiting(session: Session, rules: PoolRules, taker: Taker, now: datetime) -> PoolEntry | None:
    wait_for_pool(session, rules.scenario_id)
    for _ in range(WAITING_LOOKS):
        entries = _look(session, rules, taker, now, only_idle=False, pass_locked=False)
        allowed = entries if rules.sharing else [one for one in entries if one.is_idle(rules.hold, now)]
        choice = choose(allowed, taker.source_key, rules.aim, rules.hold, now, rules.survival)
        if choice is None and entries:
            raise PoolExhausted(f"scenario {rules.scenario_id}")
        if choice is None:
            return None
        if _take(session, rules, taker, choice, now, pass_locked=False):
            return choice
    raise PoolBusy(f"scenario {rules.scenario_id}")


def take_back(session: Session, rules: PoolRules, taker: Taker, held: HeldLease, active: bool, now: datetime) -> bool:
    """Gives a visitor's visit the number that another one of his holds: he never shares with himself, but goes on to share with others
    as long as one of them is active."""
    idle = held.is_idle(rules.hold, now)
    values = _lent(held, taker, idle, now)
    values |= {"held_turn": held.lease_no, "scenario": rules.scenario_id, "seen_sign_at": held.last_sign_at}
    if take_back_statement(active, idle).first(session, values) is None:
        return False
    sharing = _share(session, held, taker, now - rules.hold) if not idle else ALONE
    _write_lease(session, rules, taker, held, sharing, now)
    return True


def take_again(session: Session, rules: PoolRules, taker: Taker, held: HeldLease, now: datetime) -> bool:
    """Lends a number that was given back to the same visit again, unless somebody else was lent it since or had it before and still has."""
    if held.visitor == taker.visitor:
        return take_back(session, rules, taker, held, False, now)
    if held.turn != held.lease_no or not held.is_idle(rules.hold, now):
        return False
    return _take(session, rules, taker, held, now, pass_locked=True)


def share_unmarked(session: Session, rules: PoolRules, taker: Taker, held: HeldLease, now: datetime) -> None:
    """A visit that had ended and lives again holds its number beside those who were lent it meanwhile: all of them share it from now on. It
    may have shared the number before, with others."""
    if held.turn > held.lease_no:
        sharing = _share(session, held, taker, now - rules.hold)
        if sharing.mixed or (sharing.shared and not held.shared):
            session.execute(_MARK_OWN, {"held": held.lease_id, "is_mixed": sharing.mixed})


def _share(session: Session, entry: PoolEntry, taker: Taker, since: datetime) -> Sharing:
    """Whether active visits of somebody else hold the number too, and some of another marketing source; these are marked then. Two
    visits of one visitor never share."""
    holders = {"number": entry.number_id, "group": entry.group_turn, "since": since}
    holders |= {"holder": taker.visitor, "taker_source": taker.source_key}
    [others] = _OTHERS.all(session, holders)
    if others.mixed is None:
        return ALONE
    _MARK_SHARED.run(session, holders)
    return Sharing(shared=True, mixed=bool(others.mixed))


def keep_alive(session: Session, visitor: str, held: HeldLease, active: bool, now: datetime) -> bool:
    """A sign of life reaches the number; False when it was lent to somebody else meanwhile."""
    number = {"number": held.number_id, "scenario": held.scenario_id}
    values = number | {"holder": visitor, "held_turn": held.lease_no, "sign_at": now}
    return keep_alive_statement(active).first(session, values) is not None


def _look(
    session: Session, rules: PoolRules, taker: Taker, now: datetime, *, only_idle: bool, pass_locked: bool
) -> list[PoolEntry]:
    """The few numbers of a pool among which the best one is, by one index look-up for each. Rows that others have locked are passed
    over by locking those that are found: one of them is sure to be taken."""
    values = {"scenario": rules.scenario_id, "source": taker.source_key, "idle_before": now - rules.hold}
    values |= {f"begins_{i}": f"+{prefix}%" for i, prefix in enumerate(rules.prefixes)}
    statement = look_statement(only_idle, pass_locked, len(rules.prefixes))
    return statement.all(session, values)


def _take(
    session: Session, rules: PoolRules, taker: Taker, entry: PoolEntry, now: datetime, *, pass_locked: bool
) -> bool:
    """Takes exactly this row if nobody was faster; an idle one only if it is idle still. Who passes locked rows does not wait for
    somebody who is taking it at this moment: his commit would make the wait vain."""
    idle = entry.is_idle(rules.hold, now)
    lent = _lent(entry, taker, idle, now)
    values = lent | {"scenario": rules.scenario_id, "seen_sign_at": entry.last_sign_at}
    if take_statement(idle, pass_locked).first(session, values) is None:
        return False
    sharing = _share(session, entry, taker, now - rules.hold) if not idle else ALONE
    _write_lease(session, rules, taker, entry, sharing, now)
    return True


def _lent(entry: PoolEntry, taker: Taker, idle: bool, now: datetime) -> dict[str, Any]:
    """Whoever gets an idle number begins a new group of holders, except its last holder: an older page of his may live on."""
    anew = idle and entry.visitor != taker.visitor
    return {
        "number": entry.number_id,
        "seen_turn": entry.turn,
        "new_turn": entry.turn + 1,
        "new_group_turn": entry.turn + 1 if anew else entry.group_turn,
        "new_visitor": taker.visitor,
        "new_source_key": taker.source_key,
        "new_lease_started_at": now,
        "new_last_sign_at": max(now, entry.last_sign_at),
    }


def _write_lease(
    session: Session, rules: PoolRules, taker: Taker, entry: PoolEntry, sharing: Sharing, now: datetime
) -> None:
    values = {
        "scenario_id": rules.scenario_id,
        "number_id": entry.number_id,
        "visit_id": taker.visit_id,
        "turn": entry.turn + 1,
        "shared": sharing.shared,
        "mixed": sharing.mixed,
        "started_at": now,
    }
    _WRITE_LEASE.run(session, values)


def held_by(session: Session, visit_id: int) -> list[HeldLease]:
    """The newest lease of a visit in each scenario whose pool still has the number, in ascending scenario, also one that was given back. A
    visit may hold several free numbers: of those the newest lease of each, in the order in which it was first lent."""
    leases: list[HeldLease] = _HELD_BY.all(session, {"visit": visit_id})
    newest = {(one.scenario_id, one.number_id if one.scenario_id < 0 else 0): one for one in leases}
    return sorted(newest.values(), key=lambda one: one.scenario_id)


SAID_LATER = ("id", "shown_at", "returned_at", "unplaced_at")

_WRITE_LEASE = Statement(
    lambda _: insert(LEASE).values({one.name: bindparam(one.name) for one in lease if one.name not in SAID_LATER})
)

_HELD_BY = Statement(
    lambda _: (
        select(*COLUMNS)
        .add_columns(lease.id.label("lease_id"), lease.scenario_id, lease.turn.label("lease_no"), lease.shared)
        .add_columns(lease.shown_at.is_not(None).label("on_page"), lease.returned_at.is_not(None).label("returned"))
        .join_from(LEASE, POOL, and_(pool.number_id == lease.number_id, pool.scenario_id == lease.scenario_id))
        .where(lease.visit_id == bindparam("visit"))
        .order_by(lease.id)
    ),
    HeldLease,
)

_HERE = (lease.number_id == bindparam("number"), lease.turn >= bindparam("group"), lease.returned_at.is_(None))
_ACTIVE_OTHER = (VISIT.c.visitor != bindparam("holder"), VISIT.c.last_sign_at >= bindparam("since"))
_OTHER_SOURCE = VISIT.c.source_key != bindparam("taker_source")


@Statement
def _MARK_SHARED(_: str) -> Executable:
    """The visits of others that hold the number at this moment share it from now on."""
    holder = select(VISIT.c.id).where(VISIT.c.id == lease.visit_id, *_ACTIVE_OTHER)
    of_another_source = holder.where(_OTHER_SOURCE).exists()
    news = or_(lease.shared.is_(False), and_(lease.mixed.is_(False), of_another_source))
    return (
        update(LEASE)
        .where(*_HERE, news, holder.exists())
        .values(shared=True, mixed=or_(lease.mixed, of_another_source))
    )


_MARK_OWN = update(LEASE).where(lease.id == bindparam("held")).values(shared=True, mixed=bindparam("is_mixed"))

_OTHERS = Statement(  # NULL: nobody else; 1: somebody of another source
    lambda _: (
        select(func.max(case((_OTHER_SOURCE, 1), else_=0)).label("mixed"))
        .join_from(LEASE, VISIT, VISIT.c.id == lease.visit_id)
        .where(*_HERE, *_ACTIVE_OTHER)
    )
)
